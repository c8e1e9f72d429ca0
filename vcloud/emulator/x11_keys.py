"""Keys by name and texts by character, as X key symbols; and how a keyboard's keycodes produce them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

SHIFT: Final = "Shift_L"

#: The names of the printable characters of Latin 1 that are not letters or digits of ASCII, from X11's keysymdef.h.
_ASCII: Final = (
    "space exclam quotedbl numbersign dollar percent ampersand apostrophe parenleft parenright asterisk plus comma minus "
    "period slash 0 1 2 3 4 5 6 7 8 9 colon semicolon less equal greater question at "
    "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z bracketleft backslash bracketright asciicircum underscore grave "
    "a b c d e f g h i j k l m n o p q r s t u v w x y z braceleft bar braceright asciitilde"
)
_LATIN: Final = (
    "nobreakspace exclamdown cent sterling currency yen brokenbar section diaeresis copyright ordfeminine guillemotleft "
    "notsign hyphen registered macron degree plusminus twosuperior threesuperior acute mu paragraph periodcentered cedilla "
    "onesuperior masculine guillemotright onequarter onehalf threequarters questiondown "
    "Agrave Aacute Acircumflex Atilde Adiaeresis Aring AE Ccedilla Egrave Eacute Ecircumflex Ediaeresis Igrave Iacute "
    "Icircumflex Idiaeresis ETH Ntilde Ograve Oacute Ocircumflex Otilde Odiaeresis multiply Oslash Ugrave Uacute "
    "Ucircumflex Udiaeresis Yacute THORN ssharp agrave aacute acircumflex atilde adiaeresis aring ae ccedilla egrave eacute "
    "ecircumflex ediaeresis igrave iacute icircumflex idiaeresis eth ntilde ograve oacute ocircumflex otilde odiaeresis "
    "division oslash ugrave uacute ucircumflex udiaeresis yacute thorn ydiaeresis"
)
_RUNS: Final[tuple[tuple[int, str], ...]] = (
    (0xFF50, "Home Left Up Right Down Prior Next End Begin"),
    (0xFF60, "Select Print Execute Insert"),
    (0xFF65, "Undo Redo Menu Find Cancel Help Break"),
    (
        0xFF95,
        "KP_Home KP_Left KP_Up KP_Right KP_Down KP_Prior KP_Next KP_End KP_Begin KP_Insert KP_Delete",
    ),
    (0xFFAA, "KP_Multiply KP_Add KP_Separator KP_Subtract KP_Decimal KP_Divide"),
    (0xFFB0, " ".join(f"KP_{digit}" for digit in range(10))),
    (0xFFBE, " ".join(f"F{number}" for number in range(1, 36))),
    (
        0xFFE1,
        "Shift_L Shift_R Control_L Control_R Caps_Lock Shift_Lock Meta_L Meta_R Alt_L Alt_R Super_L Super_R Hyper_L Hyper_R",
    ),
)
_SINGLE: Final = {
    "BackSpace": 0xFF08,
    "Tab": 0xFF09,
    "Linefeed": 0xFF0A,
    "Clear": 0xFF0B,
    "Return": 0xFF0D,
    "Pause": 0xFF13,
    "Scroll_Lock": 0xFF14,
    "Sys_Req": 0xFF15,
    "Escape": 0xFF1B,
    "Delete": 0xFFFF,
    "Multi_key": 0xFF20,
    "Page_Up": 0xFF55,
    "Page_Down": 0xFF56,
    "Mode_switch": 0xFF7E,
    "Num_Lock": 0xFF7F,
    "KP_Space": 0xFF80,
    "KP_Tab": 0xFF89,
    "KP_Enter": 0xFF8D,
    "KP_Page_Up": 0xFF9A,
    "KP_Page_Down": 0xFF9B,
    "KP_Equal": 0xFFBD,
    "ISO_Left_Tab": 0xFE20,
    "ISO_Level3_Shift": 0xFE03,
    "quoteright": 0x27,
    "quoteleft": 0x60,
    "EuroSign": 0x20AC,
}
#: What xdotool calls them, whatever their case.
_ALIASES: Final = {
    "alt": "Alt_L",
    "ctrl": "Control_L",
    "control": "Control_L",
    "meta": "Meta_L",
    "super": "Super_L",
    "shift": "Shift_L",
    "enter": "Return",
}
#: The symbols of multimedia keys, for which there are no names here, so that nobody misses them.
_VENDOR: Final = 0x10080000
_VENDOR_ENDS: Final = 0x10090000
_UNICODE: Final = re.compile(r"U([0-9A-Fa-f]{2,6})")
_CONTROLS: Final = {
    "\n": "Return",
    "\t": "Tab",
    "\b": "BackSpace",
    "\x1b": "Escape",
    "\x7f": "Delete",
}


class UnknownKeyError(Exception):
    """There is no key of that name, or none for that character."""


def _named() -> dict[str, int]:
    named = dict(_SINGLE)
    for start, names in ((0x20, _ASCII), (0xA0, _LATIN), *_RUNS):
        named.update((name, symbol) for symbol, name in enumerate(names.split(), start))
    return named


_NAMED: Final[Mapping[str, int]] = _named()


def symbol_of(name: str) -> int:
    """The symbol with this name: X's own, `U20AC`, or one of xdotool's short ones.

    Raises:
        UnknownKeyError: there is none. Names of scripts beyond Latin 1 are not known; their characters are as `U…`.
    """
    found = _NAMED.get(name) or _NAMED.get(_ALIASES.get(name.lower(), ""))
    if found is None and (code := _UNICODE.fullmatch(name)) and int(code[1], 16) <= 0x10FFFF:
        return symbol_for(chr(int(code[1], 16)))
    if found is None:
        raise UnknownKeyError(name)
    return found


def symbol_for(character: str) -> int:
    """The symbol that stands for a character.

    Raises:
        UnknownKeyError: a control character for which keyboards have no key.
    """
    if name := _CONTROLS.get(character):
        return _NAMED[name]
    code = ord(character)
    if code < 0x20 or 0x80 <= code < 0xA0 or 0xD800 <= code < 0xE000:
        raise UnknownKeyError(f"U+{code:04X}")
    # Latin 1 is its own symbol; the rest of unicode has a range of its own.
    return code if code < 0x100 else 0x1000000 + code


def symbols_of(keys: str) -> list[int]:
    """The symbols of names joined with a plus.

    Raises:
        UnknownKeyError: one is not known, or empty.
    """
    return [symbol_of(name) for name in keys.split("+")]


def symbols_for(text: str) -> list[int]:
    """The symbols of a text, character by character; a line ends once, however it is written.

    Raises:
        UnknownKeyError: a control character for which keyboards have no key.
    """
    return [symbol_for(character) for character in text.replace("\r\n", "\n").replace("\r", "\n")]


class Keyboard:
    """What each keycode of a keyboard produces, alone and with shift."""

    def __init__(self, first: int, mapping: Sequence[Sequence[int]]) -> None:
        """Read the mapping, as the server tells it from the keycode `first` on.

        `spare` are the keycodes that can be given another meaning, those without any last.
        """
        self._found: dict[int, tuple[int, bool]] = {}
        empty: list[int] = []
        vendors: list[int] = []
        for keycode, symbols in enumerate(mapping, first):
            if not any(symbols):
                empty.append(keycode)
            elif all(not symbol or _VENDOR <= symbol < _VENDOR_ENDS for symbol in symbols):
                vendors.append(keycode)
            for column, symbol in enumerate(symbols[:2]):
                # The plain one wins, and among those the lowest: the keypad comes later.
                if symbol and (
                    symbol not in self._found or (self._found[symbol][1] and not column)
                ):
                    self._found[symbol] = keycode, bool(column)
        self.spare: list[int] = vendors + empty

    def find(self, symbol: int) -> tuple[int, bool] | None:
        """Return the keycode of a symbol, and whether shift must be held; None when the keyboard does not have it."""
        return self._found.get(symbol)

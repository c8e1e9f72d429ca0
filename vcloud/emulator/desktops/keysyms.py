"""X key symbols by name, as `xdotool` looks them up, and the text that they enter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final

#: The names of the printable characters of ASCII and Latin 1 in order, from X11's keysymdef.h.
_ASCII: Final = (
    "space exclam quotedbl numbersign dollar percent ampersand apostrophe parenleft "
    "parenright asterisk plus comma minus period slash 0 1 2 3 4 5 6 7 8 9 colon semicolon "
    "less equal greater question at A B C D E F G H I J K L M N O P Q R S T U V W X Y Z "
    "bracketleft backslash bracketright asciicircum underscore grave a b c d e f g h i j k l "
    "m n o p q r s t u v w x y z braceleft bar braceright asciitilde"
)
_LATIN: Final = (
    "nobreakspace exclamdown cent sterling currency yen brokenbar section diaeresis copyright "
    "ordfeminine guillemotleft notsign hyphen registered macron degree plusminus twosuperior "
    "threesuperior acute mu paragraph periodcentered cedilla onesuperior masculine "
    "guillemotright onequarter onehalf threequarters questiondown Agrave Aacute Acircumflex "
    "Atilde Adiaeresis Aring AE Ccedilla Egrave Eacute Ecircumflex Ediaeresis Igrave Iacute "
    "Icircumflex Idiaeresis ETH Ntilde Ograve Oacute Ocircumflex Otilde Odiaeresis multiply "
    "Oslash Ugrave Uacute Ucircumflex Udiaeresis Yacute THORN ssharp agrave aacute "
    "acircumflex atilde adiaeresis aring ae ccedilla egrave eacute ecircumflex ediaeresis "
    "igrave iacute icircumflex idiaeresis eth ntilde ograve oacute ocircumflex otilde "
    "odiaeresis division oslash ugrave uacute ucircumflex udiaeresis yacute thorn ydiaeresis"
)
_RUNS: Final[tuple[tuple[int, str], ...]] = (
    (0xFF50, "Home Left Up Right Down Prior Next End Begin"),
    (0xFF60, "Select Print Execute Insert"),
    (0xFF65, "Undo Redo Menu Find Cancel Help Break"),
    (0xFF95, "KP_Home KP_Left KP_Up KP_Right KP_Down KP_Prior KP_Next KP_End KP_Begin"),
    (0xFF9E, "KP_Insert KP_Delete"),
    (0xFFAA, "KP_Multiply KP_Add KP_Separator KP_Subtract KP_Decimal KP_Divide"),
    (0xFFB0, " ".join(f"KP_{digit}" for digit in range(10))),
    (0xFFBE, " ".join(f"F{number}" for number in range(1, 36))),
    (0xFFE1, "Shift_L Shift_R Control_L Control_R Caps_Lock Shift_Lock Meta_L Meta_R"),
    (0xFFE9, "Alt_L Alt_R Super_L Super_R Hyper_L Hyper_R"),
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
#: Names that xdotool adds, in any case. Measured: `enter`, `esc` and `cmd` are not among them.
_ALIASES: Final = {
    "alt": "Alt_L",
    "ctrl": "Control_L",
    "control": "Control_L",
    "meta": "Meta_L",
    "super": "Super_L",
    "shift": "Shift_L",
}
_NUMBER: Final = re.compile(r"(?P<unicode>U[0-9A-Fa-f]{1,8})|(?P<symbol>0x[0-9A-Fa-f]+)|[0-9]+")
_UNICODE: Final = 0x1000000
_CAPITALS: Final = frozenset(map(chr, range(0xC0, 0xDF))) - {"\N{MULTIPLICATION SIGN}"}
_SMALL: Final = frozenset(map(str.lower, _CAPITALS))
#: The keys of a US keyboard that are not letters, without and with shift.
_SHIFTED: Final = str.maketrans("`1234567890-=[]\\;',./", '~!@#$%^&*()_+{}|:"<>?')


def _named() -> dict[str, int]:
    named = dict(_SINGLE)
    for start, names in ((0x20, _ASCII), (0xA0, _LATIN), *_RUNS):
        named.update((name, symbol) for symbol, name in enumerate(names.split(), start))
    return named


_NAMED: Final[Mapping[str, int]] = _named()
_SYMBOLS: Final = frozenset(_NAMED.values())

LOCKS: Final = frozenset(_NAMED[name] for name in ("Caps_Lock", "Shift_Lock", "Num_Lock"))
"""Keys that change what others enter, until they are pressed again."""
SHIFTS: Final = frozenset(_NAMED[name] for name in ("Shift_L", "Shift_R"))
MODIFIERS: Final = frozenset(range(_NAMED["Shift_L"], _NAMED["Hyper_R"] + 1)) - LOCKS
_CONTROLS: Final = frozenset(_NAMED[name] for name in ("Control_L", "Control_R"))
#: Keys that move the cursor back from the end of a text, or change the text.
_EDITING_NAMES: Final = (
    "BackSpace Home Left Up Prior Begin Insert Undo Redo Clear ISO_Left_Tab KP_Home KP_Left KP_Up "
    "KP_Prior KP_Begin KP_Insert"
)
_EDITING: Final = frozenset(_NAMED[name] for name in _EDITING_NAMES.split())
#: The same, of keys that are pressed with control.
_SHORTCUTS: Final = _EDITING | {ord(letter) for letter in "abdehijkmntuvwxyzABDEHIJKMNTUVWXYZ"}
#: Keys that combine with those after them.
_COMBINING: Final = frozenset(
    _NAMED[name] for name in ("Multi_key", "Mode_switch", "ISO_Level3_Shift")
)
#: What the keys of a US keyboard enter, by keycode, as Xtigervnc has them.
_KEYCODES: Final = {
    first + number: _NAMED[name]
    for first, names in (
        (9, "Escape 1 2 3 4 5 6 7 8 9 0 minus equal BackSpace Tab"),
        (24, "q w e r t y u i o p bracketleft bracketright Return Control_L"),
        (38, "a s d f g h j k l semicolon apostrophe grave Shift_L backslash"),
        (52, "z x c v b n m comma period slash Shift_R"),
        (64, "Alt_L space Caps_Lock"),
    )
    for number, name in enumerate(names.split())
}
_KEYPAD: Final = {
    _NAMED[f"KP_{name}"]: text
    for name, text in (
        ("Multiply", "*"),
        ("Add", "+"),
        ("Subtract", "-"),
        ("Decimal", "."),
        ("Divide", "/"),
        ("Equal", "="),
        ("Space", " "),
        ("Tab", "\t"),
        ("Separator", ","),
    )
}


def symbol_of(name: str) -> int | None:
    """The symbol with this name; None if xdotool ignores the name.

    Besides X's own names there are `U20AC` (a character), `0xff0d` (a symbol) and `38` (a keycode,
    returned as a negative number). The names of scripts beyond Latin 1 and of vendors' keys are
    those of `other_keysyms`.
    """
    found = _NAMED.get(name) or _NAMED.get(_ALIASES.get(name.lower(), ""))
    if found is not None or (number := _NUMBER.fullmatch(name)) is None:
        return found
    if number["symbol"]:
        return int(name, 16)
    if not number["unicode"]:
        return -int(name)
    code = int(name[1:], 16)
    if code < 0x20 or 0x7F <= code < 0xA0 or code > 0x10FFFF:
        return None
    return code if code < 0x100 else _UNICODE + code


def on_keyboard(symbol: int) -> int:
    """The symbol on the key with this code, if it is a negative number and the keyboard has it."""
    return _KEYCODES.get(-symbol, symbol)


def is_simulated(symbol: int) -> bool:
    """Whether the effect of the key of this symbol is simulated."""
    return (symbol in _SYMBOLS or symbol > _UNICODE) and symbol not in _COMBINING


def edits(symbol: int, held: AbstractSet[int]) -> bool:
    """Whether this key changes a text, or the place in it, while these modifiers are held."""
    if held <= SHIFTS:
        return symbol in _EDITING
    return symbol in _SHORTCUTS and held <= SHIFTS | _CONTROLS


def text_of(symbol: int, *, shift: bool = False) -> str:
    """The text that an editor receives when the key of this symbol is pressed; "" if none."""
    if symbol in (_NAMED["Return"], _NAMED["KP_Enter"]):
        return "\n"
    if symbol == _NAMED["Tab"]:
        return "\t"
    if _NAMED["KP_0"] <= symbol < _NAMED["KP_0"] + 10:
        return str(symbol - _NAMED["KP_0"])
    if symbol in _KEYPAD:
        return _KEYPAD[symbol]
    code = symbol - _UNICODE if symbol > _UNICODE else symbol
    if 0x20 <= code < 0x7F or 0xA0 <= code < 0x100 or symbol > _UNICODE or code == 0x20AC:
        return character(chr(code), shift=shift)
    return ""


def character(wanted: str, *, shift: bool = False) -> str:
    """What an editor receives when xdotool enters a character, without and with shift held.

    A character that is not on the US keyboard gets its own key. X treats a letter of Latin 1
    on it as a pair of both cases, so a capital arrives in lower case without shift. Letters beyond
    Latin 1 have one case.
    """
    if wanted.isascii():
        return wanted.translate(_SHIFTED).upper() if shift else wanted
    if wanted in _CAPITALS or wanted in _SMALL:
        return wanted.upper() if shift else wanted.lower()
    return wanted

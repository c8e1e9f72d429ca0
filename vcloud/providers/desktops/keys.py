"""Translates the names of keys that people and models write to X key symbols.

The service ignores a name that it does not know, and reports success (measured with its xdotool,
which takes ``Return`` and not ``ENTER``). So a name is translated here, or refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final

from vcloud.errors import InvalidArgumentError

__all__ = ["are_modifiers", "character_key", "chord", "chords"]

#: X's names of the printable ASCII characters that are neither letters nor digits.
_ASCII_NAMES: Final = (
    "space exclam quotedbl numbersign dollar percent ampersand apostrophe parenleft parenright "
    "asterisk plus comma minus period slash colon semicolon less equal greater question at "
    "bracketleft backslash bracketright asciicircum underscore grave braceleft bar braceright "
    "asciitilde"
)
_ASCII: Final = dict(zip(" !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", _ASCII_NAMES.split(), strict=True))
#: X's names of U+00A0 to U+00FF, in that order.
_LATIN_1_NAMES: Final = (
    "nobreakspace exclamdown cent sterling currency yen brokenbar section diaeresis copyright "
    "ordfeminine guillemotleft notsign hyphen registered macron degree plusminus twosuperior "
    "threesuperior acute mu paragraph periodcentered cedilla onesuperior masculine "
    "guillemotright onequarter onehalf threequarters questiondown Agrave Aacute Acircumflex "
    "Atilde Adiaeresis Aring AE Ccedilla Egrave Eacute Ecircumflex Ediaeresis Igrave Iacute "
    "Icircumflex Idiaeresis ETH Ntilde Ograve Oacute Ocircumflex Otilde Odiaeresis multiply "
    "Oslash Ugrave Uacute Ucircumflex Udiaeresis Yacute THORN ssharp agrave aacute acircumflex "
    "atilde adiaeresis aring ae ccedilla egrave eacute ecircumflex ediaeresis igrave iacute "
    "icircumflex idiaeresis eth ntilde ograve oacute ocircumflex otilde odiaeresis division "
    "oslash ugrave uacute ucircumflex udiaeresis yacute thorn ydiaeresis"
)
_LATIN_1: Final = _LATIN_1_NAMES.split()

#: X's names of the keys that enter no character. Not Help, which is a command of xdotool.
_OTHER_NAMES: Final = (
    "BackSpace Tab Linefeed Clear Return Pause Scroll_Lock Sys_Req Escape Delete Home Left Up "
    "Right Down Prior Page_Up Next Page_Down End Begin Select Print Execute Insert Undo Redo "
    "Menu Find Cancel Break Num_Lock Caps_Lock Shift_Lock Shift_L Shift_R Control_L Control_R "
    "Alt_L Alt_R Meta_L Meta_R Super_L Super_R Hyper_L Hyper_R Mode_switch Multi_key "
    "ISO_Left_Tab ISO_Level3_Shift ISO_Level5_Shift Kanji Muhenkan Henkan Hiragana Katakana "
    "Hiragana_Katakana Zenkaku Hankaku Zenkaku_Hankaku Eisu_toggle Hangul Hangul_Hanja "
    "dead_grave dead_acute dead_circumflex dead_tilde dead_macron dead_breve dead_abovedot "
    "dead_diaeresis dead_abovering dead_doubleacute dead_caron dead_cedilla dead_ogonek "
    "KP_Space KP_Tab KP_Enter KP_F1 KP_F2 KP_F3 KP_F4 KP_Home KP_Left KP_Up KP_Right KP_Down "
    "KP_Prior KP_Page_Up KP_Next KP_Page_Down KP_End KP_Begin KP_Insert KP_Delete KP_Equal "
    "KP_Multiply KP_Add KP_Separator KP_Subtract KP_Decimal KP_Divide XF86AudioLowerVolume "
    "XF86AudioMute XF86AudioRaiseVolume XF86AudioPlay XF86AudioPause XF86AudioStop "
    "XF86AudioPrev XF86AudioNext XF86AudioMicMute XF86MonBrightnessUp XF86MonBrightnessDown "
    "XF86Back XF86Forward XF86Reload XF86Refresh XF86Stop XF86Search XF86HomePage XF86WWW "
    "XF86Mail XF86Calculator XF86Explorer XF86Sleep XF86PowerOff XF86Copy XF86Cut XF86Paste"
)
_SYMBOLS: Final = (
    *_OTHER_NAMES.split(),
    *(f"F{number}" for number in range(1, 36)),
    *(f"KP_{digit}" for digit in range(10)),
)

#: Names that xdotool itself has, in upper or lower case.
CTRL, ALT, SHIFT, SUPER = "ctrl", "alt", "shift", "super"

#: The names that people and models write for a symbol. Case, ``_``, ``-`` and spaces do not matter.
_SPELLINGS: Final[Mapping[str, str]] = {
    "Return": "enter",
    "Escape": "esc",
    "space": "spacebar",
    "BackSpace": "bksp",
    "Delete": "del forwarddelete",
    "Insert": "ins",
    "Prior": "pgup",
    "Next": "pgdn pgdown",
    "Up": "arrowup uparrow",
    "Down": "arrowdown downarrow",
    "Left": "arrowleft leftarrow",
    "Right": "arrowright rightarrow",
    CTRL: "ctrl control ctl",
    "Control_L": "controlleft ctrlleft leftctrl leftcontrol lctrl",
    "Control_R": "controlright ctrlright rightctrl rightcontrol rctrl",
    ALT: "alt option opt",
    "Alt_L": "altleft leftalt lalt optionleft",
    "Alt_R": "altright rightalt ralt optionright",
    "ISO_Level3_Shift": "altgr altgraph",
    SHIFT: "shift",
    "Shift_L": "shiftleft leftshift lshift",
    "Shift_R": "shiftright rightshift rshift",
    SUPER: "super cmd command meta win windows os",
    "Super_L": "superleft metaleft winleft cmdleft commandleft leftmeta leftsuper leftwin lwin",
    "Super_R": "superright metaright winright cmdright commandright rightmeta rightsuper rwin",
    "Print": "printscreen prtscr prtsc prtscn printscrn snapshot",
    "Menu": "contextmenu apps",
    "Sys_Req": "sysrq",
    "KP_Enter": "numpadenter",
    "KP_Add": "numpadadd",
    "KP_Subtract": "numpadsubtract",
    "KP_Multiply": "numpadmultiply",
    "KP_Divide": "numpaddivide",
    "KP_Decimal": "numpaddecimal",
    "KP_Equal": "numpadequal",
    "XF86AudioMute": "mute volumemute audiovolumemute",
    "XF86AudioLowerVolume": "volumedown audiovolumedown",
    "XF86AudioRaiseVolume": "volumeup audiovolumeup",
    "XF86AudioPlay": "playpause mediaplaypause",
    "XF86AudioStop": "mediastop",
    "XF86AudioNext": "nexttrack mediatracknext",
    "XF86AudioPrev": "prevtrack mediatrackprevious",
    "XF86Back": "browserback",
    "XF86Forward": "browserforward",
    "apostrophe": "quote singlequote",
    "quotedbl": "doublequote",
    "grave": "backquote backtick",
    "minus": "dash hyphenminus",
    "equal": "equals",
    "period": "dot fullstop",
    "at": "atsign",
    "numbersign": "hash",
    "bar": "pipe",
    "asciitilde": "tilde",
    "asciicircum": "caret",
}
#: Control characters that are keys.
_CONTROLS: Final = {
    "\n": "Return",
    "\r": "Return",
    "\t": "Tab",
    "\b": "BackSpace",
    "\x1b": "Escape",
}

#: A name of several words: ``Page_Up``, ``page-up``, ``PAGE UP``.
_WORDS: Final = re.compile(r"[A-Za-z0-9]+([ _-][A-Za-z0-9]+)*")
_UNICODE: Final = re.compile(r"U([0-9A-Fa-f]{4,6})")
#: With one of these, the case of a letter does not matter: Ctrl+C does not mean Shift.
_MODIFIERS: Final = frozenset(
    {CTRL, ALT, SHIFT, SUPER}
    | {
        f"{name}_{side}"
        for name in ("Shift", "Control", "Alt", "Meta", "Super", "Hyper")
        for side in "LR"
    }
)


def character_key(character: str) -> str:
    """The symbol, or chord, that enters one character.

    A Latin-1 capital is ``shift`` and its small letter: xdotool puts a character that the keyboard
    does not have on a spare key, and X takes one of these alone for the pair of both cases, so that
    ``É`` would arrive as ``é`` (measured).
    """
    if character.isascii():
        return _ASCII.get(character, character)
    small = character.lower()
    if "\xc0" <= character <= "\xde" and small != character:
        return f"{SHIFT}+U{ord(small):04X}"
    return f"U{ord(character):04X}"


def are_modifiers(symbols: str | tuple[str, ...]) -> bool:
    """Whether all of these are modifiers, as Shift is."""
    chord = symbols if isinstance(symbols, str) else "+".join(symbols)
    return _MODIFIERS.issuperset(chord.split("+"))


def _fold(name: str) -> str:
    return re.sub(r"[ _-]", "", name).lower()


def _exact() -> dict[str, str]:
    latin = {name: character_key(chr(0xA0 + at)) for at, name in enumerate(_LATIN_1)}
    return {**latin, **{name: name for name in (*_SYMBOLS, *_ASCII.values())}}


def _folded(exact: Mapping[str, str]) -> dict[str, str]:
    made = {spelling: symbol for symbol, names in _SPELLINGS.items() for spelling in names.split()}
    for name, symbol in exact.items():
        # Eacute and eacute differ only in case, so the name of the small letter is used.
        if name not in _LATIN_1 or name.islower():
            made.setdefault(_fold(name), symbol)
    made |= {f"key{letter}": letter for letter in "abcdefghijklmnopqrstuvwxyz"}
    made |= {f"digit{digit}": digit for digit in "0123456789"}
    made |= {f"numpad{digit}": f"KP_{digit}" for digit in "0123456789"}
    return made


_EXACT: Final = _exact()
_FOLDED: Final = _folded(_EXACT)


def _symbol(name: str) -> str | None:
    """The symbol for one name; None if there is no such key."""
    if len(character := unicodedata.normalize("NFC", name)) == 1:
        if character in _CONTROLS:
            return _CONTROLS[character]
        printable = unicodedata.category(character) not in ("Cc", "Cs")
        return character_key(character) if printable else None
    if found := _UNICODE.fullmatch(name):
        point = int(found[1], 16)
        return _symbol(chr(point)) if 0x20 <= point <= 0x10FFFF else None
    if name in _EXACT:
        return _EXACT[name]
    return _FOLDED.get(_fold(name)) if _WORDS.fullmatch(name) else None


def _names(keys: str) -> list[str]:
    """The names in a chord: ``ctrl+s``, and ``ctrl++`` for the plus itself."""
    if keys == "+":
        return ["+"]
    plus = ["+"] if keys.endswith("++") else []
    parts = (keys[:-2] if plus else keys).split("+")
    return [part.strip(" ") or part for part in parts] + plus


def _small(name: str) -> str:
    """A letter without its case, everything else as it is."""
    small = name.lower()
    return small if len(name) == 1 == len(small) else name


def chord(keys: str) -> str:
    """A chord as the service takes it: X key symbols, joined with ``+``.

    Raises:
        InvalidArgumentError: one of the names is not a key's.
    """
    return chords([keys])[0]


def chords(keys: Iterable[str]) -> tuple[str, ...]:
    """The same for several texts whose keys are all pressed together.

    Raises:
        InvalidArgumentError: one of the names is not a key's. The message has its number and the
            nearest names, but not the name, which may be a mistyped password.
    """
    given = [_names(part) for part in keys]
    named = [name for part in given for name in part]
    symbols = [_symbol(name) for name in named]
    if any(symbol in _MODIFIERS for symbol in symbols):
        symbols = [_symbol(_small(name)) for name in named]
        if SHIFT in symbols:
            symbols = [symbol and symbol.removeprefix(f"{SHIFT}+") for symbol in symbols]
    if None in symbols:
        raise _unknown(named, symbols.index(None))
    left = iter(symbols)
    return tuple("+".join(str(next(left)) for _ in part) for part in given)


def _unknown(names: list[str], index: int) -> InvalidArgumentError:
    near = get_close_matches(_fold(names[index][:40]), _FOLDED, n=3, cutoff=0.7)
    # Before the semicolon, because that is for people too: `error.user_message`.
    hint = f", the nearest are {', '.join(near)}; a" if near else ". A"
    return InvalidArgumentError(
        f"key {index + 1} of {len(names)} is not a key name{hint} key is a single character or "
        "a name such as enter, pageup, f5 or an X key symbol; several are joined with +, as in "
        "'ctrl+c'; to enter text use type()"
    )

"""The names of keys that people and models write become X key symbols, or are refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.desktops_wired import SECRET
from vcloud import InvalidArgumentError
from vcloud.providers.desktops import PressKeys

SYMBOLS = {
    "Return": "enter Enter ENTER return RETURN \n \r",
    "Escape": "esc Esc ESC escape ESCAPE",
    "Tab": "tab TAB Tab \t",
    "space": "space SPACE Space spacebar",
    "BackSpace": "backspace Backspace BACKSPACE BackSpace back_space",
    "Delete": "delete DELETE del Del",
    "Insert": "insert INSERT ins",
    "Home": "home HOME Home",
    "End": "end END",
    "Page_Up": "pageup PageUp PAGEUP page_up page-up Page_Up",
    "Prior": "pgup PgUp Prior",
    "Page_Down": "pagedown PageDown PAGEDOWN page_down",
    "Next": "pgdn PGDN pgdown",
    "Up": "up UP Up arrowup ArrowUp ARROWUP up_arrow uparrow",
    "Down": "down arrowdown ArrowDown",
    "Left": "left LEFT ArrowLeft ARROWLEFT leftarrow",
    "Right": "right ArrowRight",
    "ctrl": "ctrl CTRL Ctrl control Control",
    "alt": "alt ALT option Option OPTION opt",
    "shift": "shift SHIFT Shift",
    "super": "super Super cmd CMD Cmd command meta META win Win windows",
    "Caps_Lock": "capslock CapsLock CAPS_LOCK caps-lock",
    "Print": "printscreen PrintScreen PRINT_SCREEN prtsc print",
    "Control_L": "Control_L control_l ControlLeft ctrlleft",
    "Super_R": "Super_R MetaRight winright",
    "KP_Enter": "KP_Enter kp_enter NumpadEnter",
    "KP_7": "KP_7 Numpad7",
    "XF86AudioMute": "XF86AudioMute volumemute",
    "slash": "/ slash Slash",
    "plus": "+ plus",
    "minus": "- minus",
    "apostrophe": "' apostrophe quote",
    "a": "a KeyA keya",
    "A": "A",
    "5": "5 Digit5",
    "U00E9": "é eacute U00E9 e\u0301",
    "shift+U00E9": "É Eacute",
    "U20AC": "€ U20AC",
    "U1F600": "😀",
    "U00D7": "\xd7 multiply",
    **{f"F{number}": f"f{number} F{number}" for number in range(1, 25)},
}


@pytest.mark.parametrize(
    ("name", "symbol"),
    [(name, symbol) for symbol, names in SYMBOLS.items() for name in names.split(" ")],
    ids=ascii,
)
def test_a_common_key_name_is_translated(name: str, symbol: str) -> None:
    assert PressKeys(name).keys == symbol
    assert PressKeys([name]).keys == (symbol,)


CHORDS = {
    "ctrl+s": "ctrl+s",
    "Ctrl+S": "ctrl+s",
    "CTRL + Shift + T": "ctrl+shift+t",
    "cmd+c": "super+c",
    "alt+F4": "alt+F4",
    "ctrl++": "ctrl+plus",
    "ctrl+-": "ctrl+minus",
    "ctrl+/": "ctrl+slash",
    "ctrl+alt+del": "ctrl+alt+Delete",
    "shift+É": "shift+U00E9",
    "shift+Eacute": "shift+U00E9",
    "ctrl+É": "ctrl+U00E9",
    "a+B": "a+B",
    "ctrl+ ": "ctrl+space",
}


@pytest.mark.parametrize(("chord", "symbols"), CHORDS.items())
def test_a_chord_is_translated_key_by_key(chord: str, symbols: str) -> None:
    assert PressKeys(chord).keys == symbols


def test_the_keys_of_a_chord_may_be_several_texts() -> None:
    assert PressKeys(["CTRL", "A"]).keys == ("ctrl", "a")
    assert PressKeys(["ctrl+SHIFT", "+"]).keys == ("ctrl+shift", "plus")


REFUSED = {
    "Retrun": "return",
    "Etner": "enter",
    "ArrowLeftt": "arrowleft",
    "F36": "f3",
    "ctrl+alt+delet": "del",
    "PageDwon": "pagedown",
    "capslok": "capslock",
}


def test_a_person_is_told_the_nearest_names_too() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        PressKeys("ctrl+delet")
    assert caught.value.user_message.startswith("Key 2 of 2 is not a key name, the nearest are del")
    with pytest.raises(InvalidArgumentError) as caught:
        PressKeys("ctrl+save")
    assert "A key is a single character or a name such as enter" in caught.value.user_message


@pytest.mark.parametrize(("name", "near"), REFUSED.items())
def test_an_unknown_name_is_refused_with_the_nearest_names(name: str, near: str) -> None:
    with pytest.raises(InvalidArgumentError, match=rf"the nearest are .*\b{near}"):
        PressKeys(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "+a",
        "ctrl+",
        "a++b",
        "++",
        "--help",
        "-x",
        "a\n",
        "$(id)",
        "a;b",
        "`id`",
        "36",
        "U000A",
        "UD800",
        "U110000",
        "\x00",
        "\x7f",
        "\x85",
        chr(55296),
        "no such key",
        "Help",
        "a" * 100000,
    ],
    ids=lambda name: ascii(name[:20]),
)
def test_a_text_that_is_not_a_key_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="not a key name|name of a key"):
        PressKeys(name)


def test_the_error_of_a_refused_name_does_not_contain_it() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        PressKeys(["ctrl", SECRET])
    assert SECRET not in str(caught.value)
    assert "key 2 of 2" in str(caught.value)


@given(st.text() | st.lists(st.text(min_size=1), min_size=1))
def test_accepted_keys_are_harmless_in_a_shell_and_stay_the_same(
    keys: str | list[str],
) -> None:
    try:
        made = PressKeys(keys)
    except InvalidArgumentError:
        return
    for name in [made.keys] if isinstance(made.keys, str) else made.keys:
        assert re.fullmatch(r"\w+(\+\w+)*", name, re.ASCII)
    assert PressKeys(made.keys) == made

"""Parts of real desktops that need no display: names of keys, and refusals before the start."""

from __future__ import annotations

import pytest

from vcloud.emulator import Emulator
from vcloud.emulator.__main__ import main
from vcloud.emulator.desktops.commands import number
from vcloud.emulator.desktops.keysyms import character, symbol_of, text_of
from vcloud.emulator.x11 import X11UnavailableError, missing


@pytest.mark.parametrize(
    ("name", "symbol", "text"),
    [
        ("a", 0x61, "a"),
        ("Return", 0xFF0D, "\n"),
        ("Tab", 0xFF09, "\t"),
        ("Linefeed", 0xFF0A, ""),
        ("Delete", 0xFFFF, ""),
        ("ctrl", 0xFFE3, ""),
        ("CTRL", 0xFFE3, ""),
        ("super", 0xFFEB, ""),
        ("Page_Down", 0xFF56, ""),
        ("KP_0", 0xFFB0, "0"),
        ("udiaeresis", 0xFC, "ü"),
        ("ydiaeresis", 0xFF, "ÿ"),
        ("asciitilde", 0x7E, "~"),
        ("F35", 0xFFE0, ""),
        ("Hyper_R", 0xFFEE, ""),
        ("EuroSign", 0x20AC, "€"),
        ("U20AC", 0x10020AC, "€"),
        ("U41", 0x41, "A"),
        ("0x61", 0x61, "a"),
        ("38", -38, ""),
    ],
)
def test_key_names_are_the_symbols_of_x(name: str, symbol: int, text: str) -> None:
    assert symbol_of(name) == symbol
    assert text_of(symbol) == text


@pytest.mark.parametrize("name", ["", "nosuch", "return", "enter", "esc", "U110000", "U7", "u20ac"])
def test_an_unknown_key_name_has_no_symbol(name: str) -> None:
    assert symbol_of(name) is None


def test_shift_gives_the_upper_characters_of_a_us_keyboard() -> None:
    pressed = "".join(text_of(ord(key), shift=True) for key in "az`1234567890-=[]\\;',./ ")
    assert pressed == 'AZ~!@#$%^&*()_+{}|:"<>? '


@pytest.mark.parametrize(
    ("wanted", "plain", "shifted"),
    [
        ("ä", "ä", "Ä"),
        ("Ä", "ä", "Ä"),
        ("Þ", "þ", "Þ"),
        ("ß", "ß", "ß"),
        ("\N{MULTIPLICATION SIGN}", "\N{MULTIPLICATION SIGN}", "\N{MULTIPLICATION SIGN}"),
        ("÷", "÷", "÷"),
        ("Ž", "Ž", "Ž"),
        ("я", "я", "я"),
        ("Я", "Я", "Я"),
        ("€", "€", "€"),
    ],
)
def test_capital_letters_of_latin_1_arrive_in_lower_case(
    wanted: str, plain: str, shifted: str
) -> None:
    """Seen with mousepad and xterm, and shown by `tests/x11`."""
    assert (character(wanted), character(wanted, shift=True)) == (plain, shifted)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5"),
        (-5.0, "-5"),
        (0.03, "0.03"),
        (2**53 + 1, "9007199254740992"),
        (123456789012345678901, "123456789012345680000"),
        (10**21, "1e+21"),
        (-1e300, "-1e+300"),
    ],
)
def test_numbers_are_written_as_in_javascript(value: float, text: str) -> None:
    """The texts are node's."""
    assert number(value) == text


def test_running_commands_must_be_allowed_explicitly() -> None:
    with pytest.raises(ValueError, match="allow_exec=True"):
        Emulator(backend="x11")
    with pytest.raises(ValueError, match="loopback only"):
        Emulator(backend="x11", allow_exec=True, allow_remote=True)
    with pytest.raises(ValueError, match="loopback"):
        Emulator(backend="x11", allow_exec=True, host="0.0.0.0")
    with pytest.raises(ValueError, match="'simulated' or 'x11'"):
        Emulator(backend="x12", allow_exec=True)


def test_the_command_line_says_why_it_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", "0", "--backend", "x11"]) == 1
    assert "--allow-exec" in capsys.readouterr().err


async def test_missing_programs_are_named_with_their_debian_packages_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    for package in ("tigervnc-standalone-server", "xdotool", "scrot"):
        assert any(f"apt-get install {package})" in lacking for lacking in missing())
    emulator = Emulator(backend="x11", allow_exec=True)
    with pytest.raises(X11UnavailableError, match="apt-get install tigervnc-standalone-server"):
        await emulator.start()
    with pytest.raises(RuntimeError, match="not running"):
        _ = emulator.url

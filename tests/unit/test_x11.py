"""Real desktops without one: keys and texts as symbols, and what is refused before anything starts."""

from __future__ import annotations

import pytest
from vcloud.emulator.x11_display import Screen, hello, read_screen
from vcloud.emulator.x11_hands import parts
from vcloud.emulator.x11_keys import (
    Keyboard,
    UnknownKeyError,
    symbol_for,
    symbol_of,
    symbols_for,
    symbols_of,
)
from vcloud.emulator.x11_vnc import owner_of

from vcloud.emulator import Emulator
from vcloud.emulator.__main__ import main
from vcloud.emulator.x11 import X11UnavailableError, missing


@pytest.mark.parametrize(
    ("keys", "symbols"),
    [
        ("a", [0x61]),
        ("Return", [0xFF0D]),
        ("ctrl+c", [0xFFE3, 0x63]),
        ("ctrl+shift+F5", [0xFFE3, 0xFFE1, 0xFFC2]),
        ("CTRL+Alt+Delete", [0xFFE3, 0xFFE9, 0xFFFF]),
        ("super+minus", [0xFFEB, 0x2D]),
        ("Page_Down+KP_0", [0xFF56, 0xFFB0]),
        ("udiaeresis", [0xFC]),
        ("asciitilde+ydiaeresis", [0x7E, 0xFF]),
        ("F35", [0xFFE0]),
        ("Hyper_R", [0xFFEE]),
        ("U20AC", [0x10020AC]),
        ("U41", [0x41]),
    ],
)
def test_key_names_are_the_symbols_of_x(keys: str, symbols: list[int]) -> None:
    assert symbols_of(keys) == symbols


@pytest.mark.parametrize("keys", ["", "+", "ctrl+", "nosuch", "return", "U110000", "Ud800", "-"])
def test_a_name_that_x_does_not_know_is_refused(keys: str) -> None:
    with pytest.raises(UnknownKeyError):
        symbols_of(keys)


def test_characters_are_symbols_and_every_line_ends_once() -> None:
    assert symbols_for("a'\r\nü\r€🙂\t") == [
        0x61,
        0x27,
        0xFF0D,
        0xFC,
        0xFF0D,
        0x10020AC,
        0x101F642,
        0xFF09,
    ]
    for character in "\x00\x01\x85":
        with pytest.raises(UnknownKeyError):
            symbol_for(character)


def test_a_keyboard_prefers_the_key_that_needs_no_shift() -> None:
    keyboard = Keyboard(
        8, [(0x61, 0x41), (0, 0), (0x41, 0x41), (0x31, 0x21), (0, 0), (0x1008FF11, 0)]
    )
    assert keyboard.find(0x61) == (8, False)
    assert keyboard.find(0x41) == (10, False)
    assert keyboard.find(0x21) == (11, True)
    assert keyboard.find(symbol_of("Return")) is None
    assert keyboard.spare == [13, 9, 12]


def test_a_text_is_cut_into_pieces_that_a_keyboard_can_hold() -> None:
    text = symbols_for("a" * 150 + "".join(chr(0x4E00 + number) for number in range(20)) + "ü" * 30)
    pieces = list(parts(text))
    assert [symbol for piece in pieces for symbol in piece] == text
    assert max(map(len, pieces)) <= 64
    assert max(len({symbol for symbol in piece if symbol > 0x7F}) for piece in pieces) <= 8
    assert list(parts([])) == []


def test_the_first_words_on_a_connection_are_those_of_the_protocol() -> None:
    assert hello(b"c" * 16) == b"l\0\x0b\0\0\0\x12\0\x10\0\0\0MIT-MAGIC-COOKIE-1\0\0" + b"c" * 16
    body = bytearray(32 + 8 + 8 + 40)
    body[16:18], body[21], body[26], body[27] = (5).to_bytes(2, "little"), 1, 8, 255
    body[48:52], body[68:72] = (77).to_bytes(4, "little"), bytes((0, 4, 0, 3))
    assert read_screen(1, bytes(body)) == Screen(
        root=77, width=1024, height=768, min_keycode=8, max_keycode=255
    )


def test_a_socket_s_owner_is_read_from_the_kernel_s_table() -> None:
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0\n"
        "   1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 2 1 0\n"
    )
    assert (owner_of(0xC350, table), owner_of(0x1F90, table), owner_of(1, table)) == (1000, 0, None)


def test_running_commands_must_be_asked_for_by_name() -> None:
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
    assert any("tigervnc-standalone-server" in lacking for lacking in missing())
    emulator = Emulator(backend="x11", allow_exec=True)
    with pytest.raises(X11UnavailableError, match="apt-get install tigervnc-standalone-server"):
        await emulator.start()
    with pytest.raises(RuntimeError, match="not running"):
        _ = emulator.url

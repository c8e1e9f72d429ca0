"""The same keys and texts on a simulated desktop and on a real one: results must be equal."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import pytest

from tests.x11.both import Both, Side, failed, location
from tests.x11.machine import require_x11, until
from vcloud.emulator import Clock, Emulator
from vcloud.emulator.desktops.keysyms import symbol_of
from vcloud.emulator.desktops.other_keysyms import is_other
from vcloud.emulator.x11.backend import X11Backend


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    require_x11()
    async with (
        Emulator(clock=Clock.stopped()) as simulated,
        Emulator(backend="x11", allow_exec=True) as real,
        aiohttp.ClientSession() as http,
    ):
        one, other = simulated.desktops.add_desktop(), real.desktops.add_desktop()
        await until(lambda: other.status_at(real.clock.now()) == "running")
        one.simulated.absent |= {"nosuch", "nosuchprogram"}
        yield Both(Side(simulated, one.id, http), Side(real, other.id, http))


async def test_typed_text_is_shell_code_where_the_service_quotes_it_wrongly(both: Both) -> None:
    for text, status, output in (
        ("", 200, ""),
        ("plain", 200, ""),
        ("it's", 500, failed(2)),
        ("''", 200, ""),
        ("it''s", 200, ""),
        ("a'b'c", 200, ""),
        ("x'; echo owned; echo 'y", 200, "owned\ny"),
        ("x' && false || echo 'y", 200, "y"),
        ("x'; false #'", 500, failed(1)),
        ("x'; nosuchprogram; echo 'y", 200, "y"),
        ("x'; nosuchprogram '", 500, failed(127)),
        ("a'|cat; echo 'b", 200, "b"),
        ("a'\necho 'b", 200, "b"),
        ("a';'", 500, failed(127)),
        ("a';;'", 500, failed(2)),
        ("a' | '", 500, failed(127)),
        ("a'; echo $DISPLAY '", 200, ":99"),
        ('quotes "double" `ticks` $HOME $(id) \\ back # hash', 200, ""),
    ):
        got, body = await both.act(type="type", text=text)
        assert (got, body.get("error", body.get("output"))) == (status, output), text


async def test_text_that_begins_with_a_dash_is_an_option_to_xdotool(both: Both) -> None:
    for text, status in (
        ("-", 200),
        (" -x", 200),
        ("--", 500),
        ("-x", 500),
        ("-h", 500),
        ("-c", 500),
        ("-d5", 500),
        ("-5 degrees", 500),
        ("--delay", 500),
        ("--delay 5", 500),
        ("--delay=5", 500),
        ("--file", 500),
        ("--file=/nosuch", 500),
        ("--file=/etc/hostname", 200),
        ("--nothing", 500),
        ("-- a", 500),
        ("--clearmodifiers", 500),
        ("-- it", 500),
    ):
        got, body = await both.act(type="type", text=text)
        assert got == status, text
        if status == 500:
            assert body["error"] == failed(1)


@pytest.mark.parametrize("text", ["--help", "-help", "--hel"])
async def test_text_that_is_the_help_option_types_nothing_and_succeeds(
    both: Both, text: str
) -> None:
    for side in (both.simulated, both.real):
        status, body = await side.act(type="type", text=text)
        assert status == 200
        assert body["output"].startswith("Usage: type")
    assert both.simulated.screen.typed == ""


async def test_names_that_x_knows_are_pressed_or_refused() -> None:
    """libX11 knows them by number; `xdotool` asks it for their names."""
    require_x11()
    x = ctypes.CDLL(ctypes.util.find_library("X11") or "libX11.so.6")
    x.XKeysymToString.restype = ctypes.c_char_p
    numbers = (*range(0x20, 0x10000), *range(0x1000000, 0x1030000), *range(0x10000000, 0x10100000))
    for number in numbers:
        if name := x.XKeysymToString(ctypes.c_ulong(number)):
            known = symbol_of(name.decode())
            assert known == number if known else is_other(name.decode()), name
    assert not [name for name in IGNORED if symbol_of(name) or is_other(name)]


#: What the service ignores with success, as seen with Debian's xdotool (wire-facts, section 4).
IGNORED = [
    "Enter",
    "ENTER",
    "Esc",
    "ESC",
    "escape",
    "TAB",
    "Backspace",
    "BACKSPACE",
    "DELETE",
    "Space",
    "SPACE",
    "ArrowUp",
    "UP",
    "up",
    "ArrowLeft",
    "PageDown",
    "PAGEDOWN",
    "HOME",
    "END",
    "Option",
    "Cmd",
    "CMD",
    "Win",
    "CapsLock",
    "INSERT",
    "f5",
    "enter",
    "/",
    "é",
    "NoSuchKey",
    "u20ac",
    "U7",
    "F36",
    "a,b",
]
KNOWN = [
    "Return",
    "Escape",
    "Tab",
    "BackSpace",
    "Delete",
    "space",
    "Up",
    "Page_Down",
    "Home",
    "End",
    "Alt_L",
    "Super_L",
    "Caps_Lock",
    "Insert",
    "F5",
    "F35",
    "ctrl",
    "CTRL",
    "Control",
    "shift",
    "Shift",
    "alt",
    "meta",
    "super",
    "U20AC",
    "UE9",
    "0x61",
    "38",
    "plus",
    "minus",
    "apostrophe",
    "eacute",
    "KP_Enter",
]


async def test_names_of_keys_are_those_of_xdotool_and_others_are_ignored(both: Both) -> None:
    for name in (*IGNORED, *KNOWN):
        assert await both.act(type="press_keys", keys=name) == (200, {"output": ""}), name
        # Both print the same names to stderr.
        _, body = await both.bash(f"DISPLAY=:99 xdotool key {name}")
        ignored = f"(symbol) No such key name '{name}'. Ignoring it."
        assert (ignored in body["output"]) is (name in IGNORED), name


async def test_keys_are_shell_code_and_fail_where_xdotool_fails(both: Both) -> None:
    for keys, status, output in (
        ("", 500, failed(1)),
        ([], 500, failed(1)),
        (" ", 500, failed(1)),
        ("# nothing", 500, failed(1)),
        ("-", 500, failed(2)),
        ("a.b", 500, failed(2)),
        ("ctrl+-", 500, failed(2)),
        ("[", 500, failed(2)),
        ("- a.", 500, failed(4)),
        ("-a", 500, failed(1)),
        ("--", 500, failed(1)),
        ("+", 200, ""),
        ("ctrl+", 200, ""),
        ("a b", 200, ""),
        (["ctrl", "shift", "a"], 200, ""),
        (["ctrl", "NoSuchKey"], 200, ""),
        ("a; echo owned", 200, "owned"),
        ("a; nosuchprogram", 500, failed(127)),
        ("it's", 500, failed(2)),
        ("a mousemove 3 4", 200, ""),
    ):
        got, body = await both.act(type="press_keys", keys=keys)
        assert (got, body.get("error", body.get("output"))) == (status, output), keys
    assert await location(both) == "X=3 Y=4"
    for kind in ("down", "up"):
        action = {"type": "press_keys", "key_action_type": kind}
        for keys, code in (("", 1), ("-", 1), ("- -", 2)):
            _, body = await both.act(**action, keys=keys)
            assert body["error"] == failed(code), (kind, keys)
        assert await both.act(**action, keys="Enter") == (200, {"output": ""})


PLAIN = "DISPLAY=:99 xdotool"
STEPS: Sequence[tuple[str, Any]] = (
    ("type", "aB 9~\t{[<>\\-]}"),
    ("type", "line\nfeed"),
    ("type", "car\rriage"),
    ("type", "\x01con\x1btrol"),
    ("type", "x'; echo 'y"),
    ("press", "Return"),
    ("press", "apostrophe"),
    ("press", "Enter"),
    ("press", ["shift", "1"]),
    ("press", "shift+a"),
    ("press", "A"),
    ("press", "a+b"),
    ("press", "NoSuchKey+c"),
    ("press", "q r"),
    ("press", "KP_7"),
    ("help", None),
    ("type", "-"),
    ("type", "it's"),
    # A held modifier does not apply to what the service presses and types …
    ("down", "shift"),
    ("press", "d"),
    ("type", "e-1"),
    # … but to a plain xdotool, and the service's own release leaves it down.
    ("bash", f"{PLAIN} key f"),
    ("bash", f"{PLAIN} key 2"),
    ("up", "shift"),
    ("bash", f"{PLAIN} key g"),
    ("bash", f"{PLAIN} type 'hi-;'"),
    ("bash", f"{PLAIN} keyup shift"),
    ("bash", f"{PLAIN} key j"),
    ("bash", f"{PLAIN} type 'k l'"),
    ("down", "m"),
    ("up", "m"),
    ("bash", f"{PLAIN} keydown shift key n keyup shift key o"),
    ("bash", f"{PLAIN} key shift p"),
    # Keycodes, the keypad, and what takes the last character back.
    ("press", "38"),
    ("press", ["shift", "11"]),
    ("press", "KP_Multiply"),
    ("press", "KP_Add"),
    ("press", "KP_Subtract"),
    ("press", "KP_Decimal"),
    ("press", "KP_Divide"),
    ("press", "KP_Equal"),
    ("type", "xyz"),
    ("press", "BackSpace"),
    ("press", "End"),
    ("press", "Delete"),
    ("press", "Return"),
)


async def test_entered_text_is_what_an_editor_receives(both: Both) -> None:
    """The simulated `typed` against mousepad: held modifiers, ends of lines, shifted keys."""
    await editor(both.real)
    for what, value in STEPS:
        match what:
            case "help":
                for side in (both.simulated, both.real):
                    assert (await side.act(type="type", text="--help"))[0] == 200
            case "type":
                await both.act(type="type", text=value)
            case "press" | "down" | "up":
                await both.act(type="press_keys", keys=value, key_action_type=what)
            case _:
                assert (await both.bash(value))[0] == 200
    await until_saved(both)
    assert both.simulated.screen.keys == set()


@pytest.mark.parametrize("wanted", ["é", "Ä", "Ž", "Я", "€", "日", "🙂", "\N{MULTIPLICATION SIGN}"])
async def test_a_character_that_the_keyboard_lacks_arrives_as_xdotool_enters_it(
    both: Both, wanted: str
) -> None:
    """It gives them the same key one after the other, so a slow editor may get the next one."""
    await editor(both.real)
    await both.simulated.act(type="type", text=f"({wanted})")
    expected = both.simulated.screen.typed

    async def arrives() -> bool:
        await both.real.act(type="type", text=f"({wanted})")
        return (await saved(both)).endswith(expected)

    await until(arrives)
    assert expected == ("(ä)" if wanted == "Ä" else f"({wanted})")


async def editor(side: Side) -> None:
    """Open mousepad, with the pointer in it."""
    await side.bash("true > note; mousepad --disable-server note >&2 &")

    async def shown() -> bool:
        _, body = await side.bash("xdotool search --onlyvisible --name note")
        return bool(body["output"])

    await until(shown)
    await side.act(type="click_mouse", x=200, y=200)


async def saved(both: Both) -> str:
    """Save what is in the editor, and read it."""
    await both.real.act(type="press_keys", keys="ctrl+s")
    backend = both.real.emulator.desktops.desktops[both.real.id].backend
    assert isinstance(backend, X11Backend)
    return (backend.desktop.home / "note").read_text()


async def until_saved(both: Both) -> None:
    """Save the editor's text until it is as long as the simulated one, and compare."""
    expected = both.simulated.screen.typed
    assert "linefeed" in expected, "an editor drops what xdotool types for a line's end"

    async def there() -> bool:
        return len(await saved(both)) >= len(expected)

    await until(there)
    assert await saved(both) == expected

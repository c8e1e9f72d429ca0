"""The same requests to a simulated desktop and to a real one: status, words and effect must agree.

The real one runs bash, xdotool and scrot, so it is the reference for the simulated one. Other
answers of both are asserted here where the facts name them (wire-facts, section 4).
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import pytest
from attrs import frozen

from tests.x11.machine import require_x11, until
from vcloud.emulator import Clock, Emulator
from vcloud.emulator.desktops.backend import SimulatedBackend
from vcloud.emulator.x11.backend import X11Backend

Answer = tuple[int, Any]


@frozen
class Side:
    """One desktop of one of the two emulators."""

    emulator: Emulator
    id: str
    http: aiohttp.ClientSession

    async def post(self, path: str, body: dict[str, Any]) -> Answer:
        url = f"{self.emulator.url}/v1/desktop/{self.id}/{path}"
        key = self.emulator.env()["VCLOUD_DESKTOPS_API_KEY"]
        headers = {"x-api-key": key, "Content-Type": "application/json"}
        async with self.http.post(url, data=json.dumps(body), headers=headers) as response:
            return response.status, await response.json()

    async def act(self, **action: Any) -> Answer:
        return await self.post("computer-action", action)

    async def bash(self, command: str) -> Answer:
        return await self.post("bash-action", {"command": command})

    @property
    def screen(self) -> SimulatedBackend:
        return self.emulator.desktops.desktops[self.id].simulated


@frozen
class Both:
    simulated: Side
    real: Side

    async def act(self, **action: Any) -> Answer:
        """Do it on both; returns what both answer."""
        return self._same(await self.simulated.act(**action), await self.real.act(**action), action)

    async def bash(self, command: str) -> Answer:
        return self._same(
            await self.simulated.bash(command), await self.real.bash(command), command
        )

    def _same(self, simulated: Answer, real: Answer, what: object) -> Answer:
        assert unnumbered(simulated) == unnumbered(real), what
        return simulated


def unnumbered(answer: Answer) -> Answer:
    """Without the numbers of windows, which differ."""
    status, body = answer
    return status, json.loads(re.sub(r"(WINDOW=|window:)\d+", r"\1", json.dumps(body)))


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    require_x11()
    async with (
        Emulator(clock=Clock.stopped()) as simulated,
        Emulator(backend="x11", allow_exec=True) as real,
        aiohttp.ClientSession() as http,
    ):
        one, other = simulated.desktops.add_desktop(), real.desktops.add_desktop()
        await until(lambda: other.status(real.clock.now()) == "running")
        yield Both(Side(simulated, one.id, http), Side(real, other.id, http))


def failed(code: int) -> str:
    return f"Unexpected error during action execution: Command failed with code {code}"


async def location(both: Both) -> str:
    _, body = await both.act(type="get_cursor_position")
    return " ".join(body["output"].splitlines()[:2])


# -- the mouse -------------------------------------------------------------------------------------


async def test_the_pointer_goes_where_xdotool_moves_it(both: Both) -> None:
    for x, y, status, then in (
        (321, 123, 200, "X=321 Y=123"),
        (5000, 5000, 200, "X=1023 Y=767"),
        (-5, 10, 500, "X=1023 Y=767"),
        (5, -10, 200, "X=5 Y=0"),
        (66_000, 7, 200, "X=464 Y=7"),
        (40_000, 7, 200, "X=0 Y=7"),
        (10**21, 10**10, 200, "X=1 Y=0"),
        (12, 34, 200, "X=12 Y=34"),
    ):
        answer = await both.act(type="move_mouse", x=x, y=y)
        assert answer[0] == status, (x, y)
        if status == 500:
            assert answer[1]["error"] == failed(1)
        assert await location(both) == then


async def test_clicks_and_drags_fail_where_xdotool_fails(both: Both) -> None:
    click = {"type": "click_mouse"}
    for action, status, then in (
        ({**click, "x": 30, "y": 40}, 200, "X=30 Y=40"),
        ({**click, "num_of_clicks": 0, "x": 50, "y": 60}, 500, "X=50 Y=60"),
        ({**click, "num_of_clicks": 3, "button": "right"}, 200, "X=50 Y=60"),
        ({**click, "x": 7}, 200, "X=50 Y=60"),
        ({**click, "x": -7, "y": 1}, 500, "X=50 Y=60"),
        ({**click, "click_type": "down", "num_of_clicks": 0}, 200, "X=50 Y=60"),
        ({**click, "click_type": "up"}, 200, "X=50 Y=60"),
        ({"type": "scroll", "direction": "left", "amount": -3}, 200, "X=50 Y=60"),
        ({"type": "scroll", "direction": "down", "amount": 3}, 200, "X=50 Y=60"),
        (drag((1, 2), (3, 4)), 200, "X=3 Y=4"),
        (drag((10, 20), (-3, 4)), 500, "X=10 Y=20"),
        (drag((-1, 20), (3, 4)), 500, "X=10 Y=20"),
        (drag((1, 20), (3, -4)), 200, "X=3 Y=0"),
    ):
        assert (await both.act(**action))[0] == status, action
        assert await location(both) == then, action


def drag(start: tuple[int, int], end: tuple[int, int]) -> dict[str, Any]:
    places = {name: {"x": at[0], "y": at[1]} for name, at in (("start", start), ("end", end))}
    return {"type": "drag_mouse", **places}


async def test_a_screenshot_is_a_jpeg_file_that_is_removed(both: Both) -> None:
    for _ in range(2):
        for side in (both.simulated, both.real):
            status, body = await side.act(type="screenshot")
            assert status == 200
            assert list(body) == ["base64_image"]
            assert body["base64_image"].startswith("/9j/")
            assert not re.search(r"\s", body["base64_image"])
    file = both.simulated.screen.screen_file
    assert file not in both.simulated.screen.files
    backend = both.real.emulator.desktops.desktops[both.real.id].backend
    assert isinstance(backend, X11Backend)
    assert list((backend.desktop.home.parent / "tmp").iterdir()) == []


async def test_a_screenshot_does_not_overwrite_a_file(both: Both) -> None:
    """scrot gives the new one another name, so the old one is what is read and removed."""
    both.simulated.screen.files["/tmp/screen.jpg"] = "old"
    backend = both.real.emulator.desktops.desktops[both.real.id].backend
    assert isinstance(backend, X11Backend)
    (backend.desktop.home.parent / "tmp" / "screen.jpg").write_text("old")
    assert (await both.act(type="screenshot"))[1] == {"base64_image": "b2xk"}
    assert list(both.simulated.screen.files)[-1] == "/tmp/screen_000.jpg"
    assert [file.name for file in (backend.desktop.home.parent / "tmp").iterdir()] == [
        "screen_000.jpg"
    ]


# -- the keyboard ----------------------------------------------------------------------------------


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
        # Where names are told, on stderr, both tell the same.
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


async def test_entered_text_is_what_an_editor_receives(both: Both) -> None:
    """The simulated `typed` against mousepad: held modifiers, ends of lines, shifted keys."""
    plain = "DISPLAY=:99 xdotool"
    steps: Sequence[tuple[str, Any]] = (
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
        # A modifier that is held does not apply to what the service presses and types …
        ("down", "shift"),
        ("press", "d"),
        ("type", "e-1"),
        # … but to a plain xdotool, and the service's own release leaves it down.
        ("bash", f"{plain} key f"),
        ("bash", f"{plain} key 2"),
        ("up", "shift"),
        ("bash", f"{plain} key g"),
        ("bash", f"{plain} type 'hi-;'"),
        ("bash", f"{plain} keyup shift"),
        ("bash", f"{plain} key j"),
        ("bash", f"{plain} type 'k l'"),
        ("down", "m"),
        ("up", "m"),
        ("bash", f"{plain} keydown shift key n keyup shift key o"),
        ("bash", f"{plain} key shift p"),
        ("press", "Return"),
    )
    await editor(both.real)
    for what, value in steps:
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


# -- commands --------------------------------------------------------------------------------------


async def test_both_shells_give_the_same_trimmed_output(both: Both) -> None:
    for command, output in (
        ("echo '  a  '; echo", "a"),
        ("true", ""),
        ("nosuch --flag", "bash: line 1: nosuch: command not found"),
        ("ls /nowhere", "ls: cannot access '/nowhere': No such file or directory"),
        ("echo out; ls /nowhere", "out"),
        ("echo; ls /nowhere", "ls: cannot access '/nowhere': No such file or directory"),
        ("DISPLAY=:99 xdotool mousemove 7 8 getmouselocation --shell", None),
        ("export DISPLAY=:99; xdotool mousemove 9 8 && xdotool getmouselocation", None),
        ("DISPLAY=:98 xdotool key a || echo no display", "no display"),
        ('A=b; echo "$A" \'$A\' \\$A "\\$A" ${A}c', "b $A $A $A bc"),
        ("echo a\\\n b # c\necho d", "a b\nd"),
        ("echo a | base64", "YQo="),
        ("sleep -1 || sleep x || echo no sleep", "no sleep"),
        ("rm nosuch", "rm: cannot remove 'nosuch': No such file or directory"),
    ):
        status, body = await both.bash(command)
        assert (status, body["status"]) == (200, "success")
        if output is not None:
            assert body["output"] == output


async def test_waiting_accepts_any_short_number(both: Both) -> None:
    for ms in (0, -5, 30):
        assert await both.act(type="wait", ms=ms) == (200, {"output": ""})

"""The same requests to a simulated desktop and a real one: status, messages, effects are equal.

The real one runs bash, xdotool and scrot, so it is the reference for the simulated one. Other
answers of both are asserted here where the facts name them (wire-facts, section 4).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.x11.both import Both, Side, failed, location
from tests.x11.machine import require_x11, until
from vcloud.emulator import Clock, Emulator
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
    """scrot gives the new file another name, so the old one is read and removed."""
    both.simulated.screen.files["/tmp/screen.jpg"] = "old"
    backend = both.real.emulator.desktops.desktops[both.real.id].backend
    assert isinstance(backend, X11Backend)
    (backend.desktop.home.parent / "tmp" / "screen.jpg").write_text("old")
    assert (await both.act(type="screenshot"))[1] == {"base64_image": "b2xk"}
    assert list(both.simulated.screen.files)[-1] == "/tmp/screen_000.jpg"
    assert [file.name for file in (backend.desktop.home.parent / "tmp").iterdir()] == [
        "screen_000.jpg"
    ]


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

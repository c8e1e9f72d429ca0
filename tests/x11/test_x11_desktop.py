"""Each action of the desktop-action API, from the client to its effect on a real screen."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.x11.machine import (
    content,
    home_of,
    open_window,
    require_x11,
    until,
    window_under_pointer,
)
from vcloud.emulator import Emulator
from vcloud.providers.desktops import Desktop, Desktops, GetCursorPosition

#: Where a terminal is opened, and a place in it, by the size of the built-in font.
TERMINAL = "xterm -geometry 100x40+0+0"
INSIDE = (200, 200)


@pytest.fixture
async def desktop() -> AsyncIterator[Desktop]:
    require_x11()
    async with (
        Emulator(backend="x11", allow_exec=True) as emulator,
        Desktops(emulator.endpoints()["desktops"]) as desktops,
        desktops.launch(timedelta(hours=1), poll=0.01) as desktop,
    ):
        yield desktop


async def terminal(desktop: Desktop, script: str) -> Path:
    """Run a script in a terminal under the pointer; the directory in which it runs."""
    home = await home_of(desktop)
    (home / "script").write_text(f"touch ready\n{script}\n")
    await open_window(desktop, f"{TERMINAL} -e bash script", *INSIDE)
    await until((home / "ready").exists)
    return home


async def events(
    desktop: Desktop, home: Path, kind: str, detail: str, count: int
) -> list[tuple[str, str]]:
    """Wait for so many events in the log of xev."""
    found: list[tuple[str, str]] = []

    def all_there() -> bool:
        pattern = rf"^({kind})\w* event.*?\({detail}|^({kind})\w* event.*?{detail} (\w+)"
        found[:] = [
            (match[1] or match[2], match[3] or "")
            for match in re.finditer(
                pattern, (home / "events").read_text(), re.DOTALL | re.MULTILINE
            )
        ]
        return len(found) >= count

    await until(all_there)
    return found


async def listener(desktop: Desktop) -> Path:
    """Open a window that logs its mouse events, with the pointer in it."""
    home = await home_of(desktop)
    await open_window(
        desktop, "xev -event button -event mouse -geometry 400x300+100+100 > events", 300, 250
    )
    return home


# -- the mouse -------------------------------------------------------------------------------------


async def test_the_pointer_is_where_it_was_sent(desktop: Desktop) -> None:
    await desktop.move(321, 123)
    assert await desktop.cursor_position() == (321, 123)
    output = (await desktop.perform(GetCursorPosition())).output
    root = await window_under_pointer(desktop)
    assert output == f"X=321\nY=123\nSCREEN=0\nWINDOW={root}"
    await desktop.move(5000, 5000)
    assert await desktop.cursor_position() == (1023, 767), "it stops at the edge"


async def test_clicks_arrive_with_their_button_and_number(desktop: Desktop) -> None:
    home = await listener(desktop)
    await desktop.click(250, 200)
    await desktop.double_click(button="middle")
    await desktop.right_click(260, 210)
    await desktop.mouse_down()
    await desktop.mouse_up()
    seen = await events(desktop, home, "Button", "button", 10)
    assert [button for _, button in seen] == ["1", "1", "2", "2", "2", "2", "3", "3", "1", "1"]
    log = (home / "events").read_text()
    assert "root:(250,200)" in log
    assert "root:(260,210)" in log


async def test_a_button_is_held_until_it_is_released(desktop: Desktop) -> None:
    home = await listener(desktop)
    await desktop.mouse_down(250, 200)
    await events(desktop, home, "Button", "button", 1)
    assert "ButtonRelease" not in (home / "events").read_text()
    await desktop.mouse_up(300, 220)
    await until(lambda: "ButtonRelease" in (home / "events").read_text())
    assert "root:(300,220)" in (home / "events").read_text()


async def test_the_wheel_turns_in_four_directions(desktop: Desktop) -> None:
    home = await listener(desktop)
    for direction, clicks in (("up", 1), ("down", 3), ("left", 2), ("right", 1)):
        await desktop.scroll(direction, clicks)
    seen = await events(desktop, home, "Button", "button", 14)
    assert [button for _, button in seen[::2]] == ["4", "5", "5", "5", "6", "6", "7"]


async def test_the_wheel_scrolls_a_terminal(desktop: Desktop) -> None:
    await terminal(desktop, "seq 500; touch done; cat")
    home = await home_of(desktop)
    await until((home / "done").exists)
    before = (await desktop.screenshot()).data

    async def scrolled() -> bool:
        return (await desktop.screenshot()).data != before

    await desktop.scroll("up", 5)
    await until(scrolled)


async def test_a_drag_selects_text_and_a_middle_click_pastes_it(desktop: Desktop) -> None:
    home = await terminal(desktop, "echo 'marked words'; touch printed; cat > pasted")
    await until((home / "printed").exists)

    async def pasted() -> bool:
        # The words can be selected once the terminal has drawn them.
        await desktop.drag((4, 8), (41, 8))
        await desktop.click(*INSIDE, button="middle")
        await desktop.press("Return")
        return "marked" in content(home / "pasted")

    await until(pasted)
    assert set(content(home / "pasted").split()) == {"marked"}, "so much, and no more"


# -- the keyboard ----------------------------------------------------------------------------------

TEXT = """"quoted" -- with `ticks`, $HOME, \\backslashes\\ and ~tildes^
aA bB !1 @2 #3 (4) {5} [6] <7> |8| ;9 ?0
"""


async def test_typed_text_arrives_in_a_real_window(desktop: Desktop) -> None:
    home = await terminal(desktop, "cat > typed")
    before = await desktop.screenshot()
    await desktop.type(TEXT)
    await until(lambda: content(home / "typed") == TEXT)
    after = await desktop.screenshot()
    assert before.data != after.data


async def test_a_chord_interrupts_a_program(desktop: Desktop) -> None:
    home = await terminal(desktop, "trap true INT; cat > heard; echo $? > status")
    await desktop.type("hello\n")
    await until(lambda: content(home / "heard") == "hello\n")
    await desktop.press("ctrl+c")
    await until(lambda: content(home / "status") == "130\n")


async def test_keys_are_pressed_one_by_one_and_together(desktop: Desktop) -> None:
    home = await terminal(desktop, "cat > typed")
    await desktop.press("shift", "a")
    await desktop.press("b")
    await desktop.press("plus")
    await desktop.press("c")
    await desktop.press("d")
    await desktop.press("BackSpace")
    await desktop.press("Return")
    await desktop.press("ctrl+d")
    await until(lambda: content(home / "typed") == "Ab+c\n")


# -- the screen ------------------------------------------------------------------------------------


async def test_a_screenshot_is_a_jpeg_of_the_real_screen_in_colour(desktop: Desktop) -> None:
    from PIL import Image

    empty = await desktop.screenshot()
    await open_window(desktop, f"{TERMINAL} -bg '#e01020' -e cat", *INSIDE)

    async def drawn() -> bool:
        image = Image.open(io.BytesIO((await desktop.screenshot()).data))
        assert (image.format, image.size, image.mode) == ("JPEG", (1024, 768), "RGB")
        pixel = image.getpixel(INSIDE)
        assert isinstance(pixel, tuple)
        red, green, blue = pixel
        return red > 200 and green < 60 and blue < 80

    await until(drawn)
    assert empty.media_type == "image/jpeg"

"""Helpers of the tests with a person's viewer: a terminal on a real desktop, and what it shows."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from tests.lacking import untested
from tests.x11.machine import require_x11, until
from vcloud.emulator.x11 import X11Desktop

#: The terminal is in the screen's upper left corner: 80 x 24 characters of 6 x 13 pixels each.
TERMINAL = ("xterm", "-geometry", "80x24+0+0", "-fg", "black", "-bg", "white", "-fn", "fixed")
INSIDE = (200, 150)
#: Its first two lines, without its border; and a part below them and the pointer that stays empty.
TEXT = (slice(3, 30), slice(3, 480))
BELOW = (slice(180, 300), slice(3, 480))


def foreign_viewer() -> Any:
    """Another project's VNC client (PyPI: asyncvnc), imported by name because it is untyped."""
    require_x11()
    try:
        return importlib.import_module("asyncvnc")
    except ModuleNotFoundError as error:
        reason = (
            f"A FOREIGN VNC VIEWER IS NOT TESTED: there is no {error.name} (pip install asyncvnc)"
        )
        untested(reason)


def dark(frame: Any, area: tuple[slice, slice]) -> int:
    """How many pixels are nearer to black than to white."""
    return int((frame[area][:, :, :3].max(axis=2) < 128).sum())


async def pointer_at(desktop: X11Desktop, x: int, y: int) -> None:
    """Wait until the X server itself says that its pointer is here."""

    async def there() -> bool:
        said = (await desktop.run("xdotool getmouselocation")).stdout
        return said.startswith(f"x:{x} y:{y} ")

    await until(there)


async def terminal(desktop: X11Desktop, viewer: Any) -> Any:
    """Move the pointer into the terminal, which then gets the keys; the screen with the pointer."""
    await until((desktop.home / "ready").exists)
    viewer.mouse.move(*INSIDE)
    await pointer_at(desktop, *INSIDE)
    while True:
        frame = await viewer.screenshot()
        # A white window with little more than its cursor. Before it is there, all is black.
        if not dark(frame, BELOW) and dark(frame, TEXT) < 400:
            return frame


def script(text: str) -> Sequence[str]:
    return (*TERMINAL, "-e", "sh", "-c", f"touch ready; {text}")

"""The desktop-action API on real desktops: each action done on a real screen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vcloud.emulator.desktops_backend import CommandFailedError, Pointer
from vcloud.emulator.desktops_bash import Ran
from vcloud.emulator.x11 import COMMAND_LIMIT, X11Desktop
from vcloud.emulator.x11_display import DisplayError
from vcloud.emulator.x11_keys import UnknownKeyError


@contextmanager
def _as_failed() -> Iterator[None]:
    try:
        yield
    except (DisplayError, UnknownKeyError):
        # What the service's own tool says when it has no display, or does not know a key.
        raise CommandFailedError(1) from None


class X11Backend:
    """One desktop of the service. It has nothing before `start` and leaves nothing after `aclose`."""

    def __init__(self, *, command_limit: float = COMMAND_LIMIT) -> None:
        """Cut commands after so many seconds, which are real ones whatever the emulator's clock says."""
        self._command_limit = command_limit
        self._desktop: X11Desktop | None = None

    async def start(self) -> None:
        """Start the X server."""
        self._desktop = await X11Desktop.start()

    async def aclose(self) -> None:
        """End every process, remove every file."""
        if self._desktop is not None:
            await self._desktop.aclose()

    @property
    def alive(self) -> bool:
        """Whether the X server runs."""
        return self._desktop is not None and self._desktop.alive

    @property
    def desktop(self) -> X11Desktop:
        """Return what it runs on.

        Raises:
            DisplayError: it has not started.
        """
        if self._desktop is None:
            raise DisplayError("the desktop has not started")
        return self._desktop

    async def move(self, x: int, y: int) -> None:
        """Put the pointer somewhere; at the edge of the screen it stops."""
        with _as_failed():
            await self.desktop.move(x, y)

    async def click(self, button: str, count: int) -> None:
        """Click so often, where the pointer is."""
        with _as_failed():
            await self.desktop.hands.click(button, count)

    async def hold_button(self, button: str, *, down: bool) -> None:
        """Press or release a button."""
        with _as_failed():
            await self.desktop.hands.hold_button(button, down=down)

    async def scroll(self, direction: str, clicks: int) -> None:
        """Turn the wheel."""
        with _as_failed():
            await self.desktop.hands.scroll(direction, clicks)

    async def type(self, text: str) -> None:
        """Enter a text into the window under the pointer."""
        with _as_failed():
            await self.desktop.hands.type(text)

    async def press_keys(self, keys: str) -> None:
        """Press keys, joined with a plus, together."""
        with _as_failed():
            await self.desktop.hands.press_keys(keys)

    async def hold_keys(self, keys: str, *, down: bool) -> None:
        """Press or release keys."""
        with _as_failed():
            await self.desktop.hands.hold_keys(keys, down=down)

    async def pointer(self) -> Pointer:
        """Return where the pointer is, and the window under it."""
        with _as_failed():
            found = await self.desktop.pointer()
        return Pointer(found.x, found.y, window=found.window)

    async def screenshot(self) -> bytes:
        """Return the screen as a JPEG file."""
        with _as_failed():
            return await self.desktop.screenshot()

    async def bash(self, command: str) -> Ran:
        """Run a command on this machine; see `X11Desktop.run`."""
        with _as_failed():
            return await self.desktop.run(command, limit=self._command_limit)

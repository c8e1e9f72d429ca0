"""The desktop-action API on real desktops: each command runs on this machine, with a real screen."""

from __future__ import annotations

from vcloud.emulator.desktops.backend import GATEWAY_LIMIT, GatewayError
from vcloud.emulator.desktops.bash import Ran
from vcloud.emulator.x11.desktop import DesktopGoneError, X11Desktop


class X11Backend:
    """One desktop of the service. It has nothing before `start` and leaves nothing after `aclose`.

    The service's own display, `:99`, leads to this desktop's in all that runs on it; see `redirect`.
    """

    def __init__(self, *, command_limit: float = GATEWAY_LIMIT) -> None:
        """Wait so many seconds for a command, which are real ones whatever the emulator's clock says."""
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
        """What it runs on.

        Raises:
            DesktopGoneError: it has not started.
        """
        if self._desktop is None:
            raise DesktopGoneError("the desktop has not started")
        return self._desktop

    @property
    def screen_file(self) -> str:
        """The path by which a screenshot goes: each desktop has its own, for they share a machine."""
        return str(self.desktop.home.parent / "tmp" / "screen.jpg")

    async def act(self, command: str) -> Ran:
        """Run the command behind an action; see `X11Desktop.run`."""
        try:
            return await self.desktop.run(command, limit=self._command_limit)
        except DesktopGoneError:
            raise GatewayError(503) from None
        except TimeoutError:
            raise GatewayError(504) from None

    async def bash(self, command: str) -> Ran:
        """Run a command of the caller's own, on this machine."""
        return await self.act(command)

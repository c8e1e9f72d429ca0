"""The desktop-action API on real desktops: each command runs on this machine, with a real screen."""

from __future__ import annotations

from typing import Final

from vcloud.emulator.desktops.backend import GATEWAY_LIMIT, GatewayError
from vcloud.emulator.desktops.bash import Ran
from vcloud.emulator.x11.desktop import DesktopGoneError, X11Desktop

#: What xdotool is in the commands of actions: arguments are in /proc/PID/cmdline, which every user
#: of this machine can read, so what is typed goes by its standard input. Options stay where they
#: are, and so does a text that xdotool takes for one. It reads 4 KiB at a time, hence the pieces.
_QUIET_XDOTOOL: Final = r"""xdotool() {
    local IFS= at
    if [[ $1 == type && $# -gt 4 && $5 != -* ]]; then
        local text="${*:5}"
        for ((at = 0; at == 0 || at < ${#text}; at += 1000)); do
            printf %s "${text:at:1000}" | command xdotool "${@:1:4}" --file - || return
        done
    elif [[ $1 == key* && $# == 3 && $3 =~ ^[A-Za-z0-9_+]+$ ]]; then
        printf '%s %s %s\n' "$@" | command xdotool -
    else
        command xdotool "$@"
    fi
}
"""


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
        return await self._run(_QUIET_XDOTOOL + command)

    async def bash(self, command: str) -> Ran:
        """Run a command of the caller's own, on this machine."""
        return await self._run(command)

    async def _run(self, command: str) -> Ran:
        try:
            return await self.desktop.run(command, limit=self._command_limit)
        except DesktopGoneError:
            raise GatewayError(503) from None
        except TimeoutError:
            raise GatewayError(504) from None

"""The desktop-action API on real desktops: commands run on this machine, with a real screen."""

from __future__ import annotations

from typing import Final

from vcloud.emulator.desktops.backend import GATEWAY_LIMIT, GatewayError
from vcloud.emulator.desktops.programs import Ran
from vcloud.emulator.x11.desktop import DesktopGoneError, X11Desktop

#: Replaces xdotool in the commands of actions. Every user of this machine can read arguments in
#: /proc/PID/cmdline, so the typed text is sent to standard input. Options, and a text that xdotool
#: takes for one, stay arguments. xdotool reads 4 KiB at a time, so the text is sent in pieces.
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
    """One desktop of the service. It starts with `start`, and `aclose` leaves nothing.

    In its programs, the service's display `:99` is this desktop's; see `redirect`.
    """

    def __init__(self, *, command_limit: float = GATEWAY_LIMIT) -> None:
        """Wait this many seconds for a command."""
        self.command_limit: float = command_limit
        """Real seconds, whatever the emulator's clock says."""
        self._desktop: X11Desktop | None = None

    async def start(self) -> None:
        """Start the X server."""
        self._desktop = await X11Desktop.start()

    async def aclose(self) -> None:
        """End every process and remove every file."""
        if self._desktop is not None:
            await self._desktop.aclose()

    @property
    def alive(self) -> bool:
        """Whether the X server runs."""
        return self._desktop is not None and self._desktop.alive

    @property
    def desktop(self) -> X11Desktop:
        """The real desktop.

        Raises:
            DesktopGoneError: it has not started.
        """
        if self._desktop is None:
            raise DesktopGoneError("the desktop has not started")
        return self._desktop

    @property
    def screen_file(self) -> str:
        """The file for screenshots. Each desktop has its own, because they share a machine."""
        return str(self.desktop.home.parent / "tmp" / "screen.jpg")

    async def act(self, command: str) -> Ran:
        """Run the command behind an action; see `X11Desktop.run`."""
        return await self._run(_QUIET_XDOTOOL + command)

    async def bash(self, command: str) -> Ran:
        """Run a command of the caller, on this machine."""
        return await self._run(command)

    async def _run(self, command: str) -> Ran:
        try:
            return await self.desktop.run(command, limit=self.command_limit)
        except DesktopGoneError:
            raise GatewayError(503) from None
        except TimeoutError:
            raise GatewayError(504) from None

"""What an emulated desktop runs on: a simulated display, or a real one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Protocol

from attrs import define, field

from vcloud.emulator.clock import Clock
from vcloud.emulator.desktops.bash import HOME_FILES, Program, Ran, Shell
from vcloud.emulator.desktops.commands import SCREEN_FILE
from vcloud.emulator.desktops.screen import Event, Screen
from vcloud.emulator.desktops.xdotool import ENVIRONMENT, Scrot, Xdotool

GATEWAY_LIMIT: Final = 30.0
"""Seconds after which the gateway stops waiting for a command, which keeps running."""


class GatewayError(Exception):
    """The gateway has no answer from the desktop."""

    def __init__(self, status: int) -> None:
        """Carry the gateway's status: 504 after its limit, 503 for a desktop that has ended."""
        super().__init__(f"Request failed with status code {status}")
        self.status: int = status


class Backend(Protocol):
    """A desktop's shell, which has `xdotool` and `scrot` for its display.

    The service composes every command and every answer; a backend only runs the command. Both
    methods may raise `GatewayError`. A backend that must be started and ended is a
    `lifetimes.Startable` too.
    """

    @property
    def screen_file(self) -> str:
        """The path of the file for screenshots."""
        ...

    async def act(self, command: str) -> Ran:
        """Run the command behind an action."""
        ...

    async def bash(self, command: str) -> Ran:
        """Run a command of the caller.

        The service waits for the `seconds` of the result, by the emulator's clock.
        """
        ...


@define(kw_only=True)
class SimulatedBackend(Screen):
    """A desktop in memory. Nothing that a caller sends runs on this machine."""

    clock: Clock
    files: dict[str, str] = field(factory=lambda: dict(HOME_FILES), repr=False)
    """What `ls` and `cat` find, by absolute path."""
    failing: list[int] = field(factory=list)
    """Exit statuses with which the next calls of `xdotool` and `scrot` fail, one each."""

    @property
    def screen_file(self) -> str:
        """The path of the file for screenshots, in `files`."""
        return SCREEN_FILE

    async def act(self, command: str) -> Ran:
        """Run the command with the built-in programs."""
        programs: dict[str, Program] = {
            "xdotool": Xdotool(self, self.files).run,
            "scrot": Scrot(self, self.files).run,
        }
        failing = {name: self._unless_failing(program) for name, program in programs.items()}
        now = datetime.fromtimestamp(self.clock.now(), UTC)
        return Shell(self.files, now, failing, dict(ENVIRONMENT)).run(command)

    async def bash(self, command: str) -> Ran:
        """Run the command with the built-in programs."""
        self.note("bash", command=command)
        return await self.act(command)

    def _unless_failing(self, program: Program) -> Program:
        return lambda call: Ran(code=self.failing.pop(0)) if self.failing else program(call)


__all__ = ["Backend", "Event", "GatewayError", "SimulatedBackend"]

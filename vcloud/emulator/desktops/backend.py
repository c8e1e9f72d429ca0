"""What an emulated desktop runs on: a simulated display, or a real one."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Final, Protocol

from attrs import define, field

from vcloud.emulator.clock import Clock
from vcloud.emulator.desktops.bash import Program, Ran, Shell
from vcloud.emulator.desktops.commands import SCREEN_FILE
from vcloud.emulator.desktops.files import HOME_FILES
from vcloud.emulator.desktops.refusal import NotSimulatedError
from vcloud.emulator.desktops.screen import Event, Screen
from vcloud.emulator.desktops.scrot import Scrot
from vcloud.emulator.desktops.xdotool import ENVIRONMENT, Xdotool

GATEWAY_LIMIT: Final = 30.0
"""Seconds after which the gateway stops waiting for a command, which keeps running."""

_OF_THE_SCREEN: Final = re.compile(
    r"(?:export DISPLAY=\S+; *)?(?:DISPLAY=\S+ +)?xdotool [^;&|<>\n]*"
)
"""A command for the screen alone, as clients send them to hold keys."""

BashFunction = Callable[[str], "str | Ran | None"]
"""What answers commands: the output, a `Ran`, or None to leave a command to the next one."""


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
    absent: set[str] = field(factory=set)
    """Commands that this desktop lacks for certain: "command not found"."""
    functions: list[BashFunction] = field(factory=list, repr=False)
    """What answers commands before the simulated shell does; the last is asked first."""

    @property
    def screen_file(self) -> str:
        """The path of the file for screenshots, in `files`."""
        return SCREEN_FILE

    async def act(self, command: str) -> Ran:
        """Run the command with the built-in programs.

        Raises:
            NotSimulatedError: they do not do this; then nothing of it is done.
        """
        files = dict(self.files)
        try:
            with self.whole_or_not():
                return self._run(command)
        except NotSimulatedError:
            self.files.clear()
            self.files.update(files)
            raise

    async def bash(self, command: str) -> Ran:
        """Run the command with the first function that answers it, or as `act` does."""
        with self.whole_or_not():
            self.note("bash", command=command)
            answer = None if _OF_THE_SCREEN.fullmatch(command) else self._answered(command)
            return await self.act(command) if answer is None else answer

    def _answered(self, command: str) -> Ran | None:
        for function in reversed(self.functions):
            answer: object = function(command)
            if isinstance(answer, str):
                return Ran(stdout=answer)
            if isinstance(answer, Ran):
                return answer
            if answer is None:
                continue
            if isinstance(answer, Coroutine):
                answer.close()
            msg = (
                "the function of on_bash must be a plain one that returns a str, a Ran or None, "
                f"not {type(answer).__name__}"
            )
            raise TypeError(msg)
        return None

    def _run(self, command: str) -> Ran:
        programs: dict[str, Program] = {
            "xdotool": Xdotool(self, self.files).run,
            "scrot": Scrot(self, self.files).run,
        }
        failing = {name: self._unless_failing(program) for name, program in programs.items()}
        now = datetime.fromtimestamp(self.clock.now(), UTC)
        shell = Shell(self.files, now, failing, dict(ENVIRONMENT), self.absent)
        return shell.run(command)

    def _unless_failing(self, program: Program) -> Program:
        return lambda call: Ran(code=self.failing.pop(0)) if self.failing else program(call)


__all__ = ["Backend", "BashFunction", "Event", "GatewayError", "Ran", "SimulatedBackend"]

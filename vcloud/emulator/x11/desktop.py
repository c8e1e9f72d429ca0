"""A real desktop: what a program holds of it, and does with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from vcloud.emulator.desktops.bash import Ran
from vcloud.emulator.desktops.screen import HEIGHT, WIDTH
from vcloud.emulator.tasks import run_to_completion
from vcloud.emulator.x11.vnc import VNCPort

_CLOSING: Final = 15.0
"""Seconds that the end of a desktop may take. It takes some 50 ms, unless the machine is very busy."""
_LONGEST_LINE: Final = 64 * 1024 * 1024
"""Bytes of a message from the supervisor: two outputs of 4 MiB, with every byte escaped."""
# Debian installs TigerVNC's under both names; the second may be another server's on other systems.
_SERVERS: Final = ("Xtigervnc", "Xvnc")
#: The programs with which the service acts on a desktop, and its shell: all of them Debian packages of these names.
_PROGRAMS: Final = ("bash", "xdotool", "scrot")


class X11UnavailableError(OSError):
    """This machine cannot show real desktops; the message names what to install."""


class DesktopGoneError(Exception):
    """The desktop has not started, or has ended."""


def missing() -> list[str]:
    """What would have to be installed before a desktop can start; empty when nothing is."""
    if not sys.platform.startswith("linux"):
        return ["a Linux system"]
    lacking = []
    if _server() is None:
        lacking.append("the program Xvnc (Debian: apt-get install tigervnc-standalone-server)")
    return lacking + [
        f"the program {name} (Debian: apt-get install {name})"
        for name in _PROGRAMS
        if shutil.which(name) is None
    ]


def require() -> None:
    """Do nothing if desktops can start.

    Raises:
        X11UnavailableError: they cannot; says what to install.
    """
    if lacking := missing():
        raise X11UnavailableError(f"real desktops need {', and '.join(lacking)}")


def _server() -> str | None:
    return next((path for name in _SERVERS if (path := shutil.which(name))), None)


class X11Desktop:
    """A real desktop. Made by `start`; `async with` closes it, and so does `aclose`.

    There is no window manager, so the keyboard goes to the window under the pointer.

    Attributes:
        display: its X display, such as `:3`. For the programs that run on it, it is also `:99`, the service's.
        home: the directory in which its programs start, gone when it is closed.
        vnc_path: the unix socket on which its VNC server listens. It asks for no password, because no other user of the
            machine can reach it; there is no TCP port, which all of them could, unless `vnc_address` is asked for one.
        output_limit: bytes kept of what a command prints.
    """

    output_limit: Final = 4 * 1024 * 1024

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        control: asyncio.StreamWriter,
        told: dict[str, Any],
    ) -> None:
        """Use `start` instead."""
        self.display: str = told["display"]
        self.home = Path(told["home"])
        self.vnc_path = Path(told["vnc"])
        self._process = process
        self._control = control
        self._number = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._listening: asyncio.Task[None] | None = None
        self._vnc = VNCPort(self.vnc_path)
        self._port: asyncio.Future[tuple[str, int]] | None = None

    @classmethod
    async def start(
        cls, command: Sequence[str] = (), *, width: int = WIDTH, height: int = HEIGHT
    ) -> Self:
        """Start a desktop and, if one is given, a program on it.

        Args:
            command: a program and its arguments, such as `["xterm", "-maximized"]`; it is not waited for.
            width: pixels.
            height: pixels.

        Raises:
            X11UnavailableError: something is not installed, or the X server or the program does not start.
        """
        require()
        # Finished, and then undone, if it is cancelled: only then is it known what there is to undo.
        starting = asyncio.create_task(cls._start(command, width, height))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await run_to_completion(_undo(starting), within=_CLOSING)
            raise

    @classmethod
    async def _start(cls, command: Sequence[str], width: int, height: int) -> Self:
        ours, theirs = socket.socketpair()
        with theirs:
            script = Path(__file__).with_name("supervisor.py")
            try:
                process = await asyncio.create_subprocess_exec(
                    *(
                        sys.executable,
                        "-I",
                        str(script),
                        str(theirs.fileno()),
                        _server() or "",
                        str(width),
                        str(height),
                    ),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    # Ctrl+C in the emulator's terminal is for the emulator, which then ends its desktops in order.
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise
        reader, control = await asyncio.open_unix_connection(sock=ours, limit=_LONGEST_LINE)
        desktop: Self | None = None
        try:
            desktop = cls(process, control, await _first(reader))
            desktop._listening = asyncio.create_task(desktop._listen(reader))
            if command:
                await desktop.spawn(*command)
        except BaseException as error:
            await (desktop._close() if desktop else _end(process, control))
            if isinstance(error, DesktopGoneError):
                raise X11UnavailableError(str(error)) from None
            raise
        return desktop

    async def __aenter__(self) -> Self:
        """Return the desktop itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.aclose()

    async def aclose(self) -> None:
        """End all of its processes and remove its directory; may be called again. Done even if cancelled meanwhile."""
        await run_to_completion(self._close(), within=_CLOSING)

    @property
    def alive(self) -> bool:
        """Whether its X server still runs."""
        return self._listening is not None and not self._listening.done()

    async def spawn(self, *argv: str) -> None:
        """Start a program and do not wait for it.

        Raises:
            X11UnavailableError: there is no such program.
            DesktopGoneError: the desktop is gone.
        """
        answer = await self._order("spawn", argv=argv)
        if answer["code"]:
            raise X11UnavailableError(answer["stderr"].strip())

    async def run(self, command: str, *, limit: float | None = None) -> Ran:
        """Run `bash -c` in the desktop's home directory.

        A program that the command leaves behind in the background lives on, and is not waited for. A command
        is killed, with everything that it has started, if this call is cancelled.

        Args:
            command: what to run.
            limit: seconds to wait for its end; None waits as long as it takes.

        Returns:
            Its exit status and what it printed, at most `output_limit` bytes of each output.

        Raises:
            TimeoutError: it took longer than `limit`. It goes on running, as long as the desktop lasts.
            DesktopGoneError: the desktop is gone.
        """
        answer = await self._order("run", command=command, limit=limit)
        if answer["late"]:
            raise TimeoutError
        return Ran(stdout=answer["stdout"], stderr=answer["stderr"], code=answer["code"])

    async def open_vnc(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the desktop's VNC server; the streams carry RFB, without a password.

        Raises:
            OSError: the desktop is gone.
        """
        return await asyncio.open_unix_connection(self.vnc_path)

    async def vnc_address(self) -> tuple[str, int]:
        """Return host and port of its VNC server. Prefer `vnc_path` where unix sockets will do.

        The port is opened when this is first called and lasts as long as the desktop. It is on loopback, and hangs up on
        every user of the machine but this one and root, because the VNC server itself asks for no
        password.
        """
        if self._port is None:
            self._port = asyncio.ensure_future(self._vnc.start())
        return await asyncio.shield(self._port)

    async def _order(self, do: str, **arguments: Any) -> dict[str, Any]:
        if not self.alive:
            raise DesktopGoneError("the desktop is gone")
        self._number += 1
        number = self._number
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            self._tell({"do": do, "id": number, **arguments})
            return await answer
        except asyncio.CancelledError:
            self._tell({"do": "kill", "id": number})
            raise
        finally:
            self._answers.pop(number, None)

    def _tell(self, order: dict[str, Any]) -> None:
        if not self._control.is_closing():
            self._control.write(json.dumps(order).encode() + b"\n")

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                told = json.loads(line)
                answer = self._answers.get(told["id"])
                if answer is not None and not answer.done():
                    answer.set_result(told)
        except OSError:
            pass
        finally:
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(DesktopGoneError("the desktop is gone"))

    async def _close(self) -> None:
        if self._port is not None:
            await asyncio.wait({self._port})
            await self._vnc.aclose()
        await _end(self._process, self._control)
        if self._process.returncode:
            # The supervisor was killed. The kernel then ended the X server; what else it was to do is done here.
            await asyncio.to_thread(shutil.rmtree, self.home.parent, ignore_errors=True)
        if self._listening is not None:
            await asyncio.wait({self._listening})


async def _first(reader: asyncio.StreamReader) -> dict[str, Any]:
    line = await reader.readline()
    told: dict[str, Any] = (
        json.loads(line)
        if line
        else {"event": "failed", "reason": "the desktop's supervisor did not start"}
    )
    if told["event"] != "ready":
        raise X11UnavailableError(told["reason"])
    return told


async def _undo(starting: asyncio.Task[X11Desktop]) -> None:
    await asyncio.wait({starting})
    if not starting.cancelled() and starting.exception() is None:
        await starting.result().aclose()


async def _end(process: asyncio.subprocess.Process, control: asyncio.StreamWriter) -> None:
    # That the socket closes is all that the supervisor waits for, so this works the same when nobody closes it.
    control.close()
    with contextlib.suppress(OSError):
        await control.wait_closed()
    await process.wait()

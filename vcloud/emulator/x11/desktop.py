"""A real desktop: starting it, running programs on it, and ending it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

from vcloud.emulator.desktops.programs import Ran
from vcloud.emulator.desktops.screen import HEIGHT, WIDTH
from vcloud.emulator.tasks import run_to_completion
from vcloud.emulator.x11.vnc import VNCPort

CLOSING: Final = 15.0
"""Seconds that ending a desktop may take. It takes some 50 ms on a machine that is not busy."""
_LONGEST_LINE: Final = 64 * 1024 * 1024
"""Maximum bytes of a message from the supervisor: two outputs of 4 MiB, every byte escaped."""
# Debian installs TigerVNC under both names. On other systems, the second may be another server.
_SERVERS: Final = ("Xtigervnc", "Xvnc")
#: The programs that actions use, and the shell. Each is the Debian package of its name.
_PROGRAMS: Final = ("bash", "xdotool", "scrot")


class X11UnavailableError(OSError):
    """This machine cannot run real desktops; the message says what to install."""


class DesktopGoneError(Exception):
    """The desktop has not started, or has ended."""


def missing() -> list[str]:
    """What must be installed before a desktop can start; empty if nothing."""
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
        X11UnavailableError: they cannot; the message says what to install.
    """
    if lacking := missing():
        raise X11UnavailableError(f"real desktops need {', and '.join(lacking)}")


def _server() -> str | None:
    return next((path for name in _SERVERS if (path := shutil.which(name))), None)


class X11Desktop:
    """A real desktop. Made by `start`; `async with` closes it, and so does `aclose`.

    There is no window manager, so the keyboard goes to the window under the pointer.

    Attributes:
        display: its X display, such as `:3`. For programs that run on it, it is also `:99`, the
            service's display.
        home: the directory in which its programs start. It is removed when the desktop is closed.
        vnc_path: the unix socket on which its VNC server listens. The server asks for no password,
            because other users of the machine cannot reach the socket. Every user could reach a TCP
            port; there is none before `vnc_address` is called.
        output_limit: maximum bytes kept of what a command prints.
    """

    output_limit: Final[int] = 4 * 1024 * 1024

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        control: asyncio.StreamWriter,
        ready: dict[str, Any],
    ) -> None:
        """Use `start` instead."""
        self.display: str = ready["display"]
        self.home: Path = Path(ready["home"])
        self.vnc_path: Path = Path(ready["vnc"])
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
            command: a program and its arguments, such as `["xterm", "-maximized"]`. Its end is not
                waited for.
            width: pixels.
            height: pixels.

        Raises:
            X11UnavailableError: something is not installed, or the X server or the program does
                not start.
        """
        require()
        # If this is cancelled, the start is finished and then undone: before that it is not known
        # what to undo.
        starting = asyncio.create_task(cls._start(command, width, height))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await run_to_completion(_undo(starting), within=CLOSING)
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
                    # Ctrl+C in the terminal is for the emulator, which then ends its desktops.
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
        """The desktop itself."""
        return self

    async def __aexit__(self, *details: object) -> None:
        """Close it."""
        await self.aclose()

    async def aclose(self) -> None:
        """End all of its processes and remove its directory; may be called again.

        It is done even if the caller is cancelled meanwhile.
        """
        await run_to_completion(self._close(), within=CLOSING)

    @property
    def alive(self) -> bool:
        """Whether its X server is running."""
        return self._listening is not None and not self._listening.done()

    @property
    def pid(self) -> int:
        """The supervisor's process id. It is the parent of all processes of the desktop."""
        return self._process.pid

    async def spawn(self, *argv: str) -> None:
        """Start a program without waiting for its end.

        Raises:
            X11UnavailableError: there is no such program.
            DesktopGoneError: the desktop has ended.
        """
        answer = await self._request("spawn", argv=argv)
        if answer["code"]:
            raise X11UnavailableError(answer["stderr"].strip())

    async def run(self, command: str, *, limit: float | None = None) -> Ran:
        """Run `bash -c` in the desktop's home directory.

        A program that the command leaves in the background keeps running, and is not waited for. If
        this call is cancelled, the command is killed with everything that it has started.

        Args:
            command: what to run.
            limit: seconds to wait for its end; None waits without limit.

        Returns:
            its exit status and what it printed, at most `output_limit` bytes of each output.

        Raises:
            TimeoutError: it took longer than `limit`. It keeps running until the desktop ends.
            DesktopGoneError: the desktop has ended.
        """
        answer = await self._request("run", command=command, limit=limit)
        if answer["late"]:
            raise TimeoutError
        return Ran(stdout=answer["stdout"], stderr=answer["stderr"], code=answer["code"])

    async def open_vnc(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the desktop's VNC server; the streams carry RFB, without a password.

        Raises:
            OSError: the desktop has ended.
        """
        return await asyncio.open_unix_connection(self.vnc_path)

    async def vnc_address(self) -> tuple[str, int]:
        """The host and port of its VNC server. Prefer `vnc_path` if your program supports it.

        The port is opened by the first call and stays open as long as the desktop. It is on
        loopback, and accepts only this user and root, because the VNC server asks for no password.
        """
        if self._port is None:
            self._port = asyncio.ensure_future(self._vnc.start())
        return await asyncio.shield(self._port)

    async def _request(self, do: str, **arguments: Any) -> dict[str, Any]:
        if not self.alive:
            raise DesktopGoneError("the desktop has ended")
        self._number += 1
        number = self._number
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            self._send({"do": do, "id": number, **arguments})
            return await answer
        except asyncio.CancelledError:
            self._send({"do": "kill", "id": number})
            raise
        finally:
            self._answers.pop(number, None)

    def _send(self, order: dict[str, Any]) -> None:
        if not self._control.is_closing():
            self._control.write(json.dumps(order).encode() + b"\n")

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                message = json.loads(line)
                answer = self._answers.get(message["id"])
                if answer is not None and not answer.done():
                    answer.set_result(message)
        except OSError:
            pass
        finally:
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(DesktopGoneError("the desktop has ended"))

    async def _close(self) -> None:
        if self._port is not None:
            await asyncio.wait({self._port})
            await self._vnc.aclose()
        await _end(self._process, self._control)
        if self._process.returncode:
            # The supervisor was killed, and the kernel ended the X server. The files are left.
            await asyncio.to_thread(shutil.rmtree, self.home.parent, ignore_errors=True)
        if self._listening is not None:
            await asyncio.wait({self._listening})


async def _first(reader: asyncio.StreamReader) -> dict[str, Any]:
    line = await reader.readline()
    if not line:
        raise X11UnavailableError("the desktop's supervisor did not start")
    message: dict[str, Any] = json.loads(line)
    if message["event"] != "ready":
        raise X11UnavailableError(message["reason"])
    return message


async def _undo(starting: asyncio.Task[X11Desktop]) -> None:
    await asyncio.wait({starting})
    if not starting.cancelled() and starting.exception() is None:
        await starting.result().aclose()


async def _end(process: asyncio.subprocess.Process, control: asyncio.StreamWriter) -> None:
    # The supervisor ends when the socket closes, as it also does when this process is killed.
    control.close()
    with contextlib.suppress(OSError):
        await control.wait_closed()
    await process.wait()

r"""Real desktops: an X server with VNC for each, with its own directory and processes, and a hand on its mouse and keyboard.

    async with await X11Desktop.start(["xterm"]) as desktop:
        await desktop.hands.type("echo hello\n")
        jpeg = await desktop.screenshot()
        reader, writer = await desktop.open_vnc()

Programs run on this machine, as this user: the desktop is separate, but it is no sandbox. Whatever ends it (`aclose`, an
exception, even SIGKILL of this process) ends all of its processes and removes its directory; see `x11_supervisor`.
Linux only. Debian's packages are named in the error that says what is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import io
import json
import shutil
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from vcloud._core.cleanup import run_to_the_end
from vcloud.emulator.desktops_backend import HEIGHT, WIDTH, CommandCutError
from vcloud.emulator.desktops_bash import Ran
from vcloud.emulator.x11_display import Display, DisplayError, Pointer
from vcloud.emulator.x11_hands import Hands
from vcloud.emulator.x11_vnc import VNCPort

COMMAND_LIMIT: Final = 30.0
"""Seconds after which a command is killed, as the service's gateway cuts (from its published source)."""
_CLOSING: Final = 15.0
"""Seconds that the end of a desktop may take. It takes some 50 ms, unless the machine is very busy."""
_LONGEST_LINE: Final = 16 * 1024 * 1024
"""Bytes of a message from the supervisor: two outputs of a MiB, with every byte escaped."""
_QUALITY: Final = 85
# Debian installs TigerVNC's under both names; the second may be another server's on other systems.
_SERVERS: Final = ("Xtigervnc", "Xvnc")


class X11UnavailableError(OSError):
    """This machine cannot show real desktops; the message names what to install."""


def missing() -> list[str]:
    """What would have to be installed before a desktop can start; empty when nothing is."""
    if not sys.platform.startswith("linux"):
        return ["a Linux system"]
    lacking = []
    if _server() is None:
        lacking.append("the program Xvnc (Debian: apt-get install tigervnc-standalone-server)")
    if not Path("/bin/bash").exists():
        lacking.append("the program /bin/bash (Debian: apt-get install bash)")
    if importlib.util.find_spec("PIL") is None:
        lacking.append("the Python package Pillow (pip install 'vcloud-sdk[x11]')")
    return lacking


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
        display: its X display, such as `:3`.
        home: the directory in which its programs start, gone when it is closed.
        vnc_path: the unix socket on which its VNC server listens. It asks for no password, because no other user of the
            machine can reach it; there is no TCP port, which all of them could, unless `vnc_address` is asked for one.
        hands: its mouse and keyboard.
        output_limit: bytes kept of what a command prints.
    """

    output_limit: Final = 1024 * 1024

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        control: asyncio.StreamWriter,
        told: dict[str, Any],
        screen: Display,
    ) -> None:
        """Use `start` instead."""
        self.display: str = told["display"]
        self.home = Path(told["home"])
        self.vnc_path = Path(told["vnc"])
        self.hands = Hands(screen)
        self._process = process
        self._control = control
        self._screen = screen
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
            await run_to_the_end(_undo(starting), within=_CLOSING)
            raise

    @classmethod
    async def _start(cls, command: Sequence[str], width: int, height: int) -> Self:
        ours, theirs = socket.socketpair()
        with theirs:
            script = Path(__file__).with_name("x11_supervisor.py")
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
            told = await _first(reader)
            socket_path = f"/tmp/.X11-unix/X{told['display'][1:]}"  # noqa: S108 - where X servers listen
            screen = await Display.connect(socket_path, bytes.fromhex(told["cookie"]))
            desktop = cls(process, control, told, screen)
            desktop._listening = asyncio.create_task(desktop._listen(reader))
            if command:
                await desktop.spawn(*command)
        except BaseException as error:
            await (desktop._close() if desktop else _end(process, control))
            if isinstance(error, DisplayError):
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
        await run_to_the_end(self._close(), within=_CLOSING)

    @property
    def alive(self) -> bool:
        """Whether its X server still runs."""
        return self._listening is not None and not self._listening.done()

    async def spawn(self, *argv: str) -> None:
        """Start a program and do not wait for it.

        Raises:
            X11UnavailableError: there is no such program.
            DisplayError: the desktop is gone.
        """
        answer = await self._order("spawn", argv=argv)
        if answer["code"]:
            raise X11UnavailableError(answer["stderr"].strip())

    async def run(self, command: str, *, limit: float = COMMAND_LIMIT) -> Ran:
        """Run `bash -c` in the desktop's home directory, and return what it printed: at most `output_limit` bytes of each.

        A program that it leaves behind in the background lives on, and is not waited for. Cancelled, or after `limit`
        seconds, the command is killed with everything that it has started.

        Raises:
            CommandCutError: it took longer than `limit`.
            DisplayError: the desktop is gone.
        """
        answer = await self._order("run", command=command, limit=limit)
        if answer["cut"]:
            raise CommandCutError
        return Ran(stdout=answer["stdout"], stderr=answer["stderr"], code=answer["code"])

    async def move(self, x: int, y: int) -> None:
        """Put the pointer somewhere; at the edge of the screen it stops."""
        await self._screen.motion(x, y)

    async def pointer(self) -> Pointer:
        """Return where the pointer is, and the window under it."""
        return await self._screen.pointer()

    async def screenshot(self) -> bytes:
        """Return the screen as a JPEG file; without the pointer, which the X server does not draw into its screen."""
        pixels = await self._screen.pixels()
        return await asyncio.to_thread(
            _jpeg, pixels, self._screen.screen.width, self._screen.screen.height
        )

    async def open_vnc(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the desktop's VNC server; the streams carry RFB, without a password.

        Raises:
            OSError: the desktop is gone.
        """
        return await asyncio.open_unix_connection(self.vnc_path)

    async def vnc_address(self) -> tuple[str, int]:
        """Return host and port of its VNC server, for what knows no unix sockets, such as the handler of an agent.

        The port is opened when this is first called and lasts as long as the desktop. It is on loopback, and hangs up on
        every other user of the machine, because the VNC server itself asks for no password.
        """
        if self._port is None:
            self._port = asyncio.ensure_future(self._vnc.start())
        return await asyncio.shield(self._port)

    async def _order(self, do: str, **arguments: Any) -> dict[str, Any]:
        if not self.alive:
            raise DisplayError("the desktop is gone")
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
                    answer.set_exception(DisplayError("the desktop is gone"))

    async def _close(self) -> None:
        if self._port is not None:
            await asyncio.wait({self._port})
            await self._vnc.aclose()
        await self._screen.aclose()
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


def _jpeg(pixels: bytes, width: int, height: int) -> bytes:
    # Not before it is needed: without the x11 extra this module must still say what is missing.
    from PIL import Image  # noqa: PLC0415 - see above

    file = io.BytesIO()
    Image.frombuffer("RGB", (width, height), pixels, "raw", "BGRX", 0, 1).save(
        file, "JPEG", quality=_QUALITY
    )
    return file.getvalue()

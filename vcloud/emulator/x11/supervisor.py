"""The parent of everything that runs on one real desktop; run as a program, with nothing but the standard library.

It outlives whoever started it by a moment: when the socket to the emulator closes, for whatever reason (a stop, an
exception, SIGKILL), it ends every process of the desktop and removes the desktop's directory. It can find them all
because the kernel hands it each process whose own parent has ended (a child subreaper), so that no daemon escapes.

Both sides send one JSON object per line. From the emulator: `run` (a command, answered by `ended`), `spawn` (a program
that nobody waits for) and `kill` (a command under way). From here: `ready` or `failed` once, `ended` for each command.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import secrets
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any


def _sibling(name: str) -> ModuleType:
    """A module from beside this one, without its packages: to import them would take longer than the X server does."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None, "it is there"
    assert spec.loader is not None, "it is Python"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if TYPE_CHECKING:
    from vcloud.emulator.x11 import processes, redirect, server
else:
    processes, redirect, server = map(_sibling, ("processes", "redirect", "server"))

OUTPUT_LIMIT = 4 * 1024 * 1024
"""Bytes kept of each of a command's two outputs; the rest is read and dropped."""
PATIENCE = 2.0
"""Seconds that processes get to leave after SIGTERM."""


class _Command:
    """A shell command under way, what it has printed, and until when its end is waited for."""

    def __init__(self, number: int, process: subprocess.Popen[bytes], until: float) -> None:
        self.number = number
        self.process = process
        self.until = until
        self.told = False
        self.outputs = {"stdout": bytearray(), "stderr": bytearray()}


class Supervisor:
    """One desktop: its directory, its X server, its programs."""

    def __init__(self, control: socket.socket, directory: Path, width: int, height: int) -> None:
        self.control = control
        self.directory = directory
        self.size = f"{width}x{height}"
        self.home = directory / "home"
        self.selector = selectors.DefaultSelector()
        self.commands: dict[int, _Command] = {}
        self.received = bytearray()
        self.display = ""
        self.redirect = redirect.Redirect(redirect.DISPLAY)
        self.server: subprocess.Popen[bytes] | None = None
        self.alive = True

    @property
    def environment(self) -> dict[str, str]:
        """What programs see. Nothing is inherited: the emulator's own environment may hold secrets."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
            "HOME": str(self.home),
            "DISPLAY": redirect.DISPLAY,
            "XAUTHORITY": str(self.directory / "authority"),
            "TMPDIR": str(self.directory / "tmp"),
            "XDG_RUNTIME_DIR": str(self.directory / "run"),
            "USER": server.user(),
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
        }

    def start(self, program: str) -> None:
        """Start the X server, wait until it takes connections, and say so."""
        for path in (self.home, self.directory / "tmp", self.directory / "run"):
            path.mkdir(mode=0o700)
        cookie = secrets.token_bytes(16)
        authority = self.directory / "authority"
        authority.touch(mode=0o600)
        authority.write_bytes(server.authority(cookie, b""))
        told, tell = os.pipe()
        log = self.directory / "server.log"
        with log.open("wb") as errors:
            self.server = subprocess.Popen(  # noqa: S603 - the X server itself
                server.arguments(program, self.directory, tell, self.size),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=(tell,),
                cwd=self.home,
                env=self.environment,
                preexec_fn=processes.die_with_parent,  # noqa: PLW1509 - there is one thread only
            )
        os.close(tell)
        try:
            number = server.number(told, self.control)
        finally:
            os.close(told)
        if not number:
            lines = log.read_text(errors="replace").strip().splitlines()
            self._say(
                event="failed",
                reason=f"{program} did not start: {' | '.join(lines[-3:]) or 'no reason given'}",
            )
            self.alive = False
            return
        self.display = f":{number}"
        displays = (self.display, redirect.DISPLAY)
        authority.write_bytes(
            b"".join(server.authority(cookie, of[1:].encode()) for of in displays)
        )
        self.redirect = redirect.Redirect(self.display)
        if reason := self.redirect.check():
            reason = f"this kernel leads no connection to another display: {reason}"
            self._say(event="failed", reason=f"{reason} (it takes Linux 5.9 and seccomp)")
            self.alive = False
            return
        self._say(
            event="ready",
            display=self.display,
            directory=str(self.directory),
            home=str(self.home),
            vnc=str(self.directory / "vnc"),
        )

    def serve(self) -> None:
        """Do what the emulator says until it is gone, or the X server is."""
        self.control.setblocking(False)
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(self.control, selectors.EVENT_READ, "control")
        self.selector.register(woken, selectors.EVENT_READ, "children")
        while self.alive:
            until = min((command.until for command in self.commands.values()), default=math.inf)
            for key, _ in self.selector.select(
                None if until == math.inf else max(0.0, until - time.monotonic())
            ):
                match key.data:
                    case "control":
                        self._hear()
                    case "children":
                        with contextlib.suppress(BlockingIOError):
                            os.read(woken, 4096)
                    case "connections":
                        if not self.redirect.answer(key.fd):
                            self.selector.unregister(key.fd)
                            os.close(key.fd)
                    case (command, name):
                        self._collect(command, name)
            # Also without a signal: one may have come before the handler was there.
            for pid, code in processes.reap():
                self._child_ended(pid, code)
            now = time.monotonic()
            for command in [one for one in self.commands.values() if one.until <= now]:
                # It goes on, but nobody waits for it any longer.
                command.until = math.inf
                self._tell(command, late=True)

    def _hear(self) -> None:
        try:
            received = self.control.recv(65536)
        except BlockingIOError:
            return
        except ConnectionError:
            received = b""
        if not received:
            self.alive = False
            return
        self.received += received
        *lines, rest = bytes(self.received).split(b"\n")
        self.received = bytearray(rest)
        for line in lines:
            self._obey(json.loads(line))

    def _obey(self, order: dict[str, Any]) -> None:
        match order["do"]:
            case "run":
                self._run(order["id"], order["command"], order["limit"])
            case "spawn":
                self._spawn(order["id"], order["argv"])
            case "kill":
                if command := self.commands.get(order["id"]):
                    self._end(command)

    def _run(self, number: int, text: str, limit: float | None) -> None:
        try:
            with processes.unlisted(text) as descriptor:
                # The shell does not hand the descriptor on: it is closed in all that the text runs.
                shell = f'eval "$(</dev/fd/{descriptor})" {descriptor}<&-'
                process = self._popen(["bash", "-c", shell], subprocess.PIPE, [descriptor])
        except (OSError, ValueError) as error:
            # A text of megabytes, or one with a NUL, is no argument.
            self._answer(number, 126, stderr=f"bash: {error}\n")
            return
        until = math.inf if limit is None else time.monotonic() + limit
        command = _Command(number, process, until)
        self.commands[number] = command
        for name in command.outputs:
            stream = getattr(process, name)
            os.set_blocking(stream.fileno(), False)
            self.selector.register(stream, selectors.EVENT_READ, (command, name))

    def _spawn(self, number: int, argv: Sequence[str]) -> None:
        try:
            self._popen(argv, subprocess.DEVNULL)
        except (OSError, ValueError) as error:
            self._answer(number, 127, stderr=f"{argv[0]}: {error}\n")
        else:
            self._answer(number, 0)

    def _answer(
        self, number: int, code: int, stdout: str = "", stderr: str = "", *, late: bool = False
    ) -> None:
        self._say(event="ended", id=number, code=code, stdout=stdout, stderr=stderr, late=late)

    def _popen(
        self, argv: Sequence[str], output: int, descriptors: Sequence[int] = ()
    ) -> subprocess.Popen[bytes]:
        handover = redirect.Handover()
        try:
            process = subprocess.Popen(  # noqa: S603 - to run what it is told is what this is for, and it was asked for by name
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.home,
                env=self.environment,
                pass_fds=descriptors,
                start_new_session=True,
                preexec_fn=handover.install,  # noqa: PLW1509 - there is one thread only
            )
        except BaseException:
            handover.drop()
            raise
        self.selector.register(handover.take(), selectors.EVENT_READ, "connections")
        return process

    def _collect(self, command: _Command, name: str) -> bool:
        """Take what has been printed; whether there was anything."""
        stream, kept = getattr(command.process, name), command.outputs[name]
        if stream.closed:
            return False
        try:
            more = os.read(stream.fileno(), 65536)
        except BlockingIOError:
            return False
        if not more:
            self.selector.unregister(stream)
            stream.close()
            return False
        # What nobody will see is read all the same: a program in the background must neither block nor break on it.
        if len(kept) < OUTPUT_LIMIT and not command.told:
            kept += more[: OUTPUT_LIMIT - len(kept)]
        return True

    def _child_ended(self, pid: int, code: int) -> None:
        if self.server is not None and pid == self.server.pid:
            self.server.returncode = code
            self.alive = False
        for command in [
            command for command in self.commands.values() if command.process.pid == pid
        ]:
            command.process.returncode = code
            self._finish(command)

    def _end(self, command: _Command) -> None:
        """Kill a command with all that it has started, and say that it has ended."""
        # Stopped first, so that it starts nothing more. What outruns this all the same is found when the desktop ends.
        command.process.send_signal(signal.SIGSTOP)
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            parents = processes.parents()
            session = {pid for pid, (_, of) in parents.items() if of == command.process.pid}
            found = (processes.below(command.process.pid, parents) | session) - {
                command.process.pid
            }
            if not found:
                break
            processes.send(found, signal.SIGKILL)
            time.sleep(0.001)
        command.process.kill()
        command.process.wait()
        self._finish(command)

    def _finish(self, command: _Command) -> None:
        self.commands.pop(command.number, None)
        if not command.told:
            self._tell(command)

    def _tell(self, command: _Command, *, late: bool = False) -> None:
        # Not until the end of the pipe: a program that it left in the background may hold it for as long as it runs, and
        # may print faster than this can read.
        for name, kept in command.outputs.items():
            while len(kept) < OUTPUT_LIMIT and self._collect(command, name):
                pass
        command.told = True
        stdout, stderr = (kept.decode(errors="replace") for kept in command.outputs.values())
        code = command.process.returncode
        self._answer(command.number, 0 if code is None else code, stdout, stderr, late=late)

    def _say(self, **message: Any) -> None:
        self.control.setblocking(True)
        try:
            self.control.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self.alive = False
        finally:
            self.control.setblocking(False)

    def close(self) -> None:
        """End every process and remove every file."""
        # The X server goes last and politely: it removes its sockets itself, which it cannot do when it is killed.
        server = (
            set()
            if self.server is None or self.server.returncode is not None
            else {self.server.pid}
        )
        ends = time.monotonic() + PATIENCE
        while found := processes.below(os.getpid(), processes.parents()) - server:
            processes.send(found, signal.SIGKILL)
            time.sleep(0.001)
            for _ in processes.reap():
                pass
        processes.send(server, signal.SIGTERM)
        while found := processes.below(os.getpid(), processes.parents()):
            if time.monotonic() > ends:
                processes.send(found, signal.SIGKILL)
            time.sleep(0.002)
            for _ in processes.reap():
                pass
        self._remove_socket()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _remove_socket(self) -> None:
        left = redirect.SOCKETS / f"X{self.display[1:]}"
        if not self.display or not left.exists():
            return
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                # Another server may have taken the number meanwhile, and answers.
                probe.connect(str(left))
            except ConnectionRefusedError:
                left.unlink(missing_ok=True)
            except OSError:
                pass


def main() -> int:
    """Serve one desktop on the socket that was inherited; the arguments are its number, the X server and the screen's size."""
    descriptor, program, width, height = sys.argv[1:]
    # Only the end of the emulator, or its word, ends this: Ctrl+C in a terminal reaches the emulator too.
    # A handler that does nothing, because what is ignored would stay ignored in all programs of the desktop.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    with socket.socket(fileno=int(descriptor)) as control:
        control.set_inheritable(False)
        processes.adopt_orphans()
        supervisor = Supervisor(
            control, Path(tempfile.mkdtemp(prefix="vcloud-desktop-")), int(width), int(height)
        )
        try:
            supervisor.start(program)
            if supervisor.alive:
                supervisor.serve()
        finally:
            supervisor.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The parent of every process of one real desktop. A program that uses only the standard library.

When the socket to the emulator closes, for whatever reason (a stop, an exception, SIGKILL), it ends
every process of the desktop and removes the desktop's directory. It finds all of them because it is
a child subreaper: the kernel makes it the parent of each process whose own parent has ended.

Both sides send one JSON object per line. The emulator sends `run` (a command, answered by `ended`),
`spawn` (a program that is not waited for) and `kill` (end a running command). The supervisor sends
`ready` or `failed` once, and `ended` for each command.
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
    """Import a module from this directory without its packages, which take long to import."""
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
END_TIMEOUT = 2.0
"""Seconds that processes get to end."""


class _Command:
    """A running shell command, what it has printed, and until when its end is waited for."""

    def __init__(self, number: int, process: subprocess.Popen[bytes], until: float) -> None:
        self.number = number
        self.process = process
        self.until = until
        self.answered = False
        self.outputs = {"stdout": bytearray(), "stderr": bytearray()}


class Supervisor:
    """One desktop: its directory, its X server, its programs."""

    def __init__(self, control: socket.socket, directory: Path, width: int, height: int) -> None:
        """Serve a desktop of this size in pixels on `control`, with its files in `directory`."""
        self.alive: bool = True
        """False once the desktop is to end."""
        self._control = control
        self._directory = directory
        self._home = directory / "home"
        self._size = f"{width}x{height}"
        self._selector = selectors.DefaultSelector()
        self._commands: dict[int, _Command] = {}
        self._received = bytearray()
        self._display = ""
        self._redirect = redirect.Redirect(redirect.DISPLAY)
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The environment of programs. The emulator's own, which may hold secrets, is not used."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
            "HOME": str(self._home),
            "DISPLAY": redirect.DISPLAY,
            "XAUTHORITY": str(self._directory / "authority"),
            "TMPDIR": str(self._directory / "tmp"),
            "XDG_RUNTIME_DIR": str(self._directory / "run"),
            "USER": server.user(),
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
        }

    def start(self, program: str) -> None:
        """Start the X server, wait until it accepts connections, and report `ready` or `failed`."""
        for path in (self._home, self._directory / "tmp", self._directory / "run"):
            path.mkdir(mode=0o700)
        cookie = secrets.token_bytes(16)
        authority = self._directory / "authority"
        authority.touch(mode=0o600)
        authority.write_bytes(server.authority(cookie, b""))
        log = self._directory / "server.log"
        number = self._start_server(program, log)
        if not number:
            lines = log.read_text(errors="replace").strip().splitlines()
            reason = " | ".join(lines[-3:]) or "no reason given"
            self._fail(f"{program} did not start: {reason}")
            return
        self._display = f":{number}"
        displays = (self._display, redirect.DISPLAY)
        authority.write_bytes(
            b"".join(server.authority(cookie, of[1:].encode()) for of in displays)
        )
        self._redirect = redirect.Redirect(self._display)
        if reason := self._redirect.check():
            self._fail(
                f"this kernel cannot redirect connections to another display: {reason} "
                "(it takes Linux 5.9 and seccomp)"
            )
            return
        self._send(
            event="ready",
            display=self._display,
            directory=str(self._directory),
            home=str(self._home),
            vnc=str(self._directory / "vnc"),
        )

    def _start_server(self, program: str, log: Path) -> str:
        """Start the X server; the number of its display, or "" if it does not start."""
        number_reader, number_writer = os.pipe()
        with log.open("wb") as errors:
            self._server = subprocess.Popen(  # noqa: S603 - the X server itself
                server.arguments(program, self._directory, number_writer, self._size),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=(number_writer,),
                cwd=self._home,
                env=self.environment,
                preexec_fn=processes.die_with_parent,  # noqa: PLW1509 - there is one thread only
            )
        os.close(number_writer)
        try:
            return server.number(number_reader, self._control)
        finally:
            os.close(number_reader)

    def _fail(self, reason: str) -> None:
        self._send(event="failed", reason=reason)
        self.alive = False

    def serve(self) -> None:
        """Carry out the emulator's orders until the emulator or the X server has ended."""
        self._control.setblocking(False)
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._control, selectors.EVENT_READ, "control")
        self._selector.register(woken, selectors.EVENT_READ, "children")
        while self.alive:
            until = min((command.until for command in self._commands.values()), default=math.inf)
            for key, _ in self._selector.select(
                None if until == math.inf else max(0.0, until - time.monotonic())
            ):
                match key.data:
                    case "control":
                        self._receive()
                    case "children":
                        with contextlib.suppress(BlockingIOError):
                            os.read(woken, 4096)
                    case "connections":
                        if not self._redirect.answer(key.fd):
                            self._selector.unregister(key.fd)
                            os.close(key.fd)
                    case (command, name):
                        self._collect(command, name)
            # Also without a signal: one may have come before the handler was installed.
            for pid, code in processes.reap():
                self._child_ended(pid, code)
            now = time.monotonic()
            for command in [one for one in self._commands.values() if one.until <= now]:
                # The command keeps running, but its end is not waited for any longer.
                command.until = math.inf
                self._send_result(command, late=True)

    def _receive(self) -> None:
        try:
            received = self._control.recv(65536)
        except BlockingIOError:
            return
        except ConnectionError:
            received = b""
        if not received:
            self.alive = False
            return
        self._received += received
        *lines, rest = bytes(self._received).split(b"\n")
        self._received = bytearray(rest)
        for line in lines:
            self._carry_out(json.loads(line))

    def _carry_out(self, order: dict[str, Any]) -> None:
        match order["do"]:
            case "run":
                self._run(order["id"], order["command"], order["limit"])
            case "spawn":
                self._spawn(order["id"], order["argv"])
            case "kill":
                if command := self._commands.get(order["id"]):
                    self._end(command)

    def _run(self, number: int, text: str, limit: float | None) -> None:
        try:
            with processes.unlisted(text) as descriptor:
                # The descriptor is closed in everything that the text runs.
                shell = f'eval "$(</dev/fd/{descriptor})" {descriptor}<&-'
                process = self._popen(["bash", "-c", shell], subprocess.PIPE, [descriptor])
        except (OSError, ValueError) as error:
            # A text of megabytes, or one with a NUL, cannot be an argument.
            self._answer(number, 126, stderr=f"bash: {error}\n")
            return
        until = math.inf if limit is None else time.monotonic() + limit
        command = _Command(number, process, until)
        self._commands[number] = command
        for name in command.outputs:
            stream = getattr(process, name)
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ, (command, name))

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
        self._send(event="ended", id=number, code=code, stdout=stdout, stderr=stderr, late=late)

    def _popen(
        self, argv: Sequence[str], output: int, descriptors: Sequence[int] = ()
    ) -> subprocess.Popen[bytes]:
        handover = redirect.Handover()
        try:
            process = subprocess.Popen(  # noqa: S603 - runs commands on purpose; allow_exec says so
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._home,
                env=self.environment,
                pass_fds=descriptors,
                start_new_session=True,
                preexec_fn=handover.install,  # noqa: PLW1509 - there is one thread only
            )
        except BaseException:
            handover.drop()
            raise
        self._selector.register(handover.take(), selectors.EVENT_READ, "connections")
        return process

    def _collect(self, command: _Command, name: str) -> bool:
        """Read what has been printed; whether there was anything."""
        stream, kept = getattr(command.process, name), command.outputs[name]
        if stream.closed:
            return False
        try:
            more = os.read(stream.fileno(), 65536)
        except BlockingIOError:
            return False
        if not more:
            self._selector.unregister(stream)
            stream.close()
            return False
        # Read also what is dropped, so that a program in the background is not blocked.
        if len(kept) < OUTPUT_LIMIT and not command.answered:
            kept += more[: OUTPUT_LIMIT - len(kept)]
        return True

    def _child_ended(self, pid: int, code: int) -> None:
        if self._server is not None and pid == self._server.pid:
            self._server.returncode = code
            self.alive = False
        for command in [
            command for command in self._commands.values() if command.process.pid == pid
        ]:
            command.process.returncode = code
            self._finish(command)

    def _end(self, command: _Command) -> None:
        """Kill a command with everything that it has started, and report its end."""
        # Stopped first, so that it starts nothing more. The rest is found when the desktop ends.
        command.process.send_signal(signal.SIGSTOP)
        ends = time.monotonic() + END_TIMEOUT
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
        self._commands.pop(command.number, None)
        if not command.answered:
            self._send_result(command)

    def _send_result(self, command: _Command, *, late: bool = False) -> None:
        # Not until the end of the pipe: a program that it left in the background may keep the pipe
        # open, and may print faster than this can read.
        for name, kept in command.outputs.items():
            while len(kept) < OUTPUT_LIMIT and self._collect(command, name):
                pass
        command.answered = True
        stdout, stderr = (kept.decode(errors="replace") for kept in command.outputs.values())
        code = command.process.returncode
        self._answer(command.number, 0 if code is None else code, stdout, stderr, late=late)

    def _send(self, **message: Any) -> None:
        self._control.setblocking(True)
        try:
            self._control.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self.alive = False
        finally:
            self._control.setblocking(False)

    def close(self) -> None:
        """End every process and remove every file."""
        # The X server ends last, by SIGTERM, because it then removes its sockets itself.
        server = (
            set()
            if self._server is None or self._server.returncode is not None
            else {self._server.pid}
        )
        ends = time.monotonic() + END_TIMEOUT
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
        redirect.remove_socket(self._display)
        shutil.rmtree(self._directory, ignore_errors=True)


def main() -> int:
    """Serve one desktop on an inherited socket.

    The arguments are the socket's descriptor, the X server, and the width and height in pixels.
    """
    descriptor, program, width, height = sys.argv[1:]
    # Only the emulator ends this program: Ctrl+C in a terminal reaches the emulator too. A handler
    # that does nothing, because ignored signals would stay ignored in all programs of the desktop.
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

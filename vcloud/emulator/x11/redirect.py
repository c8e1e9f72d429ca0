"""The service's display, `:99`, for the programs of one desktop. Only the standard library.

On the service, every desktop is a separate machine with the display `:99`. Commands name it
(`DISPLAY=:99 xdotool keyup ctrl`). Here several desktops share a machine on which `:99` may belong
to another program, so each desktop has another number, and the connections of its programs to `:99`
are redirected to it.

A seccomp filter reports every `connect` of these programs to their supervisor (seccomp_unotify(2)).
The supervisor allows all of them except those to the socket of `:99`. For these it replaces the
program's socket with one that is connected to the desktop's own X server. That works for root and
for any other user, however a program gets the name `:99`, and beside any other X server. It
needs no namespace, which containers seldom allow. Programs of another architecture than this
machine's are not redirected. It needs Linux 5.9.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import select
import socket
import struct
from pathlib import Path

DISPLAY = ":99"
SOCKETS = Path("/tmp/.X11-unix")  # noqa: S108 - the X server decides where its socket is
START_LIMIT = 5.0
"""Seconds that the first connection may take."""

#: By architecture: the kernel's number of it, and those of seccomp(2) and connect(2).
_ARCHITECTURES = {
    "x86_64": (0xC000003E, 317, 42),
    "aarch64": (0xC00000B7, 277, 203),
    "riscv64": (0xC00000F3, 277, 203),
}
_NO_NEW_PRIVILEGES = 38
_SET_FILTER, _NEW_LISTENER = 1, 1 << 3
_NOTIFY, _ALLOW = 0x7FC00000, 0x7FFF0000
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4
_CONTINUE, _IN_PLACE = 1, 1

_REQUEST = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=QqiI")
_DESCRIPTOR = struct.Struct("=QIIII")
_LONGEST_ADDRESS = 128


def _number_of(number: int, size: int, direction: int) -> int:
    return direction << 30 | size << 16 | ord("!") << 8 | number


_RECEIVE = _number_of(0, _REQUEST.size, 3)
_SEND = _number_of(1, _ANSWER.size, 3)
_ADD_DESCRIPTOR = _number_of(3, _DESCRIPTOR.size, 1)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _filter(architecture: int, connect: int) -> bytes:
    """A BPF program: report each `connect` of this architecture, allow everything else."""
    return b"".join(
        struct.pack("HBBI", *instruction)
        for instruction in (
            (_LOAD, 0, 0, _ARCHITECTURE_AT),
            (_EQUAL, 0, 3, architecture),
            (_LOAD, 0, 0, _NUMBER_AT),
            (_EQUAL, 0, 1, connect),
            (_RETURN, 0, 0, _NOTIFY),
            (_RETURN, 0, 0, _ALLOW),
        )
    )


def _install() -> int:
    """Filter this process and its children; the descriptor on which their calls are reported."""
    if platform.machine() not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    architecture, seccomp, connect = _ARCHITECTURES[platform.machine()]
    library = ctypes.CDLL(None, use_errno=True)
    instructions = _filter(architecture, connect)
    program = _Program(len(instructions) // 8, instructions)

    def install() -> int:
        listener: int = library.syscall(seccomp, _SET_FILTER, _NEW_LISTENER, ctypes.byref(program))
        return listener if listener >= 0 else -ctypes.get_errno()

    listener = install()
    if listener == -errno.EACCES:
        # A user who is not root must first give up setuid programs.
        library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        listener = install()
    if listener < 0:
        raise OSError(-listener, os.strerror(-listener))
    return listener


class Handover:
    """Sends the listener of a new process to its supervisor."""

    def __init__(self) -> None:
        """Open the connection between both."""
        self._here, self._there = socket.socketpair()

    def install(self) -> None:
        """In the new process: install the filter, and send the listener."""
        listener = _install()
        socket.send_fds(self._there, [b"!"], [listener])
        os.close(listener)

    def take(self) -> int:
        """In the supervisor: wait for the new process's listener.

        Raises:
            OSError: the process ended without one.
        """
        self._there.close()
        with self._here:
            _, listeners, _, _ = socket.recv_fds(self._here, 1, 1)
        if not listeners:
            raise OSError(errno.ECHILD, os.strerror(errno.ECHILD))
        return listeners[0]

    def drop(self) -> None:
        """Close the connection, if no process was started."""
        self._here.close()
        self._there.close()


class Redirect:
    """Redirects the connections of a desktop's programs to its X server."""

    def __init__(self, display: str) -> None:
        """Redirect to the server with this display."""
        self._server = str(_socket(display))
        path = str(_socket(DISPLAY)).encode()
        # Xlib first tries the name in the abstract namespace.
        self._redirected = {path, b"\0" + path}

    def answer(self, listener: int) -> bool:
        """Answer one reported call; whether there can be more."""
        request = bytearray(_REQUEST.size)
        try:
            _ioctl(listener, _RECEIVE, request)
        except OSError:
            # The caller ended meanwhile, or none is left.
            return not _is_over(listener)
        number, pid, _, _, _, _, descriptor, address, length, *_ = _REQUEST.unpack(request)
        code, flags = 0, _CONTINUE
        try:
            if self._is_redirected(_read(pid, address, length)):
                flags = 0
                self._replace(listener, number, pid, descriptor)
        except OSError as error:
            code = 0 if flags else -(error.errno or errno.ECONNREFUSED)
        try:
            _ioctl(listener, _SEND, _ANSWER.pack(number, 0, code, flags))
        except OSError:
            return not _is_over(listener)
        return True

    def check(self) -> str:
        """Try it with a new process; why it does not work on this machine, or ""."""
        handover = Handover()
        child = os.fork()
        if not child:
            os._exit(_try(handover))
        with contextlib.suppress(OSError):
            listener = handover.take()
            waiting = select.poll()
            waiting.register(listener, select.POLLIN)
            # The process makes one connection.
            while waiting.poll(START_LIMIT * 1000) and self.answer(listener):
                pass
            os.close(listener)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        return "" if code == 0 else os.strerror(abs(code))

    def _is_redirected(self, address: bytes) -> bool:
        family = int.from_bytes(address[:2], "little" if _LITTLE else "big")
        if family != socket.AF_UNIX:
            return False
        path = address[2:]
        # A name in the abstract namespace begins with a NUL; a path ends with one.
        return (path if path[:1] == b"\0" else path.partition(b"\0")[0]) in self._redirected

    def _replace(self, listener: int, number: int, pid: int, descriptor: int) -> None:
        flags = _flags(pid, descriptor)
        with socket.socket(socket.AF_UNIX) as ours:
            ours.connect(self._server)
            if flags & os.O_NONBLOCK:
                ours.setblocking(False)
            add = _DESCRIPTOR.pack(
                number, _IN_PLACE, ours.fileno(), descriptor, flags & os.O_CLOEXEC
            )
            _ioctl(listener, _ADD_DESCRIPTOR, add)


_LITTLE = struct.pack("=H", 1) == b"\1\0"


def _ioctl(listener: int, request: int, argument: bytes | bytearray) -> None:
    # A signal, such as SIGCHLD, interrupts it. Python repeats other calls by itself, but not this.
    while True:
        try:
            fcntl.ioctl(listener, request, argument)
        except InterruptedError:
            continue
        return


def _socket(display: str) -> Path:
    return SOCKETS / f"X{display[1:]}"


def _try(handover: Handover) -> int:
    """In a new process: connect to the service's display; the error's number, 0 for none."""
    try:
        handover.install()
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(_socket(DISPLAY)))
    except OSError as error:
        handover.drop()
        return error.errno or 1
    return 0


def _read(pid: int, address: int, length: int) -> bytes:
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(min(length, _LONGEST_ADDRESS)) or b""


def _flags(pid: int, descriptor: int) -> int:
    for line in Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "flags":
            return int(value, 8)
    return 0


def _is_over(listener: int) -> bool:
    """Whether every process behind it has ended."""
    waiting = select.poll()
    waiting.register(listener, 0)
    return any(event & select.POLLHUP for _, event in waiting.poll(0))


def remove_socket(display: str) -> None:
    """Remove the socket that an X server has left, if any; `display` is "" if it had none."""
    left = _socket(display)
    if not display or not left.exists():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            # Another server may have taken the number meanwhile. It accepts the connection.
            probe.connect(str(left))
        except ConnectionRefusedError:
            left.unlink(missing_ok=True)
        except OSError:
            pass

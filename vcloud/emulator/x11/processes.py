"""Finding and ending processes, for a supervisor. Only the standard library."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

LONGEST_ARGUMENT = 128 * 1024
"""Linux's maximum bytes of an argument with its NUL. On the service, a command is one."""
_SUBREAPER = 36
_DEATH_SIGNAL = 1


@contextlib.contextmanager
def unlisted(text: str) -> Iterator[int]:
    """A descriptor from which a shell reads a command, because all users can read its arguments.

    Raises:
        OSError: the text is longer than an argument may be.
        ValueError: it holds a NUL, as no argument may.
    """
    encoded = text.encode(errors="surrogateescape")
    if len(encoded) >= LONGEST_ARGUMENT:
        raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
    if b"\0" in encoded:
        raise ValueError("embedded null byte")
    with os.fdopen(os.memfd_create("command"), "w+b", buffering=0) as file:
        file.write(encoded)
        file.seek(0)
        yield file.fileno()


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends."""
    # If the supervisor itself is killed, at least the display and its windows end too.
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def parents() -> dict[int, tuple[int, int]]:
    """The parent and session of every process, by process id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        # Processes may end meanwhile. The name, in parentheses, may contain any character.
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if fields[0] != "Z":
                found[int(entry.name)] = int(fields[1]), int(fields[3])
    return found


def below(root: int, parents: Mapping[int, tuple[int, int]]) -> set[int]:
    """All descendants of a process."""
    below: set[int] = set()
    edge = {root}
    while edge:
        edge = {pid for pid, (parent, _) in parents.items() if parent in edge} - below
        below |= edge
    return below


def send(pids: set[int], number: int) -> None:
    """Send a signal to processes, some of which may have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def reap() -> Iterator[tuple[int, int]]:
    """Collect the children that have ended: their ids and exit statuses."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, os.waitstatus_to_exitcode(status)

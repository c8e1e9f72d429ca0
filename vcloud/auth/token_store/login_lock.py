"""Locks between the processes of one machine: a short one for writing, one for each login.

A lock is that of flock(2), which the kernel gives up when its process ends. A process that was
stopped (SIGSTOP, a debugger) keeps it, so the owner of a login's lock writes a new text into the
file every :data:`~vcloud.auth.token_store.store.LOCK_SIGN` seconds. Another process that sees the
same text for :data:`~vcloud.auth.token_store.store.LOCK_LASTS` seconds removes the file, and locks
a new one.

::

    no file ── made and locked ──> locked ── unlocked, removed ──> no file
                                     │  the owner shows no life
                                     └── removed by another ─────> no file

Files of locks are removed only with the short lock, and only if they are still in their place.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vcloud._core.timing.clock import monotonic
from vcloud.auth.token_store.private_files import open_or_make
from vcloud.auth.token_store.store import LOCK_LASTS
from vcloud.errors import ConfigurationError

#: Windows, and Python in a browser, have none.
HAS_FLOCK: Final = find_spec("fcntl") is not None
if TYPE_CHECKING or HAS_FLOCK:
    import fcntl

#: Seconds that count at most between two looks at a lock: this process may have been stopped too.
_LONGEST_LOOK: Final = 0.5
#: The length of an owner's sign of life.
_SIGN: Final = 16


def require_flock() -> None:
    """Check that the system has flock(2).

    Raises:
        ConfigurationError: it has not.
    """
    if not HAS_FLOCK:
        raise ConfigurationError(
            "a FileTokenStore needs flock(2), which this system lacks: use a RedisTokenStore, "
            "or no store"
        )


def try_flock(place: Path) -> int | None:
    """Lock a file, which is made if it does not exist; None: another one has the lock.

    Returns:
        the descriptor, for :func:`unlock`.

    Raises:
        ConfigurationError: others may use the file.
        OSError: it cannot be opened or locked.
    """
    descriptor = open_or_make(place)
    try:
        if _locks(descriptor) and _is_in_place(place, descriptor):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def unlock(descriptor: int) -> None:
    """Give up a lock."""
    # A child that was forked meanwhile may have the file open.
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


class LoginLock:
    """The lock of one login.

    Args:
        place: its file.
        guard: the file of the short lock.
    """

    __slots__ = ("_descriptor", "_guard", "_idle", "_looked", "_place", "_seen")

    def __init__(self, place: Path, guard: Path) -> None:
        self._place = place
        self._guard = guard
        self._descriptor: int | None = None
        # The last sign of life of another owner, when it was looked at, and for how many seconds it
        # has been the same.
        self._seen: tuple[int, bytes] | None = None
        self._looked = 0.0
        self._idle = 0.0

    def try_take(self) -> bool:
        """Take it, unless another one has it, who is alive.

        Raises:
            ConfigurationError: others may use its file.
            OSError: it cannot be opened or locked.
        """
        if self._descriptor is not None:
            return True
        descriptor = open_or_make(self._place)
        try:
            if _locks(descriptor):
                if not _is_in_place(self._place, descriptor):
                    return False
                self._descriptor = descriptor
                self.show_life()
                return True
            if self._shows_no_life(descriptor):
                self._remove(descriptor)
            return False
        finally:
            if self._descriptor is None:
                os.close(descriptor)

    def show_life(self) -> None:
        """Write another text into the file."""
        if self._descriptor is not None:
            os.pwrite(self._descriptor, secrets.token_hex(_SIGN // 2).encode(), 0)

    def release(self) -> None:
        """Give it up, if it was taken, and remove its file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            # If the file stays, the next login takes it.
            with contextlib.suppress(OSError, ConfigurationError):
                self._remove(descriptor)
            unlock(descriptor)

    def _shows_no_life(self, descriptor: int) -> bool:
        """Whether the owner has written nothing for too long."""
        now = monotonic()
        seen = (os.fstat(descriptor).st_ino, os.pread(descriptor, _SIGN, 0))
        if seen == self._seen:
            self._idle += min(now - self._looked, _LONGEST_LOOK)
        else:
            self._seen, self._idle = seen, 0.0
        self._looked = now
        return self._idle >= LOCK_LASTS

    def _remove(self, descriptor: int) -> None:
        """Remove the file, if nobody else does so, and if it is still this one."""
        guard = try_flock(self._guard)
        if guard is None:
            return
        try:
            if _is_in_place(self._place, descriptor):
                self._place.unlink()
        finally:
            unlock(guard)


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_in_place(place: Path, descriptor: int) -> bool:
    """Whether the path still leads to this open file."""
    try:
        return os.path.samestat(place.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False

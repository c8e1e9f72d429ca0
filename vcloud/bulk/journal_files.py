"""The files of an open journal: who holds them, and whether they are still what was opened.

``NAME`` is the journal, an SQLite database. ``NAME.lock`` beside it is empty; to hold its lock is
to hold the journal. SQLite's own locks do not suffice: POSIX drops the locks that a process has on
a file as soon as that process closes any descriptor of it (fcntl(2)), as whoever copies it does. A
lock by flock(2) belongs to one open file description, and lasts until it is unlocked or the last
descriptor of that description is closed. ``NAME-journal`` is SQLite's rollback journal, and
``NAME-wal`` with ``NAME-shm`` its write-ahead log, which no journal of ours has. SQLite restores the
database from either, so they must be the user's own as the journal must.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
import threading
from pathlib import Path
from typing import Final
from weakref import WeakSet

from vcloud.bulk.journal_ownership import (
    POSIX,
    assert_safe_if_there,
    make_empty,
    open_file,
    owners_in,
)
from vcloud.errors import ConfigurationError

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        # The first byte, which need not exist. Two handles of one process exclude each other too.
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _unlock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


#: What an attempt to lock ends with while somebody else holds the lock (msvcrt: the last two).
_HELD_BY_OTHERS: Final = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}
#: How often a lock file is opened anew that was replaced before it was locked.
_TRIES: Final = 5
#: Where the database's header ends. It counts the changes that SQLite makes to the file
#: (https://sqlite.org/fileformat2.html, 1.3.7).
_HEADER: Final = 100
#: Where the header says that the database has a write-ahead log (the same, 1.3.3).
_WRITE_VERSION: Final = slice(18, 20)
_WRITE_AHEAD: Final = b"\2\2"
#: What SQLite puts beside a database.
_COMPANIONS: Final = ("-journal", "-wal", "-shm")

#: Held while files are opened or closed, and while the process forks, so that a child knows of all.
#: Reentrant, because the garbage collector may close some while others are opened.
_changing = threading.RLock()
#: The files that are open in this process.
_open_files: WeakSet[JournalFiles] = WeakSet()
#: Journals that were open in the process that this one was forked from: device and inode.
_inherited: set[tuple[int, int]] = set()


class JournalFiles:
    """Holds the lock of a journal, and tells whether its files are still in their places.

    Other threads than the one that opened it call nothing but :meth:`check` and :attr:`inherited`.

    Args:
        path: the journal; made when it is not there, as its lock file is, for its owner alone.
        check_owner: refuse files that are somebody else's, or that others may write.

    Attributes:
        database: SQLite's connection. A child that is forked must not even close it
            (https://sqlite.org/howtocorrupt.html, 2.6): that would remove the rollback journal.
        real: the journal's path without symbolic links, which is where SQLite works.
        write_ahead: whether it had a write-ahead log when it was opened.
        lost: what became of the files, in words; None as long as they are in their places.

    Raises:
        ConfigurationError: another run holds it, or it cannot be opened, written or locked, or it
            is not this user's alone.
    """

    def __init__(self, path: Path, *, check_owner: bool = True) -> None:
        self.lost: str | None = None
        self.database: object = None
        self._path = path
        # What is checked later must not depend on the working directory of that moment.
        self._place = path.absolute()
        # One journal has one lock file, by whichever symbolic links its folder is reached. The file
        # itself is no link, where that can be refused.
        self.real = (
            Path(os.path.realpath(path.parent), path.name)
            if POSIX
            else Path(os.path.realpath(path))
        )
        if self.real.is_dir():
            raise ConfigurationError(
                f"the journal {path} cannot be written: {os.strerror(errno.EISDIR)}"
            )
        self._lock_place = self._beside(".lock")
        self._rollback_place = self._beside("-journal")
        self._process = os.getpid()
        self._descriptors: list[int] = []
        self._journal: os.stat_result | None = None
        self._lock: os.stat_result | None = None
        self._rollback: os.stat_result | None = None
        self._made_rollback: os.stat_result | None = None
        self._size = 0
        self._header = b""
        try:
            self._owners = owners_in(self.real.parent) if check_owner else None
            # Before a lock file is made for it. Once it is open, this is asked again.
            assert_safe_if_there(self.real, self._owners)
            self._hold_lock()
            # Only now: to open and close a journal that another run of this process holds would
            # drop the locks that SQLite has on it.
            self._hold_journal()
            self.check_companions()
            # Before SQLite looks for one: in a folder that others may write, somebody else could
            # put one there meanwhile. It does not use an empty one.
            self._made_rollback = make_empty(self._rollback_place)
            self.record()
            self.write_ahead = (
                self._beside("-wal").exists() or self._header[_WRITE_VERSION] == _WRITE_AHEAD
            )
        except OSError as error:
            self.close()
            raise ConfigurationError(
                f"the journal {path} cannot be written: {error.strerror}"
            ) from None
        except BaseException:
            self.close()
            raise

    def _hold_lock(self) -> None:
        for _ in range(_TRIES):
            with _changing:
                descriptor = self._open(self._lock_place)
            try:
                _lock(descriptor)
            except OSError as error:
                if error.errno in _HELD_BY_OTHERS:
                    raise self._in_use() from None
                raise ConfigurationError(
                    f"the journal {self._path} cannot be locked on this file system: "
                    f"{error.strerror}"
                ) from None
            self._lock = os.fstat(descriptor)
            if _displaced(self._lock_place, self._lock) is None:
                return
            self.close()
        raise self._in_use()

    def _hold_journal(self) -> None:
        with _changing:
            with contextlib.suppress(FileNotFoundError):
                found = self.real.lstat()
                # SQLite in this process believes that it has the locks of the parent.
                if (found.st_dev, found.st_ino) in _inherited:
                    raise ConfigurationError(
                        f"the journal {self._path} was open when this process was forked: "
                        "use it in a process that was started anew"
                    )
                # By another name, a hard link, which has a lock file of its own.
                if any(files.has(found) for files in list(_open_files)):
                    raise self._in_use()
            self._journal = os.fstat(self._open(self.real))

    def _open(self, place: Path) -> int:
        descriptor = open_file(place, self._owners)
        self._descriptors.append(descriptor)
        _open_files.add(self)
        return descriptor

    def _beside(self, suffix: str) -> Path:
        return self.real.with_name(f"{self.real.name}{suffix}")

    def check_companions(self) -> None:
        """Assert that what SQLite restores the journal from is this user's own.

        Raises:
            ConfigurationError: it is not.
        """
        for suffix in _COMPANIONS:
            assert_safe_if_there(self._beside(suffix), self._owners)

    def _in_use(self) -> ConfigurationError:
        return ConfigurationError(f"the journal {self._path} is in use by another run")

    def has(self, file: os.stat_result) -> bool:
        """Whether this is the open journal."""
        return self._journal is not None and os.path.samestat(file, self._journal)

    @property
    def inherited(self) -> bool:
        """Whether they belong to another process, from which this one was forked."""
        return self._process != os.getpid()

    def check(self) -> None:
        """Assert that journal and lock file are in their places, and that nothing was cut off.

        From any thread, also while a transaction is written in another.

        Raises:
            ConfigurationError: they are not, or were not at an earlier check.
        """
        journal, lock, size = self._journal, self._lock, self._size
        if journal is None or lock is None:
            return  # It is closed.
        what = _displaced(self._place, journal, size)
        if what is None and (missing := _displaced(self._lock_place, lock)) is not None:
            what = f"lost its lock file, {self._lock_place.name}, which {missing}"
        self._assert_kept(what)

    def check_unchanged(self) -> None:
        """The same between two transactions, and that nobody wrote, or took the rollback journal.

        Raises:
            ConfigurationError: as for :meth:`check`.
        """
        self.check()
        what = None
        if self._state() != (self._size, self._header):
            what = "was changed by another program"
        elif self._rollback is not None and (
            missing := _displaced(self._rollback_place, self._rollback)
        ):
            what = f"lost SQLite's rollback journal, {self._rollback_place.name}, which {missing}"
        self._assert_kept(what)

    def check_written(self, size: int) -> None:
        """Assert the same after a transaction, and remember what the files are like now.

        Args:
            size: bytes that SQLite has in the database.

        Raises:
            ConfigurationError: as for :meth:`check`.
        """
        self.check()
        self.record()
        self._assert_kept("was truncated" if self._size < size else None)

    def record(self) -> None:
        """Remember what the files are like now, after what was written by this process."""
        self._size, self._header = self._state()
        try:
            self._rollback = self._rollback_place.stat()
        except OSError:
            self._rollback = None

    def _state(self) -> tuple[int, bytes]:
        descriptor = self._descriptors[-1]
        try:
            os.lseek(descriptor, 0, os.SEEK_SET)
            return os.fstat(descriptor).st_size, os.read(descriptor, _HEADER)
        except OSError as error:
            self._assert_kept(f"could not be read any more ({error.strerror})")
            raise

    def _assert_kept(self, what: str | None) -> None:
        if what is not None and self.lost is None:
            # For good: while it was away, another run may have had it.
            self.lost = (
                f"the journal {self._path} {what} while it was in use. What was done since is not "
                "written down there: look for it at the service before you repeat anything"
            )
        if self.lost is not None:
            raise ConfigurationError(self.lost)

    def close(self) -> None:
        """Close the files, the lock last, once SQLite has closed the journal. May be called twice."""
        with _changing:
            descriptors, self._descriptors = self._descriptors, []
            _open_files.discard(self)
        self._journal = self._lock = None
        if descriptors and not self.inherited:
            self._remove_unused_rollback()
            # A child that was forked without Python's hooks may have the lock file open still. To
            # unlock what somebody else has locked does nothing.
            with contextlib.suppress(OSError):
                _unlock(descriptors[0])
        for descriptor in reversed(descriptors):
            os.close(descriptor)

    def _remove_unused_rollback(self) -> None:
        """Remove the rollback journal that was made here, unless SQLite did so or has used it."""
        made, self._made_rollback = self._made_rollback, None
        if made is None or self.lost is not None:
            return
        with contextlib.suppress(OSError):
            found = self._rollback_place.lstat()
            if os.path.samestat(found, made) and found.st_size == 0:
                self._rollback_place.unlink()


def never_close(database: object) -> None:
    """Keep SQLite's connection from being freed, at the end of the interpreter too."""
    # One reference more than there are.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(database))


def _displaced(place: Path, file: os.stat_result, size: int = 0) -> str | None:
    """What became of a file that was opened there, in words; None if it is there, and that long."""
    try:
        found = place.stat()
    except FileNotFoundError:
        return "was removed or renamed"
    except OSError as error:
        return f"cannot be found any more ({error.strerror})"
    if not os.path.samestat(found, file):
        return "was replaced"
    return "was truncated" if found.st_size < size else None


def _after_fork_in_child() -> None:
    _changing.release()
    for files in list(_open_files):
        if files._journal is not None:
            _inherited.add((files._journal.st_dev, files._journal.st_ino))
        never_close(files.database)
        # Closed but not unlocked: the lock is the parent's. Left open it would outlive the parent.
        files.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_changing.acquire,
        after_in_parent=_changing.release,
        after_in_child=_after_fork_in_child,
    )

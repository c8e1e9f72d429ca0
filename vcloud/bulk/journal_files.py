"""The files of an open journal: locks them, and checks that they are still what was opened.

``NAME`` is the journal, an SQLite database. ``NAME.lock`` beside it is empty; the process that has
its lock has the journal. SQLite's own locks do not suffice: POSIX drops all locks that a process
has on a file as soon as the process closes any descriptor of it (fcntl(2)), as copying it does. A
lock by flock(2) belongs to one open file description, and lasts until it is unlocked or the last
descriptor of that description is closed. ``NAME-journal`` is SQLite's rollback journal, and
``NAME-wal`` with ``NAME-shm`` its write-ahead log, which these journals do not use. SQLite restores
the database from either, so both must belong to the user, as the journal must.
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
    check_owner_if_exists,
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


#: The errors of an attempt to lock while another process has the lock (msvcrt: the last two).
_HELD_BY_OTHERS: Final = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}
#: How often the lock file is opened if it is replaced before it is locked.
_LOCK_ATTEMPTS: Final = 5
#: The size of the database's header, which counts the changes that SQLite makes to the file
#: (https://sqlite.org/fileformat2.html, 1.3.7).
_HEADER_SIZE: Final = 100
#: The part of the header that says whether there is a write-ahead log (the same, 1.3.3).
_WRITE_VERSION: Final = slice(18, 20)
_WRITE_AHEAD: Final = b"\2\2"
#: The suffixes of the files that SQLite puts beside a database.
_COMPANIONS: Final = ("-journal", "-wal", "-shm")

#: Held while files are opened or closed, and while the process forks, so that a child knows all
#: open files. Reentrant, because the garbage collector may close some while others are opened.
_files_lock = threading.RLock()
#: The files that are open in this process.
_open_files: WeakSet[JournalFiles] = WeakSet()
#: Device and inode of the journals that were open in the process that forked this one.
_inherited: set[tuple[int, int]] = set()


class JournalFiles:
    """Has the lock of a journal, and checks that its files are still in their places.

    A thread other than the one that opened it may only use :meth:`check` and :attr:`inherited`.

    Args:
        path: the journal. It is made if it does not exist, as its lock file is, for its owner
            alone.
        check_owner: refuse files that belong to another user, or that others may write.

    Attributes:
        database: SQLite's connection. A forked child must not even close it
            (https://sqlite.org/howtocorrupt.html, 2.6): that would remove the rollback journal.
        real: the journal's path without symbolic links, which is the one that SQLite gets.
        write_ahead: whether it had a write-ahead log when it was opened.
        lost: what happened to the files; None as long as they are in their places.

    Raises:
        ConfigurationError: another run uses it, or it cannot be opened, written or locked, or it is
            not this user's alone.
    """

    def __init__(self, path: Path, *, check_owner: bool = True) -> None:
        self.lost: str | None = None
        self.database: object = None
        self._path = path
        # Later checks must not depend on the working directory.
        self._place = path.absolute()
        self.real: Path = _without_links(path)
        if self.real.is_dir():
            raise ConfigurationError(
                f"the journal {path} cannot be written: {os.strerror(errno.EISDIR)}; "
                "pass the path of a file"
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
        self.write_ahead: bool = False
        try:
            self._open_all(check_owner=check_owner)
        except OSError as error:
            self.close()
            raise ConfigurationError(
                f"the journal {path} cannot be written: {error.strerror}"
            ) from None
        except BaseException:
            self.close()
            raise

    def _open_all(self, *, check_owner: bool) -> None:
        self._owners = owners_in(self.real.parent) if check_owner else None
        # Before a lock file is made for it. This is checked again once it is open.
        check_owner_if_exists(self.real, self._owners)
        self._take_lock()
        # Only now: opening and closing a journal that another run of this process uses would drop
        # the locks that SQLite has on it.
        self._open_journal()
        self.check_companions()
        # Before SQLite looks for one: in a folder that others may write, another user could put one
        # there meanwhile. SQLite does not use an empty one.
        self._made_rollback = make_empty(self._rollback_place)
        self.record()
        self.write_ahead = (
            self._beside("-wal").exists() or self._header[_WRITE_VERSION] == _WRITE_AHEAD
        )

    def _take_lock(self) -> None:
        for _ in range(_LOCK_ATTEMPTS):
            with _files_lock:
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

    def _open_journal(self) -> None:
        with _files_lock:
            with contextlib.suppress(FileNotFoundError):
                found = self.real.lstat()
                # SQLite in this process assumes that it still has the locks of the parent.
                if (found.st_dev, found.st_ino) in _inherited:
                    raise ConfigurationError(
                        f"the journal {self._path} was open when this process was forked: "
                        "use it in a new process (the start method spawn of multiprocessing)"
                    )
                # A hard link to it has another lock file.
                if any(files.is_journal(found) for files in list(_open_files)):
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
        """Check the owner of the files from which SQLite restores the journal.

        Raises:
            ConfigurationError: one of them is not this user's alone.
        """
        for suffix in _COMPANIONS:
            check_owner_if_exists(self._beside(suffix), self._owners)

    def _in_use(self) -> ConfigurationError:
        return ConfigurationError(f"the journal {self._path} is in use by another run")

    @property
    def identity(self) -> tuple[int, int] | None:
        """Device and inode of the open journal; None once it is closed."""
        return None if self._journal is None else (self._journal.st_dev, self._journal.st_ino)

    def is_journal(self, file: os.stat_result) -> bool:
        """Whether this file is the open journal."""
        return self._journal is not None and os.path.samestat(file, self._journal)

    @property
    def inherited(self) -> bool:
        """Whether they were opened by the process from which this one was forked."""
        return self._process != os.getpid()

    def check(self) -> None:
        """Check that journal and lock file are in their places, and that nothing was truncated.

        From any thread, also while another one writes a transaction.

        Raises:
            ConfigurationError: they are not, or were not at an earlier check.
        """
        journal, lock, size = self._journal, self._lock, self._size
        if journal is None or lock is None:
            return  # The journal is closed.
        what = _displaced(self._place, journal, size)
        if what is None and (missing := _displaced(self._lock_place, lock)) is not None:
            what = f"lost its lock file, {self._lock_place.name}, which {missing}"
        self._raise_if_lost(what)

    def check_unchanged(self) -> None:
        """Check the same between two transactions, and that no other program wrote any file.

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
        self._raise_if_lost(what)

    def check_written(self, size: int) -> None:
        """Check the same after a transaction, and remember the state of the files.

        Args:
            size: the size of the database in bytes, from SQLite.

        Raises:
            ConfigurationError: as for :meth:`check`.
        """
        self.check()
        self.record()
        self._raise_if_lost("was truncated" if self._size < size else None)

    def record(self) -> None:
        """Remember the state of the files, after this process has written them."""
        self._size, self._header = self._state()
        try:
            self._rollback = self._rollback_place.stat()
        except OSError:
            self._rollback = None

    def _state(self) -> tuple[int, bytes]:
        descriptor = self._descriptors[-1]
        try:
            os.lseek(descriptor, 0, os.SEEK_SET)
            return os.fstat(descriptor).st_size, os.read(descriptor, _HEADER_SIZE)
        except OSError as error:
            self._raise_if_lost(f"could not be read any more ({error.strerror})")
            raise

    def _raise_if_lost(self, what: str | None) -> None:
        if what is not None and self.lost is None:
            # It stays lost: another run may have used it meanwhile.
            self.lost = (
                f"the journal {self._path} {what} while it was in use. It does not have what was "
                "done since: look at the service before you repeat anything"
            )
        if self.lost is not None:
            raise ConfigurationError(self.lost)

    def close(self) -> None:
        """Close the files, the lock last. Close SQLite's connection before. May be called twice."""
        with _files_lock:
            descriptors, self._descriptors = self._descriptors, []
            _open_files.discard(self)
        self._journal = self._lock = None
        if descriptors and not self.inherited:
            self._remove_unused_rollback()
            # A child that was forked without Python's hooks may still have the lock file open.
            # Unlocking a lock of another process does nothing.
            with contextlib.suppress(OSError):
                _unlock(descriptors[0])
        for descriptor in reversed(descriptors):
            os.close(descriptor)

    def _remove_unused_rollback(self) -> None:
        """Remove the rollback journal that was made here, unless SQLite has removed or used it."""
        made, self._made_rollback = self._made_rollback, None
        if made is None or self.lost is not None:
            return
        with contextlib.suppress(OSError):
            found = self._rollback_place.lstat()
            if os.path.samestat(found, made) and found.st_size == 0:
                self._rollback_place.unlink()


def never_close(database: object) -> None:
    """Keep SQLite's connection from ever being freed, even at the end of the interpreter."""
    # A reference that nothing drops.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(database))


def _without_links(path: Path) -> Path:
    """The path of a journal without symbolic links.

    A journal must have one lock file, whichever links lead to its folder. The file itself must not
    be a link, where that can be refused.
    """
    if POSIX:
        return Path(os.path.realpath(path.parent), path.name)
    return Path(os.path.realpath(path))


def _displaced(place: Path, file: os.stat_result, size: int = 0) -> str | None:
    """What happened to a file that was opened there; None if it is there, and not shorter."""
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
    _files_lock.release()
    for files in list(_open_files):
        if files.identity is not None:
            _inherited.add(files.identity)
        never_close(files.database)
        # Closed but not unlocked, because the lock is the parent's. If this process kept it open,
        # the lock would outlive the parent.
        files.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_files_lock.acquire,
        after_in_parent=_files_lock.release,
        after_in_child=_after_fork_in_child,
    )

"""Opens the file of an agent's commands: for its owner alone, and in one process."""

from __future__ import annotations

import os
import shlex
import sqlite3
import stat
import threading
import time
from pathlib import Path
from typing import Final

from vcloud._core import private_files
from vcloud.errors import ConfigurationError

__all__ = ["explained", "locked_database", "release"]

#: Windows has other permissions.
_POSIX: Final = hasattr(os, "geteuid")
#: Seconds to wait while something else has the file locked: a program that makes a backup, or an
#: agent that ends.
BUSY_TIMEOUT: Final = 5.0
#: Seconds between two checks whether this process still has it open.
_CHECK_INTERVAL: Final = 0.02
#: The files that this process has open. To close any descriptor of a file drops SQLite's locks of
#: it, in the whole process, so that a second opening must not even look at it.
_in_use: Final[set[Path]] = set()
_taking: Final = threading.Lock()


def locked_database(path: Path) -> sqlite3.Connection:
    """Open the file, make it if there is none, and lock it until it is closed.

    Raises:
        ConfigurationError: it is in use, not this user's alone, or cannot be made.
    """
    real = path.resolve()
    _take(path, real)
    database = None
    try:
        os.close(private_files.open_or_make(path, _check))
        database = sqlite3.connect(
            real, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("BEGIN EXCLUSIVE")
    except BaseException as error:
        if database is not None:
            database.close()
        _in_use.discard(real)
        if isinstance(error, OSError):
            raise ConfigurationError(
                f"remember={str(path)!r} cannot be used: {error.strerror or error}"
            ) from None
        raise
    return database


def release(path: Path, database: sqlite3.Connection) -> None:
    """Close the file."""
    database.close()
    _in_use.discard(path.resolve())


def _take(path: Path, real: Path) -> None:
    until = time.monotonic() + BUSY_TIMEOUT
    while True:
        with _taking:
            if real not in _in_use:
                _in_use.add(real)
                return
        if time.monotonic() >= until:
            raise ConfigurationError(
                f"remember={str(path)!r} is in use by another agent of this process: give each "
                "agent a file of its own"
            )
        time.sleep(_CHECK_INTERVAL)


def explained(path: Path, error: sqlite3.Error) -> ConfigurationError:
    """What is wrong with the file, for what SQLite said of it."""
    shown = shlex.quote(str(path))
    code = getattr(error, "sqlite_errorcode", None)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return ConfigurationError(
            f"remember={str(path)!r} is in use by another process: stop the other agent, or give "
            "each agent a file of its own"
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return ConfigurationError(
            f"remember={str(path)!r} is damaged, or another program's file ({error}): `rm {shown}` "
            "if it is this agent's; it then may repeat a command that comes again"
        )
    return ConfigurationError(f"remember={str(path)!r} cannot be used: {error}")


def _check(place: Path, found: os.stat_result) -> None:
    shown = shlex.quote(str(place))
    if stat.S_ISLNK(found.st_mode):
        raise ConfigurationError(
            f"remember={str(place)!r} is a symbolic link: give the path of its target"
        )
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file"
        raise ConfigurationError(f"remember={str(place)!r} is {kind}: give the path of a file")
    if not _POSIX:
        return
    if found.st_uid != os.geteuid():
        raise ConfigurationError(
            f"remember={str(place)!r} belongs to another user (uid {found.st_uid}; this process "
            f"has uid {os.geteuid()}): give another path"
        )
    if found.st_mode & 0o077:
        raise ConfigurationError(
            f"other users may use remember={str(place)!r} (its mode is "
            f"{stat.S_IMODE(found.st_mode):04o}): `chmod go= {shown}`"
        )

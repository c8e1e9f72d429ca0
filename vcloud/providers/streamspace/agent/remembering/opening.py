"""Opens the file of an agent's commands: for its owner alone, and in one process."""

from __future__ import annotations

import os
import shlex
import sqlite3
import stat
from pathlib import Path
from typing import Final

from vcloud._core import private_files
from vcloud.errors import ConfigurationError

__all__ = ["explained", "locked_database"]

#: Windows has other permissions.
_POSIX: Final = hasattr(os, "geteuid")
#: Seconds to wait while another program, such as one that makes a backup, has the file locked.
BUSY_TIMEOUT: Final = 1.0


def locked_database(path: Path) -> sqlite3.Connection:
    """Open the file, make it if there is none, and lock it until it is closed.

    Raises:
        ConfigurationError: it is in use, not this user's alone, or cannot be made.
    """
    try:
        # Before SQLite has it open: to close any descriptor of the file drops SQLite's locks.
        os.close(private_files.open_or_make(path, _check))
    except OSError as error:
        raise ConfigurationError(
            f"remember={str(path)!r} cannot be used: {error.strerror or error}"
        ) from None
    database = sqlite3.connect(
        path.resolve(), timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
    )
    try:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("BEGIN EXCLUSIVE")
    except BaseException:
        database.close()
        raise
    return database


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

"""Whose the files of a journal are. Whoever can write a journal decides what is done, and what is not.

The rule is that of OpenSSH for a user's files (``safe_path`` in its ``misc.c``): a file of the user's
own that neither group nor others may write, asked of the opened file. Two things differ. The file
itself must not be a symbolic link, where OpenSSH follows it and checks what it leads to. And a folder
that others may write is a warning here, where OpenSSH refuses it.
"""

from __future__ import annotations

import logging
import os
import shlex
import stat
from pathlib import Path
from typing import Final

from attrs import frozen

from vcloud.errors import ConfigurationError
from vcloud.errors.text import printable

#: Windows knows other rights, and the files of a user's folder are the user's there.
POSIX: Final = hasattr(os, "geteuid")
#: A symbolic link is not followed, a FIFO not waited for, a terminal not taken over.
_FLAGS: Final = (
    os.O_RDWR
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
)
#: How often a file is opened anew that appears and disappears meanwhile.
_TRIES: Final = 5
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_log = logging.getLogger("vcloud.bulk")


@frozen
class Owners:
    """Whose a journal's files may be.

    Args:
        user: the effective user id of this process.
        folder: who owns the folder that the files are in. Only root accepts files of that user.
    """

    user: int
    folder: int

    def fault(self, file: os.stat_result) -> tuple[str, str] | None:
        """What is wrong with a file, and the command that mends it; None if nothing is.

        Args:
            file: what fstat(2) says of it.
        """
        accepted = {self.user, self.folder} if self.user == 0 else {self.user}
        if file.st_uid not in accepted:
            return (
                f"belongs to another user (uid {file.st_uid}, and this is run by uid {self.user})",
                f"chown {self.user}",
            )
        if file.st_mode & _OTHERS_WRITE:
            mode = stat.S_IMODE(file.st_mode)
            return f"can be written by other users (its mode is {mode:04o})", "chmod go-w"
        return None


def owners_in(folder: Path) -> Owners | None:
    """Whose the files of a journal in this folder may be; None where the system has no such rights.

    A folder in which others may replace files is logged at WARNING.

    Raises:
        OSError: there is no such folder.
    """
    if not POSIX:
        return None
    found = folder.stat()
    if found.st_mode & _OTHERS_WRITE and not found.st_mode & stat.S_ISVTX:
        _log.warning(
            "other users may replace the journal in %s, because they may write that folder "
            "(its mode is %04o): use a folder of your own, or `chmod go-w` it",
            printable(str(folder)),
            stat.S_IMODE(found.st_mode),
        )
    return Owners(os.geteuid(), found.st_uid)


def open_file(place: Path, owners: Owners | None) -> int:
    """Open a file to read and write, which is made for its owner alone when it is not there.

    Args:
        place: the file.
        owners: whose it may be; None: that is not asked.

    Returns:
        The descriptor.

    Raises:
        ConfigurationError: it is somebody else's, others may write it, or it is no regular file.
        OSError: it cannot be opened.
    """
    descriptor = _opened(place, owners)
    try:
        _assert_safe(place, os.fstat(descriptor), owners)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def assert_safe_if_there(place: Path, owners: Owners | None) -> None:
    """Assert the same of a file that somebody else opens, SQLite.

    Raises:
        ConfigurationError: as for :func:`open_file`.
    """
    try:
        found = place.lstat()
    except FileNotFoundError:
        return
    _assert_safe(place, found, owners)


def make_empty(place: Path) -> os.stat_result | None:
    """Make a file for its owner alone; return None when there is one of that name."""
    try:
        descriptor = _new(place)
    except FileExistsError:
        return None
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _opened(place: Path, owners: Owners | None) -> int:
    for _ in range(_TRIES):
        try:
            # First, so that nobody else's file is taken for one that was just made. And to open
            # with O_CREAT what another user has put into /tmp fails (fs.protected_regular).
            return _new(place)
        except FileExistsError:
            pass
        try:
            return os.open(place, _FLAGS)
        except FileNotFoundError:
            continue
        except OSError:
            # A link cannot be opened in this way, somebody else's file often not at all.
            assert_safe_if_there(place, owners)
            raise
    raise ConfigurationError(f"{place} is removed whenever it is there")


def _new(place: Path) -> int:
    descriptor = os.open(place, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
    if POSIX and stat.S_IMODE(os.fstat(descriptor).st_mode) != 0o600:
        # The umask took rights from its owner, or the file system has no such rights.
        try:
            os.fchmod(descriptor, 0o600)
        except PermissionError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def _assert_safe(place: Path, file: os.stat_result, owners: Owners | None) -> None:
    if stat.S_ISLNK(file.st_mode):
        raise ConfigurationError(
            f"{place} is a symbolic link, and whoever can change it decides what is done: "
            "give the path that it leads to"
        )
    if not stat.S_ISREG(file.st_mode):
        raise ConfigurationError(f"{place} is no regular file")
    if owners is None or (fault := owners.fault(file)) is None:
        return
    what, command = fault
    raise ConfigurationError(
        f"{place} {what}, and whoever can write it decides what is done: if you trust what it says, "
        f"`{command} {shlex.quote(str(place))}`; on a file system without owners and rights, "
        "give Journal(path, check_owner=False)"
    )

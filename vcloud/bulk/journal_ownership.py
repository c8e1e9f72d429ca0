"""Checks the owner and mode of a journal's files, because their content decides what is done.

The rule is that of OpenSSH for a user's files (``safe_path`` in its ``misc.c``): the opened file
must belong to the user, and neither group nor others may write it. Two things differ. The file
itself must not be a symbolic link, where OpenSSH follows the link and checks its target. And a
folder that others may write is a warning here, where OpenSSH refuses it.
"""

from __future__ import annotations

import logging
import os
import shlex
import stat
from functools import partial
from pathlib import Path
from typing import Final

from attrs import frozen

from vcloud._core import private_files
from vcloud.errors import ConfigurationError
from vcloud.errors.text import printable

#: Windows has other permissions, and files in a user's folder belong to the user there.
POSIX: Final = hasattr(os, "geteuid")
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_log = logging.getLogger("vcloud.bulk")


@frozen
class Owners:
    """The users who may own a journal's files.

    Attributes:
        user: the effective user id of this process.
        folder: the owner of the folder of the files. Only root accepts files of that user.
    """

    user: int
    folder: int

    def fault(self, file: os.stat_result) -> tuple[str, str] | None:
        """What is wrong with a file, and the command that fixes it; None if nothing is.

        Args:
            file: the result of fstat(2).
        """
        accepted = {self.user, self.folder} if self.user == 0 else {self.user}
        if file.st_uid not in accepted:
            return (
                f"belongs to another user (uid {file.st_uid}; this process has uid {self.user})",
                f"chown {self.user}",
            )
        if file.st_mode & _OTHERS_WRITE:
            mode = stat.S_IMODE(file.st_mode)
            return f"can be written by other users (its mode is {mode:04o})", "chmod go-w"
        return None


def owners_in(folder: Path) -> Owners | None:
    """The allowed owners of files in this folder; None if the system has no POSIX permissions.

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
    """Open a file to read and write. It is made for its owner alone if it does not exist.

    Args:
        place: the file.
        owners: the allowed owners; None: any.

    Returns:
        The descriptor.

    Raises:
        ConfigurationError: it belongs to another user, others may write it, or it is not a regular
            file.
        OSError: it cannot be opened.
    """
    return private_files.open_or_make(place, partial(_check_owner, owners))


def check_owner_if_exists(place: Path, owners: Owners | None) -> None:
    """Check the same of a file that SQLite opens, if it exists.

    Raises:
        ConfigurationError: as for :func:`open_file`.
    """
    try:
        found = place.lstat()
    except FileNotFoundError:
        return
    _check_owner(owners, place, found)


def make_empty(place: Path) -> os.stat_result | None:
    """Make a file for its owner alone. Return None if there is one of that name."""
    try:
        descriptor = private_files.make(place)
    except FileExistsError:
        return None
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _check_owner(owners: Owners | None, place: Path, file: os.stat_result) -> None:
    if stat.S_ISLNK(file.st_mode):
        raise ConfigurationError(
            f"{place} is a symbolic link, and anyone who can change it decides what is done: "
            "pass the path of its target"
        )
    if not stat.S_ISREG(file.st_mode):
        raise ConfigurationError(f"{place} is not a regular file: use another path")
    if owners is None or (fault := owners.fault(file)) is None:
        return
    what, command = fault
    raise ConfigurationError(
        f"{place} {what}, and anyone who can write it decides what is done: "
        "if you trust its content, "
        f"`{command} {shlex.quote(str(place))}`; on a file system without owners and modes, "
        "use Journal(path, check_owner=False)"
    )

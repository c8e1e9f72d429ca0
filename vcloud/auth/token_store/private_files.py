"""Opens files that nobody else may read, write or replace.

The rule is that of OpenSSH for private keys (``sshkey_perm_ok`` in its ``authfile.c``): the file
must belong to the user, and neither group nor others have any access to it. Also, the file must not
be a symbolic link, and nobody else may replace the files of its folder.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
from pathlib import Path
from typing import Final

from vcloud.errors import ConfigurationError

#: Do not follow a symbolic link, wait for a FIFO, or make a terminal the controlling one.
_FLAGS: Final = (
    getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
)
#: How often a file is opened if it is made and removed meanwhile.
_ATTEMPTS: Final = 5


def check_folder(folder: Path) -> None:
    """Check that nobody else may replace files in this folder.

    Raises:
        ConfigurationError: they may, or there is no such folder.
    """
    shown = shlex.quote(str(folder))
    try:
        found = folder.stat()
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no folder {folder} for a token store: make it, for example with "
            f"`mkdir -m 700 {shown}`"
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"the folder {folder} cannot be used for a token store: {error.strerror}"
        ) from None
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigurationError(f"{folder} is not a folder: a token store cannot be in it")
    if found.st_uid not in {0, os.geteuid()}:
        raise ConfigurationError(
            f"the folder {folder} belongs to another user (uid {found.st_uid}), who may replace "
            "the tokens in it: use a folder of your own"
        )
    # In a folder with the sticky bit, such as /tmp, others cannot replace a file.
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX:
        raise ConfigurationError(
            f"other users may replace the tokens in the folder {folder}, because they may write it "
            f"(its mode is {stat.S_IMODE(found.st_mode):04o}): use a folder of your own, or "
            f"`chmod go-w {shown}`"
        )


def open_if_exists(place: Path) -> int | None:
    """Open a file to read it; None: there is none.

    Raises:
        ConfigurationError: others may read or write it, it belongs to another user, or it is not a
            regular file.
        OSError: it cannot be opened.
    """
    try:
        descriptor = os.open(place, os.O_RDONLY | _FLAGS)
    except FileNotFoundError:
        return None
    except OSError:
        # A link cannot be opened in this way, and a file of another user often not at all.
        with contextlib.suppress(FileNotFoundError):
            _check(place, place.lstat())
        raise
    return _checked(place, descriptor)


def open_or_make(place: Path) -> int:
    """Open a file to read and write it. It is made for its owner alone if it does not exist.

    Raises:
        ConfigurationError, OSError: as for :func:`open_if_exists`.
    """
    for _ in range(_ATTEMPTS):
        try:
            # First, so that a file of another user is not taken for one that was just made.
            return make(place)
        except FileExistsError:
            pass
        try:
            return _checked(place, os.open(place, os.O_RDWR | _FLAGS))
        except FileNotFoundError:
            continue
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                _check(place, place.lstat())
            raise
    raise OSError(f"another program keeps creating and removing {place.name}")


def make(place: Path) -> int:
    """Make a file for its owner alone, and open it.

    Raises:
        FileExistsError: there is one of that name.
        OSError: it cannot be made.
    """
    descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)  # the umask took permissions from the owner
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _checked(place: Path, descriptor: int) -> int:
    try:
        _check(place, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check(place: Path, found: os.stat_result) -> None:
    shown = shlex.quote(str(place))
    if stat.S_ISLNK(found.st_mode):
        raise ConfigurationError(
            f"{place} is a symbolic link, and a token store follows none: "
            "pass the path of its target"
        )
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file"
        raise ConfigurationError(f"{place} is {kind}: pass the path of a file to a token store")
    if found.st_uid != os.geteuid():
        raise ConfigurationError(
            f"{place} belongs to another user (uid {found.st_uid}; this process has uid "
            f"{os.geteuid()}), who may read and replace the tokens in it: use another path"
        )
    if found.st_mode & 0o077:
        raise ConfigurationError(
            f"other users may use {place} (its mode is {stat.S_IMODE(found.st_mode):04o}), and a "
            f"token store is for its owner alone: `rm {shown}`, and it is made anew"
        )

"""The rule for the files of a token store: nobody else may read, write or replace them.

The rule is that of OpenSSH for private keys (``sshkey_perm_ok`` in its ``authfile.c``): the file
must belong to the user, and neither group nor others have any access to it. Also, the file must not
be a symbolic link, and nobody else may replace the files of its folder.
"""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from vcloud._core import private_files
from vcloud.errors import ConfigurationError


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
    return private_files.open_if_exists(place, _check)


def open_or_make(place: Path) -> int:
    """Open a file to read and write it. It is made for its owner alone if it does not exist.

    Raises:
        ConfigurationError, OSError: as for :func:`open_if_exists`.
    """
    return private_files.open_or_make(place, _check)


def make(place: Path) -> int:
    """Make a file for its owner alone, and open it to write it.

    Raises:
        ConfigurationError: the file system lets others read it.
        OSError: it cannot be made, or there is one of that name.
    """
    return private_files.checked(place, private_files.make(place), _check)


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

"""Makes and opens files of one user. What a check refuses is closed, and nobody waits for it.

The check is the caller's: a journal may be read by others, and a file of tokens may not.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["Check", "checked", "make", "open_if_exists", "open_or_make"]

#: Raises an error if this file must not be used.
Check = Callable[[Path, os.stat_result], None]

#: Do not follow a symbolic link, wait for a FIFO, or make a terminal the controlling one.
_FLAGS: Final = (
    getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
)
#: How often a file is opened if it is made and removed meanwhile.
_ATTEMPTS: Final = 5


def open_if_exists(place: Path, check: Check) -> int | None:
    """Open a file to read it; None: there is none.

    Raises:
        OSError: it cannot be opened. What the check raises comes first.
    """
    try:
        return _opened(place, os.O_RDONLY, check)
    except FileNotFoundError:
        return None


def open_or_make(place: Path, check: Check) -> int:
    """Open a file to read and write it. It is made for its owner alone if it does not exist.

    Raises:
        OSError: it cannot be opened or made. What the check raises comes first.
    """
    for _ in range(_ATTEMPTS):
        try:
            # First, so that a file of another user is not taken for one that was just made. Also,
            # opening a file of another user in /tmp with O_CREAT fails (fs.protected_regular).
            return checked(place, make(place), check)
        except FileExistsError:
            pass
        with contextlib.suppress(FileNotFoundError):
            return _opened(place, os.O_RDWR, check)
    raise OSError(errno.EBUSY, "another program keeps creating and removing it", str(place))


def make(place: Path) -> int:
    """Make a file for its owner alone, and open it to read and write it.

    A file system without permissions may give others access to it all the same.

    Raises:
        FileExistsError: there is one of that name.
        OSError: it cannot be made.
    """
    descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
    # Windows has other permissions.
    if hasattr(os, "fchmod") and stat.S_IMODE(os.fstat(descriptor).st_mode) != 0o600:
        try:
            # The umask took permissions from the owner, or the file system has no permissions.
            os.fchmod(descriptor, 0o600)
        except PermissionError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def checked(place: Path, descriptor: int, check: Check) -> int:
    """The descriptor of an open file, which is closed if the check refuses the file."""
    try:
        check(place, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _opened(place: Path, mode: int, check: Check) -> int:
    try:
        descriptor = os.open(place, mode | _FLAGS)
    except FileNotFoundError:
        raise
    except OSError:
        # A link cannot be opened in this way, and a file of another user often not at all.
        with contextlib.suppress(FileNotFoundError):
            check(place, place.lstat())
        raise
    return checked(place, descriptor, check)

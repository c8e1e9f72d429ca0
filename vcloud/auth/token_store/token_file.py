"""The file of a token store: read, checked, and replaced as a whole."""

from __future__ import annotations

import contextlib
import os
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from vcloud._core.timing.clock import boottime, wall
from vcloud.auth.token_store.private_files import check_folder, make, open_if_exists
from vcloud.auth.token_store.records import Record
from vcloud.auth.token_store.store import StoreAwayError

#: How many tokens a file holds; those that were written first go.
MAX_TOKENS: Final = 1_000
#: Bytes: so many of the longest tokens.
_MAX_SIZE: Final = 32 * 1024 * 1024
_VERSION: Final = 1
#: How each of these files begins, of whatever version.
_BEGINNING: Final = b'{"vcloud_tokens":'


class _Content(msgspec.Struct):
    """What is in the file."""

    vcloud_tokens: int
    tokens: dict[str, Record] = {}

    def __repr__(self) -> str:
        return "_Content(***)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []

    __sentry_repr__ = __repr__


class TokenFile:
    """The tokens in a file.

    Args:
        path: where it is, or will be.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new = path.with_name(f"{path.name}.new")
        self._read: tuple[tuple[int, int, int], dict[str, Record]] | None = None

    def load(self) -> dict[str, Record]:
        """The tokens. A file that was damaged, or that another version wrote, has none.

        Raises:
            ConfigurationError: others may read or replace them.
            StoreAwayError: it is the file of another program.
            OSError: it cannot be read.
        """
        check_folder(self._path.parent)
        descriptor = open_if_exists(self._path)
        if descriptor is None:
            return {}
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            # It is replaced, never changed. So the same file is read once.
            identity = (found.st_ino, found.st_size, found.st_mtime_ns)
            if self._read is None or self._read[0] != identity:
                self._read = identity, self._decoded(file.read(_MAX_SIZE + 1))
        return dict(self._read[1])

    def replace(self, tokens: dict[str, Record]) -> None:
        """Write other tokens. Call it with the store's short lock.

        Raises:
            OSError: it cannot be written.
        """
        kept = {key: one for key, one in tokens.items() if not _is_over(one)}
        newest = dict(list(kept.items())[-MAX_TOKENS:])
        data = msgspec.json.encode(_Content(_VERSION, newest))
        # Left by a process that was killed.
        self._new.unlink(missing_ok=True)
        try:
            with os.fdopen(make(self._new), "wb") as file:
                file.write(data)
            self._new.replace(self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                self._new.unlink()
            raise

    def _decoded(self, data: bytes) -> dict[str, Record]:
        # A crash of the machine may leave a file of zeros.
        if not data.strip(b"\0 \r\n"):
            return {}
        if not data.startswith(_BEGINNING):
            # It may be any file of the user's, so it is left as it is.
            raise StoreAwayError("it is not the file of a token store: remove it, or use another")
        try:
            content = msgspec.json.decode(data, type=_Content)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return {}
        return content.tokens if content.vcloud_tokens == _VERSION else {}


def stamped(record: Record) -> Record:
    """A record with the time by the clocks that other processes can read."""
    times: dict[str, Any] = {"wall": wall(), "boot": _boot(), "since_boot": boottime()}
    return msgspec.structs.replace(record, **times)


def age(record: Record) -> float:
    """Seconds since a record was stamped.

    Processes of one machine have the same clock since its boot, which nobody can set. Otherwise it
    is the time of day that says how old a record is. If that clock is wrong, a token is used until
    the service refuses it, or there is one login more.
    """
    if record.boot and record.boot == _boot() and boottime() >= record.since_boot:
        return boottime() - record.since_boot
    return max(0.0, wall() - record.wall)


def _is_over(record: Record) -> bool:
    return record.life is not None and age(record) >= record.left


@cache
def _boot() -> str:
    """What names this boot of this machine; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, ValueError):
        return ""

"""The journal's file: one SQLite database, used by one thread. What is here does not know of asyncio."""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
import weakref
from collections.abc import Callable, Container, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from vcloud.bulk.journal_files import JournalFiles, never_close
from vcloud.bulk.outcome import OutcomeStatus
from vcloud.errors import ConfigurationError, InvalidArgumentError, VCloudError
from vcloud.errors.text import printable

#: "vcbj": tells a journal from any other SQLite file.
_APPLICATION: Final = 0x7663626A
_FORMAT: Final = 1
#: Seconds that another program, one that makes a backup, may take to finish with the file.
_BUSY: Final = 1.0
_SCHEMA: Final = (
    "CREATE TABLE job (name TEXT NOT NULL)",
    """CREATE TABLE item (key TEXT PRIMARY KEY, status TEXT NOT NULL, attempts INTEGER NOT NULL, seconds REAL NOT NULL,
        error TEXT, recorded TEXT) WITHOUT ROWID""",
)
#: Seconds, 100 years: no action takes as long, and a timedelta can hold it.
_LONGEST: Final = 36_525 * 86_400.0
_COLUMNS: Final = "key, status, attempts, seconds, error, recorded"


@frozen
class Entry:
    """What the journal says of one item.

    Attributes:
        key: what names the item.
        status: what became of it: done, failed or unknown. What is undone has no entry.
        attempts: requests sent; 0 when the process was killed meanwhile.
        duration: how long the action took; zero when the process was killed meanwhile.
        error: what went wrong, in words, on one printable line; None when nothing did, or the
            process was killed.
        recorded: what was kept of the result.
    """

    key: str
    status: OutcomeStatus
    attempts: int = 0
    duration: timedelta = timedelta()
    error: str | None = None
    recorded: Any = None


class Ledger:
    """An open journal. Nobody else can open it meanwhile, in this process or another.

    An item that is begun is written down as unknown, and only what becomes of it changes that: whatever kills the process,
    the file says no more than is true.

    Args:
        path: the file; made when it is not there, for its owner's eyes only.
        job: what it must be the journal of.
        check_owner: refuse a file that is somebody else's, or that others may write.

    Raises:
        ConfigurationError: it is in use, damaged, of another job, from a later version, or cannot
            be written, or it is not this user's alone.
    """

    def __init__(self, path: Path, job: str, *, check_owner: bool = True) -> None:
        self._path = path
        #: What stood there of items that are begun once more, until something becomes of them.
        self._before: dict[str, Entry] = {}
        self._files = JournalFiles(path, check_owner=check_owner)
        try:
            # In full, because some names are no file's to SQLite. What is dropped without being
            # closed is closed by the thread that drops it.
            self._db = sqlite3.connect(
                self._files.real, timeout=_BUSY, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            self._files.close()
            raise self._explained(error) from None
        self._files.database = self._db
        self._closer = weakref.finalize(self, _close, self._db, self._files)
        try:
            self._open(job)
        except sqlite3.Error as error:
            self.close()
            raise self._explained(error) from None
        except BaseException:
            self.close()
            raise

    def _open(self, job: str) -> None:
        # The lock comes first and stays until the end, so that of two processes exactly one gets a new file too.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        # Also when the power fails: what was sent must have been written down. Where only
        # F_FULLFSYNC empties the disk's own cache (macOS), that is used.
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA fullfsync = ON")
        self._db.execute("BEGIN EXCLUSIVE")
        (mode,) = self._db.execute("PRAGMA journal_mode").fetchone()
        if mode == "wal" and not self._files.write_ahead:
            # Closing it would write what the log says into the journal.
            never_close(self._db)
            self._closer.detach()
            self._files.close()
            raise ConfigurationError(
                f"the journal {self._path} got a write-ahead log while it was opened, and not by "
                "this program: look who else can write its folder"
            )
        application, version, tables = (
            self._number(question)
            for question in (
                "PRAGMA application_id",
                "PRAGMA user_version",
                "SELECT COUNT(*) FROM sqlite_master",
            )
        )
        if not (application or version or tables):
            for statement in (
                *_SCHEMA,
                f"PRAGMA application_id = {_APPLICATION}",
                f"PRAGMA user_version = {_FORMAT}",
            ):
                self._db.execute(statement)
            self._db.execute("INSERT INTO job VALUES (?)", (job,))
        elif application != _APPLICATION:
            raise ConfigurationError(f"{self._path} is no journal but some other database")
        elif version > _FORMAT:
            raise ConfigurationError(
                f"the journal {self._path} was written by a later version of vcloud"
            )
        self._db.execute("COMMIT")
        # A journal is trusted with money, so damage must not wait until it is met.
        if (verdict := self._db.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
            raise ConfigurationError(f"the journal {self._path} is damaged: {verdict}")
        (written,) = self._db.execute("SELECT name FROM job").fetchone()
        if written != job:
            raise ConfigurationError(
                f"{self._path} is the journal of the job {written!r}, not of {job!r}"
            )
        # What is done stands in this one file, where a write-ahead log would be another. Only a
        # crash in the middle of a transaction leaves a rollback journal that is needed.
        self._db.execute("PRAGMA journal_mode = DELETE")
        self._db.execute(
            "CREATE TEMP TABLE seen (key TEXT PRIMARY KEY, ticket INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID"
        )
        self._hold_files()
        # SQLite opens files by their names, so only now is it known that they were those.
        self._files.check_companions()
        self._files.check_written(self._bytes())

    def _hold_files(self) -> None:
        """Have SQLite open now what it would open later, when no descriptor may be left.

        In its exclusive mode it keeps the rollback journal open from the first change on, and it
        keeps the files of a temporary table open from the moment when that outgrows its cache.
        """
        # A change that changes nothing. (An UPDATE to the same value writes nothing.)
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        self._db.execute(f"PRAGMA user_version = {version:d}")
        self._db.execute("PRAGMA temp.cache_size = 1")
        # Where there is no folder for temporary files, the table lives in the cache alone.
        with contextlib.suppress(sqlite3.OperationalError):
            self._db.execute("INSERT INTO seen (key) VALUES (hex(zeroblob(50000)))")
        self._db.execute("DELETE FROM seen")
        self._db.execute("PRAGMA temp.cache_size = 0")

    def _bytes(self) -> int:
        return self._number("PRAGMA page_count") * self._number("PRAGMA page_size")

    def _number(self, question: str) -> int:
        return int(self._db.execute(question).fetchone()[0])

    def close(self) -> None:
        """Let go of the file. May be called twice. In a child that was forked, do nothing."""
        self._closer()

    @property
    def lost(self) -> str | None:
        """What became of the file, in words, once it was found not to be what was opened."""
        return self._files.lost

    @property
    def foreign(self) -> bool:
        """Whether another process opened it, from which this one was forked."""
        return self._files.foreign

    def check(self) -> None:
        """Assert that the file is still there. From any thread, and without waiting for the disk.

        Raises:
            ConfigurationError: it, or its lock file, was removed, renamed, replaced or truncated.
        """
        self._files.check()

    def together(self, works: Sequence[Callable[[Ledger], object]]) -> list[object]:
        """Do these in one transaction, which is on the disk when this returns; one's own VCloudError is its result.

        Raises:
            ConfigurationError: the file could not be read or written, or is no longer the one that
                was opened; then none of them was done, as far as the next run can see.
        """
        self._files.check_unchanged()
        try:
            self._db.execute("BEGIN")
            results = [self._result(work) for work in works]
            self._db.execute("COMMIT")
        except Exception as error:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            self._files.check()
            self._files.record()
            if isinstance(error, sqlite3.Error | ValueError):
                raise self._explained(error) from None
            raise
        # What was written to a file that was removed meanwhile is not written down.
        self._files.check_written(self._bytes())
        return results

    def _result(self, work: Callable[[Ledger], object]) -> object:
        try:
            return work(self)
        except VCloudError as error:
            return error

    def begin(self, key: str, ticket: int, again: Container[OutcomeStatus]) -> Entry | None:
        """Look an item up, and write down that it is begun if it is new or its status is one of ``again``.

        Args:
            key: names the item.
            ticket: a number from 1 that no other item of this run has.
            again: what is begun once more.

        Returns:
            what stood there before.

        Raises:
            InvalidArgumentError: the run has had this key already.
        """
        if not self._db.execute("INSERT OR IGNORE INTO seen (key) VALUES (?)", (key,)).rowcount:
            raise InvalidArgumentError(
                f"two items of the run have the key {key!r}, and the journal could not tell them apart"
            )
        row = self._db.execute(f"SELECT {_COLUMNS} FROM item WHERE key = ?", (key,)).fetchone()  # noqa: S608 - a constant
        before = None if row is None else _entry(row)
        if before is None or before.status in again:
            self.intend(key, ticket)
            if before is not None:
                self._before[key] = before
        return before

    def intend(self, key: str, ticket: int) -> None:
        """Write down that an item is begun."""
        self._db.execute("UPDATE seen SET ticket = ? WHERE key = ?", (ticket, key))
        self.finish(Entry(key, OutcomeStatus.UNKNOWN))

    def finish(self, entry: Entry) -> None:
        """Write down what became of an item."""
        self._before.pop(entry.key, None)
        recorded = None if entry.recorded is None else json.dumps(entry.recorded)
        row = (
            entry.key,
            entry.status.value,
            entry.attempts,
            entry.duration.total_seconds(),
            entry.error,
            recorded,
        )
        self._db.execute(f"INSERT OR REPLACE INTO item ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", row)  # noqa: S608 - a constant

    def erase(self, key: str, ticket: int) -> None:
        """Nothing was sent for this item after all: then the journal says what it said before.

        What is said of an item with its key that it did not begin itself stays.
        """
        mine = "DELETE FROM item WHERE key IN (SELECT key FROM seen WHERE key = ? AND ticket = ?)"
        if (
            self._db.execute(mine, (key, ticket)).rowcount
            and (before := self._before.get(key)) is not None
        ):
            self.finish(before)

    def entries(self) -> list[Entry]:
        """All of it, by key."""
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM item ORDER BY key")  # noqa: S608 - a constant
        # All at once: a row that cannot be read would leave a query open, and with it the file locked.
        return [_entry(row) for row in rows.fetchall()]

    def counts(self) -> dict[OutcomeStatus, int]:
        """How many items have each status."""
        rows = self._db.execute("SELECT status, COUNT(*) FROM item GROUP BY status")
        return {OutcomeStatus(status): count for status, count in rows}

    def others(self, keys: Container[str]) -> int:
        """How many items it knows that have none of these keys."""
        return sum(key not in keys for (key,) in self._db.execute("SELECT key FROM item"))

    def _explained(self, error: sqlite3.Error | ValueError) -> ConfigurationError:
        if _is_in_use(error):
            return ConfigurationError(f"the journal {self._path} is in use by another program")
        # A ValueError: a status or JSON that nobody here wrote.
        if _code(error) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT) or isinstance(
            error, ValueError
        ):
            return ConfigurationError(f"{self._path} is no journal, or it is damaged: {error}")
        return ConfigurationError(f"the journal {self._path} cannot be used: {error}")


def _close(database: sqlite3.Connection, files: JournalFiles) -> None:
    if files.foreign:
        return
    try:
        if files.lost is not None:
            # By its name SQLite would remove the rollback journal, which may be another run's now.
            with contextlib.suppress(sqlite3.Error):
                database.execute("PRAGMA journal_mode = PERSIST")
        database.close()
    finally:
        files.close()


def _code(error: Exception) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_in_use(error: Exception) -> bool:
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _finite(text: str) -> float:
    if math.isfinite(number := float(text)):
        return number
    raise ValueError(f"{text:.80} is no number of JSON")


#: Reads JSON as it is written here: without NaN, infinities and what is as large.
_FINITE: Final[dict[str, Any]] = {"parse_constant": _finite, "parse_float": _finite}


def _entry(row: tuple[Any, ...]) -> Entry:
    """What a row says.

    Raises:
        ValueError: it holds what no run writes.
    """
    key, status, attempts, seconds, error, recorded = row
    # The columns of SQLite take any value, and a duration of 1e300 s is none.
    sound = isinstance(attempts, int) and isinstance(seconds, int | float)
    if not (sound and attempts >= 0 and 0 <= seconds <= _LONGEST):
        raise ValueError(f"attempts or seconds of {key!r:.80} are out of range")
    try:
        kept = None if recorded is None else json.loads(recorded, **_FINITE)
    except (TypeError, RecursionError):
        raise ValueError(f"what was recorded of {key!r:.80} cannot be read") from None
    # Earlier versions, and other programs, wrote down what a service said as it said it.
    words = None if error is None else printable(str(error))
    return Entry(key, OutcomeStatus(status), attempts, timedelta(seconds=seconds), words, kept)

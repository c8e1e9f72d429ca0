"""The journal's file: one SQLite database, used by one thread. Nothing here uses asyncio."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import weakref
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Final

from vcloud.bulk.entry import COLUMNS, Entry, entry_of
from vcloud.bulk.journal_files import JournalFiles, never_close
from vcloud.bulk.journal_format import check_job, create_or_check_format, upgrade
from vcloud.bulk.outcome import OutcomeStatus
from vcloud.errors import ConfigurationError, InvalidArgumentError, VCloudError

#: Seconds to wait while another program, such as one that makes a backup, has the file locked.
BUSY_TIMEOUT: Final = 1.0


class JournalStore:
    """An open journal. It cannot be opened a second time, in this process or another.

    An item is recorded as unknown before it is started, and its outcome replaces that. So if the
    process is killed, the file is still right.

    Args:
        path: the file. It is made if it does not exist, readable by its owner only.
        job: what it must be the journal of.
        check_owner: refuse a file that belongs to another user, or that others may write.

    Raises:
        ConfigurationError: it is in use, damaged, of another job, from a later version, cannot be
            written, or is not this user's alone.
    """

    def __init__(self, path: Path, job: str, *, check_owner: bool = True) -> None:
        self._path = path
        #: The earlier entries of items that are repeated, until they have a new outcome.
        self._before: dict[str, Entry] = {}
        self._files = JournalFiles(path, check_owner=check_owner)
        try:
            # The full path, because SQLite takes some names for something other than a file. Any
            # thread may use it, because a store that is dropped unclosed is closed by the thread
            # that drops it.
            self.database: sqlite3.Connection = sqlite3.connect(
                self._files.real,
                timeout=BUSY_TIMEOUT,
                isolation_level=None,
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            self._files.close()
            raise self._error_from(error) from None
        self._files.database = self.database
        self._closer = weakref.finalize(self, _close, self.database, self._files)
        try:
            self._open(job)
        except sqlite3.Error as error:
            self.close()
            raise self._error_from(error) from None
        except BaseException:
            self.close()
            raise

    def _open(self, job: str) -> None:
        self._lock()
        self._refuse_write_ahead_log()
        create_or_check_format(self.database, self._path, job)
        self.database.execute("COMMIT")
        # Damage must be found at once: what is done, and costs money, depends on the journal.
        verdict = self.database.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if verdict != "ok":
            raise ConfigurationError(f"the journal {self._path} is damaged: {verdict}")
        check_job(self.database, self._path, job)
        # All outcomes are in this one file; a write-ahead log would be a second one. Only a crash
        # in the middle of a transaction leaves a rollback journal that is needed.
        self.database.execute("PRAGMA journal_mode = DELETE")
        self.database.execute(
            "CREATE TEMP TABLE seen (key TEXT PRIMARY KEY, ticket INTEGER NOT NULL DEFAULT 0) "
            "WITHOUT ROWID"
        )
        self._hold_files()
        # SQLite opens files by their names, so only now is it certain that it opened these.
        self._files.check_companions()
        upgrade(self.database)
        self._files.check_written(self._size())

    def _lock(self) -> None:
        """Take SQLite's lock, until the file is closed.

        This comes first, so that of two processes exactly one makes a new file.
        """
        self.database.execute("PRAGMA locking_mode = EXCLUSIVE")
        # What was sent must be on the disk, even after a power failure. Where only F_FULLFSYNC
        # writes the disk's own cache (macOS), that is used.
        self.database.execute("PRAGMA synchronous = FULL")
        self.database.execute("PRAGMA fullfsync = ON")
        self.database.execute("BEGIN EXCLUSIVE")

    def _refuse_write_ahead_log(self) -> None:
        (mode,) = self.database.execute("PRAGMA journal_mode").fetchone()
        if mode == "wal" and not self._files.write_ahead:
            # Closing the connection would write the log into the journal.
            never_close(self.database)
            self._closer.detach()
            self._files.close()
            raise ConfigurationError(
                f"the journal {self._path} got a write-ahead log while it was opened, and not from "
                "this program: find out who else can write its folder"
            )

    def _hold_files(self) -> None:
        """Make SQLite open now what it would open later, when no descriptor may be left.

        In its exclusive mode it keeps the rollback journal open after the first change. It keeps
        the files of a temporary table open once the table is larger than its cache.
        """
        # A write that changes nothing. (An UPDATE to the same value would write nothing.)
        (version,) = self.database.execute("PRAGMA user_version").fetchone()
        self.database.execute(f"PRAGMA user_version = {version:d}")
        self.database.execute("PRAGMA temp.cache_size = 1")
        # Without a folder for temporary files, the table stays in the cache.
        with contextlib.suppress(sqlite3.OperationalError):
            self.database.execute("INSERT INTO seen (key) VALUES (hex(zeroblob(50000)))")
        self.database.execute("DELETE FROM seen")
        self.database.execute("PRAGMA temp.cache_size = 0")

    def _size(self) -> int:
        return self._number("PRAGMA page_count") * self._number("PRAGMA page_size")

    def _number(self, query: str) -> int:
        return int(self.database.execute(query).fetchone()[0])

    def close(self) -> None:
        """Close the file. May be called twice. In a forked child this does nothing."""
        self._closer()

    @property
    def lost(self) -> str | None:
        """What happened to the file, once it was found not to be what was opened."""
        return self._files.lost

    @property
    def inherited(self) -> bool:
        """Whether it was opened by the process from which this one was forked."""
        return self._files.inherited

    def check(self) -> None:
        """Check that the file is in its place. From any thread, and without waiting for the disk.

        Raises:
            ConfigurationError: it, or its lock file, was removed, renamed, replaced or truncated.
        """
        self._files.check()

    def run_together(self, works: Sequence[Callable[[JournalStore], object]]) -> list[object]:
        """Run these in one transaction, which is on the disk when this returns.

        Returns:
            The result of each, or the VCloudError that it raised.

        Raises:
            ConfigurationError: the file could not be read or written, or is no longer the one that
                was opened. Then the next run sees none of them.
        """
        self._files.check_unchanged()
        try:
            self.database.execute("BEGIN")
            results = [self._result(work) for work in works]
            self.database.execute("COMMIT")
        except Exception as error:
            with contextlib.suppress(sqlite3.Error):
                self.database.execute("ROLLBACK")
            self._files.check()
            self._files.record()
            if isinstance(error, sqlite3.Error | ValueError):
                raise self._error_from(error) from None
            raise
        # If the file was removed meanwhile, what was written there is lost.
        self._files.check_written(self._size())
        return results

    def _result(self, work: Callable[[JournalStore], object]) -> object:
        try:
            return work(self)
        except VCloudError as error:
            return error

    def begin(
        self,
        key: str,
        ticket: int,
        repeated: Container[OutcomeStatus],
        reference: str | None = None,
    ) -> Entry | None:
        """Look an item up. If it is new or is repeated, record that it is started.

        Args:
            key: the item's name.
            ticket: a number from 1 that no other item of this run has.
            repeated: the outcomes of an earlier run with which an item is repeated.
            reference: from what the item is made again; None: not known.

        Returns:
            The entry of an earlier run.

        Raises:
            InvalidArgumentError: this run has had an item with this key already.
        """
        if not self.database.execute(
            "INSERT OR IGNORE INTO seen (key) VALUES (?)", (key,)
        ).rowcount:
            raise InvalidArgumentError(
                f"two items of the run have the key {key!r}, and the journal cannot tell them "
                "apart: pass key=, a function that returns another name for each item"
            )
        row = self.database.execute(f"SELECT {COLUMNS} FROM item WHERE key = ?", (key,)).fetchone()  # noqa: S608 - a constant
        before = None if row is None else entry_of(row)
        if before is None or before.status in repeated:
            self.intend(key, ticket)
            if before is not None:
                self._before[key] = before
        if reference is not None and (before is None or before.status is not OutcomeStatus.DONE):
            self.database.execute("UPDATE item SET reference = ? WHERE key = ?", (reference, key))
        return before

    def intend(self, key: str, ticket: int) -> None:
        """Record that an item is started."""
        self.database.execute("UPDATE seen SET ticket = ? WHERE key = ?", (ticket, key))
        self.finish(Entry(key, OutcomeStatus.UNKNOWN))

    def finish(self, entry: Entry) -> None:
        """Record the outcome of an item."""
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
        self.database.execute(
            f"INSERT INTO item ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) "  # noqa: S608 - a constant
            "ON CONFLICT (key) DO UPDATE SET status = excluded.status, "
            "attempts = excluded.attempts, seconds = excluded.seconds, error = excluded.error, "
            "recorded = excluded.recorded",
            row,
        )

    def erase(self, key: str, ticket: int) -> None:
        """Restore the earlier entry of an item for which nothing was sent, or delete its entry.

        Another item may have the same key. The entry stays unless this item wrote it.
        """
        mine = "SELECT 1 FROM seen WHERE key = ? AND ticket = ?"
        if self.database.execute(mine, (key, ticket)).fetchone() is None:
            return
        if (before := self._before.get(key)) is not None:
            self.finish(before)
        else:
            self.database.execute("DELETE FROM item WHERE key = ?", (key,))

    def entries(self) -> list[Entry]:
        """All entries, by key."""
        rows = self.database.execute(f"SELECT {COLUMNS} FROM item ORDER BY key")  # noqa: S608 - a constant
        # All at once: a row that cannot be read would leave the query open and the file locked.
        return [entry_of(row) for row in rows.fetchall()]

    def counts(self) -> dict[OutcomeStatus, int]:
        """How many items have each status."""
        rows = self.database.execute("SELECT status, COUNT(*) FROM item GROUP BY status")
        return {OutcomeStatus(status): count for status, count in rows}

    def count_others(self, keys: Container[str]) -> int:
        """How many items have none of these keys."""
        return sum(key not in keys for (key,) in self.database.execute("SELECT key FROM item"))

    def _error_from(self, error: sqlite3.Error | ValueError) -> ConfigurationError:
        if _is_in_use(error):
            return ConfigurationError(f"the journal {self._path} is in use by another program")
        # A ValueError: a status or JSON that this program never writes.
        if _code(error) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT) or isinstance(
            error, ValueError
        ):
            return ConfigurationError(f"{self._path} is not a journal, or it is damaged: {error}")
        return ConfigurationError(f"the journal {self._path} cannot be used: {error}")


def _close(database: sqlite3.Connection, files: JournalFiles) -> None:
    if files.inherited:
        return
    try:
        if files.lost is not None:
            # SQLite would remove the rollback journal by its name, and that file may belong to
            # another run now.
            with contextlib.suppress(sqlite3.Error):
                database.execute("PRAGMA journal_mode = PERSIST")
        database.close()
    finally:
        files.close()


def _code(error: Exception) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_in_use(error: Exception) -> bool:
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

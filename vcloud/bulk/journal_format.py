"""The format of the journal's database: its tables, and the formats of earlier versions."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from vcloud.errors import ConfigurationError

#: "vcbj": marks an SQLite file as a journal.
_APPLICATION_ID: Final = 0x7663626A
_FORMAT: Final = 1
_SCHEMA: Final = (
    "CREATE TABLE job (name TEXT NOT NULL)",
    """CREATE TABLE item (key TEXT PRIMARY KEY, status TEXT NOT NULL, attempts INTEGER NOT NULL,
        seconds REAL NOT NULL, error TEXT, recorded TEXT, reference TEXT) WITHOUT ROWID""",
)
#: A journal has these only if it has a plan. ``planned`` has its one row once that is complete.
_PLAN: Final = (
    "CREATE TABLE plan (place INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, reference TEXT)",
    "CREATE TABLE planned (items INTEGER NOT NULL)",
)


def create_or_check_format(database: sqlite3.Connection, path: Path, job: str) -> None:
    """Make the tables of a new file, and refuse a file that no version up to this one wrote.

    Raises:
        ConfigurationError: it is another database, or from a later version.
    """
    application, version, tables = (
        int(database.execute(query).fetchone()[0])
        for query in (
            "PRAGMA application_id",
            "PRAGMA user_version",
            "SELECT COUNT(*) FROM sqlite_master",
        )
    )
    if not (application or version or tables):
        for statement in (
            *_SCHEMA,
            f"PRAGMA application_id = {_APPLICATION_ID}",
            f"PRAGMA user_version = {_FORMAT}",
        ):
            database.execute(statement)
        database.execute("INSERT INTO job VALUES (?)", (job,))
    elif application != _APPLICATION_ID:
        raise ConfigurationError(
            f"{path} is not a journal but some other database: use another file"
        )
    elif version > _FORMAT:
        raise ConfigurationError(
            f"the journal {path} was written by a later version of vcloud: "
            "update vcloud, or use another file"
        )


def check_job(database: sqlite3.Connection, path: Path, job: str) -> None:
    """Refuse the journal of another job.

    Raises:
        ConfigurationError: it is one.
    """
    (written,) = database.execute("SELECT name FROM job").fetchone()
    if written != job:
        raise ConfigurationError(
            f"{path} is the journal of the job {written!r}, not of {job!r}: "
            "use another file, or Journal(path, job=...) with that name"
        )


def upgrade(database: sqlite3.Connection) -> None:
    """Add what earlier versions did not have. They can use the journal all the same.

    From a reference, an item is made again: see :mod:`vcloud.bulk.references`.
    """
    columns = {name for _, name, *_ in database.execute("PRAGMA table_info (item)").fetchall()}
    if "reference" not in columns:
        database.execute("ALTER TABLE item ADD COLUMN reference TEXT")


def has_plan(database: sqlite3.Connection) -> bool:
    """Whether a plan was begun."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'planned'"
    return database.execute(query).fetchone() is not None


def make_plan(database: sqlite3.Connection) -> None:
    """Make the tables of a plan, in a transaction."""
    for statement in _PLAN:
        database.execute(statement)

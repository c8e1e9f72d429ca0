"""Lists in the journal, read page by page: the plan, entries that are off the list, and all rows.

These run in the journal's thread, as parts of a transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from vcloud.bulk.entry import COLUMNS, Entry, entry_of
from vcloud.bulk.journal_format import has_plan, make_plan
from vcloud.bulk.outcome import OutcomeStatus
from vcloud.errors import InvalidArgumentError

#: How many rows are read or written at once, so that a large journal is never held as a whole.
PAGE: Final = 500


@frozen
class Kept:
    """An entry, and from what its item is made again.

    Attributes:
        entry: the entry.
        reference: see :mod:`vcloud.bulk.references`; None: not known.
    """

    entry: Entry
    reference: str | None


@frozen
class Planned:
    """An item of the plan.

    Attributes:
        place: its place, from 1.
        key: its name in the journal.
        reference: see :mod:`vcloud.bulk.references`; None: not known.
    """

    place: int
    key: str
    reference: str | None


def unlisted(
    database: sqlite3.Connection, after: str | None, status: OutcomeStatus | None
) -> list[Kept]:
    """Entries whose items this run has not had, by key.

    Args:
        database: the open journal.
        after: the last key of the page before; None: the first page.
        status: the status that they have; None: any.
    """
    conditions = ["key NOT IN (SELECT key FROM seen)"]
    values = []
    if after is not None:
        conditions.append("key > ?")
        values.append(after)
    if status is not None:
        conditions.append("status = ?")
        values.append(status.value)
    rows = database.execute(
        f"SELECT reference, {COLUMNS} FROM item WHERE {' AND '.join(conditions)} "  # noqa: S608 - constants
        f"ORDER BY key LIMIT {PAGE}",
        values,
    )
    # All at once: a row that cannot be read would leave the query open and the file locked.
    return [Kept(entry_of(row[1:]), _text(row[0])) for row in rows.fetchall()]


def rows_after(database: sqlite3.Connection, after: str | None) -> list[Entry]:
    """Entries by key, and among them the items of the plan that have none, as undone.

    Args:
        database: the open journal.
        after: the last key of the page before; None: the first page.
    """
    later = "" if after is None else "AND key > :after"
    query = f"SELECT {COLUMNS} FROM item WHERE 1 {later} "  # noqa: S608 - constants
    if planned_count(database) is not None:
        query += (
            "UNION ALL SELECT key, 'undone', 0, 0, NULL, NULL FROM plan "  # noqa: S608 - constants
            f"WHERE key NOT IN (SELECT key FROM item) {later} "
        )
    rows = database.execute(f"{query} ORDER BY key LIMIT {PAGE}", {"after": after})
    return [entry_of(row) for row in rows.fetchall()]


def planned_count(database: sqlite3.Connection) -> int | None:
    """How many items the plan has; None if there is no plan, or only a part of one."""
    if not has_plan(database):
        return None
    row = database.execute("SELECT items FROM planned").fetchone()
    return None if row is None else int(row[0])


def unplanned_count(database: sqlite3.Connection) -> int:
    """How many entries are of items that the plan does not have."""
    query = "SELECT COUNT(*) FROM item WHERE key NOT IN (SELECT key FROM plan)"
    return int(database.execute(query).fetchone()[0])


def begin_plan(database: sqlite3.Connection) -> None:
    """Make an empty plan, without what a process has written of one that it did not finish."""
    if has_plan(database):
        database.execute("DELETE FROM plan")
    else:
        make_plan(database)


def add_to_plan(database: sqlite3.Connection, items: Sequence[tuple[str, str | None]]) -> None:
    """Add items to the plan: their keys and references.

    Raises:
        InvalidArgumentError: the plan has an item with this key already.
    """
    for key, reference in items:
        if not database.execute(
            "INSERT OR IGNORE INTO plan (key, reference) VALUES (?, ?)", (key, reference)
        ).rowcount:
            raise InvalidArgumentError(
                f"two items of the plan have the key {key!r:.80}, and the journal cannot tell them "
                "apart: pass key= to Journal.plan, a function that returns another name for each"
            )


def finish_plan(database: sqlite3.Connection) -> int:
    """Record that the plan is complete, and return how many items it has."""
    (count,) = database.execute("SELECT COUNT(*) FROM plan").fetchone()
    database.execute("INSERT INTO planned VALUES (?)", (count,))
    return int(count)


def planned_after(database: sqlite3.Connection, place: int) -> list[Planned]:
    """Items of the plan, in its order.

    Args:
        database: the open journal.
        place: the last place of the page before; 0: the first page.
    """
    rows = database.execute(
        f"SELECT place, key, reference FROM plan WHERE place > ? ORDER BY place LIMIT {PAGE}",  # noqa: S608 - a constant
        (place,),
    )
    return [
        Planned(int(found), str(key), _text(reference)) for found, key, reference in rows.fetchall()
    ]


def _text(value: object) -> str | None:
    """A reference as this program writes it; any other value is as good as none."""
    return value if isinstance(value, str) else None

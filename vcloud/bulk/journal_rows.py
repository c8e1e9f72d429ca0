"""The journal as a table: rows of plain values, and a CSV file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from vcloud.bulk.entry import Entry
from vcloud.bulk.journal_lists import rows_after
from vcloud.bulk.journal_writer import JournalWriter
from vcloud.bulk.store import JournalStore

#: The columns, in their order.
ROW_COLUMNS: Final = ("key", "status", "attempts", "duration_s", "error", "recorded")
#: The beginnings of a cell that a spreadsheet may take for a formula.
#: (https://owasp.org/www-community/attacks/CSV_Injection)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def row_of(entry: Entry) -> dict[str, Any]:
    """An entry as plain values: strings, numbers and None."""
    recorded = entry.recorded
    if isinstance(recorded, dict | list):
        recorded = json.dumps(recorded)
    values = (
        entry.key,
        entry.status.value,
        entry.attempts,
        entry.duration.total_seconds(),
        entry.error,
        recorded,
    )
    return dict(zip(ROW_COLUMNS, values, strict=True))


async def all_rows(journal: JournalWriter) -> list[dict[str, Any]]:
    """All rows, by key. Other work of the journal is done between two pages of them."""
    rows: list[dict[str, Any]] = []
    after: str | None = None
    while page := await journal.submit(_page_after(after)):
        after = page[-1].key
        rows += map(row_of, page)
    return rows


def _page_after(after: str | None) -> Any:
    return lambda store: rows_after(store.database, after)


async def write_csv(journal: JournalWriter, path: Path) -> int:
    """Write all rows to a file, and return how many there are.

    It is written by the journal's thread, a page of rows at a time.

    Raises:
        OSError: the file cannot be written.
    """
    written = await journal.submit(lambda store: _write_csv(store, path))
    if isinstance(written, OSError):
        raise written
    return written


def _write_csv(store: JournalStore, path: Path) -> int | OSError:
    # An error that is raised here would be one of the journal.
    try:
        # A lone surrogate, which JSON may contain and UTF-8 cannot encode, is written as an escape.
        with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(ROW_COLUMNS)
            count = 0
            for row in _rows(store):
                writer.writerow([_cell(value) for value in row.values()])
                count += 1
            return count
    except OSError as error:
        return error


def _rows(store: JournalStore) -> Iterator[dict[str, Any]]:
    after: str | None = None
    while page := rows_after(store.database, after):
        after = page[-1].key
        yield from map(row_of, page)


def _cell(value: object) -> object:
    """A value as a cell. An apostrophe keeps a spreadsheet from taking a text for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value

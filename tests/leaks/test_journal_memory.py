"""What is held of a journal does not grow with the number of its rows."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from vcloud import Bulk, Journal, OutcomeStatus
from vcloud.bulk import Entry
from vcloud.bulk.store import JournalStore

FEW, MANY = 1_000, 10_000


async def works(_: str) -> None:
    pass


async def include_done(path: Path, rows: int) -> None:
    nothing: list[str] = []
    seen = 0
    async with Bulk(nothing, works, journal=path, include_done=True) as run:
        async for outcome in run:
            assert not outcome.listed
            seen += 1
    assert seen == rows


async def to_csv(path: Path, rows: int) -> None:
    assert await Journal(path).to_csv(path.with_suffix(".csv")) == rows


async def write_plan(path: Path, rows: int) -> None:
    async def names() -> AsyncIterator[str]:
        for number in range(rows):
            yield f"item {number}"

    assert await Journal(path.with_suffix(".plan")).plan(names()).write() == rows


def add(rows: int, store: JournalStore) -> None:
    for number in range(rows):
        store.finish(Entry(f"item {number}", OutcomeStatus.DONE, error="x" * 200))


@pytest.mark.parametrize("use", [include_done, to_csv, write_plan])
async def test_memory_does_not_grow_with_the_rows_of_a_journal(
    tmp_path: Path, use: Callable[[Path, int], Awaitable[None]]
) -> None:
    peaks = []
    for rows in (FEW, MANY):
        path = tmp_path / str(rows)
        store = JournalStore(path, "")
        store.run_together([partial(add, rows)])
        store.close()
        tracemalloc.start()
        await use(path, rows)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0], peaks

"""Journals of runs that were killed, and what later runs make of them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vcloud import Bulk, Endpoint, HMACAuth, Journal, Outcome, OutcomeStatus, Settled

ENDPOINT = Endpoint(auth=HMACAuth("key", "secret"))


async def never(item: object) -> None:
    raise AssertionError(f"{item} is not to be acted on")


async def works(_: object) -> None:
    pass


async def collect(run: Bulk[Any, Any]) -> dict[str | None, Outcome[Any, Any]]:
    async with run:
        outcomes = [outcome async for outcome in run]
    assert len({outcome.key for outcome in outcomes}) == len(outcomes)
    return {outcome.key: outcome for outcome in outcomes}


async def killed_in_progress(items: Iterable[Any], path: Path, **options: Any) -> Path:
    """A journal as a process left it that was killed while all of these were in progress."""

    async def act(_: object) -> None:
        if len(begun) + 1 == len(everything):
            all_begun.set()
        begun.append(1)
        await asyncio.Event().wait()

    everything, begun, all_begun = list(items), list[int](), asyncio.Event()
    left = path.with_name(f"{path.name}-left")
    async with Bulk(everything, act, journal=path, **options) as run:
        waiting = asyncio.ensure_future(anext(run))
        await all_begun.wait()
        shutil.copy(path, left)
        waiting.cancel()
        await asyncio.wait([waiting])
    return left


async def status_in(path: Path) -> dict[str, OutcomeStatus]:
    async with Journal(path) as journal:
        return {entry.key: entry.status for entry in await journal.entries()}


async def settled_items(path: Path, make: Any, *items: Any, **options: Any) -> dict[Any, Any]:
    """The item that ``settle`` is asked with, by its key."""
    asked: dict[Any, Any] = {}

    async def settle(item: object) -> Settled[None]:
        asked[item if isinstance(item, str | int) else getattr(item, "id", None)] = item
        return Settled.done()

    outcomes = await collect(make(list(items), works, journal=path, settle=settle, **options))
    for outcome in outcomes.values():
        assert outcome.listed or outcome.item in asked.values()
    return asked

"""What the journal has of items that are not among those of the run."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from vcloud.bulk.item import outcome_of_entry
from vcloud.bulk.journal_lists import Kept, unlisted
from vcloud.bulk.journal_writer import JournalWriter
from vcloud.bulk.outcome import Outcome, OutcomeStatus
from vcloud.bulk.references import ItemMaker
from vcloud.bulk.source import Taken
from vcloud.errors import InvalidArgumentError


class UnlistedEntries:
    """Entries of items that a run has not had, page by page.

    Args:
        journal: the open journal of the run.
        maker: makes items of keys.
        status: the status that the entries have; None: any.
    """

    def __init__(
        self, journal: JournalWriter, maker: ItemMaker, status: OutcomeStatus | None = None
    ) -> None:
        self._journal = journal
        self._maker = maker
        self._status = status
        self._after: str | None = None
        self._page: deque[Kept] = deque()
        self._reading = asyncio.Lock()

    async def take(self) -> Taken[Any]:
        """The item of the next entry.

        Raises:
            StopAsyncIteration: there is none.
            ConfigurationError: the journal cannot be read.
        """
        return self._made(await self._next())

    async def outcome(self) -> Outcome[Any, Any]:
        """The outcome in the next entry.

        Raises:
            StopAsyncIteration: there is none.
            ConfigurationError: the journal cannot be read.
        """
        kept = await self._next()
        return outcome_of_entry(self._made(kept).item, kept.entry, listed=False)

    async def _next(self) -> Kept:
        async with self._reading:
            if not self._page:
                after, status = self._after, self._status
                self._page.extend(
                    await self._journal.submit(
                        lambda store: unlisted(store.database, after, status)
                    )
                )
            if not self._page:
                raise StopAsyncIteration
            kept = self._page.popleft()
            self._after = kept.entry.key
            return kept

    def _made(self, kept: Kept) -> Taken[Any]:
        key = kept.entry.key
        try:
            return Taken(self._maker.make(key, kept.reference), key, listed=False)
        except InvalidArgumentError as error:
            return Taken(key, key, listed=False, unmade=str(error))

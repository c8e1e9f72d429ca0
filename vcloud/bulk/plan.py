"""A plan: the items of a job, written down in its journal by the first run."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection, Generator, Iterable
from typing import Any, Generic, Self, TypeVar

from vcloud.bulk.journal_lists import (
    PAGE,
    Planned,
    add_to_plan,
    begin_plan,
    finish_plan,
    planned_after,
    planned_count,
    unplanned_count,
)
from vcloud.bulk.journal_opening import JournalOpener, opened
from vcloud.bulk.journal_writer import JournalWriter
from vcloud.bulk.references import ItemMaker, checked_key
from vcloud.bulk.source import ItemSource, Taken, check_items
from vcloud.errors import DecodeError, InvalidArgumentError

T = TypeVar("T")


class Plan(AsyncIterable[T], Generic[T]):
    """The items of a job, which its journal keeps. :meth:`vcloud.Journal.plan` makes one.

    Awaiting it writes it down, unless that was done. Iterating it does so first, and yields what a
    run would act on: handles without fields, made of the keys.

    Attributes:
        journal: the journal that keeps it.
        key: returns the name of an item in the journal; None: as for a run.
        handle: makes an item of its key; None: as for a run.
    """

    def __init__(
        self,
        journal: JournalOpener,
        items: Iterable[Any] | AsyncIterable[Any],
        *,
        key: Callable[[Any], str] | None,
        handle: Callable[[str], T] | None,
    ) -> None:
        check_items(items)
        for name, function in (("key", key), ("handle", handle)):
            if function is not None and not callable(function):
                raise InvalidArgumentError(f"{name} must be a function, not {function!r:.80}")
        self.journal: JournalOpener = journal
        self.key: Callable[[Any], str] | None = key
        self.handle: Callable[[str], T] | None = handle
        self._items = items

    async def write(self) -> int:
        """Write the plan down, unless an earlier call or run did. Nothing is acted on: a dry run.

        The items are taken only if the journal has no complete plan. A process that is killed
        meanwhile leaves none, and the next one begins again.

        Returns:
            how many items it has. ``journal.rows()`` has their keys.

        Raises:
            ConfigurationError: the journal cannot be opened or written, or a run has it.
            DecodeError: some items of a pager cannot be decoded. No plan is made.
            InvalidArgumentError: two items have the same key, or an item cannot be made again of
                its key.
            VCloudError: the items cannot be listed.
        """
        async with opened(self.journal) as journal:
            return await self.write_to(journal, self._maker())

    def __await__(self) -> Generator[Any, None, Self]:
        """Write the plan down, as :meth:`write` does, and return it."""
        return self._written().__await__()

    async def _written(self) -> Self:
        await self.write()
        return self

    async def write_to(self, journal: JournalWriter, maker: ItemMaker) -> int:
        """Write the plan to the open journal of a run, as :meth:`write` does."""
        count = await journal.submit(lambda store: planned_count(store.database))
        if count is not None:
            return count
        await journal.submit(lambda store: begin_plan(store.database))
        source: ItemSource[Any] = ItemSource(self._items)
        try:
            batch: list[tuple[str, str | None]] = []
            while (taken := await _next_of(source)) is not None:
                batch.append(self._planned(taken.item, maker))
                if len(batch) == PAGE:
                    await self._add(journal, batch)
                    batch = []
            await self._add(journal, batch)
        finally:
            await source.aclose()
        if source.undecodable is not None:
            raise source.undecodable
        return await journal.submit(lambda store: finish_plan(store.database))

    async def __aiter__(self) -> AsyncIterator[T]:
        """What a run would act on, in the order of the plan. The journal is open only meanwhile."""
        maker = self._maker()
        async with opened(self.journal) as journal:
            await self.write_to(journal, maker)
        place = 0
        while True:
            async with opened(self.journal) as journal:
                page = await planned_page(journal, place)
            if not page:
                return
            for one in page:
                yield maker.make(one.key, one.reference)
            place = page[-1].place

    def _maker(self) -> ItemMaker:
        return ItemMaker(self.handle, keyed=self.key is not None)

    def _planned(self, item: object, maker: ItemMaker) -> tuple[str, str | None]:
        """What the plan keeps of an item."""
        key, reference = checked_key(item, self.key), maker.note(item)
        if reference is None and self.handle is None:
            raise InvalidArgumentError(
                f"a {type(item).__name__} cannot be made again of its key, and later runs have "
                "nothing else: pass handle= to Journal.plan, a function that makes an item of its "
                "key"
            )
        return key, reference

    async def _add(self, journal: JournalWriter, batch: list[tuple[str, str | None]]) -> None:
        await journal.submit(lambda store: add_to_plan(store.database, batch))


class PlannedSource(Generic[T]):
    """The items of a plan, as a run takes them.

    Attributes:
        total: how many items there are; None until :meth:`begin`.
        undecodable: None, because a plan is not made of items that cannot be decoded.
        collection: None, because the items cannot be iterated without the journal.
    """

    def __init__(self, plan: Plan[T]) -> None:
        self.total: int | None = None
        self.undecodable: DecodeError | None = None
        self.collection: Collection[T] | None = None
        self._plan = plan
        self._journal: JournalWriter
        self._maker: ItemMaker
        self._place = 0
        self._page: deque[Planned] = deque()

    async def begin(self, journal: JournalWriter, maker: ItemMaker) -> None:
        """Write the plan down, unless an earlier run did.

        Args:
            journal: the open journal of the run.
            maker: makes the items of their keys.

        Raises:
            VCloudError: as for :meth:`Plan.write`.
        """
        self._journal, self._maker = journal, maker
        planned = await self._plan.write_to(journal, maker)
        # Runs without the plan may have left entries too.
        self.total = planned + await journal.submit(lambda store: unplanned_count(store.database))

    async def take(self) -> Taken[T]:
        """The next item.

        Raises:
            StopAsyncIteration: there is none.
            InvalidArgumentError: its key cannot become an item.
        """
        if not self._page:
            self._page.extend(await planned_page(self._journal, self._place))
        if not self._page:
            raise StopAsyncIteration
        one = self._page.popleft()
        self._place = one.place
        return Taken(self._maker.make(one.key, one.reference), one.key)

    async def aclose(self) -> None:
        """There is nothing to close."""


async def planned_page(journal: JournalWriter, place: int) -> list[Planned]:
    """Items of the plan after a place; none after the last."""
    return await journal.submit(lambda store: planned_after(store.database, place))


async def _next_of(source: ItemSource[Any]) -> Taken[Any] | None:
    try:
        return await source.take()
    except StopAsyncIteration:
        return None

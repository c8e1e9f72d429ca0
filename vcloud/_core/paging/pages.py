"""Iterating a list: page after page, item after item."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from math import ceil
from typing import Any, Final, NoReturn, TypeGuard, TypeVar

from vcloud._core.paging.coverage import Coverage
from vcloud._core.paging.source import Page, Source
from vcloud._core.paging.strategies import Place
from vcloud._core.paging.totals import Stamp, Totals, meet
from vcloud._core.tasks import cancel_and_wait
from vcloud.errors import ConfigurationError, DecodeError, LimitExceededError

T = TypeVar("T")

#: After so many pages in a row without a new item, the iteration fails.
STALE: Final = 100


# These are iterators rather than generators. An iterator that is left early needs no task to close
# it, and one that raised can be iterated on.


class _Iteration:
    """An iteration of a list: it can be neither pickled nor copied."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        # copy.copy and copy.deepcopy ask for this too.
        raise TypeError(
            "an iteration of a Pager can be neither pickled nor copied: call list(...) again where "
            "it is needed; list(page=pages.number) continues from there"
        )


class Pages(_Iteration, AsyncIterator[Page[T]]):
    """Page after page of a :class:`Pager`, from :meth:`Pager.pages`.

    Attributes:
        number: the page to continue with, None after the last. Another process that begins with
            ``list(page=number)`` misses no item that was not yielded here, as far as the pages that
            were read show. It may see some items again. After an item left the list, this may be an
            earlier page than before.
    """

    __slots__ = (
        "_announced",
        "_anonymous",
        "_before",
        "_coverage",
        "_fetch",
        "_in_flight",
        "_known",
        "_left",
        "_next",
        "_passed",
        "_repeated",
        "_seen",
        "_size",
        "_source",
        "_stale",
        "_stamp",
        "_taken",
        "_totals",
        "_waits",
        "number",
    )

    number: int | None

    def __init__(self, source: Source) -> None:
        self._source = source
        self._fetch = source.reader()
        # How many more items each limit of the source lets pass.
        self._left = source.limits()
        self.number = None if 0 in self._left else source.start
        # The error of the page before, if only some of its items could not be read.
        self._passed: DecodeError | None = None
        # The page to read next: `number`, or a page after it.
        self._next = source.start
        # Page `_next` and those after it, in flight or waiting for the caller. The tasks hold no
        # reference to this iterator, so they end when the iterator is dropped.
        self._in_flight: deque[asyncio.Task[tuple[Any, Stamp]]] = deque()
        # The page before, when it was read, and whether the service announced another one.
        self._before: Any = None
        self._stamp: Stamp | None = None
        self._announced = False
        # Some items have no identity.
        self._anonymous = False
        self._totals = Totals()
        self._known: set[object] = set()
        # Decides on the next page once an item has left the list.
        self._coverage: Coverage | None = None
        # How many items the service sent up to the end of the page before, how many a full page
        # has, and how many items came again on a later page.
        self._seen = self._size = self._repeated = 0
        # Pages in a row without a new item, and all pages.
        self._stale = self._taken = 0
        self._waits = False

    async def __anext__(self) -> Page[T]:
        if self.number is None:
            raise StopAsyncIteration
        if self._taken >= self._source.max_pages:
            self._exceed()
        if self._waits:
            raise ConfigurationError(
                "this list is being iterated by another task: give each one its own, "
                "or use cloud.bulk(...)"
            )
        self._waits = True
        try:
            page = self._take(
                *await (
                    self._in_flight[0]
                    if self._in_flight
                    else _read(self._fetch, self._next, self._totals)
                )
            )
        except BaseException:
            # Iterating on requests the page again, and those after it.
            self._cancel()
            raise
        finally:
            self._waits = False
        if self._source.ahead:
            self._ask_ahead(page)
        self._passed = page.error
        if page.error is not None:
            page.error.items = page.items
            raise page.error
        return page

    def passed(self, error: BaseException) -> TypeGuard[DecodeError]:
        """Whether iterating on after this error continues with the next page.

        That is so if this iterator raised it last, for a page some items of which cannot be read.
        Its ``items`` hold the others, and no later page has them. After any other error, iterating
        on requests the same page again.

        Args:
            error: the error that this iterator raised.
        """
        return isinstance(error, DecodeError) and error is self._passed

    async def aclose(self) -> None:
        """Cancel the requests in flight and wait for their end. Iterating on sends them again."""
        in_flight = list(self._in_flight)
        self._in_flight.clear()
        await cancel_and_wait(in_flight)

    def __del__(self) -> None:
        if self._in_flight:
            self._cancel()

    def _cancel(self) -> None:
        abandon(self._in_flight)
        self._in_flight.clear()

    def _exceed(self) -> NoReturn:
        if self._coverage is not None and self._coverage.checking:
            # Every page was read. Only the check at the end is left out.
            self.number = None
            raise StopAsyncIteration
        raise LimitExceededError(
            f"the list continues after {self._taken} pages, "
            "which is all that max_pages of the Endpoint allows; "
            f"to read on, begin with page {self.number}"
        )

    def _take(self, answer: Any, stamp: Stamp) -> Page[T]:
        """The page that the caller gets. If this fails, the iterator has not changed."""
        before, source = self._before, self._source
        seen, size = self._counted(answer)
        place = source.strategy.place(answer, seen, size)
        new = self._unseen(answer)
        stale = 0 if new or answer.unread else self._stale + 1
        if stale > STALE or (
            self._coverage is None and before is not None and _repeats(answer, before)
        ):
            raise DecodeError(
                f"the service repeats itself: there is nothing new on page {answer.number}"
            )
        shown, left = new, self._left
        if source.steps:
            shown, left = source.shown(new, left)

        if self._coverage is None and before is not None and source.key is not None:
            self._coverage = self._noticed(answer, place, before, stamp, len(new))
        if self._coverage is None:
            self.number, self._next, self._stale = place.next, place.next or answer.number, stale
        else:
            self._plan(self._coverage, answer, place, stamp, len(new))
            # Pages that are read again have no new items. Coverage bounds their number.
            self._stale = stale if self._coverage.stopped else 0
        self._before, self._stamp, self._announced = answer, stamp, place.announced
        self._seen, self._size, self._left = seen, size, left
        self._taken += 1
        following = place.next
        if 0 in left:
            self.number = following = None
        return Page(
            shown,
            answer.number,
            answer.total,
            following,
            place.last,
            answer.error,
            answer.unread,
        )

    def _counted(self, answer: Any) -> tuple[int, int]:
        """How many items the service sent so far, and how many a full page has."""
        sent, size = _sent(answer), self._size
        if self._coverage is not None:
            size = max(size, self._totals.size)
            return sent + (answer.number - 1) * size, size
        if self._before is None and answer.number > 1:
            # The iteration began at a later page, and this page shows how many items are before
            # it. The service may cap per_page, so that does not tell. This may be the last page,
            # so it does not show how many items a full page has.
            return sent * answer.number, size
        return sent + self._seen, max(size, sent)

    def _unseen(self, answer: Any) -> tuple[Any, ...]:
        """The items of the page that were on no page before it."""
        key, before, known = self._source.key, self._before, self._known
        items: tuple[Any, ...] = answer.items
        if key is None or before is None:
            return items
        if self._coverage is not None:
            return self._coverage.unseen(answer.number, items, key)
        # The items of a page are needed only when there is a page after it.
        known.update(map(key, before.items))
        if None in known:
            known.discard(None)
            self._anonymous = True
        return tuple([item for item in items if key(item) not in known])

    def _noticed(
        self, answer: Any, place: Place, before: Any, stamp: Stamp, new: int
    ) -> Coverage | None:
        """The coverage to continue with, if this page shows that an item left the list."""
        totals, since = self._totals, self._stamp
        assert since is not None
        self._repeated += len(answer.items) - new
        # Items that join move at most so many items to later pages as the total rises by. A total
        # that never changed may be wrong, and shows nothing.
        moved = totals.rises and self._repeated > (totals.now or 0) - (totals.first or 0)
        vanished = (
            self._announced and place.next is None and answer.total is None and not _sent(answer)
        )
        if (meet(since, stamp, totals.size) and not moved and not vanished) or self._anonymous:
            return None
        return Coverage(
            totals,
            self._known,
            first=self._source.start,
            before=before.number,
            end=(before.number - 1) * totals.size + _sent(before),
            stamp=since,
        )

    def _plan(self, coverage: Coverage, answer: Any, place: Place, stamp: Stamp, new: int) -> None:
        """Record the page, and decide which page to read next."""
        key, in_flight = self._source.key, len(self._in_flight)
        assert key is not None
        coverage.add(
            answer.number,
            [key(item) for item in answer.items],
            sent=_sent(answer),
            new=new,
            stamp=stamp,
            alone=not in_flight,
            ends=place.next is None,
        )
        following: int | None = answer.number + 1
        if in_flight <= 1 or place.next != following:
            following = coverage.next(answer.number, ahead=self._source.ahead > 0 and not in_flight)
        self._next = following or answer.number
        self.number = None if following is None else coverage.resume(following)

    def _ask_ahead(self, page: Page[T]) -> None:
        in_flight, coverage = self._in_flight, self._coverage
        # After an item left, a page that is read ahead may begin too late again.
        wanted = coverage is None or (not in_flight and coverage.stable)
        if in_flight:
            in_flight.popleft()
        if page.next is None or not page.next == page.number + 1 == self._next:
            self._cancel()
        elif page.last is not None and wanted:
            ahead = min(self._source.ahead, self._source.max_pages - self._taken)
            if self._left:
                ahead = min(ahead, ceil(min(self._left) / max(self._size, 1)))
            for number in range(
                page.next + len(in_flight), min(page.last, page.number + ahead) + 1
            ):
                in_flight.append(begin(_read(self._fetch, number, self._totals)))


class Items(_Iteration, AsyncIterator[T]):
    """Item after item of a :class:`Pager`, from ``aiter(pager)``."""

    __slots__ = ("_pages", "_waiting")

    def __init__(self, pages: Pages[T]) -> None:
        self._pages = pages
        self._waiting: Iterator[T] = iter(())

    async def __anext__(self) -> T:
        while True:
            for item in self._waiting:
                return item
            self._waiting = iter((await anext(self._pages)).items)

    def keep_readable(self, error: BaseException) -> bool:
        """After an error for which :meth:`Pages.passed` holds, yield the page's readable items.

        Without this, iterating on continues with the next page.

        Args:
            error: the error that this iterator raised.

        Returns:
            False if it is another error; then nothing changes.
        """
        if not self._pages.passed(error):
            return False
        self._waiting = iter(error.items)
        return True

    async def aclose(self) -> None:
        """Cancel the requests in flight and wait for their end. Iterating on sends them again."""
        await self._pages.aclose()


def begin(work: Awaitable[T]) -> asyncio.Task[T]:
    """Start a task whose error is not logged if the task is never awaited."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


def abandon(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks that are no longer awaited. A ``__del__`` in any thread may call this."""
    for task in tasks:
        loop = task.get_loop()
        if _running() is loop:
            task.cancel()
        else:
            # The loop may be closed, or close at this moment.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def _read(
    fetch: Callable[[int], Awaitable[Any]], number: int, totals: Totals
) -> tuple[Any, Stamp]:
    """Fetch a page, and record when its answer arrived."""
    answer = await fetch(number)
    return answer, totals.note(answer.number, _sent(answer), answer.total)


def _sent(answer: Any) -> int:
    """How many items of a page the service sent."""
    return len(answer.items) + int(answer.unread)


def _repeats(answer: Any, before: Any) -> bool:
    """Whether the service sent the same items again, on a list of the same length."""
    return bool(answer.items) and answer.items == before.items and answer.total == before.total

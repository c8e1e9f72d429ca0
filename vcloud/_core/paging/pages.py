"""Iterating a list: page after page, item after item."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeGuard, TypeVar

import msgspec
from msgspec.structs import replace

from vcloud._core.paging.coverage import Coverage, Stamp, Totals, meet
from vcloud._core.tasks import cancel_and_wait
from vcloud.errors import ConfigurationError, DecodeError, LimitExceededError

if TYPE_CHECKING:
    from vcloud._core.paging.pager import Pager

T = TypeVar("T")

#: So many pages in a row with nothing new on them are no accident.
STALE: Final = 100


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list.

    Attributes:
        items: what is on it, in the service's order, without what was on a page before.
        number: which page it is, from 1.
        total: how many items there are in all, by the service's word; None when it does not say.
        next: the number of the following page, None after the last.
        last: the number of the last page, as far as can be told by now; None when it cannot.
        error: names the first item of the page that could not be read; None when all were read.
        unread: how many items of the page could not be read, and so are not in ``items``.
    """

    items: tuple[T, ...]
    number: int
    total: int | None
    next: int | None
    last: int | None = None
    error: DecodeError | None = None
    unread: int = 0


# Iterators rather than generators: one that is left in the middle is simply forgotten, where the
# event loop would have to start a task to close a generator. And one that raised can go on.


class Pages(AsyncIterator[Page[T]]):
    """Page after page of a :class:`Pager`.

    Attributes:
        number: the page to go on with, None after the last. Another process that begins with
            ``list(page=number)`` misses nothing that was not yielded here, as far as the pages that
            were read show; it may see some items again. When something left the list, this may be
            an earlier page than before.
    """

    __slots__ = (
        "_announced",
        "_anonymous",
        "_asked",
        "_before",
        "_coverage",
        "_known",
        "_next",
        "_pager",
        "_passed",
        "_repeated",
        "_seen",
        "_size",
        "_stale",
        "_stamp",
        "_taken",
        "_totals",
        "_waits",
        "number",
    )

    def __init__(self, pager: Pager[T]) -> None:
        self.number: int | None = pager._start
        self._pager = pager
        # What is wrong with items of the page before, which was passed all the same.
        self._passed: DecodeError | None = None
        # What is read next: `number`, or a page after it.
        self._next = pager._start
        # Under way or waiting to be taken: page `_next` and those after it. They do not know of
        # this iterator, so that it ends when it is left, and they with it.
        self._asked: deque[asyncio.Task[tuple[Page[Any], Stamp]]] = deque()
        self._before: Page[Any] | None = None
        # When that one was read, and whether the service itself said that another follows.
        self._stamp: Stamp | None = None
        self._announced = False
        # Some items have nothing that tells them apart.
        self._anonymous = False
        self._totals = Totals()
        self._known: set[object] = set()
        # What takes over when something has left the list.
        self._coverage: Coverage | None = None
        # Items up to the end of the page before, on a full page, and on pages after the one that
        # they were on first.
        self._seen = self._size = self._repeated = 0
        self._stale = self._taken = 0
        self._waits = False

    async def __anext__(self) -> Page[T]:
        if self.number is None:
            raise StopAsyncIteration
        if self._taken >= self._pager._max_pages:
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
                    self._asked[0]
                    if self._asked
                    else _read(self._pager._fetch, self._next, self._totals)
                )
            )
        except BaseException:
            # Whoever goes on asks for it again; the others would wait in vain.
            self._cancel()
            raise
        finally:
            self._waits = False
        if self._pager._ahead:
            self._ask_ahead(page)
        self._passed = page.error
        if page.error is not None:
            page.error.items = page.items
            raise page.error
        return page

    def passed(self, error: BaseException) -> TypeGuard[DecodeError]:
        """Whether iterating on after this error continues with the page after the one it names.

        This is so if it was raised here last, for a page some items of which cannot be read. The
        others are in its ``items``, and no later page has them. After any other error, iterating on
        asks for the same page again.

        Args:
            error: what was raised by this iterator.
        """
        return isinstance(error, DecodeError) and error is self._passed

    async def aclose(self) -> None:
        """Cancel what is under way and return when it is over. Iterating on asks for it again."""
        asked = list(self._asked)
        self._asked.clear()
        await cancel_and_wait(asked)

    def __del__(self) -> None:
        if self._asked:
            self._cancel()

    def _cancel(self) -> None:
        abandon(self._asked)
        self._asked.clear()

    def _exceed(self) -> NoReturn:
        if self._coverage is not None and self._coverage.looking:
            # All was yielded; that there is no room for the second look is no error.
            self.number = None
            raise StopAsyncIteration
        raise LimitExceededError(
            f"the list goes on after {self._taken} pages, "
            "which is all that max_pages of the Endpoint allows; "
            f"to read on, begin with page {self.number}"
        )

    def _take(self, page: Page[Any], stamp: Stamp) -> Page[T]:
        """The page as it is handed out. Nothing of this iterator changes if it cannot be."""
        before, view = self._before, self._pager._view
        announced = page.next is not None and page.next > page.number
        page, seen, size = self._completed(page)
        new = self._unseen(page)
        stale = 0 if new or page.unread else self._stale + 1
        if stale > STALE or (
            self._coverage is None and before is not None and _repeats(page, before)
        ):
            raise DecodeError(
                f"the service repeats itself: there is nothing new on page {page.number}"
            )
        shown = new
        if view is not None:
            shown = tuple([seen_as for item in new if (seen_as := view(item)) is not None])

        if self._coverage is None and before is not None and self._pager._key is not None:
            self._coverage = self._noticed(page, before, stamp, len(new))
        if self._coverage is None:
            self.number, self._next, self._stale = page.next, page.next or page.number, stale
        else:
            self._plan(self._coverage, page, stamp, len(new))
            # What is read again has nothing new on it, and is bounded elsewhere.
            self._stale = stale if self._coverage.stopped else 0
        self._before, self._stamp, self._announced = page, stamp, announced
        self._seen, self._size = seen, size
        self._taken += 1
        return page if shown is page.items else replace(page, items=shown)

    def _completed(self, page: Page[Any]) -> tuple[Page[Any], int, int]:
        """The page, completed by what was before it; items up to its end, and on a full page."""
        sent, size = _sent(page), self._size
        if self._coverage is not None:
            size = max(size, self._totals.size)
            seen = sent + (page.number - 1) * size
        elif self._before is None and page.number > 1:
            # A list begun in the middle: this page shows how many items came before it. What was
            # asked for is no measure, since the service may cap it; and as this may be the last
            # page, it does not show how many a full one has.
            seen = sent * page.number
        else:
            size = max(size, sent)
            seen = sent + self._seen
        follow = self._pager._follow
        return (page if follow is None else follow(page, seen, size)), seen, size

    def _unseen(self, page: Page[Any]) -> tuple[Any, ...]:
        """The items of the page that were on none before it."""
        key, before, known = self._pager._key, self._before, self._known
        if key is None or before is None:
            return page.items
        if self._coverage is not None:
            return self._coverage.unseen(page.number, page.items, key)
        # Not before there is a page to hold against them.
        known.update(map(key, before.items))
        if None in known:
            known.discard(None)
            self._anonymous = True
        return tuple([item for item in page.items if key(item) not in known])

    def _noticed(
        self, page: Page[Any], before: Page[Any], stamp: Stamp, new: int
    ) -> Coverage | None:
        """What takes over if this page shows that something left the list; None if it does not."""
        totals, since = self._totals, self._stamp
        assert since is not None
        self._repeated += len(page.items) - new
        # What joins moves no more items to later pages than the total rises by. A total that never
        # changed may be a wrong one, and shows nothing.
        moved = totals.rises and self._repeated > (totals.now or 0) - (totals.first or 0)
        vanished = self._announced and page.next is None and page.total is None and not _sent(page)
        if (meet(since, stamp, totals.size) and not moved and not vanished) or self._anonymous:
            return None
        return Coverage(
            totals,
            self._known,
            first=self._pager._start,
            before=before.number,
            end=(before.number - 1) * totals.size + _sent(before),
            stamp=since,
        )

    def _plan(self, coverage: Coverage, page: Page[Any], stamp: Stamp, new: int) -> None:
        """Take the page down, and decide on the one after it."""
        key, asked = self._pager._key, len(self._asked)
        assert key is not None
        coverage.add(
            page.number,
            [key(item) for item in page.items],
            sent=_sent(page),
            new=new,
            stamp=stamp,
            alone=not asked,
            ends=page.next is None,
        )
        following: int | None = page.number + 1
        if asked <= 1 or page.next != following:
            following = coverage.next(page.number, ahead=self._pager._ahead > 0 and not asked)
        self._next = following or page.number
        self.number = None if following is None else coverage.resume(following)

    def _ask_ahead(self, page: Page[T]) -> None:
        asked, coverage = self._asked, self._coverage
        # What is asked for while one acts on what was yielded begins too late once more.
        wanted = coverage is None or (not asked and coverage.calm)
        if asked:
            asked.popleft()
        if page.next is None or not page.next == page.number + 1 == self._next:
            self._cancel()
        elif page.last is not None and wanted:
            ahead = min(self._pager._ahead, self._pager._max_pages - self._taken)
            for number in range(page.next + len(asked), min(page.last, page.number + ahead) + 1):
                asked.append(begin(_read(self._pager._fetch, number, self._totals)))


class Items(AsyncIterator[T]):
    """Item after item of a :class:`Pager`."""

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
        """After an error for which :meth:`Pages.passed` holds, yield the page's readable items next.

        Without this, iterating on continues with the page after it.

        Args:
            error: what was raised by this iterator.

        Returns:
            False if it is another error, after which nothing changes.
        """
        if not self._pages.passed(error):
            return False
        self._waiting = iter(error.items)
        return True

    async def aclose(self) -> None:
        """Cancel what is under way and return when it is over. Iterating on asks for it again."""
        await self._pages.aclose()


def begin(work: Awaitable[T]) -> asyncio.Task[T]:
    """Work under way in a task of its own, which may fail without anybody looking."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


def abandon(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks that nobody waits for any more; from a ``__del__`` in any thread, too."""
    for task in tasks:
        loop = task.get_loop()
        if _running() is loop:
            task.cancel()
        else:
            # It may be closed, or be closed just now.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def _read(
    fetch: Callable[[int], Awaitable[Page[Any]]], number: int, totals: Totals
) -> tuple[Page[Any], Stamp]:
    """A page, and when it was read."""
    page = await fetch(number)
    return page, totals.note(page.number, _sent(page), page.total)


def _sent(page: Page[Any]) -> int:
    """How many items the service sent."""
    return len(page.items) + page.unread


def _repeats(page: Page[Any], before: Page[Any]) -> bool:
    """Whether the service stands still: the same items again, on a list of the same length."""
    return bool(page.items) and page.items == before.items and page.total == before.total

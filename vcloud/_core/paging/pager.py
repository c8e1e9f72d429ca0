"""Lists that fetch their pages as one iterates, one by one or some ahead."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from copy import copy
from typing import Any, Final, Generic, NoReturn, TypeVar, cast

import msgspec

from vcloud._core.cleanup import end
from vcloud._core.endpoint import MAX_PAGES
from vcloud.errors import ConfigurationError, DecodeError, InvalidArgumentError

T = TypeVar("T")
U = TypeVar("U")

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
    """

    items: tuple[T, ...]
    number: int
    total: int | None
    next: int | None
    last: int | None = None


class Pager(Generic[T]):
    """A list at the service. Nothing is sent before it is iterated, and nothing after one stops.

    ``async for item in pager`` yields items, ``pager.pages()`` whole pages; ``await pager.first()`` and
    ``await pager.all()`` collect; ``pager.prefetch(8)`` reads ahead. A pager can be iterated again; it then asks again.

    Lists change while one reads them. An item that has moved to a later page meanwhile is not yielded twice: the ids of
    what was yielded are remembered for as long as one iterates, some hundred bytes for each. One that has moved to a
    page that was read already is not seen.

    Args:
        fetch: reads one page, given its number.
        start: the first page to read.
        follow: completes a page whose ``next`` and ``last`` depend on what came before it, given the page, how many items
            the service sent up to its end, and how many a full page has. None: ``fetch`` says it all.
        key: what tells an item from others, None for one that nothing does. None: nothing does so on this list.
        max_pages: how many pages one iteration may read.
    """

    __slots__ = ("_ahead", "_fetch", "_follow", "_key", "_max_pages", "_start", "_view")

    def __init__(
        self,
        fetch: Callable[[int], Awaitable[Page[T]]],
        *,
        start: int | None = None,
        follow: Callable[[Page[T], int, int], Page[T]] | None = None,
        key: Callable[[T], object] | None = None,
        max_pages: int = MAX_PAGES,
    ) -> None:
        # Of the items as the service sends them, which are others than T once they are mapped.
        self._fetch: Callable[[int], Awaitable[Page[Any]]] = fetch
        self._follow: Callable[[Page[Any], int, int], Page[Any]] | None = follow
        self._key: Callable[[Any], object] | None = key
        self._view: Callable[[Any], T | None] | None = None
        self._start = 1 if start is None else positive(start, "page")
        self._max_pages = max_pages
        self._ahead = 0

    def pages(self) -> Pages[T]:
        """Page after page.

        An error leaves the iterator where it was: iterate it again, and it asks for the page that it could not get.

        Raises:
            ConfigurationError: another task waits for the next page of the same iterator.
            DecodeError: the service sends the same again and again, or more than ``max_pages`` of the Endpoint allows.
        """
        return Pages(self)

    def __aiter__(self) -> Items[T]:
        """Item after item; after an error, as for :meth:`pages`."""
        return Items(self.pages())

    def __iter__(self) -> NoReturn:
        raise TypeError(
            "a Pager is asynchronous: use `async for item in ...`, or `await ....all()`"
        )

    def prefetch(self, n: int) -> Pager[T]:
        """The same list, read up to ``n`` pages ahead of the one in hand; items and pages come in the same order.

        The first page is read alone, for it says how many there are. From then on ``n`` requests are under way at once, and
        no more than ``n`` pages wait to be taken. Where the service does not say how many there are, nothing is guessed:
        then it reads one by one. An error is raised when its page's turn comes. Stopping early, an error and a cancellation
        cancel what is under way.

        Args:
            n: pages, at least 1.

        Raises:
            InvalidArgumentError: ``n`` is no such number.
        """
        ahead = copy(self)
        ahead._ahead = positive(n, "prefetch")
        return ahead

    def map(self, view: Callable[[T], U | None]) -> Pager[U]:
        """The same list, each item seen through ``view``; what it makes None of is left out."""
        before = self._view
        mapped = cast("Pager[U]", copy(self))
        mapped._view = (
            view
            if before is None
            else lambda item: None if (shown := before(item)) is None else view(shown)
        )
        return mapped

    async def first(self) -> T | None:
        """The first item, None when there is none. Reads no more pages than it must."""
        async for page in self.pages():
            for item in page.items:
                return item
        return None

    async def all(self) -> list[T]:
        """Every item of every page."""
        return [item async for page in self.pages() for item in page.items]


# Iterators rather than generators: one that is left in the middle is simply forgotten, where the event loop would have to
# start a task to close a generator. And one that raised can go on.


class Pages(AsyncIterator[Page[T]]):
    """Page after page of a :class:`Pager`.

    Attributes:
        number: the page that comes next, None after the last. Another process can go on from there: ``list(page=number)``.
    """

    __slots__ = (
        "_asked",
        "_before",
        "_known",
        "_pager",
        "_seen",
        "_size",
        "_stale",
        "_taken",
        "_waits",
        "number",
    )

    def __init__(self, pager: Pager[T]) -> None:
        self.number: int | None = pager._start
        self._pager = pager
        # Under way or waiting to be taken: page `number` and those after it. They do not know of this iterator, so that it
        # ends when it is left, and they with it.
        self._asked: deque[asyncio.Task[Page[Any]]] = deque()
        self._before: Page[Any] | None = None
        self._known: set[object] = set()
        self._seen = self._size = self._stale = self._taken = 0
        self._waits = False

    async def __anext__(self) -> Page[T]:
        if self.number is None:
            raise StopAsyncIteration
        if self._taken >= self._pager._max_pages:
            raise DecodeError(
                f"the list goes on after {self._taken} pages, which is all that max_pages of the Endpoint allows; "
                f"to read on, begin with page {self.number}"
            )
        if self._waits:
            raise ConfigurationError(
                "this list is being iterated by another task: give each one its own, or use cloud.bulk(...)"
            )
        self._waits = True
        try:
            page = self._take(
                await (self._asked[0] if self._asked else self._pager._fetch(self.number))
            )
        except BaseException:
            # Whoever goes on asks for it again; the others would wait in vain.
            self._cancel()
            raise
        finally:
            self._waits = False
        if self._pager._ahead:
            self._ask_ahead(page)
        return page

    async def aclose(self) -> None:
        """Cancel what is under way and return when it is over. Iterating on asks for it again."""
        asked = list(self._asked)
        self._asked.clear()
        await end(asked)

    def __del__(self) -> None:
        if self._asked:
            self._cancel()

    def _cancel(self) -> None:
        abandon(self._asked)
        self._asked.clear()

    def _take(self, page: Page[Any]) -> Page[T]:
        """The page as it is handed out. Nothing of this iterator changes if it cannot be."""
        pager, items, before = self._pager, page.items, self._before
        middle = before is None and page.number > 1
        # A list begun in the middle: this page shows how many items came before it. What was asked for is no measure, since
        # the service may cap it; and as this may be the last page, it does not show how many a full one has.
        seen = len(items) + ((page.number - 1) * len(items) if middle else self._seen)
        size = max(self._size, 0 if middle else len(items))
        if pager._follow is not None:
            page = pager._follow(page, seen, size)
        key, known, view = pager._key, self._known, pager._view
        new = items
        if before is not None and key is not None:
            # Not before there is a page to hold against them.
            known.update(map(key, before.items))
            known.discard(None)
            new = tuple([item for item in items if key(item) not in known])
        stale = 0 if new else self._stale + 1
        if stale > STALE or (before is not None and _repeats(page, before)):
            raise DecodeError(
                f"the service repeats itself: there is nothing new on page {page.number}"
            )
        shown = (
            new
            if view is None
            else tuple([seen_as for item in new if (seen_as := view(item)) is not None])
        )

        self.number, self._before, self._seen, self._size, self._stale = (
            page.next,
            page,
            seen,
            size,
            stale,
        )
        self._taken += 1
        return (
            page if shown is items else Page(shown, page.number, page.total, page.next, page.last)
        )

    def _ask_ahead(self, page: Page[T]) -> None:
        asked = self._asked
        if asked:
            asked.popleft()
        if page.next is None or page.next != page.number + 1:
            self._cancel()
        elif page.last is not None:
            ahead = min(self._pager._ahead, self._pager._max_pages - self._taken)
            for number in range(page.next + len(asked), min(page.last, page.number + ahead) + 1):
                asked.append(begin(self._pager._fetch(number)))


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

    async def aclose(self) -> None:
        """Cancel what is under way and return when it is over. Iterating on asks for it again."""
        await self._pages.aclose()


def unpaged(read: Callable[[], Awaitable[Sequence[T]]]) -> Pager[T]:
    """A list that the service gives all at once, behind the same interface as the others."""

    async def fetch(number: int) -> Page[T]:
        items = tuple(await read())
        return Page(items, number, len(items), None, number)

    return Pager(fetch)


def positive(value: int, name: str) -> int:
    """A whole number of at least 1.

    Raises:
        InvalidArgumentError: it is none.
    """
    if type(value) is not int or value < 1:
        raise InvalidArgumentError(f"{name} must be a whole number of at least 1, not {value!r}")
    return value


def begin(work: Awaitable[T]) -> asyncio.Task[T]:
    """Work under way in a task of its own, which may fail without anybody looking."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


def abandon(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks that nobody waits for any more; from a ``__del__`` too, whichever thread that runs in."""
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


def _repeats(page: Page[Any], before: Page[Any]) -> bool:
    """Whether the service stands still: the same items again, though the list has not grown by what would move them here."""
    grown = page.total is not None and before.total is not None and page.total > before.total
    return bool(page.items) and page.items == before.items and not grown

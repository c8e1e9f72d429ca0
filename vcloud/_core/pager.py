"""Lists that fetch their pages as one iterates."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Generic, NoReturn, TypeVar

from attrs import frozen

from vcloud.errors import DecodeError, InvalidArgumentError

T = TypeVar("T")
U = TypeVar("U")


@frozen
class Page(Generic[T]):
    """One page of a list.

    Attributes:
        items: what is on it, in the service's order.
        number: which page it is, from 1.
        total: how many items there are in all, by the service's word; None when it does not say.
        next: the number of the following page, None after the last.
    """

    items: tuple[T, ...]
    number: int
    total: int | None
    next: int | None


class Pager(Generic[T]):
    """A list at the service. Nothing is sent before it is iterated, and nothing after one stops.

    ``async for item in pager`` yields items, ``pager.pages()`` whole pages; ``await pager.first()`` and
    ``await pager.all()`` collect. A pager can be iterated again; it then asks again.

    Args:
        fetch: reads one page, given its number and how many items the pages before it had.
        start: the first page to read.
        per_page: items per page, as asked for; for counting what a later start skips.
    """

    __slots__ = ("_fetch", "_per_page", "_start")

    def __init__(
        self, fetch: Callable[[int, int], Awaitable[Page[T]]], *, start: int | None = None, per_page: int | None = None
    ) -> None:
        for name, value in (("page", start), ("per_page", per_page)):
            if value is not None and not (type(value) is int and value >= 1):
                raise InvalidArgumentError(f"{name} must be a whole number of at least 1, not {value!r}")
        self._fetch = fetch
        self._start = start or 1
        self._per_page = per_page or 0

    def pages(self) -> AsyncIterator[Page[T]]:
        """Page after page.

        Raises:
            DecodeError: the service sends the same page again and again.
        """
        return _Pages(self._fetch, self._start, (self._start - 1) * self._per_page)

    def __aiter__(self) -> AsyncIterator[T]:
        """Item after item."""
        return _Items(self.pages())

    def __iter__(self) -> NoReturn:
        raise TypeError("a Pager is asynchronous: use `async for item in ...`, or `await ....all()`")

    def map(self, view: Callable[[T], U | None]) -> Pager[U]:
        """The same list, each item seen through ``view``; what it makes None of is left out."""
        return _Mapped(self, view)

    async def first(self) -> T | None:
        """The first item, None when there is none. Reads no more pages than it must."""
        return await anext(aiter(self), None)

    async def all(self) -> list[T]:
        """Every item of every page."""
        return [item async for page in self.pages() for item in page.items]


# Iterators rather than generators: one that is left in the middle is simply forgotten, where the event loop would have to
# start a task to close a generator.


class _Pages(AsyncIterator[Page[T]]):
    __slots__ = ("_before", "_fetch", "_number", "_seen")

    def __init__(self, fetch: Callable[[int, int], Awaitable[Page[T]]], start: int, seen: int) -> None:
        self._fetch = fetch
        self._number: int | None = start
        self._seen = seen
        self._before: tuple[T, ...] = ()

    async def __anext__(self) -> Page[T]:
        if self._number is None:
            raise StopAsyncIteration
        page = await self._fetch(self._number, self._seen)
        if page.items and page.items == self._before:
            raise DecodeError(f"the service repeats itself: page {self._number} is the same as the one before it")
        self._seen += len(page.items)
        self._before, self._number = page.items, page.next
        return page


class _Mapped(Pager[U], Generic[T, U]):
    __slots__ = ("_source", "_view")

    def __init__(self, source: Pager[T], view: Callable[[T], U | None]) -> None:
        self._source = source
        self._view = view

    def pages(self) -> AsyncIterator[Page[U]]:
        return _MappedPages(self._source.pages(), self._view)


class _MappedPages(AsyncIterator[Page[U]], Generic[T, U]):
    __slots__ = ("_pages", "_view")

    def __init__(self, pages: AsyncIterator[Page[T]], view: Callable[[T], U | None]) -> None:
        self._pages = pages
        self._view = view

    async def __anext__(self) -> Page[U]:
        page = await anext(self._pages)
        items = tuple([shown for item in page.items if (shown := self._view(item)) is not None])
        return Page(items, page.number, page.total, page.next)


class _Items(AsyncIterator[T]):
    __slots__ = ("_pages", "_waiting")

    def __init__(self, pages: AsyncIterator[Page[T]]) -> None:
        self._pages = pages
        self._waiting: Iterator[T] = iter(())

    async def __anext__(self) -> T:
        while True:
            for item in self._waiting:
                return item
            self._waiting = iter((await anext(self._pages)).items)


def unpaged(read: Callable[[], Awaitable[Sequence[T]]]) -> Pager[T]:
    """A list that the service gives all at once, behind the same interface as the others."""

    async def fetch(number: int, _: int) -> Page[T]:
        items = tuple(await read())
        return Page(items, number, len(items), None)

    return Pager(fetch)

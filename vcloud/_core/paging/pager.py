"""Lists that fetch their pages as one iterates, one by one or some ahead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar, cast

from vcloud._core.arguments import positive_integer
from vcloud._core.endpoint import MAX_PAGES
from vcloud._core.paging.pages import Items, Page, Pages

__all__ = ["Page", "Pager", "unpaged"]

T = TypeVar("T")
U = TypeVar("U")


class Pager(Generic[T]):
    """A list at the service. Nothing is sent before it is iterated, and nothing after one stops.

    ``async for item in pager`` yields items, ``pager.pages()`` whole pages; ``await pager.first()``
    and ``await pager.all()`` collect; ``pager.prefetch(8)`` reads ahead. A pager can be iterated
    again; it then asks again.

    **Lists change while one reads them**, often because of what one does to the items: starting a
    machine takes it off the list of those that are off, and the pages after it begin too early. An
    item that is on the list from before the iteration begins until it ends is yielded exactly once,
    while others leave or join, with and without ``prefetch``. That something left shows in a total
    that fell. The pager then steps back and reads what it would have missed, and at the end it
    looks once more; known items are left out. So items may come in another order than that of the
    list.

    This is what page numbers cannot show: that items left while at least as many joined between two
    reads, so that the total stayed or rose; and that the list was put into another order. What is
    missed then may be seen all the same when something else left. A list on which items join and
    leave again and again, for as long as it is read, is not read for
    ever: after two more readings of what is left it is read on to its end, and that is all.

    A list that is begun at a later page may go back before it, for what has moved there. Where all
    that was yielded has left, it cannot always tell what that is: begun at page 1, it always can.

    Ahead, the order in which answers arrive is taken for the order in which the service looked.

    An iteration asks for no page more than the list has, unless something left. If every item
    leaves the list as soon as it is yielded, it asks for one page more at most; ahead, or in a bulk
    run, for twice as many at most. Otherwise for what is left at most two times more.

    Without totals, it shows only when a page that the service announced comes back empty; then the
    list is read twice more at most. Without ids nothing can be recognized, so nothing is read
    again. In both cases an item that moves to a page that was read already may be missed.

    Args:
        fetch: reads one page, given its number.
        start: the first page to read.
        follow: completes a page whose ``next`` and ``last`` depend on what came before it, given
            the page, how many items the service sent up to its end, and how many a full page has.
            None: ``fetch`` says it all.
        key: what tells an item from others, None for one that nothing does. None: nothing does so
            on this list. Ids are remembered for as long as one iterates, some hundred bytes for
            each.
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
        self._start = 1 if start is None else positive_integer(start, "page")
        self._max_pages = max_pages
        self._ahead = 0

    def pages(self) -> Pages[T]:
        """Page after page, each with the items that were on none before it.

        An error leaves the iterator where it was: iterate it again, and it asks for the page that
        it could not get.

        A page some items of which cannot be read is a :class:`~vcloud.DecodeError` that holds the
        others in ``items``; iterating on continues with the page after it.

        Raises:
            ConfigurationError: another task waits for the next page of the same iterator.
            DecodeError: some items of a page cannot be read, or the service sends the same again
                and again.
            LimitExceededError: the list has more pages than ``max_pages`` of the Endpoint allows.
        """
        return Pages(self)

    def __aiter__(self) -> Items[T]:
        """Item after item; after an error, as for :meth:`pages`."""
        return Items(self.pages())

    if not TYPE_CHECKING:  # type checkers refuse a plain `for` by themselves

        def __iter__(self) -> NoReturn:
            raise TypeError(
                "a Pager is asynchronous: use `async for item in ...`, or `await ....all()`"
            )

    def __copy__(self) -> Self:
        made = type(self).__new__(type(self))
        for name in Pager.__slots__:
            setattr(made, name, getattr(self, name))
        return made

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Pager reads through its client and can be neither pickled nor copied deeply: "
            "take the items, `await ....all()`, or ask the client for the list again"
        )

    def prefetch(self, n: int) -> Pager[T]:
        """The same list, read up to ``n`` pages ahead of the one in hand.

        The first page is read alone, for it says how many there are. From then on ``n`` requests
        are under way at once, and no more than ``n`` pages wait to be taken. Where the service does
        not say how many there are, nothing is guessed: then it reads one by one. An error is raised
        when its page's turn comes. Stopping early, an error and a cancellation cancel what is under
        way. Pages come in the order in which one by one yields them, unless something leaves the
        list.

        Args:
            n: pages, at least 1.

        Raises:
            InvalidArgumentError: ``n`` is no such number.
        """
        ahead = copy(self)
        ahead._ahead = positive_integer(n, "prefetch")
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
        """The first item, None when there is none. Reads no more pages than it must.

        Raises:
            DecodeError: some items of its page cannot be read, so that it is not certain which one
                is the first; ``items`` has the others of that page.
            VCloudError: as for :meth:`pages`.
        """
        async for page in self.pages():
            for item in page.items:
                return item
        return None

    async def all(self) -> list[T]:
        """Every item of every page.

        Raises:
            DecodeError: some items of a page cannot be read; ``items`` has the others of that page.
                To get what is readable on the other pages too, iterate :meth:`pages`.
            VCloudError: as for :meth:`pages`.
        """
        return [item async for page in self.pages() for item in page.items]


def unpaged(read: Callable[[], Awaitable[Sequence[T]]]) -> Pager[T]:
    """A list that the service gives all at once, behind the same interface as the others."""

    async def fetch(number: int) -> Page[T]:
        items = tuple(await read())
        return Page(items, number, len(items), None, number)

    return Pager(fetch)

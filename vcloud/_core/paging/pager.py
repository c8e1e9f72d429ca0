"""Lists at a service: a pager reads their pages while the caller iterates, one by one or ahead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Self, TypeVar

from msgspec.structs import replace

from vcloud._core.arguments import number_from_zero, positive_integer
from vcloud._core.endpoint import MAX_PAGES
from vcloud._core.guided import Guided
from vcloud._core.paging.pages import Items, Pages
from vcloud._core.paging.source import Page, Source
from vcloud._core.paging.strategies import PageAnswer, SinglePage

__all__ = ["Page", "Pager", "Taken", "paged", "unpaged"]

T = TypeVar("T")
U = TypeVar("U")
P = TypeVar("P", bound="Pager[Any]")


class Pager(Guided, Generic[T]):
    """A list at the service, read page by page.

    ``async for item in pager`` yields items, ``pager.pages()`` yields whole pages. ``await
    pager.first()`` and ``await pager.all()`` collect items. ``pager.prefetch(8)`` reads ahead. The
    first request is sent when the iteration begins, and none after it is left. Each iteration reads
    the list anew.

    **Lists that change during the iteration.** A list often changes because of what the caller does
    to its items: a machine that is started leaves the list of those that are off, and all later
    pages then begin too late. An item that is on the list during the whole iteration is yielded
    exactly once, while other items leave and join, with and without ``prefetch``. The pager notices
    by a total that fell. It then reads earlier pages again, and checks the list once more at the
    end. Items that were yielded before are left out. Items may therefore come in another order than
    the list's.

    Page numbers cannot show two changes. The first: as many items joined as left, or more, between
    two requests, so that the total did not fall. The second: the list was put into another order.
    Items that are missed because of that may still be found when another item leaves. A list that
    keeps changing is not read forever: the pager reads what is left at most twice more, then reads
    on to the end.

    An iteration that begins at a later page may read pages before it, for items that moved there.
    If all items that it yielded have left the list, it cannot always tell which items those are. An
    iteration that begins at page 1 always can.

    With ``prefetch``, the pager assumes that the service answered in the order in which the answers
    arrived.

    **Requests.** If nothing leaves the list, an iteration requests each page once. If every item
    leaves as soon as it is yielded, it requests at most one page more; with ``prefetch`` or in a
    bulk run, at most twice as many. In other cases it reads what is left at most twice more.

    If the service sends no totals, the pager notices a change only when a page that the service
    announced is empty. It then reads the list at most twice more. If items have no ids, it reads
    nothing again. In both cases an item that moves to a page that was read before may be missed.

    Args:
        fetch: reads one page, given its number. ``next`` and ``last`` of the page say which pages
            follow.
        start: the number of the first page to read.
        key: returns the identity of an item, or None for an item without one. None: no item of this
            list has one. The iteration keeps the identities, some hundred bytes for each.
        max_pages: how many pages one iteration may read.
    """

    __slots__ = ("_source",)

    _absent: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("head", "limit", "slice"), "take(n) ends the list after n items"
    )

    _source: Source

    def __init__(
        self,
        fetch: Callable[[int], Awaitable[Page[T]]],
        *,
        start: int | None = None,
        key: Callable[[T], object] | None = None,
        max_pages: int = MAX_PAGES,
    ) -> None:
        first = 1 if start is None else positive_integer(start, "page")
        self._source = Source(fetch, key=key, start=first, max_pages=max_pages)

    def pages(self) -> Pages[T]:
        """Page after page, each without the items of earlier pages.

        After an error the iterator stays where it was: iterating on requests the same page again.

        If some items of a page cannot be read, it raises a :class:`~vcloud.DecodeError` whose
        ``items`` are the others. Iterating on continues with the next page.

        Raises:
            ConfigurationError: another task is waiting for the next page of the same iterator.
            DecodeError: some items of a page cannot be read, or the service keeps sending the same
                items.
            LimitExceededError: the list has more pages than ``max_pages`` of the Endpoint allows.
        """
        return Pages(self._source)

    def __aiter__(self) -> Items[T]:
        """Item after item. Errors are those of :meth:`pages`."""
        return Items(self.pages())

    if not TYPE_CHECKING:  # type checkers refuse a plain `for` and an `await` by themselves

        def __iter__(self) -> NoReturn:
            raise TypeError(
                "a Pager is asynchronous: use `async for item in ...`, or `await ....all()`"
            )

        def __await__(self) -> NoReturn:
            raise TypeError(
                "a Pager is not awaited itself: use `async for item in ...`, or `await ....all()`"
            )

    def __copy__(self) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        # copy.deepcopy asks for this too.
        raise TypeError(
            "a Pager reads through its client and can be neither pickled nor copied deeply: "
            "call list(...) again where it is needed, or take the items, `await ....all()`"
        )

    def prefetch(self, n: int) -> Pager[T]:
        """The same list, read up to ``n`` pages ahead.

        The first page is read alone, because it says how many pages there are. After that, ``n``
        requests are in flight, and at most ``n`` pages wait for the caller. If the service does not
        say how many pages there are, pages are read one by one. An error is raised when the caller
        reaches its page. Requests in flight are cancelled when the iteration is left, fails or is
        cancelled. If nothing leaves the list, the pages come in the same order as without
        ``prefetch``.

        Args:
            n: how many pages, at least 1.

        Raises:
            InvalidArgumentError: ``n`` is not a whole number of at least 1.
        """
        return paged(replace(self._source, ahead=positive_integer(n, "prefetch")))

    def map(self, view: Callable[[T], U | None]) -> Pager[U]:
        """The same list, with ``view(item)`` in place of each item, unless that is None."""
        return paged(replace(self._source, steps=(*self._source.steps, view)))

    def take(self, n: int) -> Taken[T]:
        """The first ``n`` items of the list, or fewer where it has fewer.

        It is a list like any other (``async for``, ``pages()``, ``prefetch``, in a bulk run), and
        ``await pager.take(n)`` returns the items. No page after the last of them is read.

        Args:
            n: how many items, 0 or more.

        Raises:
            InvalidArgumentError: ``n`` is not a whole number of at least 0.
        """
        steps = (*self._source.steps, number_from_zero(n, "take"))
        return paged(replace(self._source, steps=steps), Taken)

    async def first(self) -> T | None:
        """The first item, or None if the list is empty. It reads no page after that item.

        Raises:
            DecodeError: some items of the page cannot be read, and one of them may be the first;
                ``items`` holds the others of that page.
            VCloudError: as for :meth:`pages`.
        """
        async for page in self.pages():
            for item in page.items:
                return item
        return None

    async def all(self) -> list[T]:
        """Every item of every page.

        Raises:
            DecodeError: some items of a page cannot be read; ``items`` holds the others of that
                page. Iterate :meth:`pages` to get those of all pages.
            VCloudError: as for :meth:`pages`.
        """
        return [item async for page in self.pages() for item in page.items]


class Taken(Pager[T]):
    """The first items of a list, from :meth:`Pager.take`. ``await`` returns them as a list."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, list[T]]:
        """The items. Errors are those of :meth:`Pager.all`."""
        return self.all().__await__()

    def prefetch(self, n: int) -> Taken[T]:
        """The same items, read up to ``n`` pages ahead; see :meth:`Pager.prefetch`.

        Raises:
            InvalidArgumentError: ``n`` is not a whole number of at least 1.
        """
        return paged(replace(self._source, ahead=positive_integer(n, "prefetch")), Taken)

    def map(self, view: Callable[[T], U | None]) -> Taken[U]:
        """The same items, with ``view(item)`` in place of each, unless that is None."""
        return paged(replace(self._source, steps=(*self._source.steps, view)), Taken)


def paged(source: Source, kind: type[P] = Pager) -> P:  # type: ignore[assignment]
    """The pager of a list."""
    pager: P = kind.__new__(kind)
    # Not by the constructor: that one is public, and takes no strategy.
    object.__setattr__(pager, "_source", source)
    return pager


def unpaged(read: Callable[[], Awaitable[Sequence[T]]]) -> Pager[T]:
    """A pager of a list that is read as a whole."""

    async def fetch(number: int) -> PageAnswer[T]:
        items = tuple(await read())
        return PageAnswer(items, number, len(items))

    return paged(Source(fetch, SinglePage()))

"""A list at a service: what one page of it is, and how its pages are read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import msgspec

from vcloud._core.endpoint import MAX_PAGES
from vcloud._core.model import PlainStruct
from vcloud._core.paging.strategies import Place, Strategy
from vcloud.errors import DecodeError

T = TypeVar("T")


class Page(PlainStruct, msgspec.Struct, Generic[T], frozen=True):
    """One page of a list.

    Attributes:
        items: its items in the service's order, without those of earlier pages.
        number: which page it is, from 1.
        total: how many items the list has, as the service says; None if it does not.
        next: the number of the next page, None after the last.
        last: the number of the last page, as far as this page shows; None if it does not.
        error: names the first item that could not be read; None if all could.
        unread: how many items could not be read, and so are not in ``items``.
    """

    items: tuple[T, ...]
    number: int
    total: int | None
    next: int | None
    last: int | None = None
    error: DecodeError | None = None
    unread: int = 0


class AsFetched(msgspec.Struct, frozen=True):
    """The strategy of a list whose fetched pages have ``next`` and ``last`` already."""

    def place(self, answer: Page[Any], seen: int, size: int) -> Place:  # noqa: ARG002 - protocol
        """See :meth:`Strategy.place`."""
        following = answer.next
        return Place(following, answer.last, following is not None and following > answer.number)


class Source(msgspec.Struct, frozen=True):
    """A list at a service, and how it is read.

    Attributes:
        fetch: reads one page, given its number; returns what the strategy takes. None: ``open``
            makes it.
        strategy: says which page follows.
        key: returns the identity of an item, or None for an item without one. None: no item has
            one.
        steps: what the caller gets of the items, in this order. A function makes something else of
            an item, or None: the item is left out. A number ends the list after so many items.
        start: the number of the first page to read.
        max_pages: how many pages one iteration may read.
        ahead: how many pages are read ahead.
        open: makes the ``fetch`` of one iteration, for a list that keeps something between its
            pages.
    """

    fetch: Callable[[int], Awaitable[Any]] | None = None
    strategy: Strategy = AsFetched()
    key: Callable[[Any], object] | None = None
    steps: tuple[Callable[[Any], Any] | int, ...] = ()
    start: int = 1
    max_pages: int = MAX_PAGES
    ahead: int = 0
    open: Callable[[], Callable[[int], Awaitable[Any]]] | None = None

    def reader(self) -> Callable[[int], Awaitable[Any]]:
        """What reads the pages of one iteration."""
        if self.fetch is not None:
            return self.fetch
        assert self.open is not None
        return self.open()

    def limits(self) -> tuple[int, ...]:
        """How many items each number among the steps lets pass."""
        return tuple([step for step in self.steps if isinstance(step, int)])

    def shown(
        self, items: tuple[Any, ...], left: tuple[int, ...]
    ) -> tuple[tuple[Any, ...], tuple[int, ...]]:
        """What the caller gets of some items, and how many more items each limit lets pass.

        Args:
            items: the items of a page.
            left: how many each limit let pass before them.
        """
        limits = iter(left)
        still_left: list[int] = []
        for step in self.steps:
            if isinstance(step, int):
                limit = next(limits)
                items = items[:limit]
                still_left.append(limit - len(items))
            else:
                items = tuple([one for item in items if (one := step(item)) is not None])
        return items, tuple(still_left)

"""Which page comes next, and which is the last: one strategy for each kind of service.

A strategy has one method, :meth:`Strategy.place`, which only computes. To support another kind of
service, add a class here, and let the provider's list answer fill in the fields of
:class:`PageAnswer` that the class reads.
"""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from vcloud.errors import DecodeError

T = TypeVar("T")


class PageAnswer(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list as its answer has it.

    Attributes:
        items: the items that could be read, in the service's order.
        number: which page it is, from 1.
        total: how many items the list has, as the service says; None if it does not.
        next_page: the number of the next page, None after the last; unset if the service does not
            say.
        total_pages: how many pages the list has; None if the service does not say.
        error: names the first item that could not be read; None if all could.
        unread: how many items could not be read.
    """

    items: tuple[T, ...]
    number: int
    total: int | None = None
    next_page: int | UnsetType | None = UNSET
    total_pages: int | None = None
    error: DecodeError | None = None
    unread: int = 0


class Place(msgspec.Struct, frozen=True):
    """Where a page stands in its list.

    Attributes:
        next: the number of the next page, None after the last.
        last: the number of the last page, as far as this page shows; None if it does not.
        announced: whether the service itself said that another page follows.
    """

    next: int | None
    last: int | None
    announced: bool = False


class Strategy(Protocol):
    """How a kind of service numbers the pages of its lists."""

    def place(self, answer: Any, seen: int, size: int) -> Place:
        """Where a page stands.

        Args:
            answer: the page.
            seen: how many items the service sent on this page and all pages before it.
            size: how many items a full page has. A service may send fewer than were asked for.
        """
        ...


class ByCount(msgspec.Struct, frozen=True):
    """Vagon's lists: by ``next_page`` if the answer has it, else by page sizes and ``count``.

    Attributes:
        per_page: how many items were asked for.
    """

    per_page: int

    def place(self, answer: PageAnswer[Any], seen: int, size: int) -> Place:
        """See :meth:`Strategy.place`."""
        number, count, next_page = answer.number, answer.total, answer.next_page
        sent = len(answer.items) + answer.unread
        following, announced = None, False
        if next_page is not UNSET:
            # A service that points back would be read forever.
            if next_page is not None and next_page > number:
                following, announced = next_page, True
            # The service says what follows, so this is a full page, not a short last one.
            size = max(size, sent)
        elif count is None:
            following = number + 1 if sent >= self.per_page else None
        elif sent and seen < count:
            # A service may cap per_page, so a short page does not end a list; an empty one does,
            # because one documented example has a wrong total.
            following = number + 1
        if following is None:
            return Place(None, number)
        if following != number + 1 or count is None or count <= seen or size < 1:
            return Place(following, None, announced)
        return Place(following, number + -(-(count - seen) // size), announced)


class ByTotalPages(msgspec.Struct, frozen=True):
    """StreamSpace's lists: by ``total_pages``. Without it, the answer holds the whole list."""

    def place(self, answer: PageAnswer[Any], seen: int, size: int) -> Place:  # noqa: ARG002 - protocol
        """See :meth:`Strategy.place`."""
        number, pages = answer.number, answer.total_pages
        if pages is None or number >= pages or not (answer.items or answer.unread):
            return Place(None, number)
        return Place(number + 1, pages, announced=True)


class SinglePage(msgspec.Struct, frozen=True):
    """A list that is one answer."""

    def place(self, answer: PageAnswer[Any], seen: int, size: int) -> Place:  # noqa: ARG002 - protocol
        """See :meth:`Strategy.place`."""
        return Place(None, answer.number)

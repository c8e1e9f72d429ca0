"""Which page comes next, and which is the last: one strategy for each kind of service.

A strategy has one method, :meth:`Strategy.place`. It is pure arithmetic. To add a kind of service, add a class here, and
let the provider's list answer fill in the fields of :class:`PageAnswer` that the class reads.
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
        items: what is on it, in the service's order.
        number: which page it is, from 1.
        total: how many items there are in all, by the service's word; None when it does not say.
        next_page: the number of the next page, None after the last; unset when it does not say.
        total_pages: how many pages there are; None when it does not say.
        error: names the first item that could not be read; None when all were read.
        unread: how many items could not be read, and so are not in ``items``.
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
        next: the number of the following page, None after the last.
        last: the number of the last page, as far as can be told by now; None when it cannot.
        announced: the service itself said that another page follows.
    """

    next: int | None
    last: int | None
    announced: bool = False


class Strategy(Protocol):
    """How the pages of a list are found."""

    def place(self, answer: Any, seen: int, size: int) -> Place:
        """Where a page stands.

        Args:
            answer: the page that was read last.
            seen: how many items the service sent on all pages up to the end of this one.
            size: how many items a full page has. The service may send fewer than were asked for.
        """
        ...


class ByCount(msgspec.Struct, frozen=True):
    """Vagon's lists: ``next_page`` where the answer has it, else the sizes of the pages and ``count``.

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
            # Only forwards: a service that points back would be read for ever.
            if next_page is not None and next_page > number:
                following, announced = next_page, True
            # The service says what follows, so this page is not a short last one.
            size = max(size, sent)
        elif count is None:
            following = number + 1 if sent >= self.per_page else None
        elif sent and seen < count:
            # A short page may be capped by the service, so a total that is not reached decides.
            # One documented example gives a wrong total, so an empty page ends the list too.
            following = number + 1
        if following is None:
            return Place(None, number)
        if following != number + 1 or count is None or count <= seen or size < 1:
            return Place(following, None, announced)
        return Place(following, number + -(-(count - seen) // size), announced)


class ByTotalPages(msgspec.Struct, frozen=True):
    """StreamSpace's lists: ``total_pages``. A server that does not send it sends everything at once."""

    def place(self, answer: PageAnswer[Any], seen: int, size: int) -> Place:  # noqa: ARG002 - protocol
        """See :meth:`Strategy.place`."""
        number, pages = answer.number, answer.total_pages
        if pages is None or number >= pages or not (answer.items or answer.unread):
            return Place(None, number)
        return Place(number + 1, pages, announced=True)


class SinglePage(msgspec.Struct, frozen=True):
    """A list that the service gives all at once."""

    def place(self, answer: PageAnswer[Any], seen: int, size: int) -> Place:  # noqa: ARG002 - protocol
        """See :meth:`Strategy.place`."""
        return Place(None, answer.number)

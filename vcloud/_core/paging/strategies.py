"""Which page comes next, and how many there are, for each paging dialect. Pure arithmetic."""

from __future__ import annotations

from typing import Final

#: A list answer that has no ``next_page`` at all, as opposed to one that says null.
ABSENT: Final = -1


def next_by_count(
    *,
    number: int,
    items: int,
    per_page: int,
    seen: int,
    count: int | None,
    next_page: int | None = ABSENT,
) -> int | None:
    """The Vagon dialect: ``next_page`` where there is one, else sizes and ``count``.

    Args:
        number: the page just read, from 1.
        items: how many items it had.
        per_page: how many were asked for.
        seen: items on all pages up to and including this one.
        count: the service's total; one documented example gives a wrong one, so an empty page ends the list too.
        next_page: the service's own word, if it gave one.
    """
    if next_page != ABSENT:
        # Only forwards: a service that points back would keep us for ever.
        return next_page if next_page is not None and next_page > number else None
    if count is None:
        return number + 1 if items >= per_page else None
    # A page may be short because the service caps per_page, so a total that is not reached counts for more.
    return number + 1 if items and seen < count else None


def last_by_count(
    *, number: int, following: int | None, seen: int, count: int | None, size: int
) -> int | None:
    """The Vagon dialect: the last page, as far as ``count`` tells; None when it does not.

    Args:
        number: the page just read.
        following: the page after it.
        seen: items on all pages up to and including this one.
        count: the service's total.
        size: items on a full page: as the service sends them, which may be fewer than were asked for.
    """
    if following is None:
        return number
    if following != number + 1 or count is None or count <= seen or size < 1:
        return None
    return number + -(-(count - seen) // size)


def next_by_total(*, number: int, items: int, total_pages: int | None) -> int | None:
    """The StreamSpace dialect: ``pagination.total_pages``; a server that sends no pagination sends everything at once."""
    if total_pages is None or items == 0 or number >= total_pages:
        return None
    return number + 1

"""Finding one item of a list by what it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from vcloud._core.paging.pager import Pager
from vcloud.errors import DecodeError, InvalidArgumentError
from vcloud.errors.text import word

__all__ = ["first_that", "named"]

#: Ids that an error names.
_SHOWN = 5


class _Named(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str | None: ...


T = TypeVar("T")
N = TypeVar("N", bound=_Named)


async def first_that(pager: Pager[T], fits: Callable[[T], bool]) -> T | None:
    """The first item that fits, or None. No page after it is read.

    Raises:
        DecodeError: none fits, and some items cannot be read.
    """
    items, unreadable = aiter(pager), None
    while True:
        try:
            item = await anext(items, None)
        except DecodeError as error:
            if not items.keep_readable(error):
                raise
            unreadable = unreadable or error
            continue
        if item is None:
            break
        if fits(item):
            return item
    if unreadable is not None:
        raise unreadable
    return None


async def named(pager: Pager[N], name: str, noun: str) -> N | None:
    """The one item with exactly this name, or None. All pages are read.

    Raises:
        InvalidArgumentError: several have this name.
        DecodeError: some items cannot be read, and so have an unknown name.
    """
    found = [item async for item in pager if item.name == name]
    if len(found) > 1:
        ids = ", ".join(word(item.id) for item in found[:_SHOWN])
        more = ", …" if len(found) > _SHOWN else ""
        raise InvalidArgumentError(
            f"{len(found)} {noun}s are named {word(repr(name))}: {ids}{more}; "
            "take one of them by its id"
        )
    return found[0] if found else None

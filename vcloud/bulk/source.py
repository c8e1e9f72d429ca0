"""Where a bulk run takes its items from: a collection, an iterator, a pager, any async iterable."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Collection, Iterable, Iterator, Sized
from typing import Generic, TypeVar

from attrs import frozen

from vcloud._core.paging.pages import Items
from vcloud.errors import DecodeError, InvalidArgumentError
from vcloud.instances import Instances

T = TypeVar("T")


@frozen
class Taken(Generic[T]):
    """An item that a run has taken from its source, or from the journal.

    Attributes:
        item: the item. If ``unmade`` is given, it is only the key.
        key: its name in the journal; None: the options name it.
        listed: whether it is among the items of the run. Otherwise only the journal has it.
        unmade: why the key could not become an item; None: it did, or it was no key.
    """

    item: T
    key: str | None = None
    listed: bool = True
    unmade: str | None = None


class ItemSource(Generic[T]):
    """Takes one item after another.

    Args:
        items: what the user passed.

    Attributes:
        total: how many items there are; None when they have no ``len()``.
        undecodable: the first error about items of a pager that cannot be decoded; None: all can.

    Raises:
        InvalidArgumentError: ``items`` cannot be iterated, or is a string.
    """

    def __init__(self, items: Iterable[T] | AsyncIterable[T]) -> None:
        self.total: int | None = len(items) if isinstance(items, Sized) else None
        self.undecodable: DecodeError | None = None
        self._given = items
        self._items = _iterate(items)

    @property
    def collection(self) -> Collection[T] | None:
        """The items, if they can be iterated once more."""
        return self._given if isinstance(self._given, Collection) else None

    async def take(self) -> Taken[T]:
        """The next item that can be decoded.

        Raises:
            StopAsyncIteration: there is none.
            DecodeError: an answer cannot be decoded, and the items after it cannot be reached.
        """
        while True:
            try:
                return Taken(await anext(self._items))
            except DecodeError as error:
                if not (isinstance(self._items, Items) and self._items.keep_readable(error)):
                    raise
                self.undecodable = self.undecodable or error

    async def aclose(self) -> None:
        """Cancel what was begun here, such as a pager's pages in flight.

        An async generator that the user passed is left alone.
        """
        owned = self._items is not self._given or isinstance(self._given, Instances)
        if owned and (aclose := getattr(self._items, "aclose", None)) is not None:
            await aclose()


class _AsyncItems(AsyncIterator[T]):
    """An async iterator over a plain one. Unlike an async generator, it needs no closing."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items

    async def __anext__(self) -> T:
        for item in self._items:
            return item
        raise StopAsyncIteration


def check_items(items: object) -> None:
    """Check that these can be the items of a run.

    Raises:
        InvalidArgumentError: they cannot be iterated, or are a string.
    """
    if isinstance(items, str | bytes) or not isinstance(items, AsyncIterable | Iterable):
        raise InvalidArgumentError(
            f"items must be a collection, an iterator or a pager, not {items!r:.80}"
        )


def _iterate(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    check_items(items)
    return aiter(items) if isinstance(items, AsyncIterable) else _AsyncItems(iter(items))

"""From answers to resources, and from endpoints to lists: the one resource layer, for all providers.

A provider says three things, and the rest is here:

- how a decoded item becomes a handle (``adopt``; Vagon's items keep their id beside their attributes),
- which fields of its list answer hold the items, and what the answer says of the pages (:class:`ListAnswer`),
- how the pages are found (a strategy of :mod:`vcloud._core.paging.strategies`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, ClassVar, Final, Generic, TypeVar

import msgspec

from vcloud._core.arguments import positive_integer
from vcloud._core.decoding.codec import BrokenItems, Shape, required
from vcloud._core.paging.pager import Pager, paged
from vcloud._core.paging.source import Source
from vcloud._core.paging.strategies import PageAnswer, SinglePage, Strategy
from vcloud._core.request import QueryValue, Request, query
from vcloud._core.resource import Handle, Origin, adopt
from vcloud._core.session import Session
from vcloud.errors import DecodeError

T = TypeVar("T")
H = TypeVar("H", bound=Handle)
W = TypeVar("W")
L = TypeVar("L", bound="ListAnswer")

_id: Final = attrgetter("id")


class ListAnswer:
    """A page as the wire has it. Each kind of list adds the field that holds its items.

    Attributes:
        key: the name of that field.
        other_keys: other fields in which servers send the items.
        item_fields: all of these.
    """

    __slots__: ClassVar[tuple[str, ...]] = ()

    key: ClassVar[str] = ""
    other_keys: ClassVar[tuple[str, ...]] = ()
    item_fields: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        cls.item_fields = (cls.key, *cls.other_keys)

    def found(self, body: bytes) -> tuple[str, Sequence[Any]]:
        """The field that holds the items, and the items.

        Raises:
            DecodeError: the answer is no list.
        """
        for name in self.item_fields:
            items: Sequence[Any] | None = getattr(self, name)
            if items is not None:
                return name, items
        return self.key, required(None, body, *self.item_fields)

    def page_answer(
        self,
        number: int,
        items: tuple[T, ...],
        error: DecodeError | None = None,
        unread: int = 0,
    ) -> PageAnswer[T]:
        """The page, with what this answer says of its place in the list.

        Args:
            number: which page was asked for.
            items: what is on it.
            error: names the first item that could not be read.
            unread: how many could not.
        """
        raise NotImplementedError


class Opened(msgspec.Struct, Generic[T], frozen=True):
    """A list answer that was opened.

    Attributes:
        answer: the answer as the wire has it.
        items: the items that could be read, as the caller gets them.
        broken: what is known of the others; None when all could be read.
    """

    answer: Any
    items: tuple[T, ...]
    broken: BrokenItems | None = None


def resource(model: type[H]) -> Shape[H, H]:
    """The shape of an answer that is one resource."""
    return Shape(model, lambda wire, session, body: adopt(wire, session, (body,)))


def resources(
    wire: type[L],
    adopt_item: Callable[[Any, Session, Origin], H],
    adopt_all: Callable[[Sequence[Any], Session, bytes, str], tuple[H, ...]] | None = None,
) -> Shape[L, Opened[H]]:
    """The shape of an answer that is a list of resources.

    Args:
        wire: the answer's class.
        adopt_item: makes a handle of an item.
        adopt_all: makes handles of all items of an answer, all of which could be read, where that
            is faster; given the items, the session, the answer and the name of its field.
    """

    def open_partly(
        answer: L, session: Session, body: bytes, broken: Mapping[str, BrokenItems]
    ) -> Opened[H]:
        name, items = answer.found(body)
        unread = broken.get(name)
        places = range(len(items)) if unread is None else unread.positions
        handles = [
            adopt_item(item, session, (body, name, index))
            for index, item in zip(places, items, strict=True)
        ]
        return Opened(answer, tuple(handles), unread)

    def open_all(answer: L, session: Session, body: bytes) -> Opened[H]:
        if adopt_all is None:
            return open_partly(answer, session, body, {})
        name, items = answer.found(body)
        return Opened(answer, adopt_all(items, session, body, name))

    return Shape(wire, open_all, open_partly)


def values(wire: type[W], name: str, view: Callable[[Any], T]) -> Shape[W, Opened[T]]:
    """The shape of an answer that holds a list of values: nothing can be done to them.

    Args:
        wire: the answer's class.
        name: the field that holds the list.
        view: makes of an item what the caller gets.
    """

    def open_partly(
        answer: W,
        session: Session,  # noqa: ARG001 - the signature of every shape
        body: bytes,
        broken: Mapping[str, BrokenItems],
    ) -> Opened[T]:
        items = required(getattr(answer, name), body, name)
        return Opened(answer, tuple([view(item) for item in items]), broken.get(name))

    def open_all(answer: W, session: Session, body: bytes) -> Opened[T]:
        return open_partly(answer, session, body, {})

    return Shape(wire, open_all, open_partly)


async def fetch_list(
    session: Session, request: Request, shape: Shape[Any, Opened[T]]
) -> tuple[T, ...]:
    """A list that is the result of a call.

    Raises:
        DecodeError: some of its items cannot be read; it holds the others in ``items``.
    """
    opened = await session.fetch(request, shape)
    error = session.broken_items(request, opened.broken)
    if error is None:
        return opened.items
    error.items = opened.items
    raise error


def listing(
    session: Session,
    path: str,
    shape: Shape[Any, Opened[H]],
    strategy: Strategy,
    *,
    page: int | None,
    parameters: Mapping[str, QueryValue],
) -> Pager[H]:
    """A list that is read page by page: ``GET path`` with ``page`` and the other parameters.

    Args:
        session: sends the requests.
        path: where the list is.
        shape: of one page; its answers are :class:`ListAnswer`.
        strategy: says which page follows.
        page: the page to begin with; None: the first.
        parameters: what each request has beside ``page``.
    """
    rest = query(parameters)
    suffix = f"&{rest}" if rest else ""

    async def fetch(number: int) -> PageAnswer[H]:
        request = Request("GET", path, f"page={number}{suffix}")
        opened = await session.fetch(request, shape)
        answer: ListAnswer = opened.answer
        broken = opened.broken
        if broken is None:
            return answer.page_answer(number, opened.items)
        error = session.broken_items(request, broken, page=number)
        return answer.page_answer(number, opened.items, error, broken.count)

    first = 1 if page is None else positive_integer(page, "page")
    source = Source(fetch, strategy, key=_id, start=first, max_pages=session.max_pages)
    return paged(source)


def all_of(session: Session, path: str, shape: Shape[Any, Opened[T]]) -> Pager[T]:
    """A list that the service gives all at once: ``GET path``."""

    async def fetch(number: int) -> PageAnswer[T]:
        request = Request("GET", path)
        opened = await session.fetch(request, shape)
        items, broken = opened.items, opened.broken
        unread = 0 if broken is None else broken.count
        error = session.broken_items(request, broken, page=number)
        return PageAnswer(items, number, len(items) + unread, error=error, unread=unread)

    return paged(Source(fetch, SinglePage()))

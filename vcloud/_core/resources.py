"""From answers to resources, and from endpoints to lists, for all providers.

A provider adds three things:

- how a decoded item becomes a handle (``adopt_item``; Vagon's items have an id beside attributes),
- which fields of a list answer hold the items, and what it says about pages (:class:`ListAnswer`),
- how its lists number their pages (a strategy of :mod:`vcloud._core.paging.strategies`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, ClassVar, Final, Generic, TypeVar

import msgspec

from vcloud._core.arguments import positive_integer
from vcloud._core.decoding.shape import BrokenItems, Shape, required
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

#: Reads one page of a list, given its number.
PageReader = Callable[[int], Awaitable[PageAnswer[H]]]

_id: Final = attrgetter("id")


class ListAnswer:
    """A decoded list answer. Each kind of list adds the field that holds its items.

    Attributes:
        key: the name of that field.
        other_keys: other fields in which a server may send them.
        item_fields: all these fields.
    """

    __slots__: ClassVar[tuple[str, ...]] = ()

    key: ClassVar[str] = ""
    other_keys: ClassVar[tuple[str, ...]] = ()
    item_fields: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        cls.item_fields = (cls.key, *cls.other_keys)

    def found(self, body: bytes) -> tuple[str, Sequence[Any]]:
        """The name of the field that holds the items, and the items.

        Raises:
            DecodeError: the answer has none of these fields.
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
        """The page, with what the answer says about its place in the list.

        Args:
            number: which page was asked for.
            items: its items, as far as they could be read.
            error: names the first item that could not be read.
            unread: how many items could not be read.
        """
        raise NotImplementedError


class Opened(msgspec.Struct, Generic[T], frozen=True):
    """A list answer and what was made of it.

    Attributes:
        answer: the answer as it was decoded.
        items: the items that could be read, as the caller gets them.
        broken: the items that could not be read; None if all could.
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
        wire: the class that the answer is decoded into.
        adopt_item: makes a handle of an item.
        adopt_all: makes handles of all items at once, which is faster, if all could be read. It
            takes the items, the session, the answer and the name of the field.
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
    """The shape of an answer that is a list of values without handles.

    Args:
        wire: the class that the answer is decoded into.
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
    """Fetch a list that is one answer.

    Raises:
        DecodeError: some of its items cannot be read; ``items`` holds the others.
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
        path: the path of the list.
        shape: the shape of one page. Its answers are :class:`ListAnswer`.
        strategy: says which page follows.
        page: the number of the page to begin with; None: 1.
        parameters: the other query parameters.
    """
    return listed(session, strategy, page=page, fetch=page_reader(session, path, shape, parameters))


def listed(
    session: Session,
    strategy: Strategy,
    *,
    page: int | None,
    fetch: PageReader[H] | None = None,
    open: Callable[[], PageReader[H]] | None = None,
) -> Pager[H]:
    """The pager of a list of resources; see :class:`Source` for ``fetch`` and ``open``."""
    first = 1 if page is None else positive_integer(page, "page")
    source = Source(fetch, strategy, key=_id, start=first, max_pages=session.max_pages, open=open)
    return paged(source)


def page_reader(
    session: Session,
    path: str,
    shape: Shape[Any, Opened[H]],
    parameters: Mapping[str, QueryValue],
) -> PageReader[H]:
    """What reads a page of a list: ``GET path`` with ``page`` and the other parameters."""
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

    return fetch


def all_of(session: Session, path: str, shape: Shape[Any, Opened[T]]) -> Pager[T]:
    """A list that is one answer: ``GET path``."""

    async def fetch(number: int) -> PageAnswer[T]:
        request = Request("GET", path)
        opened = await session.fetch(request, shape)
        items, broken = opened.items, opened.broken
        unread = 0 if broken is None else broken.count
        error = session.broken_items(request, broken, page=number)
        return PageAnswer(items, number, len(items) + unread, error=error, unread=unread)

    return paged(Source(fetch, SinglePage()))

"""StreamSpace's lists: a page as it is answered, how one follows another, and whole lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
from attrs import frozen

from vcloud._core import resources as core
from vcloud._core.decoding.models import none_when_absent
from vcloud._core.decoding.shape import Shape
from vcloud._core.paging.pager import Pager
from vcloud._core.paging.strategies import ByTotalPages, PageAnswer
from vcloud._core.request import QueryValue, Request, query
from vcloud._core.resource import Handle, adopt
from vcloud._core.resources import ListAnswer, Opened, PageReader, resource
from vcloud._core.scalars import Integer
from vcloud._core.session import Session
from vcloud.errors import DecodeError, InvalidArgumentError
from vcloud.providers.streamspace.calls import Calls
from vcloud.providers.streamspace.installation import calls
from vcloud.providers.streamspace.refusals import unsupported
from vcloud.providers.streamspace.spelling import (
    WireModel,
    one_lacks_documented_field,
    refuse_camel_case,
)

__all__ = [
    "Listing",
    "PagedList",
    "Pagination",
    "WholeList",
    "listing",
    "resource",
    "resources",
]

T = TypeVar("T")
H = TypeVar("H", bound=Handle)


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class Pagination(WireModel):
    """Where a page stands in its list."""

    page: Integer | None
    limit: Integer | None
    total: Integer | None
    total_pages: Integer | None

    @property
    def pages(self) -> int:
        """How many pages there are.

        Raises:
            DecodeError: the answer does not say. A guess could cut the list short.
        """
        if self.total_pages is not None:
            return self.total_pages
        if self.total is None or not self.limit:
            raise DecodeError(
                "the answer is not what the contract says: its pagination has neither total_pages"
                " nor total and limit"
            )
        return -(-self.total // self.limit)


@frozen(kw_only=True, eq=False, repr=False)
class Listing(ListAnswer, WireModel):
    """One page of a list.

    Each kind of list adds a field that holds its items. Its name is in ``key``. The published
    server sends ``total`` without pagination, sometimes calls that field ``items``, and writes an
    empty list as null.
    """

    other_keys: ClassVar[tuple[str, ...]] = ("items",)

    pagination: Pagination | None = None
    total: Integer | None = None

    def page_answer(
        self,
        number: int,
        items: tuple[T, ...],
        error: DecodeError | None = None,
        unread: int = 0,
    ) -> PageAnswer[T]:
        """See :meth:`ListAnswer.page_answer`."""
        where = self.pagination
        if where is None:
            return PageAnswer(items, number, self.total, error=error, unread=unread)
        return PageAnswer(
            items, number, where.total, total_pages=where.pages, error=error, unread=unread
        )

    @classmethod
    def _spelling_check(cls) -> Callable[[Any, bytes], None]:
        """See :meth:`WireModel._spelling_check`."""
        keys = cls.item_fields

        def check(value: Any, body: bytes) -> None:
            where = value.pagination
            if (where is not None and one_lacks_documented_field((where,))) or any(
                one_lacks_documented_field(getattr(value, key) or ()) for key in keys
            ):
                refuse_camel_case(cls, body)

        return check


def resources(wire: type[Listing], model: type[H]) -> Shape[Listing, Opened[H]]:  # noqa: ARG001 - types H
    """The shape of an answer that is a list of resources of this model."""
    return core.resources(wire, adopt)


class PagedList(msgspec.Struct, Generic[H], frozen=True):
    """A list that the installation cuts into pages, as the API document says.

    Attributes:
        path: its path.
        shape: the shape of one page.
        filters: the query parameters beside ``page`` and ``limit``.
    """

    path: str
    shape: Shape[Any, Opened[H]]
    filters: Mapping[str, QueryValue] = {}


class WholeList(msgspec.Struct, Generic[H], frozen=True):
    """A list that the installation answers whole, as the published server does.

    What that server does not do itself is done here, before the list is cut into pages.

    Attributes:
        path: its path.
        shape: the shape of the answer.
        filters: the query parameters that the server reads.
        keep: whether an item belongs to the list; None: all do.
        sort: the value that the items are sorted by; None: their order is the server's.
        descending: whether the largest value comes first.
    """

    path: str
    shape: Shape[Any, Opened[H]]
    filters: Mapping[str, QueryValue] = {}
    keep: Callable[[H], bool] | None = None
    sort: Callable[[H], Any] | None = None
    descending: bool = False


def listing(
    session: Session,
    wanted: Callable[[Calls], PagedList[H] | WholeList[H]],
    *,
    page: int | None,
    limit: int | None,
    maximum: int | None = 100,
) -> Pager[H]:
    """A list of resources; nothing is sent before it is iterated.

    Args:
        session: the session of the collection.
        wanted: makes of the functions of the installation's dialect what to ask for. It is called
            once for each iteration, before anything is sent, and may refuse.
        page: the page to begin with; refused at the first iteration if the list comes whole.
        limit: how many items a page has. A whole list is cut into pages of this size; None: it is
            one page.
        maximum: the largest limit.

    Raises:
        InvalidArgumentError: a page or limit that no service allows.
    """
    if limit is not None and not (type(limit) is int and 1 <= limit <= (maximum or limit)):
        bounds = f"from 1 to {maximum}" if maximum else "of at least 1"
        raise InvalidArgumentError(f"limit must be a whole number {bounds}, not {limit!r}")

    def open() -> PageReader[H]:
        read: PageReader[H] | None = None

        async def fetch(number: int) -> PageAnswer[H]:
            nonlocal read
            if read is None:
                asked = wanted(await calls(session))
                if isinstance(asked, PagedList):
                    parameters = {"limit": limit, **asked.filters}
                    read = core.page_reader(session, asked.path, asked.shape, parameters)
                else:
                    _check_page(session, page)
                    read = _Cut(session, asked, limit).page
            return await read(number)

        return fetch

    return core.listed(session, ByTotalPages(), page=page, open=open)


def _check_page(session: Session, page: int | None) -> None:
    if page is not None:
        raise unsupported(
            session, "page= for lists", "leave it out; a list comes whole, and take(n) ends it"
        )


class _Cut(Generic[H]):
    """One iteration of a whole list: read once, and cut into pages.

    Args:
        session: sends the request.
        wanted: the list.
        limit: how many items a page has; None: all.
    """

    def __init__(self, session: Session, wanted: WholeList[H], limit: int | None) -> None:
        self._session = session
        self._wanted = wanted
        self._limit = limit
        #: What belongs to the list, in its order; None before it was read.
        self._items: tuple[H, ...] | None = None
        self._error: DecodeError | None = None
        self._unread = 0

    async def page(self, number: int) -> PageAnswer[H]:
        """A page. What could not be read counts as a part of the first one."""
        items = self._items
        if items is None:
            items = self._items = await self._read()
        size = self._limit or len(items) or 1
        first = number == 1
        return PageAnswer(
            items[(number - 1) * size : number * size],
            number,
            len(items) + self._unread,
            total_pages=-(-len(items) // size) or 1,
            error=self._error if first else None,
            unread=self._unread if first else 0,
        )

    async def _read(self) -> tuple[H, ...]:
        wanted = self._wanted
        request = Request("GET", wanted.path, query(wanted.filters))
        opened = await self._session.fetch(request, wanted.shape)
        if opened.broken is not None:
            self._error = self._session.broken_items(request, opened.broken, page=1)
            self._unread = opened.broken.count
        items = opened.items
        if wanted.keep is not None:
            items = tuple(filter(wanted.keep, items))
        if wanted.sort is not None:
            items = tuple(sorted(items, key=wanted.sort, reverse=wanted.descending))
        return items

"""StreamSpace's lists: a page as it is answered, and how one follows another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypeVar

from attrs import frozen

from vcloud._core import resources as core
from vcloud._core.decoding.models import none_when_absent
from vcloud._core.decoding.shape import Shape
from vcloud._core.paging.pager import Pager
from vcloud._core.paging.strategies import ByTotalPages, PageAnswer
from vcloud._core.request import QueryValue
from vcloud._core.resource import Handle, adopt
from vcloud._core.resources import ListAnswer, Opened, resource
from vcloud._core.scalars import Integer
from vcloud._core.session import Session
from vcloud.errors import DecodeError, InvalidArgumentError
from vcloud.providers.streamspace.spelling import WireModel

__all__ = ["Listing", "Pagination", "listing", "resource", "resources"]

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

    def lacks_documented_field(self) -> bool:
        """See :meth:`WireModel.lacks_documented_field`."""
        return (self.pagination is not None and self.pagination.lacks_documented_field()) or any(
            item.lacks_documented_field()
            for key in self.item_fields
            for item in getattr(self, key) or ()
        )


def resources(wire: type[Listing], model: type[H]) -> Shape[Listing, Opened[H]]:  # noqa: ARG001 - types H
    """The shape of an answer that is a list of resources of this model."""
    return core.resources(wire, adopt)


def listing(
    session: Session,
    path: str,
    shape: Shape[Listing, Opened[H]],
    *,
    page: int | None,
    limit: int | None,
    maximum: int | None = 100,
    filters: Mapping[str, QueryValue],
) -> Pager[H]:
    """A paged list of resources: ``GET path`` with ``page``, ``limit`` and the filters.

    Raises:
        InvalidArgumentError: a limit that the service does not allow.
    """
    if limit is not None and not (type(limit) is int and 1 <= limit <= (maximum or limit)):
        bounds = f"from 1 to {maximum}" if maximum else "of at least 1"
        raise InvalidArgumentError(f"limit must be a whole number {bounds}, not {limit!r}")
    parameters = {"limit": limit, **filters}
    return core.listing(session, path, shape, ByTotalPages(), page=page, parameters=parameters)

"""How Vagon's two APIs write resources and lists.

A resource has its id beside its attributes. A page of a list has ``count`` or ``next_page``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, TypeVar

from attrs import frozen
from msgspec import UNSET, UnsetType

from vcloud._core import resources as core
from vcloud._core.arguments import positive_integer
from vcloud._core.decoding.models import none_when_absent
from vcloud._core.decoding.shape import Shape
from vcloud._core.paging.pager import Pager
from vcloud._core.paging.strategies import ByCount, PageAnswer
from vcloud._core.request import QueryValue
from vcloud._core.resource import Handle, Origin, adopt, set_origin, set_session
from vcloud._core.resources import ListAnswer, Opened
from vcloud._core.scalars import Integer
from vcloud._core.session import Session
from vcloud.errors import DecodeError
from vcloud.providers.vagon import Envelope

__all__ = [
    "Item",
    "Listing",
    "Nested",
    "Single",
    "Value",
    "adopt_item",
    "listing",
    "resource",
    "resources",
    "with_id",
]

T = TypeVar("T")
H = TypeVar("H", bound=Handle)

#: Items on a page if ``per_page`` is not given, by the documents.
PER_PAGE: Final = 20

if TYPE_CHECKING:
    NextPage = int | UnsetType | None
else:
    # UNSET is the default alone: no answer can hold it.
    NextPage = Integer | None


class Enclosing:
    """A resource as it was decoded, with its id beside its attributes."""

    __slots__ = ()

    @classmethod
    def _adapt(cls, value: dict[str, Any]) -> dict[str, Any]:
        # A resource that has nothing but an id.
        return value if value.get("attributes") is not None else {**value, "attributes": {}}


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class Item(Enclosing, Generic[T]):
    """A resource in a list."""

    id: str
    type: str | None = None
    attributes: T


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class NestedItem(Enclosing, Generic[T]):
    """A resource inside another one. It may come without its id."""

    id: str | None
    type: str | None = None
    attributes: T


if TYPE_CHECKING:
    Nested = Annotated[T, NestedItem]
else:
    # A field that holds another resource. It is decoded as an item, which adopt_item replaces by
    # the resource itself: the type that a type checker sees. ``nested`` of the model names it.
    Nested = NestedItem


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class Single(Enclosing, Envelope, Generic[T]):
    """A resource that is the whole answer, with the keys of the envelope beside ``id``."""

    id: str
    type: str | None = None
    attributes: T


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class Value(Enclosing, Envelope, Generic[T]):
    """A value that is the whole answer. It is not a handle, so it may come without its id."""

    id: str | None
    type: str | None = None
    attributes: T


@frozen(kw_only=True, eq=False, repr=False)
class Listing(Envelope, ListAnswer):
    """A list answer. Each kind of list adds the field that holds its items.

    Attributes:
        count: how many items the list has.
        page: which page it is.
        next_page: the number of the next page, null after the last. Most lists do not have it.
    """

    count: Integer | None = None
    page: Integer | None = None
    next_page: NextPage = UNSET

    def page_answer(
        self,
        number: int,
        items: tuple[T, ...],
        error: DecodeError | None = None,
        unread: int = 0,
    ) -> PageAnswer[T]:
        """See :meth:`ListAnswer.page_answer`."""
        return PageAnswer(items, number, self.count, self.next_page, error=error, unread=unread)


# The classes are frozen, but nobody has these objects yet.
_set = object.__setattr__


def adopt_item(
    item: Item[H] | NestedItem[H] | Single[H],
    session: Session,
    origin: Origin,
    owner: Mapping[str, str] | None = None,
) -> H:
    """Make a handle of a decoded resource: its attributes, with the id from beside them.

    Args:
        item: the resource as it was decoded.
        session: the session that the handle acts through.
        origin: the answer, and the place of the resource in it.
        owner: more fields: the ids of resources that it belongs to.
    """
    handle = adopt(with_id(item), session, origin)
    if owner:
        for name, value in owner.items():
            _set(handle, name, value)
    for name in handle.nested:
        _set(handle, name, _unwrap(getattr(handle, name), session, (*origin, "attributes", name)))
    return handle


def _unwrap(inner: object, session: Session, origin: Origin) -> object:
    if isinstance(inner, NestedItem):
        if isinstance(inner.attributes, Handle):
            return adopt_item(inner, session, origin)
        return with_id(inner)
    if isinstance(inner, tuple):
        return tuple([_unwrap(one, session, (*origin, index)) for index, one in enumerate(inner)])
    return inner


def _adopt_all(items: Sequence[Item[H]], session: Session, body: bytes, key: str) -> tuple[H, ...]:
    # As adopt_item, without a call for each item. It runs once for each item of each page.
    handles: list[H] = []
    for index, item in enumerate(items):
        handle = item.attributes
        _set(handle, "id", item.id)
        set_session(handle, session)
        set_origin(handle, (body, key, index))
        handles.append(handle)
    return tuple(handles)


def with_id(item: Item[T] | NestedItem[T] | Single[T] | Value[T]) -> T:
    """The attributes of a decoded item, with the id from beside them."""
    # A nested resource may come without its id.
    _set(item.attributes, "id", item.id if item.id is not None else "")
    return item.attributes


def resource(model: type[H]) -> Shape[Single[H], H]:
    """The shape of an answer that is one resource."""
    return Shape(Single[model], lambda wire, session, body: adopt_item(wire, session, (body,)))  # type: ignore[valid-type]


def resources(wire: type[Listing], model: type[H], **owner: str) -> Shape[Listing, Opened[H]]:
    """The shape of an answer that is a list of resources.

    Args:
        wire: the class that the answer is decoded into.
        model: the class of its items.
        owner: more fields of each item: the ids of resources that it belongs to.
    """
    if not owner and not model.nested:
        return core.resources(wire, adopt_item, _adopt_all)

    def adopt_owned(item: Item[H], session: Session, origin: Origin) -> H:
        return adopt_item(item, session, origin, owner)

    return core.resources(wire, adopt_owned)


def listing(
    session: Session,
    path: str,
    shape: Shape[Listing, Opened[H]],
    *,
    page: int | None,
    per_page: int | None,
    filters: Mapping[str, QueryValue] | None = None,
) -> Pager[H]:
    """A paged list of resources: ``GET path`` with ``page``, ``per_page`` and the filters."""
    asked = PER_PAGE if per_page is None else positive_integer(per_page, "per_page")
    parameters = {"per_page": per_page, **(filters or {})}
    return core.listing(session, path, shape, ByCount(asked), page=page, parameters=parameters)

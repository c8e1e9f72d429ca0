"""How Vagon's two APIs write resources and lists: an id beside attributes, and pages with ``count`` and ``next_page``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, TypeVar

from attrs import frozen
from msgspec import UNSET, UnsetType

from vcloud._core import resources as core
from vcloud._core.arguments import positive_integer
from vcloud._core.decoding.codec import Integer, Shape
from vcloud._core.decoding.models import none_when_absent
from vcloud._core.paging.pager import Pager
from vcloud._core.paging.strategies import ByCount, PageAnswer
from vcloud._core.request import QueryValue
from vcloud._core.resource import Handle, Origin, adopt, set_origin, set_session
from vcloud._core.resources import ListAnswer, Opened
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

#: Records on a page when ``per_page`` is not given, by the documents.
PER_PAGE: Final = 20

if TYPE_CHECKING:
    NextPage = int | UnsetType | None
else:
    # No answer can hold UNSET: it stands where an answer has no such field.
    NextPage = Integer | None


class Enclosing:
    """A resource as the wire has it: its id stands beside its attributes."""

    __slots__ = ()

    @classmethod
    def _adapt(cls, value: dict[str, Any]) -> dict[str, Any]:
        # A resource of which nothing is told but its id.
        return value if value.get("attributes") is not None else {**value, "attributes": {}}


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class Item(Enclosing, Generic[T]):
    """A resource in a list; the handle's own id stands beside its attributes."""

    id: str
    type: str | None = None
    attributes: T


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class NestedItem(Enclosing, Generic[T]):
    """A resource in another one, which is worth something without it, and so without its id."""

    id: str | None
    type: str | None = None
    attributes: T


if TYPE_CHECKING:
    Nested = Annotated[T, NestedItem]
else:
    # A resource inside another one. On the wire it is an item; :func:`adopt` puts in its place what the item holds, which
    # is all that a type checker sees. The model around it names such fields in ``nested``.
    Nested = NestedItem


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class Single(Enclosing, Envelope, Generic[T]):
    """A resource that is the whole answer: the envelope's keys stand beside ``id``."""

    id: str
    type: str | None = None
    attributes: T


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class Value(Enclosing, Envelope, Generic[T]):
    """A value that is the whole answer: something that nothing can be done to, so that its id is not needed."""

    id: str | None
    type: str | None = None
    attributes: T


@frozen(kw_only=True, eq=False, repr=False)
class Listing(Envelope, ListAnswer):
    """A page. Each kind of list adds the field that holds its items, and names it in ``key``.

    Attributes:
        count: how many items there are in all.
        page: which page it is.
        next_page: null after the last one; a list without this field is counted.
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


_attributes = attrgetter("attributes")

# Past the freezing: what is decoded is not yet in anybody's hands.
_set = object.__setattr__


def adopt_item(
    item: Item[H] | NestedItem[H] | Single[H],
    session: Session,
    origin: Origin,
    owner: Mapping[str, str] | None = None,
) -> H:
    """Make a handle of a decoded resource: its id moves in from beside its attributes.

    Args:
        item: the resource as the wire has it.
        session: the session that the handle acts through.
        origin: where in its answer the resource stands.
        owner: the names and ids of what it belongs to, for its fields.
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
    # What adopt_item does, without a call for each: no other loop of ours runs as often.
    for index, item in enumerate(items):
        handle = item.attributes
        _set(handle, "id", item.id)
        set_session(handle, session)
        set_origin(handle, (body, key, index))
    return tuple(map(_attributes, items))


def with_id(item: Item[T] | NestedItem[T] | Single[T] | Value[T]) -> T:
    """What a decoded item holds, with the id that stands beside its attributes."""
    # A nested resource may come without its id, and then is a bare value.
    _set(item.attributes, "id", item.id if item.id is not None else "")
    return item.attributes


def resource(model: type[H]) -> Shape[Single[H], H]:
    """The shape of an answer that is one resource."""
    return Shape(Single[model], lambda wire, session, body: adopt_item(wire, session, (body,)))  # type: ignore[valid-type]


def resources(wire: type[Listing], model: type[H], **owner: str) -> Shape[Listing, Opened[H]]:
    """The shape of an answer that is a list of resources.

    Args:
        wire: the answer's class.
        model: what its items are.
        owner: the names and ids of what they belong to, for their fields.
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

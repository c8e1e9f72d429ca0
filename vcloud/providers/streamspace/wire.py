"""What StreamSpace's collections share: pages, bounds of arguments, and the other spelling that real servers use."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from operator import attrgetter
from typing import Any, ClassVar, Generic, Self, TypeVar, get_args, get_origin, get_type_hints

import attrs
import msgspec
from attrs import frozen

from vcloud._core.arguments import whole_units
from vcloud._core.decoding.models import DOCUMENTED, none_when_absent
from vcloud._core.decoding.shape import BrokenItems, Shape, required
from vcloud._core.paging.pager import Page, Pager
from vcloud._core.paging.strategies import next_by_total
from vcloud._core.redaction.secretive import concealing
from vcloud._core.request import QueryValue, Request, query
from vcloud._core.resource import Handle, Origin, set_origin, set_session
from vcloud._core.scalars import Integer
from vcloud._core.session import Session
from vcloud.errors import ConfigurationError, DecodeError, InvalidArgumentError

__all__ = ["Listing", "Pagination", "WireModel"]

H = TypeVar("H", bound=Handle)

_id = attrgetter("id")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_CAMEL = re.compile(rb'"([a-z0-9_]+[A-Z][a-zA-Z0-9_]*)"\s*:')


def _snake(name: str) -> str:
    return _HUMP.sub("_", name).lower()


@frozen
class _Known:
    """What a model expects of the wire."""

    names: frozenset[str]
    #: They cannot be null, but have a value for when they are missing.
    optional: frozenset[str]
    #: Reads the fields that the document always sends and that have another spelling.
    telling: Callable[[Any], tuple[object, ...]]


_KNOWN: dict[type[Any], _Known] = {}


def _known(model: type[Any]) -> _Known:
    known = _KNOWN.get(model)
    if known is None:
        known = _KNOWN[model] = _learn(model)
    return known


def _learn(model: type[Any]) -> _Known:
    hints = get_type_hints(model, include_extras=True)
    fields = attrs.fields(model)
    nullable = {field.name for field in fields if type(None) in get_args(hints[field.name])}
    given = {field.name for field in fields if field.default is not attrs.NOTHING}
    telling = [
        field.name for field in fields if field.metadata.get(DOCUMENTED) and "_" in field.name
    ]
    # By two or more names an attrgetter gives a tuple.
    read = attrgetter(*telling, *telling) if telling else lambda value: ()
    return _Known(
        names=frozenset(field.name for field in fields),
        optional=frozenset(given - nullable),
        telling=read,
    )


def _names(kind: Any, seen: set[Any]) -> set[str]:
    """The names of all fields of a model, and of the models within it."""
    model = get_origin(kind) or kind
    names = {name for inner in get_args(kind) for name in _names(inner, seen)}
    if isinstance(model, type) and attrs.has(model) and model not in seen:
        seen.add(model)
        names |= _known(model).names
        for hint in get_type_hints(model, include_extras=True).values():
            names |= _names(hint, seen)
    return names


class WireModel:
    """What an answer is decoded into.

    The published server writes camelCase (from its source). The fast decoder takes such keys for unknown fields, so what
    it made is refused here, and the lenient one reads the answer through :meth:`_adapt`.
    """

    __slots__ = ()

    @classmethod
    def _adapt(cls, value: dict[str, Any]) -> dict[str, Any]:
        """The same object in the document's spelling: snake_case, and nothing where null cannot be."""
        known = _known(cls)
        return {
            (name if (name := _snake(key)) in known.names and name not in value else key): inner
            for key, inner in value.items()
            if not (inner is None and _snake(key) in known.optional)
        }

    @classmethod
    def _check_spelling(cls, value: Self, body: bytes) -> None:
        """Refuse what the fast decoder made of an answer in the other spelling.

        Raises:
            msgspec.ValidationError: a documented field is empty, and the answer has known fields in camelCase.
        """
        if value._lacks_something() and _has_camel_case(cls, body):
            raise msgspec.ValidationError("fields in camelCase")

    def _lacks_something(self) -> bool:
        return None in _known(type(self)).telling(self)


def _has_camel_case(model: type[Any], body: bytes) -> bool:
    names = _names(model, set())
    return any(_snake(found[1].decode()) in names for found in _CAMEL.finditer(body))


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
            DecodeError: it cannot be told, and to guess would cut the list short.
        """
        if self.total_pages is not None:
            return self.total_pages
        if self.total is None or not self.limit:
            raise DecodeError(
                "the answer is not what the contract says: its pagination has neither total_pages nor total and limit"
            )
        return -(-self.total // self.limit)


@frozen(kw_only=True, eq=False, repr=False)
class Listing(WireModel):
    """A page. Each kind of list adds ``items`` and a field of its own, named in ``key``, which holds what is on it.

    The published server sends ``total`` without pagination, sometimes calls the field ``items``, and writes an empty
    list as null.
    """

    key: ClassVar[str]
    item_fields: ClassVar[tuple[str, ...]]

    pagination: Pagination | None = None
    total: Integer | None = None

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        cls.item_fields = (cls.key, "items")

    def found(self, body: bytes) -> tuple[str, Sequence[Any]]:
        """What is on the page, and the field it came in.

        Raises:
            DecodeError: the answer is no list at all.
        """
        for key in (self.key, "items"):
            if (items := getattr(self, key)) is not None:
                return key, items
        return self.key, required(None, body, self.key, "items")

    def _lacks_something(self) -> bool:
        return (self.pagination is not None and self.pagination._lacks_something()) or any(
            item._lacks_something() for key in self.item_fields for item in getattr(self, key) or ()
        )


class Opened(msgspec.Struct, Generic[H], frozen=True):
    """A list answer: as the wire has it, its handles, and the items that could not be decoded, if there are any."""

    answer: Listing
    items: tuple[H, ...]
    broken: BrokenItems | None = None


def adopt(handle: H, session: Session, origin: Origin) -> H:
    """Give a decoded resource the session that it acts through, and the answer that it came in."""
    set_session(handle, session)
    set_origin(handle, origin)
    return handle


def resource(model: type[H]) -> Shape[H, H]:
    """The shape of an answer that is one resource."""
    return Shape(model, lambda wire, session, body: adopt(wire, session, (body,)))


def resources(wire: type[Listing], model: type[H]) -> Shape[Listing, Opened[H]]:  # noqa: ARG001 - types H
    """The shape of an answer that is a list of resources of this model."""

    def open_all(answer: Listing, session: Session, body: bytes) -> Opened[H]:
        return open_partly(answer, session, body, {})

    def open_partly(
        answer: Listing, session: Session, body: bytes, broken: Mapping[str, BrokenItems]
    ) -> Opened[H]:
        key, items = answer.found(body)
        found = broken.get(key)
        places = range(len(items)) if found is None else found.positions
        opened = [
            adopt(item, session, (body, key, index))
            for index, item in zip(places, items, strict=True)
        ]
        return Opened(answer, tuple(opened), found)

    return Shape(wire, open_all, open_partly)


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
    parameters = query({"limit": limit, **filters})

    async def fetch(number: int) -> Page[H]:
        request = Request(
            "GET", path, f"page={number}&{parameters}" if parameters else f"page={number}"
        )
        opened = await session.fetch(request, shape)
        where, broken = opened.answer.pagination, opened.broken
        pages, total = (
            (where.pages, where.total) if where is not None else (None, opened.answer.total)
        )
        unread = 0 if broken is None else broken.count
        following = next_by_total(
            number=number, items=len(opened.items) + unread, total_pages=pages
        )
        return Page(
            opened.items,
            number,
            total,
            following,
            number if following is None else pages,
            error=None if broken is None else session.broken_items(request, broken, page=number),
            unread=unread,
        )

    return Pager(fetch, start=page, key=_id, max_pages=session.max_pages)


def go_duration(value: timedelta | float, name: str) -> str:
    """A duration as Go writes it, in the shortest of its forms: ``30m``, ``1h30m``, ``45s``.

    Raises:
        InvalidArgumentError: it is not whole seconds, or none at all: whether zero means at once or never is not documented.
    """
    minutes, second = divmod(whole_units(value, timedelta(seconds=1), name, at_least=1), 60)
    hour, minute = divmod(minutes, 60)
    return "".join(
        f"{count}{unit}" for count, unit in ((hour, "h"), (minute, "m"), (second, "s")) if count
    )


def checked_tags(tags: Sequence[object]) -> tuple[str, ...]:
    """Tags that can be told apart when they are joined with commas.

    Raises:
        InvalidArgumentError: one is empty or has a comma, or a single text was given instead of several.
    """
    if isinstance(tags, str):
        raise InvalidArgumentError(f"tags must be a sequence such as [{tags!r}], not a single text")
    given = []
    for tag in tags:
        if not isinstance(tag, str) or not tag.strip() or "," in tag:
            raise InvalidArgumentError(
                f"a tag must be a non-empty text without commas, because they are joined with commas: {tag!r}"
            )
        given.append(tag)
    return tuple(given)


@concealing
async def bearer(session: Session) -> str:
    """The present token, obtained first if there is none.

    Raises:
        ConfigurationError: the client does not use :class:`~vcloud.BearerAuth`, or was logged out for good.
    """
    headers = await session.authenticate(Request("GET", "/"))
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or not token:
        raise ConfigurationError("this needs a token: make the client with BearerAuth")
    return token

"""What StreamSpace's collections share: pages, bounds of arguments, and the other spelling that real servers use."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from operator import attrgetter
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_type_hints

import attrs
import msgspec
from attrs import frozen

from vcloud._core.codec import Shape
from vcloud._core.paging.pager import Page, Pager
from vcloud._core.paging.strategies import next_by_total
from vcloud._core.request import QueryValue, Request, query, whole
from vcloud._core.resource import Handle, Origin, set_origin, set_session
from vcloud._core.session import Session
from vcloud.errors import ConfigurationError, DecodeError, InvalidArgumentError

__all__ = ["Listing", "Pagination", "Wire"]

H = TypeVar("H", bound=Handle)

_id = attrgetter("id")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def _snake(name: str) -> str:
    return _HUMP.sub("_", name).lower()


@frozen
class _Known:
    """What a model expects of the wire."""

    names: frozenset[str]
    #: The document always sends them, and they can be null.
    nullable: tuple[str, ...]
    #: They cannot be null, but have a value for when they are missing.
    optional: frozenset[str]


_KNOWN: dict[type[Any], _Known] = {}


def _known(model: type[Any]) -> _Known:
    if model not in _KNOWN:
        _KNOWN[model] = _learn(model)
    return _KNOWN[model]


def _learn(model: type[Any]) -> _Known:
    hints = get_type_hints(model, include_extras=True)
    fields = attrs.fields(model)
    nullable = {field.name for field in fields if type(None) in get_args(hints[field.name])}
    given = {field.name for field in fields if field.default is not attrs.NOTHING}
    return _Known(
        names=frozenset(field.name for field in fields),
        nullable=tuple(field.name for field in fields if field.name in nullable - given),
        optional=frozenset(given - nullable),
    )


class Wire:
    """What an answer is decoded into.

    The published server writes camelCase and leaves things out (from its source). The fast way refuses such an
    answer because documented fields are missing from it, and the lenient way then reads it through :meth:`_adapt`.
    """

    __slots__ = ()

    @classmethod
    def _adapt(cls, value: dict[str, Any]) -> dict[str, Any]:
        """The same object in the document's spelling: snake_case, null where nothing was sent, nothing where null cannot be."""
        known = _known(cls)
        adapted = {
            (name if (name := _snake(key)) in known.names and name not in value else key): inner
            for key, inner in value.items()
            if not (inner is None and _snake(key) in known.optional)
        }
        for name in known.nullable:
            adapted.setdefault(name, None)
        return adapted


@frozen(kw_only=True, eq=False, repr=False)
class Pagination(Wire):
    """Where a page stands in its list."""

    page: int
    limit: int
    total: int
    total_pages: int


@frozen(kw_only=True, eq=False, repr=False)
class Listing(Wire):
    """A page. Each kind of list adds ``items`` and a field of its own, named in ``key``, which holds what is on it.

    The published server sends ``total`` without pagination, sometimes calls the field ``items``, and writes an empty
    list as null.
    """

    key: ClassVar[str]

    pagination: Pagination | None = None
    total: int | None = None

    def found(self, body: bytes) -> tuple[str, Sequence[Any]]:
        """What is on the page, and the field it came in.

        Raises:
            DecodeError: the answer is no list at all.
        """
        for key in (self.key, "items"):
            if (items := getattr(self, key)) is not None:
                return key, items
        if not {self.key, "items"} & msgspec.json.decode(body, type=dict[str, msgspec.Raw]).keys():
            raise DecodeError(f"the answer is not what the contract says: it has no {self.key}")
        return self.key, ()


class Opened(msgspec.Struct, Generic[H], frozen=True):
    """A list answer: as the wire has it, and its handles."""

    answer: Listing
    items: tuple[H, ...]


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
        key, items = answer.found(body)
        return Opened(
            answer,
            tuple([adopt(item, session, (body, key, index)) for index, item in enumerate(items)]),
        )

    return Shape(wire, open_all)


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
        where = opened.answer.pagination
        pages, total = (
            (where.total_pages, where.total) if where is not None else (None, opened.answer.total)
        )
        following = next_by_total(number=number, items=len(opened.items), total_pages=pages)
        return Page(opened.items, number, total, following, number if following is None else pages)

    return Pager(fetch, start=page, key=_id, max_pages=session.max_pages)


def text(value: object, name: str) -> str:
    """A text argument that must say something.

    Raises:
        InvalidArgumentError: it is empty, or no text; the value, which may be a secret, stays out of the message.
    """
    if not isinstance(value, str) or not value.strip():
        raise InvalidArgumentError(f"{name} must be a non-empty text")
    return value


def go_duration(value: timedelta | float, name: str) -> str:
    """A duration as Go writes it, in the shortest of its forms: ``30m``, ``1h30m``, ``45s``.

    Raises:
        InvalidArgumentError: it is not whole seconds, or none at all: whether zero means at once or never is not documented.
    """
    minutes, second = divmod(whole(value, timedelta(seconds=1), name, at_least=1), 60)
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

"""Shared by all of StreamSpace's resources: the base of its models, lists, arguments, the token."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from operator import attrgetter
from typing import Any, ClassVar, Self, TypeVar, get_args, get_origin, get_type_hints

import attrs
import msgspec
from attrs import frozen

from vcloud._core import resources as core
from vcloud._core.arguments import whole_units
from vcloud._core.decoding.models import DOCUMENTED, none_when_absent
from vcloud._core.decoding.shape import Shape
from vcloud._core.paging.pager import Pager
from vcloud._core.paging.strategies import ByTotalPages, PageAnswer
from vcloud._core.redaction.secretive import concealing
from vcloud._core.request import QueryValue, Request
from vcloud._core.resource import Handle, adopt
from vcloud._core.resources import ListAnswer, Opened, resource
from vcloud._core.scalars import Integer
from vcloud._core.session import Session
from vcloud.errors import ConfigurationError, DecodeError, InvalidArgumentError

__all__ = ["Listing", "Pagination", "WireModel", "listing", "resource", "resources"]

T = TypeVar("T")
H = TypeVar("H", bound=Handle)

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_CAMEL = re.compile(rb'"([a-z0-9_]+[A-Z][a-zA-Z0-9_]*)"\s*:')


def _snake(name: str) -> str:
    return _HUMP.sub("_", name).lower()


@frozen
class _Known:
    """The fields of a model, as an answer may hold them."""

    names: frozenset[str]
    #: Fields that cannot be null, but may be missing.
    optional: frozenset[str]
    #: Reads the fields that the document always sends and that are spelled differently in
    #: camelCase: they tell the two spellings apart.
    distinctive: Callable[[Any], tuple[object, ...]]


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
    distinctive = [
        field.name for field in fields if field.metadata.get(DOCUMENTED) and "_" in field.name
    ]
    # By two or more names an attrgetter gives a tuple.
    read = attrgetter(*distinctive, *distinctive) if distinctive else lambda value: ()
    return _Known(
        names=frozenset(field.name for field in fields),
        optional=frozenset(given - nullable),
        distinctive=read,
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
    """The base of what answers are decoded into, in the documented or the published spelling.

    The document's spelling is snake_case. The published server writes camelCase (from its source),
    which the fast decoder takes for unknown fields. :meth:`_check_spelling` refuses what it made of
    such an answer; the lenient decoder then reads the answer through :meth:`_adapt`.
    """

    __slots__ = ()

    @classmethod
    def _adapt(cls, value: dict[str, Any]) -> dict[str, Any]:
        """The same object in the document's spelling, without nulls for fields that have none."""
        known = _known(cls)
        return {
            (name if (name := _snake(key)) in known.names and name not in value else key): inner
            for key, inner in value.items()
            if not (inner is None and _snake(key) in known.optional)
        }

    @classmethod
    def _check_spelling(cls, value: Self, body: bytes) -> None:
        """Refuse what the fast decoder made of an answer in the published spelling.

        Raises:
            msgspec.ValidationError: a documented field is missing, and the answer has known fields
                in camelCase.
        """
        if value.lacks_documented_field() and _has_camel_case(cls, body):
            raise msgspec.ValidationError("fields in camelCase")

    def lacks_documented_field(self) -> bool:
        """Whether a field is missing that the document always sends, in its own spelling."""
        return None in _known(type(self)).distinctive(self)


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
                "the answer is not what the contract says: its pagination has neither total_pages"
                " nor total and limit"
            )
        return -(-self.total // self.limit)


@frozen(kw_only=True, eq=False, repr=False)
class Listing(WireModel, ListAnswer):
    """A page. Each kind of list adds ``items`` and a field of its own, named in ``key``, which holds what is on it.

    The published server sends ``total`` without pagination, sometimes calls the field ``items``, and writes an empty
    list as null.
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


def go_duration(value: timedelta | float, name: str) -> str:
    """A duration as Go writes it, in its shortest form: ``30m``, ``1h30m``, ``45s``.

    Raises:
        InvalidArgumentError: it is not whole seconds, or is zero. (Whether zero means at once or
            never is not documented.)
    """
    minutes, second = divmod(whole_units(value, timedelta(seconds=1), name, at_least=1), 60)
    hour, minute = divmod(minutes, 60)
    return "".join(
        f"{count}{unit}" for count, unit in ((hour, "h"), (minute, "m"), (second, "s")) if count
    )


def checked_tags(tags: Sequence[object]) -> tuple[str, ...]:
    """Check tags, which the service joins with commas.

    Raises:
        InvalidArgumentError: one is empty or has a comma, or a single text was given.
    """
    if isinstance(tags, str):
        raise InvalidArgumentError(f"tags must be a sequence such as [{tags!r}], not a single text")
    given = []
    for tag in tags:
        if not isinstance(tag, str) or not tag.strip() or "," in tag:
            raise InvalidArgumentError(
                f"each tag must be a non-empty text without a comma, not {tag!r}"
            )
        given.append(tag)
    return tuple(given)


@concealing
async def bearer(session: Session) -> str:
    """The client's token. If it has none yet, it obtains one.

    Raises:
        ConfigurationError: the client does not use :class:`~vcloud.BearerAuth`, or it was logged
            out and has no password to log in with again.
    """
    headers = await session.authenticate(Request("GET", "/"))
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or not token:
        raise ConfigurationError("this needs a token: make the client with BearerAuth")
    return token

"""From bytes to models and back.

cattrs is the definition of how a model is built. Because a list page is where an SDK loses its speed, a body is first
decoded by msgspec straight into the same attrs classes, strictly; only when that refuses does the lenient cattrs
converter look at it. Both ways give equal objects. The contract tests use a strict codec, in which drift is an error.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import cached_property
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Generic,
    Self,
    TypeVar,
    get_args,
    get_origin,
)

import attrs
import cattrs
import cattrs.v
import msgspec
from cattrs.cols import list_structure_factory
from cattrs.gen import make_dict_structure_fn

from vcloud.errors import DecodeError, shortened

if TYPE_CHECKING:
    from vcloud._core.session import Session

W = TypeVar("W")
R = TypeVar("R")
T = TypeVar("T")

__all__ = ["Codec", "GoDuration", "Id", "Instant", "Minutes", "OpenEnum", "Seconds", "Shape"]

#: An aware point in time. A text without a zone is taken as UTC, by the lenient way.
Instant = Annotated[datetime, msgspec.Meta(tz=True)]

if TYPE_CHECKING:
    GoDuration = timedelta
    Id = str
    Minutes = timedelta
    Seconds = timedelta
else:
    # The unit is part of the type, so a model says once what the wire means and nothing converts by hand.
    # They are what their base is in every other respect, and a type checker sees only the base.

    class Id(str):
        """A ``str`` that some answers spell as a number."""

        __slots__ = ()

    class Seconds(timedelta):
        """A ``timedelta`` that the wire writes as seconds."""

    class Minutes(timedelta):
        """A ``timedelta`` that the wire writes as minutes."""

    class GoDuration(timedelta):
        """A ``timedelta`` that the wire writes as Go does: ``30m``, ``1h30m``, ``1.5s``."""


class OpenEnum(StrEnum):
    """A ``StrEnum`` that keeps a value it does not know, as a member that says so (``known`` is False)."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = "UNKNOWN"
        member._value_ = value
        # Not added to the members: a service that invents values must not make the process grow.
        return member

    @property
    def known(self) -> bool:
        """Whether this SDK knows the value."""
        return self._name_ != "UNKNOWN"


class Shape(msgspec.Struct, Generic[W, R], frozen=True, eq=False):
    """What an endpoint answers: the wire's class, and how to make of it what the caller gets.

    ``open`` receives the decoded wire object, the session to act through, and the body.
    """

    wire: type[W]
    open: Callable[[W, Session, bytes], R]


def plain(wire: type[W]) -> Shape[W, W]:
    """A shape that is handed out as it was decoded."""
    return Shape(wire, lambda value, session, body: value)


class Codec:
    """Decodes bodies into models.

    Args:
        strict: refuse fields that a model does not know and every leniency: for contract tests, where drift must show.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self._strict = strict
        # By identity, because a generic class such as Single[Machine] takes longer to hash than to look up. A decoder keeps its class.
        self._decoders: dict[int, msgspec.json.Decoder[Any]] = {}

    def decode(self, body: bytes, wire: type[T], *, sensitive: bool = False) -> T:
        """Decode ``body`` into ``wire``.

        Raises:
            DecodeError: it is not JSON, or not of that shape; says where, and what the first bytes were.
        """
        try:
            if not body.isascii():
                body.decode()  # what no field holds, msgspec skips without a look
            if self._strict:
                return self._converter.structure(msgspec.json.decode(body), wire)
            decoder: msgspec.json.Decoder[T] = self._decoders.get(id(wire)) or self._decoder(wire)
            return decoder.decode(body)
        except msgspec.ValidationError:
            return self.decode_leniently(body, wire, sensitive=sensitive)
        except _UNREADABLE as error:
            raise _not_json(error, body, sensitive=sensitive) from None
        except Exception as error:  # noqa: BLE001 - cattrs reports through exception groups of many kinds
            raise _mismatch(error, body, wire, sensitive=sensitive) from None

    def decode_leniently(self, body: bytes, wire: type[T], *, sensitive: bool = False) -> T:
        """The second way: numbers in strings, ids as numbers, times without a zone, and errors that name the field."""
        try:
            value = msgspec.json.decode(body)
        except _UNREADABLE as error:
            raise _not_json(error, body, sensitive=sensitive) from None
        if too_deep(value):
            raise DecodeError(
                f"nested more than {MAX_DEPTH} levels deep; {excerpt(body, sensitive=sensitive)}"
            )
        try:
            return self._converter.structure(value, wire)
        except Exception as error:  # noqa: BLE001 - as above
            raise _mismatch(error, body, wire, sensitive=sensitive) from None

    def mismatches(self, value: Any, wire: type[Any]) -> list[str]:
        """Which fields of a JSON value keep it from being a ``wire``, and what they should be.

        No value is named, because it may be a secret.
        """
        try:
            self._converter.structure(value, wire)
        except Exception as error:  # noqa: BLE001 - as above
            found = cattrs.transform_error(error, path="", format_exception=_requirement)
            return [shortened(_field_first(text), 200) for text in found]
        return []

    def decode_fast(self, body: bytes, wire: type[T]) -> T:
        """The first way alone, for tests that compare the two."""
        return self._decoder(wire).decode(body)

    @cached_property
    def _converter(self) -> cattrs.Converter:
        # Made when it is first needed, which with a service that keeps to its contract is never.
        return _converter(strict=self._strict)

    def _decoder(self, wire: type[T]) -> msgspec.json.Decoder[T]:
        decoder = self._decoders[id(wire)] = msgspec.json.Decoder(wire, dec_hook=_convert)
        return decoder


#: Characters. The longest id of the documents, a UUID, has 36.
MAX_ID: Final = 1024
#: The documents nest eight levels deep. Some hundreds can still be decoded, but not be walked, printed or pickled.
MAX_DEPTH: Final = 64


def too_deep(value: Any) -> bool:
    """Whether JSON is nested so deep that using it would end in a RecursionError."""
    level = [value]
    for _ in range(MAX_DEPTH):
        holders = [one for one in level if isinstance(one, dict | list)]
        if not holders:
            return False
        level = [
            inner for one in holders for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return True


def excerpt(body: bytes, *, sensitive: bool) -> str:
    """The first bytes of an answer for an error text, unless the answer carries a secret."""
    if sensitive:
        return f"the answer ({len(body)} bytes) is not shown because it carries a secret"
    return f"the answer began {body[:120]!r}" if body else "the answer was empty"


_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _not_json(error: Exception, body: bytes, *, sensitive: bool) -> DecodeError:
    return DecodeError(f"not JSON ({error}); {excerpt(body, sensitive=sensitive)}")


def _mismatch(error: Exception, body: bytes, wire: type[Any], *, sensitive: bool) -> DecodeError:
    if sensitive:
        reasons = "the details are not shown"
    else:
        path = getattr(wire, "__name__", "answer")
        reasons = shortened(
            "; ".join(cattrs.transform_error(error, path=path, format_exception=_reason)[:3])
        )
    return DecodeError(
        f"the answer is not what the contract says: {reasons}; {excerpt(body, sensitive=sensitive)}"
    )


def _requirement(error: BaseException, kind: type | None) -> str:
    """What is required, without the value that is not."""
    if isinstance(error, KeyError):
        return "is missing"
    said = str(error).partition(", got ")[0] if type(error) is ValueError else ""
    # Other exceptions of the conversions quote what they were given.
    return (
        said
        if said.startswith("expected ")
        else f"is not a valid {getattr(kind, '__name__', 'value')}"
    )


def _field_first(text: str) -> str:
    """``data.timeout: expected a duration`` for cattrs' ``expected a duration @ .data.timeout``."""
    what, _, path = text.rpartition(" @ ")
    field = path.removeprefix(".")
    return f"{field}{' ' if what.startswith('is ') else ': '}{what}" if field else what


def _reason(error: BaseException, kind: type | None) -> str:
    return str(error) if type(error) is ValueError else cattrs.v.format_exception(error, kind)


# -- scalar conversions, shared by both ways -------------------------------------------------------------------------


def _convert(kind: type[Any], value: Any) -> Any:
    """Make a unit-carrying value. The same few ids and durations come again and again, so they are remembered."""
    # By exact type, because 1 == True to a dict, and only one of them is a number of minutes.
    if value.__class__ is int or value.__class__ is str:
        return _REMEMBERED[kind][value]
    return _SCALARS[kind](value, kind)


class _Remembered(dict[int | str, Any]):
    """The values of one kind that were made lately. Half the price of an lru_cache, on a list's hottest path."""

    def __init__(self, kind: type[Any]) -> None:
        super().__init__()
        self._kind = kind

    def __missing__(self, wire: int | str) -> Any:
        if len(self) >= MAX_REMEMBERED:
            self.clear()
        made = self[wire] = _SCALARS[self._kind](wire, self._kind)
        return made


MAX_REMEMBERED: Final = 4096


def _text(value: object, kind: type[str]) -> str:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        # What is remembered must be small; an error is not remembered.
        if kind is Id and isinstance(value, str) and len(value) > MAX_ID:
            raise ValueError(f"expected an id, got a text of {len(value)} characters")
        return kind(value)
    raise ValueError(f"expected text, got {value!r:.80}")


def _integer(value: object, _: type[int] = int) -> int:
    if isinstance(value, bool):
        raise ValueError("expected a whole number, got a boolean")
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and len(value) < 40:
        return int(value)
    raise ValueError(f"expected a whole number, got {value!r:.80}")


def _real(value: object, _: type[float] = float) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float | str)
        or (isinstance(value, str) and len(value) > 40)
    ):
        raise ValueError(f"expected a number, got {value!r:.80}")
    return float(value)


def _boolean(value: object, _: type[bool] = bool) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise ValueError(f"expected true or false, got {value!r:.80}")


def _decimal(value: object, _: type[Decimal] = Decimal) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected an amount, got {value!r:.80}")
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"expected an amount, got {value!r:.80}") from None


def _moment(value: object, _: type[datetime] = datetime) -> datetime:
    if not isinstance(value, str):
        raise ValueError(f"expected a time, got {value!r:.80}")
    at = msgspec.convert(value.strip(), datetime)
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _duration(value: object, kind: type[timedelta]) -> timedelta:
    try:
        return kind(**{kind.__name__.lower(): _real(value)})
    except OverflowError:
        raise ValueError(f"a duration out of range: {value!r:.80}") from None


_GO_UNITS = {
    "h": 3.6e9,
    "m": 6e7,
    "s": 1e6,
    "ms": 1e3,
    "us": 1.0,
    "\u00b5s": 1.0,
    "\u03bcs": 1.0,
    "ns": 1e-3,
}
_GO_PART = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(h|ms|m|s|us|\u00b5s|\u03bcs|ns)"
_GO_PARTS = re.compile(_GO_PART)
_GO_DURATION = re.compile(rf"[-+]?(?:0|(?:{_GO_PART})+)")


def _go_duration(value: object, kind: type[timedelta]) -> timedelta:
    if not isinstance(value, str) or len(value) > 80 or not _GO_DURATION.fullmatch(value):
        raise ValueError(f"expected a duration such as 30m, got {value!r:.80}")
    microseconds = sum(float(count) * _GO_UNITS[unit] for count, unit in _GO_PARTS.findall(value))
    try:
        return kind(microseconds=-microseconds if value.startswith("-") else microseconds)
    except OverflowError:
        raise ValueError(f"a duration out of range: {value!r:.80}") from None


_SCALARS: dict[type[Any], Callable[[Any, Any], Any]] = {
    str: _text,
    Id: _text,
    int: _integer,
    float: _real,
    bool: _boolean,
    Decimal: _decimal,
    datetime: _moment,
    Seconds: _duration,
    Minutes: _duration,
    GoDuration: _go_duration,
}
_REMEMBERED = {kind: _Remembered(kind) for kind in (Id, Seconds, Minutes, GoDuration)}


def _converter(*, strict: bool) -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=strict)
    for kind, convert in _SCALARS.items():
        converter.register_structure_hook(kind, convert)
    converter.register_structure_hook_func(_is_instant, _moment)
    converter.register_structure_hook_func(
        lambda kind: isinstance(kind, type) and issubclass(kind, OpenEnum), _member
    )
    converter.register_structure_hook_factory(_is_list, lambda kind: _list(kind, converter))
    # A union other than "or null" never occurs on the wire; Any passes through as the JSON it is.
    converter.register_structure_hook_factory(
        _is_model, lambda kind: _model(kind, converter, strict=strict)
    )
    return converter


def _member(value: object, kind: type[OpenEnum]) -> OpenEnum:
    if not isinstance(value, str):
        raise ValueError(f"expected one of {', '.join(kind)}, got {value!r:.80}")
    return kind(value)


def _is_instant(kind: object) -> bool:
    return get_origin(kind) is Annotated and get_args(kind)[0] is datetime


def _is_list(kind: object) -> bool:
    return get_origin(kind) in (list, tuple)


def _list(kind: type[Any], converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    items: Any = types.GenericAlias(list, get_args(kind)[:1])
    build = list_structure_factory(items, converter)
    container = get_origin(kind) or list

    def structure(value: Any, _: Any) -> Any:
        # Without this, a text in the place of a list becomes its letters, and an object the names of its fields.
        if not isinstance(value, list):
            raise ValueError(f"expected a list, got {value!r:.80}")
        return container(build(value, kind))

    return structure


def _is_model(kind: object) -> bool:
    origin = get_origin(kind) or kind
    return (
        isinstance(origin, type) and attrs.has(origin) and not isinstance(kind, types.GenericAlias)
    )


def _model(
    kind: type[Any], converter: cattrs.Converter, *, strict: bool
) -> Callable[[Any, Any], Any]:
    build = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=strict)
    # A model may know how servers in the field write it, where that differs from their document.
    adapt = None if strict else getattr(get_origin(kind) or kind, "_adapt", None)

    def structure(value: Any, _: Any) -> Any:
        # Without this, a list or a text in the place of an object ends in whatever subscripting it raises.
        if not isinstance(value, dict):
            raise ValueError(f"expected an object, got {value!r:.80}")
        return build(value if adapt is None else adapt(value), kind)

    return structure

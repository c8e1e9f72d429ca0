"""Scalars: the single values of an answer, whose types name their unit on the wire.

The fast and the lenient decoder make them with the same functions, so that both give equal values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, Self, TypeVar

import msgspec

from vcloud._core.timing.clock import datetime_class

__all__ = [
    "MAX_NUMBER",
    "SCALARS",
    "Amount",
    "ExactFloat",
    "Float",
    "GoDuration",
    "GoDurationOrEmpty",
    "Id",
    "Instant",
    "Integer",
    "Minutes",
    "OpenEnum",
    "Seconds",
    "convert",
    "instant_or_none",
    "shown",
    "without_exact_floats",
]

#: The largest integer of 64 bits. A larger one would overflow a float, a timedelta or a page number
#: in the caller's code.
MAX_NUMBER: Final = 2**63 - 1
#: Characters of a number that is sent as a string: an amount has some twenty.
MAX_NUMBER_TEXT: Final = 64
#: Digits after the point of an amount. ``1E-1000000`` takes a million characters to print.
MAX_DECIMAL_PLACES: Final = 100
#: The longest duration of Go, 292 years. It can be added to a point in time.
MAX_DURATION: Final = timedelta(microseconds=MAX_NUMBER // 1000 + 1)

#: A little larger than the integer, because no float equals it.
_MAX_FLOAT: Final = float(MAX_NUMBER)

#: A whole number of at most 64 bits.
Integer = Annotated[int, msgspec.Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)]
#: A finite number of a size that an integer may have, too.
Float = Annotated[float, msgspec.Meta(ge=-_MAX_FLOAT, le=_MAX_FLOAT)]

T = TypeVar("T", int, float, Decimal)

if TYPE_CHECKING:
    Amount = Decimal
    GoDuration = timedelta
    GoDurationOrEmpty = timedelta
    Id = str
    #: An aware point in time. A text without a zone is taken as UTC, by the lenient decoder.
    Instant = Annotated[datetime, msgspec.Meta(tz=True)]
    Minutes = timedelta
    Seconds = timedelta
else:
    Instant = Annotated[datetime_class(), msgspec.Meta(tz=True)]

    # A marker names the unit or the spelling of a field on the wire. It has no instances: a decoder
    # calls :func:`convert` with the marker and stores the plain value that it returns.

    def _marker_of(base: type) -> type:
        class Marker(type):
            # msgspec checks each value with isinstance(value, marker). This method of the base is
            # written in C: 25 ns for a value, where a Python function takes 85.
            __instancecheck__ = base.__instancecheck__

        return Marker

    class Id(metaclass=_marker_of(str)):
        """A ``str`` that some answers spell as a number."""

    class Amount(metaclass=_marker_of(Decimal)):
        """A ``Decimal`` that the wire writes as a string.

        A bare ``Decimal`` is not enough: msgspec accepts every spelling that Python accepts.
        """

    class Seconds(metaclass=_marker_of(timedelta)):
        """A ``timedelta`` that the wire writes as seconds."""

    class Minutes(metaclass=_marker_of(timedelta)):
        """A ``timedelta`` that the wire writes as minutes."""

    class GoDuration(metaclass=_marker_of(timedelta)):
        """A ``timedelta`` that the wire writes as Go does: ``30m``, ``1h30m``, ``1.5s``."""

    # Of object, because no function in C checks for one of two types.
    class GoDurationOrEmpty(metaclass=_marker_of(object)):
        """The same, or None, which the wire writes as an empty text."""


class OpenEnum(StrEnum):
    """A ``StrEnum`` that accepts unknown values: they become members with ``known`` False."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = "UNKNOWN"
        member._value_ = value
        # Not added to the members, so that a service cannot make the process grow.
        return member

    @property
    def known(self) -> bool:
        """Whether this SDK knows the value."""
        return self._name_ != "UNKNOWN"


class ExactFloat(float):
    """A JSON number with a fraction or an exponent, with its digits as they were sent.

    The lenient decoder reads all such numbers as this, because only the model says which of them
    are amounts. No model holds one: amounts become ``Decimal``, all others ``float``.
    """

    __slots__ = ("digits",)

    def __new__(cls, digits: str) -> Self:
        made = super().__new__(cls, digits)
        made.digits = digits
        return made

    digits: str


def without_exact_floats(value: Any) -> Any:
    """Untyped JSON with plain floats.

    Raises:
        ValueError: a number is too large for a float. The fast decoder refuses it, too.
    """
    if isinstance(value, ExactFloat):
        return _finite(value)
    if isinstance(value, dict):
        return {key: without_exact_floats(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_exact_floats(inner) for inner in value]
    return value


def convert(kind: type[Any], value: Any) -> Any:
    """The value for a marker such as :data:`Seconds`. Values repeat, so they are cached."""
    # By exact type: in a dict True equals 1, but only 1 is a number of minutes.
    if value.__class__ is int or value.__class__ is str:
        return REMEMBERED[kind][value]
    if kind is Amount and value.__class__ is float:
        raise ValueError("a float has lost digits of an amount: the lenient decoder keeps them")
    return SCALARS[kind](value, kind)


class _Remembered(dict[int | str, Any]):
    """A cache of the values of one marker. It takes 130 ns for a value, an lru_cache 150."""

    def __init__(self, kind: type[Any]) -> None:
        super().__init__()
        self._kind = kind

    def __missing__(self, wire: int | str) -> Any:
        if len(self) >= MAX_REMEMBERED:
            self.clear()
        made = self[wire] = SCALARS[self._kind](wire, self._kind)
        return made


#: Values of one marker.
MAX_REMEMBERED: Final = 4096
#: Characters. The longest id of the documents, a UUID, has 36.
MAX_ID: Final = 1024


def shown(value: object) -> str:
    """A wrong value as an error shows it, with bounded work."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return repr(value[:80] if isinstance(value, str) else value)[:82]


def _text(value: object, kind: type[Any]) -> str:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        made = str(value)
        # Only ids are cached, so they must be short. An error is not cached.
        if kind is Id and len(made) > MAX_ID:
            raise ValueError(f"expected an id, got a string of {len(made)} characters")
        return made
    raise ValueError(f"expected text, got {shown(value)}")


#: A number as in JSON, or with a plus sign or a bare point. ``float`` and ``Decimal`` would also
#: accept underscores, digits of other scripts, and words such as NaN.
_NUMBER: Final = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
_WHOLE: Final = re.compile(r"[-+]?[0-9]+")
#: A longer integer may be too large for a float.
_BITS: Final = 64


def _spelt(value: str, what: str, spelling: re.Pattern[str] = _NUMBER) -> str:
    """A number that was sent as a string, without the white space around it."""
    text = value.strip() if len(value) <= 2 * MAX_NUMBER_TEXT else value
    if len(text) > MAX_NUMBER_TEXT or not spelling.fullmatch(text):
        raise ValueError(f"expected {what}, got {shown(value)}")
    return text


def _in_range(value: T, said: object, most: float = MAX_NUMBER) -> T:
    """The number, if it is in range.

    Raises:
        ValueError: it is NaN, or its magnitude is above ``most``.
    """
    if not -most <= value <= most:
        raise ValueError(f"a number out of range: {shown(said)}")
    return value


def _integer(value: object, _: type[int] = int) -> int:
    if isinstance(value, bool):
        raise ValueError("expected a whole number, got a boolean")
    if isinstance(value, int):
        return _in_range(value, value)
    if isinstance(value, ExactFloat):
        exact = _decimal(value)
        if exact == exact.to_integral_value():
            return int(exact)
    elif isinstance(value, float) and value.is_integer():
        return _in_range(int(value), value)
    if isinstance(value, str):
        return _in_range(int(_spelt(value, "a whole number", _WHOLE)), value)
    raise ValueError(f"expected a whole number, got {shown(value)}")


def _real(value: object, _: type[float] = float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected a number, got {shown(value)}")
    if isinstance(value, str):
        return _in_range(float(_spelt(value, "a number")), value, _MAX_FLOAT)
    if isinstance(value, int) and value.bit_length() > _BITS:
        raise ValueError(f"a number out of range: {shown(value)}")
    said = value.digits if isinstance(value, ExactFloat) else value
    return _in_range(float(value), said, _MAX_FLOAT)


def _finite(value: ExactFloat) -> float:
    if not math.isfinite(value):
        raise ValueError(f"a number out of range: {value.digits:.80}")
    return float(value)


def _boolean(value: object, _: type[bool] = bool) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise ValueError(f"expected true or false, got {shown(value)}")


def _decimal(value: object, _: type[Decimal] = Decimal) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected an amount, got {shown(value)}")
    if isinstance(value, int):
        return Decimal(_in_range(value, value))
    digits = value.digits if isinstance(value, ExactFloat) else str(value)
    amount = Decimal(_spelt(digits, "an amount"))
    places = amount.as_tuple().exponent
    if not isinstance(places, int) or places < -MAX_DECIMAL_PLACES:
        raise ValueError(f"a number out of range: {shown(digits)}")
    return _in_range(amount, digits)


def _moment(value: object, _: type[datetime] = datetime) -> datetime:
    if not isinstance(value, str):
        raise ValueError(f"expected a time, got {shown(value)}")
    at: datetime = msgspec.convert(value.strip(), datetime_class())
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def instant_or_none(value: object) -> datetime | None:
    """The time in an error answer, or None: an undecodable time must not hide the error."""
    try:
        return _moment(value)
    except (ValueError, msgspec.ValidationError):
        return None


def _seconds(value: object, _: type[timedelta]) -> timedelta:
    return _lasting(value, seconds=_real(value))


def _minutes(value: object, _: type[timedelta]) -> timedelta:
    return _lasting(value, minutes=_real(value))


def _lasting(said: object, **amount: float) -> timedelta:
    """A duration in the given unit.

    Raises:
        ValueError: it is longer than :data:`MAX_DURATION`.
    """
    try:
        made = timedelta(**amount)
    except OverflowError:
        made = None
    if made is None or abs(made) > MAX_DURATION:
        raise ValueError(f"a duration out of range: {shown(said)}")
    return made


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


def _go_duration(value: object, _: type[timedelta]) -> timedelta:
    if not isinstance(value, str) or len(value) > 80 or not _GO_DURATION.fullmatch(value):
        raise ValueError(f"expected a duration such as 30m, got {shown(value)}")
    microseconds = sum(float(count) * _GO_UNITS[unit] for count, unit in _GO_PARTS.findall(value))
    return _lasting(value, microseconds=-microseconds if value.startswith("-") else microseconds)


def _go_duration_or_empty(value: object, kind: type[timedelta]) -> timedelta | None:
    return None if value == "" else _go_duration(value, kind)


SCALARS: Final[dict[type[Any], Callable[[Any, Any], Any]]] = {
    str: _text,
    Id: _text,
    int: _integer,
    float: _real,
    bool: _boolean,
    Decimal: _decimal,
    Amount: _decimal,
    datetime_class(): _moment,
    Seconds: _seconds,
    Minutes: _minutes,
    GoDuration: _go_duration,
    GoDurationOrEmpty: _go_duration_or_empty,
}
REMEMBERED: Final = {
    kind: _Remembered(kind)
    for kind in (Amount, Id, Seconds, Minutes, GoDuration, GoDurationOrEmpty)
}

"""Requests and responses as plain values, and the only place where paths and queries are quoted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import msgspec

from vcloud.errors import InvalidArgumentError

QueryValue = str | int | bool | datetime | Sequence[str] | None

#: The bucket of WebSocket upgrades. The documents' rate limits are for the REST endpoints, so it has
#: no window of its own; a 429 for an upgrade pauses the upgrades.
UPGRADES = "upgrades"
#: The bucket of upgrades that take no slot. Behind the others, which do, they would have to wait.
UPGRADES_WITHOUT_SLOT = "upgrades without a slot"
#: A repeat of these does no harm (RFC 9110, 9.2.2), so a lost answer may be asked for again.
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


# Structs and not attrs classes, because one of each is made per call and a frozen attrs class takes six times as long.


class Request(msgspec.Struct, frozen=True):
    """One call to a service, before it is signed. ``path`` and ``query`` are already encoded, ``body`` is final."""

    method: str
    path: str
    query: str = ""
    body: bytes | None = None
    #: The answer carries a secret: it never enters an error text.
    sensitive: bool = False
    #: False for the one request that obtains a credential.
    authenticated: bool = True
    #: Which of the provider's rate limits counts it.
    bucket: str = ""
    #: True for a POST of which the service says that a repeat does no harm.
    repeatable: bool = False
    #: False: it does not take one of the slots of ``concurrency``, because requests that hold them
    #: may wait for it.
    slot: bool = True

    @property
    def idempotent(self) -> bool:
        """Whether sending it twice has the effect of sending it once."""
        return self.repeatable or self.method in IDEMPOTENT

    def __repr__(self) -> str:
        # The body of a login is a password.
        return f"Request({self.method} {self.path})"


class Response(msgspec.Struct, frozen=True):
    """A complete answer. ``headers`` is case-insensitive."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        # A body may carry a token or an access link.
        return f"Response(status={self.status}, body=<{len(self.body)} bytes>)"


def segment(value: str, name: str = "id") -> str:
    """Quote an outside value as exactly one path segment.

    Raises:
        InvalidArgumentError: it is empty, ``.`` or ``..``, or not a string.
    """
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{name} must be a str, not {type(value).__name__}: {value!r}")
    if value.isalnum() and value.isascii():
        return value
    if value in ("", ".", ".."):
        raise InvalidArgumentError(f"{name} must not be {value!r}: it would address something else")
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"{name} is not valid unicode: {value!r}") from None


def query(parameters: Mapping[str, QueryValue]) -> str:
    """Encode the parameters that are not None, in order. Booleans become ``true``/``false``, sequences comma-joined."""
    return "&".join(
        [
            f"{name}={_query_value(name, value)}"
            for name, value in parameters.items()
            if value is not None
        ]
    )


def _query_value(name: str, value: QueryValue) -> str:
    if type(value) is int:
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return quote(instant(value, name), safe="")
    try:
        if isinstance(value, str | int):
            return quote(str(value), safe="")
        return quote(",".join(value or ()), safe=",")
    except (TypeError, UnicodeEncodeError):
        raise InvalidArgumentError(f"{name} cannot be {value!r}") from None


def json_body(value: object) -> bytes:
    """The exact bytes that are signed and sent: compact JSON in UTF-8.

    Raises:
        InvalidArgumentError: something in it has no place in JSON.
    """
    try:
        return msgspec.json.encode(value)
    except (TypeError, UnicodeEncodeError) as error:
        raise InvalidArgumentError(f"an argument cannot be sent: {error}") from None


def present(**fields: object) -> dict[str, object]:
    """The fields that were given, in order: what is None is not sent."""
    return {name: value for name, value in fields.items() if value is not None}


def instant(value: datetime, name: str) -> str:
    """An aware datetime as the documents write it: ``2023-09-15T06:42:36.564Z``.

    Raises:
        InvalidArgumentError: it is naive; a guess at its zone would silently move it.
    """
    if value.tzinfo is None:
        raise InvalidArgumentError(
            f"{name} must be an aware datetime, for example datetime.now(UTC): {value!r} has no timezone"
        )
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(value: timedelta | float) -> float:
    """A duration argument in seconds, whichever way it was given.

    Raises:
        InvalidArgumentError: it is neither a timedelta nor a finite number.
    """
    if isinstance(value, timedelta):
        return value.total_seconds()
    if type(value) not in (int, float) or not math.isfinite(value):
        raise InvalidArgumentError(f"seconds or a timedelta, not {value!r}")
    return float(value)


def lasting(value: timedelta | float, name: str) -> float:
    """A duration argument in seconds that must be one.

    Raises:
        InvalidArgumentError: it is none, or not above 0.
    """
    duration = seconds(value)
    if duration <= 0:
        raise InvalidArgumentError(f"{name} must be greater than 0, not {value!r}")
    return duration


_UNITS = {
    timedelta(minutes=1): "minutes",
    timedelta(seconds=1): "seconds",
    timedelta(milliseconds=1): "milliseconds",
}


def whole(value: timedelta | float, unit: timedelta, name: str, *, at_least: int = 0) -> int:
    """A duration as the whole number of units that the wire wants.

    Raises:
        InvalidArgumentError: it is not a whole number of them (rounding would change what was asked), or too small.
    """
    try:
        duration = value if isinstance(value, timedelta) else timedelta(seconds=value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidArgumentError(
            f"{name} must be a timedelta or a number of seconds, not {value!r}"
        ) from None
    count, rest = divmod(duration, unit)
    if rest or count < at_least:
        unit_name = _UNITS.get(unit, f"times {unit}")
        least = f", at least {at_least}" if at_least else ""
        raise InvalidArgumentError(
            f"{name} must be whole {unit_name}{least}, not {duration.total_seconds():g} seconds"
        )
    return count

"""Checks of what callers give: each takes ``(value, name)`` and returns the value as it is used.

All of them raise :class:`InvalidArgumentError` with the argument's name, before anything is sent.
Constructors raise :class:`ConfigurationError` instead: :func:`configured` makes an attrs validator
of a check.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar

from attrs import Attribute

from vcloud._core.scalars import OpenEnum
from vcloud.errors import ConfigurationError, InvalidArgumentError

E = TypeVar("E", bound=StrEnum)

#: The most digits of a number in a request. The service must be able to hold it in 64 bits.
MAX_DIGITS: Final = 19


# -- constructors ----------------------------------------------------------------------------------


def configured(check: Callable[[Any, str], object]) -> Callable[[Any, Attribute[Any], Any], None]:
    """An attrs validator of a constructor's argument.

    Args:
        check: one of the checks below.

    Returns:
        A validator that raises ConfigurationError with the text of the check.
    """

    def validate(_: object, attribute: Attribute[Any], value: object) -> None:
        try:
            check(value, attribute.name)
        except InvalidArgumentError as error:
            raise ConfigurationError(str(error)) from None

    return validate


def in_seconds(value: timedelta | float) -> float:
    """An attrs converter of durations. Other values are left to the validator, which names them."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    with suppress(OverflowError):
        return float(value) if type(value) is int else value
    return value


# -- ids and texts ---------------------------------------------------------------------------------


def identifier(
    value: object, name: str = "id", of: type | None = None, attribute: str = "id"
) -> str:
    """An id, given as a string or a number, as a string that can be one segment of a path.

    Args:
        value: the id, or the resource itself.
        name: the argument's name.
        of: the class of the resource, if the argument takes it too.
        attribute: the attribute of the resource that is its id.

    Raises:
        InvalidArgumentError: it is neither a string nor a whole number, or it is empty, ``.`` or
            ``..``; or it is another kind of resource.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(number(value, name))
    if not isinstance(value, str):
        if of is not None and isinstance(value, of):
            return identifier(_part(value, name, attribute), name)
        raise InvalidArgumentError(
            f"{name} must be {_listed('a string', 'a whole number', of)}, "
            f"not {_described(value, with_type=True)}"
        )
    if value in ("", ".", ".."):
        raise InvalidArgumentError(f"{name} must not be {value!r}: it would address something else")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidArgumentError(f"{name} is not valid unicode: {value!r:.80}") from None
    return str(value)


def number(value: object, name: str, of: type | None = None) -> int:
    """An id, given as a string or a number, as the number that a request needs.

    Args:
        value: the id, or the resource itself.
        name: the argument's name.
        of: the class of the resource, if the argument takes it too.

    Raises:
        InvalidArgumentError: it is not a whole number, or it is too large for any service; or it is
            another kind of resource.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) < 10**MAX_DIGITS:
            return int(value)
        raise InvalidArgumentError(f"{name} must have at most {MAX_DIGITS} digits")
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS:
        return int(value)
    if of is not None and isinstance(value, of):
        return number(_part(value, name, "id"), name)
    raise InvalidArgumentError(
        f"{name} must be {_listed('a whole number', of)}, not {_described(value)}"
    )


def text(value: object, name: str, of: type | None = None, attribute: str = "name") -> str:
    """A string that is not blank.

    Args:
        value: the string, or the resource that it names.
        name: the argument's name.
        of: the class of the resource, if the argument takes it too.
        attribute: the attribute of the resource that is the string.

    Raises:
        InvalidArgumentError: it is not a string, or blank; or it is another kind of resource. The
            value, which may be a secret, stays out of the message.
    """
    if isinstance(value, str) and value.strip():
        return str(value)
    if of is not None and isinstance(value, of):
        return text(_part(value, name, attribute), name)
    kind = "" if of is None or isinstance(value, str) else f", not {_kind(type(value))}"
    raise InvalidArgumentError(f"{name} must be {_listed('a non-empty string', of)}{kind}")


def _part(resource: object, name: str, attribute: str) -> object:
    """The id or the name of a resource that was given instead of it.

    Raises:
        InvalidArgumentError: it has none.
    """
    part = getattr(resource, attribute, None)
    if part in (None, ""):
        raise InvalidArgumentError(
            f"{name} cannot be this {type(resource).__name__}: it has no {attribute}"
        )
    return part


def _listed(*kinds: str | type | None) -> str:
    """What an argument may be, as a part of a sentence."""
    words = [one if isinstance(one, str) else _kind(one) for one in kinds if one is not None]
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _kind(cls: type) -> str:
    """A class as an error names it: ``a User of streams``. Providers have classes of one name."""
    name = cls.__name__.removesuffix("Ref").removesuffix("Handle")
    package, _, rest = cls.__module__.partition(".providers.")
    of = f" of {rest.partition('.')[0]}" if package == "vcloud" else ""
    return f"{'an' if name[0] in 'AEIOaeio' else 'a'} {name}{of}"


def _described(value: object, *, with_type: bool = False) -> str:
    """A value of the wrong kind as an error shows it."""
    if type(value).__module__.startswith("vcloud.providers."):
        return _kind(type(value))
    return f"{type(value).__name__}: {value!r:.80}" if with_type else f"{value!r:.80}"


def member(value: E | str, kind: type[E], name: str) -> E:
    """A member of one of the service's enumerations.

    A string that is not a known value is refused as a typo: as a filter it would silently find
    nothing. To use a value that the service knows and this SDK does not, give ``kind(text)``;
    ``kind`` must be an :class:`~vcloud.OpenEnum`.

    Raises:
        InvalidArgumentError: it is neither a known value nor a member of ``kind``.
    """
    if isinstance(value, kind) and value:
        return value
    if isinstance(value, str):
        # An enumeration that is not open has no member for a value that it does not know.
        with suppress(ValueError):
            found = kind(value)
            if not isinstance(found, OpenEnum) or found.known:
                return found
    hint = (
        f"; for a value that this SDK does not know, give {kind.__name__}(...)"
        if issubclass(kind, OpenEnum)
        else ""
    )
    raise InvalidArgumentError(f"{name} must be one of {', '.join(kind)}, not {value!r:.80}{hint}")


def optional_member(value: E | str | None, kind: type[E], name: str) -> E | None:
    """As :func:`member`, but None (the argument was not given) stays None."""
    return None if value is None else member(value, kind, name)


# -- numbers and flags -----------------------------------------------------------------------------


def whole_number(value: int, name: str, *, at_least: int, at_most: int | None = None) -> int:
    """A whole number within bounds, both of them inclusive.

    Raises:
        InvalidArgumentError: it is not a whole number, or out of bounds.
    """
    if type(value) is not int or value < at_least or (at_most is not None and value > at_most):
        bounds = f"of at least {at_least}" if at_most is None else f"from {at_least} to {at_most}"
        raise InvalidArgumentError(f"{name} must be a whole number {bounds}, not {_shown(value)}")
    return value


def positive_integer(value: int, name: str) -> int:
    """A whole number of at least 1.

    Raises:
        InvalidArgumentError: it is no such number.
    """
    return whole_number(value, name, at_least=1)


def number_from_zero(value: int, name: str) -> int:
    """A whole number of at least 0.

    Raises:
        InvalidArgumentError: it is no such number.
    """
    return whole_number(value, name, at_least=0)


def flag(value: bool, name: str) -> bool:  # noqa: FBT001 - the value that is checked
    """True or False.

    Raises:
        InvalidArgumentError: it is neither.
    """
    if type(value) is not bool:
        raise InvalidArgumentError(f"{name} must be True or False, not a {type(value).__name__}")
    return value


def _shown(value: object) -> str:
    """A wrong value as an error shows it."""
    try:
        return f"{value!r:.80}"
    except ValueError:
        return "a number of some thousand digits"


# -- durations and instants ------------------------------------------------------------------------


def seconds(value: timedelta | float, name: str = "a duration") -> float:
    """A duration, given as a number or a timedelta, in seconds.

    Raises:
        InvalidArgumentError: it is neither a timedelta nor a finite number.
    """
    found = in_seconds(value)
    if type(found) is not float or not math.isfinite(found):
        raise InvalidArgumentError(
            f"{name} must be a number of seconds or a timedelta, not {_shown(value)}"
        )
    return found


def positive_seconds(value: timedelta | float, name: str) -> float:
    """A duration above 0, in seconds.

    Raises:
        InvalidArgumentError: it is not a duration, or not above 0.
    """
    duration = seconds(value, name)
    if duration <= 0:
        raise InvalidArgumentError(f"{name} must be greater than 0 seconds, not {_shown(value)}")
    return duration


def seconds_from_zero(value: timedelta | float, name: str) -> float:
    """A duration of 0 or more, in seconds.

    Raises:
        InvalidArgumentError: it is not a duration, or below 0.
    """
    duration = seconds(value, name)
    if duration < 0:
        raise InvalidArgumentError(f"{name} must be 0 seconds or more, not {_shown(value)}")
    return duration


#: The units that services expect.
_UNITS: Final = {
    timedelta(minutes=1): "whole minutes, a multiple of 60 seconds",
    timedelta(seconds=1): "whole seconds",
    timedelta(milliseconds=1): "whole milliseconds, a multiple of 0.001 seconds",
}


def whole_units(value: timedelta | float, unit: timedelta, name: str, *, at_least: int = 0) -> int:
    """A duration as a whole number of the units that the service expects.

    Raises:
        InvalidArgumentError: it is not a whole number of units (rounding would change the request),
            or it is too small.
    """
    try:
        duration = value if isinstance(value, timedelta) else timedelta(seconds=value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidArgumentError(
            f"{name} must be a number of seconds or a timedelta, not {_shown(value)}"
        ) from None
    count, rest = divmod(duration, unit)
    # In seconds, as the argument is given.
    if duration < at_least * unit:
        raise InvalidArgumentError(
            f"{name} must be at least {_in_digits(at_least * unit)} seconds, "
            f"not {_in_digits(duration)} seconds"
        )
    if rest:
        raise InvalidArgumentError(
            f"{name} must be {_UNITS[unit]}, not {_in_digits(duration)} seconds"
        )
    return count


def _in_digits(duration: timedelta) -> str:
    """The seconds of a duration, without an exponent."""
    return f"{duration.total_seconds():f}".rstrip("0").rstrip(".")


def instant(value: datetime | str, name: str) -> str:
    """A point in time as the documents write it: ``2023-09-15T06:42:36.564Z``.

    Args:
        value: an aware datetime, or an ISO 8601 string with a zone.
        name: the argument's name.

    Raises:
        InvalidArgumentError: it is neither, or it has no zone: a guess at the zone could silently
            shift the time.
    """
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise InvalidArgumentError(
            f"{name} must be an aware datetime or an ISO 8601 string with a zone, not {value!r:.80}"
        ) from None
    if at.utcoffset() is None:
        raise InvalidArgumentError(
            f"{name} must be an aware datetime, for example datetime.now(UTC): "
            f"{value!r:.80} has no timezone"
        )
    try:
        utc = at.astimezone(UTC)
    except OverflowError:
        raise InvalidArgumentError(f"{name} is out of range in UTC: {value!r:.80}") from None
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""What all factories share: numbers, times, and the check of what is given to them."""

from __future__ import annotations

import itertools
import types
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from vcloud._core.arguments import identifier, instant, member, seconds
from vcloud._core.wrong_arguments import unknown_keyword
from vcloud.errors import InvalidArgumentError

__all__ = [
    "EARLIER",
    "NOW",
    "checked",
    "filled",
    "new_id",
    "new_number",
    "new_uuid",
    "reset_ids",
    "uuid_of",
]

#: When every resource was fetched: a Monday morning. No factory reads a clock.
NOW: Final = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
#: When what has existed for a while was made.
EARLIER: Final = datetime(2025, 12, 1, 8, 0, tzinfo=UTC)

_known: dict[type[Any], dict[str, Any]] = {}
_numbers: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)


def reset_ids() -> None:
    """Let the ids of all factories begin again.

    They count up as long as the process lives, so that no two things in it have the same id. A test
    that compares an id gives it to the factory, or calls this first.
    """
    _numbers.clear()


def new_number(kind: str) -> int:
    """How many of this kind were made before."""
    return next(_numbers[kind])


def new_id(given: Mapping[str, Any], kind: str, first: int) -> str:
    """The id that is given, else the next number, counted from ``first``."""
    if "id" in given:
        return str(given["id"])
    return str(first + new_number(kind))


def new_uuid(kind: str, block: str) -> str:
    """The next UUID of this kind. ``block`` is its first eight digits."""
    return f"{block}-e29b-41d4-a716-{446655440000 + new_number(kind):012d}"


def uuid_of(given: Mapping[str, Any], kind: str, block: str) -> str:
    """The id that is given, else the next UUID of this kind."""
    return str(given["id"]) if "id" in given else new_uuid(kind, block)


def filled(given: Mapping[str, Any], **defaults: Any) -> dict[str, Any]:
    """What is given, and the defaults of the other fields. A function is called for its value."""
    return {
        **{
            name: value() if isinstance(value, types.FunctionType) else value
            for name, value in defaults.items()
            if name not in given
        },
        **given,
    }


def checked(factory: str, fields: type[Any], given: Mapping[str, object]) -> dict[str, Any]:
    """What is given to a factory, as the model holds it.

    Args:
        factory: the factory's name.
        fields: the TypedDict of what can be given to it. Where a field may be ``A | B``, the model
            holds one of them: an enumeration (or the word), a timedelta (or seconds), a Decimal (or
            a text), a datetime (or ISO 8601), an id as text (or as number).
        given: what is given.

    Raises:
        TypeError: there is no such field; the text names the nearest.
        InvalidArgumentError: a value is not of the field's type.
    """
    kinds = _kinds(fields)
    for name in given:
        if name not in kinds:
            raise TypeError(unknown_keyword(f"{factory}()", name, kinds))
    return {name: _converted(value, kinds[name], name) for name, value in given.items()}


def _kinds(fields: type[Any]) -> dict[str, Any]:
    kinds = _known.get(fields)
    if kinds is None:
        kinds = _known[fields] = get_type_hints(fields)
    return kinds


def _converted(value: Any, kind: Any, name: str) -> Any:
    if kind is Any:
        return value
    union = get_origin(kind) in (Union, types.UnionType)
    kinds = get_args(kind) if union else (kind,)
    if value is None and types.NoneType in kinds:
        return None
    return _value(value, [one for one in kinds if one is not types.NoneType], name)


def _value(value: Any, kinds: Sequence[Any], name: str) -> Any:
    """The value of a field that is not None."""
    if str in kinds and int in kinds and Decimal not in kinds:
        return identifier(value, name)
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            return member(value, kind, name)
        if (convert := _CONVERSIONS.get(kind)) is not None:
            return convert(value, name)
    (kind,) = kinds
    origin = get_origin(kind)
    if origin is Sequence:
        return _sequence(value, get_args(kind)[0], name)
    if origin is Mapping and isinstance(value, Mapping):
        return dict(value)
    return _instance(value, origin or kind, name)


def _instance(value: Any, kind: type[Any], name: str) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    # True is an int, but no number of anything.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InvalidArgumentError(f"{name} must be a {kind.__name__}, not {value!r:.80}")
    return value


def _sequence(value: Any, kind: Any, name: str) -> tuple[Any, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise InvalidArgumentError(f"{name} must be a list or a tuple, not {value!r:.80}")
    return tuple([_converted(one, kind, f"{name}[{index}]") for index, one in enumerate(value)])


def _decimal(value: Any, name: str) -> Decimal:
    # A float has lost digits.
    if isinstance(value, Decimal | str) or type(value) is int:
        try:
            return Decimal(value)
        except InvalidOperation:
            pass
    raise InvalidArgumentError(f"{name} must be a Decimal, or a text such as '1.20': {value!r:.80}")


def _duration(value: Any, name: str) -> timedelta:
    return value if isinstance(value, timedelta) else timedelta(seconds=seconds(value, name))


def _moment(value: Any, name: str) -> datetime:
    text = instant(value, name)
    return value if isinstance(value, datetime) else datetime.fromisoformat(text)


_CONVERSIONS: Final[dict[Any, Callable[[Any, str], Any]]] = {
    Decimal: _decimal,
    timedelta: _duration,
    datetime: _moment,
}

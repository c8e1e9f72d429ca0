"""Plain JSON values of what models and errors hold.

Everything that becomes JSON goes through :func:`plain`, so that a duration, an amount and a time
are written in one way. Imports nothing of the package, so that its errors can use it.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final

__all__ = ["HIDDEN", "SECRET_NAME", "plain", "plain_error"]

#: Levels of lists and objects, as in every answer that is decoded.
MAX_LEVELS: Final = 64
#: Other numbers do not fit in 64 bits: msgspec and many other programs refuse them.
MIN_INTEGER: Final = -(2**63)
MAX_INTEGER: Final = 2**64 - 1
#: Stands for a value under a name such as ``VNC_PASSWORD``.
HIDDEN: Final = "***"
#: The name of a member whose value is a secret.
SECRET_NAME: Final = re.compile(
    r"pass(?:word|wd|phrase|code)|secret|token|api[-_]?key|private[-_]?key|authorization"
    r"|credential|cookie",
    re.IGNORECASE,
)


def plain(value: Any, levels: int = MAX_LEVELS) -> Any:
    """A value as JSON has it: a str, int, float, bool or None, or a list or dict of them.

    Args:
        value: what a model or an error holds.
        levels: how deep lists and objects are followed; below, there is a text.

    Returns:
        A time as ISO 8601 in UTC with ``Z``; a duration as seconds, a float; an amount as its
        digits, a str; a member of an enumeration as its value; a model as its own ``to_dict()``.
        A number that JSON does not have is None (NaN, the infinities) or its digits (integers of
        more than 64 bits). A text that UTF-8 cannot write has visible escapes for lone surrogates.
        Of bytes there is only the length, and of a mapping's entry whose name says that it is a
        secret (a password, a token) only the name. Anything else is its type's name.
    """
    if value is None or value is True or value is False:
        return value
    if isinstance(value, Enum):
        return plain(value.value, levels)
    scalar = _SCALARS.get(type(value)) or next(
        (write for kind, write in _SCALARS.items() if isinstance(value, kind)), None
    )
    if scalar is not None:
        return scalar(value)
    return f"<{type(value).__name__}>" if levels <= 0 else _container(value, levels - 1)


def _container(value: Any, levels: int) -> Any:
    if not isinstance(value, type) and callable(getattr(value, "to_dict", None)):
        return value.to_dict()
    if isinstance(value, BaseException):
        return {"type": type(value).__name__, "text": _text(str(value))}
    if isinstance(value, Mapping):
        return {
            (name := str(plain(key))): HIDDEN if SECRET_NAME.search(name) else plain(inner, levels)
            for key, inner in value.items()
        }
    # No other iterables: to read an iterator would take its items away.
    if isinstance(value, list | tuple | AbstractSet | deque):
        return [plain(inner, levels) for inner in value]
    return f"<{type(value).__name__}>"


def plain_error(error: Any) -> dict[str, Any]:
    """An error of vcloud as JSON has it: what it says, and its attributes.

    Args:
        error: a :class:`~vcloud.VCloudError`. It is Any, because errors import this module.
    """
    named = {"type": type(error).__name__, "text": str(error), "user_message": error.user_message}
    attributes = [name for kind in reversed(type(error).__mro__) for name in _annotated(kind)]
    for name in dict.fromkeys([*attributes, *vars(error)]):
        if not name.startswith("_") and name not in _LEFT_OUT and hasattr(error, name):
            named[name] = getattr(error, name)
    named["notes"] = list(getattr(error, "__notes__", ()))
    made: dict[str, Any] = plain(named)
    return made


def _annotated(kind: type) -> Mapping[str, object]:
    found: Mapping[str, object] = vars(kind).get("__annotations__", {})
    return found


#: The other items of a list that could not be read: they are data, and may be many.
_LEFT_OUT: Final = frozenset({"items"})


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "backslashreplace").decode()
    return str(value)


def _integer(value: int) -> int | str:
    if MIN_INTEGER <= value <= MAX_INTEGER:
        return int(value)
    try:
        return str(value)
    except ValueError:  # Python's own limit, some thousand digits
        return hex(value)


def _instant(value: datetime) -> str:
    # Within a day of the year 1 or 9999, it keeps its own offset.
    with suppress(OverflowError):
        value = value.astimezone(UTC) if value.utcoffset() is not None else value
    return value.isoformat().replace("+00:00", "Z")


_SCALARS: Final[dict[type[Any], Callable[[Any], Any]]] = {
    str: _text,
    int: _integer,
    float: lambda value: float(value) if math.isfinite(value) else None,
    datetime: _instant,
    timedelta: timedelta.total_seconds,
    date: date.isoformat,
    Decimal: str,
    bytes: lambda value: f"<{len(value)} bytes>",
}

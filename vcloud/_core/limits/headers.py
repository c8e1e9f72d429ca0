"""The limits that the headers of an answer announce."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from vcloud._core.timing.server_clock import http_date, server_time

#: The header without which the others are not read.
REMAINING: Final = "X-RateLimit-Remaining"


class Limits(msgspec.Struct, frozen=True):
    """The limit headers of one answer. Times are seconds since it was received."""

    remaining: int
    limit: int | None = None
    reset_in: float | None = None
    #: Seconds since the announced end, if it has passed.
    overdue: float = 0.0


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """The seconds in ``Retry-After`` (seconds or HTTP date) or ``Retry-After-Ms``.

    Args:
        headers: the answer's.
        now: our Unix time.

    Returns:
        None if neither header has a valid value.
    """
    for name, unit in (("Retry-After-Ms", 1000), ("Retry-After", 1)):
        asked = _number(text := headers.get(name))
        if asked is None and text is not None and text.isascii() and text.isdecimal():
            asked = MAX_RETRY_AFTER * unit  # too many digits for a float, and still to be obeyed
        if asked is not None:
            return _bounded(asked / unit)
    at = http_date(headers.get("Retry-After"))
    if at is None:
        return None
    # Both are times of the service's clock, so our own clock does not matter.
    theirs = server_time(headers)
    return _bounded(at - (now if theirs is None else theirs))


def _bounded(seconds: float) -> float:
    return min(max(0.0, seconds), MAX_RETRY_AFTER)


def limits(headers: Mapping[str, str], *, now: float) -> Limits | None:
    """Read ``X-RateLimit-Limit``, ``-Remaining`` and ``-Reset`` (Unix seconds).

    Args:
        headers: the answer's.
        now: the service's time, in Unix seconds.

    Returns:
        None if the service sends none.
    """
    remaining = _number(headers.get(REMAINING))
    if remaining is None:
        return None
    limit = _number(headers.get("X-RateLimit-Limit"))
    reset = _number(headers.get("X-RateLimit-Reset"))
    # A whole number may have been rounded down, and a request that comes too early is refused.
    left = None if reset is None else reset + reset.is_integer() - now
    return Limits(
        remaining=max(0, int(remaining)),
        # Some gateways send 0 or less if there is no limit.
        limit=None if limit is None or limit < 1 else int(limit),
        reset_in=None if left is None else _window_length(left),
        overdue=0.0 if left is None else max(0.0, -left),
    )


def _window_length(seconds: float) -> float | None:
    return max(0.0, seconds) if seconds <= MAX_WINDOW else None


def _number(text: str | None) -> float | None:
    # float() accepts more: underscores, digits of other scripts, nan, a text of any length.
    if text is None or not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if abs(value) < _MAX_NUMBER else None


#: Greater values are neither a number of seconds or requests nor a point in time.
_MAX_NUMBER: Final = 1e12
_NUMBER: Final = re.compile(
    r"[-+]?(?:[0-9]{1,20}\.?[0-9]{0,20}|\.[0-9]{1,20})(?:[eE][-+]?[0-9]{1,3})?"
)
#: The longest ``Retry-After`` in seconds, 100 years. More would overflow a datetime when it is
#: added to the current time.
MAX_RETRY_AFTER: Final = 36_525 * 86_400.0
#: The longest time in seconds until the end of an announced window. No quota is for longer than a
#: month. A longer time comes from a wrong clock (of the service, or of a gateway that sets
#: ``Date``), and would stop all calls for years.
MAX_WINDOW: Final = 31 * 86_400.0

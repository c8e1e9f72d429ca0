"""What the headers of an answer say about the service's limits, and about its clock."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec

#: The header without which the others say nothing.
REMAINING: Final = "X-RateLimit-Remaining"


class Limits(msgspec.Struct, frozen=True):
    """The limit headers of one answer; times are seconds from when it was received."""

    remaining: int
    limit: int | None = None
    reset_in: float | None = None


def server_time(headers: Mapping[str, str]) -> float | None:
    """The service's clock (Unix seconds) from its ``Date`` header."""
    return _moment(headers.get("Date"))


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds asked for by ``Retry-After`` (seconds or HTTP date) or ``Retry-After-Ms``; ``now`` is Unix time."""
    for name, unit in (("Retry-After-Ms", 1000), ("Retry-After", 1)):
        asked = _number(text := headers.get(name))
        if asked is None and text is not None and text.isascii() and text.isdecimal():
            asked = MAX_RETRY_AFTER * unit  # too long to reckon with, but not to be undercut
        if asked is not None:
            return _bounded(asked / unit)
    at = _moment(headers.get("Retry-After"))
    if at is None:
        return None
    # Both are the service's clock, so ours being wrong does no harm.
    theirs = server_time(headers)
    return _bounded(at - (now if theirs is None else theirs))


def _bounded(seconds: float) -> float:
    return min(max(0.0, seconds), MAX_RETRY_AFTER)


def limits(headers: Mapping[str, str], *, now: float) -> Limits | None:
    """Read ``X-RateLimit-Limit``, ``-Remaining`` and ``-Reset`` (Unix seconds); None when the service sends none.

    Args:
        headers: the answer's.
        now: the service's time, in Unix seconds.
    """
    remaining = _number(headers.get(REMAINING))
    if remaining is None:
        return None
    limit = _number(headers.get("X-RateLimit-Limit"))
    reset = _number(headers.get("X-RateLimit-Reset"))
    return Limits(
        remaining=max(0, int(remaining)),
        # None at all, or less, is how some gateways say that there is no limit.
        limit=None if limit is None or limit < 1 else int(limit),
        # A whole second may have been rounded down, and a request that comes too early is refused.
        reset_in=None if reset is None else _window_length(reset + reset.is_integer() - now),
    )


def _window_length(seconds: float) -> float | None:
    return max(0.0, seconds) if seconds <= MAX_WINDOW else None


def _number(text: str | None) -> float | None:
    # float() takes more: underscores, digits of other scripts, nan, a text of any length.
    if text is None or not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if abs(value) < _FOREVER else None


def _moment(text: str | None) -> float | None:
    # The parser takes digits of other scripts.
    if text is None or not text.isascii():
        return None
    try:
        moment = parsedate_to_datetime(text)
        # Of the three forms of an HTTP date (RFC 9110, 5.6.7) one names no zone, and means the same as the others.
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (
        ValueError,
        TypeError,
        OverflowError,
        IndexError,
    ):  # it was written for the dates of mail, and trusts them
        return None


#: What is beyond it is neither a number of seconds or requests nor a point in time.
_FOREVER: Final = 1e12
_NUMBER: Final = re.compile(
    r"[-+]?(?:[0-9]{1,20}\.?[0-9]{0,20}|\.[0-9]{1,20})(?:[eE][-+]?[0-9]{1,3})?"
)
#: Seconds that a service may ask to wait, 100 years. Longer means never; added to the present time,
#: it would overflow a datetime.
MAX_RETRY_AFTER: Final = 36_525 * 86_400.0
#: Seconds until an announced limit starts anew: no quota is for longer than a month. More is a wrong
#: clock, of the service or of a gateway that sets ``Date``, and would end all calls for years.
MAX_WINDOW: Final = 31 * 86_400.0


class ServerClock(msgspec.Struct):
    """How far the service's clock is ahead of our monotonic one, learnt from ``Date`` headers.

    ``Date`` has whole seconds, and a minute's window is over a second sooner or later. Each answer says that the
    service's time was at least its ``Date``; the best of these bounds comes close to the truth and never passes it, so
    what is reckoned with it is never too early.
    """

    _ahead: float | None = None
    _date: str = ""

    def read(self, headers: Mapping[str, str], now: float) -> float | None:
        """The service's time (Unix seconds) at ``now`` (monotonic), at least; None when it never told it."""
        date = headers.get("Date", "")
        # The same text a moment later gives a lower bound than it gave before.
        if date != self._date and (theirs := server_time(headers)) is not None:
            self._date = date
            ahead = theirs - now
            # Much less than what was known: their clock, or ours, was put back.
            if self._ahead is None or ahead > self._ahead or ahead < self._ahead - _PUT_BACK:
                self._ahead = ahead
        return None if self._ahead is None else now + self._ahead


_PUT_BACK = 5.0

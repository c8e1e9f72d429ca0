"""The service's clock, estimated from ``Date`` headers, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

import msgspec

#: Seconds. A ``Date`` that differs from the estimate by more shows that a clock was set. Smaller
#: differences come of travel time and of the header's resolution of one second, which may also make
#: a window seem longer than it is.
TOLERANCE: Final = 5.0


def server_time(headers: Mapping[str, str]) -> float | None:
    """The service's clock (Unix seconds) from its ``Date`` header."""
    return http_date(headers.get("Date"))


def http_date(text: str | None) -> float | None:
    """An HTTP date in Unix seconds; None if the text is not a date."""
    # The parser accepts digits of other scripts.
    if text is None or not text.isascii():
        return None
    try:
        at = parsedate_to_datetime(text)
        # One of the three forms of an HTTP date (RFC 9110, 5.6.7) names no zone. It means UTC, too.
        return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    # The parser raises all of these for some malformed dates.
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


class ServerClock(msgspec.Struct):
    """How far the service's clock is ahead of our monotonic one, estimated from ``Date`` headers.

    ``Date`` has whole seconds only. Each answer shows that the service's time was at least its
    ``Date``. The greatest of these lower bounds is the estimate. It is close to the true time and
    never ahead of it, so a time that is computed from it is never too early.
    """

    #: Whether the last ``Date`` contradicts those before it by more than :data:`TOLERANCE`: a clock
    #: was set, or several clocks answer.
    moved: bool = False
    _ahead: float | None = None
    _date: str = ""

    def read(self, headers: Mapping[str, str], now: float) -> float | None:
        """A lower bound of the service's time (Unix seconds) at ``now``.

        Args:
            headers: an answer's.
            now: when the answer arrived, in monotonic seconds.

        Returns:
            None if no answer had a valid ``Date`` yet.
        """
        self.moved = False
        date = headers.get("Date", "")
        # The same text read later gives a smaller bound, so it is read once.
        if date != self._date and (theirs := server_time(headers)) is not None:
            self._date = date
            self._learn(theirs - now)
        return None if self._ahead is None else now + self._ahead

    def _learn(self, ahead: float) -> None:
        known = self._ahead
        self.moved = known is not None and abs(ahead - known) > TOLERANCE
        # Much smaller than the estimate: their clock was set back.
        if known is None or ahead > known or ahead < known - TOLERANCE:
            self._ahead = ahead


class TimeLeft(NamedTuple):
    """What is left of a rate window."""

    seconds: float
    #: Whether a clock was set or is wrong, so that the window may end at another time. Then one
    #: request probes, and the others wait for its answer, for no longer than a window lasts.
    uncertain: bool


def time_left(
    announced: float, *, documented: float | None, seen: float | None, moved: bool
) -> TimeLeft:
    """What is left of a window, as far as the two headers that say so can be trusted.

    ``X-RateLimit-Reset`` minus ``Date`` is wrong if either clock is. They may be the clocks of two
    machines (a gateway's and the service's), or one clock that was set between two answers. No such
    difference shifts the end of a window by more than the length of a window.

    Args:
        announced: seconds until the window ends, by the headers; below 0: it has ended.
        documented: the documented length of a window; None: it is not documented.
        seen: the longest time left that any answer announced; None: there was no answer.
        moved: whether ``Date`` contradicts those before it (:attr:`ServerClock.moved`).
    """
    length = seen if documented is None else documented
    if length is None:
        return TimeLeft(max(0.0, announced), uncertain=moved)
    if announced > length + TOLERANCE:
        # If the length is not documented, earlier answers may have come late in a window.
        if documented is None and not moved:
            return TimeLeft(announced, uncertain=False)
        return TimeLeft(length, uncertain=True)
    # A window may end while the answer is on its way, but an answer does not take a whole window.
    if announced < -length - TOLERANCE:
        return TimeLeft(length, uncertain=True)
    return TimeLeft(max(0.0, announced), uncertain=moved)

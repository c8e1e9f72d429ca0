"""The service's clock, learnt from ``Date`` headers, and how far it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

import msgspec

#: Seconds. A ``Date`` that is this much earlier than what was known says that a clock was moved;
#: less is travel time and the one-second grain of the header. Also how much longer a window may
#: seem than it is, for the same reasons.
GRAIN: Final = 5.0


def server_time(headers: Mapping[str, str]) -> float | None:
    """The service's clock (Unix seconds) from its ``Date`` header."""
    return http_date(headers.get("Date"))


def http_date(text: str | None) -> float | None:
    """An HTTP date in Unix seconds; None for what is none."""
    # The parser takes digits of other scripts.
    if text is None or not text.isascii():
        return None
    try:
        at = parsedate_to_datetime(text)
        # Of the three forms of an HTTP date (RFC 9110, 5.6.7) one names no zone, and means the same
        # as the others.
        return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    except (
        ValueError,
        TypeError,
        OverflowError,
        IndexError,
    ):  # it was written for the dates of mail, and trusts them
        return None


class ServerClock(msgspec.Struct):
    """How far the service's clock is ahead of our monotonic one, learnt from ``Date`` headers.

    ``Date`` has whole seconds, and a minute's window is over a second sooner or later. Each answer
    says that the service's time was at least its ``Date``; the best of these bounds comes close to
    the truth and never passes it, so what is reckoned with it is never too early.
    """

    #: Whether the ``Date`` that was read last contradicts those before it by more than
    #: :data:`GRAIN`: somebody's clock was moved, or several clocks answer.
    moved: bool = False
    _ahead: float | None = None
    _date: str = ""

    def read(self, headers: Mapping[str, str], now: float) -> float | None:
        """The service's time (Unix seconds) at ``now`` (monotonic), at least.

        Args:
            headers: an answer's.
            now: when it came, in monotonic seconds.

        Returns:
            None when the service never told its time.
        """
        self.moved = False
        date = headers.get("Date", "")
        # The same text a moment later gives a lower bound than it gave before.
        if date != self._date and (theirs := server_time(headers)) is not None:
            self._date = date
            self._learn(theirs - now)
        return None if self._ahead is None else now + self._ahead

    def _learn(self, ahead: float) -> None:
        known = self._ahead
        self.moved = known is not None and abs(ahead - known) > GRAIN
        # Much less than what was known: their clock was put back.
        if known is None or ahead > known or ahead < known - GRAIN:
            self._ahead = ahead


class TimeLeft(NamedTuple):
    """What is left of a rate window."""

    seconds: float
    #: A clock was moved or is wrong, so the window may end at another time. Then one request asks,
    #: and the others wait for its answer, for no longer than a window lasts.
    doubtful: bool


def time_left(
    announced: float, *, documented: float | None, seen: float | None, moved: bool
) -> TimeLeft:
    """What is left of a window, as far as the two headers it was reckoned from can be believed.

    ``X-RateLimit-Reset`` minus ``Date`` is wrong where either clock is: they may be two machines'
    (a gateway's and the service's), or one that was moved between two answers. No such difference
    shifts the end of a window by more than the window itself.

    Args:
        announced: seconds until the window ends, as the headers say; below 0: it has ended.
        documented: how long a window lasts, as the provider's documents say; None: they do not.
        seen: the longest time that any answer left of a window; None: there was none.
        moved: whether ``Date`` contradicts those before it (:attr:`ServerClock.moved`).
    """
    length = seen if documented is None else documented
    if length is None:
        return TimeLeft(max(0.0, announced), doubtful=moved)
    if announced > length + GRAIN:
        # Where nothing says how long a window is, the first answer may have come late in one.
        if documented is None and not moved:
            return TimeLeft(announced, doubtful=False)
        return TimeLeft(length, doubtful=True)
    # An answer may have been on its way while its window ended, but not for a whole window.
    if announced < -length - GRAIN:
        return TimeLeft(length, doubtful=True)
    return TimeLeft(max(0.0, announced), doubtful=moved)

"""Windows in which a service counts requests. The time is always an argument."""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from math import inf
from typing import Final

from attrs import field, frozen

from vcloud._core.arguments import configured, in_seconds, positive_integer, positive_seconds
from vcloud._core.limits.headers import Limits
from vcloud._core.model import Model
from vcloud._core.timing.server_clock import time_left


@frozen
class RateLimit(Model):
    """A rate limit that you know and that the service does not announce.

    Args:
        requests: how many are allowed in any ``per`` seconds.
        per: the length of the window; seconds or timedelta.
        bucket: which requests it counts. ``"login"`` are logins: of StreamSpace, or of an
            :class:`~vcloud.Auth` of your own. ``"create"`` are new sessions of StreamSpace. ``""``
            are all other requests.
    """

    requests: int = field(validator=configured(positive_integer))
    per: float = field(converter=in_seconds, validator=configured(positive_seconds))
    bucket: str = ""


class ConfiguredWindow:
    """A sliding window that the user configured. Times are seconds of one monotonic clock.

    The service counts a request at some time between its start and its answer. Therefore this
    window counts it from its start until ``per`` seconds after its answer::

        sent            answered            answered + per
          |--- in flight ---|--- in the window ---|

    Args:
        rule: the limit.
    """

    __slots__ = ("_answered", "_in_flight", "_per", "_requests")

    def __init__(self, rule: RateLimit) -> None:
        self._requests, self._per = rule.requests, rule.per
        self._in_flight = 0
        # When each request in the window had its answer, the oldest first.
        self._answered: deque[float] = deque()

    def delay(self, now: float) -> float:
        """Seconds until one request may be sent: 0 now, infinity after some answer."""
        answered = self._answered
        while answered and answered[0] + self._per <= now:
            answered.popleft()
        if len(answered) + self._in_flight < self._requests:
            return 0.0
        return answered[0] + self._per - now if answered else inf

    def sent(self) -> None:
        """Count a request before it is sent."""
        self._in_flight += 1

    def ended(self, now: float, *, counted: bool) -> None:
        """Note that a request has ended. Not ``counted``: it never reached the service."""
        self._in_flight -= 1
        if counted:
            self._answered.append(now)

    @property
    def used(self) -> int:
        """How many ended requests are in the window, as of the last :meth:`delay`."""
        return len(self._answered)


class WindowState(Enum):
    """What is known about the current window of a service that announces its limits."""

    #: Its limit is the documented one. No answer has confirmed it.
    UNCONFIRMED = auto()
    #: An answer announced its end, and how many requests are left in it.
    ANNOUNCED = auto()
    #: The announced window is over. No answer has announced the end of this one.
    ASSUMED = auto()


class AnnouncedWindow:
    """A window that the service announces in its answers. Times are seconds of one monotonic clock.

    A window begins with the first request that the service counts after the end of the one before::

        created    answer               it ends              answer
            |--------|--------------------|--------------------|---------------
           UNCONFIRMED    ANNOUNCED             ASSUMED            ANNOUNCED

    An unconfirmed window that ends without an answer is followed by another one. Estimates
    are cautious, so that the service has no reason to refuse: it may count a request that is in
    flight at the end of a window in either window.

    Args:
        limit: how many requests a window allows; 0: not known.
        length: how long a window lasts, in seconds.
        in_flight: how many requests have been sent and have not ended.
        documented: whether ``length`` is documented.
    """

    __slots__ = (
        "_documented",
        "_ends",
        "_in_flight",
        "_length",
        "_limit",
        "_previous_end",
        "_remaining",
        "state",
        "uncertain",
    )

    def __init__(
        self, limit: int, length: float, in_flight: int = 0, *, documented: bool = False
    ) -> None:
        self.state = WindowState.UNCONFIRMED
        #: Whether it may end at another time, because a clock was set or is wrong.
        self.uncertain = False
        # The documented length, or the one that was seen before a clock was set.
        self._documented = length if documented else None
        self._limit, self._length, self._in_flight = limit, length, in_flight
        self._remaining = 0
        self._ends = self._previous_end = -inf

    def delay(self, now: float) -> float:
        """Seconds until one request may be sent."""
        if now >= self._ends:
            self._begin(now)
        return self._ends - now if self._remaining <= 0 else 0.0

    def sent(self) -> None:
        """Count a request before it is sent."""
        self._in_flight += 1
        self._remaining -= 1

    def ended(self, *, counted: bool) -> None:
        """Note that a request has ended. Not ``counted``: it never reached the service."""
        self._in_flight -= 1
        if not counted:
            self._give_back()

    def is_over(self, now: float) -> bool:
        """Whether its end has passed."""
        return now >= self._ends

    def announced(self, seen: Limits, now: float, *, moved: bool = False) -> None:
        """Note what an answer announced. Its request has not ended yet.

        Args:
            seen: the limits in its headers.
            now: when the answer arrived.
            moved: whether the service's clock or ours was set since the previous answer.
        """
        unconfirmed = self.state is WindowState.UNCONFIRMED
        if moved and not unconfirmed and self._documented is None:
            self._documented = self._length
        left = time_left(
            (seen.reset_in or 0.0) - seen.overdue,
            documented=self._documented,
            seen=None if unconfirmed else self._length,
            moved=moved,
        )
        self.uncertain |= left.uncertain
        length = left.seconds or _SHORTEST
        ends = now + length
        limit = seen.limit or max(self._limit, seen.remaining + 1)
        same = min(_SAME_WINDOW, self._length / 4)
        others = self._in_flight - 1
        if ends <= self._previous_end + same:
            # The service counted it in the previous window, and this one need not count it.
            self._give_back()
            return
        if limit != self._limit:
            # Those in flight were sent under another limit. The service may count them later.
            self._remaining, self._ends = seen.remaining - others, ends
        elif self.state is not WindowState.ANNOUNCED:
            self._remaining, self._ends = min(self._remaining, seen.remaining), ends
        elif ends <= self._ends + same:
            # Answers may overtake each other, so the smallest remainder counts. Estimates of the
            # end are never too early, so the earliest counts.
            self._remaining = min(self._remaining, seen.remaining)
            self._ends = min(self._ends, ends)
        else:
            self._previous_end, self._ends = self._ends, ends
            self._remaining = seen.remaining - others
        self._length = length if unconfirmed else max(self._length, length)
        self._limit, self.state = limit, WindowState.ANNOUNCED

    def _begin(self, now: float) -> None:
        self._previous_end, self._ends = self._ends, now + self._length
        self._remaining = self._limit - self._in_flight
        self.uncertain = False
        if self.state is WindowState.ANNOUNCED:
            self.state = WindowState.ASSUMED

    def _give_back(self) -> None:
        self._remaining = min(self._remaining + 1, self._limit)


#: Seconds. Estimates of one window's end differ by the headers' resolution and by travel time.
_SAME_WINDOW: Final = 2.0
#: The fewest seconds that a window lasts after an answer announced its end.
_SHORTEST: Final = 1e-3

"""Windows in which a service counts requests. Time comes in as arguments."""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from math import inf
from typing import Final

from attrs import field, frozen

from vcloud._core.arguments import configured, in_seconds, positive_integer, positive_seconds
from vcloud._core.limits.headers import Limits
from vcloud._core.timing.server_clock import time_left


@frozen
class RateLimit:
    """A limit of the service that it does not announce by itself, but that you know.

    Args:
        requests: how many are allowed in any ``per`` seconds.
        per: the length of the window; seconds or timedelta.
        bucket: which requests it counts. StreamSpace counts ``"login"`` and ``"create"`` (new
            sessions) apart; ``""`` are all others, and everything at the other providers but a
            login that an :class:`~vcloud.Auth` of your own makes.
    """

    requests: int = field(validator=configured(positive_integer))
    per: float = field(converter=in_seconds, validator=configured(positive_seconds))
    bucket: str = ""


class ConfiguredWindow:
    """A sliding window that the user configured. Times are seconds of one monotonic clock.

    The service counts a request at some moment between its start and its answer. So it counts here
    from its start until ``per`` seconds after its answer::

        sent            answered            answered + per
          |--- in flight ---|--- in the window ---|

    Args:
        rule: how many in how long.
    """

    __slots__ = ("_answered", "_in_flight", "_per", "_requests")

    def __init__(self, rule: RateLimit) -> None:
        self._requests, self._per = rule.requests, rule.per
        self._in_flight = 0
        # When those in the window had their answers, the oldest first.
        self._answered: deque[float] = deque()

    def delay(self, now: float) -> float:
        """Seconds until one more may go; infinity when an answer has to come first."""
        answered = self._answered
        while answered and answered[0] + self._per <= now:
            answered.popleft()
        if len(answered) + self._in_flight < self._requests:
            return 0.0
        return answered[0] + self._per - now if answered else inf

    def sent(self) -> None:
        """One goes out."""
        self._in_flight += 1

    def ended(self, now: float, *, counted: bool) -> None:
        """One has ended. Not ``counted``: it never reached the service."""
        self._in_flight -= 1
        if counted:
            self._answered.append(now)

    @property
    def used(self) -> int:
        """How many of those that have ended are in the window, as of the last question."""
        return len(self._answered)


class WindowState(Enum):
    """What is known of the present window of a service that announces its limits."""

    #: What the documents say. No answer has confirmed it.
    PROMISED = auto()
    #: An answer said how many are left in it, and when it ends.
    ANNOUNCED = auto()
    #: The announced one has passed. No answer has said when this one ends.
    ASSUMED = auto()


class AnnouncedWindow:
    """A window that the service announces in its answers. Times are seconds of one monotonic clock.

    The service begins one with the first request that it counts, and the next one after its end::

        documents  answer               it ends              answer
            |--------|--------------------|--------------------|---------------
             PROMISED      ANNOUNCED             ASSUMED            ANNOUNCED

    A promised window that passes without an answer is followed by another promised one. What is not
    known is guessed such that the service has no reason to refuse: requests in flight may be
    counted on either side of an end.

    Args:
        limit: how many it allows; 0: not known.
        length: how long one lasts, in seconds.
        in_flight: how many have been sent already, and have not ended.
        documented: whether the documents say how long one lasts.
    """

    __slots__ = (
        "_documented",
        "_ends",
        "_in_flight",
        "_length",
        "_limit",
        "_previous_end",
        "_remaining",
        "doubtful",
        "state",
    )

    def __init__(
        self, limit: int, length: float, in_flight: int = 0, *, documented: bool = False
    ) -> None:
        self.state = WindowState.PROMISED
        #: Whether it may end at another time, because a clock was moved or is wrong.
        self.doubtful = False
        # What one lasts, by the documents, or by what was seen before a clock was moved.
        self._documented = length if documented else None
        self._limit, self._length, self._in_flight = limit, length, in_flight
        self._remaining = 0
        self._ends = self._previous_end = -inf

    def delay(self, now: float) -> float:
        """Seconds until one more may go."""
        if now >= self._ends:
            self._begin(now)
        return self._ends - now if self._remaining <= 0 else 0.0

    def sent(self) -> None:
        """One goes out."""
        self._in_flight += 1
        self._remaining -= 1

    def ended(self, *, counted: bool) -> None:
        """One has ended. Not ``counted``: it never reached the service."""
        self._in_flight -= 1
        if not counted:
            self._give_back()

    def is_over(self, now: float) -> bool:
        """Whether its end has passed."""
        return now >= self._ends

    def announced(self, seen: Limits, now: float, *, moved: bool = False) -> None:
        """An answer said how it stands. It is one of those that have not ended.

        Args:
            seen: what its headers said.
            now: when it came.
            moved: whether the service's clock, or ours, was moved since the answer before.
        """
        promised = self.state is WindowState.PROMISED
        if moved and not promised and self._documented is None:
            self._documented = self._length
        left = time_left(
            (seen.reset_in or 0.0) - seen.overdue,
            documented=self._documented,
            seen=None if promised else self._length,
            moved=moved,
        )
        self.doubtful |= left.doubtful
        length = left.seconds or _SHORTEST
        ends = now + length
        limit = seen.limit or max(self._limit, seen.remaining + 1)
        same = min(_SAME_WINDOW, self._length / 4)
        others = self._in_flight - 1
        if ends <= self._previous_end + same:
            # Counted in the window before, although this one was charged for it.
            self._give_back()
            return
        if limit != self._limit:
            # Those in flight were sent for another limit, and may be counted after this answer.
            self._remaining, self._ends = seen.remaining - others, ends
        elif self.state is not WindowState.ANNOUNCED:
            self._remaining, self._ends = min(self._remaining, seen.remaining), ends
        elif ends <= self._ends + same:
            # Of answers that overtake each other the scarcest counts. Estimates of the end are
            # never too early, so the earliest counts.
            self._remaining = min(self._remaining, seen.remaining)
            self._ends = min(self._ends, ends)
        else:
            self._previous_end, self._ends = self._ends, ends
            self._remaining = seen.remaining - others
        self._length = length if promised else max(self._length, length)
        self._limit, self.state = limit, WindowState.ANNOUNCED

    def _begin(self, now: float) -> None:
        self._previous_end, self._ends = self._ends, now + self._length
        self._remaining = self._limit - self._in_flight
        self.doubtful = False
        if self.state is WindowState.ANNOUNCED:
            self.state = WindowState.ASSUMED

    def _give_back(self) -> None:
        self._remaining = min(self._remaining + 1, self._limit)


#: Seconds; estimates of one window's end differ by the grain of the headers and by travel time.
_SAME_WINDOW: Final = 2.0
#: Seconds that a window lasts at least whose end is said to have come.
_SHORTEST: Final = 1e-3

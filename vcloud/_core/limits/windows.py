"""How much may be sent, and when. Time comes in as arguments."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from math import inf

import msgspec
from attrs import field, frozen

from vcloud._core.arguments import seconds
from vcloud._core.limits.headers import REMAINING, Limits, ServerClock, limits
from vcloud.errors import InvalidArgumentError


@frozen
class RateLimit:
    """A limit of the service that it does not announce by itself, but that you know.

    Args:
        requests: how many are allowed in any ``per`` seconds.
        per: the length of the window; seconds or timedelta.
        bucket: which requests it counts. StreamSpace counts ``"login"`` and ``"create"`` (new sessions) apart; ``""`` are
            all others, and everything at the other providers but a login that an :class:`~vcloud.Auth` of your own makes.
    """

    requests: int
    per: float = field(converter=seconds)
    bucket: str = ""

    def __attrs_post_init__(self) -> None:
        if type(self.requests) is not int or self.requests < 1 or self.per <= 0:
            raise InvalidArgumentError(
                f"a RateLimit needs a whole number of requests, at least 1, in more than 0 seconds; not {self.requests!r} in {self.per:g}"
            )


class _Window(msgspec.Struct):
    """What a limit that the service announces still allows until ``ends``."""

    limit: int
    #: How long one lasts, as far as is known.
    length: float
    left: int = 0
    ends: float = -inf
    #: The end of the window before. An answer that was counted then says nothing about this one.
    before: float = -inf
    #: The service has not yet said when this one ends.
    expected: bool = True
    announced: bool = False

    def renew(self, now: float, in_flight: int) -> None:
        # Those under way may be counted on either side of the turn; the careful guess is this one.
        self.before, self.ends = self.ends, now + self.length
        self.left, self.expected = self.limit - in_flight, True

    def give(self) -> None:
        self.left = min(self.left + 1, self.limit)

    def note(self, seen: Limits, now: float, in_flight: int) -> None:
        length = seen.reset_in or 1e-3
        ends = now + length
        limit = seen.limit or max(self.limit, seen.remaining + 1)
        same = min(_SAME_WINDOW, self.length / 4)
        if ends <= self.before + same:
            self.give()  # counted in the window before, though it was set down for this one
            return
        if limit != self.limit:
            # Not what was reckoned with. Those under way may be counted later than this answer.
            self.left, self.ends = seen.remaining - in_flight, ends
        elif self.expected:
            self.left, self.ends = min(self.left, seen.remaining), ends
        elif ends <= self.ends + same:
            # Of answers that overtake each other the scarcest counts; of estimates that are never early, the earliest.
            self.left, self.ends = min(self.left, seen.remaining), min(self.ends, ends)
        else:
            self.before, self.ends, self.left = self.ends, ends, seen.remaining - in_flight
        self.length = max(self.length, length) if self.announced else length
        self.limit, self.expected, self.announced = limit, False, True


#: Estimates of one window's end differ by the grain of the headers and by travel time.
_SAME_WINDOW = 2.0


class Allowance:
    """What one bucket may send, and when: a configured limit, an announced one, and pauses. All times are monotonic.

    A request under way counts from before it is sent until it is answered and beyond, so that a burst cannot pass a limit
    that is known.

    Args:
        rule: the configured limit.
        expected: what the documents promise, until the first answer says it better.
    """

    __slots__ = (
        "_cautious",
        "_clock",
        "_paused",
        "_probe",
        "_refused",
        "_rule",
        "_spent",
        "_taken",
        "_window",
        "bounded",
        "in_flight",
    )

    def __init__(self, rule: RateLimit | None = None, expected: RateLimit | None = None) -> None:
        self._rule = rule
        #: When those that the rule counts had their answer: the service counted them no later.
        self._spent: deque[float] = deque()
        self._window: _Window | None = None
        if expected is not None:
            self._window = _Window(expected.requests, expected.per)
        self._clock = ServerClock()
        #: How many are under way.
        self.in_flight = 0
        self._paused = -inf
        # After a refusal one goes ahead, and the others follow only when it was let in. What was on its way before says nothing.
        self._cautious = False
        self._taken = self._refused = self._probe = 0
        #: False while nothing is known that could keep anybody waiting: then there is no need to ask.
        self.bounded = rule is not None or expected is not None

    def delay(self, now: float) -> float:
        """Seconds until one more may go: 0 when it may go now, infinity when an answer has to come first."""
        if not self.bounded:
            return 0.0
        wait = max(0.0, self._paused - now)
        if not wait and self._cautious and self._probe:
            return inf
        if (window := self._window) is not None:
            if now >= window.ends:
                window.renew(now, self.in_flight)
            if window.left <= 0:
                wait = max(wait, window.ends - now)
        if (rule := self._rule) is not None:
            while self._spent and self._spent[0] + rule.per <= now:
                self._spent.popleft()
            if len(self._spent) + self.in_flight >= rule.requests:
                wait = max(wait, self._spent[0] + rule.per - now) if self._spent else inf
        return wait

    def pauses(self, now: float) -> bool:
        """Whether it is a refusal of the service that keeps the next one waiting."""
        return self._paused > now or (self._cautious and self._probe > 0)

    def take(self) -> int:
        """One goes out now. Gives its number, from 1."""
        self.in_flight += 1
        self._taken += 1
        if self.bounded:
            if self._cautious:
                self._probe = self._taken
            if self._window is not None:
                self._window.left -= 1
        return self._taken

    def done(self, now: float, number: int = 0, *, counted: bool = True) -> None:
        """One that went out has ended. Not ``counted``: it never reached the service."""
        self.in_flight -= 1
        if self.bounded:
            if number == self._probe:
                self._probe = 0
            if not counted and self._window is not None:
                self._window.give()
            if counted and self._rule is not None:
                self._spent.append(now)

    def note(
        self,
        headers: Mapping[str, str],
        now: float,
        wall: float,
        number: int = 0,
        *,
        good: bool = True,
    ) -> None:
        """Learn from an answer that is no refusal for its number.

        Args:
            headers: the answer's.
            now: monotonic seconds.
            wall: our Unix time.
            number: what :meth:`take` gave.
            good: the service itself answered, and not a gateway before it.
        """
        if self._cautious and number > self._refused:
            self._cautious = False
        if self._window is not None or REMAINING in headers:
            self._read(headers, now, wall, good=good)

    def pause(self, seconds: float, headers: Mapping[str, str], now: float, wall: float) -> None:
        """The service refused: nobody sends for this long. A shorter pause never ends a longer one."""
        self._paused = max(self._paused, now + seconds)
        self._cautious = self.bounded = True
        self._refused = self._taken
        self._read(headers, now, wall, good=False)

    def _read(self, headers: Mapping[str, str], now: float, wall: float, *, good: bool) -> None:
        seen = limits(headers, now=self._clock.read(headers, now) or wall)
        if seen is not None and seen.reset_in is not None:
            if self._window is None:
                self._window = _Window(0, seen.reset_in)
                self.bounded = True
            self._window.note(seen, now, self.in_flight - 1)
        elif good and self._window is not None and not self._window.announced:
            self._window = None  # the documents promise a limit that this service does not have

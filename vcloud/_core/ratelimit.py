"""What the service says about its limits, and how much may go when. Time comes in as arguments."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from math import inf
from typing import Final

import msgspec
from attrs import field, frozen

from vcloud._core.arguments import seconds
from vcloud._core.server_clock import ServerClock, moment, server_time, time_left
from vcloud.errors import InvalidArgumentError

#: The header without which the others say nothing.
REMAINING: Final = "X-RateLimit-Remaining"


class Limits(msgspec.Struct, frozen=True):
    """The limit headers of one answer; times are seconds from when it was received."""

    remaining: int
    limit: int | None = None
    reset_in: float | None = None
    #: Seconds since the end that was announced, where it has passed.
    overdue: float = 0.0


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds asked for by ``Retry-After`` (seconds or HTTP date) or ``Retry-After-Ms``; ``now`` is Unix time."""
    for name, unit in (("Retry-After-Ms", 1000), ("Retry-After", 1)):
        asked = _number(text := headers.get(name))
        if asked is None and text is not None and text.isascii() and text.isdecimal():
            asked = MAX_RETRY_AFTER * unit  # too long to reckon with, but not to be undercut
        if asked is not None:
            return _bounded(asked / unit)
    at = moment(headers.get("Retry-After"))
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
    # A whole second may have been rounded down, and a request that comes too early is refused.
    left = None if reset is None else reset + reset.is_integer() - now
    return Limits(
        remaining=max(0, int(remaining)),
        # None at all, or less, is how some gateways say that there is no limit.
        limit=None if limit is None or limit < 1 else int(limit),
        reset_in=None if left is None else _window_length(left),
        overdue=0.0 if left is None else max(0.0, -left),
    )


def _window_length(seconds: float) -> float | None:
    return max(0.0, seconds) if seconds <= MAX_WINDOW else None


def _number(text: str | None) -> float | None:
    # float() takes more: underscores, digits of other scripts, nan, a text of any length.
    if text is None or not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if abs(value) < _FOREVER else None


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
    #: What the documents say that it lasts, or else what was seen before a clock was moved; None:
    #: neither.
    documented: float | None = None
    #: Whether it may end at another time: then one request asks.
    doubtful: bool = False

    def renew(self, now: float, flying: int) -> None:
        # Those under way may be counted on either side of the turn; the careful guess is this one.
        self.before, self.ends = self.ends, now + self.length
        self.left, self.expected = self.limit - flying, True
        self.doubtful = False

    def give(self) -> None:
        self.left = min(self.left + 1, self.limit)

    def note(self, seen: Limits, now: float, flying: int, *, moved: bool) -> None:
        if moved and self.announced and self.documented is None:
            self.documented = self.length
        left, doubtful = time_left(
            (seen.reset_in or 0.0) - seen.overdue,
            documented=self.documented,
            seen=self.length if self.announced else None,
            moved=moved,
        )
        self.doubtful |= doubtful
        length = left or 1e-3
        ends = now + length
        limit = seen.limit or max(self.limit, seen.remaining + 1)
        same = min(_SAME_WINDOW, self.length / 4)
        if ends <= self.before + same:
            self.give()  # counted in the window before, though it was set down for this one
            return
        if limit != self.limit:
            # Not what was reckoned with. Those under way may be counted later than this answer.
            self.left, self.ends = seen.remaining - flying, ends
        elif self.expected:
            self.left, self.ends = min(self.left, seen.remaining), ends
        elif ends <= self.ends + same:
            # Of answers that overtake each other the scarcest counts; of estimates that are never early, the earliest.
            self.left, self.ends = min(self.left, seen.remaining), min(self.ends, ends)
        else:
            self.before, self.ends, self.left = self.ends, ends, seen.remaining - flying
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
        "flying",
    )

    def __init__(self, rule: RateLimit | None = None, expected: RateLimit | None = None) -> None:
        self._rule = rule
        #: When those that the rule counts had their answer: the service counted them no later.
        self._spent: deque[float] = deque()
        self._window: _Window | None = None
        if expected is not None:
            self._window = _Window(expected.requests, expected.per, documented=expected.per)
        self._clock = ServerClock()
        #: How many are under way.
        self.flying = 0
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
                if window.doubtful:
                    self._cautious, self._refused = True, self._taken
                window.renew(now, self.flying)
            if window.left <= 0:
                wait = max(wait, window.ends - now)
        if (rule := self._rule) is not None:
            while self._spent and self._spent[0] + rule.per <= now:
                self._spent.popleft()
            if len(self._spent) + self.flying >= rule.requests:
                wait = max(wait, self._spent[0] + rule.per - now) if self._spent else inf
        return wait

    def take(self) -> int:
        """One goes out now. Gives its number, from 1."""
        self.flying += 1
        self._taken += 1
        if self.bounded:
            if self._cautious:
                self._probe = self._taken
            if self._window is not None:
                self._window.left -= 1
        return self._taken

    def done(self, now: float, number: int = 0, *, counted: bool = True) -> None:
        """One that went out has ended. Not ``counted``: it never reached the service."""
        self.flying -= 1
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
            self._window.note(seen, now, self.flying - 1, moved=self._clock.moved)
        elif good and self._window is not None and not self._window.announced:
            self._window = None  # the documents promise a limit that this service does not have

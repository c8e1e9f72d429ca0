"""All limits of one bucket together: whether a request may be sent now, and when otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from vcloud._core.limits.cooldown import Cooldown
from vcloud._core.limits.headers import REMAINING, limits
from vcloud._core.limits.windows import AnnouncedWindow, ConfiguredWindow, RateLimit, WindowState
from vcloud._core.timing.server_clock import ServerClock


class Allowance:
    """The limits of one bucket. Times are seconds of one monotonic clock.

    Three limits may delay a request: a configured window, a window that the service announces, and
    the cooldown after a 429. A request counts from before it is sent, so a burst cannot exceed a
    known limit. The caller reports each request in this order::

        delay(now) == 0  ->  sent(now)  ->  note(headers) or pause(seconds)  ->  ended(now)

    Args:
        rule: the configured limit.
        expected: the documented limit, which holds until the first answer.
    """

    __slots__ = (
        "_announced",
        "_clock",
        "_configured",
        "_cooldown",
        "_sent",
        "bounded",
        "in_flight",
        "refusals",
    )

    def __init__(self, rule: RateLimit | None = None, expected: RateLimit | None = None) -> None:
        self._configured = None if rule is None else ConfiguredWindow(rule)
        self._announced: AnnouncedWindow | None = None
        if expected is not None:
            self._announced = AnnouncedWindow(expected.requests, expected.per, documented=True)
        self._cooldown: Cooldown | None = None
        self._clock = ServerClock()
        self._sent = 0
        #: How many were sent and have not ended.
        self.in_flight: int = 0
        #: How often the service answered with a 429.
        self.refusals: int = 0
        #: False while no limit is known: :meth:`delay` need not be called then.
        self.bounded: bool = rule is not None or expected is not None

    def delay(self, now: float) -> float:
        """Seconds until one request may be sent: 0 now, infinity after some answer."""
        wait = 0.0
        if (cooldown := self._cooldown) is not None and (wait := cooldown.delay(now)) == inf:
            return inf
        if (announced := self._announced) is not None:
            if announced.uncertain and announced.is_over(now):
                self._begin_cooldown().require_probe(self._sent)
            if (more := announced.delay(now)) > wait:
                wait = more
        if (configured := self._configured) is not None and (more := configured.delay(now)) > wait:
            wait = more
        return wait

    def next_check(self, now: float) -> float:
        """Seconds after which to check an infinite delay again if no answer comes."""
        return inf if self._cooldown is None else self._cooldown.next_check(now)

    def pauses(self, now: float) -> bool:
        """Whether the next request waits for the end of a cooldown."""
        return self._cooldown is not None and self._cooldown.delay(now) > 0

    def paused_for(self, now: float) -> float:
        """Seconds until the next request may be sent after a 429, or until the next probe."""
        if self._cooldown is None:
            return 0.0
        delay = self._cooldown.delay(now)
        return self._cooldown.next_check(now) if delay == inf else delay

    @property
    def refused_since(self) -> float:
        """Since when the service has accepted no request; infinity: it accepts them."""
        return inf if self._cooldown is None else self._cooldown.refused_since

    @property
    def probing(self) -> bool:
        """Whether a probe after a 429 has no answer yet."""
        return self._cooldown is not None and self._cooldown.probing

    @property
    def used(self) -> int:
        """How many ended requests the configured window still counts."""
        return 0 if self._configured is None else self._configured.used

    def sent(self, now: float) -> int:
        """Count a request before it is sent. Returns its number, from 1."""
        if self._announced is not None:
            self._announced.sent()
        if self._configured is not None:
            self._configured.sent()
        self.in_flight += 1
        self._sent += 1
        if self._cooldown is not None:
            self._cooldown.sent(now, self._sent)
        return self._sent

    def sent_unbounded(self) -> int:
        """As :meth:`sent`, while no limit is known and the time does not matter."""
        self.in_flight += 1
        self._sent += 1
        return self._sent

    def ended(self, now: float, number: int = 0, *, counted: bool = True) -> None:
        """Note that a request has ended. Not ``counted``: it never reached the service."""
        self.in_flight -= 1
        if self._cooldown is not None:
            self._cooldown.ended(number)
        if self._announced is not None:
            self._announced.ended(counted=counted)
        if self._configured is not None:
            self._configured.ended(now, counted=counted)

    def note(
        self,
        headers: Mapping[str, str],
        now: float,
        wall: float,
        number: int = 0,
        *,
        good: bool = True,
    ) -> None:
        """Note the limits that an answer announces. The answer is no 429.

        Args:
            headers: the answer's.
            now: when it came.
            wall: our Unix time.
            number: what :meth:`sent` gave.
            good: the service itself answered, not a gateway in front of it.
        """
        if self._cooldown is not None and self._cooldown.accepted(number):
            self._cooldown = None
        if self._announced is not None or REMAINING in headers:
            self._read(headers, now, wall, good=good)
        self._set_bounded()

    def pause(self, seconds: float, headers: Mapping[str, str], now: float, wall: float) -> None:
        """Note a 429: nothing is sent for so many seconds."""
        self._begin_cooldown().refused(now, seconds, self._sent)
        self.refusals += 1
        self._read(headers, now, wall, good=False)
        self._set_bounded()

    def forget_documented(self) -> None:
        """The service has none of the documented limits. One that an answer announced holds."""
        if self._announced is not None and self._announced.state is WindowState.UNCONFIRMED:
            self._announced = None
            self._set_bounded()

    def _read(self, headers: Mapping[str, str], now: float, wall: float, *, good: bool) -> None:
        seen = limits(headers, now=self._clock.read(headers, now) or wall)
        if seen is not None and seen.reset_in is not None:
            if self._announced is None:
                self._announced = AnnouncedWindow(0, seen.reset_in, self.in_flight)
            self._announced.announced(seen, now, moved=self._clock.moved)
        elif (
            good
            and self._announced is not None
            and self._announced.state is WindowState.UNCONFIRMED
        ):
            self._announced = None  # the service does not announce the documented limit

    def _begin_cooldown(self) -> Cooldown:
        if self._cooldown is None:
            self._cooldown = Cooldown()
        return self._cooldown

    def _set_bounded(self) -> None:
        self.bounded = (
            self._announced is not None
            or self._configured is not None
            or self._cooldown is not None
        )

"""What the requests that one limit counts may do now: all that is known of it, together."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from vcloud._core.limits.cooldown import Cooldown
from vcloud._core.limits.headers import REMAINING, limits
from vcloud._core.limits.windows import AnnouncedWindow, ConfiguredWindow, RateLimit, WindowState
from vcloud._core.timing.server_clock import ServerClock


class Allowance:
    """What one bucket may send, and when. Times are seconds of one monotonic clock.

    Three things may forbid it: a window that was configured, a window that the service announces,
    and the cooldown after a refusal. A request counts from before it is sent, so that a burst
    cannot pass a limit that is known.

    Args:
        rule: the configured limit.
        expected: what the documents promise, until the first answer says how it is.
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
        self.in_flight = 0
        #: How often the service refused.
        self.refusals = 0
        #: False while nothing is known that could forbid anything: there is no need to ask.
        self.bounded = rule is not None or expected is not None

    def delay(self, now: float) -> float:
        """Seconds until one more may go: 0 now, infinity when an answer has to come first."""
        wait = 0.0
        if (cooldown := self._cooldown) is not None and (wait := cooldown.delay(now)) == inf:
            return inf
        if (announced := self._announced) is not None:
            if announced.doubtful and announced.is_over(now):
                self._cool_down().ask_first(self._sent)
            if (more := announced.delay(now)) > wait:
                wait = more
        if (configured := self._configured) is not None and (more := configured.delay(now)) > wait:
            wait = more
        return wait

    def next_look(self, now: float) -> float:
        """Where the delay is infinity: seconds after which to ask again, if no answer comes."""
        return inf if self._cooldown is None else self._cooldown.next_look(now)

    def pauses(self, now: float) -> bool:
        """Whether it is a refusal of the service that keeps the next one waiting."""
        return self._cooldown is not None and self._cooldown.delay(now) > 0

    def paused_for(self, now: float) -> float:
        """Seconds for which a refusal keeps the next one waiting, or until it is asked again."""
        if self._cooldown is None:
            return 0.0
        delay = self._cooldown.delay(now)
        return self._cooldown.next_look(now) if delay == inf else delay

    @property
    def refused_since(self) -> float:
        """Since when the service has let nobody in; infinity: it does."""
        return inf if self._cooldown is None else self._cooldown.since

    @property
    def probing(self) -> bool:
        """Whether the answer to the first request after a refusal has not come yet."""
        return self._cooldown is not None and self._cooldown.probing

    @property
    def used(self) -> int:
        """How many that have ended the configured window still counts."""
        return 0 if self._configured is None else self._configured.used

    def sent(self, now: float) -> int:
        """One goes out. Gives its number, from 1."""
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
        """The same while nothing is bounded, and the time does not matter."""
        self.in_flight += 1
        self._sent += 1
        return self._sent

    def ended(self, now: float, number: int = 0, *, counted: bool = True) -> None:
        """One that went out has ended. Not ``counted``: it never reached the service."""
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
        """Learn from an answer that is no refusal for its rate.

        Args:
            headers: the answer's.
            now: when it came.
            wall: our Unix time.
            number: what :meth:`sent` gave.
            good: the service itself answered, and not a gateway before it.
        """
        if self._cooldown is not None and self._cooldown.accepted(number):
            self._cooldown = None
        if self._announced is not None or REMAINING in headers:
            self._read(headers, now, wall, good=good)
        self._set_bounded()

    def pause(self, seconds: float, headers: Mapping[str, str], now: float, wall: float) -> None:
        """The service refused: nobody sends for this long."""
        self._cool_down().refused(now, seconds, self._sent)
        self.refusals += 1
        self._read(headers, now, wall, good=False)
        self._set_bounded()

    def _read(self, headers: Mapping[str, str], now: float, wall: float, *, good: bool) -> None:
        seen = limits(headers, now=self._clock.read(headers, now) or wall)
        if seen is not None and seen.reset_in is not None:
            if self._announced is None:
                self._announced = AnnouncedWindow(0, seen.reset_in, self.in_flight)
            self._announced.announced(seen, now, moved=self._clock.moved)
        elif good and self._announced is not None and self._announced.state is WindowState.PROMISED:
            self._announced = None  # this service does not keep what the documents promise

    def _cool_down(self) -> Cooldown:
        if self._cooldown is None:
            self._cooldown = Cooldown()
        return self._cooldown

    def _set_bounded(self) -> None:
        self.bounded = (
            self._announced is not None
            or self._configured is not None
            or self._cooldown is not None
        )

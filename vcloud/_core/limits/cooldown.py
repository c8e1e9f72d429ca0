"""The cooldown after a rejection for the rate (429), and the probes that find out if it is over."""

from __future__ import annotations

from enum import Enum, auto
from math import inf
from typing import Final

#: Seconds for which all other requests wait for the answer to a probe. Then the next probe is sent,
#: because one answer may take as long as its timeout. Answers that come later still count.
PROBE_TIMEOUT: Final = 2.0


class CooldownState(Enum):
    """Where a cooldown stands."""

    #: It does not restrict sending.
    OVER = auto()
    #: The service asked for a pause, which is not over. Nothing may be sent.
    PAUSED = auto()
    #: The pause is over. One request at a time probes whether the service accepts it.
    PROBING = auto()


class Cooldown:
    """The effect of a 429 on all requests of a bucket. Times are monotonic seconds.

    ::

        refused            it ends     a probe     2 s later    accepted
           |                  |           |            |            |
           |----- PAUSED -----|---------- PROBING -----|------------|-- OVER
                                          one          the next     all others

    The answer to any probe decides: an accepted probe ends the cooldown, and a refused one begins
    the next pause. If a probe ends without an answer, the next one may be sent at once. Requests
    that were sent before the refusal decide nothing.
    """

    __slots__ = ("_ends", "_newest", "_probe", "_probed_at", "refused_since", "state")

    def __init__(self) -> None:
        self.state = CooldownState.OVER
        #: When the service refused first since it last accepted a request; infinity: it did not.
        self.refused_since = inf
        self._ends = -inf
        # The newest request that had been sent when the service refused.
        self._newest = 0
        # The newest probe while it has no answer; 0: there is none.
        self._probe = 0
        self._probed_at = -inf

    def delay(self, now: float) -> float:
        """Seconds until one request may be sent: 0 now, infinity after some answer."""
        if self.state is CooldownState.PAUSED:
            if now < self._ends:
                return self._ends - now
            self.state, self._probe = CooldownState.PROBING, 0
        return inf if self._probe_time_left(now) > 0 else 0.0

    def next_check(self, now: float) -> float:
        """Seconds after which to check the delay again if no answer comes."""
        if self.state is CooldownState.PAUSED:
            return max(0.0, self._ends - now)
        return self._probe_time_left(now) or inf

    def sent(self, now: float, number: int) -> None:
        """Note that the request of this number is sent. Numbers rise."""
        if self.state is CooldownState.PROBING:
            self._probe, self._probed_at = number, now

    def refused(self, now: float, seconds: float, newest: int) -> None:
        """Begin a pause. A shorter pause never shortens a longer one.

        Args:
            now: when the service refused.
            seconds: how long it asked to wait.
            newest: the number of the newest request that has been sent.
        """
        self.refused_since = min(self.refused_since, now)
        self._ends = max(self._ends, now + seconds)
        self._newest = newest
        self.state = CooldownState.PAUSED

    def require_probe(self, newest: int) -> None:
        """Send one request as a probe before all others.

        Args:
            newest: the number of the newest request that has been sent.
        """
        self._newest = newest
        if self.state is CooldownState.OVER:
            self.state, self._probe = CooldownState.PROBING, 0

    def accepted(self, number: int) -> bool:
        """Note that this request was not refused for its rate; whether the cooldown is over."""
        if self.state is CooldownState.PROBING and number > self._newest:
            self.state, self.refused_since, self._probe = CooldownState.OVER, inf, 0
        return self.state is CooldownState.OVER

    def ended(self, number: int) -> None:
        """Note that this request has ended, with or without an answer."""
        if number == self._probe:
            self._probe = 0

    @property
    def probing(self) -> bool:
        """Whether a probe has no answer yet."""
        return self._probe > 0

    def _probe_time_left(self, now: float) -> float:
        if self.state is not CooldownState.PROBING or not self._probe:
            return 0.0
        return max(0.0, self._probed_at + PROBE_TIMEOUT - now)

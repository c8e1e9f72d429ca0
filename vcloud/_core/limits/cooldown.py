"""The pause after a refusal (429), and the requests that find out whether it is over."""

from __future__ import annotations

from enum import Enum, auto
from math import inf
from typing import Final

#: Seconds for which the others wait for the answer to a probe. Then the next one tries: the answer
#: to one request may take as long as its timeout, and says as much when it comes.
PROBE_SILENCE: Final = 2.0


class CooldownState(Enum):
    """Where a cooldown stands."""

    #: Nothing keeps anybody from sending.
    OVER = auto()
    #: The service asked for a pause, which lasts.
    PAUSED = auto()
    #: The pause has passed. One request at a time finds out whether the service accepts it.
    PROBING = auto()


class Cooldown:
    """What one refusal means for all requests of a bucket. Times are monotonic seconds.

    ::

        refused            it ends     a probe     2 s later    accepted
           |                  |           |            |            |
           |----- PAUSED -----|---------- PROBING -----|------------|-- OVER
                                          one          the next     all others

    An answer to any probe decides: an accepted one ends the cooldown, a refused one begins the next
    pause. A probe that ends without an answer makes room for the next one at once. What was sent
    before the refusal decides nothing.
    """

    __slots__ = ("_ends", "_newest", "_probe", "_probed_at", "since", "state")

    def __init__(self) -> None:
        self.state = CooldownState.OVER
        #: When the service refused for the first time since it let anybody in; infinity: not so.
        self.since = inf
        self._ends = -inf
        # The newest request that had been sent when the service refused.
        self._newest = 0
        # The newest probe, while it has no answer; 0: none.
        self._probe = 0
        self._probed_at = -inf

    def delay(self, now: float) -> float:
        """Seconds until one may go: 0 now, infinity when an answer has to come first."""
        if self.state is CooldownState.PAUSED:
            if now < self._ends:
                return self._ends - now
            self.state, self._probe = CooldownState.PROBING, 0
        return inf if self._silence_left(now) > 0 else 0.0

    def next_look(self, now: float) -> float:
        """Seconds after which to ask for the delay again although no answer came."""
        if self.state is CooldownState.PAUSED:
            return max(0.0, self._ends - now)
        return self._silence_left(now) or inf

    def sent(self, now: float, number: int) -> None:
        """The request of this number goes out. Numbers rise."""
        if self.state is CooldownState.PROBING:
            self._probe, self._probed_at = number, now

    def refused(self, now: float, seconds: float, newest: int) -> None:
        """The service asked for a pause. A shorter pause never ends a longer one.

        Args:
            now: when.
            seconds: how long.
            newest: the number of the newest request that has been sent.
        """
        self.since = min(self.since, now)
        self._ends = max(self._ends, now + seconds)
        self._newest = newest
        self.state = CooldownState.PAUSED

    def ask_first(self, newest: int) -> None:
        """It is not known whether the service accepts anything: one request is to find out.

        Args:
            newest: the number of the newest request that has been sent.
        """
        self._newest = newest
        if self.state is CooldownState.OVER:
            self.state, self._probe = CooldownState.PROBING, 0

    def accepted(self, number: int) -> bool:
        """The service did not refuse this request for its rate; whether the cooldown is over."""
        if self.state is CooldownState.PROBING and number > self._newest:
            self.state, self.since, self._probe = CooldownState.OVER, inf, 0
        return self.state is CooldownState.OVER

    def ended(self, number: int) -> None:
        """This request has ended, answered or not."""
        if number == self._probe:
            self._probe = 0

    @property
    def probing(self) -> bool:
        """Whether a probe has no answer yet."""
        return self._probe > 0

    def _silence_left(self, now: float) -> float:
        if self.state is not CooldownState.PROBING or not self._probe:
            return 0.0
        return max(0.0, self._probed_at + PROBE_SILENCE - now)

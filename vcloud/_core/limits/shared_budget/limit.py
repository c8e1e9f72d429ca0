"""One shared limit in this process: the requests that it admitted, and those that wait."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import msgspec

from vcloud._core.limits.shared_budget.counter import Claim


class Window:
    """The requests that this process admitted under one limit. Times are monotonic seconds.

    Args:
        requests: how many may be admitted within one window.
        length: how long the window is, in seconds.
    """

    __slots__ = ("_length", "_times")

    def __init__(self, requests: int, length: float) -> None:
        # The first must leave the window before another request may be sent.
        self._times: deque[float] = deque(maxlen=requests)
        self._length = length

    def delay(self, now: float) -> float:
        """Seconds until one more request may be sent; 0: now."""
        times = self._times
        return max(0.0, times[0] + self._length - now) if len(times) == times.maxlen else 0.0

    def take(self, now: float) -> None:
        """Count a request."""
        self._times.append(now)


class Limit(msgspec.Struct, eq=False):
    """One shared limit in this process."""

    requests: int
    #: Seconds.
    length: int
    #: The account, the provider, the bucket.
    name: tuple[str, str, str]
    window: Window
    #: How many urgent requests wait, and when the next of them asks again.
    urgent: int = 0
    urgent_at: float = -math.inf
    #: How many other requests wait and ask for themselves.
    calls: int = 0
    #: Return how many requests wait in each group of which one request asks for all.
    groups: list[Callable[[], int]] = msgspec.field(default_factory=list)
    #: How many of them the store knows of.
    reported: int = 0
    #: Whether the store keeps places for them or for urgent requests.
    queued: bool = False

    def waiting(self) -> int:
        """How many requests that are not urgent could be sent now if the limit allowed it."""
        return self.calls + sum(group() for group in self.groups)

    def claim(self, *, urgent: bool = False, max_wait: float = math.inf) -> Claim:
        """The question for the store."""
        return Claim(
            self.requests,
            self.length,
            self.name,
            urgent=urgent,
            waiting=self.waiting(),
            # The request that asks may be counted in it already.
            urgent_waiting=max(self.urgent, int(urgent)),
            max_wait=max_wait,
        )

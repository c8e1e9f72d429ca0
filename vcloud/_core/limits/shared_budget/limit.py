"""One configured limit as this process sees it: what it let in, and who waits."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import msgspec

from vcloud._core.limits.shared_budget.counter import Claim


class Window:
    """What this process let in under one limit. Times are monotonic seconds.

    Args:
        requests: how many may be let in within one window.
        length: how long the window is, in seconds.
    """

    __slots__ = ("_length", "_times")

    def __init__(self, requests: int, length: float) -> None:
        # The first is the one that has to leave the window before another may come.
        self._times: deque[float] = deque(maxlen=requests)
        self._length = length

    def delay(self, now: float) -> float:
        """Seconds until one more may go; 0: now."""
        times = self._times
        return max(0.0, times[0] + self._length - now) if len(times) == times.maxlen else 0.0

    def take(self, now: float) -> None:
        """One goes."""
        self._times.append(now)


class Limit(msgspec.Struct, eq=False):
    """One limit, as this process sees it."""

    requests: int
    #: Seconds.
    length: int
    #: The account, the provider, the bucket.
    name: tuple[str, str, str]
    window: Window
    #: How many urgent ones wait, and when the next of them will try.
    urgent: int = 0
    urgent_at: float = -math.inf
    #: How many that are not urgent wait for it, one by one.
    calls: int = 0
    #: What tells how many wait elsewhere, of whom one at a time comes here.
    crowds: list[Callable[[], int]] = msgspec.field(default_factory=list)
    #: How many of them the store knows of, and whether it keeps places for them or for urgent ones.
    announced: int = 0
    in_line: bool = False

    def waiting(self) -> int:
        """How many that are not urgent could go now if the limit allowed it."""
        return self.calls + sum(crowd() for crowd in self.crowds)

    def claim(self, *, urgent: bool = False, patience: float = math.inf) -> Claim:
        """What the store is asked."""
        return Claim(
            self.requests,
            self.length,
            self.name,
            urgent=urgent,
            waiting=self.waiting(),
            # The one that asks may be among them already.
            urgent_waiting=max(self.urgent, int(urgent)),
            patience=patience,
        )

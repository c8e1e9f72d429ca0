"""The one rate limit of the published StreamSpace server: 60 requests of agents in a minute."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Final

from vcloud.emulator.clock import Clock
from vcloud.emulator.streamspace.published.refusals import PublishedError

MOST: Final = 60
WINDOW: Final = 60.0
"""In simulated seconds."""


class AgentLimits:
    """Counts the requests of agents by address. `enabled` may be set at any time."""

    def __init__(self, clock: Clock, *, enabled: bool = True) -> None:
        """Begin without requests."""
        self.enabled: bool = enabled
        self._clock = clock
        self._seen: dict[str, deque[float]] = defaultdict(deque)

    def take(self, address: str) -> None:
        """Count one request.

        Raises:
            PublishedError: there were 60 in the last minute.
        """
        if not self.enabled:
            return
        now, seen = self._clock.now(), self._seen[address]
        while seen and seen[0] <= now - WINDOW:
            seen.popleft()
        if len(seen) >= MOST:
            raise PublishedError(
                429,
                "Rate limit exceeded",
                details="Too many requests. Please try again later.",
                retryAfter=60,
            )
        seen.append(now)

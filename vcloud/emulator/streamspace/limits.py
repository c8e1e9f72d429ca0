"""The documented rate limits: 5 logins, 10 new sessions and 100 others in a minute."""

from __future__ import annotations

import math

from attrs import define

from vcloud.emulator.clock import Clock

LIMITS = {"login": 5, "create": 10, "other": 100}
WINDOW = 60.0
"""In simulated seconds."""


@define
class Window:
    """The requests of one user, or one address, until `ends` (simulated time)."""

    limit: int
    ends: float
    used: int = 0


class RateLimits:
    """Counts requests by user or address. `enabled` may be set at any time."""

    def __init__(self, clock: Clock, *, enabled: bool = True) -> None:
        """Begin without requests."""
        self.enabled: bool = enabled
        self._clock = clock
        self._windows: dict[tuple[str, str], Window] = {}

    def take(self, bucket: str, who: str) -> tuple[dict[str, str], int | None]:
        """Count one request; its headers and, beyond the limit, the real seconds to wait."""
        if not self.enabled:
            return {}, None
        now = self._clock.now()
        window = self._windows.get((bucket, who))
        if window is None or now >= window.ends:
            window = self._windows[bucket, who] = Window(LIMITS[bucket], now + WINDOW)
        allowed = window.used < window.limit
        window.used += allowed
        # Clients wait in real time. For a stopped clock, the speed is taken as 1.
        speed = self._clock.speed or 1.0
        left = (window.ends - now) / speed
        reset = self._clock.wall() + left
        headers = {
            "X-RateLimit-Limit": str(window.limit),
            "X-RateLimit-Remaining": str(window.limit - window.used),
            # Whole seconds, as documented. At another speed, a minute may pass in less than one.
            "X-RateLimit-Reset": str(math.ceil(reset)) if speed == 1.0 else f"{reset:.6f}",
        }
        return headers, None if allowed else max(1, math.ceil(left))

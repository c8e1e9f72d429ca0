"""What the published StreamSpace server keeps in Redis, besides the logins."""

from __future__ import annotations

from typing import Final

from vcloud.emulator.clock import Clock

MOST: Final = 10_000
"""Answers that are kept; the oldest are dropped."""


class Cache:
    """Answers to GET requests, for some time: up to 30 s old for sessions, 5 min for templates.

    The key is the URL with its query, and the user. The server means to drop them when a session
    changes, but its pattern matches none of them: it matches the logins, and ends these.
    """

    def __init__(self, clock: Clock) -> None:
        """Begin with nothing."""
        self._clock = clock
        self._kept: dict[tuple[str, str], tuple[float, bytes]] = {}

    def find(self, url: str, user_id: str) -> bytes | None:
        """What this user was answered at this URL; None if that is too long ago."""
        until, body = self._kept.get((url, user_id), (0.0, b""))
        return body if until > self._clock.now() else None

    def keep(self, url: str, user_id: str, body: bytes, seconds: float) -> None:
        """Keep an answer for so many simulated seconds."""
        self._kept.pop((url, user_id), None)
        self._kept[url, user_id] = (self._clock.now() + seconds, body)
        if len(self._kept) > MOST:
            del self._kept[next(iter(self._kept))]

    def clear(self) -> None:
        """Forget every answer."""
        self._kept.clear()

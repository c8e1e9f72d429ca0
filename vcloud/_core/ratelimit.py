"""What the service says about its limits, and who may go when. Time comes in as arguments."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from attrs import define, field, frozen


@frozen
class Limits:
    """The limit headers of one answer; times are seconds from when it was received."""

    remaining: int
    limit: int | None = None
    reset_in: float | None = None


def server_time(headers: Mapping[str, str]) -> float | None:
    """The service's clock (Unix seconds) from its ``Date`` header."""
    try:
        return parsedate_to_datetime(headers["Date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return None


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds asked for by ``Retry-After`` (seconds or HTTP date) or ``Retry-After-Ms``; ``now`` is Unix time."""
    milliseconds = _number(headers.get("Retry-After-Ms"))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    value = headers.get("Retry-After")
    if value is None:
        return None
    number = _number(value)
    if number is not None:
        return max(0.0, number)
    try:
        at = parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError):
        return None
    # Both are the service's clock, so ours being wrong does no harm.
    return max(0.0, at - (server_time(headers) or now))


def limits(headers: Mapping[str, str], *, now: float) -> Limits | None:
    """Read ``X-RateLimit-Limit``, ``-Remaining`` and ``-Reset`` (Unix seconds); None when the service sends none."""
    remaining = _number(headers.get("X-RateLimit-Remaining"))
    if remaining is None:
        return None
    limit = _number(headers.get("X-RateLimit-Limit"))
    reset = _number(headers.get("X-RateLimit-Reset"))
    return Limits(
        remaining=max(0, int(remaining)),
        limit=None if limit is None else int(limit),
        reset_in=None if reset is None else max(0.0, reset - (server_time(headers) or now)),
    )


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and abs(value) < 1e12 else None


#: Reset times of one window differ by rounding and travel time; windows themselves are a minute apart.
_SAME_WINDOW = 2.0


@define
class _Window:
    """What is left of one limit until ``reset_at`` (monotonic seconds)."""

    remaining: int
    reset_at: float


@define
class Budget:
    """The limits that all tasks of one provider share: one 429 stops every new send, not just the unlucky task.

    A provider whose document counts some endpoints apart puts those requests into buckets of their own.
    """

    _windows: dict[str, _Window] = field(factory=dict)

    def delay(self, bucket: str, now: float) -> float:
        """Seconds until a request of this bucket may go; 0 when it may go now."""
        if not self._windows or (window := self._windows.get(bucket)) is None:
            return 0.0
        if now >= window.reset_at:
            # A new window begins: what it allows is learnt from its first answer.
            del self._windows[bucket]
            return 0.0
        return window.reset_at - now if window.remaining <= 0 else 0.0

    def take(self, bucket: str) -> None:
        """A request of this bucket goes out now."""
        if self._windows and (window := self._windows.get(bucket)) is not None:
            window.remaining -= 1

    def note(self, bucket: str, seen: Limits, now: float) -> None:
        """Learn from an answer. Of answers that overtake each other within one window the scarcest counts."""
        if seen.reset_in is None:
            return
        reset_at = now + seen.reset_in
        window = self._windows.get(bucket)
        if window is not None and window.reset_at > reset_at - _SAME_WINDOW:
            window.remaining = min(window.remaining, seen.remaining)
        else:
            self._windows[bucket] = _Window(seen.remaining, reset_at)

    def pause(self, bucket: str, seconds: float, now: float) -> None:
        """Nobody sends into this bucket for this long. A shorter pause never ends a longer one."""
        window = self._windows.get(bucket)
        until = now + seconds
        self._windows[bucket] = _Window(0, until if window is None else max(until, window.reset_at))

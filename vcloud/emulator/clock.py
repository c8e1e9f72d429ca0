"""The two times of an emulated service: its own, and the time of day.

One rule decides which of them is used. What the service *does* follows its own time: machines boot,
sessions and tokens end, rate limits start again. What a client compares with *its* clock is written
in the time of day: signatures, `Date`, the reset of a rate limit, the end of a token. So a test may
advance the clock by a month, run it a thousand times faster, or freeze the day: clients do not
renew their tokens for each call, and no signature is refused. Only `offset` has that effect, as the
wrong clock of a real service does. Clients correct for a clock skew of hours, but not of more than
a day.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, Literal, Self

Precision = Literal["seconds", "milliseconds", "microseconds"]

_SHIFT: ContextVar[float] = ContextVar("vcloud_emulator_clock_shift", default=0.0)


def _monotonic() -> Callable[[], float]:
    # Not time.monotonic where possible, because freezegun replaces it, and time would stand still.
    if hasattr(time, "clock_gettime"):
        return partial(time.clock_gettime, time.CLOCK_MONOTONIC)
    return time.monotonic


monotonic: Final[Callable[[], float]] = _monotonic()
"""Seconds from some point in the past, which no test can freeze."""


class Clock:
    """The time of an emulated service.

    `now()` is simulated time: machines boot, sessions last, links and tokens expire in it, and
    `speed` and `advance()` move it. A test that freezes or moves the day (freezegun, time-machine)
    does not. `wall()` is the service's time of day: the real one, or the one such a test has set.
    Signatures and the `Date` header are compared with it. The two are separate because clients sign
    with the time of day: an emulator that runs a hundred times faster must not refuse them after
    three seconds. `offset` (seconds, settable at any time) shifts the service's time of day, for
    tests of clock skew.
    """

    def __init__(self, speed: float = 1.0, *, offset: float = 0.0) -> None:
        """Start at the real time; `speed` simulated seconds pass in each real one."""
        if not math.isfinite(speed) or speed < 0:
            msg = f"speed must be a finite number of at least 0, not {speed!r}"
            raise ValueError(msg)
        self.speed: float = speed
        self.offset: float = offset
        self._start = time.time()
        self._origin = monotonic()
        self._advanced = 0.0
        self._lock = threading.Lock()
        self._sleepers: set[Callable[[], object]] = set()

    @classmethod
    def stopped(cls, at: float | None = None) -> Self:
        """A clock that stands at `at` (epoch seconds, default: the real time) until advanced.

        An action of a desktop that takes time (a `wait`, typed text, `sleep 5`) advances it.
        """
        clock = cls(speed=0.0)
        if at is not None:
            clock._start = at
        return clock

    def now(self) -> float:
        """The simulated time in epoch seconds."""
        return self._start + (monotonic() - self._origin) * self.speed + self._advanced

    def wall(self) -> float:
        """The service's time of day in epoch seconds: the real time shifted by `offset`."""
        return time.time() + self._off

    @contextmanager
    def shifted(self, seconds: float) -> Iterator[None]:
        """Add so many seconds to `offset`, for this task, inside the block."""
        token = _SHIFT.set(seconds)
        try:
            yield
        finally:
            _SHIFT.reset(token)

    @property
    def _off(self) -> float:
        return self.offset + _SHIFT.get()

    def advance(self, seconds: float | timedelta) -> None:
        """Advance simulated time by so many seconds, or by a timedelta; from any thread.

        What happens in that time has happened when this returns: machines are ready, or idle for
        long enough to stop. Commands that `sleep` go on. Clients measure their own waits in real
        time: a `wait_until` sees the change at its next poll.

        Raises:
            ValueError: it is negative, or not finite.
        """
        seconds = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
        if not math.isfinite(seconds) or seconds < 0:
            msg = f"time only moves forward: cannot advance by {seconds!r} s"
            raise ValueError(msg)
        with self._lock:
            self._advanced += seconds
            sleepers = tuple(self._sleepers)
        for wake in sleepers:
            # Its loop may have been closed meanwhile.
            with suppress(RuntimeError):
                wake()

    async def sleep(self, seconds: float) -> None:
        """Wait until so many simulated seconds have passed, by themselves or by `advance`."""
        loop, until = asyncio.get_running_loop(), self.now() + seconds
        advanced = asyncio.Event()
        wake = partial(loop.call_soon_threadsafe, advanced.set)
        with self._lock:
            self._sleepers.add(wake)
        try:
            while (left := until - self.now()) > 0:
                advanced.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(left / self.speed if self.speed else None):
                        await advanced.wait()
        finally:
            with self._lock:
                self._sleepers.discard(wake)

    def iso(self, at: float, timespec: Precision = "milliseconds") -> str:
        """A simulated instant as the service prints it: shifted by `offset`, in UTC, with a Z."""
        return written(at + self._off, timespec)


def written(at: float, timespec: Precision = "milliseconds") -> str:
    """A time of day, in epoch seconds, as the services print it: in UTC, with a Z."""
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec=timespec)
    return text.removesuffix("+00:00") + "Z"

"""Seconds that pass only while the event loop runs: what bounds the end of machines and agents.

A process that is stopped for half a minute, or a loop that somebody's code blocks, does nothing for
its cleanup meanwhile. By the clock on the wall the cleanup would be over before it began, and a
machine would go on at its owner's cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from vcloud._core.timing.timeouts import Alarm, Timeout, call_when_due

#: The longest slice, in seconds. A pause of the process costs a countdown one slice at most. Two
#: timers a second for each cleanup cost nothing beside the requests that it sends.
SLICE: Final = 0.5
#: A short countdown has at least so many slices, so that one pause costs it a small part.
SLICES: Final = 20


class Countdown:
    """Calls something when the event loop has run for so many seconds.

    The time is taken in slices, each with a timer of its own. A slice counts with its own length,
    however late its timer rings. Before the last one ends the countdown, the loop reads what has
    arrived (:class:`~vcloud._core.timing.timeouts.Alarm`).

    Args:
        seconds: 0 or more.
    """

    __slots__ = ("_began", "_left", "_length", "_loop", "_ring", "_slice", "_timer")

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._length = min(SLICE, seconds / SLICES)
        self._slice = 0.0
        self._began = 0.0
        self._timer: Alarm | asyncio.TimerHandle | None = None
        self._ring: Callable[[], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def left(self) -> float:
        """Seconds for which the loop still has to run."""
        return self._left - self._counted()

    def start(self, ring: Callable[[], None]) -> None:
        """Count from now on, unless it does already. When it is over, it rings in the next turn.

        Args:
            ring: what to call.
        """
        if self._timer is None:
            self._ring = ring
            self._begin_slice()

    def pause(self) -> None:
        """Do not count until it is started again."""
        if self._timer is not None:
            self._left = self.left
            self._timer.cancel()
            self._timer = self._ring = None

    def _begin_slice(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._slice = min(self._length, self._left)
        self._began = self._loop.time()
        due = self._began + self._slice
        if self._slice < self._left:
            self._timer = self._loop.call_at(due, self._slice_over)
        else:
            # The last one ends something, so what has arrived is read first.
            self._timer = call_when_due(self._loop, due, self._slice_over)

    def _counted(self) -> float:
        """What counts of the slice under way: at most its length, however long ago it began."""
        # A closed loop has no time: uvloop's would read memory that it gave back.
        if self._timer is None or self._loop is None or self._loop.is_closed():
            return 0.0
        return min(self._slice, max(0.0, self._loop.time() - self._began))

    def _slice_over(self) -> None:
        self._timer = None
        self._left -= self._slice
        if self._left > 0:
            self._begin_slice()
        elif self._ring is not None:
            ring, self._ring = self._ring, None
            ring()


class RunningTimeout(Timeout):
    """As :func:`asyncio.timeout`, but only the time in which the loop ran counts.

    Args:
        seconds: 0 or more.
    """

    __slots__ = ("_countdown",)

    def __init__(self, seconds: float) -> None:
        super().__init__(None)
        self._countdown = Countdown(seconds)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._countdown.start(self._ring)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._countdown.pause()
        await super().__aexit__(kind, error, traceback)


def timeout_running(seconds: float) -> RunningTimeout:
    """End with ``TimeoutError`` when the loop has run for so many seconds."""
    return RunningTimeout(seconds)


async def wait_running(tasks: Iterable[asyncio.Task[Any]], seconds: float) -> None:
    """Wait until all of these are over, or the loop has run for so many seconds."""
    with suppress(TimeoutError):
        async with timeout_running(seconds):
            await asyncio.wait(tasks)

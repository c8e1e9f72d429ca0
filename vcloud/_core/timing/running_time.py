"""Timeouts that count only the time in which the event loop runs, for cleanups.

If the process is stopped for half a minute, or other code blocks the loop, cleanups make no
progress. By the wall clock their timeout would pass before they began, and machines would keep
running at their owner's cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final, Self

from vcloud._core.timing.timeouts import DrainingTimer, Timeout, call_when_due

#: The longest slice in seconds: what one pause of the process costs a countdown at most. Two timers
#: a second for each cleanup cost nothing compared with the requests that it sends.
SLICE: Final = 0.5
#: The least number of slices of a short countdown, so that one pause costs it a small part only.
SLICES: Final = 20


class Countdown:
    """Calls a function when the event loop has run for so many seconds.

    The time is divided into slices, each with its own timer. A slice counts as its own length,
    however late its timer fires. Before the last slice ends, the loop reads what has arrived
    (:class:`~vcloud._core.timing.timeouts.DrainingTimer`).

    Args:
        seconds: 0 or more.
    """

    __slots__ = ("_callback", "_left", "_length", "_loop", "_slice", "_slice_began", "_timer")

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._length = min(SLICE, seconds / SLICES)
        self._slice = 0.0
        self._slice_began = 0.0
        self._timer: DrainingTimer | asyncio.TimerHandle | None = None
        self._callback: Callable[[], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def left(self) -> float:
        """Seconds for which the loop still has to run."""
        return self._left - self._counted()

    def start(self, callback: Callable[[], None]) -> None:
        """Start or resume the countdown. While it runs already, this does nothing.

        Args:
            callback: is called at the end, and never in this iteration of the loop.
        """
        if self._timer is None:
            self._callback = callback
            self._begin_slice()

    def pause(self) -> None:
        """Stop counting until :meth:`start` is called again."""
        if self._timer is not None:
            self._left = self.left
            self._timer.cancel()
            self._timer = self._callback = None

    def _begin_slice(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._slice = min(self._length, self._left)
        self._slice_began = self._loop.time()
        due = self._slice_began + self._slice
        if self._slice < self._left:
            self._timer = self._loop.call_at(due, self._end_slice)
        else:
            # The last slice ends the countdown, so what has arrived is read first.
            self._timer = call_when_due(self._loop, due, self._end_slice)

    def _counted(self) -> float:
        """How much of the current slice counts: at most its length, however long ago it began."""
        # A closed loop has no time: uvloop would read memory that it has freed.
        if self._timer is None or self._loop is None or self._loop.is_closed():
            return 0.0
        return min(self._slice, max(0.0, self._loop.time() - self._slice_began))

    def _end_slice(self) -> None:
        self._timer = None
        self._left -= self._slice
        if self._left > 0:
            self._begin_slice()
        elif self._callback is not None:
            callback, self._callback = self._callback, None
            callback()


class RunningTimeout(Timeout):
    """As :func:`asyncio.timeout`, but only the time in which the loop ran counts.

    Args:
        seconds: 0 or more.
    """

    __slots__ = ("_countdown",)

    def __init__(self, seconds: float) -> None:
        super().__init__(None)
        self._countdown = Countdown(seconds)

    @property
    def left(self) -> float:
        """Seconds for which the loop still has to run, or had to when the block was left."""
        return self._countdown.left

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._countdown.start(self._on_timer)
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._countdown.pause()
        await super().__aexit__(kind, error, traceback)


def timeout_running(seconds: float) -> RunningTimeout:
    """End with ``TimeoutError`` when the loop has run for so many seconds."""
    return RunningTimeout(seconds)


async def wait_running(tasks: Iterable[asyncio.Task[Any]], seconds: float) -> None:
    """Wait until all tasks are done, or the loop has run for so many seconds."""
    with suppress(TimeoutError):
        async with timeout_running(seconds):
            await asyncio.wait(tasks)

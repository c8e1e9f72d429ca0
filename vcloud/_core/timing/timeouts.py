"""Timeouts that do not drop answers which arrived while the event loop was blocked.

If a process is stopped (SIGSTOP, a suspended laptop) or other code blocks its loop, all its timers
are overdue afterwards, while answers that arrived in time are still unread in the sockets.
Therefore, when a timer fires late, the loop reads first, and what has arrived is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from enum import Enum
from typing import Final, Self

#: Seconds. If a timer fires later than this, the loop was busy or blocked. A loop with a few
#: thousand tasks is late by as much; checking for input then costs one callback.
LATE: Final = 0.02

#: How many iterations of the loop an overdue timer waits for at most. One iteration reads up to
#: 256 KiB from each socket. The head, the body and the end of an answer take three iterations.
MAX_ITERATIONS: Final = 64

#: The most seconds that it waits: thousands of connections may all have input.
GRACE: Final = 0.25

#: Seconds that one iteration counts for at most: if it took longer, the loop was blocked again.
LONGEST_ITERATION: Final = GRACE / 4

#: Seconds between two checks whether an incomplete answer grows. Its sender had to stop, too, when
#: the buffers were full. This is about the time of a round trip to another continent.
GROWTH_CHECK_INTERVAL: Final = GRACE / 3


def call_when_due(
    loop: asyncio.AbstractEventLoop,
    when: float,
    callback: Callable[[], None],
    *,
    context: Context | None = None,
    is_growing: Callable[[], bool] | None = None,
) -> DrainingTimer:
    """Call a function at a time of the loop's clock, but not before the loop has read its input.

    Args:
        loop: the event loop.
        when: seconds of its clock.
        callback: what to call.
        context: the context of the call; None: a copy of the current one.
        is_growing: a late timer calls it after its iterations. It returns whether more of what the
            callback would end has arrived since its last call. None: that is not known.

    Returns:
        The timer, which can be cancelled.
    """
    return DrainingTimer(loop, when, callback, context, is_growing)


class DrainingTimer:
    """A timer that waits until the loop has read what has arrived (drains the sockets).

    If it is on time, it fires in the next iteration of the loop. If it is late by more than
    :data:`LATE`, it first waits for :data:`MAX_ITERATIONS` iterations, or :data:`GRACE` seconds.

    **It always waits for these iterations**, whether anything arrives or not. Only an attempt knows
    whose bytes arrive for it. Most other timers (the deadline of a bulk run, the wait for another
    task's login) end work that has several connections, or none. An iteration without input takes
    some 10 µs, so all of them together take less than a millisecond. They take longer only beside
    busy connections: an attempt that hangs then ends up to a quarter of a second later.

    **An incomplete answer** may need more than iterations: its sender stopped when the buffers were
    full, and sends the rest after they were read. While such an answer grows (``is_growing``), the
    timer checks again every :data:`GROWTH_CHECK_INTERVAL`, within the same quarter of a second.

    **No result is dropped.** A task that is cancelled in the iteration in which its future got a
    result never sees that result. So the timer fires after all tasks that the input woke up, and
    before the next read. That is possible because asyncio runs the callbacks of timers after those
    of sockets, and the callbacks of :meth:`~asyncio.loop.call_soon` in the order of the calls.
    """

    __slots__ = (
        "_after_read",
        "_callback",
        "_context",
        "_handle",
        "_is_growing",
        "_iterations",
        "_last_run",
        "_left",
        "_loop",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        when: float,
        callback: Callable[[], None],
        context: Context | None,
        is_growing: Callable[[], bool] | None,
    ) -> None:
        # Only what is necessary: nearly all timers are cancelled.
        self._loop = loop
        self._callback = callback
        self._context = context
        self._is_growing = is_growing
        # When the loop was last known to run.
        self._last_run = when
        self._handle: asyncio.Handle = loop.call_at(when, self._due, context=context)

    def cancel(self) -> None:
        """Do not fire any more."""
        self._handle.cancel()

    def _due(self) -> None:
        self._iterations, self._left = MAX_ITERATIONS, GRACE
        # asyncio's timers fire after the sockets were read. Those of uvloop fire before that, and
        # uvloop has no timers of less than half a millisecond.
        self._after_read = 0.0 if isinstance(self._loop, asyncio.BaseEventLoop) else 0.001
        if self._after_read:
            self._read_on(self._after_read)
        else:
            self._all_read()

    def _read_on(self, seconds: float) -> None:
        """Continue with :meth:`_all_read` after so many seconds and another read."""
        when = self._loop.time() + seconds
        self._handle = self._loop.call_at(when, self._all_read, context=self._context)

    def _all_read(self) -> None:
        # After the tasks that the input woke up.
        self._handle = self._loop.call_soon(self._end, context=self._context)

    def _end(self) -> None:
        now = self._loop.time()
        if now - self._last_run > LATE and self._iterations > 0 and self._left > 0:
            self._last_run = now
            self._iterate()
        else:
            self._callback()

    def _iterate(self) -> None:
        now = self._loop.time()
        self._left -= min(now - self._last_run, LONGEST_ITERATION)
        self._last_run = now
        self._iterations -= 1
        if self._iterations > 0 and self._left > 0:
            self._handle = self._loop.call_soon(self._iterate, context=self._context)
        else:
            self._check_growth()

    def _check_growth(self) -> None:
        now = self._loop.time()
        self._left -= now - self._last_run
        self._last_run = now
        if self._left > 0 and self._is_growing is not None and self._is_growing():
            when = now + GROWTH_CHECK_INTERVAL
            self._handle = self._loop.call_at(when, self._check_growth, context=self._context)
        else:
            self._read_on(self._after_read)


class _State(Enum):
    CREATED = "created"
    ENTERED = "active"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    EXITED = "finished"


class Timeout:
    """As :class:`asyncio.Timeout`, with a :class:`DrainingTimer`.

    It does not wrap asyncio's, which cancels the task one iteration after it was rescheduled to the
    present: the loop may read an answer in between, and the cancellation would drop it. CPython's
    tests of ``asyncio.Timeout`` pass with this class.

    Args:
        when: seconds of the loop's clock; None: never.
    """

    __slots__ = ("_cancelling", "_state", "_task", "_timer", "_when")

    def __init__(self, when: float | None) -> None:
        self._when = when
        self._timer: DrainingTimer | asyncio.Handle | None = None
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._state = _State.CREATED

    def __repr__(self) -> str:
        when = self._when if self._when is None else round(self._when, 3)
        active = f" when={when}" if self._state is _State.ENTERED else ""
        return f"<Timeout [{self._state.value}]{active}>"

    def when(self) -> float | None:
        """When it expires, by the loop's clock; None: never."""
        return self._when

    def expired(self) -> bool:
        """Whether it has expired and cancelled its block."""
        return self._state in {_State.EXPIRING, _State.EXPIRED}

    def reschedule(self, when: float | None) -> None:
        """Make it expire at another time of the loop's clock; None: never.

        Raises:
            RuntimeError: its block was not entered, was left, or was cancelled by it.
        """
        if self._state is _State.CREATED:
            raise RuntimeError("Timeout has not been entered")
        if self._state is not _State.ENTERED:
            raise RuntimeError(f"Cannot change state of {self._state.value} Timeout")
        self._when = when
        self._cancel()
        if when is None:
            return
        loop = asyncio.get_running_loop()
        if when <= loop.time():
            # As asyncio does: a time that has passed expires at once, without a timer.
            self._timer = loop.call_soon(self._on_timer)
        else:
            self._timer = call_when_due(loop, when, self._on_timer)

    async def __aenter__(self) -> Self:
        if self._state is not _State.CREATED:
            raise RuntimeError("Timeout has already been entered")
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("Timeout should be used inside a task")
        self._state, self._task, self._cancelling = _State.ENTERED, task, task.cancelling()
        self.reschedule(self._when)
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._cancel()
        task, self._task = self._task, None
        if self._state is _State.ENTERED:
            self._state = _State.EXITED
        elif self._state is _State.EXPIRING:
            self._state = _State.EXPIRED
            assert task is not None
            # If something else cancelled the task, too, the cancellation is raised.
            if task.uncancel() <= self._cancelling and error is not None:
                if isinstance(error, asyncio.CancelledError):
                    raise TimeoutError from error
                inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
                for one in (error, *inner):
                    _insert_timeout(one)

    def _cancel(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _on_timer(self) -> None:
        self._timer = None
        self._state = _State.EXPIRING
        assert self._task is not None
        self._task.cancel()


def _insert_timeout(error: BaseException) -> None:
    """Put a ``TimeoutError`` into an error's context, as Python does since 3.13."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link.__context__, asyncio.CancelledError):
            expired = TimeoutError()
            expired.__context__ = expired.__cause__ = link.__context__
            link.__context__ = expired
            return
        link = link.__context__


def timeout(seconds: float | None) -> Timeout:
    """As :func:`asyncio.timeout`: end with ``TimeoutError`` after so many seconds; None: never.

    If the loop was blocked, it reads first what has arrived.
    """
    return Timeout(None if seconds is None else asyncio.get_running_loop().time() + seconds)


def timeout_at(when: float | None) -> Timeout:
    """As :func:`asyncio.timeout_at`: end with ``TimeoutError`` at a time of the loop's clock."""
    return Timeout(when)

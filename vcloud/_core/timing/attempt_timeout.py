"""Timeouts of attempts, with one timer per timeout value.

Attempts with equal timeouts expire in the order in which they started, so one timer, set to the
oldest attempt, is enough for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextvars import Context, ContextVar
from typing import Any, Final, Protocol

import msgspec

from vcloud._core.timing.timeouts import LATE, DrainingTimer


class Body(Protocol):
    """The body of an answer, as far as it has arrived."""

    #: How many bytes have arrived.
    total_bytes: int


class AttemptTimeout(msgspec.Struct, eq=False):
    """The timeout of one attempt."""

    #: None after the attempt: a reference to this must not keep the task and its result in memory.
    task: asyncio.Task[Any] | None
    #: When the timeout expires, by the loop's clock.
    ends: float
    #: How often the task had been cancelled before the attempt.
    cancelled_before: int
    #: Whether the timeout has expired and cancelled the task. After the attempt: whether nothing
    #: else had cancelled the task by then.
    expired: bool = False
    #: The body that is being read, if the answer did not arrive in one piece.
    body: Body | None = None
    #: How many bytes of the body had arrived when an overdue timer last checked.
    arrived: int = 0

    def timed_out(self) -> bool:
        """Whether the timeout alone cancelled the task. After the attempt: as of its end."""
        task = self.task
        return self.expired and (task is None or task.cancelling() <= self.cancelled_before + 1)


class AttemptTimeouts:
    """Cancels the task of an attempt that takes too long, as :func:`asyncio.timeout` does.

    One timer serves all attempts. A timer for each attempt would take a tenth of a call: it would
    be made, put in order among all timers, and nearly always cancelled.

    **Requests that are written late.** If the loop is blocked between the start of an attempt and
    the moment in which its request is written, the attempt may be overdue although its request was
    only just written. Then its timeout starts again. The loop is watched twice: for two iterations
    after the start of an attempt, and for two after its connection was made
    (:func:`about_to_write`).

    Args:
        seconds: for each attempt.
    """

    __slots__ = ("_context", "_in_flight", "_started", "_started_at", "_timer", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds: float = seconds
        # In the order of their ends. A dict keeps the order, and removes any attempt in constant
        # time: an attempt that hangs must not keep those that started after it.
        self._in_flight: dict[AttemptTimeout, None] = {}
        self._timer: DrainingTimer | None = None
        # The attempts that started in this iteration of the loop, and when the first of them did.
        self._started: list[AttemptTimeout] = []
        self._started_at = 0.0
        # An empty context: the timer must not keep the context of the call that happened to set it.
        self._context = Context()

    def begin(self) -> AttemptTimeout:
        """Start the timeout of the running task's attempt. The caller must call :meth:`end`."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        now = loop.time()
        attempt = AttemptTimeout(task, now + self.seconds, task.cancelling())
        self._in_flight[attempt] = None
        if self._timer is None:
            self._timer = self._set_timer(attempt, loop)
        started = self._started
        if not started:
            self._watch(now, loop)
        started.append(attempt)
        return attempt

    def connected(self, attempt: AttemptTimeout) -> None:
        """Note that an attempt has its connection, and that its request will be written now."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if attempt.ends <= now:
            self._restart(attempt, loop)
        if not self._started:
            self._watch(now, loop)
        self._started.append(attempt)

    def end(self, attempt: AttemptTimeout) -> None:
        """End the timeout of an attempt, which has ended in whatever way."""
        if attempt.expired:
            task = attempt.task
            assert task is not None
            attempt.expired = attempt.timed_out()
            task.uncancel()
        else:
            del self._in_flight[attempt]
        attempt.task = attempt.body = None
        if self._timer is not None and not self._in_flight:
            self._timer.cancel()
            self._timer = None

    def _watch(self, now: float, loop: asyncio.AbstractEventLoop) -> None:
        """Check in two iterations whether the loop was blocked while requests were written."""
        self._started_at = now
        loop.call_soon(self._next_iteration, loop, context=self._context)

    def _next_iteration(self, loop: asyncio.AbstractEventLoop) -> None:
        # In this iteration aiohttp writes a body. uvloop hands it to the socket at the end of it.
        started, self._started = self._started, []
        loop.call_soon(self._on_written, loop, started, self._started_at, context=self._context)

    def _on_written(
        self,
        loop: asyncio.AbstractEventLoop,
        started: Iterable[AttemptTimeout],
        started_at: float,
    ) -> None:
        if started_at < loop.time() - LATE:
            for attempt in started:
                self._restart(attempt, loop)

    def _restart(self, attempt: AttemptTimeout, loop: asyncio.AbstractEventLoop) -> None:
        if attempt in self._in_flight:
            del self._in_flight[attempt]
            attempt.ends = loop.time() + self.seconds
            self._in_flight[attempt] = None

    def _on_timer(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        now, overdue = loop.time(), list[AttemptTimeout]()
        for attempt in self._in_flight:
            if attempt.ends > now:
                self._timer = self._set_timer(attempt, loop)
                break
            overdue.append(attempt)
        for attempt in overdue:
            del self._in_flight[attempt]
            attempt.expired = True
            assert attempt.task is not None
            attempt.task.cancel()

    def _set_timer(self, attempt: AttemptTimeout, loop: asyncio.AbstractEventLoop) -> DrainingTimer:
        return DrainingTimer(loop, attempt.ends, self._on_timer, self._context, self._is_growing)

    def _is_growing(self) -> bool:
        """Whether more of the overdue answers has arrived since the last check."""
        now, growing = asyncio.get_running_loop().time(), False
        for attempt in self._in_flight:
            if attempt.ends > now:
                break
            if attempt.body is not None and attempt.body.total_bytes > attempt.arrived:
                attempt.arrived, growing = attempt.body.total_bytes, True
        return growing


class CurrentAttempt:
    """The attempt of a task, for code that is not passed it as an argument."""

    __slots__ = ("attempt", "timeouts")

    #: None between two attempts: the context must not keep the task and its result.
    attempt: AttemptTimeout | None
    timeouts: AttemptTimeouts


# To set a context variable before and after each attempt takes 1.8 us, and to reuse what it holds
# 0.5 us (timeit, of some 170 us for a call).
_CURRENT: Final[ContextVar[CurrentAttempt | None]] = ContextVar(
    "vcloud_attempt_timeout", default=None
)


def set_current(timeouts: AttemptTimeouts, attempt: AttemptTimeout) -> CurrentAttempt:
    """Note which attempt the running task makes. The caller resets ``attempt`` to None after it."""
    current = _CURRENT.get()
    # If another attempt is in flight, it is of the task from which this one has its context.
    if current is None or current.attempt is not None:
        current = CurrentAttempt()
        _CURRENT.set(current)
    current.timeouts, current.attempt = timeouts, attempt
    return current


def about_to_write() -> None:
    """Note that the running task's attempt has its connection, and writes its request now."""
    current = _CURRENT.get()
    attempt = None if current is None else current.attempt
    if current is not None and attempt is not None and attempt.task is asyncio.current_task():
        current.timeouts.connected(attempt)

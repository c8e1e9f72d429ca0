"""Timeouts that do not count the time in which the event loop could not run.

A process that is stopped (SIGSTOP, a laptop that sleeps), or a loop that somebody's code blocks,
goes on with all its timers overdue, while answers that arrived in time lie unread in the sockets.
A timer that rings late therefore lets the loop read first. What has arrived wins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from enum import Enum
from types import TracebackType
from typing import Final, Self

#: A timer that rings later than this, in seconds, found the loop busy or stopped. A loop with a few
#: thousand tasks is late by as much; asking costs one callback.
LATE: Final = 0.02

#: How often the loop may read before an overdue timer ends something. One turn reads up to 256 KiB
#: from each socket; the head, the body and the end of an answer take three.
TURNS: Final = 64

#: And for how long, in seconds: thousands of connections may all have something to say.
GRACE: Final = 0.25

#: Seconds that one turn counts for at most: if it took longer, the loop stood still again.
LONGEST_TURN: Final = GRACE / 4

#: Seconds between two looks at whether an answer grows that is there in part. Its sender had to
#: stop, too, when the buffers were full; this is about one way to another continent and back.
LOOK: Final = GRACE / 3


def call_when_due(
    loop: asyncio.AbstractEventLoop,
    when: float,
    ring: Callable[[], None],
    *,
    context: Context | None = None,
    grows: Callable[[], bool] | None = None,
) -> Alarm:
    """Call this at a time of the loop's clock, but not before what has arrived was read.

    Args:
        loop: the event loop.
        when: by its clock, in seconds.
        ring: what to call.
        context: what it runs in; None: a copy of the current one.
        grows: asked by a timer that rings late, after its turns: whether what it would end has
            received more since this was asked the last time. None: that is not known.

    Returns:
        What cancels it.
    """
    return Alarm(loop, when, ring, context, grows)


class Alarm:
    """A timer that lets the loop read what has arrived before it rings.

    In time, it rings in the next turn. Late by more than :data:`LATE`, it first gives the loop
    :data:`TURNS` turns, within :data:`GRACE` seconds.

    **These turns are given whether anything arrives or not.** Whose bytes arrive is known for one
    attempt alone, while most timers (the deadline of a bulk run, the wait for somebody else's
    login) end work that has several connections, or none. A turn in which nothing arrives takes
    some 10 µs, so all of them together take less than a millisecond. Only beside busy connections
    do they take longer: then an attempt that hangs ends up to a quarter of a second later.

    **An answer of which a part is there** may need more than turns: its sender stopped when the
    buffers were full, and sends the rest when they have been read. As long as such an answer grows
    (``grows``), the timer looks again each :data:`LOOK` seconds, within the same quarter second.

    **No result is dropped.** A task that is cancelled in the same turn in which its future got a
    result never sees that result. So the timer rings behind all tasks that were woken by what was
    read, and before the next read: asyncio runs what a timer calls behind what its sockets call,
    and what :meth:`~asyncio.loop.call_soon` was given in that order.
    """

    __slots__ = (
        "_after_read",
        "_context",
        "_grows",
        "_handle",
        "_left",
        "_loop",
        "_ring",
        "_seen",
        "_turns",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        when: float,
        ring: Callable[[], None],
        context: Context | None,
        grows: Callable[[], bool] | None,
    ) -> None:
        # No more than it takes: nearly all timers are cancelled.
        self._loop = loop
        self._ring = ring
        self._context = context
        self._grows = grows
        # When the loop was last known to run.
        self._seen = when
        self._handle: asyncio.Handle = loop.call_at(when, self._due, context=context)

    def cancel(self) -> None:
        """Do not ring any more."""
        self._handle.cancel()

    def _due(self) -> None:
        self._turns, self._left = TURNS, GRACE
        # asyncio's timers ring after the sockets were read. Those of uvloop ring before that, and
        # nothing that takes less than half a millisecond is a timer there.
        self._after_read = 0.0 if isinstance(self._loop, asyncio.BaseEventLoop) else 0.001
        if self._after_read:
            self._read_on(self._after_read)
        else:
            self._all_read()

    def _read_on(self, seconds: float) -> None:
        """Go on with :meth:`_all_read` after so many seconds, and once more after a read."""
        when = self._loop.time() + seconds
        self._handle = self._loop.call_at(when, self._all_read, context=self._context)

    def _all_read(self) -> None:
        # Behind the tasks that were woken by what was read.
        self._handle = self._loop.call_soon(self._end, context=self._context)

    def _end(self) -> None:
        now = self._loop.time()
        if now - self._seen > LATE and self._turns > 0 and self._left > 0:
            self._seen = now
            self._turn()
        else:
            self._ring()

    def _turn(self) -> None:
        now = self._loop.time()
        self._left -= min(now - self._seen, LONGEST_TURN)
        self._seen = now
        self._turns -= 1
        if self._turns > 0 and self._left > 0:
            self._handle = self._loop.call_soon(self._turn, context=self._context)
        else:
            self._look()

    def _look(self) -> None:
        now = self._loop.time()
        self._left -= now - self._seen
        self._seen = now
        if self._left > 0 and self._grows is not None and self._grows():
            self._handle = self._loop.call_at(now + LOOK, self._look, context=self._context)
        else:
            self._read_on(self._after_read)


class _State(Enum):
    CREATED = "created"
    ENTERED = "active"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    EXITED = "finished"


class Timeout:
    """What :class:`asyncio.Timeout` is, with an :class:`Alarm` for its timer.

    It is no wrapper of that, which cancels one turn after it was told to: by then the loop may have
    read an answer, and the cancellation would drop it. CPython's own tests are run with it.

    Args:
        when: by the loop's clock, in seconds; None: never.
    """

    __slots__ = ("_alarm", "_cancelling", "_state", "_task", "_when")

    def __init__(self, when: float | None) -> None:
        self._when = when
        self._alarm: Alarm | asyncio.Handle | None = None
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._state = _State.CREATED

    def __repr__(self) -> str:
        when = self._when if self._when is None else round(self._when, 3)
        active = f" when={when}" if self._state is _State.ENTERED else ""
        return f"<Timeout [{self._state.value}]{active}>"

    def when(self) -> float | None:
        """When it ends what it surrounds, by the loop's clock; None: never."""
        return self._when

    def expired(self) -> bool:
        """Whether it has ended what it surrounds."""
        return self._state in {_State.EXPIRING, _State.EXPIRED}

    def reschedule(self, when: float | None) -> None:
        """Let it end at another time, by the loop's clock; None: never.

        Raises:
            RuntimeError: it surrounds nothing (any more), or has ended it.
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
        # As asyncio does: a time that has passed is over at once, and nothing is begun.
        over = when <= loop.time()
        self._alarm = loop.call_soon(self._ring) if over else call_when_due(loop, when, self._ring)

    async def __aenter__(self) -> Self:
        if self._state is not _State.CREATED:
            raise RuntimeError("Timeout has already been entered")
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("Timeout should be used inside a task")
        self._state, self._task, self._cancelling = _State.ENTERED, task, task.cancelling()
        self.reschedule(self._when)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cancel()
        task, self._task = self._task, None
        if self._state is _State.ENTERED:
            self._state = _State.EXITED
        elif self._state is _State.EXPIRING:
            self._state = _State.EXPIRED
            assert task is not None
            # If something else cancelled the task, too, that counts.
            if task.uncancel() <= self._cancelling and error is not None:
                if isinstance(error, asyncio.CancelledError):
                    raise TimeoutError from error
                inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
                for one in (error, *inner):
                    _insert_timeout(one)

    def _cancel(self) -> None:
        alarm, self._alarm = self._alarm, None
        if alarm is not None:
            alarm.cancel()

    def _ring(self) -> None:
        self._alarm = None
        self._state = _State.EXPIRING
        assert self._task is not None
        self._task.cancel()


def _insert_timeout(error: BaseException) -> None:
    """Say in an error's context that it came of a timeout, as Python does since 3.13."""
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

    What has arrived by then is read first, although the loop could not run meanwhile.
    """
    return Timeout(None if seconds is None else asyncio.get_running_loop().time() + seconds)


def timeout_at(when: float | None) -> Timeout:
    """As :func:`asyncio.timeout_at`: end with ``TimeoutError`` at a time of the loop's clock."""
    return Timeout(when)

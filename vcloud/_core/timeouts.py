"""Timeouts that do not count the time in which the event loop could not run.

A process that is stopped (SIGSTOP, a laptop that sleeps), or a loop that somebody's code blocks,
goes on with all its timers overdue, while answers that arrived in time lie unread in the sockets.
A timer that rings late therefore lets the loop read first. What has arrived wins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
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


def call_when_due(
    loop: asyncio.AbstractEventLoop,
    when: float,
    ring: Callable[[], None],
    *,
    context: Context | None = None,
) -> Alarm:
    """Call this at a time of the loop's clock, but not before what has arrived was read.

    Args:
        loop: the event loop.
        when: by its clock, in seconds.
        ring: what to call.
        context: what it runs in; None: a copy of the current one.

    Returns:
        What cancels it.
    """
    return Alarm(loop, when, ring, context)


class Alarm:
    """A timer that lets the loop read what has arrived before it rings.

    In time, it does so for one turn: an answer that came together with the timer is read. Late by
    more than :data:`LATE`, for :data:`TURNS` turns or :data:`GRACE` seconds, whichever is over first.
    """

    __slots__ = ("_context", "_handle", "_loop", "_ring", "_turns", "_until", "_when")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        when: float,
        ring: Callable[[], None],
        context: Context | None,
    ) -> None:
        self._loop = loop
        # A time that has passed already is over at once: nobody waits for anything yet.
        self._when = max(when, loop.time())
        self._ring = ring
        self._context = context
        self._turns = 1
        self._until = 0.0
        self._handle: asyncio.Handle = loop.call_at(self._when, self._due, context=context)

    def cancel(self) -> None:
        """Do not ring any more."""
        self._handle.cancel()

    def _due(self) -> None:
        now = self._loop.time()
        if now - self._when > LATE:
            self._turns = TURNS
        self._until = now + GRACE
        self._handle = self._loop.call_soon(self._turn, context=self._context)

    def _turn(self) -> None:
        self._turns -= 1
        if self._turns > 0 and self._loop.time() < self._until:
            self._handle = self._loop.call_soon(self._turn, context=self._context)
        else:
            self._ring()


class Timeout:
    """What :class:`asyncio.Timeout` is, with an :class:`Alarm` for its timer.

    Args:
        when: by the loop's clock, in seconds; None: never.
    """

    __slots__ = ("_alarm", "_inner", "_when")

    def __init__(self, when: float | None) -> None:
        self._when = when
        self._inner = asyncio.timeout(None)
        self._alarm: Alarm | None = None

    def when(self) -> float | None:
        """When it ends what it surrounds, by the loop's clock; None: never."""
        return self._when

    def expired(self) -> bool:
        """Whether it has ended what it surrounds."""
        return self._inner.expired()

    def reschedule(self, when: float | None) -> None:
        """Let it end at another time, by the loop's clock; None: never."""
        self._when = when
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if when is not None:
            self._alarm = call_when_due(asyncio.get_running_loop(), when, self._ring)

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        self.reschedule(self._when)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        await self._inner.__aexit__(kind, error, traceback)

    def _ring(self) -> None:
        self._alarm = None
        # A time that has passed: it ends in the next turn.
        self._inner.reschedule(asyncio.get_running_loop().time())


def timeout(seconds: float | None) -> Timeout:
    """As :func:`asyncio.timeout`: end with ``TimeoutError`` after so many seconds; None: never.

    What has arrived by then is read first, although the loop could not run meanwhile.
    """
    return Timeout(None if seconds is None else asyncio.get_running_loop().time() + seconds)


def timeout_at(when: float | None) -> Timeout:
    """As :func:`asyncio.timeout_at`: end with ``TimeoutError`` at a time of the loop's clock."""
    return Timeout(when)

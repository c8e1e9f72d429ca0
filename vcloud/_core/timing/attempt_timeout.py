"""How long an attempt may take: one timer for all that are as patient, for those that begin first run out first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextvars import Context, ContextVar
from typing import Any, Final, Protocol

import msgspec

from vcloud._core.timing.timeouts import LATE, Alarm


class Body(Protocol):
    """The body of an answer, as far as it has arrived."""

    #: How much that is.
    total_bytes: int


class AttemptTimeout(msgspec.Struct, eq=False):
    """One attempt under way."""

    #: None once it is over: whoever still holds this must not hold the task and its result.
    task: asyncio.Task[Any] | None
    #: When its time is up, by the loop's clock.
    ends: float
    #: How often the task had been cancelled before.
    cancelled_before: int
    #: Whether its time ran out, and its task was cancelled for that; once it is over: for nothing else.
    late: bool = False
    #: What is being read, where an answer did not come in one piece.
    body: Body | None = None
    #: How much of it had arrived when an overdue timer looked last.
    arrived: int = 0

    def only_late(self) -> bool:
        """Whether nothing but the clock cancelled the task. Once it is over: as it was at its end."""
        task = self.task
        return self.late and (task is None or task.cancelling() <= self.cancelled_before + 1)


class AttemptTimeouts:
    """Cancels the task of an attempt whose time runs out, as :func:`asyncio.timeout` does, but with one timer for all.

    A timer for each would take a tenth of a call: it is made, set among all others, and cancelled, nearly always in vain.

    **Written late.** If the loop stands still between the beginning and the moment in which the
    request leaves, an attempt is overdue whose request only just left, and whose answer cannot be
    there. It gets its whole time again. There are two such moments: the two turns after an attempt
    begins, and the end of connecting with the two after it (:func:`about_to_write`).

    Args:
        seconds: for each attempt.
    """

    __slots__ = ("_begun", "_begun_at", "_context", "_line", "_timer", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        # Those under way, in the order of their ends. A dict keeps that order, and lets go of one in
        # the middle at once: one that hangs must not keep all that began after it.
        self._line: dict[AttemptTimeout, None] = {}
        self._timer: Alarm | None = None
        # Those that began in this turn of the loop, and when the first of them did.
        self._begun: list[AttemptTimeout] = []
        self._begun_at = 0.0
        # An empty one, or the timer would keep the context of the call that happened to set it.
        self._context = Context()

    def begin(self) -> AttemptTimeout:
        """Let the running task's attempt begin. :meth:`end` must follow, whatever happens."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        now = loop.time()
        turn = AttemptTimeout(task, now + self.seconds, task.cancelling())
        self._line[turn] = None
        if self._timer is None:
            self._timer = self._set(turn, loop)
        begun = self._begun
        if not begun:
            self._watch(now, loop)
        begun.append(turn)
        return turn

    def connected(self, turn: AttemptTimeout) -> None:
        """Its connection is there, and its request will be written now."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if turn.ends <= now:
            self._renew(turn, loop)
        if not self._begun:
            self._watch(now, loop)
        self._begun.append(turn)

    def end(self, turn: AttemptTimeout) -> None:
        """It is over, one way or another."""
        if turn.late:
            task = turn.task
            assert task is not None
            turn.late = turn.only_late()
            task.uncancel()
        else:
            del self._line[turn]
        turn.task = turn.body = None
        if self._timer is not None and not self._line:
            self._timer.cancel()
            self._timer = None

    def _watch(self, now: float, loop: asyncio.AbstractEventLoop) -> None:
        """See to it that the loop runs until the requests are written that leave in this turn."""
        self._begun_at = now
        loop.call_soon(self._next_turn, loop, context=self._context)

    def _next_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        # In which aiohttp writes a body; uvloop hands it on at the turn's end.
        begun, self._begun = self._begun, []
        loop.call_soon(self._written, loop, begun, self._begun_at, context=self._context)

    def _written(
        self, loop: asyncio.AbstractEventLoop, begun: Iterable[AttemptTimeout], began: float
    ) -> None:
        if began < loop.time() - LATE:
            for turn in begun:
                self._renew(turn, loop)

    def _renew(self, turn: AttemptTimeout, loop: asyncio.AbstractEventLoop) -> None:
        if turn in self._line:
            del self._line[turn]
            turn.ends = loop.time() + self.seconds
            self._line[turn] = None

    def _ring(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        now, late = loop.time(), list[AttemptTimeout]()
        for turn in self._line:
            if turn.ends > now:
                self._timer = self._set(turn, loop)
                break
            late.append(turn)
        for turn in late:
            del self._line[turn]
            turn.late = True
            assert turn.task is not None
            turn.task.cancel()

    def _set(self, turn: AttemptTimeout, loop: asyncio.AbstractEventLoop) -> Alarm:
        return Alarm(loop, turn.ends, self._ring, self._context, self._grows)

    def _grows(self) -> bool:
        """Whether more has arrived of the answers that are overdue, since this was asked last."""
        now, grows = asyncio.get_running_loop().time(), False
        for turn in self._line:
            if turn.ends > now:
                break
            if turn.body is not None and turn.body.total_bytes > turn.arrived:
                turn.arrived, grows = turn.body.total_bytes, True
        return grows


#: The attempt that runs here, for what knows nothing of it but that it runs in its task.
CURRENT_TIMEOUT: Final[ContextVar[tuple[AttemptTimeouts, AttemptTimeout] | None]] = ContextVar(
    "vcloud_under_way", default=None
)


def about_to_write() -> None:
    """The attempt that runs here has its connection, and will write its request now."""
    found = CURRENT_TIMEOUT.get()
    if found is not None:
        patience, turn = found
        patience.connected(turn)

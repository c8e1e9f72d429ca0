"""How long an attempt may take: one timer for all that are as patient, for those that begin first run out first."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import msgspec


class Turn(msgspec.Struct, eq=False):
    """One attempt under way."""

    task: asyncio.Task[Any]
    #: When its time is up, by the loop's clock.
    ends: float
    #: How often the task had been cancelled before.
    cancelled_before: int
    over: bool = False
    #: Whether its time ran out, and its task was cancelled for that.
    late: bool = False

    def only_late(self) -> bool:
        """Whether nothing but the clock cancelled the task."""
        return self.late and self.task.cancelling() <= self.cancelled_before + 1


class Patience:
    """Cancels the task of an attempt whose time runs out, as :func:`asyncio.timeout` does, but with one timer for all.

    A timer for each would take a tenth of a call: it is made, set among all others, and cancelled, nearly always in vain.

    Args:
        seconds: for each attempt.
    """

    __slots__ = ("_line", "_timer", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        # In the order of their ends.
        self._line: deque[Turn] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> Turn:
        """Let the running task's attempt begin. :meth:`end` must follow, whatever happens."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        turn = Turn(task, loop.time() + self.seconds, task.cancelling())
        self._line.append(turn)
        if self._timer is None:
            self._timer = loop.call_at(turn.ends, self._ring, loop)
        return turn

    def end(self, turn: Turn) -> None:
        """It is over, one way or another."""
        turn.over = True
        if turn.late:
            turn.task.uncancel()
        line = self._line
        while line and line[0].over:
            line.popleft()
        if not line and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now, line = loop.time(), self._line
        while line:
            first = line[0]
            if not first.over:
                if first.ends > now:
                    self._timer = loop.call_at(first.ends, self._ring, loop)
                    return
                first.late = True
                first.task.cancel()
            line.popleft()

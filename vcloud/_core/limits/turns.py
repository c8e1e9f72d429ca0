"""The one order of those in line: by rank, in turns between lanes, first come first served.

Turns between queues, one for each source, are what RFC 970 (Nagle, 1985) proposes for fairness:
whoever sends more only makes its own queue longer.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from enum import Enum, IntEnum, auto
from math import inf
from typing import Final

import msgspec


class TooLongError(Exception):
    """The rate limit is used up for longer than this request has patience."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"used up for another {seconds:g} s")
        self.seconds = seconds


class Rank(IntEnum):
    """Who goes before whom, whatever the lane. The lowest goes first."""

    #: What ends something that costs money, and whose caller is gone.
    CLEANUP = 0
    #: All other calls.
    CALL = 1
    # What waits for others' sake only, a shared poll say, gets a rank below: a member here is all.


class Flow:
    """What one bulk run sends. All that belongs to no run is in a lane of its own (None)."""

    __slots__ = ("__weakref__",)


#: The lane of the work that runs here.
CURRENT_FLOW: Final[ContextVar[Flow | None]] = ContextVar("vcloud_lane", default=None)


class WaiterState(Enum):
    """Where a request in line stands."""

    #: It waits for its turn.
    WAITING = auto()
    #: The same, and it asks the store of a shared budget, for all that wait for the same limit.
    ASKING = auto()
    #: It may be sent.
    ADMITTED = auto()
    #: It was cancelled, or ended with an error.
    ENDED = auto()


class Waiter(msgspec.Struct, eq=False):
    """One request in line."""

    #: Rises with each arrival, over all buckets.
    arrival: int
    rank: Rank
    lane: Flow | None
    turn: asyncio.Future[int]
    #: Whether it needs one of the slots.
    slot: bool
    #: When waiting on makes no sense, in monotonic seconds.
    deadline: float
    #: For how many seconds the limit may be used up, as of now.
    patience: Callable[[], float]
    state: WaiterState = WaiterState.WAITING

    @property
    def waits(self) -> bool:
        """Whether it is still in line."""
        return self.state in _IN_LINE

    @property
    def gone(self) -> bool:
        """Whether it is in line only because its task has not run since it was cancelled."""
        # Or the loop was closed over it: nobody can be told any more.
        return self.turn.done() or self.turn.get_loop().is_closed()

    def waits_in_vain(self, wait: float, now: float) -> Exception | None:
        """Why it makes no sense to wait on for so many seconds; None: it does.

        Args:
            wait: infinity is until some answer comes, which may be soon.
            now: the time, in monotonic seconds.
        """
        if wait == inf:
            return None
        if wait > self.patience():
            return TooLongError(wait)
        return TimeoutError() if 0 < wait >= self.deadline - now else None


_IN_LINE: Final = frozenset({WaiterState.WAITING, WaiterState.ASKING})


class FlowQueue:
    """Those of one lane that wait for one bucket, first come first served.

    Args:
        lane: the lane.
        served: the number of the turn that it had last.
    """

    __slots__ = ("_waiters", "count", "lane", "served")

    def __init__(self, lane: Flow | None, served: int) -> None:
        self.lane = lane
        self.served = served
        #: How many are in line.
        self.count = 0
        # Some may have left the line, but for the first.
        self._waiters: deque[Waiter] = deque()

    @property
    def first(self) -> Waiter:
        """The one that waits longest. There must be one."""
        return self._waiters[0]

    def add(self, waiter: Waiter) -> None:
        """One more waits."""
        self._waiters.append(waiter)
        self.count += 1

    def remove(self, waiter: Waiter) -> None:
        """This one has left the line: its state says so already."""
        self.count -= 1
        waiters = self._waiters
        # Not each time, because it takes long: thousands may leave behind one that waits for long.
        if waiters[0] is not waiter and 2 * self.count <= len(waiters):
            self._waiters = waiters = deque(one for one in waiters if one.waits)
        while waiters and not waiters[0].waits:
            waiters.popleft()

    def __iter__(self) -> Iterator[Waiter]:
        return iter([waiter for waiter in self._waiters if waiter.waits])

    @property
    def kept(self) -> int:
        """How many are remembered, those that left the line included."""
        return len(self._waiters)


class RoundRobin:
    """The lanes of one rank that wait for one bucket: the next is whose last turn is longest ago.

    A run that comes, or comes back, is behind the lanes that wait already: each has at most one
    turn before it. The lane of all that belongs to no run keeps its place while nobody is in it.
    """

    __slots__ = ("_others", "_runs", "count")

    def __init__(self) -> None:
        self._others = FlowQueue(None, 0)
        # In the order of their last turns.
        self._runs: OrderedDict[Flow, FlowQueue] = OrderedDict()
        #: How many are in line.
        self.count = 0

    def add(self, waiter: Waiter) -> None:
        """One more waits."""
        queue = self._others
        if waiter.lane is not None:
            found = self._runs.get(waiter.lane)
            queue = found or FlowQueue(waiter.lane, waiter.arrival)
            if found is None:
                self._runs[waiter.lane] = queue
        queue.add(waiter)
        self.count += 1

    def remove(self, waiter: Waiter) -> None:
        """This one has left the line: its state says so already."""
        queue = self._others if waiter.lane is None else self._runs[waiter.lane]
        queue.remove(waiter)
        self.count -= 1
        if waiter.lane is not None and not queue.count:
            del self._runs[waiter.lane]

    def next_lane(self) -> FlowQueue | None:
        """The lane that has the next turn; None: nobody waits."""
        others = self._others if self._others.count else None
        run = next(iter(self._runs.values()), None)
        if others is None or run is None:
            return others or run
        return others if others.served < run.served else run

    def of(self, lane: Flow | None) -> FlowQueue | None:
        """Those of one lane, if any wait."""
        queue = self._others if lane is None else self._runs.get(lane)
        return queue if queue is not None and queue.count else None

    def lanes(self) -> list[FlowQueue]:
        """All lanes in which anybody waits."""
        others = [self._others] if self._others.count else []
        return [*others, *self._runs.values()]

    def had_turn(self, lane: Flow | None, number: int) -> None:
        """This lane had its turn. Numbers rise with each turn and each arrival."""
        if lane is None:
            self._others.served = number
        elif (queue := self._runs.get(lane)) is not None:
            queue.served = number
            self._runs.move_to_end(lane)

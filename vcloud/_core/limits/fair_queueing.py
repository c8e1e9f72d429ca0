"""The order of waiting requests: by rank, then round robin between flows, then first come.

Round robin between queues, one queue for each source, is what RFC 970 (Nagle, 1985) proposes for
fairness: a source that sends more only makes its own queue longer.
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


class WaitTooLongError(Exception):
    """The rate limit stays used up for longer than this request may wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"used up for another {seconds:g} s")
        self.seconds = seconds


class Rank(IntEnum):
    """Priority over all flows. The lowest rank goes first."""

    #: Requests that end something that costs money, for a caller that was cancelled.
    CLEANUP = 0
    #: All other calls.
    CALL = 1
    # A lower priority (for shared polls, say) needs no more than another member here.


class Flow:
    """The requests of one bulk run. All requests outside of bulk runs are one more flow (None)."""

    __slots__ = ("__weakref__",)


#: The flow of the code that runs in this context.
CURRENT_FLOW: Final[ContextVar[Flow | None]] = ContextVar("vcloud_flow", default=None)


class WaiterState(Enum):
    """Where a waiting request stands."""

    #: It is in the queue.
    WAITING = auto()
    #: It is in the queue, and asks the store of a shared budget on behalf of its bucket.
    ASKING = auto()
    #: It left the queue: it may be sent.
    ADMITTED = auto()
    #: It left the queue: it was cancelled, or failed with an error.
    ENDED = auto()


class Waiter(msgspec.Struct, eq=False):
    """One waiting request."""

    #: Rises with each arrival, over all buckets.
    arrival: int
    rank: Rank
    flow: Flow | None
    #: Gets the request's number when it is admitted.
    admitted: asyncio.Future[int]
    #: Whether it needs one of the slots.
    slot: bool
    #: Monotonic seconds.
    deadline: float
    #: Returns for how many seconds the limit may be used up, as of now.
    max_wait: Callable[[], float]
    state: WaiterState = WaiterState.WAITING

    @property
    def is_queued(self) -> bool:
        """Whether it is still in the queue."""
        return self.state in _QUEUED

    @property
    def is_abandoned(self) -> bool:
        """Whether its result will not be read: its task was cancelled, or its loop was closed."""
        return self.admitted.done() or self.admitted.get_loop().is_closed()

    def error_if_too_long(self, wait: float, now: float) -> Exception | None:
        """The error to fail with if the bucket stays closed for this long; None: it may wait.

        Args:
            wait: seconds. Infinity means until some answer comes, which may be soon.
            now: monotonic seconds.
        """
        if wait == inf:
            return None
        if wait > self.max_wait():
            return WaitTooLongError(wait)
        return TimeoutError() if 0 < wait >= self.deadline - now else None


_QUEUED: Final = frozenset({WaiterState.WAITING, WaiterState.ASKING})


class FlowQueue:
    """The requests of one flow that wait for one bucket, first come, first served.

    Args:
        flow: the flow.
        last_turn: the number of its last turn.
    """

    __slots__ = ("_waiters", "count", "flow", "last_turn")

    def __init__(self, flow: Flow | None, last_turn: int) -> None:
        self.flow = flow
        self.last_turn = last_turn
        #: How many are queued.
        self.count = 0
        # The first is always queued. Those behind it may have left.
        self._waiters: deque[Waiter] = deque()

    @property
    def first(self) -> Waiter:
        """The one that waits longest. There must be one."""
        return self._waiters[0]

    def add(self, waiter: Waiter) -> None:
        """Append a request."""
        self._waiters.append(waiter)
        self.count += 1

    def remove(self, waiter: Waiter) -> None:
        """Remove a request. Its state must say already that it left the queue."""
        self.count -= 1
        waiters = self._waiters
        # Drop waiters that left (amortised): only when they are at least half of the deque.
        if waiters[0] is not waiter and 2 * self.count <= len(waiters):
            self._waiters = waiters = deque(one for one in waiters if one.is_queued)
        while waiters and not waiters[0].is_queued:
            waiters.popleft()

    def __iter__(self) -> Iterator[Waiter]:
        return iter([waiter for waiter in self._waiters if waiter.is_queued])

    @property
    def stored(self) -> int:
        """How many are stored, including those that left the queue."""
        return len(self._waiters)


class RoundRobin:
    """The flows of one rank that wait for one bucket. The next flow is the least recently served.

    A run that starts, or starts again, is placed after the flows that wait already, so each of them
    has at most one turn before it. The flow of all other calls keeps its place while it is empty.
    """

    __slots__ = ("_others", "_runs", "count")

    def __init__(self) -> None:
        self._others = FlowQueue(None, 0)
        # In the order of their last turns.
        self._runs: OrderedDict[Flow, FlowQueue] = OrderedDict()
        #: How many are queued.
        self.count = 0

    def add(self, waiter: Waiter) -> None:
        """Append a request to the queue of its flow."""
        queue = self._others
        if waiter.flow is not None:
            found = self._runs.get(waiter.flow)
            queue = found or FlowQueue(waiter.flow, waiter.arrival)
            if found is None:
                self._runs[waiter.flow] = queue
        queue.add(waiter)
        self.count += 1

    def remove(self, waiter: Waiter) -> None:
        """Remove a request. Its state must say already that it left the queue."""
        queue = self._others if waiter.flow is None else self._runs[waiter.flow]
        queue.remove(waiter)
        self.count -= 1
        if waiter.flow is not None and not queue.count:
            del self._runs[waiter.flow]

    def next_flow(self) -> FlowQueue | None:
        """The queue of the flow that has the next turn; None: all queues are empty."""
        others = self._others if self._others.count else None
        run = next(iter(self._runs.values()), None)
        if others is None or run is None:
            return others or run
        return others if others.last_turn < run.last_turn else run

    def queue_of(self, flow: Flow | None) -> FlowQueue | None:
        """The queue of one flow, unless it is empty."""
        queue = self._others if flow is None else self._runs.get(flow)
        return queue if queue is not None and queue.count else None

    def queues(self) -> list[FlowQueue]:
        """All queues that are not empty."""
        others = [self._others] if self._others.count else []
        return [*others, *self._runs.values()]

    def record_turn(self, flow: Flow | None, number: int) -> None:
        """Note that a flow had its turn. Numbers rise with each turn and each arrival."""
        if flow is None:
            self._others.last_turn = number
        elif (queue := self._runs.get(flow)) is not None:
            queue.last_turn = number
            self._runs.move_to_end(flow)

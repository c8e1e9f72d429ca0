"""All requests that wait at one admission, whatever their bucket, in one order."""

from __future__ import annotations

import asyncio
from math import inf
from typing import NamedTuple

import msgspec

from vcloud._core.limits.allowance import Allowance
from vcloud._core.limits.fair_queueing import FlowQueue, Rank, RoundRobin, Waiter, WaiterState
from vcloud._core.limits.windows import RateLimit
from vcloud._core.timing.timeouts import Timeout


class Bucket(msgspec.Struct, eq=False):
    """The requests that one of the provider's limits counts, and those of them that wait."""

    allowance: Allowance
    #: The configured limit, if a store counts it together with other processes.
    shared: RateLimit | None = None
    #: One for each rank.
    ranks: tuple[RoundRobin, ...] = msgspec.field(
        default_factory=lambda: tuple(RoundRobin() for _ in Rank)
    )
    #: How many are queued.
    count: int = 0
    #: One timer for the whole bucket, and when it fires in seconds of the clock.
    timer: asyncio.TimerHandle | None = None
    timer_at: float = inf
    #: How many refusals the queued requests were checked against.
    refusals: int = 0
    #: Whether the store has counted one request that was not sent yet.
    permit: bool = False
    #: The queued request that asks the store now, and the timeout that can stop it.
    asker: Waiter | None = None
    asking: Timeout | None = None

    @property
    def calls(self) -> int:
        """How many queued requests are not cleanups."""
        return self.count - self.ranks[Rank.CLEANUP].count

    def all_calls(self) -> list[Waiter]:
        """The queued requests that are not cleanups."""
        return [
            waiter
            for rank in Rank
            if rank is not Rank.CLEANUP
            for queue in self.ranks[rank].queues()
            for waiter in queue
        ]


class Ready(NamedTuple):
    """A bucket that allows one request now, and the queue of the flow that has its next turn."""

    bucket: Bucket
    queue: FlowQueue


class WaitingQueue:
    """The waiting requests of all buckets, in one order.

    It decides which request is next, and not whether that request may be sent.
    """

    __slots__ = ("_number", "count")

    def __init__(self) -> None:
        # One sequence for arrivals and turns.
        self._number = 0
        #: How many are queued.
        self.count = 0

    def add(self, bucket: Bucket, waiter: Waiter) -> None:
        """Append a request."""
        self._number += 1
        waiter.arrival = self._number
        bucket.ranks[waiter.rank].add(waiter)
        bucket.count += 1
        self.count += 1

    def remove(self, bucket: Bucket, waiter: Waiter, state: WaiterState) -> None:
        """Remove a request, which is in this state from now on."""
        waiter.state = state
        bucket.ranks[waiter.rank].remove(waiter)
        bucket.count -= 1
        self.count -= 1
        if not bucket.count and bucket.timer is not None:
            bucket.timer.cancel()
            bucket.timer, bucket.timer_at = None, inf
        if not bucket.calls:
            # A permit is not kept for later requests: the store may have counted it long ago.
            bucket.permit = False

    def fail(self, bucket: Bucket, waiter: Waiter, error: Exception) -> None:
        """Remove a request, and make its call raise this error."""
        asks = waiter.state is WaiterState.ASKING
        self.remove(bucket, waiter, WaiterState.ENDED)
        if not waiter.is_abandoned:
            waiter.admitted.set_exception(error)
        if asks and bucket.asking is not None:
            bucket.asking.reschedule(waiter.admitted.get_loop().time())

    def next_flow(self, bucket: Bucket, rank: Rank, wait: float, now: float) -> FlowQueue | None:
        """The flow that has the next turn in a bucket. Requests that cannot wait so long fail.

        Args:
            bucket: the bucket.
            rank: the rank.
            wait: seconds for which the bucket allows no request.
            now: monotonic seconds.
        """
        flows = bucket.ranks[rank]
        while (queue := flows.next_flow()) is not None:
            if self._keeps_waiting(bucket, queue, wait, now):
                return queue
        return None

    def fail_if_too_long(self, bucket: Bucket, wait: float, now: float) -> None:
        """Fail the requests of a bucket that cannot wait for so many seconds.

        This looks at the front of every flow, because each request has its own limit. Requests
        behind one that keeps waiting are checked when they get to the front.
        """
        for flows in bucket.ranks:
            for queue in flows.queues():
                while queue.count and not self._keeps_waiting(bucket, queue, wait, now):
                    pass

    def take_turn(self, ready: list[Ready], rank: Rank, *, slots: bool) -> tuple[Bucket, Waiter]:
        """The first request of the least recently served flow, which has its turn now.

        Args:
            ready: the buckets that allow a request.
            rank: the rank.
            slots: whether any slot is free.
        """
        flow = min(ready, key=lambda one: one.queue.last_turn).queue.flow
        candidates = [
            (bucket, first)
            for bucket, _ in ready
            if (queue := bucket.ranks[rank].queue_of(flow))
            and (first := self._first(bucket, queue))
            and (slots or not first.slot)
        ]
        self._number += 1
        for bucket, _ in candidates:
            bucket.ranks[rank].record_turn(flow, self._number)
        return min(candidates, key=lambda one: one[1].arrival)

    def _keeps_waiting(self, bucket: Bucket, queue: FlowQueue, wait: float, now: float) -> bool:
        """Whether the first request of a queue can wait; if not, it has failed now."""
        if (first := self._first(bucket, queue)) is None:
            return False
        if (error := first.error_if_too_long(wait, now)) is None:
            return True
        self.fail(bucket, first, error)
        return False

    def _first(self, bucket: Bucket, queue: FlowQueue) -> Waiter | None:
        """The first request of a queue, after the abandoned ones before it were removed."""
        while queue.count:
            if not (first := queue.first).is_abandoned:
                return first
            self.remove(bucket, first, WaiterState.ENDED)
        return None

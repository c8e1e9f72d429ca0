"""All that wait at one admission, whatever their bucket, in their one order."""

from __future__ import annotations

import asyncio
from math import inf
from typing import NamedTuple

import msgspec

from vcloud._core.limits.allowance import Allowance
from vcloud._core.limits.turns import FlowQueue, Rank, RoundRobin, Waiter, WaiterState
from vcloud._core.limits.windows import RateLimit
from vcloud._core.timing.timeouts import Timeout


class Bucket(msgspec.Struct, eq=False):
    """The requests that one of the provider's limits counts, and those of them that wait."""

    allowance: Allowance
    #: The configured limit, where it is counted in a store together with other processes.
    shared: RateLimit | None = None
    #: One for each rank.
    turns: tuple[RoundRobin, ...] = msgspec.field(
        default_factory=lambda: tuple(RoundRobin() for _ in Rank)
    )
    #: How many are in line.
    count: int = 0
    #: One alarm for the whole line, however many wait, and when it rings in seconds of the clock.
    alarm: asyncio.TimerHandle | None = None
    alarm_at: float = inf
    #: How many refusals those in line were told of.
    refusals: int = 0
    #: The store has counted one request that was not sent yet.
    permit: bool = False
    #: The one in line that asks the store now, and what ends its asking.
    asker: Waiter | None = None
    asking: Timeout | None = None

    @property
    def calls(self) -> int:
        """How many in line are no cleanups."""
        return self.count - self.turns[Rank.CLEANUP].count

    def all_calls(self) -> list[Waiter]:
        """Those that are no cleanups."""
        return [
            waiter
            for rank in Rank
            if rank is not Rank.CLEANUP
            for lane in self.turns[rank].lanes()
            for waiter in lane
        ]


class Ready(NamedTuple):
    """A bucket that would let one send, and the lane that has the next turn there."""

    bucket: Bucket
    lane: FlowQueue


class Line:
    """Requests of all buckets, in one order.

    It knows who is next, and not whether that one may go.
    """

    __slots__ = ("_number", "count")

    def __init__(self) -> None:
        # Of arrivals and turns, in one sequence.
        self._number = 0
        #: How many are in line.
        self.count = 0

    def add(self, bucket: Bucket, waiter: Waiter) -> None:
        """One more waits."""
        self._number += 1
        waiter.arrival = self._number
        bucket.turns[waiter.rank].add(waiter)
        bucket.count += 1
        self.count += 1

    def remove(self, bucket: Bucket, waiter: Waiter, state: WaiterState) -> None:
        """This one leaves the line."""
        waiter.state = state
        bucket.turns[waiter.rank].remove(waiter)
        bucket.count -= 1
        self.count -= 1
        if not bucket.count and bucket.alarm is not None:
            bucket.alarm.cancel()
            bucket.alarm, bucket.alarm_at = None, inf
        if not bucket.calls:
            # For those that come later it may have been counted long ago.
            bucket.permit = False

    def end(self, bucket: Bucket, waiter: Waiter, error: Exception) -> None:
        """Send one off with an error."""
        asks = waiter.state is WaiterState.ASKING
        self.remove(bucket, waiter, WaiterState.ENDED)
        if not waiter.gone:
            waiter.turn.set_exception(error)
        if asks and bucket.asking is not None:
            bucket.asking.reschedule(waiter.turn.get_loop().time())

    def next_lane(self, bucket: Bucket, rank: Rank, wait: float, now: float) -> FlowQueue | None:
        """The lane that has the next turn in a bucket, without those that wait in vain for it.

        Args:
            bucket: it.
            rank: of whom.
            wait: seconds for which nobody of the bucket may go.
            now: the time, in monotonic seconds.
        """
        turns = bucket.turns[rank]
        while (lane := turns.next_lane()) is not None:
            if self._stays(bucket, lane, wait, now):
                return lane
        return None

    def dismiss(self, bucket: Bucket, wait: float, now: float) -> None:
        """Nobody of the bucket may go for so many seconds: end those for whom it is too long.

        Not only in the lane that is next, for others have their own patience. Those behind the
        first that stays in a lane find out in their turn.
        """
        for turns in bucket.turns:
            for lane in turns.lanes():
                while lane.count and not self._stays(bucket, lane, wait, now):
                    pass

    def take_turn(self, ready: list[Ready], rank: Rank, *, slots: bool) -> tuple[Bucket, Waiter]:
        """The first of the lane whose last turn is longest ago. It has its turn now.

        Args:
            ready: where one could go.
            rank: whose turn it is.
            slots: whether any slot is free.
        """
        lane = min(ready, key=lambda one: one.lane.served).lane.lane
        here = [
            (bucket, first)
            for bucket, _ in ready
            if (queue := bucket.turns[rank].of(lane))
            and (first := self._first(bucket, queue))
            and (slots or not first.slot)
        ]
        self._number += 1
        for bucket, _ in here:
            bucket.turns[rank].had_turn(lane, self._number)
        return min(here, key=lambda one: one[1].arrival)

    def _stays(self, bucket: Bucket, lane: FlowQueue, wait: float, now: float) -> bool:
        """Whether the first in a lane goes on to wait; or else it is gone now."""
        if (first := self._first(bucket, lane)) is None:
            return False
        if (error := first.waits_in_vain(wait, now)) is None:
            return True
        self.end(bucket, first, error)
        return False

    def _first(self, bucket: Bucket, lane: FlowQueue) -> Waiter | None:
        """The first in a lane, once those are removed that are gone."""
        while lane.count:
            if not (first := lane.first).gone:
                return first
            self.remove(bucket, first, WaiterState.ENDED)
        return None

"""Admission: slots for requests in flight, the provider's rate limits, and one waiting queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from math import inf
from typing import NamedTuple

from vcloud._core.limits.allowance import Allowance
from vcloud._core.limits.fair_queueing import CURRENT_FLOW, FlowQueue, Rank, Waiter, WaiterState
from vcloud._core.limits.shared_limits import SharedLimits
from vcloud._core.limits.waiting_queue import Bucket, Ready, WaitingQueue
from vcloud._core.limits.windows import RateLimit
from vcloud._core.observe import WaitReason
from vcloud._core.timing.timeouts import timeout
from vcloud.errors import VCloudError


class Wait(NamedTuple):
    """What one request waits for."""

    reason: WaitReason
    #: The earliest time at which it may end, in seconds of the clock; None: after some answer.
    until: float | None


class QueueLength(NamedTuple):
    """How many requests wait for the same reason."""

    number: int
    #: As in :class:`Wait`; the latest of several buckets.
    until: float | None


def _unlimited() -> float:
    """The default of ``max_wait``: a request waits however long its limit is used up."""
    return inf


class Admission:
    """Admits one provider's requests. All tasks share it.

    **The order** is the same for slots, rate limits and a shared budget:

    1. Cleanups first, in any flow, because they stop a machine for a cancelled caller. They count
      towards the limits, and obey them, like all requests.
    2. Then the flows, round robin: one flow for each bulk run, and one for all other calls.
    3. Within a flow, first come, first served, in any bucket.

    A slot that becomes free goes to the next waiting request, never to a newcomer. A request that
    waits for a rate limit occupies no slot. A flow that waits for several limits keeps its place
    for each of them: a turn counts only for the limits that would have admitted the flow.

    If a store counts for several processes, one waiting request of a bucket asks the store on
    behalf of all. A permit that the store grants goes to the request that is next by then.

    Args:
        limit: how many may be in flight.
        clock: monotonic seconds.
        rules: the configured rate limits.
        expected: the documented rate limits, which hold until an answer announces others.
        acquire: waits for a configured limit that a store counts, for so many seconds at most;
            None: configured limits are counted in this process alone.
    """

    __slots__ = (
        "_buckets",
        "_clock",
        "_expected",
        "_free",
        "_queue",
        "_rules",
        "_shared",
    )

    def __init__(
        self,
        limit: int,
        clock: Callable[[], float],
        *,
        rules: Iterable[RateLimit] = (),
        expected: Iterable[RateLimit] = (),
        acquire: Callable[..., Awaitable[None]] | None = None,
    ) -> None:
        self._free = limit
        self._clock = clock
        self._rules = {rule.bucket: rule for rule in rules}
        self._expected = {rule.bucket: rule for rule in expected}
        self._buckets: dict[str, Bucket] = {}
        self._queue = WaitingQueue()
        self._shared = None if acquire is None else SharedLimits(acquire, self._queue, clock)

    def bucket(self, name: str) -> Bucket:
        """The bucket of this name."""
        bucket = self._buckets.get(name)
        if bucket is None:
            rule = self._rules.get(name)
            shared = rule if self._shared is not None else None
            allowance = Allowance(
                None if shared else rule, None if rule else self._expected.get(name)
            )
            bucket = self._buckets[name] = Bucket(allowance, shared)
        return bucket

    def forget_documented(self) -> None:
        """The service has none of the documented limits."""
        self._expected = {}
        for bucket in self._buckets.values():
            bucket.allowance.forget_documented()
        self._admit()

    @property
    def free(self) -> int:
        """How many more may be in flight."""
        return self._free

    @property
    def in_flight(self) -> int:
        """How many were admitted and have not left, including those without a slot."""
        return sum(bucket.allowance.in_flight for bucket in self._buckets.values())

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in flight, waits, or asks the store of a shared budget."""
        return not self._queue.count and not any(
            bucket.allowance.in_flight or bucket.allowance.probing or bucket.asker or bucket.permit
            for bucket in self._buckets.values()
        )

    def reason(self, bucket: Bucket) -> Wait:
        """What the requests of this bucket wait for now."""
        now = self._clock()
        wait, paused = bucket.allowance.delay(now), bucket.allowance.pauses(now)
        until = now + wait if 0 < wait < inf else None
        if paused:
            return Wait(WaitReason.PAUSE, until)
        if wait > 0 or (bucket.shared and not bucket.permit):
            limit = WaitReason.SHARED_BUDGET if bucket.shared else WaitReason.RATE_LIMIT
            return Wait(limit, until)
        return Wait(WaitReason.SLOT, None)

    def waiting(self) -> dict[WaitReason, QueueLength]:
        """How many requests wait for each reason. Reasons without a waiting request are absent."""
        found: dict[WaitReason, QueueLength] = {}
        for bucket in self._buckets.values():
            if bucket.count:
                reason, until = self.reason(bucket)
                before = found.get(reason, QueueLength(0, None))
                untils = [one for one in (before.until, until) if one is not None]
                found[reason] = QueueLength(before.number + bucket.count, max(untils, default=None))
        return found

    def paused_for(self) -> float:
        """Seconds until the next request may be sent after a 429; 0: nothing is paused.

        The longest time of all buckets. While a probe has no answer, it is the time until the next
        probe.
        """
        now = self._clock()
        return max(
            (bucket.allowance.paused_for(now) for bucket in self._buckets.values()), default=0.0
        )

    def try_enter(self, bucket: Bucket) -> int:
        """Admit a request without waiting, as is possible for nearly every request.

        Returns:
            its number in the bucket, from 1; 0: it has to wait.
        """
        allowance = bucket.allowance
        if self._free <= 0 or bucket.count or bucket.shared:
            return 0
        if not allowance.bounded:
            self._free -= 1
            return allowance.sent_unbounded()
        now = self._clock()
        if allowance.delay(now) > 0:
            return 0
        self._free -= 1
        return allowance.sent(now)

    async def enter(
        self,
        bucket: Bucket,
        deadline: float | None,
        *,
        slot: bool = True,
        max_wait: Callable[[], float] = _unlimited,
        urgent: bool = False,
    ) -> int:
        """Wait until a request is admitted. If this raises, it holds nothing.

        Args:
            bucket: the request's bucket.
            deadline: monotonic seconds; None: no deadline.
            slot: False: it needs no slot. Requests that the holders of slots wait for (logins) need
                this, and a bucket of their own: otherwise they would wait behind those holders.
            max_wait: returns for how many seconds the limit may be used up, as of now.
            urgent: it is part of a cleanup, and goes ahead of all calls.

        Returns:
            its number in the bucket, from 1.

        Raises:
            TimeoutError: the deadline would pass first.
            WaitTooLongError: the limit is used up for longer than ``max_wait``.
            ConnectError: the store of a shared budget cannot be reached.
        """
        waiter = Waiter(
            arrival=0,
            rank=Rank.CLEANUP if urgent else Rank.CALL,
            flow=None if urgent else CURRENT_FLOW.get(),
            admitted=asyncio.get_running_loop().create_future(),
            slot=slot,
            deadline=inf if deadline is None else deadline,
            max_wait=max_wait,
        )
        wait = self._wait_for_cleanup if urgent and bucket.shared is not None else self._wait
        if deadline is None:
            return await wait(bucket, waiter)
        async with timeout(deadline - self._clock()):
            return await wait(bucket, waiter)

    def leave(
        self, bucket: Bucket, number: int = 0, *, counted: bool = True, slot: bool = True
    ) -> None:
        """End a request. Its slot goes to the next waiting request.

        Args:
            bucket: the request's bucket.
            number: its number, as :meth:`enter` returned it.
            counted: False: it never reached the service.
            slot: whether it had a slot.
        """
        self._free += slot
        allowance = bucket.allowance
        if allowance.bounded:
            allowance.ended(self._clock(), number, counted=counted)
        else:
            allowance.in_flight -= 1
        if self._queue.count:
            if bucket.refusals != allowance.refusals:
                bucket.refusals = allowance.refusals
                now = self._clock()
                self._queue.fail_if_too_long(bucket, allowance.delay(now), now)
            self._admit()

    def refuse(self, make_error: Callable[[], VCloudError]) -> None:
        """Fail all waiting calls except cleanups, each with its own error."""
        for bucket in self._buckets.values():
            for waiter in bucket.all_calls():
                self._queue.fail(bucket, waiter, make_error())

    async def _wait(self, bucket: Bucket, waiter: Waiter) -> int:
        """Queue a request, and wait until it is admitted."""
        admitted = waiter.admitted
        self._join(bucket, waiter)
        try:
            while not (number := await admitted):
                # The result was ASK_STORE, and the waiter has a new future.
                admitted = waiter.admitted
                if waiter.is_queued:
                    assert self._shared is not None
                    await self._shared.ask(bucket, waiter, partial(self._sendable, bucket))
                    self._admit()
        except BaseException:
            if not waiter.admitted.get_loop().is_closed():
                self._abandon(bucket, waiter)
            raise
        return number

    async def _wait_for_cleanup(self, bucket: Bucket, waiter: Waiter) -> int:
        """Have the store count a cleanup ahead of all calls, then wait for the rest."""
        assert self._shared is not None
        await self._shared.ask_for_cleanup(bucket, waiter)
        return await self._wait(bucket, waiter)

    def _join(self, bucket: Bucket, waiter: Waiter) -> None:
        self._queue.add(bucket, waiter)
        now = self._clock()
        # A request that cannot wait so long fails at once, wherever it is in the queue.
        error = waiter.error_if_too_long(bucket.allowance.delay(now), now)
        if error is not None:
            self._queue.fail(bucket, waiter, error)
        else:
            self._admit()

    def _abandon(self, bucket: Bucket, waiter: Waiter) -> None:
        """Clean up after a request whose task was cancelled, or got its error."""
        asked = bucket.asker is waiter
        if asked:
            bucket.asker = None
        if waiter.is_queued:
            self._queue.remove(bucket, waiter, WaiterState.ENDED)
            waiter.admitted.cancel()
        elif waiter.state is WaiterState.ADMITTED:
            # It was admitted and cancelled at once. The slot must not be lost.
            self.leave(bucket, waiter.admitted.result(), counted=False, slot=waiter.slot)
        elif not waiter.admitted.cancelled():
            waiter.admitted.exception()  # marks it as retrieved
        if asked:
            self._admit()

    def _admit(self) -> None:
        """Admit all requests that may be sent now, in their order."""
        while self._queue.count and (found := self._next()) is not None:
            bucket, waiter = found
            self._queue.remove(bucket, waiter, WaiterState.ADMITTED)
            self._free -= waiter.slot
            if waiter.rank is not Rank.CLEANUP:
                bucket.permit = False
            waiter.admitted.set_result(bucket.allowance.sent(self._clock()))

    def _next(self) -> tuple[Bucket, Waiter] | None:
        """The next request in the order, among those that may be sent now."""
        now = self._clock()
        for rank in Rank:
            ready = [
                Ready(bucket, queue)
                for bucket in self._buckets.values()
                if bucket.ranks[rank].count and (queue := self._ready(bucket, rank, now))
            ]
            if ready:
                return self._queue.take_turn(ready, rank, slots=self._free > 0)
        return None

    def _ready(self, bucket: Bucket, rank: Rank, now: float) -> FlowQueue | None:
        """The flow that has the next turn in a bucket, if its first request may be sent now."""
        wait = bucket.allowance.delay(now)
        queue = self._queue.next_flow(bucket, rank, wait, now)
        if queue is None:
            return None
        if wait > 0:
            self._set_timer(bucket, wait, now)
            return None
        if rank is not Rank.CLEANUP and bucket.shared and not bucket.permit:
            assert self._shared is not None
            self._shared.delegate(bucket, queue.first)
            return None
        return None if queue.first.slot and self._free <= 0 else queue

    def _set_timer(self, bucket: Bucket, wait: float, now: float) -> None:
        if wait == inf and (wait := bucket.allowance.next_check(now)) == inf:
            return  # the next answer admits them
        if bucket.timer is not None:
            if bucket.timer_at <= now + wait:
                return  # when it fires, it is set again if necessary
            bucket.timer.cancel()
        bucket.timer_at = now + wait
        loop = asyncio.get_running_loop()
        bucket.timer = loop.call_later(wait, partial(self._on_timer, bucket))

    def _on_timer(self, bucket: Bucket) -> None:
        bucket.timer, bucket.timer_at = None, inf
        self._admit()

    def _sendable(self, bucket: Bucket) -> int:
        """How many calls could be sent now if the store allowed it, at least 1.

        Calls without a free slot are not counted, so that other processes get their turns.
        """
        return max(1, min(bucket.calls, self._free))

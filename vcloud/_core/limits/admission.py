"""Who may send now: a limit on requests in flight, the provider's rate limits, and one order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from math import inf
from typing import Final, NamedTuple

from vcloud._core.limits.allowance import Allowance
from vcloud._core.limits.line import Bucket, Line, Ready
from vcloud._core.limits.turns import (
    CURRENT_FLOW,
    FlowQueue,
    Rank,
    TooLongError,
    Waiter,
    WaiterState,
)
from vcloud._core.limits.windows import RateLimit
from vcloud._core.observe import WaitReason
from vcloud._core.timing.timeouts import timeout
from vcloud.errors import ConnectError, VCloudError


class Wait(NamedTuple):
    """What one request waits for."""

    reason: WaitReason
    #: Until when at least, in seconds of the clock; None: an answer has to come first.
    until: float | None


class InLine(NamedTuple):
    """How many requests wait for the same."""

    number: int
    #: As for :class:`Wait`; the latest of several buckets.
    until: float | None


def _endless() -> float:
    """The patience of those who wait however long it takes."""
    return inf


class Admission:
    """One provider's admission, shared by all tasks.

    **The order**, whether for slots, for rate limits or for a shared budget: cleanups first,
    whatever their lane, because they stop a machine for a caller who was cancelled. They are
    counted like any others, and keep to the limits. Then the lanes take turns: one for each bulk
    run, and one for all that belongs to no run. Within a lane first come first served, whatever the
    bucket.

    A slot that becomes free is handed to the next in line and never to a newcomer. Whoever waits
    for a rate limit keeps no slot from those that other limits count. A lane that waits for several
    limits keeps its place for each: a turn counts only for those limits that would have let it
    send.

    Where a store counts for several processes, one of the line asks it, on behalf of all. What it
    was granted goes to the one that is the next in the order by then.

    Args:
        limit: how many may be in flight.
        clock: monotonic seconds.
        rules: the configured rate limits.
        expected: those that the provider's documents promise, until its answers say it better.
        acquire: waits for a configured limit where other processes count too, for so many seconds
            at most; None: they are counted here alone.
    """

    __slots__ = (
        "_acquire",
        "_buckets",
        "_clock",
        "_expected",
        "_free",
        "_line",
        "_rules",
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
        self._acquire = acquire
        self._buckets: dict[str, Bucket] = {}
        self._line = Line()

    def bucket(self, name: str) -> Bucket:
        """The bucket of this name."""
        bucket = self._buckets.get(name)
        if bucket is None:
            rule = self._rules.get(name)
            shared = rule if self._acquire is not None else None
            allowance = Allowance(
                None if shared else rule, None if rule else self._expected.get(name)
            )
            bucket = self._buckets[name] = Bucket(allowance, shared)
        return bucket

    @property
    def free(self) -> int:
        """How many more may be in flight."""
        return self._free

    @property
    def in_flight(self) -> int:
        """How many were admitted and have not left, those without a slot included."""
        return sum(bucket.allowance.in_flight for bucket in self._buckets.values())

    @property
    def at_rest(self) -> bool:
        """Whether nothing is in flight, in line or asked for."""
        return not self._line.count and not any(
            bucket.allowance.in_flight or bucket.allowance.probing or bucket.asker or bucket.permit
            for bucket in self._buckets.values()
        )

    def reason(self, bucket: Bucket) -> Wait:
        """What those in line for this bucket wait for now."""
        now = self._clock()
        wait, paused = bucket.allowance.delay(now), bucket.allowance.pauses(now)
        until = now + wait if 0 < wait < inf else None
        if paused:
            return Wait(WaitReason.PAUSE, until)
        if wait > 0 or (bucket.shared and not bucket.permit):
            limit = WaitReason.SHARED_BUDGET if bucket.shared else WaitReason.RATE_LIMIT
            return Wait(limit, until)
        return Wait(WaitReason.SLOT, None)

    def waiting(self) -> dict[WaitReason, InLine]:
        """How many are in line, and for what; only reasons for which anybody waits."""
        found: dict[WaitReason, InLine] = {}
        for bucket in self._buckets.values():
            if bucket.count:
                reason, until = self.reason(bucket)
                before = found.get(reason, InLine(0, None))
                untils = [one for one in (before.until, until) if one is not None]
                found[reason] = InLine(before.number + bucket.count, max(untils, default=None))
        return found

    def paused_for(self) -> float:
        """Seconds for which a refusal of the service keeps requests waiting; 0: it does not.

        The longest of all buckets. Where the end depends on the answer to a probe: until the next
        request is sent if that answer does not come.
        """
        now = self._clock()
        return max(
            (bucket.allowance.paused_for(now) for bucket in self._buckets.values()), default=0.0
        )

    def enter_now(self, bucket: Bucket) -> int:
        """Enter if nobody waits and nothing forbids it, as nearly every request can.

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
        patience: Callable[[], float] = _endless,
        urgent: bool = False,
    ) -> int:
        """Wait in line. Nothing is held when this raises, cancellation included.

        Args:
            bucket: the request's.
            deadline: monotonic seconds; None: however long it takes.
            slot: False passes by the limit on requests in flight: for those that others, who hold
                the slots, wait for. They have a bucket of their own, or they would wait behind
                those others.
            patience: gives the seconds for which the limit may be used up, as of now.
            urgent: it is part of a cleanup, and goes ahead of all that are not.

        Returns:
            its number in the bucket, from 1.

        Raises:
            TimeoutError: the deadline would pass first.
            TooLongError: the limit is used up for longer than the patience lasts.
            ConnectError: the store of a shared budget cannot be reached.
        """
        waiter = Waiter(
            arrival=0,
            rank=Rank.CLEANUP if urgent else Rank.CALL,
            lane=None if urgent else CURRENT_FLOW.get(),
            turn=asyncio.get_running_loop().create_future(),
            slot=slot,
            deadline=inf if deadline is None else deadline,
            patience=patience,
        )
        wait = self._ask_ahead if urgent and bucket.shared is not None else self._wait
        if deadline is None:
            return await wait(bucket, waiter)
        async with timeout(deadline - self._clock()):
            return await wait(bucket, waiter)

    def leave(
        self, bucket: Bucket, number: int = 0, *, counted: bool = True, slot: bool = True
    ) -> None:
        """Give the slot to the next in line, or back.

        Args:
            bucket: the request's.
            number: what entering gave.
            counted: False: the request never reached the service.
            slot: whether it had one.
        """
        self._free += slot
        allowance = bucket.allowance
        if allowance.bounded:
            allowance.ended(self._clock(), number, counted=counted)
        else:
            allowance.in_flight -= 1
        if self._line.count:
            if bucket.refusals != allowance.refusals:
                bucket.refusals = allowance.refusals
                now = self._clock()
                self._line.dismiss(bucket, allowance.delay(now), now)
            self._admit()

    def refuse(self, make_error: Callable[[], VCloudError]) -> None:
        """End all who wait and are no cleanups, each with an error of its own."""
        for bucket in self._buckets.values():
            for waiter in bucket.all_calls():
                self._line.end(bucket, waiter, make_error())

    async def _wait(self, bucket: Bucket, waiter: Waiter) -> int:
        """Get in line, and wait for the turn."""
        turn = waiter.turn
        self._join(bucket, waiter)
        try:
            while not (number := await turn):
                # The next one, which whoever let it ask has made.
                turn = waiter.turn
                await self._ask(bucket, waiter)
        except BaseException:
            if not waiter.turn.get_loop().is_closed():
                self._abandon(bucket, waiter)
            raise
        return number

    def _join(self, bucket: Bucket, waiter: Waiter) -> None:
        self._line.add(bucket, waiter)
        now = self._clock()
        # Who waits in vain is told at once, whatever its place in line.
        if (error := waiter.waits_in_vain(bucket.allowance.delay(now), now)) is not None:
            self._line.end(bucket, waiter, error)
        else:
            self._admit()

    def _abandon(self, bucket: Bucket, waiter: Waiter) -> None:
        """Its task was cancelled, or it has its error."""
        asked = bucket.asker is waiter
        if asked:
            bucket.asker = None
        if waiter.waits:
            self._line.remove(bucket, waiter, WaiterState.ENDED)
            waiter.turn.cancel()
        elif waiter.state is WaiterState.ADMITTED:
            # In the same moment as the cancellation: what it was given must not be lost.
            self.leave(bucket, waiter.turn.result(), counted=False, slot=waiter.slot)
        elif not waiter.turn.cancelled():
            waiter.turn.exception()  # which nobody else will look at
        if asked:
            self._admit()

    def _admit(self) -> None:
        """Admit all who may go now, in their order."""
        while self._line.count and (found := self._next()) is not None:
            bucket, waiter = found
            self._line.remove(bucket, waiter, WaiterState.ADMITTED)
            self._free -= waiter.slot
            if waiter.rank is not Rank.CLEANUP:
                bucket.permit = False
            waiter.turn.set_result(bucket.allowance.sent(self._clock()))

    def _next(self) -> tuple[Bucket, Waiter] | None:
        """The next in the order of those who may go now."""
        now = self._clock()
        for rank in Rank:
            ready = [
                Ready(bucket, lane)
                for bucket in self._buckets.values()
                if bucket.turns[rank].count and (lane := self._ready(bucket, rank, now))
            ]
            if ready:
                return self._line.take_turn(ready, rank, slots=self._free > 0)
        return None

    def _ready(self, bucket: Bucket, rank: Rank, now: float) -> FlowQueue | None:
        """The lane that has the next turn in a bucket, if its first may go now."""
        wait = bucket.allowance.delay(now)
        lane = self._line.next_lane(bucket, rank, wait, now)
        if lane is None:
            return None
        if wait > 0:
            self._set_alarm(bucket, wait, now)
            return None
        if rank is not Rank.CLEANUP and bucket.shared and not bucket.permit:
            self._let_ask(bucket, lane.first)
            return None
        return None if lane.first.slot and self._free <= 0 else lane

    def _set_alarm(self, bucket: Bucket, wait: float, now: float) -> None:
        if wait == inf and (wait := bucket.allowance.next_look(now)) == inf:
            return  # the answer that has to come first admits them
        if bucket.alarm is not None:
            if bucket.alarm_at <= now + wait:
                return  # and it is set anew when it rings
            bucket.alarm.cancel()
        bucket.alarm_at = now + wait
        loop = asyncio.get_running_loop()
        bucket.alarm = loop.call_later(wait, partial(self._ring, bucket))

    def _ring(self, bucket: Bucket) -> None:
        bucket.alarm, bucket.alarm_at = None, inf
        self._admit()

    def _let_ask(self, bucket: Bucket, waiter: Waiter) -> None:
        """Have one that is in line ask the store, unless somebody does."""
        # One whose loop was closed over it will not say that it has ended.
        if bucket.asker is None or bucket.asker.turn.get_loop().is_closed():
            bucket.asker = waiter
            waiter.state = WaiterState.ASKING
            turn, waiter.turn = waiter.turn, waiter.turn.get_loop().create_future()
            turn.set_result(_ASK)

    async def _ask(self, bucket: Bucket, waiter: Waiter) -> None:
        """Ask the store for the next in line. What ends the waiter meanwhile is in its turn."""
        if not waiter.waits:
            return
        now = self._clock()
        # What outlasts the deadline is not waited for.
        patience = min(waiter.patience(), waiter.deadline - now)
        try:
            await self._ask_within(bucket, patience)
        except TooLongError as error:
            self._tell_used_up(bucket, error.seconds)
            if waiter.waits:  # by a hair: the time went on
                self._line.end(bucket, waiter, error)
        except ConnectError as error:
            # A crowd must not find out one by one.
            for other in bucket.all_calls():
                self._line.end(bucket, other, ConnectError(str(error)))
        except TimeoutError:
            if waiter.waits:
                raise
        else:
            bucket.permit = bucket.calls > 0
        bucket.asker = None
        if waiter.waits:
            waiter.state = WaiterState.WAITING
        self._admit()

    async def _ask_within(self, bucket: Bucket, patience: float) -> None:
        assert self._acquire is not None
        try:
            async with timeout(None) as bucket.asking:
                await self._acquire(
                    bucket.shared, patience, waiting=partial(self._could_go, bucket)
                )
        finally:
            bucket.asking = None

    async def _ask_ahead(self, bucket: Bucket, waiter: Waiter) -> int:
        """Ask the store for a cleanup, which waits behind no call, and get in line for the rest."""
        assert self._acquire is not None
        left = waiter.deadline - self._clock()
        try:
            await self._acquire(bucket.shared, min(waiter.patience(), left), urgent=True)
        except TooLongError as error:
            if error.seconds > waiter.patience():
                raise
            raise TimeoutError from None
        return await self._wait(bucket, waiter)

    def _could_go(self, bucket: Bucket) -> int:
        """How many could go now if the store allowed it, the one that asks included.

        Those that have no slot to go to leave their place to other processes.
        """
        return max(1, min(bucket.calls, self._free))

    def _tell_used_up(self, bucket: Bucket, seconds: float) -> None:
        """The store's limit is used up for so long: end those for whom that is too long."""
        now = self._clock()
        for waiter in bucket.all_calls():
            if (error := waiter.waits_in_vain(seconds, now)) is not None:
                self._line.end(bucket, waiter, error)


#: What a turn gives to the one that is to ask the store. Numbers begin with 1.
_ASK: Final = 0

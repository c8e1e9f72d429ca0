"""Who may send now: a limit on requests in flight, first come first served, and the provider's rate limits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import nullcontext
from enum import StrEnum
from itertools import takewhile
from math import inf
from typing import Final, NamedTuple

import msgspec

from vcloud._core.limits.windows import Allowance, RateLimit
from vcloud.errors import ConnectError, VCloudError


class TooLongError(Exception):
    """The rate limit is used up for longer than this request has patience."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"used up for another {seconds:g} s")
        self.seconds = seconds


class Reason(StrEnum):
    """What a request waits for."""

    #: One of the requests in flight has to end.
    SLOT = "slot"
    #: A limit is used up, or other processes have their turn at a shared one.
    RATE_LIMIT = "rate limit"
    #: The service refused (429) and asked for a pause, or the first request after it has no answer.
    PAUSE = "pause"


class Wait(NamedTuple):
    """What one request waits for."""

    reason: Reason
    #: Until when at least, in seconds of the clock; None: an answer has to come first.
    until: float | None


class Waiting(NamedTuple):
    """How many requests wait for the same."""

    number: int
    #: As for :class:`Wait`; the latest of several buckets.
    until: float | None


class Waiter(msgspec.Struct, eq=False):
    """One request in line."""

    #: In the order of arrival, whatever the bucket; below 0 for those that go ahead of all others.
    number: int
    turn: asyncio.Future[int]
    #: Whether it needs one of the slots.
    slot: bool
    #: When waiting on makes no sense, in monotonic seconds.
    deadline: float
    #: Seconds that the limit may be used up for.
    patience: float


class Bucket(msgspec.Struct, eq=False):
    """The requests that one of the provider's limits counts, and the line of those that wait."""

    allowance: Allowance
    #: The configured limit, where it is counted in a store together with other processes.
    shared: RateLimit | None = None
    waiting: deque[Waiter] = msgspec.field(default_factory=deque)
    #: How many of them were cancelled.
    gone: int = 0
    #: One alarm for the whole line, however many wait.
    alarm: asyncio.TimerHandle | None = None
    #: Held by the one who asks the store. The others wait in line, not in a crowd before the store.
    asking: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)
    #: How often the store was away, and what it said the last time.
    failures: int = 0
    failure: str = ""
    #: How many wait for the store, the one who asks included.
    askers: int = 0


class Admission:
    """One provider's admission, shared by all tasks.

    Urgent requests come first, whatever their bucket: they stop a machine for a caller who was cancelled.
    They are counted like any others, and keep to the limits. Otherwise a slot that becomes free is
    handed to whoever has waited longest, never put back for a newcomer to snatch; whoever waits for a
    rate limit keeps none from those that other limits count.

    Args:
        limit: how many may be in flight.
        clock: monotonic seconds.
        rules: the configured rate limits.
        expected: those that the provider's documents promise, until its answers say it better.
        acquire: waits for the configured limits where other processes count too, for so many seconds at most; None: they are
            counted here alone.
    """

    __slots__ = (
        "_acquire",
        "_arrivals",
        "_buckets",
        "_clock",
        "_expected",
        "_free",
        "_rules",
        "_waiting",
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
        self._arrivals = self._waiting = 0

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

    def reason(self, bucket: Bucket) -> Wait:
        """What those in line for this bucket wait for now."""
        now = self._clock()
        wait, paused = bucket.allowance.delay(now), bucket.allowance.pauses(now)
        until = now + wait if 0 < wait < inf else None
        if paused:
            return Wait(Reason.PAUSE, until)
        if wait > 0 or bucket.shared:
            return Wait(Reason.RATE_LIMIT, until)
        return Wait(Reason.SLOT, None)

    def waiting(self) -> dict[Reason, Waiting]:
        """How many are in line, and for what; only reasons for which anybody waits."""
        found: dict[Reason, Waiting] = {}
        for bucket in self._buckets.values():
            number = max(bucket.askers, len(bucket.waiting) - bucket.gone)
            if number:
                reason, until = self.reason(bucket)
                before = found.get(reason, Waiting(0, None))
                untils = [one for one in (before.until, until) if one is not None]
                found[reason] = Waiting(before.number + number, max(untils, default=None))
        return found

    def enter_now(self, bucket: Bucket) -> int:
        """Enter if nobody waits and nothing forbids it: the way of nearly every request, without a future or a timer.

        Returns:
            its number in the bucket, from 1; 0: it has to wait.
        """
        allowance = bucket.allowance
        if (
            self._free <= 0
            or bucket.waiting
            or bucket.shared
            or (allowance.bounded and allowance.delay(self._clock()) > 0)
        ):
            return 0
        self._free -= 1
        return allowance.take()

    async def enter(
        self,
        bucket: Bucket,
        deadline: float | None,
        *,
        slot: bool = True,
        patience: float = inf,
        urgent: bool = False,
    ) -> int:
        """Wait for the rate limits and for a slot. Nothing is held when this raises, cancellation included.

        Args:
            bucket: the request's.
            deadline: monotonic seconds; None: however long it takes.
            slot: False passes by the limit on requests in flight: for those that others, who hold the slots, wait for. They
                have a bucket of their own, or they would wait behind those others.
            patience: seconds for which the limit may be used up.
            urgent: it goes ahead of all that are not.

        Returns:
            its number in the bucket, from 1.

        Raises:
            TimeoutError: the deadline would pass first.
            TooLongError: the limit is used up for longer than the patience lasts.
            ConnectError: the store of a shared budget cannot be reached.
        """
        if bucket.shared is None or self._acquire is None:
            return await self._wait(bucket, deadline, slot=slot, patience=patience, urgent=urgent)
        bucket.askers += not urgent
        try:
            return await self._enter_shared(
                bucket, deadline, slot=slot, patience=patience, urgent=urgent
            )
        finally:
            bucket.askers -= not urgent

    async def _enter_shared(
        self, bucket: Bucket, deadline: float | None, *, slot: bool, patience: float, urgent: bool
    ) -> int:
        assert self._acquire is not None
        assert bucket.shared is not None
        failures = bucket.failures
        async with (
            asyncio.timeout(None if deadline is None else deadline - self._clock()),
            # What is urgent does not wait behind the others.
            nullcontext() if urgent else bucket.asking,
        ):
            if bucket.failures > failures and not urgent:
                # One who asked meanwhile found it away. A crowd must not find out one by one.
                raise ConnectError(bucket.failure)
            # What outlasts the deadline is not waited for.
            left = inf if deadline is None else deadline - self._clock()
            try:
                if urgent:
                    await self._acquire(bucket.shared, min(patience, left), urgent=True)
                else:
                    await self._acquire(
                        bucket.shared,
                        min(patience, left),
                        # Those that have no slot to go to leave their place to other processes.
                        waiting=lambda: max(1, min(bucket.askers, self._free)),
                    )
            except TooLongError as error:
                if error.seconds > patience:
                    raise
                raise TimeoutError from None
            except ConnectError as error:
                bucket.failures += 1
                bucket.failure = str(error)
                raise
            return await self._wait(bucket, None, slot=slot, patience=patience, urgent=urgent)

    def leave(
        self, bucket: Bucket, number: int = 0, *, counted: bool = True, slot: bool = True
    ) -> None:
        """Give the slot to the first in line, or back. Not ``counted``: the request never reached the service."""
        self._free += slot
        bucket.allowance.done(self._clock(), number, counted=counted)
        if self._waiting:
            self._admit()

    def refuse(self, make_error: Callable[[], VCloudError]) -> None:
        """End all who wait and are not urgent, each with an error of its own."""
        for bucket in self._buckets.values():
            waiting, bucket.waiting, bucket.gone = bucket.waiting, deque(), 0
            for waiter in waiting:
                if waiter.number < 0 and not waiter.turn.done():
                    bucket.waiting.append(waiter)
                    continue
                self._waiting -= 1
                if not waiter.turn.done():
                    waiter.turn.set_exception(make_error())

    async def _wait(
        self, bucket: Bucket, deadline: float | None, *, slot: bool, patience: float, urgent: bool
    ) -> int:
        turn: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        self._waiting += 1
        number = self._arrivals - _AHEAD if urgent else self._arrivals
        waiter = Waiter(number, turn, slot, inf if deadline is None else deadline, patience)
        if urgent:
            ahead = takewhile(lambda other: other.number < 0, bucket.waiting)
            bucket.waiting.insert(len(list(ahead)), waiter)
        else:
            bucket.waiting.append(waiter)
        self._admit()
        try:
            if deadline is None:
                return await turn
            async with asyncio.timeout(deadline - self._clock()):
                return await turn
        except BaseException:
            if turn.get_loop().is_closed():
                raise
            if not turn.done():
                turn.cancel()
            if turn.cancelled():
                bucket.gone += 1
                if 2 * bucket.gone > len(bucket.waiting):
                    self._shorten(bucket)
            elif turn.exception() is None:
                # Admitted in the same moment as the cancellation: what was given must not be lost.
                self.leave(bucket, turn.result(), counted=False, slot=slot)
            raise

    def _shorten(self, bucket: Bucket) -> None:
        """Forget those who are gone: behind one who waits for an hour there may be thousands. Not each time, for it takes long."""
        left = deque([waiter for waiter in bucket.waiting if not waiter.turn.done()])
        forgotten = len(bucket.waiting) - len(left)
        self._waiting -= forgotten
        bucket.gone -= forgotten
        bucket.waiting = left

    def _admit(self) -> None:
        """Let in all who may go now, in the order in which they came."""
        while (bucket := self._next()) is not None:
            waiter = bucket.waiting.popleft()
            self._waiting -= 1
            self._free -= waiter.slot
            waiter.turn.set_result(bucket.allowance.take())

    def _next(self) -> Bucket | None:
        """The bucket whose first has waited longest of all who may go now."""
        found: Bucket | None = None
        for bucket in self._buckets.values():
            wait = self._dismiss(bucket)
            if not bucket.waiting:
                continue
            first = bucket.waiting[0]
            if (first.slot and self._free <= 0) or (
                found is not None and found.waiting[0].number < first.number
            ):
                continue
            if wait > 0:
                self._set_alarm(bucket, wait)
            else:
                found = bucket
        return found

    def _dismiss(self, bucket: Bucket) -> float:
        """Send off those at the head of the line who are gone, or wait in vain. Gives the seconds until the next may go."""
        while bucket.waiting:
            now, first = self._clock(), bucket.waiting[0]
            wait = bucket.allowance.delay(now)
            if first.turn.done():
                bucket.gone -= 1
            elif first.turn.get_loop().is_closed():
                pass  # nobody can be told any more
            elif inf > wait > first.patience:
                first.turn.set_exception(TooLongError(wait))
            elif wait > 0 and inf > now + wait >= first.deadline:
                first.turn.set_exception(TimeoutError())
            else:
                return wait
            bucket.waiting.popleft()
            self._waiting -= 1
        return 0.0

    def _set_alarm(self, bucket: Bucket, wait: float) -> None:
        if bucket.alarm is not None:
            bucket.alarm.cancel()
        # Infinity: the answer that has to come first admits them.
        bucket.alarm = (
            None if wait == inf else asyncio.get_running_loop().call_later(wait, self._admit)
        )


#: More than can ever arrive.
_AHEAD: Final = 2**62

"""Limits that a store counts for several processes: one queued request asks it for its bucket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from vcloud._core.limits.fair_queueing import Waiter, WaiterState, WaitTooLongError
from vcloud._core.limits.waiting_queue import Bucket, WaitingQueue
from vcloud._core.timing.timeouts import timeout
from vcloud.errors import ConnectError

#: What a waiter's future gets instead of a number when it is to ask the store. Numbers begin at 1.
ASK_STORE: Final = 0


class SharedLimits:
    """Asks the store of a shared budget on behalf of all queued requests of a bucket.

    One request of each bucket asks at a time. What the store grants is a permit of the bucket, for
    the request that is next in the order by then. Cleanups ask for themselves, at once.

    Args:
        acquire: waits until the store counts one request, for so many seconds at most.
        queue: the waiting requests.
        clock: monotonic seconds.
    """

    __slots__ = ("_acquire", "_clock", "_queue")

    def __init__(
        self,
        acquire: Callable[..., Awaitable[None]],
        queue: WaitingQueue,
        clock: Callable[[], float],
    ) -> None:
        self._acquire = acquire
        self._queue = queue
        self._clock = clock

    def delegate(self, bucket: Bucket, waiter: Waiter) -> None:
        """Make a queued request ask the store, unless another request of the bucket does."""
        # A request whose loop was closed cannot report that it stopped asking.
        if bucket.asker is None or bucket.asker.admitted.get_loop().is_closed():
            bucket.asker = waiter
            waiter.state = WaiterState.ASKING
            woken = waiter.admitted
            waiter.admitted = woken.get_loop().create_future()
            woken.set_result(ASK_STORE)

    async def ask(self, bucket: Bucket, waiter: Waiter, sendable: Callable[[], int]) -> None:
        """Ask the store for a permit of the bucket.

        If the waiter fails meanwhile, its error is in its future, and this returns.

        Args:
            bucket: the bucket.
            waiter: the queued request that asks.
            sendable: how many requests could be sent now if the store allowed it.

        Raises:
            TimeoutError: the store did not answer before the deadline.
        """
        now = self._clock()
        # A wait that outlasts the deadline is of no use.
        max_wait = min(waiter.max_wait(), waiter.deadline - now)
        try:
            await self._ask_until_failed(bucket, max_wait, sendable)
        except WaitTooLongError as error:
            self._fail_too_long(bucket, error.seconds)
            if waiter.is_queued:  # its remaining time was just long enough by the later clock
                self._queue.fail(bucket, waiter, error)
        except ConnectError as error:
            # All of them, or thousands would find out one by one.
            for other in bucket.all_calls():
                self._queue.fail(bucket, other, ConnectError(str(error)))
        except TimeoutError:
            if waiter.is_queued:
                raise
        else:
            bucket.permit = bucket.calls > 0
        bucket.asker = None
        if waiter.is_queued:
            waiter.state = WaiterState.WAITING

    async def ask_for_cleanup(self, bucket: Bucket, waiter: Waiter) -> None:
        """Have the store count a cleanup, ahead of all calls.

        Raises:
            WaitTooLongError: the limit is used up for longer than the cleanup may wait.
            TimeoutError: the limit is used up for longer than its deadline.
            ConnectError: the store cannot be reached.
        """
        left = waiter.deadline - self._clock()
        try:
            await self._acquire(bucket.shared, min(waiter.max_wait(), left), urgent=True)
        except WaitTooLongError as error:
            if error.seconds > waiter.max_wait():
                raise
            raise TimeoutError from None

    async def _ask_until_failed(
        self, bucket: Bucket, max_wait: float, sendable: Callable[[], int]
    ) -> None:
        try:
            # No timeout yet: the queue sets one to stop this when it fails the waiter that asks.
            async with timeout(None) as bucket.asking:
                await self._acquire(bucket.shared, max_wait, waiting=sendable)
        finally:
            bucket.asking = None

    def _fail_too_long(self, bucket: Bucket, seconds: float) -> None:
        """Fail the calls that cannot wait so long for the store's limit."""
        now = self._clock()
        for waiter in bucket.all_calls():
            if (error := waiter.error_if_too_long(seconds, now)) is not None:
                self._queue.fail(bucket, waiter, error)

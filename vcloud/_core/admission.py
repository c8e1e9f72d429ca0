"""Who may send now: a limit on requests in flight, first come first served, and the provider's budget."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from vcloud._core.ratelimit import Budget


class Gate:
    """One provider's admission, shared by all tasks.

    A slot that becomes free is handed to whoever has waited longest, never put back for a newcomer to snatch.

    Args:
        limit: how many may be in flight.
        clock: monotonic seconds.
    """

    __slots__ = ("_clock", "_free", "_waiting", "budget")

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._free = limit
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._clock = clock
        self.budget = Budget()

    def enter_now(self, bucket: str) -> bool:
        """Enter if nobody waits and nothing forbids it: the way of nearly every request, without a future or a timer."""
        if self._free <= 0 or self.budget.delay(bucket, self._clock()) > 0:
            return False
        self._free -= 1
        self.budget.take(bucket)
        return True

    async def enter(self, bucket: str, deadline: float | None) -> None:
        """Wait for the budget and for a slot. Nothing is held when this raises, cancellation included.

        Raises:
            TimeoutError: ``deadline`` (monotonic seconds) would pass first.
        """
        while True:
            await self.pause(bucket, deadline)
            await self._slot(deadline)
            # The line may have been long: what held when it was joined need not hold now.
            if self.budget.delay(bucket, self._clock()) <= 0:
                self.budget.take(bucket)
                return
            self.leave()

    async def pause(self, bucket: str, deadline: float | None) -> None:
        """Wait until the budget lets this bucket go, without a slot.

        Raises:
            TimeoutError: ``deadline`` would pass first, so there is no sense in waiting.
        """
        while (wait := self.budget.delay(bucket, self._clock())) > 0:
            if deadline is not None and self._clock() + wait >= deadline:
                raise TimeoutError
            await asyncio.sleep(wait)

    async def _slot(self, deadline: float | None) -> None:
        if self._free > 0:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            if deadline is None:
                await turn
            else:
                async with asyncio.timeout(deadline - self._clock()):
                    await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                # The slot came in the same moment as the cancellation: it must not be lost.
                self.leave()
            else:
                turn.cancel()
            raise

    def leave(self) -> None:
        """Give the slot to the first in line, or back."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

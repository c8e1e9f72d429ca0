"""Looking again and again until something is found, and once more where a wait has overslept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from vcloud._core.timing import timeouts
from vcloud.errors import APIError, DecodeError, TransportError

T = TypeVar("T")


class TimeIsUpError(Exception):
    """Nothing was found in time. Its cause is what the last look failed with, if it did."""


async def poll_until(
    look: Callable[[], Awaitable[T | None]],
    *,
    timeout: float,
    poll: float,
    attempt: float,
    clock: Callable[[], float],
    rest: Callable[[float], Awaitable[object]] = asyncio.sleep,
    look_late: Callable[[], Awaitable[T | None]] | None = None,
) -> T:
    """Look until something is found.

    Time in which the process stood still, or the loop was blocked, may outlast the wait though
    nobody has looked meanwhile. So if time is up and the last answer is older than ``poll`` (it is
    as old as its request), or time has been up for a while, this looks once more. It does not if a look is under way that had its
    time: a service that does not answer is not waited for any longer.

    Args:
        look: what to do each time; None: nothing was found yet.
        timeout: seconds for all, above 0.
        poll: seconds between two looks.
        attempt: seconds for the look after the end.
        clock: monotonic seconds.
        rest: waits between two looks.
        look_late: the look after the end, where it is another one.

    Raises:
        TimeIsUpError: time is up.
        Exception: what a look raised. An error of the service or of the way to it that the late
            look ends with is the cause of the one above.
    """
    end = clock() + timeout
    wait = _Wait(look, clock)
    limit = timeouts.timeout(timeout)
    try:
        async with limit:
            while True:
                if (found := await wait.look()) is not None:
                    return found
                due = clock() + poll
                await rest(poll)
                now = clock()
                wait.overslept = now - due > poll
                if now >= end:
                    break
    except TimeoutError:
        if not limit.expired():
            raise
    late = clock() - end
    # An overdue timer lets the loop read for GRACE at most before it ends the wait.
    stood_still = late > 2 * timeouts.GRACE
    if not stood_still and not wait.missed_a_look(poll, late=late > timeouts.LATE):
        raise TimeIsUpError
    return await _look_late(look_late or look, attempt)


class _Wait(Generic[T]):
    """What a wait knows of its looks."""

    def __init__(self, look: Callable[[], Awaitable[T | None]], clock: Callable[[], float]) -> None:
        self._look = look
        self._clock = clock
        #: When the last look that was answered began.
        self._asked: float | None = None
        self._under_way = False
        #: Whether the rest before this look took so long that others were left out.
        self.overslept = False

    async def look(self) -> T | None:
        began, self._under_way = self._clock(), True
        found = await self._look()
        self._asked, self._under_way = began, False
        return found

    def missed_a_look(self, poll: float, *, late: bool) -> bool:
        """Whether there ought to have been another look.

        Args:
            poll: seconds between two looks.
            late: whether this is asked later than when time was up.
        """
        if self._under_way and not late and not self.overslept:
            return False
        return self._asked is None or self._clock() - self._asked > poll + timeouts.LATE


async def _look_late(look: Callable[[], Awaitable[T | None]], attempt: float) -> T:
    limit = timeouts.timeout(attempt)
    try:
        async with limit:
            found = await look()
    except TimeoutError:
        if not limit.expired():
            raise
        found = None
    except (APIError, TransportError, DecodeError) as error:
        raise TimeIsUpError from error
    if found is None:
        raise TimeIsUpError
    return found

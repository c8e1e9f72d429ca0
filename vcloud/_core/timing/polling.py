"""Polling, with one final check after the event loop was blocked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from vcloud._core.timing import timeouts
from vcloud.errors import APIError, DecodeError, TransportError

T = TypeVar("T")


class PollTimeoutError(Exception):
    """The timeout passed without a result. Its cause is the error of the last check, if any."""


async def poll_until(
    check: Callable[[], Awaitable[T | None]],
    *,
    timeout: float,
    poll: float,
    attempt: float,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    final_check: Callable[[], Awaitable[T | None]] | None = None,
) -> T:
    """Poll until a check returns a result.

    The timeout may pass while the process is stopped or the loop is blocked, so that no check was
    possible. Therefore this checks once more after the timeout if the last answer is older than
    ``poll`` (an answer is as old as its request), or if the timeout passed a while ago. It does not
    if a check is in flight that had enough time: the service does not answer.

    Args:
        check: returns the result, or None if there is none yet.
        timeout: seconds for everything, above 0.
        poll: the polling interval in seconds.
        attempt: seconds for the final check.
        clock: monotonic seconds.
        sleep: waits for the polling interval.
        final_check: the check after the timeout; None: ``check``.

    Raises:
        PollTimeoutError: the timeout passed. If the final check failed with an error of the service
            or of the way to it, that error is the cause.
        Exception: the error of a check before the timeout.
    """
    end = clock() + timeout
    polling = _Polling(check, clock)
    limit = timeouts.timeout(timeout)
    try:
        async with limit:
            while True:
                if (found := await polling.check()) is not None:
                    return found
                due = clock() + poll
                await sleep(poll)
                now = clock()
                polling.overslept = now - due > poll
                if now >= end:
                    break
    except TimeoutError:
        if not limit.expired():
            raise
    late = clock() - end
    # Before an overdue timer ends the wait, the loop may read for at most GRACE.
    was_blocked = late > 2 * timeouts.GRACE
    if not was_blocked and not polling.missed_a_check(poll, late=late > timeouts.LATE):
        raise PollTimeoutError
    return await _check_finally(final_check or check, attempt)


class _Polling(Generic[T]):
    """The checks of one wait."""

    def __init__(
        self, check: Callable[[], Awaitable[T | None]], clock: Callable[[], float]
    ) -> None:
        self._check = check
        self._clock = clock
        #: When the last answered check began.
        self._answered: float | None = None
        self._in_flight = False
        #: Whether the sleep before this check took so long that checks were left out.
        self.overslept = False

    async def check(self) -> T | None:
        began, self._in_flight = self._clock(), True
        found = await self._check()
        self._answered, self._in_flight = began, False
        return found

    def missed_a_check(self, poll: float, *, late: bool) -> bool:
        """Whether there should have been another check before the timeout.

        Args:
            poll: the polling interval in seconds.
            late: whether the timeout passed a while ago.
        """
        if self._in_flight and not late and not self.overslept:
            return False
        return self._answered is None or self._clock() - self._answered > poll + timeouts.LATE


async def _check_finally(check: Callable[[], Awaitable[T | None]], attempt: float) -> T:
    limit = timeouts.timeout(attempt)
    try:
        async with limit:
            found = await check()
    except TimeoutError:
        if not limit.expired():
            raise
        found = None
    except (APIError, TransportError, DecodeError) as error:
        raise PollTimeoutError from error
    if found is None:
        raise PollTimeoutError
    return found

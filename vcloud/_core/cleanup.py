"""Work that must be done even by a task that was told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def run_to_the_end(work: Coroutine[Any, Any, T], *, within: float) -> T:
    """Await ``work``, and finish it before obeying a cancellation that comes meanwhile.

    Args:
        work: what to do.
        within: seconds after which it is given up, so that nobody who cancels has to wait for ever.

    Raises:
        TimeoutError: it took longer.
        CancelledError: the caller was cancelled meanwhile; the work was finished or given up.
    """

    async def bounded() -> T:
        async with asyncio.timeout(within):
            return await work

    task = asyncio.create_task(bounded())
    interruption: asyncio.CancelledError | None = None
    while not task.done():
        try:
            # Unlike awaiting the task, this leaves it alone when the caller is cancelled.
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            interruption = error
    if interruption is not None:
        # Its own failure is secondary now, and must not be reported as one that nobody looked at.
        if not task.cancelled():
            task.exception()
        raise interruption
    return task.result()

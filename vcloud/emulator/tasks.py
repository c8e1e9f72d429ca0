"""Running, cancelling and finishing asyncio tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

_TICK: Final = 0.1
"""Seconds. A process that was stopped for longer loses one tick only."""


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancel these tasks and wait until all of them are done, whatever they raise."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            # Retrieved, so that asyncio does not report it as lost.
            task.exception()


async def first_completed(*works: Coroutine[Any, Any, Any]) -> None:
    """Run these at once until the first is done, and cancel the others.

    Raises:
        Exception: what the first one raised.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_and_wait(*(task for task in tasks if not task.done()))
    for task in done:
        task.exception()
    for task in done:
        task.result()


async def run_to_completion(work: Coroutine[Any, Any, T], *, within: float) -> T:
    """Await ``work``, and finish it before a cancellation of the caller takes effect.

    Args:
        work: what to do.
        within: seconds after which it is cancelled. Only time in which the event loop ran counts.

    Raises:
        TimeoutError: it took longer.
        CancelledError: the caller was cancelled meanwhile; the work was finished or cancelled.
    """
    task = asyncio.Task(work, loop=asyncio.get_running_loop())
    # When `asyncio.run` ends, it cancels every task that it knows. asyncio documents this function
    # for code that makes tasks.
    asyncio._unregister_task(task)  # noqa: SLF001 - documented, in spite of its name
    interruption: asyncio.CancelledError | None = None
    ticks = max(1, round(within / _TICK))
    while not task.done() and ticks:
        try:
            await asyncio.wait({task}, timeout=_TICK)
            ticks -= 1
        except asyncio.CancelledError as error:
            interruption = error
    if not task.done():
        await cancel_and_wait(task)
        if interruption is None:
            raise TimeoutError
    if interruption is not None:
        if not task.cancelled():
            task.exception()
        raise interruption
    return task.result()

"""Work that must be done even by a task that was told to stop, and tasks that must not be left behind."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from contextvars import ContextVar
from typing import Any, Final, TypeVar

T = TypeVar("T")

#: Whether what runs here cleans up. A stop is sent although credentials were refused just now.
CLEANING_UP: Final[ContextVar[bool]] = ContextVar("vcloud_cleaning_up", default=False)


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
        CLEANING_UP.set(True)
        async with asyncio.timeout(within):
            return await work

    task = asyncio.create_task(bounded())
    interruption: asyncio.CancelledError | None = None
    with ExitStack() as shield:
        while not task.done():
            try:
                # Unlike awaiting the task, this leaves it alone when the caller is cancelled.
                await asyncio.wait({task})
            except asyncio.CancelledError as error:
                if interruption is None:
                    shield.enter_context(_shielded_from_anyio())
                interruption = error
    if interruption is not None:
        # Its own failure is secondary now, and must not be reported as one that nobody looked at.
        if not task.cancelled():
            task.exception()
        raise interruption
    return task.result()


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel these tasks and return when all of them are over, even if the caller is cancelled meanwhile.

    What they raise is theirs to have reported before: nobody else asks for it.
    """
    left = {task for task in tasks if task is not asyncio.current_task()}
    for task in left:
        task.cancel()
    interruption: asyncio.CancelledError | None = None
    with ExitStack() as shield:
        while pending := {task for task in left if not task.done()}:
            try:
                await asyncio.wait(pending)
            except asyncio.CancelledError as error:
                if interruption is None:
                    shield.enter_context(_shielded_from_anyio())
                interruption = error
    for task in left:
        if not task.cancelled():
            task.exception()
    if interruption is not None:
        raise interruption


async def race(*works: Coroutine[Any, Any, object]) -> None:
    """Run these at once until the first is over; end the others. None is left, however this ends.

    Raises:
        Exception: what the first that was over raised.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        first = [task for task in tasks if task.done() and not task.cancelled()]
    finally:
        await end(tasks)
    for task in first:
        task.result()


def _shielded_from_anyio() -> AbstractContextManager[object]:
    """Keep a cancelled anyio scope from cancelling again in every turn of the loop.

    anyio repeats a cancellation until the task leaves the scope. Whoever has to finish something
    first would be woken in every turn, and keep a core busy. A scope of anyio's own that is shielded
    stops that; plain cancellations of the task still arrive. Where anyio is not in use, nothing of
    it is imported.
    """
    # What anyio loads with its first scope on asyncio.
    if "anyio._backends._asyncio" not in sys.modules:
        return nullcontext()
    scope: AbstractContextManager[object] = sys.modules["anyio"].CancelScope(shield=True)
    return scope

"""Tasks that must not be left running."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterable
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from typing import Any

__all__ = ["abort", "cancel_and_wait", "first_completed", "shielded_from_anyio"]


async def cancel_and_wait(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and return when all of them have ended.

    That is so also if the caller is cancelled meanwhile. What they raise is not reported.
    """
    try:
        current = asyncio.current_task()
    except RuntimeError:
        return  # the loop was closed while the caller and these tasks were running
    # A caller that is collected while another loop runs may have tasks of a closed loop.
    loop = asyncio.get_running_loop()
    left = {task for task in tasks if task.get_loop() is loop and task is not current}
    for task in left:
        task.cancel()
    interruption: asyncio.CancelledError | None = None
    with ExitStack() as shield:
        while pending := {task for task in left if not task.done()}:
            try:
                await asyncio.wait(pending)
            except asyncio.CancelledError as error:
                if interruption is None:
                    shield.enter_context(shielded_from_anyio())
                interruption = error
    for task in left:
        if not task.cancelled():
            task.exception()
    if interruption is not None:
        raise interruption


async def first_completed(*works: Coroutine[Any, Any, object]) -> None:
    """Run coroutines concurrently until the first one ends, and cancel the others.

    None of them is still running when this returns or raises.

    Raises:
        Exception: what the first one raised.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        first = [task for task in tasks if task.done() and not task.cancelled()]
    finally:
        await cancel_and_wait(tasks)
    for task in first:
        task.result()


def abort(transport: asyncio.WriteTransport) -> None:
    """Drop a connection at once, with the data that was not sent. A lost one is left alone.

    ``abort`` of an asyncio transport that was closed before its last data was sent, and has sent
    that data, fails with an AttributeError: it no longer has a loop.
    """
    with suppress(AttributeError):
        transport.abort()


def shielded_from_anyio() -> AbstractContextManager[object]:
    """Keep a cancelled anyio scope from cancelling this task in every iteration of the loop.

    anyio repeats a cancellation until the task leaves the scope. A task that must finish something
    first would be woken in every iteration, and keep a core busy. A shielded scope of anyio's own
    stops that; plain cancellations of the task still arrive. anyio is not imported where it is not
    in use.
    """
    # anyio loads this module with its first scope on asyncio.
    if "anyio._backends._asyncio" not in sys.modules:
        return nullcontext()
    scope: AbstractContextManager[object] = sys.modules["anyio"].CancelScope(shield=True)
    return scope

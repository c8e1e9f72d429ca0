"""Requests that are not cut off when their agent loses its connection, or ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from vcloud._core.tasks import cancel_and_wait
from vcloud._core.timing.running_time import wait_running

__all__ = ["WholeRequests"]

#: Seconds for which an agent whose connection ends waits for their answers.
LAST_ANSWERS: Final = 5.0

T = TypeVar("T")


class WholeRequests:
    """Requests that get their answers although nobody waits for them any more.

    The published server goes on with a request whose client has left, and may then put its answer
    into the answer to another client's request (seen with a build of it). So these are short ones,
    and whoever is cancelled leaves them to end by themselves.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def send(self, request: Coroutine[Any, Any, T]) -> T:
        """Wait for a request; cancelling this does not cancel the request."""
        task = asyncio.create_task(request)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait({task})
        return task.result()

    async def finish(self) -> None:
        """Wait for what is in flight, and cancel what takes longer than 5 seconds."""
        try:
            if self._tasks:
                await wait_running(set(self._tasks), LAST_ANSWERS)
        finally:
            await cancel_and_wait(self._tasks)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Retrieved, so that asyncio does not report it as never retrieved.
            task.exception()

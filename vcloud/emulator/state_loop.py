"""The event loop in which an emulator's state changes, for changes from any thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from vcloud.emulator.net.listener import running_loop

T = TypeVar("T")


class StateLoop:
    """Runs changes in the emulator's event loop while it serves, and at once otherwise."""

    def __init__(self) -> None:
        """Begin without a loop."""
        self.loop: asyncio.AbstractEventLoop | None = None
        """The loop in which the emulator serves."""

    def run(self, function: Callable[[], T]) -> T:
        """What the function returns. It may be called from any thread."""
        loop = self.loop
        # A loop that stands still, as between a test's fixtures, would never run it.
        if loop is None or not loop.is_running() or running_loop() is loop:
            return function()

        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), loop).result()

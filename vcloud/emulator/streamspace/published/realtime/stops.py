"""The signal that ends a viewer's relay, and who gets it."""

from __future__ import annotations

import asyncio
from collections import deque


class Stops:
    """A signal that ends one of those that wait for it: the one that has waited longest.

    The server's relay, its pings and its notes of activity all wait for the same signal. So a
    viewer's end may end the pings, and the relay goes on without its viewer. What is woken for
    another reason waits anew, behind the others.
    """

    def __init__(self) -> None:
        """Begin without a waiter."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._unheard = 0

    def wait(self) -> asyncio.Future[None]:
        """Begin to wait; the future is done when the signal is given to this waiter."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._unheard:
            self._unheard -= 1
            waiter.set_result(None)
        else:
            self._waiting.append(waiter)
        return waiter

    def leave(self, waiter: asyncio.Future[None]) -> None:
        """No longer wait."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)

    def give(self) -> None:
        """Give the signal to one waiter; without one, to the next that waits."""
        if self._waiting:
            self._waiting.popleft().set_result(None)
        else:
            self._unheard += 1

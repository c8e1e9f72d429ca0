"""Starting, watching and ending the desktops that run on real displays."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol, runtime_checkable

from vcloud.emulator.clock import Clock
from vcloud.emulator.desktops.state import Desktop

_POLL: Final = 0.1
"""Polling interval in real seconds, for the clock, which may run at any speed or be advanced."""

_log = logging.getLogger(__name__)


@runtime_checkable
class Startable(Protocol):
    """A backend that must be started before it takes actions, and ended afterwards."""

    @property
    def alive(self) -> bool:
        """Whether it takes actions; false before it has started."""
        ...

    async def start(self) -> None:
        """Start it.

        Raises:
            OSError: it cannot start; nothing is left of it.
        """

    async def aclose(self) -> None:
        """End it, and leave nothing; may be called again."""


class Lifetimes:
    """A task for each real desktop, from its launch to its end."""

    def __init__(self, clock: Clock) -> None:
        """Begin without desktops; their timeouts are measured by this clock."""
        self._clock = clock
        self._lives: dict[str, asyncio.Task[None]] = {}

    def begin(self, desktop: Desktop, backend: Startable) -> None:
        """Start a desktop in the background; it is pending until it has started."""
        desktop.ready = False
        # It is ready when its backend has started, not after a simulated time.
        desktop.boots = 0.0
        self._lives[desktop.id] = asyncio.create_task(self._live(desktop, backend))

    async def end(self, id: str) -> None:
        """End a desktop, and wait until nothing is left of it."""
        life = self._lives.pop(id, None)
        if life is not None:
            life.cancel()
            await asyncio.wait({life})

    async def aclose(self) -> None:
        """End all of them."""
        lives = set(self._lives.values())
        self._lives.clear()
        for life in lives:
            life.cancel()
        if lives:
            await asyncio.wait(lives)

    async def _live(self, desktop: Desktop, backend: Startable) -> None:
        try:
            await backend.start()
        except OSError as error:
            _log.error("desktop %s: %s", desktop.id, error)
            desktop.forced = "error"
            return
        try:
            desktop.ready = True
            while desktop.status_at(self._clock.now()) == "running":
                if not backend.alive:
                    _log.error("desktop %s: the X server has ended", desktop.id)
                    desktop.forced = "error"
                    break
                await asyncio.sleep(_POLL)
        finally:
            await backend.aclose()

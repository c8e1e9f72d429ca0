"""The lives of desktops that are more than memory: started, watched, and ended whichever way they end."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol, runtime_checkable

from vcloud.emulator.clock import Clock
from vcloud.emulator.desktops.state import Desktop

_LOOK: Final = 0.1
"""Real seconds between two looks at the clock, which tests move by hand and which may run at any speed."""

_log = logging.getLogger(__name__)


@runtime_checkable
class Startable(Protocol):
    """What a backend has if it must be started before it takes actions, and ended afterwards."""

    @property
    def alive(self) -> bool:
        """Whether it still takes actions; false before it was started."""
        ...

    async def start(self) -> None:
        """Get ready. Raises `OSError`, and leaves nothing, if that fails."""

    async def aclose(self) -> None:
        """Leave nothing; may be called again."""


class Lifetimes:
    """A task for each such desktop, from its launch to its end."""

    def __init__(self, clock: Clock) -> None:
        """Watch none yet; desktops end by this clock."""
        self._clock = clock
        self._lives: dict[str, asyncio.Task[None]] = {}

    def begin(self, desktop: Desktop, backend: Startable) -> None:
        """Start a desktop in the background; it is pending until that is done."""
        desktop.ready = False
        # A real one takes the time that it takes.
        desktop.boots = 0.0
        self._lives[desktop.id] = asyncio.create_task(self._live(desktop, backend))

    async def end(self, id: str) -> None:
        """Return when nothing is left of a desktop."""
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
            while desktop.status(self._clock.now()) == "running":
                if not backend.alive:
                    _log.error("desktop %s: the X server is gone", desktop.id)
                    desktop.forced = "error"
                    break
                await asyncio.sleep(_LOOK)
        finally:
            await backend.aclose()

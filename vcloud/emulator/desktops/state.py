"""A desktop of the desktop-action API, and its status, which follows from the clock."""

from __future__ import annotations

from typing import Final

from attrs import define, field

from vcloud.emulator.desktops.backend import Backend, SimulatedBackend
from vcloud.emulator.desktops.screen import Event

PENDING: Final = 6.0
"""Seconds from a launch until the desktop runs."""


@define(eq=False, kw_only=True)
class Desktop:
    """A desktop. Its status follows from the clock, until it is stopped or a status is forced."""

    id: str
    owner: str
    created_at: float
    timeout_at: float
    stream_url: str = field(repr=False)
    backend: Backend = field(repr=False)
    forced: str | None = None
    """A status that overrides the clock."""
    boots: float = PENDING
    """Simulated seconds for which it is pending."""
    ready: bool = True
    """Whether its backend has started."""
    streams: bool = True
    """Whether it has a stream after pending; false if it was stopped while pending."""

    def status_at(self, now: float) -> str:
        """The status at this time."""
        if self.forced is not None:
            return self.forced
        if now >= self.timeout_at:
            return "terminated"
        return "running" if self.ready and now >= self.created_at + self.boots else "pending"

    @property
    def simulated(self) -> SimulatedBackend:
        """The simulated display, for tests to read and change.

        Raises:
            TypeError: the desktop runs on a real display.
        """
        if not isinstance(self.backend, SimulatedBackend):
            msg = f"desktop {self.id} runs on {type(self.backend).__name__}, which is not simulated"
            raise TypeError(msg)
        return self.backend

    @property
    def events(self) -> list[Event]:
        """What happened on the desktop so far, oldest first."""
        return self.simulated.events

"""A desktop of the desktop-action API, and its status, which follows from the clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from attrs import define, field

from vcloud.emulator.clock import Clock
from vcloud.emulator.desktops.backend import Backend, SimulatedBackend
from vcloud.emulator.desktops.screen import Event
from vcloud.emulator.settable import Settable, known_word
from vcloud.emulator.state_loop import StateLoop

STATUSES: Final = ("pending", "running", "terminated", "error", "completed")

PENDING: Final = 6.0
"""Seconds from a launch until the desktop runs."""


_ENDED: Final = frozenset({"terminated", "error", "completed"})


@define(eq=False, kw_only=True)
class Desktop(Settable):
    """A desktop. Its status follows from the clock, until it is stopped or a status is set.

    Tests may read and set it, from any thread. Clients see `status`, `stream_url`, and `created_at`
    and `timeout_at` (epoch seconds, by the emulator's clock). What happened on it is in `events`,
    and `simulated` is its screen, shell and files. What else there is, is the service's own.
    """

    other_names: ClassVar[Mapping[str, str]] = {"state": "status"}

    id: str
    _clock: Clock = field(repr=False, alias="clock")
    _home: StateLoop = field(repr=False, alias="home")
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

    @property
    def status(self) -> str:
        """The status now. One that is set stays until the desktop is stopped.

        Raises:
            ValueError: it is set to another word. `Desktops.set_status` takes any.
        """
        return self.status_at(self._clock.now())

    @status.setter
    def status(self, word: str) -> None:
        wanted = known_word(word, STATUSES, "status")
        self._home.run(lambda: self.force(wanted))

    def force(self, status: str) -> None:
        """Put it into any status, permanently. One that has ended takes no more input."""
        self.forced = status
        if status in _ENDED and isinstance(self.backend, SimulatedBackend):
            self.backend.ended = min(self.backend.ended, self._clock.now())

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

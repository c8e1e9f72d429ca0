"""What the Streams API keeps: applications, streams, machines, users and visits.

As with computers, a machine's state is a pure function of the time. Commands schedule what will
happen (`phases`), and queries compute what has happened by `now`. No timer runs, so a stopped clock
stops the machines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from decimal import ROUND_DOWN, Decimal
from typing import Any, ClassVar, Protocol

import msgspec
from attrs import define, field, frozen

from vcloud.emulator.clock import Clock
from vcloud.emulator.settable import Settable, known_word
from vcloud.emulator.state_loop import StateLoop
from vcloud.emulator.streams.catalog import (
    CAPACITY_TYPES,
    DEFAULT_MACHINE_TYPE,
    HOURLY,
    KEY_MAPPINGS,
    RESERVE,
    SETTINGS,
    STATUSES,
)
from vcloud.emulator.vagon.account import Draw

WAITING = 15.0
MIGRATING = 10.0
"""Simulated seconds until a machine is available, and until it is ready for the next visitor."""


class Owner(Protocol):
    """The service that streams are part of."""

    clock: Clock
    home: StateLoop

    def read(self, at: Callable[[float], str]) -> str:
        """What a machine is now, after everything up to now has happened."""
        ...

    def change(self, machine: Machine, connection_status: str) -> None:
        """Put a machine into a status."""


@define(eq=False, kw_only=True)
class Application(Settable):
    """Something that can be streamed. Tests may set its attributes."""

    words: ClassVar[Mapping[str, Iterable[str]]] = {"key_mapping_selection": KEY_MAPPINGS}

    id: int
    name: str
    created_at: float
    machine_type_id: int = DEFAULT_MACHINE_TYPE
    key_mapping_selection: str = "click"
    changeable_key_mapping: bool = True
    executable: bool = True
    """Whether something was uploaded."""


@define(eq=False, kw_only=True)
class Stream(Settable):
    """A link to an application, with its settings and capacities. Tests may set its attributes."""

    words: ClassVar[Mapping[str, Iterable[str]]] = {"capacity_type": CAPACITY_TYPES}

    id: int
    _service: Owner = field(repr=False, alias="service")
    uid: str
    application: Application
    capacity_type: str = "on_demand"
    capacities: dict[str, int]
    """How many machines there may be at once, by region."""
    settings: dict[str, Any] = field(factory=lambda: dict(SETTINGS))
    password: str | None = field(default=None, repr=False)
    in_active_time_range: bool = True

    @property
    def service(self) -> Owner:
        """The service that it is part of."""
        return self._service

    @property
    def name(self) -> str:
        """The name that people see."""
        return f"Stream #{self.id}"

    def reserve(self, region: str) -> int:
        """How many machines the service keeps free in a region."""
        return min(
            self.capacities.get(region, 0),
            RESERVE.get(self.capacity_type, self.capacities.get(region, 0)),
        )


@define(eq=False)
class User(Settable):
    """A registered visitor."""

    id: str
    email: str | None


@frozen
class Phase:
    """From `at` on, the machine is in `connection_status`, until the next phase."""

    at: float
    connection_status: str


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a visitor; None is left out of the answers."""

    ping: float | None = 98
    audio_state: str | None = "muted"
    audio_input: bool = True
    audio_output: bool = True
    city: str = "San Francisco"
    country: str = "US"
    os: str = "Windows 11"
    device_type: str = "desktop"


@define(eq=False)
class Machine(Settable):
    """A machine of a stream. Tests may read and set it, from any thread.

    Clients see `status` (their `connection_status`), `region`, `machine_type_id`,
    `public_ip_address` and `user`. What else there is, is the service's own.
    """

    other_names: ClassVar[Mapping[str, str]] = {
        "connection_status": "status",
        "friendly_status": "status",
        "state": "status",
    }

    id: int
    uid: str
    stream: Stream
    region: str
    machine_type_id: int
    phases: tuple[Phase, ...]
    booted_at: float
    """When it has booted; it can be assigned before."""
    public_ip_address: str | None = None
    user: User | None = None
    """The user that it was assigned to last."""
    visit: Visit | None = None
    """Its last visit, or the one that will begin."""
    free_since: float = 0.0
    """When it was last assigned, or its visitor left."""
    reserved: bool = False
    """Whether the service itself keeps it ready."""
    forced: bool = False
    """Whether its status was set by a test; then nothing happens to it by itself."""
    draw: Draw | None = None
    """What it costs the organisation's balance."""

    @classmethod
    def booting(cls, id: int, uid: str, stream: Stream, region: str, now: float) -> Machine:
        """A machine that is started now."""
        booted = now + WAITING
        phases = (Phase(now, "waiting"), Phase(booted, "available"))
        machine_type_id = stream.application.machine_type_id
        return cls(id, uid, stream, region, machine_type_id, phases, booted)

    @property
    def status(self) -> str:
        """Its `connection_status` now. One that is set stays until the next command or visit.

        Raises:
            ValueError: it is set to another word. `Streams.set_status` takes any.
        """
        return self.stream.service.read(self.status_at)

    @status.setter
    def status(self, word: str) -> None:
        self.stream.service.change(self, known_word(word, STATUSES, "status"))

    @property
    def start_at(self) -> float:
        """When it was started."""
        return self.phases[0].at

    @property
    def end(self) -> float | None:
        """When it is terminated, which may be in the future; None if not scheduled."""
        last = self.phases[-1]
        return last.at if last.connection_status == "terminated" else None

    @property
    def turns_off(self) -> bool:
        """Whether the auto turn-off applies to it."""
        kind = self.stream.capacity_type
        return kind != "always_on" and not (kind == "balanced" and self.reserved)

    def end_at(self, now: float) -> float | None:
        """When it was terminated; None before that."""
        return self.end if self.end is not None and self.end <= now else None

    def status_at(self, now: float) -> str:
        """The `connection_status` at this time."""
        return next((p.connection_status for p in reversed(self.phases) if p.at <= now), "waiting")

    def booting_at(self, now: float) -> bool:
        """Whether it is still turning on, assigned or not."""
        return now < self.booted_at and self.end_at(now) is None

    def become(self, connection_status: str, now: float, *then: Phase) -> None:
        """Enter a status now and the others later, in place of what was scheduled."""
        self.forget_after(now)
        self.add(Phase(now, connection_status), *then)

    def add(self, *phases: Phase) -> None:
        """Schedule phases after all others."""
        self.phases = (*self.phases, *phases)

    def forget_after(self, now: float) -> None:
        """Drop what is scheduled after `now`."""
        self.phases = tuple(phase for phase in self.phases if phase.at <= now)

    def drop_end(self) -> None:
        """Drop the scheduled termination."""
        if self.end is not None:
            self.phases = self.phases[:-1]

    def seconds(self, now: float) -> int:
        """For how many whole seconds it has run."""
        end = self.end_at(now)
        return math.floor((now if end is None else end) - self.start_at)

    def cost(self, now: float) -> str:
        """What that costs, in the service's form."""
        amount = HOURLY[self.machine_type_id] * self.seconds(now) / 3600
        text = str(amount.quantize(Decimal("0.001"), ROUND_DOWN)).rstrip("0")
        return f"{text}0" if text.endswith(".") else text


@define(eq=False, kw_only=True)
class Visit:
    """A visit. Its end may be in the future, or None if none is scheduled."""

    id: int
    machine: Machine
    user: User | None
    visitor: Visitor
    start_at: float
    active_at: float
    """When the visitor was last active."""
    end_at: float | None = None

    def ended(self, now: float) -> float | None:
        """When it ended; None before that."""
        return self.end_at if self.end_at is not None and self.end_at <= now else None

    def minutes(self, now: float) -> int:
        """How many minutes it has taken, rounded up: 3 min 30 s are 4 in the document."""
        end = self.ended(now)
        return math.ceil(((now if end is None else end) - self.start_at) / 60)

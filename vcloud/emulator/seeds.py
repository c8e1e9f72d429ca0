"""What an emulator has at the start, besides what the documents' examples have."""

from __future__ import annotations

from datetime import timedelta

from attrs import evolve, frozen

from vcloud.emulator.computers.catalog import AUTO_STOP_THRESHOLDS, PLANS, STATUSES
from vcloud.emulator.computers.machine import Machine
from vcloud.emulator.computers.parts import Session
from vcloud.emulator.computers.service import Computers
from vcloud.emulator.computers.state import Phase
from vcloud.emulator.settable import known_word, seconds_of
from vcloud.emulator.vagon.service import REGIONS

DAY = 86_400.0

_USED = 1800.0
"""Seconds that a past session took."""


@frozen
class Seeds:
    """What there is at the start; see `Emulator`."""

    machines: int
    status: str | None
    idle: timedelta | float | None
    sessions: int
    desktops: int
    real: bool
    """Whether desktops run on real X displays."""

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot be."""
        for name in ("machines", "sessions", "desktops"):
            count = getattr(self, name)
            if type(count) is not int:
                raise ValueError(f"{name} must be a whole number, not {count!r:.80}")
            if count < 0:
                raise ValueError(f"{name} must not be below 0, not {count}")
        if self.desktops and self.real:
            raise ValueError("real desktops are launched by clients, once the emulator serves")
        if self.status is not None:
            known_word(self.status, STATUSES, "status")
        if self.idle is not None:
            seconds_of(self.idle, "idle")
        if not self.machines and (self.status is not None or self.idle is not None):
            raise ValueError("status and idle are of the machines: give machines=1, for example")


def add_machines(computers: Computers, seeds: Seeds) -> None:
    """Add the machines of the Computers API."""
    for index in range(seeds.machines):
        machine = _add_varied(computers, index)
        if seeds.idle is not None:
            machine.sessions.clear()
            machine.add_session(ago=seeds.idle)
        if seeds.status is not None:
            machine.status = seeds.status
        if seeds.idle is not None and seeds.status == "ready":
            _leave_idle(machine, seconds_of(seeds.idle, "idle"))


def _leave_idle(machine: Machine, idle: float) -> None:
    """Have a machine been ready, and unused, for so long."""
    machine.sessions = machine.sessions[-1:]
    machine.idle = idle
    # Otherwise the service would have stopped it.
    machine.auto_stop_threshold = next((one for one in AUTO_STOP_THRESHOLDS if one > idle), 0)


def _add_varied(computers: Computers, index: int) -> Machine:
    # Varied, so that every filter of the list matches some machines and not others.
    machine = computers.add_machine(
        region=REGIONS[index % len(REGIONS)],
        plan=PLANS[2] if index % 10 == 9 else PLANS[1],
        remaining_usage=index % 5 * 600,
        invited=index % 7 == 1,
    )
    if index % 3 == 0:
        user = computers.new_user(f"user{machine.id}@example.com")
        machine.user = evolve(user, name=f"User {machine.id}")
    if index % 2 == 0:
        start = computers.clock.now() - DAY + index
        machine.sessions.append(Session(computers.new_session_id(), start, start + _USED))
        machine.phases = (Phase(start + 1810, "off"),)
        machine.started = True
        machine.files_used = (index % 25) * 1024**3
    return machine

"""The machines of all streams and the visits to them, and how they change with time.

Commands schedule what will happen. When a visit begins, its end is scheduled, by the stream's
session limit or idle limit, and so is what the machine does then. While no visitor is connected,
the auto turn-off is scheduled.

From the vendor's page on limitations: the auto turn-off applies neither to availability optimized
streams nor to the reserved machines of balanced ones. The idle limit counts from the visitor's last
interaction.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from random import Random

from vcloud.emulator.clock import Clock
from vcloud.emulator.credentials import new_uuid
from vcloud.emulator.settable import ByNumber
from vcloud.emulator.streams.catalog import HOURLY, IMMEDIATELY, UNASSIGNED, seconds_of
from vcloud.emulator.streams.state import MIGRATING, Machine, Phase, Stream, User, Visit, Visitor
from vcloud.emulator.vagon.account import Account

FIRST_MACHINE = 94683
FIRST_SESSION = 9150


class Fleet:
    """The machines and visits of all streams."""

    def __init__(self, account: Account, clock: Clock, random: Random) -> None:
        """Begin without machines; `account` pays for them."""
        self.machines: ByNumber[Machine] = ByNumber()
        self.visits: list[Visit] = []
        """Oldest first."""
        self._account = account
        self._clock = clock
        self._random = random
        self._machine_ids = itertools.count(FIRST_MACHINE)
        self._visit_ids = itertools.count(FIRST_SESSION)

    def of(self, stream: Stream) -> Iterable[Machine]:
        """A stream's machines, oldest first."""
        return (machine for machine in self.machines.values() if machine.stream is stream)

    def running(self, stream: Stream, now: float) -> Counter[str]:
        """Count the machines of a stream that have not ended, by region."""
        return Counter(m.region for m in self.of(stream) if m.end_at(now) is None)

    def available(self, stream: Stream, now: float) -> Counter[str]:
        """Count the machines of a stream that are available, by region."""
        return Counter(m.region for m in self.of(stream) if m.status_at(now) == "available")

    def visits_by(self, now: float) -> Iterable[Visit]:
        """The visits that have begun, newest first."""
        return (visit for visit in reversed(self.visits) if visit.start_at <= now)

    def boot(self, stream: Stream, region: str, now: float, *, reserved: bool = False) -> Machine:
        """Start a machine; `reserved` if the service itself starts it."""
        uid = new_uuid(self._random)
        machine = Machine.booting(next(self._machine_ids), uid, stream, region, now)
        machine.reserved = reserved
        self.machines[machine.id] = machine
        self.plan(machine, now)
        return machine

    def assignable(self, stream: Stream, region: str, now: float) -> Machine | None:
        """The machine for an assignment: an available one, else the first that is booting."""
        for status in ("available", "waiting"):
            for machine in self.of(stream):
                if machine.region == region and machine.status_at(now) == status:
                    return machine
        return None

    def assign(self, machine: Machine, user: User | None, now: float) -> None:
        """Assign a machine to a visitor."""
        machine.become("assigned", now)
        machine.user, machine.visit, machine.free_since = user, None, now
        machine.reserved = machine.forced = False
        self.plan(machine, now)
        self.replenish(machine.stream, now)

    def open(self, machine: Machine, visitor: Visitor, now: float) -> None:
        """Begin the visit as soon as the machine has booted."""
        start = max(now, machine.booted_at)
        machine.forced = False
        if start == now:
            machine.become("connected", now)
        else:
            machine.become("assigned", now, Phase(start, "connected"))
        self._add_visit(machine, visitor, start)
        self.plan(machine, now)

    def act(self, machine: Machine, now: float) -> None:
        """The visitor is active, so that the idle time starts again."""
        if machine.visit is not None:
            machine.visit.active_at = max(machine.visit.active_at, now)
        self.plan(machine, now)

    def leave(self, machine: Machine, now: float) -> None:
        """End the visit."""
        machine.forced = False
        machine.forget_after(now)
        self.plan(machine, now, left=True)

    def terminate(self, machine: Machine, now: float) -> None:
        """Turn a machine off, and end its visit."""
        self._end_visit(machine, now)
        machine.become("terminated", now)
        self._settle_later(machine, now)

    def force(self, machine: Machine, status: str, now: float) -> None:
        """Put a machine into any status, and schedule nothing."""
        self._end_visit(machine, now)
        machine.become(status, now)
        machine.forced = True
        if status != "waiting":
            machine.booted_at = min(machine.booted_at, now)
        if status == "connected":
            self._add_visit(machine, Visitor(), now)
        self._settle_later(machine, now)

    def plan(self, machine: Machine, now: float, *, left: bool = False) -> None:
        """Schedule what happens to a machine by itself."""
        if machine.forced or machine.end_at(now) is not None:
            return
        visit = machine.visit
        if visit is not None and (left or visit.ended(now) is None):
            visit.end_at = now if left else self._end_of(visit, now)
            machine.forget_after(max(now, visit.start_at))
            if visit.end_at is not None:
                machine.add(*self._after(machine, visit.end_at))
        else:
            off = self._turn_off_at(machine)
            machine.drop_end()
            if off is not None:
                machine.add(Phase(max(off, now), "terminated"))
        self._settle_later(machine, now)

    def plan_all(self, stream: Stream, now: float) -> None:
        """Schedule a stream's machines again, after its settings have changed."""
        for machine in list(self.of(stream)):
            self.plan(machine, now)
        self.replenish(stream, now)

    def replenish(self, stream: Stream, now: float) -> None:
        """Start the machines that the service keeps ready, unless the balance is exhausted."""
        if not self._account.solvent:
            return
        running = self.running(stream, now)
        free = Counter(m.region for m in self.of(stream) if m.status_at(now) in UNASSIGNED)
        for region, total in stream.capacities.items():
            for _ in range(min(stream.reserve(region) - free[region], total - running[region])):
                self.boot(stream, region, now, reserved=True)

    def _add_visit(self, machine: Machine, visitor: Visitor, start: float) -> None:
        visit = Visit(
            id=next(self._visit_ids),
            machine=machine,
            user=machine.user,
            visitor=visitor,
            start_at=start,
            active_at=start,
        )
        machine.visit = visit
        self.visits.append(visit)

    def _end_visit(self, machine: Machine, now: float) -> None:
        visit = machine.visit
        if visit is None or visit.ended(now) is not None:
            return
        if visit.start_at > now:
            self.visits.remove(visit)
            machine.visit = None
        else:
            visit.end_at = now

    @staticmethod
    def _end_of(visit: Visit, now: float) -> float | None:
        settings = visit.machine.stream.settings
        longest = seconds_of(settings["maximum_session_duration"])
        idle = seconds_of(settings["idle_duration"])
        ends = [] if longest is None else [visit.start_at + longest]
        if idle is not None:
            ends.append(visit.active_at + idle)
        return max(now, min(ends)) if ends else None

    def _after(self, machine: Machine, end: float) -> Iterable[Phase]:
        """The phases after a visit."""
        machine.free_since = end
        off = self._turn_off_at(machine)
        if off == end:
            return (Phase(end, "terminated"),)
        ready = (Phase(end, "proxy-in-migration"), Phase(end + MIGRATING, "available"))
        return ready if off is None else (*ready, Phase(off, "terminated"))

    @staticmethod
    def _turn_off_at(machine: Machine) -> float | None:
        """When a machine without a visitor is turned off."""
        setting = machine.stream.settings["auto_turn_off_duration"]
        if not machine.turns_off:
            return None
        if setting == IMMEDIATELY:
            # At the end of a visit: otherwise it would be turned off before the first one.
            return machine.free_since if machine.visit is not None else None
        duration = seconds_of(setting)
        if duration is None:
            return None
        return max(machine.booted_at, machine.free_since) + duration

    def _settle_later(self, machine: Machine, now: float) -> None:
        """Have the account pay for the machine until its end, and replace the machine then."""
        ends = machine.end
        self._account.end(machine.draw, now)
        start = max(now, machine.start_at)
        hourly = HOURLY[machine.machine_type_id]
        machine.draw = self._account.draw(
            hourly, start, ends, lambda time: self.terminate(machine, time)
        )
        if ends is not None:
            self._account.at(ends, lambda time: self._ended(machine, time))

    def _ended(self, machine: Machine, time: float) -> None:
        if machine.end == time:
            self.replenish(machine.stream, time)

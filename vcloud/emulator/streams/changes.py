"""The state of the Streams API, and what tests add to it and change in it, from any thread."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, TypedDict, Unpack

from vcloud.emulator.clock import Clock
from vcloud.emulator.credentials import Seed, generator, new_uuid
from vcloud.emulator.settable import ByNumber, check_keywords, known_word
from vcloud.emulator.state_loop import StateLoop
from vcloud.emulator.streams.catalog import STATUSES
from vcloud.emulator.streams.fleet import Fleet
from vcloud.emulator.streams.state import Application, Machine, Stream, User, Visit, Visitor
from vcloud.emulator.vagon.service import Organization, VagonService
from vcloud.emulator.vagon.signature import Signatures

Json = dict[str, Any]

FIRST_APPLICATION = 1143
FIRST_STREAM = 1381


class NewApplication(TypedDict, total=False):
    """What may be given to `Streams.add_application`: the attributes of an application."""

    id: int
    name: str
    created_at: float
    machine_type_id: int
    key_mapping_selection: str
    changeable_key_mapping: bool
    executable: bool


class NewStream(TypedDict, total=False):
    """What may be given to `Streams.add_stream`: the attributes of a stream."""

    id: int
    uid: str
    capacity_type: str
    capacities: dict[str, int]
    settings: dict[str, Any]
    password: str | None
    in_active_time_range: bool


class ChangeableStreams(VagonService):
    """The state of the service, and the changes that no request can make."""

    def __init__(
        self,
        organization: Organization,
        signatures: Signatures,
        clock: Clock,
        *,
        home: StateLoop,
        seed: Seed | None = None,
    ) -> None:
        """Serve `organization`; equal seeds give equal uuids."""
        super().__init__(organization, signatures, clock)
        self.home: StateLoop = home
        """Where state is changed."""
        self.applications: ByNumber[Application] = ByNumber()
        self.streams: ByNumber[Stream] = ByNumber()
        self.users: dict[str, User] = {}
        self._random = generator(seed)
        self._fleet = Fleet(organization.account, clock, self._random)
        self.machines: ByNumber[Machine] = self._fleet.machines
        self.visits: list[Visit] = self._fleet.visits
        """Past, present and future visits, oldest first."""
        self._application_ids = itertools.count(FIRST_APPLICATION)
        self._stream_ids = itertools.count(FIRST_STREAM)
        organization.account.funded.append(self._replenish)
        first = self.add_application(name="Test Application")
        self.add_application(name="Another Application", machine_type_id=11)
        self.add_stream(first.id, capacities={"dublin": 10})

    def add_application(self, **given: Unpack[NewApplication]) -> Application:
        """Add an application; any attribute of it may be given. From any thread."""
        check_keywords("add_application()", given, NewApplication.__annotations__)
        return self.home.run(lambda: self._add_application(dict(given)))

    def _add_application(self, given: Json) -> Application:
        id_ = next(self._application_ids)
        defaults = {"id": id_, "name": f"Application #{id_}", "created_at": self.clock.now()}
        application = Application(**{**defaults, **given})
        self.applications[application.id] = application
        return application

    def add_stream(self, application_id: str | int, **given: Unpack[NewStream]) -> Stream:
        """Add a stream; any attribute of it may be given. From any thread."""
        check_keywords("add_stream()", given, NewStream.__annotations__)
        return self.home.run(lambda: self._add_stream(application_id, dict(given)))

    def _add_stream(self, application_id: str | int, given: Json) -> Stream:
        defaults = {"id": next(self._stream_ids), "uid": new_uuid(self._random), "capacities": {}}
        application = self.applications[application_id]
        stream = Stream(application=application, service=self, **{**defaults, **given})
        self.streams[stream.id] = stream
        self._fleet.replenish(stream, self.clock.now())
        return stream

    def add_user(self, email: str | None = None) -> User:
        """Register a visitor. From any thread."""

        def add() -> User:
            user = User(f"{self._random.getrandbits(40):010X}", email)
            self.users[user.id] = user
            return user

        return self.home.run(add)

    def add_machine(
        self, stream_id: str | int, region: str = "dublin", status: str | None = None
    ) -> Machine:
        """Add a machine that is started now, whatever the capacity, or that is in `status`.

        It may be called from any thread.

        Raises:
            ValueError: there is no such status. `set_status` takes any.
        """
        stream = self.streams[stream_id]
        if status is not None:
            known_word(status, STATUSES, "status")

        def add() -> Machine:
            now = self._settled()
            machine = self._fleet.boot(stream, region, now)
            if status is not None:
                self._fleet.force(machine, status, now)
            return machine

        return self.home.run(add)

    def set_status(self, id: str | int, connection_status: str) -> None:
        """Put a machine into any status, known or not, until the next command or visit."""
        self.change(self.machines[id], connection_status)

    def change(self, machine: Machine, connection_status: str) -> None:
        """Put this machine into any status; from any thread."""
        self.home.run(lambda: self._fleet.force(machine, connection_status, self._settled()))

    def read(self, at: Callable[[float], str]) -> str:
        """What a machine is now, after everything up to now has happened; from any thread."""
        return self.home.run(lambda: at(self._settled()))

    def visitor_opens(self, id: str | int, **details: Any) -> None:
        """The visitor opens the link of an assigned machine; `details` override `Visitor`'s.

        The visit begins as soon as the machine has booted, and ends by the stream's limits at the
        latest.
        """
        visitor = Visitor(**details)
        self._act(id, "assigned", lambda machine, now: self._fleet.open(machine, visitor, now))

    def visitor_acts(self, id: str | int) -> None:
        """The visitor of a machine is active, so that the idle time starts again."""
        self._act(id, "connected", self._fleet.act)

    def visitor_leaves(self, id: str | int) -> None:
        """The visitor leaves. The machine is prepared for the next one, or turned off."""
        self._act(id, "connected", self._fleet.leave)

    def _replenish(self, now: float) -> None:
        for stream in self.streams.values():
            self._fleet.replenish(stream, now)

    def _settled(self) -> float:
        """The time, after processing every event up to it."""
        now = self.clock.now()
        self.organization.account.settle(now)
        return now

    def _act(self, id: str | int, wanted: str, act: Callable[[Machine, float], None]) -> None:
        machine = self.machines[id]

        def acted() -> None:
            now = self._settled()
            status = machine.status_at(now)
            if status != wanted:
                msg = f"machine {id} is {status}, not {wanted}"
                raise ValueError(msg)
            act(machine, now)

        self.home.run(acted)

"""The Vagon Streams API: every documented operation."""

from __future__ import annotations

import itertools
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

from vcloud.emulator.clock import Clock
from vcloud.emulator.streams_arguments import (
    APPLICATION,
    STREAM,
    Filter,
    read_changes,
    read_email,
    required_text,
)
from vcloud.emulator.streams_state import (
    MIGRATING,
    UNASSIGNED,
    Application,
    Machine,
    Phase,
    Stream,
    User,
    Visit,
    Visitor,
)
from vcloud.emulator.streams_views import (
    application_view,
    full_stream_view,
    machine_view,
    stream_view,
    user_view,
    visit_view,
)
from vcloud.emulator.vagon import (
    Organization,
    VagonError,
    VagonRequest,
    VagonService,
    known_region,
    paginate,
)
from vcloud.emulator.vagon_signature import Signatures

Json = dict[str, Any]

FIRST_APPLICATION = 1143
FIRST_STREAM = 1381
FIRST_MACHINE = 94683
FIRST_SESSION = 9150

STREAMS_PER_PAGE = 100
MACHINES_PER_PAGE = 10
"""The document's figures; the statistics have 20."""

LINK = "https://sb-app.vagon.io/stream/"


class Streams(VagonService):
    """The service and its state, which tests may read and change: `applications`, `streams`, `machines`, `users`, `visits`.

    Applications cannot be made through the API, so there are two from the start, one of them with a cost-optimized stream.
    """

    prefix = "/app-stream-management/v2"

    def __init__(
        self, organization: Organization, signatures: Signatures, clock: Clock, *, seed: int = 0
    ) -> None:
        """Serve `organization`; equal seeds give equal uuids."""
        super().__init__(organization, signatures, clock)
        self.applications: dict[int, Application] = {}
        self.streams: dict[int, Stream] = {}
        self.machines: dict[int, Machine] = {}
        self.users: dict[str, User] = {}
        self.visits: list[Visit] = []
        """Visits that are over, oldest first."""
        self._random = Random(seed)
        self._application_ids = itertools.count(FIRST_APPLICATION)
        self._stream_ids = itertools.count(FIRST_STREAM)
        self._machine_ids = itertools.count(FIRST_MACHINE)
        self._visit_ids = itertools.count(FIRST_SESSION)
        self._add_routes()
        first = self.add_application(name="Test Application")
        self.add_application(name="Another Application", machine_type_id=11)
        self.add_stream(first.id, capacities={"dublin": 10})

    # -- for tests: what no request can do ---------------------------------------------------------------------------

    def add_application(self, **overrides: Any) -> Application:
        """Add an application, with any attribute of `Application` overridden."""
        id_ = next(self._application_ids)
        defaults = {"id": id_, "name": f"Application #{id_}", "created_at": self.clock.now()}
        application = Application(**{**defaults, **overrides})
        self.applications[application.id] = application
        return application

    def add_stream(self, application_id: int, **overrides: Any) -> Stream:
        """Add a stream, with any attribute of `Stream` overridden."""
        defaults = {"id": next(self._stream_ids), "uid": self._uuid(), "capacities": {}}
        stream = Stream(
            **{**defaults, "application": self.applications[application_id], **overrides}
        )
        self.streams[stream.id] = stream
        self._replenish(stream)
        return stream

    def add_machine(
        self, stream_id: int, region: str = "dublin", status: str | None = None
    ) -> Machine:
        """Add a machine that is started now, whatever the capacity; or one in any other status, known or not."""
        machine = self._boot(self.streams[stream_id], region)
        if status is not None:
            machine.become(status, self.clock.now())
        return machine

    def set_status(self, id: str | int, connection_status: str) -> None:
        """Put a machine into any status, known or not, until something happens to it."""
        self.machines[int(id)].become(connection_status, self.clock.now())

    def visitor_opens(self, id: str | int, **details: Any) -> None:
        """Let the visitor whom a machine is assigned to open its link, with any attribute of `Visitor` overridden."""
        machine, now = self.machines[int(id)], self.clock.now()
        if machine.status(now) != "assigned":
            msg = f"machine {id} is {machine.status(now)}, not assigned"
            raise ValueError(msg)
        machine.visitor = Visitor(**details)
        machine.become("connected", now)

    def visitor_leaves(self, id: str | int) -> None:
        """Let the visitor go. An always_on stream prepares the machine for the next one, others turn it off."""
        machine, now = self.machines[int(id)], self.clock.now()
        if machine.status(now) != "connected":
            msg = f"machine {id} is {machine.status(now)}, not connected"
            raise ValueError(msg)
        if machine.stream.capacity_type != "always_on":
            self._terminate(machine, now)
            return
        self._close_visit(machine, now)
        machine.become("proxy-in-migration", now, Phase(now + MIGRATING, "available"))

    # -- requests ----------------------------------------------------------------------------------------------------

    def _add_routes(self) -> None:
        for method, template, handler in (
            ("GET", "/applications", self._list_applications),
            ("PUT", "/applications/{id}", self._configure_application),
            ("GET", "/streams", self._list_streams),
            ("POST", "/streams", self._create_stream),
            # Before the next one, which its path would fit, too.
            ("POST", "/streams/stop-machine", self._stop_machine),
            # One template although GET takes the uid and PUT the id: paths are matched before methods.
            ("GET", "/streams/{stream}", self._get_stream),
            ("PUT", "/streams/{stream}", self._configure_stream),
            ("GET", "/streams/{id}/machines", self._list_stream_machines),
            ("POST", "/streams/{id}/start-machine", self._start_machine),
            ("POST", "/streams/{id}/assign-machine", self._assign_machine),
            ("GET", "/machines", self._list_machines),
            ("GET", "/machines/{uid}", self._get_machine),
            ("POST", "/users", self._create_user),
            ("DELETE", "/users/{id}", self._delete_user),
            ("GET", "/sessions", self._list_sessions),
        ):
            self.routes.add(method, template, handler)

    def _list_applications(self, request: VagonRequest) -> Json:
        for name in ("page", "per_page"):
            if name not in request.query:
                raise VagonError(400, f"{name} is required")
        page = paginate(self.applications.values(), request.query)
        return {
            "applications": [self._application_view(one) for one in page.items],
            "count": page.count,
            "page": page.page,
        }

    def _configure_application(self, request: VagonRequest) -> Json:
        application = self._application(request.params["id"])
        changes = read_changes(request.json(), APPLICATION)
        application.name = changes.pop("application_name", application.name)
        for name, value in changes.items():
            setattr(application, name, value)
        return self._application_view(application)

    def _list_streams(self, request: VagonRequest) -> Json:
        application = self._application(
            required_text("application_id", request.query.get("application_id"))
        )
        streams = [stream for stream in self.streams.values() if stream.application is application]
        page = paginate(streams, request.query, STREAMS_PER_PAGE)
        return {
            "streams": [stream_view(one, self.clock) for one in page.items],
            "count": page.count,
            "page": page.page,
        }

    def _create_stream(self, request: VagonRequest) -> Json:
        body = request.json()
        application = self._application(required_text("application_id", body.get("application_id")))
        wanted: Json = {
            name: body[name] for name in ("capacities", "capacity_type") if name in body
        }
        return self._full_view(self.add_stream(application.id, **read_changes(wanted, STREAM)))

    def _get_stream(self, request: VagonRequest) -> Json:
        uid = request.params["stream"]
        stream = next((stream for stream in self.streams.values() if stream.uid == uid), None)
        if stream is None:
            raise VagonError(404, "Stream not found")
        return self._full_view(stream)

    def _configure_stream(self, request: VagonRequest) -> Json:
        stream = self._stream(request.params["stream"])
        changes = read_changes(request.json(), STREAM)
        for name in ("capacities", "capacity_type", "password"):
            if name in changes:
                setattr(stream, name, changes.pop(name))
        stream.settings |= changes
        self._replenish(stream)
        return stream_view(stream, self.clock)

    def _list_stream_machines(self, request: VagonRequest) -> Json:
        stream = self._stream(request.params["id"])
        return self._machine_page(
            [machine for machine in self._newest() if machine.stream is stream],
            request,
            MACHINES_PER_PAGE,
        )

    def _start_machine(self, request: VagonRequest) -> Json:
        stream, region, now = (
            self._stream(request.params["id"]),
            known_region(request.json().get("region")),
            self.clock.now(),
        )
        if stream.capacity_type != "on_demand":
            raise VagonError(4610, "Only machines of cost optimized streams can be started")
        if request.organization.balance <= 0:
            raise VagonError(480, "Insufficient balance")
        if self._running(stream)[region] >= stream.capacities.get(region, 0):
            raise VagonError(440, f"No capacity is left in {region}")
        return machine_view(self._boot(stream, region), self.clock, now)

    def _assign_machine(self, request: VagonRequest) -> Json:
        stream, body, now = self._stream(request.params["id"]), request.json(), self.clock.now()
        region = known_region(body.get("region"))
        user_id = body.get("user_id")
        if user_id is not None and (not isinstance(user_id, str) or user_id not in self.users):
            raise VagonError(404, "User not found")
        # The one that has been available for longest.
        found = (
            m for m in self._machines(stream) if m.region == region and m.status(now) == "available"
        )
        machine = next(found, None)
        if machine is None:
            raise VagonError(440, f"No machine is available in {region}")
        machine.become("assigned", now)
        machine.user = None if user_id is None else self.users[user_id]
        self._replenish(stream)
        return {
            "connection_link": LINK + machine.uid,
            "machine": machine_view(machine, self.clock, now),
        }

    def _stop_machine(self, request: VagonRequest) -> Json:
        id_ = required_text("machine_id", request.json().get("machine_id"))
        machine = self.machines.get(_number(id_))
        if machine is None:
            raise VagonError(404, "Machine not found")
        if machine.end_at() is not None:
            raise VagonError(4204, "Machine is not running (terminated)")
        self._terminate(machine, self.clock.now())
        return {}

    def _list_machines(self, request: VagonRequest) -> Json:
        wanted = Filter.read(request.query)
        return self._machine_page(
            [m for m in self._newest() if wanted.passes(m, m.start_at)], request
        )

    def _get_machine(self, request: VagonRequest) -> Json:
        machine = next(
            (machine for machine in self.machines.values() if machine.uid == request.params["uid"]),
            None,
        )
        if machine is None:
            raise VagonError(404, "Machine not found")
        return machine_view(machine, self.clock, self.clock.now())

    def _create_user(self, request: VagonRequest) -> Json:
        email = read_email(request.json())
        user = User(f"{self._random.getrandbits(40):010X}", email)
        self.users[user.id] = user
        return user_view(user)

    def _delete_user(self, request: VagonRequest) -> Json:
        if self.users.pop(request.params["id"], None) is None:
            raise VagonError(404, "User not found")
        return {}

    def _list_sessions(self, request: VagonRequest) -> Json:
        wanted = Filter.read(request.query)
        visits = [
            visit for visit in reversed(self.visits) if wanted.passes(visit.machine, visit.start_at)
        ]
        page = paginate(visits, request.query)
        return {
            "sessions": [visit_view(visit, self.clock) for visit in page.items],
            **page.fields(),
        }

    # -- what they have in common ------------------------------------------------------------------------------------

    def _application(self, id: str) -> Application:
        application = self.applications.get(_number(id))
        if application is None:
            raise VagonError(404, "Application not found")
        return application

    def _stream(self, id: str) -> Stream:
        stream = self.streams.get(_number(id))
        if stream is None:
            raise VagonError(404, "Stream not found")
        return stream

    def _machines(self, stream: Stream) -> Iterable[Machine]:
        return (machine for machine in self.machines.values() if machine.stream is stream)

    def _newest(self) -> Iterable[Machine]:
        return reversed(self.machines.values())

    def _machine_page(
        self, machines: Sequence[Machine], request: VagonRequest, per_page: int = 20
    ) -> Json:
        now = self.clock.now()
        page = paginate(machines, request.query, per_page)
        return {
            "machines": [machine_view(one, self.clock, now) for one in page.items],
            "count": page.count,
            "page": page.page,
        }

    def _application_view(self, application: Application) -> Json:
        live = any(stream.application is application for stream in self.streams.values())
        return application_view(application, self.clock, live=live)

    def _full_view(self, stream: Stream) -> Json:
        now = self.clock.now()
        assignable = Counter(
            machine.region
            for machine in self._machines(stream)
            if machine.status(now) == "available"
        )
        return full_stream_view(stream, self.clock, self._running(stream), assignable)

    def _running(self, stream: Stream) -> Counter[str]:
        return Counter(
            machine.region for machine in self._machines(stream) if machine.end_at() is None
        )

    def _boot(self, stream: Stream, region: str) -> Machine:
        machine = Machine.booting(
            next(self._machine_ids), self._uuid(), stream, region, self.clock.now()
        )
        self.machines[machine.id] = machine
        return machine

    def _replenish(self, stream: Stream) -> None:
        """Start what the service itself keeps ready."""
        now, running = self.clock.now(), self._running(stream)
        free = Counter(
            machine.region
            for machine in self._machines(stream)
            if machine.status(now) in UNASSIGNED
        )
        for region, total in stream.capacities.items():
            for _ in range(min(stream.reserve(region) - free[region], total - running[region])):
                self._boot(stream, region)

    def _terminate(self, machine: Machine, now: float) -> None:
        if machine.status(now) == "connected":
            self._close_visit(machine, now)
        machine.become("terminated", now)
        self._replenish(machine.stream)

    def _close_visit(self, machine: Machine, now: float) -> None:
        visit = Visit(
            id=next(self._visit_ids),
            machine=machine,
            user=machine.user,
            visitor=machine.visitor or Visitor(),
            start_at=machine.connected_at(),
            end_at=now,
        )
        self.visits.append(visit)
        machine.user = machine.visitor = None

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))


def _number(id: str) -> int:
    """Return an id as a number; one that is none belongs to nothing."""
    return int(id) if id.isascii() and id.isdigit() and len(id) <= 18 else -1

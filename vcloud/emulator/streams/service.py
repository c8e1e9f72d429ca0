"""The Vagon Streams API: every documented operation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from vcloud.emulator.clock import Clock
from vcloud.emulator.credentials import Seed
from vcloud.emulator.state_loop import StateLoop
from vcloud.emulator.streams.arguments import (
    APPLICATION,
    STREAM,
    Filter,
    read_changes,
    read_email,
    required_text,
)
from vcloud.emulator.streams.changes import ChangeableStreams
from vcloud.emulator.streams.rules import (
    require_assignable,
    require_running,
    require_startable,
)
from vcloud.emulator.streams.state import Application, Machine, Stream
from vcloud.emulator.streams.views import (
    application_view,
    full_stream_view,
    machine_view,
    stream_view,
    user_view,
    visit_view,
)
from vcloud.emulator.vagon.service import (
    Organization,
    VagonError,
    VagonRequest,
    known_region,
    paginate,
)
from vcloud.emulator.vagon.signature import Signatures

Json = dict[str, Any]

STREAMS_PER_PAGE = 100
MACHINES_PER_PAGE = 10
"""The document's figures; the statistics have 20."""

LINK = "https://sb-app.vagon.io/stream/"


class Streams(ChangeableStreams):
    """The service and its state, which tests may read and change.

    The state is in `applications`, `streams`, `machines`, `users` and `visits`. The API cannot
    create applications, so there are two at first, one of them with a cost-optimized stream.
    """

    prefix: str = "/app-stream-management/v2"

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
        super().__init__(organization, signatures, clock, home=home, seed=seed)
        self._add_routes()

    def _add_routes(self) -> None:
        for method, template, handler in (
            ("GET", "/applications", self._list_applications),
            ("PUT", "/applications/{id}", self._configure_application),
            ("GET", "/streams", self._list_streams),
            ("POST", "/streams", self._create_stream),
            # Before the next one, whose template matches this path, too.
            ("POST", "/streams/stop-machine", self._stop_machine),
            # One template, though GET takes the uid and PUT the id: paths match before methods.
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
        self._fleet.plan_all(stream, self.clock.now())
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
        require_startable(stream, region, self._fleet, request.organization.account, now)
        return machine_view(self._fleet.boot(stream, region, now), self.clock, now)

    def _assign_machine(self, request: VagonRequest) -> Json:
        stream, body, now = self._stream(request.params["id"]), request.json(), self.clock.now()
        region = known_region(body.get("region"))
        user_id = body.get("user_id")
        # A public client sends an empty text for no user.
        known = user_id in (None, "") or (isinstance(user_id, str) and user_id in self.users)
        if not known:
            raise VagonError(404, "User not found")
        machine = require_assignable(stream, region, self._fleet, now)
        self._fleet.assign(machine, self.users[user_id] if user_id else None, now)
        return {
            "connection_link": LINK + machine.uid,
            "machine": machine_view(machine, self.clock, now),
        }

    def _stop_machine(self, request: VagonRequest) -> Json:
        id_ = required_text("machine_id", request.json().get("machine_id"))
        machine, now = self.machines.get(_number(id_)), self.clock.now()
        if machine is None:
            raise VagonError(404, "Machine not found")
        require_running(machine, now)
        self._fleet.terminate(machine, now)
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
        return user_view(self.add_user(read_email(request.json())))

    def _delete_user(self, request: VagonRequest) -> Json:
        if self.users.pop(request.params["id"], None) is None:
            raise VagonError(404, "User not found")
        return {}

    def _list_sessions(self, request: VagonRequest) -> Json:
        wanted, now = Filter.read(request.query), self.clock.now()
        visits = [
            visit
            for visit in self._fleet.visits_by(now)
            if wanted.passes(visit.machine, visit.start_at)
        ]
        page = paginate(visits, request.query)
        return {
            "sessions": [visit_view(visit, self.clock, now) for visit in page.items],
            **page.fields(),
        }

    # -- helpers -----------------------------------------------------------------------------------

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
        return full_stream_view(
            stream,
            self.clock,
            self._fleet.running(stream, now),
            self._fleet.available(stream, now),
        )


def _number(id: str) -> int:
    """An id as a number; -1, which nothing has, for one that is not a number."""
    return int(id) if id.isascii() and id.isdigit() and len(id) <= 18 else -1

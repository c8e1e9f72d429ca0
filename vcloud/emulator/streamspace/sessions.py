"""The sessions: creating, moving between states, ending, and their logs."""

from __future__ import annotations

from typing import Any

from vcloud.emulator.streamspace.api import Route, StreamSpaceRequest, TableEntry, Upgrade
from vcloud.emulator.streamspace.arguments import (
    Json,
    NewSession,
    StreamSpaceError,
    invalid,
    one_of,
    paginate,
    query_boolean,
    query_choice,
    query_integer,
)
from vcloud.emulator.streamspace.catalog import ORDERS, PLATFORMS, SORTS, STATES, TRANSITIONS
from vcloud.emulator.streamspace.control.fleet import Fleet
from vcloud.emulator.streamspace.control.logs import Follower
from vcloud.emulator.streamspace.control.plane import ControlPlane
from vcloud.emulator.streamspace.state import ENDED, Agent, Session, Template
from vcloud.emulator.streamspace.views import (
    log_view,
    new_session_view,
    session_update_view,
    session_view,
    single_session_view,
)


class Sessions:
    """``/sessions``."""

    def __init__(self, fleet: Fleet, control: ControlPlane) -> None:
        """Serve the sessions of `fleet`; `control` commands those on connected agents."""
        self._fleet = fleet
        self._control = control

    def routes(self) -> tuple[TableEntry, ...]:
        """Method, path and route of each operation."""
        return (
            ("GET", "/sessions", Route(self._list_sessions)),
            ("POST", "/sessions", Route(self._create_session, 202, bucket="create")),
            ("GET", "/sessions/{session_id}", Route(self._get_session)),
            ("PATCH", "/sessions/{session_id}", Route(self._update_session)),
            ("DELETE", "/sessions/{session_id}", Route(self._delete_session, 204)),
            ("GET", "/sessions/{session_id}/logs", Route(self._session_logs, follows=True)),
        )

    def _create_session(self, request: StreamSpaceRequest) -> Json:
        wanted = NewSession.read(request.json())
        if wanted.user != request.user.username:
            request.require_admin()
        if wanted.user not in self._fleet.users:
            raise invalid("user", f"is not the name of a user: '{wanted.user}'")
        template = self._fleet.template(wanted.template)
        if not template.valid:
            raise StreamSpaceError(
                "TEMPLATE_INVALID", f"Template '{template.name}' has an invalid configuration"
            )
        agent = self._fleet.agent_for(wanted)
        session = self._new_session(wanted, template, agent)
        self._fleet.sessions[session.id] = session
        if session.remote:
            session.enter(session.created_at, "pending")
            self._control.start(session)
        else:
            session.provision(session.created_at, wanted.state)
        return new_session_view(session, self._fleet.clock)

    def _new_session(self, wanted: NewSession, template: Template, agent: Agent) -> Session:
        name, now = self._fleet.new_name(wanted.user, template.name), self._fleet.clock.now()
        if any(
            session.name == name and session.state_at(now) not in ENDED
            for session in self._fleet.sessions.values()
        ):
            raise StreamSpaceError("SESSION_ALREADY_EXISTS", f"Session with name '{name}' exists")
        if not template.provisions:
            raise StreamSpaceError(
                "SESSION_PROVISIONING_FAILED", f"Failed to provision session '{name}'"
            )
        return Session(
            id=self._fleet.new_id(),
            service=self._fleet,
            number=self._fleet.new_number(),
            name=name,
            user=wanted.user,
            template=template.name,
            platform=agent.platform,
            agent_id=agent.agent_id,
            resources={"memory": template.memory, "cpu": template.cpu, **wanted.resources},
            persistent_home=wanted.persistent_home,
            idle_timeout=wanted.idle_timeout or template.idle_timeout,
            tags=wanted.tags,
            created_at=now,
            remote=agent.remote,
            wanted=wanted.state,
        )

    def _list_sessions(self, request: StreamSpaceRequest) -> Json:
        query, now = request.query, self._fleet.clock.now()
        query_choice(query, "platform", PLATFORMS)
        state = query_choice(query, "state", STATES)
        tags = {tag for tag in query.get("tags", "").split(",") if tag}
        sort = query_choice(query, "sort", SORTS) or "created_at"
        newest_first = (query_choice(query, "order", ORDERS) or "desc") == "desc"
        equal = {name: query.get(name) for name in ("user", "template", "platform", "agent_id")}
        found = [
            session
            for session in self._fleet.sessions.values()
            if self._fleet.may_see(request.user, session)
            and all(
                wanted is None or getattr(session, name) == wanted for name, wanted in equal.items()
            )
            and state in (None, session.state_at(now))
            and tags <= set(session.tags)
        ]
        orders: dict[str, Any] = {
            "updated_at": lambda one: one.updated_at(now),
            "state": lambda one: one.state_at(now),
        }
        order = orders.get(sort, lambda one: getattr(one, sort))
        found.sort(key=lambda one: (order(one), one.number), reverse=newest_first)
        page, where = paginate(
            [session_view(session, self._fleet.clock) for session in found], query
        )
        return {"sessions": page, "pagination": where}

    def _get_session(self, request: StreamSpaceRequest) -> Json:
        return single_session_view(self._fleet.session_of(request), self._fleet.clock)

    def _update_session(self, request: StreamSpaceRequest) -> Json:
        session, now = self._fleet.session_of(request), self._fleet.clock.now()
        before, after = session.state_at(now), one_of(request.json(), "state", STATES)
        if after == "terminated":
            request.require_admin()
            self._force(session)
            return session_update_view(session, self._fleet.clock)
        if before == "terminating":
            raise StreamSpaceError("SESSION_TERMINATING", f"Session '{session.id}' is terminating")
        if (before, after) not in TRANSITIONS:
            raise StreamSpaceError(
                "INVALID_STATE_TRANSITION", f"Cannot transition from '{before}' to '{after}'"
            )
        agent = self._fleet.connected_agent_of(session)
        if after == "running":
            self._fleet.require_room(agent)
        self._move(session, after)
        return session_update_view(session, self._fleet.clock)

    def _delete_session(self, request: StreamSpaceRequest) -> None:
        session, now = self._fleet.session_of(request), self._fleet.clock.now()
        if query_boolean(request.query, "force", default=False):
            request.require_admin()
            self._force(session)
        # A session that is terminating or has ended is accepted, because the result is the same.
        elif session.state_at(now) not in {"terminating", *ENDED}:
            self._fleet.connected_agent_of(session)
            self._move(session, "terminating")

    def _move(self, session: Session, state: str) -> None:
        """Move a session into another state: by itself, or by a command to its agent."""
        if session.remote:
            self._control.move(session, state)
        else:
            session.become(self._fleet.clock.now(), state)
        self._fleet.changes.notify()

    def _force(self, session: Session) -> None:
        """End a session at once, and have its agent stop it."""
        if session.remote and session.state_at(self._fleet.clock.now()) not in ENDED:
            self._control.stop(session, graceful=False)
        self._fleet.set_state(session.id, "terminated")

    def _session_logs(self, request: StreamSpaceRequest) -> Json | Upgrade:
        session = self._fleet.session_of(request)
        tail = query_integer(request.query, "tail", 100)
        timestamps = query_boolean(request.query, "timestamps", default=True)
        if query_boolean(request.query, "follow", default=False):
            if not request.upgrade:
                raise StreamSpaceError(
                    "INVALID_PARAMETER",
                    "Parameter 'follow' needs a WebSocket upgrade",
                    {"follow": "true"},
                )
            self._fleet.connected_agent_of(session)
            return self._fleet.live, Follower(
                session, self._fleet.clock, self._fleet.changes, tail=tail, timestamps=timestamps
            )
        self._fleet.connected_agent_of(session)
        return log_view(session, self._fleet.clock, tail=tail, timestamps=timestamps)

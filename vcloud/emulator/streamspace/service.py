"""The StreamSpace API: every documented operation, and the token renewal of the published server."""

from __future__ import annotations

import hmac
import itertools
from typing import Any

from vcloud.emulator.clock import Clock
from vcloud.emulator.credentials import Credentials, Seed
from vcloud.emulator.streamspace.api import Route, StreamSpaceRequest, Upgrade
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
    required,
)
from vcloud.emulator.streamspace.catalog import (
    AGENT_STATUSES,
    AGENTS,
    ORDERS,
    PLATFORMS,
    ROLES,
    SORTS,
    STATES,
    TEMPLATES,
    TRANSITIONS,
    USER,
)
from vcloud.emulator.streamspace.control.fleet import Fleet
from vcloud.emulator.streamspace.control.logs import Follower
from vcloud.emulator.streamspace.control.plane import ControlPlane
from vcloud.emulator.streamspace.control.rfb import Screen
from vcloud.emulator.streamspace.control.vnc import Viewers
from vcloud.emulator.streamspace.state import ENDED, Agent, Session, Template, User
from vcloud.emulator.streamspace.views import (
    agent_details,
    agent_update_view,
    agent_view,
    log_view,
    login_view,
    new_session_view,
    new_user_view,
    session_update_view,
    session_view,
    single_session_view,
    single_template_view,
    template_view,
    user_view,
)

DAY = 86_400.0


class StreamSpace(Fleet):
    """The service and its state, which tests may read and change: `users`, `agents`, `templates`, `sessions`, `tokens`, `limits`."""

    def __init__(
        self,
        clock: Clock,
        credentials: Credentials,
        *,
        rate_limits: bool = True,
        seed: Seed | None = None,
    ) -> None:
        """Serve the document's users, agents and templates; `credentials` are the administrator's."""
        super().__init__(clock, rate_limits=rate_limits, seed=seed)
        self.control = ControlPlane(self)
        """Where agents connect; its times, in real seconds, may be set."""
        self.viewers = Viewers(self, self.control)
        """Where viewers connect."""
        self._numbers = itertools.count(1)
        self._add_routes()
        born = clock.now() - 40 * DAY
        admin = credentials.streamspace_username
        self.add_user(admin, credentials.streamspace_password, role="admin", created_at=born)
        if admin != USER:
            self.add_user(USER, self.random.randbytes(16).hex(), created_at=born)
        if credentials.streamspace_token is not None:
            self.tokens.accept(credentials.streamspace_token, admin)
        for seeded in AGENTS:
            agent = Agent(
                **{
                    "created_at": born,
                    "updated_at": clock.now(),
                    "connected_at": clock.now() - 30 * DAY,
                    **seeded,
                }
            )
            self.agents[agent.agent_id] = agent
        for seeded in TEMPLATES:
            self.templates[seeded["name"]] = Template(
                **{"created_at": born, "updated_at": born, **seeded}
            )

    def add_user(self, username: str, password: str, **overrides: Any) -> User:
        """Add a user, with any attribute of `User` overridden."""
        defaults = {
            "id": self.new_id(),
            "email": f"{username}@example.com",
            "created_at": self.clock.now(),
        }
        user = self.users[username] = User(
            username=username, password=password, **{**defaults, **overrides}
        )
        return user

    def add_session(
        self,
        *,
        state: str = "running",
        user: str = USER,
        template: str = "firefox-browser",
        **overrides: Any,
    ) -> Session:
        """Add a session that is in `state` already, with any attribute of `Session` overridden; no limits apply."""
        made = self.templates[template]
        defaults = {
            "id": self.new_id(),
            "number": next(self._numbers),
            "name": self.new_name(user, template),
            "platform": "kubernetes",
            "agent_id": AGENTS[0]["agent_id"],
            "resources": {"memory": made.memory, "cpu": made.cpu},
            "persistent_home": made.persistent_home,
            "idle_timeout": made.idle_timeout,
            "tags": (),
            "created_at": self.clock.now(),
        }
        session = Session(user=user, template=template, **{**defaults, **overrides})
        session.become(self.clock.now(), state)
        self.sessions[session.id] = session
        return session

    def set_state(self, id: str, state: str) -> None:
        """Put a session into any state, known or not; what follows from it follows."""
        session, now = self.sessions[id], self.clock.now()
        if session.remote:
            session.enter(now, state)
        else:
            session.become(now, state)
        self.pulse.beat()

    def log(self, session_id: str, line: str) -> None:
        """Let a session's container write a line, or several, to its log."""
        self.sessions[session_id].write(self.clock.now(), line)
        self.pulse.beat()

    def screen(self, session_id: str) -> Screen:
        """Return what a built-in agent shows of a session, with the keys, pointer moves and clicks that reached it."""
        return self.viewers.screen(session_id)

    @property
    def base64_vnc(self) -> bool:
        """Whether viewers get base64 in text frames, as the published server has them, instead of binary frames."""
        return self.viewers.base64

    @base64_vnc.setter
    def base64_vnc(self, value: bool) -> None:
        self.viewers.base64 = value

    async def aclose(self) -> None:
        """End every WebSocket and every wait for an agent; may be called again."""
        self.control.forget()
        await self.live.aclose()

    def _add_routes(self) -> None:
        for method, template, route in (
            ("POST", "/auth/login", Route(self._login, bucket="login", public=True)),
            ("POST", "/auth/refresh", Route(self._refresh, public=True)),
            ("POST", "/auth/logout", Route(self._logout)),
            ("GET", "/agents", Route(self._list_agents)),
            ("GET", "/agents/stats", Route(self._agent_stats)),
            ("GET", "/agents/{agent_id}", Route(self._get_agent)),
            ("PATCH", "/agents/{agent_id}", Route(self._update_agent)),
            ("GET", "/sessions", Route(self._list_sessions)),
            ("POST", "/sessions", Route(self._create_session, 202, bucket="create")),
            ("GET", "/sessions/{session_id}", Route(self._get_session)),
            ("PATCH", "/sessions/{session_id}", Route(self._update_session)),
            ("DELETE", "/sessions/{session_id}", Route(self._delete_session, 204)),
            ("GET", "/sessions/{session_id}/logs", Route(self._session_logs, follows=True)),
            ("GET", "/templates", Route(self._list_templates)),
            ("GET", "/templates/{name}", Route(self._get_template)),
            ("GET", "/users", Route(self._list_users)),
            ("POST", "/users", Route(self._create_user, 201)),
        ):
            self.routes.add(method, template, route)

    # -- who --------------------------------------------------------------------------------------------------------

    def _login(self, request: StreamSpaceRequest) -> Json:
        body = request.json()
        username, password = required(body, "username"), required(body, "password")
        user = self.users.get(username)
        expected = "" if user is None else user.password
        right = hmac.compare_digest(
            password.encode(errors="replace"), expected.encode(errors="replace")
        )
        if user is None or not user.active or not right:
            raise StreamSpaceError("AUTH_INVALID_CREDENTIALS", "Invalid username or password")
        user.last_login = self.clock.now()
        return login_view(*self._token(user), self.clock)

    def _refresh(self, request: StreamSpaceRequest) -> Json:
        # Not in the document, only on the published server.
        return login_view(*self._token(self.user_of(required(request.json(), "token"))), self.clock)

    def _token(self, user: User) -> tuple[str, User, float]:
        token, ends = self.tokens.issue(user)
        return token, user, ends

    def _logout(self, request: StreamSpaceRequest) -> Json:
        self.tokens.revoke(request.token)
        return {"message": "Logout successful"}

    def _list_users(self, request: StreamSpaceRequest) -> Json:
        request.require_admin()
        role = query_choice(request.query, "role", ROLES)
        found = [
            user_view(user, self.clock) for user in self.users.values() if role in (None, user.role)
        ]
        page, where = paginate(found, request.query, maximum=None)
        return {"users": page, "pagination": where}

    def _create_user(self, request: StreamSpaceRequest) -> Json:
        request.require_admin()
        body = request.json()
        username, email, password = (
            required(body, name) for name in ("username", "email", "password")
        )
        role = one_of(body, "role", ROLES, "user")
        if "@" not in email:
            raise invalid("email", "must be an address")
        if username in self.users:
            raise StreamSpaceError("USER_ALREADY_EXISTS", f"A user named '{username}' exists")
        return new_user_view(self.add_user(username, password, email=email, role=role), self.clock)

    # -- where ------------------------------------------------------------------------------------------------------

    def _list_agents(self, request: StreamSpaceRequest) -> Json:
        wanted = {
            "platform": query_choice(request.query, "platform", PLATFORMS),
            "status": query_choice(request.query, "status", AGENT_STATUSES),
            "region": request.query.get("region"),
        }
        found = [
            agent_view(agent, self.load(agent), self.clock)
            for agent in self.agents.values()
            if all(value in (None, getattr(agent, name)) for name, value in wanted.items())
        ]
        page, where = paginate(found, request.query)
        return {"agents": page, "pagination": where}

    def _get_agent(self, request: StreamSpaceRequest) -> Json:
        agent, now = self.agent_of(request), self.clock.now()
        here = [session for session in self.busy(agent) if self.may_see(request.user, session)]
        return agent_view(
            agent, self.load(agent), self.clock, details=agent_details(agent, here, now)
        )

    def _update_agent(self, request: StreamSpaceRequest) -> Json:
        request.require_admin()
        agent, now = self.agent_of(request), self.clock.now()
        status = one_of(request.json(), "status", AGENT_STATUSES)
        if status == "offline":
            agent.last_heartbeat = now
        elif agent.status == "offline":
            if agent.remote and not self.control.connected(agent.agent_id):
                raise StreamSpaceError("AGENT_OFFLINE", f"Agent '{agent.agent_id}' is offline")
            agent.connected_at = now
        agent.status, agent.updated_at = status, now
        return agent_update_view(agent, self.clock)

    def _agent_stats(self, _: StreamSpaceRequest) -> Json:
        agents = list(self.agents.values())
        room, load = sum(agent.max_sessions for agent in agents), sum(map(self.load, agents))
        by_status = {
            status: sum(agent.status == status for agent in agents) for status in AGENT_STATUSES
        }
        return {
            "total_agents": len(agents),
            **{f"{status}_agents": count for status, count in by_status.items()},
            "by_platform": {
                platform: sum(agent.platform == platform for agent in agents)
                for platform in PLATFORMS
            },
            "total_capacity": {"max_sessions": room, "current_sessions": load},
            "utilization": {
                "percentage": round(100.0 * load / room, 1) if room else 0.0,
                "sessions_available": max(0, room - load),
            },
        }

    # -- what -------------------------------------------------------------------------------------------------------

    def _list_templates(self, request: StreamSpaceRequest) -> Json:
        category = request.query.get("category")
        found = [
            template_view(template, self.clock)
            for template in self.templates.values()
            if category in (None, template.category)
        ]
        page, where = paginate(found, request.query, limit=50)
        return {"templates": page, "pagination": where}

    def _get_template(self, request: StreamSpaceRequest) -> Json:
        return single_template_view(self.template(request.params["name"]), self.clock)

    def _create_session(self, request: StreamSpaceRequest) -> Json:
        wanted = NewSession.read(request.json())
        if wanted.user != request.user.username:
            request.require_admin()
        if wanted.user not in self.users:
            raise invalid("user", f"names nobody: '{wanted.user}'")
        template = self.template(wanted.template)
        if not template.valid:
            raise StreamSpaceError(
                "TEMPLATE_INVALID", f"Template '{template.name}' has an invalid configuration"
            )
        agent = self.agent_for(wanted)
        name = self.new_name(wanted.user, template.name)
        now = self.clock.now()
        if any(
            session.name == name and session.state(now) not in ENDED
            for session in self.sessions.values()
        ):
            raise StreamSpaceError("SESSION_ALREADY_EXISTS", f"Session with name '{name}' exists")
        if not template.provisions:
            raise StreamSpaceError(
                "SESSION_PROVISIONING_FAILED", f"Failed to provision session '{name}'"
            )
        session = Session(
            id=self.new_id(),
            number=next(self._numbers),
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
        self.sessions[session.id] = session
        if session.remote:
            session.enter(now, "pending")
            self.control.start(session)
        else:
            session.provision(now, wanted.state)
        return new_session_view(session, self.clock)

    def _list_sessions(self, request: StreamSpaceRequest) -> Json:
        query, now = request.query, self.clock.now()
        query_choice(query, "platform", PLATFORMS)
        state = query_choice(query, "state", STATES)
        tags = {tag for tag in query.get("tags", "").split(",") if tag}
        sort = query_choice(query, "sort", SORTS) or "created_at"
        newest_first = (query_choice(query, "order", ORDERS) or "desc") == "desc"
        equal = {name: query.get(name) for name in ("user", "template", "platform", "agent_id")}
        found = [
            session
            for session in self.sessions.values()
            if self.may_see(request.user, session)
            and all(
                wanted is None or getattr(session, name) == wanted for name, wanted in equal.items()
            )
            and state in (None, session.state(now))
            and tags <= set(session.tags)
        ]
        orders: dict[str, Any] = {
            "updated_at": lambda one: one.updated_at(now),
            "state": lambda one: one.state(now),
        }
        order = orders.get(sort, lambda one: getattr(one, sort))
        found.sort(key=lambda one: (order(one), one.number), reverse=newest_first)
        page, where = paginate([session_view(session, self.clock) for session in found], query)
        return {"sessions": page, "pagination": where}

    def _get_session(self, request: StreamSpaceRequest) -> Json:
        return single_session_view(self.session_of(request), self.clock)

    def _update_session(self, request: StreamSpaceRequest) -> Json:
        session, now = self.session_of(request), self.clock.now()
        before, after = session.state(now), one_of(request.json(), "state", STATES)
        if after == "terminated":
            request.require_admin()
            self._force(session)
            return session_update_view(session, self.clock)
        if before == "terminating":
            raise StreamSpaceError("SESSION_TERMINATING", f"Session '{session.id}' is terminating")
        if (before, after) not in TRANSITIONS:
            raise StreamSpaceError(
                "INVALID_STATE_TRANSITION", f"Cannot transition from '{before}' to '{after}'"
            )
        agent = self.connected_agent_of(session)
        if after == "running":
            self.require_room(agent)
        self._move(session, after)
        return session_update_view(session, self.clock)

    def _delete_session(self, request: StreamSpaceRequest) -> None:
        session, now = self.session_of(request), self.clock.now()
        if query_boolean(request.query, "force", default=False):
            request.require_admin()
            self._force(session)
        # What is going or gone already is what was asked for.
        elif session.state(now) not in {"terminating", *ENDED}:
            self.connected_agent_of(session)
            self._move(session, "terminating")

    def _move(self, session: Session, state: str) -> None:
        """Let a session go into another state: by itself, or by what its agent is told."""
        if session.remote:
            self.control.move(session, state)
        else:
            session.become(self.clock.now(), state)
        self.pulse.beat()

    def _force(self, session: Session) -> None:
        """End a session at once; its agent learns of it if it can."""
        if session.remote and session.state(self.clock.now()) not in ENDED:
            self.control.stop(session, graceful=False)
        self.set_state(session.id, "terminated")

    def _session_logs(self, request: StreamSpaceRequest) -> Json | Upgrade:
        session = self.session_of(request)
        tail = query_integer(request.query, "tail", 100)
        timestamps = query_boolean(request.query, "timestamps", default=True)
        if query_boolean(request.query, "follow", default=False):
            if not request.upgrade:
                raise StreamSpaceError(
                    "INVALID_PARAMETER",
                    "Parameter 'follow' needs a WebSocket upgrade",
                    {"follow": "true"},
                )
            self.connected_agent_of(session)
            return self.live, Follower(
                session, self.clock, self.pulse, tail=tail, timestamps=timestamps
            )
        self.connected_agent_of(session)
        return log_view(session, self.clock, tail=tail, timestamps=timestamps)

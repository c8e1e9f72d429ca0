"""The StreamSpace API: every documented REST operation, and the token renewal of the published server."""

from __future__ import annotations

import hmac
import itertools
import string
import uuid
from collections import deque
from typing import Any

from vcloud.emulator.clock import Clock
from vcloud.emulator.streamspace_api import Route, StreamSpaceApi, StreamSpaceRequest
from vcloud.emulator.streamspace_arguments import (
    Json,
    NewSession,
    StreamSpaceError,
    amount,
    invalid,
    one_of,
    paginate,
    query_boolean,
    query_choice,
    query_integer,
    required,
)
from vcloud.emulator.streamspace_catalog import (
    ADMIN,
    ADMIN_ID,
    ADMIN_PASSWORD,
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
    USER_PASSWORD,
)
from vcloud.emulator.streamspace_state import ENDED, IDLE, Agent, Session, Template, User
from vcloud.emulator.streamspace_views import (
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
GIB = 2.0**30


class StreamSpace(StreamSpaceApi):
    """The service and its state, which tests may read and change: `users`, `agents`, `templates`, `sessions`, `tokens`, `limits`."""

    def __init__(self, clock: Clock, *, rate_limits: bool = True, seed: int = 0) -> None:
        """Serve the document's users, agents and templates."""
        super().__init__(clock, rate_limits=rate_limits, seed=seed)
        self.agents: dict[str, Agent] = {}
        self.templates: dict[str, Template] = {}
        self.sessions: dict[str, Session] = {}
        self.suffixes: deque[str] = deque()
        """What the names of the next sessions are to end in; random when empty."""
        self._numbers = itertools.count(1)
        self._add_routes()
        born = clock.now() - 40 * DAY
        self.add_user(ADMIN, ADMIN_PASSWORD, role="admin", created_at=born, id=ADMIN_ID)
        self.add_user(USER, USER_PASSWORD, created_at=born)
        for seeded in AGENTS:
            agent = Agent(**{"created_at": born, "updated_at": clock.now(), "connected_at": clock.now() - 30 * DAY, **seeded})
            self.agents[agent.agent_id] = agent
        for seeded in TEMPLATES:
            self.templates[seeded["name"]] = Template(**{"created_at": born, "updated_at": born, **seeded})

    def add_user(self, username: str, password: str, **overrides: Any) -> User:
        """Add a user, with any attribute of `User` overridden."""
        defaults = {"id": self._uuid(), "email": f"{username}@example.com", "created_at": self.clock.now()}
        user = self.users[username] = User(username=username, password=password, **{**defaults, **overrides})
        return user

    def add_session(
        self, *, state: str = "running", user: str = USER, template: str = "firefox-browser", **overrides: Any
    ) -> Session:
        """Add a session that is in `state` already, with any attribute of `Session` overridden; no limits apply."""
        made = self.templates[template]
        defaults = {
            "id": self._uuid(),
            "number": next(self._numbers),
            "name": self._name(user, template),
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
        self.sessions[id].become(self.clock.now(), state)

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
            ("GET", "/sessions/{session_id}/logs", Route(self._session_logs)),
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
        right = hmac.compare_digest(password.encode(errors="replace"), expected.encode(errors="replace"))
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
        found = [user_view(user, self.clock) for user in self.users.values() if role in (None, user.role)]
        page, where = paginate(found, request.query, maximum=None)
        return {"users": page, "pagination": where}

    def _create_user(self, request: StreamSpaceRequest) -> Json:
        request.require_admin()
        body = request.json()
        username, email, password = (required(body, name) for name in ("username", "email", "password"))
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
            agent_view(agent, self._load(agent), self.clock)
            for agent in self.agents.values()
            if all(value in (None, getattr(agent, name)) for name, value in wanted.items())
        ]
        page, where = paginate(found, request.query)
        return {"agents": page, "pagination": where}

    def _get_agent(self, request: StreamSpaceRequest) -> Json:
        agent, now = self._agent(request), self.clock.now()
        here = [session for session in self._busy(agent) if self._may_see(request.user, session)]
        return agent_view(agent, self._load(agent), self.clock, details=agent_details(agent, here, now))

    def _update_agent(self, request: StreamSpaceRequest) -> Json:
        request.require_admin()
        agent, now = self._agent(request), self.clock.now()
        status = one_of(request.json(), "status", AGENT_STATUSES)
        if status == "offline":
            agent.last_heartbeat = now
        elif agent.status == "offline":
            agent.connected_at = now
        agent.status, agent.updated_at = status, now
        return agent_update_view(agent, self.clock)

    def _agent_stats(self, _: StreamSpaceRequest) -> Json:
        agents = list(self.agents.values())
        room, load = sum(agent.max_sessions for agent in agents), sum(map(self._load, agents))
        by_status = {status: sum(agent.status == status for agent in agents) for status in AGENT_STATUSES}
        return {
            "total_agents": len(agents),
            **{f"{status}_agents": count for status, count in by_status.items()},
            "by_platform": {platform: sum(agent.platform == platform for agent in agents) for platform in PLATFORMS},
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
            template_view(template, self.clock) for template in self.templates.values() if category in (None, template.category)
        ]
        page, where = paginate(found, request.query, limit=50)
        return {"templates": page, "pagination": where}

    def _get_template(self, request: StreamSpaceRequest) -> Json:
        return single_template_view(self._template(request.params["name"]), self.clock)

    def _create_session(self, request: StreamSpaceRequest) -> Json:
        wanted = NewSession.read(request.json())
        if wanted.user != request.user.username:
            request.require_admin()
        if wanted.user not in self.users:
            raise invalid("user", f"names nobody: '{wanted.user}'")
        template = self._template(wanted.template)
        if not template.valid:
            raise StreamSpaceError("TEMPLATE_INVALID", f"Template '{template.name}' has an invalid configuration")
        agent = self._agent_for(wanted)
        name = self._name(wanted.user, template.name)
        now = self.clock.now()
        if any(session.name == name and session.state(now) not in ENDED for session in self.sessions.values()):
            raise StreamSpaceError("SESSION_ALREADY_EXISTS", f"Session with name '{name}' exists")
        if not template.provisions:
            raise StreamSpaceError("SESSION_PROVISIONING_FAILED", f"Failed to provision session '{name}'")
        session = Session(
            id=self._uuid(),
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
        )
        session.provision(now, wanted.state)
        self.sessions[session.id] = session
        return new_session_view(session, self.clock)

    def _list_sessions(self, request: StreamSpaceRequest) -> Json:
        query, now = request.query, self.clock.now()
        query_choice(query, "platform", PLATFORMS)
        state = query_choice(query, "state", STATES)
        tags = {tag for tag in query.get("tags", "").split(",") if tag}
        sort = query_choice(query, "sort", SORTS) or "created_at"
        newest_first = (query_choice(query, "order", ORDERS) or "desc") == "desc"
        found = [
            session
            for session in self.sessions.values()
            if self._may_see(request.user, session)
            and all(
                query.get(name, value) == value
                for name in ("user", "template", "platform", "agent_id")
                for value in [getattr(session, name)]
            )
            and state in (None, session.state(now))
            and tags <= set(session.tags)
        ]
        orders: dict[str, Any] = {"updated_at": lambda one: one.updated_at(now), "state": lambda one: one.state(now)}
        order = orders.get(sort, lambda one: getattr(one, sort))
        found.sort(key=lambda one: (order(one), one.number), reverse=newest_first)
        page, where = paginate([session_view(session, self.clock) for session in found], query)
        return {"sessions": page, "pagination": where}

    def _get_session(self, request: StreamSpaceRequest) -> Json:
        return single_session_view(self._session(request), self.clock)

    def _update_session(self, request: StreamSpaceRequest) -> Json:
        session, now = self._session(request), self.clock.now()
        before, after = session.state(now), one_of(request.json(), "state", STATES)
        if after == "terminated":
            request.require_admin()
            session.become(now, after)
            return session_update_view(session, self.clock)
        if before == "terminating":
            raise StreamSpaceError("SESSION_TERMINATING", f"Session '{session.id}' is terminating")
        if (before, after) not in TRANSITIONS:
            raise StreamSpaceError("INVALID_STATE_TRANSITION", f"Cannot transition from '{before}' to '{after}'")
        agent = self._connected_agent_of(session)
        if after == "running":
            self._require_room(agent)
        session.become(now, after)
        return session_update_view(session, self.clock)

    def _delete_session(self, request: StreamSpaceRequest) -> None:
        session, now = self._session(request), self.clock.now()
        if query_boolean(request.query, "force", default=False):
            request.require_admin()
            session.become(now, "terminated")
        # What is going or gone already is what was asked for.
        elif session.state(now) not in {"terminating", *ENDED}:
            self._connected_agent_of(session)
            session.become(now, "terminating")

    def _session_logs(self, request: StreamSpaceRequest) -> Json:
        session = self._session(request)
        tail = query_integer(request.query, "tail", 100)
        timestamps = query_boolean(request.query, "timestamps", default=True)
        if query_boolean(request.query, "follow", default=False):
            raise StreamSpaceError("INVALID_PARAMETER", "Parameter 'follow' needs a WebSocket upgrade", {"follow": "true"})
        self._connected_agent_of(session)
        return log_view(session, self.clock, tail=tail, timestamps=timestamps)

    # -- looking things up ------------------------------------------------------------------------------------------

    def _may_see(self, user: User, session: Session) -> bool:
        return user.is_admin or session.user == user.username

    def _session(self, request: StreamSpaceRequest) -> Session:
        id_ = request.params["session_id"]
        session = self.sessions.get(id_)
        # Another user's session does not exist: its id is nobody's business.
        if session is None or not self._may_see(request.user, session):
            raise StreamSpaceError("SESSION_NOT_FOUND", f"No session with ID '{id_}' exists")
        return session

    def _agent(self, request: StreamSpaceRequest) -> Agent:
        agent = self.agents.get(request.params["agent_id"])
        if agent is None:
            raise StreamSpaceError("AGENT_NOT_FOUND", f"No agent with ID '{request.params['agent_id']}' exists")
        return agent

    def _template(self, name: str) -> Template:
        template = self.templates.get(name)
        if template is None:
            raise StreamSpaceError("TEMPLATE_NOT_FOUND", f"Template '{name}' does not exist")
        return template

    def _connected_agent_of(self, session: Session) -> Agent:
        agent = self.agents[session.agent_id]
        if agent.status == "offline":
            raise StreamSpaceError("AGENT_OFFLINE", f"Agent '{agent.agent_id}' is offline")
        return agent

    def _require_room(self, agent: Agent) -> None:
        if agent.status == "draining":
            raise StreamSpaceError("AGENT_DRAINING", f"Agent '{agent.agent_id}' is draining")
        if self._load(agent) >= agent.max_sessions:
            raise StreamSpaceError("AGENT_CAPACITY_EXCEEDED", f"Agent '{agent.agent_id}' is at max capacity")

    def _agent_for(self, wanted: NewSession) -> Agent:
        """Choose the first agent of the platform that is online, has room, and is big enough."""
        online = [a for a in self.agents.values() if a.status == "online" and wanted.platform in (None, a.platform)]
        if not online:
            which = f" for platform '{wanted.platform}'" if wanted.platform else ""
            raise StreamSpaceError("NO_AGENTS_AVAILABLE", f"No online agents available{which}")
        free = [agent for agent in online if self._load(agent) < agent.max_sessions]
        if not free:
            self._require_room(online[0])
        memory, cpu = (amount(name, wanted.resources.get(name, "")) for name in ("memory", "cpu"))
        fit = (a for a in free if memory <= (a.max_memory or 1e9) * GIB and cpu <= (a.max_cpu or 1e9))
        agent = next(fit, None)
        if agent is None:
            raise StreamSpaceError("INSUFFICIENT_RESOURCES", "Failed to create pod: insufficient resources")
        return agent

    def _busy(self, agent: Agent) -> list[Session]:
        now = self.clock.now()
        return [one for one in self.sessions.values() if one.agent_id == agent.agent_id and one.state(now) not in IDLE]

    def _load(self, agent: Agent) -> int:
        return agent.other_sessions + len(self._busy(agent))

    def _name(self, user: str, template: str) -> str:
        alphabet = string.ascii_lowercase + string.digits
        suffix = self.suffixes.popleft() if self.suffixes else "".join(self.random.choices(alphabet, k=6))
        return f"{user.replace('.', '-')}-{template}-{suffix}"

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

"""The state of StreamSpace, and which agent takes a session; for REST and WebSockets."""

from __future__ import annotations

import itertools
import string
from collections import deque
from typing import Any, TypedDict, Unpack

from vcloud.emulator.clock import Clock
from vcloud.emulator.credentials import Seed, new_uuid
from vcloud.emulator.net.websockets import Notifier, OpenWebSockets
from vcloud.emulator.settable import check_keywords
from vcloud.emulator.state_loop import StateLoop
from vcloud.emulator.streamspace.api import StreamSpaceApi, StreamSpaceRequest
from vcloud.emulator.streamspace.arguments import NewSession, StreamSpaceError, amount
from vcloud.emulator.streamspace.control.links import Link
from vcloud.emulator.streamspace.state import IDLE, Agent, Session, Template, User

GIB = 2.0**30


class NewUser(TypedDict, total=False):
    """What may be given to `StreamSpace.add_user`: the attributes of a user."""

    id: str
    email: str
    role: str
    active: bool
    created_at: float
    last_login: float | None


class Fleet(StreamSpaceApi):
    """The state, and how things in it are found and chosen."""

    def __init__(
        self, clock: Clock, *, rate_limits: bool, seed: Seed | None, home: StateLoop
    ) -> None:
        """Begin without state."""
        super().__init__(clock, rate_limits=rate_limits, seed=seed)
        self.home: StateLoop = home
        """Where state is changed."""
        self.agents: dict[str, Agent] = {}
        self.templates: dict[str, Template] = {}
        self.sessions: dict[str, Session] = {}
        self.suffixes: deque[str] = deque()
        """The endings of the next sessions' names; random when empty."""
        self.live: OpenWebSockets = OpenWebSockets()
        """The open WebSockets."""
        self.changes: Notifier = Notifier()
        """Notifies when a session changed or logged something."""
        self._numbers = itertools.count(1)

    def add_user(self, username: str, password: str, **overrides: Unpack[NewUser]) -> User:
        """Add a user, with any attribute of `User` overridden. From any thread."""
        check_keywords("add_user()", overrides, NewUser.__annotations__)
        return self.home.run(lambda: self._add_user(username, password, dict(overrides)))

    def _add_user(self, username: str, password: str, given: dict[str, Any]) -> User:
        defaults = {
            "id": self.new_id(),
            "email": f"{username}@example.com",
            "created_at": self.clock.now(),
        }
        user = User(username=username, password=password, **{**defaults, **given})
        self.users[username] = user
        return user

    def set_state(self, id: str, state: str) -> None:
        """Put a session into any state, known or not, and what follows from it.

        It may be called from any thread.
        """
        self.change(self.sessions[id], state)

    def change(self, session: Session, state: str) -> None:
        """Put this session into any state, and what follows from it."""

        def changed() -> None:
            now = self.clock.now()
            if session.remote:
                session.enter(now, state)
            else:
                session.become(now, state)
            self.changes.notify()

        self.home.run(changed)

    def leave_idle(self, session: Session, seconds: float) -> None:
        """Have this session been unused for so long."""

        def left() -> None:
            now = self.clock.now()
            session.leave_idle(now, now - seconds)
            self.changes.notify()

        self.home.run(left)

    def may_see(self, user: User, session: Session) -> bool:
        """Whether the session is theirs, or they may see all sessions."""
        return user.is_admin or session.user == user.username

    def session_of(self, request: StreamSpaceRequest) -> Session:
        """The session in the path."""
        id_ = request.params["session_id"]
        session = self.sessions.get(id_)
        # Another user's session is reported as missing, so that ids cannot be probed.
        if session is None or not self.may_see(request.user, session):
            raise StreamSpaceError("SESSION_NOT_FOUND", f"No session with ID '{id_}' exists")
        return session

    def agent_of(self, request: StreamSpaceRequest) -> Agent:
        """The agent in the path."""
        agent = self.agents.get(request.params["agent_id"])
        if agent is None:
            raise StreamSpaceError(
                "AGENT_NOT_FOUND", f"No agent with ID '{request.params['agent_id']}' exists"
            )
        return agent

    def registered(self, link: Link) -> Agent:
        """The agent of a connection; a new one if it has never registered before."""
        agent = self.agents.get(link.agent_id)
        if agent is None:
            now = self.clock.now()
            agent = self.agents[link.agent_id] = Agent(
                id=self.new_id(),
                agent_id=link.agent_id,
                platform=link.platform,
                region=link.region,
                max_sessions=0,
                created_at=now,
                updated_at=now,
                connected_at=now,
            )
        return agent

    def template(self, name: str) -> Template:
        """The template of this name."""
        template = self.templates.get(name)
        if template is None:
            raise StreamSpaceError("TEMPLATE_NOT_FOUND", f"Template '{name}' does not exist")
        return template

    def connected_agent_of(self, session: Session) -> Agent:
        """The agent that runs the session, which must not be offline."""
        agent = self.agents[session.agent_id]
        if agent.status == "offline":
            raise StreamSpaceError("AGENT_OFFLINE", f"Agent '{agent.agent_id}' is offline")
        return agent

    def require_room(self, agent: Agent) -> None:
        """Refuse if the agent takes no more sessions."""
        if agent.status == "draining":
            raise StreamSpaceError("AGENT_DRAINING", f"Agent '{agent.agent_id}' is draining")
        if self.load(agent) >= agent.max_sessions:
            raise StreamSpaceError(
                "AGENT_CAPACITY_EXCEEDED", f"Agent '{agent.agent_id}' is at max capacity"
            )

    def agent_for(self, wanted: NewSession) -> Agent:
        """Choose the first agent of the platform that is online, has room, and is big enough.

        The built-in agents take sessions only while no program of the platform is connected.
        """
        there = [
            a
            for a in self.agents.values()
            if a.status != "offline" and wanted.platform in (None, a.platform)
        ]
        remote = [a for a in there if a.remote]
        online = [a for a in remote or there if a.status == "online"]
        if not online:
            which = f" for platform '{wanted.platform}'" if wanted.platform else ""
            raise StreamSpaceError("NO_AGENTS_AVAILABLE", f"No online agents available{which}")
        free = [agent for agent in online if self.load(agent) < agent.max_sessions]
        if not free:
            self.require_room(online[0])
        memory, cpu = (amount(name, wanted.resources.get(name, "")) for name in ("memory", "cpu"))
        fit = (
            a for a in free if memory <= (a.max_memory or 1e9) * GIB and cpu <= (a.max_cpu or 1e9)
        )
        agent = next(fit, None)
        if agent is None:
            raise StreamSpaceError(
                "INSUFFICIENT_RESOURCES", "Failed to create pod: insufficient resources"
            )
        return agent

    def busy(self, agent: Agent) -> list[Session]:
        """The sessions that count towards its capacity."""
        now = self.clock.now()
        return [
            one
            for one in self.sessions.values()
            if one.agent_id == agent.agent_id and one.state_at(now) not in IDLE
        ]

    def load(self, agent: Agent) -> int:
        """How many sessions count towards its capacity, with those that this API does not show."""
        return agent.other_sessions + len(self.busy(agent))

    def new_name(self, user: str, template: str) -> str:
        """A name for a session."""
        alphabet = string.ascii_lowercase + string.digits
        suffix = (
            self.suffixes.popleft()
            if self.suffixes
            else "".join(self.random.choices(alphabet, k=6))
        )
        return f"{user.replace('.', '-')}-{template}-{suffix}"

    def new_id(self) -> str:
        """A UUID."""
        return new_uuid(self.random)

    def new_number(self) -> int:
        """The next number of a session."""
        return next(self._numbers)

    def new_token(self, kind: str) -> str:
        """An id that cannot be guessed, such as `cmd-...`."""
        return f"{kind}-{self.random.randbytes(12).hex()}"

"""The state of the published StreamSpace, and which agent takes a session."""

from __future__ import annotations

import itertools
from collections import deque
from typing import Any, Final, Protocol

from vcloud.emulator.clock import Clock
from vcloud.emulator.credentials import Seed, new_uuid
from vcloud.emulator.net.websockets import Notifier, OpenWebSockets
from vcloud.emulator.settable import ById
from vcloud.emulator.state_loop import StateLoop
from vcloud.emulator.streamspace.published.api import PublishedApi
from vcloud.emulator.streamspace.published.refusals import PublishedError
from vcloud.emulator.streamspace.published.state import (
    FOLLOWING,
    Agent,
    Command,
    Session,
    Template,
    User,
)
from vcloud.emulator.streamspace.published.troubles import troubles

Json = dict[str, Any]

PLATFORM: Final = "kubernetes"
"""The platform of the server, and of the agents that it gives sessions to."""
KEPT: Final = 10_000
"""Commands that are kept; the oldest are dropped."""
HEARD: Final = 90.0
"""Simulated seconds within which such an agent was heard of."""
STUCK: Final = 300.0
REPEATED: Final = 60.0
"""Simulated seconds in `terminating` until a stop is said again, and between two of them."""
LOADING: Final = frozenset({"running", "hibernated", "pending"})
"""The states that count for an agent's load."""


class Hub(Protocol):
    """Where agents are connected."""

    def connected(self, agent_id: str) -> bool:
        """Whether this agent has an open socket."""
        ...

    def send(self, command: Command) -> None:
        """Queue a command for its agent; it is lost if the agent is not connected."""
        ...


class NoHub:
    """A place where no agent can connect."""

    def connected(self, agent_id: str) -> bool:  # noqa: ARG002 - a hub's signature
        """Whether this agent has an open socket."""
        return False

    def send(self, command: Command) -> None:
        """Lose a command."""


class Space(PublishedApi):
    """The state, and how things in it are found and chosen.

    What connects agents and viewers uses this of it:

    - `users`, `agents`, `templates`, `sessions` by name or id; `commands`, all that were made;
    - `hub`, which it sets to itself: `connected` and `send` are called for remote agents;
    - `add_routes(("GET", "/vnc/{name}", Route(handler=...)))`: a handler gets a `PublishedRequest`
      (`user`, or `agent_id` with `Route(agent=True)`), and returns an `Upgrade(live, use)`;
    - `report(name, state, ready=, pod_name=)` when an agent says `status`;
    - `repeat_stops(agent_id)` now and then for an agent that is connected;
    - `live`, the open WebSockets, and `changes`, which notifies when a session changed;
    - `connected(agent_id)`, which also knows the built-in agent, and a second replica.
    """

    def __init__(
        self, clock: Clock, *, rate_limits: bool, seed: Seed | None, home: StateLoop
    ) -> None:
        """Begin without state."""
        super().__init__(clock, rate_limits=rate_limits, seed=seed)
        self.home: StateLoop = home
        """Where state is changed."""
        self.hub: Hub = NoHub()
        """Where agents are connected."""
        self.templates: dict[str, Template] = ById()
        self.sessions: dict[str, Session] = ById()
        self.commands: deque[Command] = deque(maxlen=KEPT)
        """The commands made so far: none leaves the status `pending` in the server's database."""
        self.live: OpenWebSockets = OpenWebSockets()
        """The open WebSockets."""
        self.changes: Notifier = Notifier()
        """Notifies when a session changed."""
        self.repositories: set[int] = {1}
        """The numbers of the catalogs, one of which each template belongs to."""
        self._numbers = itertools.count(1)
        self._template_ids = itertools.count(1)

    def set_state(self, name: str, state: str) -> None:
        """Put a session into any state, known or not, and what follows from it.

        It may be called from any thread.
        """
        self.change(self.sessions[name], state)

    def change(self, session: Session, state: str) -> None:
        """Put this session into any state, and what follows from it."""

        def changed() -> None:
            self.become(session, state)
            self.changes.notify()

        self.home.run(changed)

    def leave_idle(self, session: Session, seconds: float) -> None:
        """Have this session be unused for so long."""

        def left() -> None:
            now = self.clock.now()
            session.used_last(session.phase_at(now), now - seconds)
            session.created_at = min(session.created_at, now - seconds)
            self.changes.notify()

        self.home.run(left)

    def become(self, session: Session, state: str) -> None:
        """Have a session be in a state, as if its agent had reported it, and what follows."""
        now = self.clock.now()
        if state in FOLLOWING:
            session.enter(now, state)
        else:
            session.report(now, state, ready=state == "running", pod_name=f"pod-{session.name}")
        agent = self.agents.get(session.agent_id)
        if (
            state in FOLLOWING
            and agent is not None
            and not agent.remote
            and agent.status != "offline"
        ):
            session.perform(now, FOLLOWING[state], agent)

    def report(self, name: str, state: str, *, ready: bool, pod_name: str) -> None:
        """Take an agent's report of a session; one of an unknown session is ignored."""
        if name in self.sessions:
            self.sessions[name].report(self.clock.now(), state, ready=ready, pod_name=pod_name)
            self.changes.notify()

    def connected(self, agent_id: str) -> bool:
        """Whether this replica has a connection to an agent."""
        if troubles().other_replica:
            return False
        agent = self.agents.get(agent_id)
        if agent is not None and not agent.remote:
            return agent.status != "offline"
        return self.hub.connected(agent_id)

    def command(self, agent_id: str, session_id: str, action: str, payload: Json | None) -> Command:
        """Make a command, with a short id, as the server does for its sessions, and send it."""
        return self.send_command(f"cmd-{self.new_id()[:8]}", agent_id, session_id, action, payload)

    def send_command(
        self, command_id: str, agent_id: str, session_id: str, action: str, payload: Json | None
    ) -> Command:
        """Make a command with this id, and send it to its agent, if that is connected."""
        command = Command(
            id=self.new_id(),
            command_id=command_id,
            agent_id=agent_id,
            session_id=session_id,
            action=action,
            payload=payload,
            created_at=self.clock.now(),
        )
        self.commands.append(command)
        if not self.connected(agent_id):
            return command
        agent = self.agents[agent_id]
        if agent.remote:
            self.hub.send(command)
        elif session_id in self.sessions:
            self.sessions[session_id].perform(command.created_at, action, agent)
        return command

    def repeat_commands(self) -> None:
        """Send every connected agent all commands that were ever made for it, again."""
        for command in self.commands:
            agent = self.agents.get(command.agent_id)
            if agent is not None and agent.remote and self.hub.connected(command.agent_id):
                self.hub.send(command)

    def repeat_stops(self, agent_id: str) -> None:
        """Tell a connected agent again to stop what has been `terminating` for five minutes.

        The server does so every minute, each time with a new command (source).
        """
        now = self.clock.now()
        for session in tuple(self.sessions.values()):
            phase = session.phase_at(now)
            due = max(phase.at + STUCK, session.stopped_at + REPEATED)
            if session.agent_id == agent_id and phase.state == "terminating" and due <= now:
                session.stopped_at = now
                payload = {"sessionId": session.name, "deletePVC": False}
                self.command(agent_id, session.name, "stop_session", payload)

    def session(self, name: str) -> Session | None:
        """The session of this name."""
        return self.sessions.get(name)

    def user_named(self, username: str) -> User | None:
        """The user of this name."""
        return self.users.get(username)

    def user_with_id(self, user_id: str) -> User | None:
        """The user with this id."""
        return next((one for one in self.users.values() if one.id == user_id), None)

    def choose_agent(self) -> Agent:
        """Choose the agent with the least load among those lately heard of.

        Capacity and approval do not count. The built-in agent takes sessions only while no program
        does.

        Raises:
            PublishedError: there is none.
        """
        now = self.clock.now()
        online = [
            one
            for one in self.agents.values()
            if one.status == "online"
            and (not one.remote or (one.last_heartbeat or 0) > now - HEARD)
        ]
        found = [one for one in online if one.platform == PLATFORM]
        if not found:
            why = "no agents match selection criteria" if online else "no online agents available"
            raise PublishedError(
                503,
                "No agents available",
                message=f"No online agents are currently available: {why}",
            )
        programs = sorted(
            (one for one in found if one.remote), key=lambda one: -(one.last_heartbeat or 0)
        )
        return min(programs or found, key=lambda one: self.load(one, now))

    def load(self, agent: Agent, now: float) -> int:
        """How many sessions count for an agent."""
        return sum(
            one.agent_id == agent.agent_id and one.state_at(now) in LOADING
            for one in self.sessions.values()
        )

    def new_user(self, username: str, password: str, **given: Any) -> User:
        """Add a user, with any attribute of `User` given."""
        now = self.clock.now()
        defaults = {
            "id": self.new_id(),
            "email": f"{username}@example.com",
            "full_name": username,
            "created_at": now,
        }
        values = {**defaults, **given}
        user = User(username=username, password=password, updated_at=values["created_at"], **values)
        self.users[username] = user
        return user

    def new_template_id(self) -> int:
        """The next number of a template."""
        return next(self._template_ids)

    def new_id(self) -> str:
        """A UUID."""
        return new_uuid(self.random)

    def new_number(self) -> int:
        """The next number of a session."""
        return next(self._numbers)

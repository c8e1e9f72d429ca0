"""The StreamSpace API: all documented operations, and the published server's token renewal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict, Unpack

from vcloud.emulator.clock import Clock
from vcloud.emulator.credentials import Credentials, Seed
from vcloud.emulator.settable import check_keywords, known_word
from vcloud.emulator.state_loop import StateLoop
from vcloud.emulator.streamspace.agents import Agents
from vcloud.emulator.streamspace.catalog import AGENTS, ALL_STATES, TEMPLATES, USER
from vcloud.emulator.streamspace.control.fleet import Fleet
from vcloud.emulator.streamspace.control.plane import ControlPlane
from vcloud.emulator.streamspace.control.rfb import Screen
from vcloud.emulator.streamspace.control.vnc import Viewers
from vcloud.emulator.streamspace.sessions import Sessions
from vcloud.emulator.streamspace.state import Agent, Pod, Session, Template
from vcloud.emulator.streamspace.templates import Templates
from vcloud.emulator.streamspace.users import Users

DAY = 86_400.0


class AddedSession(TypedDict, total=False):
    """What may be given to `StreamSpace.add_session` besides: the attributes of a session."""

    id: str
    number: int
    name: str
    platform: str
    agent_id: str
    resources: Mapping[str, str]
    persistent_home: bool
    idle_timeout: str
    tags: tuple[str, ...]
    created_at: float
    remote: bool
    pod: Pod
    message: str | None
    wanted: str


class StreamSpace(Fleet):
    """The service and its state, which tests may read and change.

    The state is in `users`, `agents`, `templates`, `sessions`, `tokens` and `limits`.
    """

    def __init__(
        self,
        clock: Clock,
        credentials: Credentials,
        *,
        home: StateLoop,
        rate_limits: bool = True,
        seed: Seed | None = None,
    ) -> None:
        """Serve the document's users, agents and templates, with these credentials."""
        super().__init__(clock, rate_limits=rate_limits, seed=seed, home=home)
        self.control: ControlPlane = ControlPlane(self)
        """Where agents connect; its times, in real seconds, may be set."""
        self.viewers: Viewers = Viewers(self, self.control)
        """Where viewers connect."""
        for entry in (
            *Users(self).routes(),
            *Agents(self, self.control).routes(),
            *Sessions(self, self.control).routes(),
            *Templates(self).routes(),
        ):
            self.routes.add(*entry)
        self._add_users(credentials)
        self._add_agents_and_templates()

    def _add_users(self, credentials: Credentials) -> None:
        created_at = self.clock.now() - 40 * DAY
        admin, password = credentials.streamspace_username, credentials.streamspace_password
        self.add_user(admin, password, role="admin", created_at=created_at)
        if admin != USER:
            self.add_user(USER, self.random.randbytes(16).hex(), created_at=created_at)
        if credentials.streamspace_token is not None:
            self.tokens.accept(credentials.streamspace_token, admin)

    def _add_agents_and_templates(self) -> None:
        now = self.clock.now()
        created_at = now - 40 * DAY
        for values in AGENTS:
            times = {"updated_at": now, "connected_at": now - 30 * DAY}
            agent = Agent(**{"created_at": created_at, **times, **values})
            self.agents[agent.agent_id] = agent
        for values in TEMPLATES:
            template = Template(**{"created_at": created_at, "updated_at": created_at, **values})
            self.templates[template.name] = template

    def add_session(
        self,
        *,
        state: str = "running",
        user: str = USER,
        template: str = "firefox-browser",
        **given: Unpack[AddedSession],
    ) -> Session:
        """Add a session in `state`; any attribute of it may be given. No limits apply.

        It may be called from any thread.

        Raises:
            ValueError: there is no such state. `set_state` takes any.
        """
        known_word(state, ALL_STATES, "state")
        check_keywords(
            "add_session()", given, ("state", "user", "template", *AddedSession.__annotations__)
        )
        return self.home.run(lambda: self._add_session(state, user, template, dict(given)))

    def _add_session(self, state: str, user: str, template: str, given: dict[str, Any]) -> Session:
        made = self.templates[template]
        defaults = {
            "id": self.new_id(),
            "number": self.new_number(),
            "name": self.new_name(user, template),
            "platform": "kubernetes",
            "agent_id": AGENTS[0]["agent_id"],
            "resources": {"memory": made.memory, "cpu": made.cpu},
            "persistent_home": made.persistent_home,
            "idle_timeout": made.idle_timeout,
            "tags": (),
            "created_at": self.clock.now(),
        }
        session = Session(user=user, template=template, service=self, **{**defaults, **given})
        session.become(self.clock.now(), state)
        self.sessions[session.id] = session
        return session

    def log(self, session_id: str, line: str) -> None:
        """Write a line, or several, to a session's log. From any thread."""
        session = self.sessions[session_id]

        def write() -> None:
            session.write(self.clock.now(), line)
            self.changes.notify()

        self.home.run(write)

    def screen(self, session_id: str) -> Screen:
        """A built-in agent's screen of a session, with the keys, moves and clicks it received."""
        return self.viewers.screen(session_id)

    @property
    def base64_vnc(self) -> bool:
        """Whether viewers get base64 in text frames, as from the published server."""
        return self.viewers.base64

    @base64_vnc.setter
    def base64_vnc(self, value: bool) -> None:
        self.viewers.base64 = value

    async def aclose(self) -> None:
        """Close every WebSocket, and stop waiting for agents; may be called again."""
        self.control.forget()
        await self.live.aclose()

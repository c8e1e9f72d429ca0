"""StreamSpace as its published server answers it: every operation, and its first state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypedDict, Unpack

from vcloud.emulator.clock import Clock
from vcloud.emulator.credentials import Credentials, Seed
from vcloud.emulator.settable import check_keywords, known_word
from vcloud.emulator.state_loop import StateLoop
from vcloud.emulator.streamspace.control.rfb import Screen
from vcloud.emulator.streamspace.published import quotas
from vcloud.emulator.streamspace.published.agents import Agents
from vcloud.emulator.streamspace.published.batches import Batches
from vcloud.emulator.streamspace.published.catalog import AGENT, STATES, TEMPLATES, streaming
from vcloud.emulator.streamspace.published.logins import Logins
from vcloud.emulator.streamspace.published.realtime import Realtime
from vcloud.emulator.streamspace.published.registration import Registration
from vcloud.emulator.streamspace.published.roots import Roots
from vcloud.emulator.streamspace.published.sessions import Sessions
from vcloud.emulator.streamspace.published.space import PLATFORM, Hub, Space
from vcloud.emulator.streamspace.published.state import Agent, Session, Template, User
from vcloud.emulator.streamspace.published.templates import Templates
from vcloud.emulator.streamspace.published.users import Users

DAY: Final = 86_400.0


class AddedSession(TypedDict, total=False):
    """What may be given to `PublishedStreamSpace.add_session` besides."""

    name: str
    number: int
    agent_id: str
    platform: str
    resources: Mapping[str, str]
    persistent_home: bool
    idle_timeout: str
    max_session_duration: str
    protocol: str
    port: int
    path: str
    tags: Sequence[str] | None
    created_at: float


class NewUser(TypedDict, total=False):
    """What may be given to `PublishedStreamSpace.add_user`: the attributes of a user."""

    id: str
    email: str
    full_name: str
    role: str
    provider: str
    active: bool
    created_at: float
    last_login: float | None


class PublishedStreamSpace(Space):
    """The published server and its state, which tests may read and change.

    The state is in `users`, `agents`, `templates`, `sessions`, `commands` and `tokens`. The
    built-in agent moves sessions as a good agent does; with `reports_only_running` it is like
    StreamSpace's own. `caching` turns its cache on, `database_away` its database off.
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
        """Serve an administrator, an agent and some templates, with these credentials."""
        super().__init__(clock, rate_limits=rate_limits, seed=seed, home=home)
        Roots(self)
        for part in (Logins, Sessions, Templates, Users, Agents, Registration, Batches):
            self.add_routes(*part(self).routes())
        self.realtime: Realtime = Realtime(self)
        """Where agents, viewers and the feed are connected."""
        self.add_routes(*self.realtime.routes())
        self.hub: Hub = self.realtime.server
        self._add_first(credentials)

    def _add_first(self, credentials: Credentials) -> None:
        self.bootstrap_key: str = credentials.streamspace_bootstrap_key
        created_at = self.clock.now() - 40 * DAY
        name = credentials.streamspace_username
        self.new_user(
            name,
            credentials.streamspace_password,
            id=name,
            email=f"{name}@streamspace.local",
            full_name="Administrator",
            role="admin",
            created_at=created_at,
        )
        if credentials.streamspace_token is not None:
            self.tokens.accept(credentials.streamspace_token, name)
        self.admin: str = name
        """The name, and the id, of the built-in administrator: only this user has sessions."""
        self.agents[AGENT["agent_id"]] = Agent(
            **AGENT,
            status="online",
            approval="approved",
            approved_at=created_at,
            approved_by=name,
            created_at=created_at,
            updated_at=created_at,
            remote=False,
        )
        for values in TEMPLATES:
            self.templates[values["name"]] = Template(
                id=self.new_template_id(),
                app_type="desktop",
                icon_url=f"https://cdn.streamspace.io/icons/{values['name']}.svg",
                created_at=created_at,
                updated_at=created_at,
                **values,
            )

    def add_user(self, username: str, password: str, **overrides: Unpack[NewUser]) -> User:
        """Add a user, with any attribute of `User` overridden. From any thread."""
        check_keywords("add_user()", overrides, NewUser.__annotations__)
        return self.home.run(lambda: self.new_user(username, password, **overrides))

    def add_session(
        self,
        *,
        state: str = "running",
        user: str | None = None,
        template: str = "firefox-browser",
        **given: Unpack[AddedSession],
    ) -> Session:
        """Add a session in `state`, of the administrator unless a user's id is given.

        Any attribute of it may be given. No quota applies. It may be called from any thread.

        Raises:
            ValueError: there is no such state. `set_state` takes any.
        """
        known_word(state, STATES, "state")
        check_keywords(
            "add_session()", given, ("state", "user", "template", *AddedSession.__annotations__)
        )
        owner = self.admin if user is None else user
        return self.home.run(lambda: self._add_session(state, owner, template, dict(given)))

    def _add_session(self, state: str, user: str, template: str, given: dict[str, Any]) -> Session:
        protocol, port, path = streaming(self.templates[template].manifest)
        now = self.clock.now()
        defaults = {
            "name": f"{user}-{template}-{self.new_id()[:8]}",
            "number": self.new_number(),
            "platform": PLATFORM,
            "agent_id": AGENT["agent_id"],
            "resources": {"memory": quotas.MEMORY, "cpu": quotas.CPU},
            "persistent_home": True,
            "idle_timeout": "",
            "max_session_duration": "",
            "protocol": protocol,
            "port": port,
            "path": path,
            "tags": None,
            "created_at": now,
        }
        values = {**defaults, **given}
        session = Session(
            user=user, template=template, service=self, updated_at=values["created_at"], **values
        )
        session.enter(now, "pending")
        self.become(session, state)
        self.sessions[session.name] = session
        return session

    async def aclose(self) -> None:
        """Close every WebSocket; may be called again."""
        await self.realtime.aclose()
        await self.live.aclose()

    def screen(self, name: str) -> Screen:
        """A built-in agent's screen of a session, with the keys, moves and clicks it received."""
        return self.realtime.server.screen(name)

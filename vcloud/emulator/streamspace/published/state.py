"""What the published StreamSpace keeps: users, templates, agents, sessions and commands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Protocol

from attrs import define, evolve, field, frozen

from vcloud.emulator.clock import Clock
from vcloud.emulator.settable import Settable, known_word, seconds_of
from vcloud.emulator.streamspace.published.catalog import (
    AGENT_STATUSES,
    APPROVALS,
    NAMESPACE,
    PLATFORMS,
    PROVIDERS,
    ROLES,
    STATES,
)

Json = dict[str, Any]

PENDING = 8.0
HIBERNATING = 2.0
WAKING = 3.0
TERMINATING = 5.0
"""How long a built-in agent takes to start, hibernate, wake and stop, in simulated seconds."""

PERFORMED: Mapping[str, tuple[float, str]] = {
    "start_session": (PENDING, "running"),
    "hibernate_session": (HIBERNATING, "hibernated"),
    "wake_session": (WAKING, "running"),
    "stop_session": (TERMINATING, "terminated"),
}
"""What a built-in agent reports after a command, and when."""

FOLLOWING: Mapping[str, str] = {
    "pending": "start_session",
    "starting": "start_session",
    "hibernating": "hibernate_session",
    "waking": "wake_session",
    "terminating": "stop_session",
}
"""The command that leads on from a state."""

CONNECTION = 60.0
"""Simulated seconds that a connection counts: nothing can renew it."""


@define(eq=False, kw_only=True)
class User(Settable):
    """A user of the service. Tests may set its attributes: `active`, `role`, `password` ..."""

    other_names: ClassVar[Mapping[str, str]] = {"fullName": "full_name"}
    words: ClassVar[Mapping[str, Iterable[str]]] = {"role": ROLES, "provider": PROVIDERS}

    id: str
    """A UUID; of the built-in administrator, the name."""
    username: str
    email: str
    full_name: str
    password: str = field(repr=False)
    role: str = "user"
    provider: str = "local"
    active: bool = True
    created_at: float
    updated_at: float
    last_login: float | None = None

    @property
    def is_admin(self) -> bool:
        """Whether the user is an administrator."""
        return self.role == "admin"


@define(eq=False, kw_only=True)
class Template(Settable):
    """An application. Tests may set its attributes: `manifest`, `category` ..."""

    id: int
    repository_id: int = 1
    name: str
    display_name: str = ""
    description: str = ""
    category: str = ""
    app_type: str = ""
    icon_url: str = ""
    manifest: Any = None
    """Any JSON; what the server reads of it is its `spec.baseImage` and `spec.ports`."""
    tags: Sequence[str] | None = None
    install_count: int = 0
    created_at: float
    updated_at: float


@define(eq=False, kw_only=True)
class Agent(Settable):
    """A machine that runs sessions. Tests may set its attributes: `status`, `approval` ..."""

    other_names: ClassVar[Mapping[str, str]] = {
        "state": "status",
        "approvalStatus": "approval",
        "approval_status": "approval",
        "max_sessions": "capacity",
    }
    words: ClassVar[Mapping[str, Iterable[str]]] = {
        "status": AGENT_STATUSES,
        "approval": APPROVALS,
        "platform": PLATFORMS,
    }

    id: str
    agent_id: str
    platform: str
    region: str = ""
    status: str = "offline"
    capacity: Json | None = None
    metadata: Json | None = None
    approval: str = "pending"
    approved_at: float | None = None
    approved_by: str | None = None
    key: str | None = field(default=None, repr=False)
    """Its own key; the installation's bootstrap key works besides."""
    connection: str | None = None
    """The id of its socket, while it is connected."""
    created_at: float
    updated_at: float
    last_heartbeat: float | None = None
    """When it was last heard of. A built-in agent's is always now."""
    remote: bool = True
    """Whether it is a program that connects, in contrast to the built-in agent."""
    reports_only_running: bool = False
    """Whether a built-in agent reports `running` and nothing else, as StreamSpace's own does."""


@frozen
class Phase:
    """From `at` on, the session is in `state`, until the next phase."""

    at: float
    state: str
    url: str = ""
    pod_name: str = ""
    activity: float | None = None
    """When an agent last reported something."""


class Owner(Protocol):
    """The service that a session is part of."""

    clock: Clock

    def change(self, session: Session, state: str) -> None:
        """Put a session into a state."""

    def leave_idle(self, session: Session, seconds: float) -> None:
        """Have a session be unused for so long."""


@define(eq=False, kw_only=True)
class Session(Settable):
    """An application that runs for a user. Tests may read and set it, from any thread.

    Clients see all of it except `number`, `agent_id`, `tags` and `stopped_at`.
    """

    other_names: ClassVar[Mapping[str, str]] = {
        "status": "state",
        "template_name": "template",
        "user_id": "user",
        "streaming_protocol": "protocol",
        "streaming_port": "port",
        "streaming_path": "path",
        "last_activity": "idle",
    }

    name: str
    _service: Owner = field(repr=False, alias="service")
    number: int
    """Counts up; orders sessions that were created in the same instant."""
    user: str
    """The user's id, not the name."""
    template: str
    platform: str
    agent_id: str
    """The agent that it was given to; "" for none."""
    namespace: str = NAMESPACE
    resources: Mapping[str, str]
    persistent_home: bool
    idle_timeout: str
    max_session_duration: str
    protocol: str
    port: int
    path: str
    tags: Sequence[str] | None
    created_at: float
    updated_at: float
    phases: tuple[Phase, ...] = ()
    connections: dict[str, float] = field(factory=dict)
    """Until when each connection counts, by its id (simulated time)."""
    stopped_at: float = 0.0
    """When a stop was last said again."""
    connected_at: float | None = None
    """When the last connection was made."""

    @property
    def id(self) -> str:
        """The id, which is the name."""
        return self.name

    @property
    def state(self) -> str:
        """The state now. What follows from one that is set follows, if its agent is built in.

        Raises:
            ValueError: it is set to another word. `PublishedStreamSpace.set_state` takes any.
        """
        return self.state_at(self._service.clock.now())

    @state.setter
    def state(self, word: str) -> None:
        self._service.change(self, known_word(word, STATES, "state"))

    @property
    def idle(self) -> float | None:
        """For how many seconds it was not used (`lastActivity`); None before an agent's report.

        It can be set, to seconds or a timedelta. Nothing follows from it: the server does not act
        on `idle_timeout`.
        """
        now = self._service.clock.now()
        activity = self.phase_at(now).activity
        return None if activity is None else now - activity

    @idle.setter
    def idle(self, seconds: timedelta | float) -> None:
        self._service.leave_idle(self, seconds_of(seconds, "idle"))

    def state_at(self, now: float) -> str:
        """The state at this time."""
        return self.phase_at(now).state

    def phase_at(self, now: float) -> Phase:
        """What is shown of it at this time."""
        return next((phase for phase in reversed(self.phases) if phase.at <= now), self.phases[0])

    def updated_by(self, now: float) -> float:
        """When it was last changed, by this time."""
        return max(self.updated_at, self.phase_at(now).at)

    def active_connections(self, now: float) -> int:
        """How many connections count at this time."""
        return sum(until > now for until in self.connections.values())

    def enter(self, now: float, state: str) -> None:
        """Enter a state because the server says so; drop what an agent was to report."""
        phase = (
            evolve(self.phase_at(now), at=now, state=state) if self.phases else Phase(now, state)
        )
        self.phases = (phase,)
        self.updated_at = now

    def touch(self, now: float) -> None:
        """Note that it is viewed now."""
        self.used_last(self.phase_at(now), now)

    def used_last(self, shown: Phase, at: float) -> None:
        """Note when it was used last, in what is shown of it."""
        self.phases = tuple(
            evolve(phase, activity=at) if phase is shown else phase for phase in self.phases
        )

    def report(self, at: float, state: str, *, ready: bool, pod_name: str) -> None:
        """Have an agent report a state, now or at a later time."""
        url = f"/api/v1/sessions/{self.name}/vnc" if ready else ""
        before = tuple(phase for phase in self.phases if phase.at < at)
        self.phases = (*before[-1:], Phase(at, state, url, pod_name, at))

    def perform(self, now: float, action: str, agent: Agent) -> None:
        """Have a built-in agent carry out a command, and report it."""
        seconds, state = PERFORMED[action]
        if agent.reports_only_running and action != "start_session":
            return
        ready = state == "running"
        self.report(now + seconds, state, ready=ready, pod_name=f"pod-{self.name}")


@define(eq=False, kw_only=True)
class Command:
    """What the server tells an agent. In this build, none ever leaves the status `pending`."""

    id: str
    command_id: str
    agent_id: str
    session_id: str
    action: str
    payload: Json | None
    created_at: float
    status: str = "pending"

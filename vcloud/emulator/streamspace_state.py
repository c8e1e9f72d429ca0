"""What the StreamSpace API keeps: users, agents, templates, and sessions with the states they go through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import define, field, frozen

from vcloud.emulator.streamspace_arguments import seconds

PENDING = 8.0
TERMINATING = 5.0
"""How long a session takes to come and to go, in simulated seconds."""

ENDED = frozenset({"terminated", "failed"})
IDLE = frozenset({"hibernated", *ENDED})
"""States in which a session needs no room on its agent."""


@define(eq=False, kw_only=True)
class User:
    """Who may log in."""

    id: str
    username: str
    email: str
    password: str = field(repr=False)
    role: str = "user"
    active: bool = True
    created_at: float
    last_login: float | None = None

    @property
    def is_admin(self) -> bool:
        """Whether the user may do everything."""
        return self.role == "admin"


@define(eq=False, kw_only=True)
class Agent:
    """A machine that runs sessions. Those of others, which this API does not show, take room, too."""

    id: str
    agent_id: str
    platform: str
    region: str
    status: str = "online"
    max_cpu: float | None = None
    max_memory: float | None = None
    max_sessions: int
    other_sessions: int = 0
    metadata: Mapping[str, Any] = field(factory=dict)
    websocket_conn_id: str | None = None
    created_at: float
    updated_at: float
    connected_at: float
    last_heartbeat: float | None = None
    """When it was last heard of before it went offline; while it is connected, it is heard of all the time."""


@define(eq=False, kw_only=True)
class Template:
    """An application."""

    id: str
    name: str
    display_name: str
    category: str
    description: str
    base_image: str
    icon_url: str
    tags: tuple[str, ...]
    memory: str
    cpu: str
    storage: str = "10Gi"
    idle_timeout: str = "30m"
    persistent_home: bool = True
    created_at: float
    updated_at: float
    valid: bool = True
    """Whether its configuration makes sense; if not, creating a session is refused with TEMPLATE_INVALID."""
    provisions: bool = True
    """Whether sessions of it come up; if not, creating one ends in SESSION_PROVISIONING_FAILED."""


@frozen
class Phase:
    """From `at` on, the session is in `state`, until the next phase."""

    at: float
    state: str


@define(eq=False, kw_only=True)
class Session:
    """An application that runs for a user."""

    id: str
    number: int
    """Counts up; tells apart what was created in the same instant."""
    name: str
    user: str
    template: str
    platform: str
    agent_id: str
    resources: Mapping[str, str]
    persistent_home: bool
    idle_timeout: str
    tags: tuple[str, ...]
    created_at: float
    phases: tuple[Phase, ...] = ()
    log: list[tuple[float, str]] = field(factory=list)

    def state(self, now: float) -> str:
        """Return the state at this time."""
        return self._phase(now).state

    def updated_at(self, now: float) -> float:
        """Return when that state began."""
        return self._phase(now).at

    def started_at(self, now: float) -> float | None:
        """Return since when the container runs, None while there is none."""
        phase = self._phase(now)
        return phase.at if phase.state == "running" else None

    def lines(self, now: float) -> Iterator[tuple[float, str]]:
        """Yield what was logged by now."""
        return (entry for entry in self.log if entry[0] <= now)

    def provision(self, now: float, state: str) -> None:
        """Lay down the way from pending to `state`."""
        self.phases = (Phase(now, "pending"),)
        self._follow(now + PENDING, state)

    def become(self, now: float, state: str) -> None:
        """Go into `state` at once, whatever is to follow from it."""
        self.phases = (self.phases[0] if self.phases else Phase(now, state),)
        self.log = list(self.lines(now))
        self._follow(now, state)

    def _follow(self, at: float, state: str) -> None:
        self.phases = (*self.phases, Phase(at, state))
        if state == "running":
            self.log += [
                (at, "Container started"),
                (at + 3, "VNC server started on port 5900"),
                (at + 4, "noVNC web server started on port 6080"),
                (at + 6, f"{self.template} initialized"),
            ]
            # Nobody uses an emulated session, so it is idle from the start.
            self._follow(at + seconds(self.idle_timeout), "hibernated")
        elif state == "terminating":
            self.log.append((at, "Shutting down"))
            self._follow(at + TERMINATING, "terminated")
        elif state in IDLE:
            self.log.append((at, f"Session {state}"))

    def _phase(self, now: float) -> Phase:
        return next((phase for phase in reversed(self.phases) if phase.at <= now), self.phases[0])

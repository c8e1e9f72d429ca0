"""What the StreamSpace API keeps: users, agents, templates, and sessions with their states."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, ClassVar, Protocol

from attrs import define, field, frozen

from vcloud.emulator.clock import Clock
from vcloud.emulator.settable import Settable, known_word, seconds_of
from vcloud.emulator.streamspace.arguments import seconds
from vcloud.emulator.streamspace.catalog import AGENT_STATUSES, ALL_STATES, ROLES

PENDING = 8.0
TERMINATING = 5.0
"""How long these states of a session last, in simulated seconds."""

ENDED = frozenset({"terminated", "failed"})
IDLE = frozenset({"hibernated", *ENDED})
"""States in which a session does not count towards its agent's capacity."""

LOG_LINES = 10_000
"""Maximum lines of a session's log."""


@define(eq=False, kw_only=True)
class User(Settable):
    """A user of the service. Tests may set its attributes: `active`, `role`, `password` ..."""

    words: ClassVar[Mapping[str, Iterable[str]]] = {"role": ROLES}

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
        """Whether the user is an administrator."""
        return self.role == "admin"


@define(eq=False, kw_only=True)
class Agent(Settable):
    """A machine that runs sessions, also some that this API does not show.

    Tests may set its attributes: `status`, `max_sessions`, `other_sessions`, `region` ...
    """

    other_names: ClassVar[Mapping[str, str]] = {"state": "status"}
    words: ClassVar[Mapping[str, Iterable[str]]] = {"status": AGENT_STATUSES}

    id: str
    agent_id: str
    platform: str
    region: str | None
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
    """When its last heartbeat came. For a built-in agent, it is used only while it is offline."""
    remote: bool = False
    """Whether it is a program that connects, in contrast to the built-in agents."""
    drained: bool = False
    """Whether it was draining when its connection was lost, and drains on when it is back."""


@define(eq=False, kw_only=True)
class Template(Settable):
    """An application. Tests may set its attributes: `valid`, `provisions` ..."""

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
    """Whether its configuration is valid; if not, creates are refused with TEMPLATE_INVALID."""
    provisions: bool = True
    """Whether its sessions start; if not, creates fail with SESSION_PROVISIONING_FAILED."""


@frozen
class Phase:
    """From `at` on, the session is in `state`, until the next phase."""

    at: float
    state: str


@frozen(kw_only=True)
class Pod:
    """A container, as the agent that started it describes it."""

    ip: str | None = None
    name: str | None = None
    vnc_port: int = 5900
    started_at: float | None = None


class Owner(Protocol):
    """The service that a session is part of."""

    clock: Clock

    def change(self, session: Session, state: str) -> None:
        """Put a session into a state."""

    def leave_idle(self, session: Session, seconds: float) -> None:
        """Have a session been unused for so long."""


@define(eq=False, kw_only=True)
class Session(Settable):
    """An application that runs for a user. Tests may read and set it, from any thread.

    Clients see `state`, `user`, `template`, `platform`, `agent_id`, `resources`, `idle_timeout`,
    `persistent_home`, `tags`, `message` and `idle` (their `last_activity`). What else there is, is
    the service's own.
    """

    other_names: ClassVar[Mapping[str, str]] = {"status": "state", "last_activity": "idle"}

    id: str
    _service: Owner = field(repr=False, alias="service")
    number: int
    """Counts up; orders sessions that were created in the same instant."""
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
    forgotten: int = 0
    """How many lines were dropped from the full log."""
    remote: bool = False
    """Whether a connected agent runs it, so that only that agent's results change its state."""
    pod: Pod = Pod()
    message: str | None = None
    """The message of its status, in place of its state's usual one."""
    wanted: str = "running"
    """The state to enter once it has started."""
    used_at: float = 0.0
    """When the last viewer left, or it started."""
    viewers: int = 0

    @property
    def state(self) -> str:
        """The state now. What follows from one that is set follows: it hibernates when idle.

        Raises:
            ValueError: it is set to another word. `StreamSpace.set_state` takes any.
        """
        return self.state_at(self._service.clock.now())

    @state.setter
    def state(self, word: str) -> None:
        self._service.change(self, known_word(word, ALL_STATES, "state"))

    @property
    def idle(self) -> float | None:
        """For how many seconds it has run and not been used; None if it does not run.

        It can be set, to seconds or a timedelta: it has then run for at least as long. What is idle
        for its `idle_timeout` hibernates, so set that first.
        """
        now = self._service.clock.now()
        return now - self.used_by(now) if self.state_at(now) == "running" else None

    @idle.setter
    def idle(self, seconds: timedelta | float) -> None:
        self._service.leave_idle(self, seconds_of(seconds, "idle"))

    def state_at(self, now: float) -> str:
        """The state at this time."""
        return self._phase(now).state

    def updated_at(self, now: float) -> float:
        """When that state began."""
        return self._phase(now).at

    def started_at(self, now: float) -> float | None:
        """When the container started; None while there is none."""
        phase = self._phase(now)
        if phase.state != "running":
            return None
        return phase.at if self.pod.started_at is None else self.pod.started_at

    def lines(self, now: float) -> Iterator[tuple[float, str]]:
        """The lines logged by now."""
        return (entry for entry in self.log if entry[0] <= now)

    def provision(self, now: float, state: str) -> None:
        """Schedule the states from pending to `state`."""
        self.phases = (Phase(now, "pending"),)
        self._follow(now + PENDING, state)

    def become(self, now: float, state: str) -> None:
        """Enter `state` at once, and schedule what follows from it."""
        self.phases = (self.phases[0] if self.phases else Phase(now, state),)
        self.log = list(self.lines(now))
        self.message = None
        self._follow(now, state)

    def enter(self, now: float, state: str, message: str | None = None) -> None:
        """Enter `state` because of an agent; nothing follows from it by itself."""
        self.phases = (self.phases[0] if self.phases else Phase(now, state), Phase(now, state))
        self.message = message
        self.used_at = now
        self.write(now, message or f"Session {state}")

    def write(self, now: float, text: str) -> None:
        """Add to the log, before the lines that are scheduled."""
        at = bisect_right(self.log, now, key=lambda entry: entry[0])
        self.log[at:at] = [(now, line) for line in text.splitlines()]
        excess = len(self.log) - LOG_LINES
        if excess > 0:
            del self.log[:excess]
            self.forgotten += excess

    def open_viewer(self, now: float) -> None:
        """A viewer has connected, so the session is not idle."""
        self.viewers += 1
        self.write(now, "User connected via VNC")
        if not self.remote:
            self._drop_hibernation(now)

    def close_viewer(self, now: float) -> None:
        """A viewer has disconnected; idle time begins with the last one."""
        self.viewers -= 1
        self.used_at = now
        self.write(now, "User disconnected from VNC")
        if not self.remote and not self.viewers and self.state_at(now) == "running":
            self._schedule_hibernation(now)

    def used_by(self, now: float) -> float:
        """When it was last used, or entered its state, by now."""
        return now if self.viewers else max(self.used_at, self.updated_at(now))

    def is_idle(self, now: float) -> bool:
        """Whether it runs, and has not been used during its idle timeout."""
        return (
            self.state_at(now) == "running"
            and not self.viewers
            and now >= self.used_at + seconds(self.idle_timeout)
        )

    def leave_idle(self, now: float, since: float) -> None:
        """Have it run unused since then.

        Raises:
            ValueError: it does not run, or somebody views it.
        """
        if self.state_at(now) != "running" or self.viewers:
            what = "viewed" if self.viewers else self.state_at(now)
            raise ValueError(f"session {self.id} is {what}: only a running one is idle")
        begun = min(self.updated_at(now), since)
        self.created_at, self.used_at = min(self.created_at, begun), since
        if self.remote:
            self.phases = (Phase(begun, "running"),)
            return
        self._drop_hibernation(now)
        self.phases = (Phase(begun, "running"),)
        self._schedule_hibernation(since)

    def _follow(self, at: float, state: str) -> None:
        self.phases = (*self.phases, Phase(at, state))
        if state == "running":
            self.log += [
                (at, "Container started"),
                (at + 3, "VNC server started on port 5900"),
                (at + 4, "noVNC web server started on port 6080"),
                (at + 6, f"{self.template} initialized"),
            ]
            # Idle until a viewer connects.
            self._schedule_hibernation(at)
        elif state == "terminating":
            self.log.append((at, "Shutting down"))
            self._follow(at + TERMINATING, "terminated")
        elif state in IDLE:
            self.log.append((at, f"Session {state}"))
        self.log.sort(key=lambda entry: entry[0])

    def _drop_hibernation(self, now: float) -> None:
        """Drop the scheduled hibernation and its line. The application may still be starting."""
        self.phases = tuple(phase for phase in self.phases if phase.at <= now)
        self.log = [
            (at, text) for at, text in self.log if at <= now or not text.startswith("Session ")
        ]

    def _schedule_hibernation(self, since: float) -> None:
        self._follow(since + seconds(self.idle_timeout), "hibernated")

    def _phase(self, now: float) -> Phase:
        return next((phase for phase in reversed(self.phases) if phase.at <= now), self.phases[0])

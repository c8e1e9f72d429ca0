"""A machine of the Computers API and the schedule by which it changes.

A machine's state is a pure function of the time: commands lay down what will happen (`phases`), questions ask
what has happened by `now`. No timer runs, so a stopped clock stops the machines.
"""

from __future__ import annotations

import math

from attrs import define, field, frozen

from vcloud.emulator.computers_catalog import PERMISSIONS, MachineType, Plan

CREATING = 20.0
TURNING_ON = 20.0
WARMING_UP = 5.0
GRACEFUL_STOPPING = 15.0
TURNING_OFF = 10.0
SNAPSHOT = 30.0
"""How long each step of a machine's life takes, in simulated seconds."""

RUNNING = frozenset({"turning_on", "warming_up", "ready"})
"""States in which a machine can be told to stop."""

UNFINISHED = frozenset({"creating", "installing", "region_migration"})
"""States in which a machine is not ready for anything yet."""

DEFAULT_TASK = "Outputs"
NETWORK_CREDIT = 10 * 1024**3
_BYTES_PER_MINUTE = 1024**2


@frozen
class User:
    """The person a machine is assigned to."""

    id: str
    email: str
    name: str


@define(eq=False)
class Session:
    """One stretch of a machine being ready. Either instant may still lie ahead."""

    id: str
    start_at: float
    end_at: float | None = None
    has_data: bool = True
    """Whether what was done in it is still on the machine: false after a reset."""

    def opened(self, now: float) -> bool:
        """Tell whether the session has begun."""
        return self.start_at <= now

    def ended(self, now: float) -> float | None:
        """Return when the session ended, None while it is open."""
        return self.end_at if self.end_at is not None and self.end_at <= now else None

    def minutes(self, now: float) -> int:
        """Return the duration in minutes begun, 0 while it is open."""
        end = self.ended(now)
        return 0 if end is None else math.ceil((end - self.start_at) / 60)


@define(eq=False)
class Task:
    """A folder whose snapshots are kept. At `recorded` its size in bytes, `noted_size`, becomes known."""

    id: int
    uid: str
    created_at: float
    active: bool = False
    recorded: float | None = None
    noted_size: int = 0

    def folder_size(self, now: float) -> int | None:
        """Return the size as last recorded, None before that."""
        return self.noted_size if self.recorded is not None and self.recorded <= now else None


@frozen
class Phase:
    """From `at` on, the machine is in `status`, until the next phase."""

    at: float
    status: str


@define(eq=False, kw_only=True)
class Machine:
    """A computer of the organisation."""

    id: str
    name: str
    plan: Plan
    machine_type: MachineType
    region: str
    phases: tuple[Phase, ...]
    tasks: list[Task]
    """Oldest first."""
    base_image_id: int | None = None
    base_image_name: str | None = None
    software_ids: tuple[int, ...] = ()
    permissions: dict[str, bool] = field(factory=lambda: dict(PERMISSIONS))
    user: User | None = None
    invited: bool = False
    """Whether an invitation is pending."""
    owner: str | None = None
    """Another member whose machine this is: every request about it is then refused with 403."""
    auto_stop_threshold: int = 900
    usage_source: str = "machine"
    remaining_usage: int = 0
    deposited_usage: int = 0
    network_credit: int = NETWORK_CREDIT
    disk_size: int
    file_storage_size: int
    files_used: int = 0
    """Bytes in the machine's file storage."""
    backup_enabled: bool = True
    sessions: list[Session] = field(factory=list)
    """Oldest first."""
    deleted_uids: set[str] = field(factory=set)
    """Task names that cannot be used again until a reset."""
    started: bool = False
    """Whether it was started since it was created or last reset."""

    def status(self, now: float) -> str:
        """Return the `friendly_status` at this time."""
        return self._phase(now).status

    def sessions_by(self, now: float) -> list[Session]:
        """Return the sessions begun by now, newest first."""
        return [session for session in reversed(self.sessions) if session.opened(now)]

    def last_session(self, now: float) -> Session | None:
        """Return the newest session begun by now."""
        return next((session for session in reversed(self.sessions) if session.opened(now)), None)

    def has_session_data(self, now: float) -> bool:
        """Tell whether a session has begun since the last reset."""
        last = self.last_session(now)
        return last is not None and last.has_data

    def tasks_by(self, now: float) -> list[Task]:
        """Return the tasks created by now, newest first; a machine that is being created has none yet."""
        return [task for task in reversed(self.tasks) if task.created_at <= now]

    def active_task(self, now: float) -> Task | None:
        """Return the task whose folder is monitored; none without backup."""
        if not self.backup_enabled:
            return None
        return next((task for task in self.tasks if task.active and task.created_at <= now), None)

    def latest_image_status(self, now: float) -> str | None:
        """Return the state of the newest snapshot."""
        if not self.started:
            return None
        phase = self._phase(now)
        if phase.status != "off":
            return "in_use"
        return "processing" if now < phase.at + SNAPSHOT else "ready"

    def start(self, now: float, session_id: str) -> None:
        """Lay down the way up to ready, where a session opens."""
        ready = now + TURNING_ON + WARMING_UP
        self.phases = (
            Phase(now, "turning_on"),
            Phase(now + TURNING_ON, "warming_up"),
            Phase(ready, "ready"),
        )
        self.sessions.append(Session(session_id, ready))
        self.started = True

    def stop(self, now: float, *, gracefully: bool) -> None:
        """Lay down the way to off; the session ends when the machine begins to turn off."""
        end = now + (GRACEFUL_STOPPING if gracefully else 0.0)
        off = end + TURNING_OFF
        first = (Phase(now, "graceful_stopping"),) if gracefully else ()
        self.phases = (*first, Phase(end, "turning_off"), Phase(off, "off"))
        self._close_session(now, end, off)

    def reset(self) -> None:
        """Return to the initial image: only the default task stays, and deleted names are free again."""
        self.started = False
        for session in self.sessions:
            session.has_data = False
        self.deleted_uids.clear()
        self.tasks = [task for task in self.tasks if task.uid == DEFAULT_TASK]
        for task in self.tasks:
            task.active = True

    def activate(self, task: Task) -> None:
        """Make `task` the only active one."""
        for other in self.tasks:
            other.active = other is task

    def force(self, now: float, status: str, session_id: str) -> None:
        """Put the machine into `status` for good, with the session that would have opened or ended by it."""
        self.phases = (Phase(now, status),)
        if status not in {"ready", "graceful_stopping"}:
            self._close_session(now, now, now)
            return
        self._drop_unopened(now)
        last = self.last_session(now)
        if last is not None and last.ended(now) is None:
            last.end_at = None
        else:
            self.sessions.append(Session(session_id, now))
        self.started = True

    def _phase(self, now: float) -> Phase:
        for phase in reversed(self.phases):
            if phase.at <= now:
                return phase
        return self.phases[0]

    def _close_session(self, now: float, end: float, off: float) -> None:
        self._drop_unopened(now)
        last = self.last_session(now)
        if last is None or last.ended(now) is not None:
            return
        last.end_at = end
        task = self.active_task(now)
        if task is not None:
            task.recorded = off
            task.noted_size += _BYTES_PER_MINUTE * math.ceil((end - last.start_at) / 60)

    def _drop_unopened(self, now: float) -> None:
        # The machine left its way up to ready, so the session that waited there never opens.
        self.sessions = [session for session in self.sessions if session.opened(now)]

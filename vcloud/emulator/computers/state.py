"""A machine of the Computers API and the schedule by which it changes.

A machine's state is a pure function of the time. Commands schedule what will happen (`phases`), and
queries compute what has happened by `now`. No timer runs, so a stopped clock stops the machines.
What a machine does by itself is scheduled as well: `start` schedules the stop at the end of its
idle time, or of its own usage.

The first start of a machine is `creating`, `warming_up`, `ready`; a later one is `turning_on`,
`ready` (the order in the first is inferred). A start after a reset is a first one again: the reset
restores the initial image, and the document treats "never started" and "reset since" as one state
(`latest_image_status`).
"""

from __future__ import annotations

import math

from attrs import define, field, frozen

from vcloud.emulator.computers.catalog import PERMISSIONS, MachineType, Plan
from vcloud.emulator.computers.parts import Session, Task, User
from vcloud.emulator.settable import Settable
from vcloud.emulator.vagon.account import Draw

CREATING = 20.0
TURNING_ON = 20.0
WARMING_UP = 5.0
GRACEFUL_STOPPING = 15.0
TURNING_OFF = 10.0
SNAPSHOT = 30.0
"""How long each status of a machine lasts, in simulated seconds."""

RUNNING = frozenset({"creating", "turning_on", "warming_up", "ready"})
"""States in which a machine can be stopped."""

UNFINISHED = frozenset({"creating", "installing", "region_migration"})
"""States in which a machine is not ready to be started."""

DEFAULT_TASK = "Outputs"
NETWORK_CREDIT = 10 * 1024**3
_BYTES_PER_MINUTE = 1024**2


@frozen
class Phase:
    """From `at` on, the machine is in `status`, until the next phase."""

    at: float
    status: str


@define(eq=False, kw_only=True)
class ScheduledMachine(Settable):
    """What a machine is, and when it changes. `Machine` adds what tests read and set."""

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
    _user: User | None = None
    invited: bool = False
    """Whether an invitation is pending."""
    owner: str | None = None
    """Another member who owns the machine; requests about it are then refused with 403."""
    _auto_stop_threshold: int = 900
    _usage_source: str = "team_balance"
    """The document does not give the default; a machine just bought has no usage of its own."""
    _assigned_usage: int = field(default=0, alias="remaining_usage")
    """Minutes that were assigned; `remaining` returns how many are left."""
    deposited_usage: int = 0
    """Minutes. Their use is not documented, so nothing takes from them."""
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
    draw: Draw | None = None
    """What it costs the organisation's balance."""
    _current: Session | None = None
    """The session of the last start; None if a status was forced since."""
    _used_at: float = 0.0
    """When it was last used."""
    _spent_before: float = 0.0
    """Seconds of its own usage that were spent before `remaining_usage` was last set."""

    def status_at(self, now: float) -> str:
        """The `friendly_status` at this time."""
        return self._phase(now).status

    def sessions_by(self, now: float) -> list[Session]:
        """The sessions that have begun, newest first."""
        return [session for session in reversed(self.sessions) if session.opened(now)]

    def last_session(self, now: float) -> Session | None:
        """The newest session that has begun."""
        return next((session for session in reversed(self.sessions) if session.opened(now)), None)

    def has_session_data(self, now: float) -> bool:
        """Whether a session has begun since the last reset."""
        last = self.last_session(now)
        return last is not None and last.has_data

    def tasks_by(self, now: float) -> list[Task]:
        """The tasks created by now, newest first; none while the machine is being created."""
        return [task for task in reversed(self.tasks) if task.created_at <= now]

    def active_task(self, now: float) -> Task | None:
        """The task whose folder is monitored; None without backup."""
        if not self.backup_enabled:
            return None
        return next((task for task in self.tasks if task.active and task.created_at <= now), None)

    def latest_image_status(self, now: float) -> str | None:
        """The state of the newest snapshot."""
        phase = self._phase(now)
        if phase.status != "off":
            return "in_use"
        if not self.has_session_data(now):
            return None
        return "processing" if now < phase.at + SNAPSHOT else "ready"

    def remaining(self, now: float) -> int:
        """How many whole minutes of its own usage are left."""
        return math.floor(self._own_seconds(now) / 60)

    def set_remaining(self, now: float, minutes: int) -> None:
        """Give the machine this many minutes of its own from now on."""
        self._assigned_usage, self._spent_before = minutes, self._spent(now)
        if self._current is not None:
            self._current.own = self._current.spent(now) + minutes * 60
        self.plan_ahead(now)

    def start(self, now: float, session_id: str) -> None:
        """Schedule the phases until ready, the session that then begins, and the automatic stop."""
        if self.has_session_data(now):
            ready = now + TURNING_ON
            starting: tuple[Phase, ...] = (Phase(now, "turning_on"),)
        else:
            ready = now + CREATING + WARMING_UP
            starting = (Phase(now, "creating"), Phase(now + CREATING, "warming_up"))
        self.phases = (*starting, Phase(ready, "ready"))
        self._current = Session(session_id, ready, own=self._own_seconds(now))
        self.sessions.append(self._current)
        self.started = True
        self.plan_ahead(now)

    def use(self, now: float) -> None:
        """It is used, so its idle time starts again."""
        self._used_at = now
        self.plan_ahead(now)

    def plan_ahead(self, now: float) -> None:
        """Schedule the automatic stop: at the end of the idle time, or of its own usage."""
        session = self._current
        if session is None or self.status_at(now) not in RUNNING:
            return
        ends: list[tuple[float, bool]] = []
        if self._auto_stop_threshold > 0:
            idle_since = max(session.start_at, self._used_at)
            ends.append((idle_since + self._auto_stop_threshold, True))
        if self._usage_source == "machine":
            ends.append((session.start_at + session.own, False))
        self.phases = tuple(phase for phase in self.phases if phase.status in RUNNING)
        session.end_at = None
        for task in self.tasks:
            task.forget_after(now)
        if ends:
            # That the stop is graceful is inferred: users must not lose data by being away.
            at, gracefully = min(ends)
            self._schedule_stop(session, max(at, now), gracefully=gracefully)

    def stop(self, now: float, *, gracefully: bool) -> None:
        """Schedule the phases until off; the session ends when the machine begins to turn off."""
        last = self.sessions[-1] if self.sessions else None
        if last is not None and not last.opened(now):
            # The machine never becomes ready, so the scheduled session does not begin.
            self.sessions.pop()
            last = self._current = None
        elif last is not None and last.ended(now) is not None:
            last = None
        self._schedule_stop(last, now, gracefully=gracefully)

    def run_out(self, at: float) -> None:
        """Stop at once, because the balance is exhausted."""
        session = self._current
        if session is not None and session.ended(at) is None:
            self._schedule_stop(session, at, gracefully=False)

    def paid_by_the_team(self, now: float) -> tuple[float, float | None] | None:
        """From when until when the organisation's balance will pay; None if it does not."""
        session = self._current
        if session is None or self._usage_source != "team_balance":
            return None
        return max(now, session.start_at + session.own), session.end_at

    def reset(self) -> None:
        """Restore the initial image: keep the default task only, and free deleted task names."""
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
        """Put the machine into `status`, and begin or end its session accordingly.

        It then neither stops by itself nor costs anything, until it is started again.
        """
        self.phases = (Phase(now, status),)
        self._current = None
        self.sessions = [session for session in self.sessions if session.opened(now)]
        last = self.last_session(now)
        is_open = last is not None and last.ended(now) is None
        for task in self.tasks:
            task.forget_after(now)
        if status not in {"ready", "graceful_stopping"}:
            if last is not None and is_open:
                self._end_session(last, now, now)
            return
        if last is not None and is_open:
            last.end_at = None
        else:
            self.sessions.append(Session(session_id, now))
        self.started = True

    def _phase(self, now: float) -> Phase:
        for phase in reversed(self.phases):
            if phase.at <= now:
                return phase
        return self.phases[0]

    def _spent(self, now: float) -> float:
        return sum(session.spent(now) for session in self.sessions)

    def _own_seconds(self, now: float) -> float:
        return max(0.0, self._assigned_usage * 60 - self._spent(now) + self._spent_before)

    def _schedule_stop(self, session: Session | None, begin: float, *, gracefully: bool) -> None:
        end = begin + (GRACEFUL_STOPPING if gracefully else 0.0)
        off = end + TURNING_OFF
        first = (Phase(begin, "graceful_stopping"),) if gracefully else ()
        before = tuple(phase for phase in self.phases if phase.at < begin)
        self.phases = (*before, *first, Phase(end, "turning_off"), Phase(off, "off"))
        for task in self.tasks:
            task.forget_after(begin)
        if session is not None:
            self._end_session(session, end, off)

    def _end_session(self, session: Session, end: float, off: float) -> None:
        session.end_at = end
        task = next((task for task in self.tasks if task.active), None)
        if task is not None and self.backup_enabled:
            minutes = math.ceil((end - session.start_at) / 60)
            task.growth.append((off, _BYTES_PER_MINUTE * minutes))

"""A machine of the Computers API as tests read and set it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import ClassVar, Protocol, TypedDict, TypeVar

from attrs import define, field

from vcloud.emulator.clock import Clock
from vcloud.emulator.computers.catalog import (
    AUTO_STOP_THRESHOLDS,
    STATUSES,
    USAGE_SOURCES,
    MachineType,
    Plan,
)
from vcloud.emulator.computers.parts import Session, Task, User
from vcloud.emulator.computers.state import Phase, ScheduledMachine
from vcloud.emulator.settable import known_word, seconds_of
from vcloud.emulator.state_loop import StateLoop

T = TypeVar("T")


class Owner(Protocol):
    """The service that a machine is part of."""

    clock: Clock
    home: StateLoop

    def change(self, machine: Machine, do: Callable[[float], None]) -> None:
        """Change a machine, and what it costs; `do` gets the time."""
        ...

    def new_session_id(self) -> str:
        """The id of a machine's next session."""
        ...

    def new_user(self, email: str) -> User:
        """A user with this address."""
        ...


class NewMachine(TypedDict, total=False):
    """What may be given to `Computers.add_machine`: the attributes of a machine."""

    id: str | int
    status: str
    name: str
    plan: Plan
    machine_type: MachineType
    region: str
    phases: tuple[Phase, ...]
    tasks: list[Task]
    base_image_id: int | None
    base_image_name: str | None
    software_ids: tuple[int, ...]
    permissions: dict[str, bool]
    user: User | str | None
    invited: bool
    owner: str | None
    auto_stop_threshold: int
    usage_source: str
    remaining_usage: int
    deposited_usage: int
    network_credit: int
    disk_size: int
    file_storage_size: int
    files_used: int
    backup_enabled: bool
    sessions: list[Session]
    deleted_uids: set[str]
    started: bool


@define(eq=False, kw_only=True)
class Machine(ScheduledMachine):
    """A computer of the organisation. Tests may read and set it, from any thread.

    Clients see `status` (their `friendly_status`), `name`, `region`, `user`, `permissions`,
    `auto_stop_threshold`, `usage_source`, `remaining_usage`, `deposited_usage`, `network_credit`
    and `sessions`. `owner`, `invited` and `backup_enabled` decide on answers. What else there is,
    is the service's own.
    """

    other_names: ClassVar[Mapping[str, str]] = {
        "friendly_status": "status",
        "state": "status",
        "email": "user",
        "last_session_start_at": "idle",
    }

    _service: Owner = field(repr=False, alias="service")

    @property
    def status(self) -> str:
        """Its `friendly_status` now. One that is set stays until the machine is started or stopped.

        Raises:
            ValueError: it is set to another word. `Computers.set_status` takes any.
        """
        return self._now(self.status_at)

    @status.setter
    def status(self, word: str) -> None:
        wanted = known_word(word, STATUSES, "status")
        session_id = self._service.new_session_id
        self._change(lambda now: self.force(now, wanted, session_id()))

    @property
    def idle(self) -> float | None:
        """For how many seconds it has been ready and not used; None if it is not ready.

        It can be set, to seconds or a timedelta: it has then been ready for at least as long.
        """
        return self._now(self._idle_at)

    @idle.setter
    def idle(self, seconds: timedelta | float) -> None:
        wanted = seconds_of(seconds, "idle")
        self._change(lambda now: self._unused_since(now, now - wanted))

    @property
    def user(self) -> User | None:
        """Who it is assigned to; an email address may be set."""
        return self._user

    @user.setter
    def user(self, user: User | str | None) -> None:
        self._user = self._service.new_user(user) if isinstance(user, str) else user

    @property
    def auto_stop_threshold(self) -> int:
        """The idle time in seconds after which it stops; 0 is never."""
        return self._auto_stop_threshold

    @auto_stop_threshold.setter
    def auto_stop_threshold(self, seconds: timedelta | float) -> None:
        wanted = f"{seconds_of(seconds, 'auto_stop_threshold'):g}"
        known_word(wanted, map(str, AUTO_STOP_THRESHOLDS), "auto_stop_threshold")
        self._auto_stop_threshold = int(wanted)
        self._change(self.plan_ahead)

    @property
    def usage_source(self) -> str:
        """What pays for its running time."""
        return self._usage_source

    @usage_source.setter
    def usage_source(self, word: str) -> None:
        self._usage_source = known_word(word, USAGE_SOURCES, "usage_source")
        self._change(self.plan_ahead)

    @property
    def remaining_usage(self) -> int:
        """How many minutes of its own usage are left."""
        return self._now(self.remaining)

    @remaining_usage.setter
    def remaining_usage(self, minutes: int) -> None:
        self._change(lambda now: self.set_remaining(now, minutes))

    def add_session(self, *, ago: timedelta | float, lasted: timedelta | float = 1800) -> Session:
        """Add a past session, which ended so long ago; seconds or timedelta.

        Raises:
            ValueError: a duration is below 0.
        """
        before, length = seconds_of(ago, "ago"), seconds_of(lasted, "lasted")
        return self._now(lambda now: self._add_past(now - before, length))

    def _now(self, read: Callable[[float], T]) -> T:
        service = self._service
        return service.home.run(lambda: read(service.clock.now()))

    def _change(self, do: Callable[[float], None]) -> None:
        self._service.change(self, do)

    def _idle_at(self, now: float) -> float | None:
        last = self.last_session(now)
        if last is None or last.ended(now) is not None or self.status_at(now) != "ready":
            return None
        return now - max(last.start_at, self._used_at)

    def _unused_since(self, now: float, since: float) -> None:
        last = self.last_session(now)
        if last is None or self._idle_at(now) is None:
            raise ValueError(
                f"machine {self.id} is {self.status_at(now)}: only a ready one is idle"
            )
        last.start_at, self._used_at = min(last.start_at, since), since
        self.plan_ahead(now)

    def _add_past(self, end: float, length: float) -> Session:
        made = Session(self._service.new_session_id(), end - length, end)
        self.sessions.append(made)
        # Oldest first, and the one that may be open stays the last.
        self.sessions.sort(key=lambda session: session.start_at)
        self.started = True
        return made

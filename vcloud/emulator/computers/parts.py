"""What a machine of the Computers API has: its user, its sessions and its tasks."""

from __future__ import annotations

import math

from attrs import define, field, frozen


@frozen
class User:
    """The person a machine is assigned to."""

    id: str
    email: str
    name: str


@define(eq=False)
class Session:
    """A time in which a machine is ready. Its start and end may be in the future."""

    id: str
    start_at: float
    end_at: float | None = None
    has_data: bool = True
    """Whether its changes are still on the machine; false after a reset."""
    own: float = 0.0
    """Seconds of it, from its start, for which the machine's own usage pays."""

    def opened(self, now: float) -> bool:
        """Whether the session has begun."""
        return self.start_at <= now

    def ended(self, now: float) -> float | None:
        """When the session ended; None while it is open."""
        return self.end_at if self.end_at is not None and self.end_at <= now else None

    def spent(self, now: float) -> float:
        """How many seconds of the machine's own usage it has taken."""
        end = now if self.end_at is None else min(now, self.end_at)
        return min(max(0.0, end - self.start_at), self.own)

    def minutes(self, now: float) -> int:
        """The duration in minutes, rounded up; 0 while it is open."""
        end = self.ended(now)
        return 0 if end is None else math.ceil((end - self.start_at) / 60)


@define(eq=False)
class Task:
    """A folder whose snapshots are kept."""

    id: int
    uid: str
    created_at: float
    active: bool = False
    growth: list[tuple[float, int]] = field(factory=list)
    """Times at which its size is recorded, also future ones, and the bytes it grows by."""

    def folder_size(self, now: float) -> int | None:
        """The size as last recorded; None before that."""
        recorded = [size for at, size in self.growth if at <= now]
        return sum(recorded) if recorded else None

    def forget_after(self, now: float) -> None:
        """Drop what is scheduled after `now`."""
        self.growth = [entry for entry in self.growth if entry[0] <= now]

"""What becomes of one item, and of all of them together."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, Self, TypeVar

from attrs import frozen

T = TypeVar("T")
R = TypeVar("R")


class OutcomeStatus(StrEnum):
    """What became of an item."""

    #: The action returned.
    DONE = "done"
    #: The action raised, and what it raised leaves nothing open.
    FAILED = "failed"
    #: The service may have acted, and nobody saw its answer. Look before you repeat it.
    UNKNOWN = "unknown"
    #: Nothing was done for it: it was interrupted before it sent anything, or not sent because the
    #: credentials were refused, or a rate limit refused it for longer than the run waits.
    UNDONE = "undone"


@frozen
class Outcome(Generic[T, R]):
    """What became of one item.

    Attributes:
        item: the item.
        key: what names it in the journal, as it is; None without one.
        status: what became of it.
        result: what the action returned. The journal does not keep it: None for what an earlier run did.
        error: what the action raised; of an earlier run its words, on one printable line.
        attempts: requests sent for it, each repeat counted; 0 also for what a run that was killed left unknown.
        duration: how long the action took; zero for what a run that was killed left unknown.
        recorded: what the journal keeps of the result: JSON, made by the run's ``record``.
        resumed: it stands in the journal since an earlier run, and nothing was sent for it in this one.
    """

    item: T
    key: str | None
    status: OutcomeStatus
    result: R | None = None
    error: Exception | None = None
    attempts: int = 0
    duration: timedelta = timedelta()
    recorded: Any = None
    resumed: bool = False


@frozen
class Settled(Generic[R]):
    """What a look at the service says of an item that an earlier run left unknown. Made by its class methods."""

    status: OutcomeStatus
    result: R | None = None

    @classmethod
    def done(cls, result: R | None = None) -> Self:
        """It happened; ``result`` is what the action would have returned."""
        return cls(OutcomeStatus.DONE, result)

    @classmethod
    def undone(cls) -> Self:
        """It provably did not happen, and will not: the action is run."""
        return cls(OutcomeStatus.UNDONE)

    @classmethod
    def unknown(cls) -> Self:
        """It still cannot be told."""
        return cls(OutcomeStatus.UNKNOWN)


@frozen(kw_only=True)
class Totals:
    """How far a run is, or how far it came. With a journal it counts the whole job, earlier runs included.

    Attributes:
        total: how many items there are, with those that only the journal knows; None when they have no ``len()``.
        done: how many are done.
        failed: how many failed.
        unknown: of how many the service may have acted without anybody seeing its answer.
        undone: how many are not done so far: nothing was sent for them, or they were not begun.
            Without a ``total``, what was not begun is not counted.
        resumed: how many outcomes were taken over from the journal in this run.
        attempts: requests sent in this run for items that are over.
        elapsed: how long this run took so far.
        stopped: why nothing more was begun, or what was under way was ended: ``"max_failures"``, ``"deadline"``,
            ``"credentials"`` (those of the only client were refused), ``"rate_limit"`` (one is used up
            for longer than the run waits), ``"interrupted"`` (cancelled, or left early),
            ``"error"`` (raised from the iteration); else None.
        until: of a run that a rate limit stopped, when that allows the next request, by this
            machine's clock; None when nobody knows.
    """

    total: int | None
    done: int
    failed: int
    unknown: int
    undone: int
    resumed: int
    attempts: int
    elapsed: timedelta
    stopped: str | None
    until: datetime | None = None

    @property
    def ending(self) -> str | None:
        """Why nothing more was begun, and until when, in words; None as for ``stopped``."""
        if self.until is None:
            return self.stopped
        return f"{self.stopped} until {self.until:%Y-%m-%d %H:%M:%S} UTC"

    def __str__(self) -> str:
        """One line for a person."""
        counts = (
            f"{self.done} done, {self.failed} failed, {self.unknown} unknown, {self.undone} undone"
        )
        total = "" if self.total is None else f" of {self.total}"
        stopped = f", stopped: {self.ending}" if self.stopped else ""
        return f"{counts}{total} in {self.elapsed.total_seconds():.1f} s{stopped}"

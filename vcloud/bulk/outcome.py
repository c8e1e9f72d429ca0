"""The outcome of one item, and the totals of all."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, Never, TypeVar

from attrs import frozen

from vcloud._core.model import Model
from vcloud.errors.people import message_of

T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class OutcomeStatus(StrEnum):
    """The status of an item after a run."""

    #: The action returned.
    DONE = "done"
    #: The action raised an error after which it is certain that it did not succeed.
    FAILED = "failed"
    #: The service may have acted, but its answer was lost. Look there before you repeat the action.
    UNKNOWN = "unknown"
    #: Nothing was done: the item was interrupted before it sent anything, the credentials were
    #: refused, or a rate limit lasts longer than the run waits.
    UNDONE = "undone"


@frozen
class Outcome(Model, Generic[T, R]):
    """The outcome of one item.

    Attributes:
        item: the item.
        key: its name in the journal; None without a journal.
        status: its status.
        result: what the action returned; None for an outcome from the journal, which does not keep
            results.
        error: what the action raised; for an outcome from the journal, its text on one printable
            line.
        attempts: requests sent for it, each retry counted; 0 also if an earlier run was killed
            while the item was in progress.
        duration: how long the action took; zero if an earlier run was killed while the item was in
            progress.
        recorded: what the journal keeps of the result: JSON, from the run's ``record``.
        resumed: whether the outcome is from the journal, and nothing was sent in this run.
        listed: whether the item is among those of this run. If only the journal has it, ``item`` is
            made of its key: a handle without fields, or the key itself if nothing can make one.
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
    listed: bool = True

    @property
    def user_message(self) -> str | None:
        """What went wrong, for a person who uses your program; None without an ``error``.

        That of a :class:`~vcloud.VCloudError`; any other error has none but "Something went wrong."
        """
        return None if self.error is None else message_of(self.error)


@frozen
class Settled(Model, Generic[R_co]):
    """What ``settle`` found out about an item that an earlier run left unknown.

    Made by its functions.

    Attributes:
        status: done, undone or unknown.
        result: what the action would have returned.
    """

    status: OutcomeStatus
    result: R_co | None = None

    @staticmethod
    def done(result: R | None = None) -> Settled[R]:
        """The action was done; ``result`` is what it would have returned."""
        return Settled(OutcomeStatus.DONE, result)

    @staticmethod
    def undone() -> Settled[Never]:
        """The action was provably not done, and will not be: run it."""
        return Settled(OutcomeStatus.UNDONE)

    @staticmethod
    def unknown() -> Settled[Never]:
        """It is still unknown."""
        return Settled(OutcomeStatus.UNKNOWN)


@frozen(kw_only=True)
class Totals(Model):
    """The totals of a run. With a journal they count the whole job, earlier runs included.

    Attributes:
        total: how many items there are, with those that only the journal knows; None if the items
            have no ``len()``.
        done: how many are done.
        failed: how many failed.
        unknown: how many are unknown.
        undone: how many are not done so far: nothing was sent for them, or they were not started.
            Without a ``total``, items that were not started are not counted.
        resumed: how many outcomes were taken over from the journal in this run.
        attempts: requests sent in this run for items that have finished.
        elapsed: how long this run has taken so far.
        stopped: why no further item was started, or why items in progress were cancelled:
            ``"max_failures"``, ``"deadline"``, ``"credentials"`` (those of the only client were
            refused), ``"rate_limit"`` (one lasts longer than the run waits), ``"interrupted"``
            (cancelled, or left early), ``"error"`` (raised from the iteration); else None.
        until: if a rate limit stopped the run, when it allows the next request, by this machine's
            clock; None if unknown.
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
        """``stopped``, and until when, in words; None as for ``stopped``."""
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

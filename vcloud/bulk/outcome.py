"""What becomes of one item, and of all of them together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from typing import Any, Generic, Self, TypeVar

from attrs import frozen

from vcloud.errors import APIError, DecodeError, ServerError, TransportError, VCloudError

T = TypeVar("T")
R = TypeVar("R")

#: What may be sent again whatever became of it, as far as the service is concerned.
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


class OutcomeStatus(StrEnum):
    """What became of an item."""

    #: The action returned.
    DONE = "done"
    #: The action raised, and what it raised leaves nothing open.
    FAILED = "failed"
    #: The service may have acted, and nobody saw its answer. Look before you repeat it.
    UNKNOWN = "unknown"
    #: It was interrupted before it sent anything.
    UNDONE = "undone"


@frozen
class Outcome(Generic[T, R]):
    """What became of one item.

    Attributes:
        item: the item.
        key: what names it in the journal; None without one.
        status: what became of it.
        result: what the action returned. The journal does not keep it: None for what an earlier run did.
        error: what the action raised; of an earlier run its words.
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
        undone: how many are not done so far: interrupted before they sent anything, or not begun. Without a ``total``, what
            was not begun is not counted.
        resumed: how many outcomes were taken over from the journal in this run.
        attempts: requests sent in this run for items that are over.
        elapsed: how long this run took so far.
        stopped: why nothing more was begun, or what was under way was ended: ``"max_failures"``, ``"deadline"``,
            ``"interrupted"`` (cancelled, or left early), ``"error"`` (raised from the iteration); else None.
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

    def __str__(self) -> str:
        """One line for a person."""
        counts = (
            f"{self.done} done, {self.failed} failed, {self.unknown} unknown, {self.undone} undone"
        )
        total = "" if self.total is None else f" of {self.total}"
        stopped = f", stopped: {self.stopped}" if self.stopped else ""
        return f"{counts}{total} in {self.elapsed.total_seconds():.1f} s{stopped}"


def leaves_unknown(error: BaseException, *, acted: bool) -> bool:
    """Whether the service may have acted although an action raised this.

    Args:
        error: what it raised.
        acted: whether it sent something, as far as was seen. If not, another task may have sent for it: then our own errors
            are believed, and no others.
    """
    return any(_is_open(link, judged=judged or not acted) for link, judged in _history(error))


def _is_open(error: BaseException, *, judged: bool) -> bool:
    if isinstance(error, VCloudError) and error._unsent:
        return False
    if isinstance(error, TransportError):
        return error.outcome_unknown
    if isinstance(error, APIError) and error.status == 303:
        # "See other" is what a service says that has done it.
        return error.method not in _REPEATABLE
    if isinstance(error, ServerError):
        # A 503 says that the request was refused. Any other may have come after the deed.
        return error.status != 503 and error.method not in _REPEATABLE
    # An answer that nobody can read is one to something that was done.
    if isinstance(error, DecodeError):
        return True
    # A run-out clock, a cancellation, a failed group and a lost connection interrupt whatever was under way. Below one of our
    # own errors they are only its cause, and it has judged them.
    lost = isinstance(
        error, TimeoutError | asyncio.CancelledError | BaseExceptionGroup | ConnectionError
    )
    return lost and not judged and not isinstance(error, ConnectionRefusedError)


def _history(error: BaseException) -> Iterator[tuple[BaseException, bool]]:
    """An error and what led to it, as a traceback shows them; and whether one of our own errors was made of it.

    Our own tell nothing of what was being handled when they came: a look after a lost answer may fail in its turn.
    """
    left: list[tuple[BaseException | None, bool]] = [(error, False)]
    seen: set[tuple[int, bool]] = set()
    while left:
        link, judged = left.pop()
        # One may be met on two ways, of which the one that nobody judged counts.
        if link is None or (id(link), judged) in seen:
            continue
        seen.add((id(link), judged))
        yield link, judged
        ours = isinstance(link, VCloudError)
        left.append((link.__cause__, judged or ours))
        if link.__context__ is not link.__cause__ and (ours or not link.__suppress_context__):
            left.append(
                (link.__context__, judged or (link.__suppress_context__ and link.__cause__ is None))
            )

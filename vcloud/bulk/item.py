"""One item's way: looked up in the journal, settled if an earlier run left it open, acted on, written down."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from inspect import isawaitable
from typing import Any, Generic, TypeVar

import attrs
from attrs import define, field

from vcloud._core.instances import Instance
from vcloud._core.outcome import ATTEMPT_COUNT, AttemptCount, leaves_unknown
from vcloud._core.timing.clock import monotonic, wall
from vcloud._core.timing.timeouts import timeout_at
from vcloud._core.waiting import as_datetime
from vcloud.bulk.journal import Journal
from vcloud.bulk.outcome import Outcome, OutcomeStatus, Settled
from vcloud.bulk.store import Entry
from vcloud.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidArgumentError,
    RateLimitError,
    RequestTimeout,
    TransportError,
    VCloudError,
)
from vcloud.errors.text import printable

T = TypeVar("T")
R = TypeVar("R")


@define
class Worker(Generic[T, R]):
    """Does what a run was asked to do with each item, and counts. See :class:`~vcloud.Bulk` for what it is given.

    Attributes:
        ends_at: when the run must be over, in the event loop's time.
        counts: how many items have each status; the journal's, to begin with.
        failures: how many failed or became unknown in this run.
        resumed: how many were taken over from an earlier run.
        attempts: requests sent for the items that are over.
        late: whether the end of the run interrupted an item.
        outer: the count of whoever runs the run.
        ended: whether the run was left, so that whatever is cancelled now is to stop.
        unwritten: why an outcome could not be written down, which ends the run.
        refused: whether an item was not sent because its client's credentials were refused before.
        limited: whether a rate limit outlasts the run, or the longest wait of a call.
        limited_until: until when it does; None when nobody knows.
    """

    action: Callable[[T], Awaitable[R]]
    journal: Journal | None
    key: Callable[[T], str]
    record: Callable[[R], object] | None
    settle: Callable[[T], Awaitable[Settled[R]]] | None
    again: frozenset[OutcomeStatus]
    counted: bool
    ends_at: float | None = None
    outer: AttemptCount | None = None
    counts: Counter[OutcomeStatus] = field(factory=Counter)
    failures: int = 0
    resumed: int = 0
    attempts: int = 0
    late: bool = False
    ended: bool = False
    unwritten: Exception | None = None
    refused: bool = False
    limited: bool = False
    limited_until: datetime | None = None
    _tickets: itertools.count[int] = field(factory=lambda: itertools.count(1))

    def name(self, item: T) -> str:
        """What names an item in the journal.

        Raises:
            InvalidArgumentError: no text, or none that can be written down.
        """
        key = self.key(item)
        if type(key) is not str or _without_surrogates(key) != key:
            raise InvalidArgumentError(f"key must make a text of each item, not {key!r}")
        return key

    async def outcome(self, item: T) -> Outcome[T, R]:
        """What becomes of an item.

        Raises:
            ConfigurationError: the client or the journal cannot be used: no other item would fare better.
            InvalidArgumentError: what ``key``, ``record`` or ``settle`` made is not what it should be.
        """
        if self.journal is None:
            return await self._begin(item, None, 0, None)
        key = self.name(item)
        ticket = next(self._tickets)
        try:
            before = await self.journal._begin(key, ticket, self.again)
            if before is not None and before.status not in self.again:
                outcome = await self._resume(item, before)
                if outcome is not None:
                    self.resumed += 1
                    return outcome
                # It counts as any that was not begun before.
                self.counts[before.status] -= 1
                before = None
                await self.journal._intend(key, ticket)
        except GeneratorExit:
            raise  # the loop is closed, and the journal has the intent
        except BaseException:
            self.journal._erase(key, ticket)
            raise
        return await self._begin(item, key, ticket, before)

    async def _resume(self, item: T, before: Entry) -> Outcome[T, R] | None:
        """What an earlier run did with an item; None if it left that open, and the service says that it did nothing."""
        outcome = _remembered(item, before)
        if before.status is not OutcomeStatus.UNKNOWN or self.settle is None:
            return outcome
        try:
            async with timeout_at(self.ends_at):
                settled = await self.settle(item)
        except ConfigurationError:
            raise
        except (
            Exception,
            asyncio.CancelledError,
        ) as failure:  # it leaves open what was open before
            if isinstance(failure, asyncio.CancelledError) and self.ended:
                raise
            assert outcome.error is not None
            outcome.error.add_note(printable(f"and looking for it failed: {_words(failure)}"))
            return outcome
        if not isinstance(settled, Settled):
            raise InvalidArgumentError(
                f"settle must return Settled.done(...), .undone() or .unknown(), not {settled!r}"
            )
        match settled.status:
            case OutcomeStatus.UNDONE:
                return None
            case OutcomeStatus.DONE:
                found = attrs.evolve(
                    outcome, status=OutcomeStatus.DONE, error=None, result=settled.result
                )
                return await self._conclude(found, 0, before)
            case _:
                return outcome

    async def _begin(
        self, item: T, key: str | None, ticket: int, before: Entry | None
    ) -> Outcome[T, R]:
        """Act on an item, unless the time is up."""
        if not self.time_is_up():
            return await self._perform(item, key, ticket, before)
        self.late = True
        error = RequestTimeout("the deadline of the run passed before this was begun")
        return await self._conclude(
            Outcome(item, key, OutcomeStatus.UNDONE, None, error), ticket, before
        )

    def time_is_up(self) -> bool:
        """Whether the run must be over."""
        return self.ends_at is not None and asyncio.get_running_loop().time() >= self.ends_at

    async def _perform(
        self, item: T, key: str | None, ticket: int, before: Entry | None
    ) -> Outcome[T, R]:
        """Act on an item."""
        guard = _Guard(self)
        count = AttemptCount(guard=guard)
        ATTEMPT_COUNT.set(count)
        began_at = monotonic()
        limit = timeout_at(self.ends_at)

        def over(
            status: OutcomeStatus, error: Exception | None = None, result: R | None = None
        ) -> Outcome[T, R]:
            guard.over = True
            self.attempts += count.attempts
            if self.outer is not None:
                self.outer.include(count)
            duration = timedelta(seconds=monotonic() - began_at)
            return Outcome(item, key, status, result, error, count.attempts, duration)

        def interrupted(why: str) -> Outcome[T, R]:
            acted = self._has_acted(count)
            error = RequestTimeout(why, outcome_unknown=acted)
            return over(OutcomeStatus.UNKNOWN if acted else OutcomeStatus.UNDONE, error)

        try:
            async with limit:
                result = await self._act(item)
        except ConfigurationError as error:
            self._note(interrupted(str(error)), ticket, before)
            raise
        except Exception as error:  # noqa: BLE001 - one failure hides no other
            self.late = self.late or limit.expired() or guard.late
            if guard.late or (limit.expired() and isinstance(error, TimeoutError)):
                outcome = interrupted("the deadline of the run passed while this was under way")
            else:
                # An action that is told to stop may raise something else, from its own tidying up.
                acted = self._has_acted(count)
                lost = (acted and (limit.expired() or is_cancelling())) or leaves_unknown(
                    error, acted=acted
                )
                outcome = over(self._status_of(error, count, lost=lost), error)
        except BaseException as error:
            if self.ended or not isinstance(error, asyncio.CancelledError):
                self._note(
                    interrupted("the run was ended while this was under way"), ticket, before
                )
                raise
            what = "this" if is_cancelling() else "something that the action waited for"
            outcome = interrupted(f"{what} was cancelled, and not by the run")
        else:
            outcome = over(OutcomeStatus.DONE, result=result)
        return await self._conclude(outcome, ticket, before)

    def _has_acted(self, count: AttemptCount) -> bool:
        """Whether an action may have done something, by what is known of its calls."""
        return count.acted or not self.counted

    def note_limit(self, seconds: float | None) -> None:
        """A rate limit is used up for longer than the run waits, for so many seconds if known."""
        self.limited = True
        until = None if seconds is None else as_datetime(wall() + seconds)
        if until is not None and (self.limited_until is None or until > self.limited_until):
            self.limited_until = until

    def _status_of(self, error: Exception, count: AttemptCount, *, lost: bool) -> OutcomeStatus:
        """What an item is whose action raised this."""
        if lost:
            return OutcomeStatus.UNKNOWN
        limits = _rate_limits(error, count)
        if limits:
            self.note_limit(max((one for one in limits if one is not None), default=None))
            return OutcomeStatus.FAILED if count.changes else OutcomeStatus.UNDONE
        if count.attempts or not _is_refused_unsent(error):
            return OutcomeStatus.FAILED
        self.refused = True
        return OutcomeStatus.UNDONE

    async def _act(self, item: T) -> R:
        doing = self.action(item)
        if not isawaitable(doing):
            raise ConfigurationError(
                f"the action must be an async function; this one returned {type(doing).__name__}"
            )
        return await doing

    async def _conclude(
        self, outcome: Outcome[T, R], ticket: int, before: Entry | None
    ) -> Outcome[T, R]:
        """Count it and write it down, before anybody hears of it; if it can be written down."""
        mistake: InvalidArgumentError | None = None
        if self.record is not None and outcome.status is OutcomeStatus.DONE:
            try:
                outcome = attrs.evolve(outcome, recorded=_as_json(self.record(outcome.result)))  # type: ignore[arg-type]
            except Exception as error:  # noqa: BLE001 - the item is done all the same
                mistake = InvalidArgumentError(
                    f"record made no JSON of the result of {outcome.key!r}, which is done: {error!r}"
                )
        written = self._note(outcome, ticket, before)
        if written is not None:
            try:
                await written
            except Exception as error:  # noqa: BLE001 - raised by the run, which ends with it
                self.unwritten = self.unwritten or error
        if mistake is not None:
            raise mistake
        return outcome

    def _note(
        self, outcome: Outcome[T, R], ticket: int, before: Entry | None
    ) -> asyncio.Future[None] | None:
        """The same for one who is told to stop, and has no time to wait for the disk."""
        if before is None:
            self.counts[outcome.status] += 1
        elif outcome.status is not OutcomeStatus.UNDONE:  # then it is still what it was before
            self.counts[before.status] -= 1
            self.counts[outcome.status] += 1
        self.failures += outcome.status in {OutcomeStatus.FAILED, OutcomeStatus.UNKNOWN}
        if self.journal is None or outcome.key is None or not self.journal._in_its_loop():
            return None  # without its loop the journal has the intent, and that must do
        if outcome.status is OutcomeStatus.UNDONE:
            return self.journal._erase(outcome.key, ticket)
        words = None if outcome.error is None else _words(outcome.error)
        entry = Entry(
            outcome.key, outcome.status, outcome.attempts, outcome.duration, words, outcome.recorded
        )
        return self.journal._finish(entry)


class _Guard:
    """Keeps one item from beginning anything more, when the run must not.

    When its time is up, what has arrived is still read. What was begun meanwhile would be cut.

    Attributes:
        late: whether it did so because the time was up.
        over: whether the item is over. What it left running is no longer the run's.
    """

    __slots__ = ("_worker", "late", "over")

    def __init__(self, worker: Worker[Any, Any]) -> None:
        self._worker = worker
        self.late = self.over = False

    def __call__(self) -> None:
        """Assert that it may.

        Raises:
            RequestTimeout: the time of the run is up.
            ConfigurationError: the journal cannot be written.
        """
        if not self.over and self._worker.time_is_up():
            self.late = True
            raise RequestTimeout("the deadline of the run passed; nothing was sent")
        if self._worker.journal is not None:
            self._worker.journal._check()


def _is_refused_unsent(error: BaseException | None) -> bool:
    """Whether an action failed because its client's credentials had been refused before."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_refused_unsent(one) for one in error.exceptions)
    while error is not None and not isinstance(error, AuthenticationError):
        error = error.__cause__
    return error is not None and error.remembered


def _rate_limits(error: BaseException | None, count: AttemptCount) -> list[float | None]:
    """For how many seconds the limits are used up because of which an action failed.

    Args:
        error: what it raised.
        count: what is known of its calls.

    Returns:
        Nothing if it failed for another reason, or for another one too.
    """
    if isinstance(error, BaseExceptionGroup):
        each = [_rate_limits(one, count) for one in error.exceptions]
        return [one for limits in each for one in limits] if all(each) else []
    while error is not None:
        if count.gave_up is not None and error is count.gave_up[0]:
            return [count.gave_up[1]]
        if isinstance(error, RateLimitError) and error.retry_after is not None:
            return [error.retry_after]
        error = error.__cause__
    return []


def is_cancelling() -> bool:
    """Whether it is the current task that was cancelled, and not something that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def default_key(item: object) -> str:
    """What names an item: itself, or its id."""
    if isinstance(item, str) or type(item) is int:
        return str(item)
    id = getattr(item, "id", None)
    if not isinstance(id, str):
        raise InvalidArgumentError(
            f"a {type(item).__name__} has no id for the journal: say with key= what names it"
        )
    return f"{item.provider}/{id}" if isinstance(item, Instance) else id


def _remembered(item: T, before: Entry) -> Outcome[T, Any]:
    error: VCloudError | None = None
    if before.status is OutcomeStatus.UNKNOWN:
        why = before.error or "an earlier run was killed while this was under way"
        error = TransportError(why, outcome_unknown=True)
    elif before.error is not None:
        error = VCloudError(before.error)
    return Outcome(
        item,
        before.key,
        before.status,
        None,
        error,
        before.attempts,
        before.duration,
        before.recorded,
        resumed=True,
    )


def _as_json(value: object) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))


def _words(error: BaseException) -> str:
    """What the journal says of an error, on one line.

    Ours hold no secrets and are printable; of others nobody knows, so their class must do.
    """
    name = type(error).__name__
    return f"{name}: {error}"[:1000] if isinstance(error, VCloudError) else name


def _without_surrogates(text: str) -> str:
    """What can be written down of a text."""
    return text.encode("utf-8", "replace").decode()

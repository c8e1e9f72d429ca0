"""The run of one item: look it up in the journal, settle it, act on it, record its outcome."""

from __future__ import annotations

import asyncio
import itertools
import json
from datetime import timedelta
from inspect import isawaitable
from typing import Any, Generic, TypeVar

import attrs
from attrs import field, frozen

from vcloud._core.bulk_run import BulkRun
from vcloud._core.outcome import ATTEMPT_COUNT, AttemptCount, leaves_unknown
from vcloud._core.timing.clock import monotonic
from vcloud._core.timing.timeouts import timeout_at
from vcloud.bulk.entry import Entry
from vcloud.bulk.failures import (
    error_text,
    is_cancelling,
    is_refused_for_now,
    is_refused_unsent,
    rate_limit_waits,
)
from vcloud.bulk.journal_writer import JournalWriter
from vcloud.bulk.options import BulkOptions
from vcloud.bulk.outcome import Outcome, OutcomeStatus, Settled
from vcloud.bulk.references import ItemMaker
from vcloud.bulk.source import Taken
from vcloud.bulk.state import RunState
from vcloud.errors import (
    ConfigurationError,
    InvalidArgumentError,
    RequestTimeout,
    TransportError,
    VCloudError,
)
from vcloud.errors.text import printable

T = TypeVar("T")
R = TypeVar("R")


@frozen
class RunContext(Generic[T, R]):
    """What all items of a run share, once it has begun.

    Attributes:
        options: those of the run.
        state: where their outcomes are counted.
        run: the run, as its calls see it. It knows whether the run has ended.
        journal: where their outcomes are written; None: nowhere.
        maker: learns from each item how items are made of keys.
        ends_at: the deadline in the event loop's time; None: there is none.
        outer_count: counts the attempts of the task that iterates the run; None: nothing does.
        tickets: numbers from 1, one for each item.
    """

    options: BulkOptions[T, R]
    state: RunState
    run: BulkRun
    journal: JournalWriter | None
    maker: ItemMaker
    ends_at: float | None
    outer_count: AttemptCount | None
    tickets: itertools.count[int] = field(factory=lambda: itertools.count(1))

    def is_past_deadline(self) -> bool:
        """Whether the deadline has passed."""
        return self.ends_at is not None and asyncio.get_running_loop().time() >= self.ends_at


class ItemRun(Generic[T, R]):
    """Runs one item, in the task that awaits :meth:`outcome`.

    Args:
        context: that of the run.
        taken: the item, as it was taken.
    """

    __slots__ = (
        "_before",
        "_began_at",
        "_context",
        "_count",
        "_guard",
        "_item",
        "_key",
        "_state",
        "_taken",
        "_ticket",
    )

    def __init__(self, context: RunContext[T, R], taken: Taken[T]) -> None:
        self._context = context
        self._state = context.state
        self._taken = taken
        self._item = taken.item
        self._key: str | None = None
        self._ticket = 0
        #: What the journal has of an earlier run that this one replaces.
        self._before: Entry | None = None
        self._guard = _Guard(context)
        self._count = AttemptCount(guard=self._guard)
        self._began_at = 0.0

    async def outcome(self) -> Outcome[T, R]:
        """Run the item, and return its outcome.

        Raises:
            ConfigurationError: the client or the journal cannot be used, so no other item would
                have a better outcome.
            InvalidArgumentError: ``key``, ``record`` or ``settle`` returned something other than
                it should.
        """
        journal, options = self._context.journal, self._context.options
        if journal is None:
            return await self._start()
        taken = self._taken
        reference = self._context.maker.note(self._item) if taken.listed else None
        self._key = key = options.key_of(self._item) if taken.key is None else taken.key
        self._ticket = ticket = next(self._context.tickets)
        try:
            self._before = before = await journal.begin(key, ticket, options.repeated, reference)
            if before is not None and before.status not in options.repeated:
                outcome = await self._resume(before)
                if outcome is not None:
                    self._state.resumed += 1
                    return outcome
                # From here on it is like an item that no earlier run has begun.
                self._state.statuses[before.status] -= 1
                self._before = None
                await journal.intend(key, ticket)
        except GeneratorExit:
            raise  # The loop is closed. The journal has the intent.
        except BaseException:
            journal.erase(key, ticket)
            raise
        return await (self._start() if taken.listed else self._leave_undone())

    async def _leave_undone(self) -> Outcome[T, R]:
        """The outcome of an item that ``settle`` found undone, and that is no longer listed.

        What is acted on is what the list has now. Its entry is erased, so that a list that has it
        again starts it.
        """
        error = VCloudError(
            "an earlier run did nothing to this item, and the items of this run do not have it: "
            "nothing was done"
        )
        return await self._conclude(
            Outcome(self._item, self._key, OutcomeStatus.UNDONE, None, error, listed=False)
        )

    async def _resume(self, before: Entry) -> Outcome[T, R] | None:
        """The outcome from the journal, or from ``settle`` where that is unknown.

        Returns:
            None if ``settle`` says that an earlier run did nothing to this item.
        """
        listed = self._taken.listed
        outcome: Outcome[T, R] = outcome_of_entry(self._item, before, listed=listed)
        settle = self._context.options.settle
        if before.status is not OutcomeStatus.UNKNOWN or settle is None:
            return outcome
        if self._taken.unmade is not None:
            assert outcome.error is not None
            outcome.error.add_note(printable(f"and settle was not asked: {self._taken.unmade}"))
            return outcome
        try:
            async with timeout_at(self._context.ends_at):
                settled = await settle(self._item)
        except ConfigurationError:
            raise
        except (Exception, asyncio.CancelledError) as failure:  # The outcome stays unknown.
            if isinstance(failure, asyncio.CancelledError) and self._context.run.ended:
                raise
            assert outcome.error is not None
            outcome.error.add_note(printable(f"and settle failed: {error_text(failure)}"))
            return outcome
        if not isinstance(settled, Settled):
            raise InvalidArgumentError(
                "settle must return Settled.done(...), .undone() or .unknown(), "
                f"not {settled!r:.80}"
            )
        match settled.status:
            case OutcomeStatus.UNDONE:
                return None
            case OutcomeStatus.DONE:
                return await self._conclude(
                    attrs.evolve(
                        outcome, status=OutcomeStatus.DONE, error=None, result=settled.result
                    )
                )
            case _:
                return outcome

    async def _start(self) -> Outcome[T, R]:
        """Run the action, unless the deadline has passed."""
        if not self._context.is_past_deadline():
            return await self._perform()
        self._state.deadline_passed = True
        error = RequestTimeout("the deadline of the run passed before this item was started")
        return await self._conclude(
            Outcome(self._item, self._key, OutcomeStatus.UNDONE, None, error)
        )

    async def _perform(self) -> Outcome[T, R]:
        """Run the action."""
        ATTEMPT_COUNT.set(self._count)
        self._began_at = monotonic()
        limit = timeout_at(self._context.ends_at)
        try:
            async with limit:
                result = await self._act()
        except ConfigurationError as error:
            self._note(self._interrupted(str(error)))
            raise
        except Exception as error:  # noqa: BLE001 - an error of one item must not end the others
            outcome = self._failed(error, limit_expired=limit.expired())
        except BaseException as error:
            if self._context.run.ended or not isinstance(error, asyncio.CancelledError):
                self._note(self._interrupted("the run was ended while this item was in progress"))
                raise
            what = "this item" if is_cancelling() else "something that the action awaited"
            outcome = self._interrupted(f"{what} was cancelled, but not by the run")
        else:
            outcome = self._finished(OutcomeStatus.DONE, result=result)
        return await self._conclude(outcome)

    async def _act(self) -> R:
        awaitable = self._context.options.action(self._item)
        if not isawaitable(awaitable):
            raise ConfigurationError(
                "the action must be an async function; this one returned "
                f"{type(awaitable).__name__}"
            )
        return await awaitable

    def _failed(self, error: Exception, *, limit_expired: bool) -> Outcome[T, R]:
        """The outcome of an action that raised an error.

        Args:
            error: what it raised.
            limit_expired: whether the deadline cancelled it.
        """
        late = self._guard.late
        self._state.deadline_passed = self._state.deadline_passed or limit_expired or late
        if late or (limit_expired and isinstance(error, TimeoutError)):
            return self._interrupted("the deadline of the run passed while this was in progress")
        # A cancelled action may raise something else, from its own cleanup.
        acted = self._has_acted()
        lost = (acted and (limit_expired or is_cancelling())) or leaves_unknown(error, acted=acted)
        return self._finished(self._status_of(error, lost=lost), error)

    def _status_of(self, error: Exception, *, lost: bool) -> OutcomeStatus:
        """The status of an item whose action raised this error."""
        if lost:
            return OutcomeStatus.UNKNOWN
        if waits := rate_limit_waits(error, self._count):
            self._state.add_rate_limit(
                max((wait for wait in waits if wait is not None), default=None)
            )
            return OutcomeStatus.FAILED if self._count.changes else OutcomeStatus.UNDONE
        if self._count.attempts or not is_refused_unsent(error):
            return OutcomeStatus.FAILED
        if not is_refused_for_now(error):
            self._state.credentials_refused = True
        return OutcomeStatus.UNDONE

    def _interrupted(self, why: str) -> Outcome[T, R]:
        acted = self._has_acted()
        error = RequestTimeout(why, outcome_unknown=acted)
        return self._finished(OutcomeStatus.UNKNOWN if acted else OutcomeStatus.UNDONE, error)

    def _has_acted(self) -> bool:
        """Whether the action may have changed something, judging by its calls."""
        return self._count.acted or not self._context.options.counted

    def _finished(
        self, status: OutcomeStatus, error: Exception | None = None, result: R | None = None
    ) -> Outcome[T, R]:
        self._guard.finished = True
        attempts = self._count.attempts
        self._state.attempts += attempts
        if self._context.outer_count is not None:
            self._context.outer_count.include(self._count)
        duration = timedelta(seconds=monotonic() - self._began_at)
        return Outcome(self._item, self._key, status, result, error, attempts, duration)

    async def _conclude(self, outcome: Outcome[T, R]) -> Outcome[T, R]:
        """Count the outcome, and wait until it is written, if it can be written."""
        record = self._context.options.record
        mistake: InvalidArgumentError | None = None
        if record is not None and outcome.status is OutcomeStatus.DONE:
            try:
                outcome = attrs.evolve(outcome, recorded=_as_json(record(outcome.result)))  # type: ignore[arg-type]
            except Exception as error:  # noqa: BLE001 - the item is done all the same
                mistake = InvalidArgumentError(
                    "record must return what JSON can represent; it did not for the result of "
                    f"{outcome.key!r:.80}, which is done: {error!r:.200}"
                )
        written = self._note(outcome)
        if written is not None:
            try:
                await written
            except Exception as error:  # noqa: BLE001 - raised by the run, which ends with it
                self._state.write_error = self._state.write_error or error
        if mistake is not None:
            raise mistake
        return outcome

    def _note(self, outcome: Outcome[T, R]) -> asyncio.Future[None] | None:
        """Count the outcome, and begin to write it. A cancelled item cannot wait for the disk."""
        journal, before = self._context.journal, self._before
        self._state.add(outcome.status, None if before is None else before.status)
        if journal is None or outcome.key is None or not journal.in_its_loop():
            return None  # Without its loop, the journal keeps the intent.
        if outcome.status is OutcomeStatus.UNDONE:
            return journal.erase(outcome.key, self._ticket)
        text = None if outcome.error is None else error_text(outcome.error)
        return journal.finish(
            Entry(
                outcome.key,
                outcome.status,
                outcome.attempts,
                outcome.duration,
                text,
                outcome.recorded,
            )
        )


class _Guard:
    """Keeps an item from sending its first request when the run must not send any more.

    After the deadline, answers that have arrived are still read, but nothing new is sent.

    Attributes:
        late: whether it kept something from being sent because the deadline had passed.
        finished: whether the item has an outcome. Tasks that its action left running may continue.
    """

    __slots__ = ("_context", "finished", "late")

    def __init__(self, context: RunContext[Any, Any]) -> None:
        self._context = context
        self.late: bool = False
        self.finished: bool = False

    def __call__(self) -> None:
        """Check that the item may send something.

        Raises:
            RequestTimeout: the deadline of the run has passed.
            ConfigurationError: the journal cannot be written.
        """
        if not self.finished and self._context.is_past_deadline():
            self.late = True
            raise RequestTimeout("the deadline of the run passed; nothing was sent")
        if self._context.journal is not None:
            self._context.journal.check()


def outcome_of_entry(item: T, entry: Entry, *, listed: bool) -> Outcome[T, Any]:
    """The outcome that an earlier run wrote to the journal.

    Args:
        item: the item.
        entry: its entry.
        listed: whether the item is among those of this run.
    """
    error: VCloudError | None = None
    if entry.status is OutcomeStatus.UNKNOWN:
        why = entry.error or "an earlier run was killed while this item was in progress"
        error = TransportError(why, outcome_unknown=True)
    elif entry.error is not None:
        error = VCloudError(entry.error)
    return Outcome(
        item,
        entry.key,
        entry.status,
        None,
        error,
        entry.attempts,
        entry.duration,
        entry.recorded,
        resumed=True,
        listed=listed,
    )


def _as_json(value: object) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))

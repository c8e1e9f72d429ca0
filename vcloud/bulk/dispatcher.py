"""The tasks of a bulk run: start items as there is room, and collect their outcomes."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Generic, TypeVar

from vcloud._core.bulk_run import RUN, BulkRun
from vcloud._core.limits.fair_queueing import CURRENT_FLOW, Flow
from vcloud._core.outcome import ATTEMPT_COUNT
from vcloud._core.tasks import cancel_and_wait
from vcloud._core.timing.clock import monotonic
from vcloud._core.timing.timeouts import timeout_at
from vcloud.bulk.failures import is_cancelling
from vcloud.bulk.item import ItemRun, RunContext
from vcloud.bulk.journal_writer import JournalWriter
from vcloud.bulk.options import BulkOptions
from vcloud.bulk.outcome import Outcome, OutcomeStatus
from vcloud.bulk.plan import PlannedSource
from vcloud.bulk.source import ItemSource, Taken
from vcloud.bulk.state import RunState
from vcloud.bulk.unlisted import UnlistedEntries
from vcloud.errors import RateLimitError, VCloudError

T = TypeVar("T")
R = TypeVar("R")


class Dispatcher(Generic[T, R]):
    """Runs each item in its own task, with bounded concurrency, and yields the outcomes.

    Args:
        source: where the items come from.
        options: those of the run.
        state: where outcomes are counted.
        report: called after each item.

    Attributes:
        run: the run, as its calls see it.
        stopped: why no further item is started, or why items in progress were cancelled; None:
            nothing stopped the run.
    """

    def __init__(
        self,
        source: ItemSource[T] | PlannedSource[T],
        options: BulkOptions[T, R],
        state: RunState,
        report: Callable[[], None],
    ) -> None:
        self.run: BulkRun = BulkRun(shown=options.progress is not None)
        self.stopped: str | None = None
        self._source = source
        self._options = options
        self._state = state
        self._report = report
        self._context: RunContext[T, R]
        self._loop: asyncio.AbstractEventLoop
        self._slots = asyncio.Semaphore(options.concurrency)
        # Room for the items in progress, and for as many outcomes that were not taken yet.
        self._room = asyncio.Semaphore(2 * options.concurrency)
        #: Starts the items.
        self._starter: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._outcomes: deque[Outcome[T, R]] = deque()
        #: What earlier runs did to items that this one does not have, if it is asked for.
        self._earlier: UnlistedEntries | None = None
        #: Set when there is an outcome, or when a task has ended.
        self._changed = asyncio.Event()
        self._failure: BaseException | None = None
        self._closed = False
        self._began_at: float | None = None
        self._ended_at: float | None = None

    @property
    def started(self) -> bool:
        """Whether :meth:`start` was called."""
        return self._starter is not None

    @property
    def elapsed(self) -> float:
        """Seconds from the start to the end, or until now."""
        if self._began_at is None:
            return 0.0
        return (self._ended_at or monotonic()) - self._began_at

    def start(self, journal: JournalWriter | None) -> None:
        """Begin to take items, in the running event loop.

        Args:
            journal: where outcomes are written; None: nowhere.
        """
        self._loop = loop = asyncio.get_running_loop()
        self._began_at = self.run.began = monotonic()
        deadline = self._options.deadline
        ends_at = None if deadline is None else loop.time() + deadline
        if ends_at is not None:
            self.run.left = lambda: max(0.0, ends_at - loop.time())
        maker = self._options.maker()
        self._context = RunContext(
            self._options, self._state, self.run, journal, maker, ends_at, ATTEMPT_COUNT.get()
        )
        if journal is not None and self._options.include_done:
            self._earlier = UnlistedEntries(journal, maker)
        # All calls of the run, from any of its tasks, are one flow. All other calls are another.
        context = copy_context()
        context.run(CURRENT_FLOW.set, Flow())
        self._starter = loop.create_task(self._start_items(ends_at), context=context)
        self._starter.add_done_callback(self._task_done)

    async def next_outcome(self) -> Outcome[T, R]:
        """The next outcome, in the order in which items finish.

        Raises:
            StopAsyncIteration: there is none left.
            Exception: there is none left, and this is what ended the run.
        """
        while not self._outcomes:
            if self._closed or self._is_over:
                return await self._next_of_earlier_runs()
            self._changed.clear()
            await self._changed.wait()
        self._room.release()
        return self._outcomes.popleft()

    async def _next_of_earlier_runs(self) -> Outcome[T, R]:
        """The next outcome when this run has no further one."""
        if self._failure is not None:
            raise self._failure
        if self._earlier is not None and not self._closed:
            with contextlib.suppress(StopAsyncIteration):
                outcome = await self._earlier.outcome()
                self._state.resumed += 1
                return outcome
        # An item that cannot be decoded does not end the run, so its error is raised only if
        # nothing else ended the run.
        if self._source.undecodable is not None:
            raise self._source.undecodable
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Cancel the items in progress, and wait until their tasks have ended."""
        self._closed = True
        self.run.end()
        if self._starter is not None and not self._is_over:
            self.stopped = self.stopped or "interrupted"
            await cancel_and_wait({self._starter, *self._tasks})
            self._ended_at = monotonic()

    @property
    def closed(self) -> bool:
        """Whether :meth:`aclose` was called."""
        return self._closed

    @property
    def _is_over(self) -> bool:
        return self._all_taken and not self._tasks

    @property
    def _all_taken(self) -> bool:
        return self._starter is not None and self._starter.done()

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)
        if self._is_over:
            self._ended_at = monotonic()
        self._changed.set()

    def _fail(self, error: BaseException) -> None:
        """Start no further item. Raise this error once the items in progress have finished."""
        self._failure = self._failure or error
        self._stop("error")

    def _stop(self, why: str) -> None:
        self.stopped = self.stopped or why
        if self._starter is not None and self._starter is not asyncio.current_task():
            self._starter.cancel()

    async def _start_items(self, ends_at: float | None) -> None:
        """Take items as there is room, and give each a task with its own context."""
        RUN.set(self.run)
        limit = timeout_at(ends_at)
        try:
            async with limit:
                await self._start_listed()
                await self._start_unlisted()
            if self._source.undecodable is not None:
                self._stop("error")
        except asyncio.CancelledError:
            if is_cancelling():
                raise
            self._fail(
                VCloudError("something that the iterator of the items awaited was cancelled")
            )
        except Exception as error:  # noqa: BLE001 - raised where the run is iterated
            if isinstance(error, TimeoutError) and limit.expired():
                self._stop("deadline")
            elif isinstance(error, RateLimitError):
                self._state.add_rate_limit(error.retry_after)
                self._stop("rate_limit")
            else:
                self._fail(error)

    async def _start_listed(self) -> None:
        """Start the items of the run."""
        if isinstance(self._source, PlannedSource):
            assert self._context.journal is not None
            await self._source.begin(self._context.journal, self._context.maker)
            self._state.total = self._source.total
        await self._start_each(self._source.take)

    async def _start_unlisted(self) -> None:
        """Start the items that an earlier run left unknown, and that this one does not have."""
        journal = self._context.journal
        if journal is None:
            return
        # The last task is new. Its first step asks the journal for its key, and must come first.
        await asyncio.sleep(0)
        entries = UnlistedEntries(journal, self._context.maker, OutcomeStatus.UNKNOWN)
        await self._start_each(entries.take)

    async def _start_each(self, take: Callable[[], Awaitable[Taken[T]]]) -> None:
        """Start each item as there is room, until there is none left or the run is stopped."""
        # An eager task may finish its item, and stop the run, before `create_task` returns.
        while self.stopped is None:
            await self._room.acquire()
            await self._slots.acquire()
            try:
                taken = await take()
            except StopAsyncIteration:
                self._room.release()
                self._slots.release()
                return
            task = asyncio.create_task(self._run_item(taken))
            self._tasks.add(task)
            task.add_done_callback(self._task_done)

    async def _run_item(self, taken: Taken[T]) -> None:
        try:
            outcome = await ItemRun(self._context, taken).outcome()
        except Exception as error:  # noqa: BLE001 - about the run, and raised where it is iterated
            self._fail(error)
        except asyncio.CancelledError:
            if not self._closed:
                self._fail(VCloudError("a task of this run was cancelled, but not by the run"))
            raise
        else:
            self._outcomes.append(outcome)
            self._changed.set()
        finally:
            # A closed loop cannot wake a task that waits for the slot.
            if not self._loop.is_closed():
                self._slots.release()
        if self._state.write_error is not None:
            self._fail(self._state.write_error)
        why = self._state.stop_reason(self._options, all_taken=self._all_taken)
        if why is not None:
            self._stop(why)
        self._report()

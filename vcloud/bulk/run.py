"""The run: takes items as it can work on them, acts on each, and says what became of it."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Sized,
)
from contextlib import AsyncExitStack
from contextvars import copy_context
from datetime import timedelta
from types import TracebackType
from typing import Generic, Self, TypeVar

from vcloud._core.arguments import positive_integer, positive_seconds
from vcloud._core.bulk_run import RUN, BulkRun
from vcloud._core.limits.fair_queueing import CURRENT_FLOW, Flow
from vcloud._core.outcome import ATTEMPT_COUNT
from vcloud._core.paging.pages import Items
from vcloud._core.tasks import cancel_and_wait
from vcloud._core.timing.clock import monotonic
from vcloud._core.timing.timeouts import timeout_at
from vcloud._core.waiting import summary
from vcloud.bulk.item import Worker, default_key, is_cancelling
from vcloud.bulk.journal import Journal
from vcloud.bulk.outcome import Outcome, OutcomeStatus, Settled, Totals
from vcloud.bulk.progress import Bar, bar
from vcloud.errors import (
    ConfigurationError,
    DecodeError,
    InvalidArgumentError,
    RateLimitError,
    VCloudError,
)
from vcloud.instances import Instances

T = TypeVar("T")
R = TypeVar("R")


class Bulk(AsyncIterator[Outcome[T, R]], Generic[T, R]):
    """Runs an async function over many items, and yields what became of each as it finishes.

    ::

        async with cloud.bulk(machines, lambda machine: machine.start(), journal="start.journal") as run:
            async for outcome in run:
                print(repr(outcome.key), outcome.status, outcome.error or "")
        print(run.totals)

    Nothing is begun before it is iterated. One failure hides no other: whatever the action raises is an outcome, except
    :class:`~vcloud.ConfigurationError`, which is about the client and not about one item, and ends the run. Items are taken
    as there is room: ``concurrency`` are worked on at once, and twice as many are held, with those whose outcomes wait.

    Leaving the ``async with`` early, or being cancelled (Ctrl-C), cancels what is under way without waiting for answers:
    what had sent something is unknown, the rest undone. Then ``totals`` and the journal are whole.

    **Broken items.** Of a page some items of which cannot be read, a pager's run acts on the others,
    and goes on with the next pages. When all is finished, the iteration raises the first such
    :class:`~vcloud.DecodeError`, unless something else ended the run with an error.

    **Refused credentials.** When the service refuses a client's credentials, the other items of
    that client are undone, and nothing is sent for them. The run goes on with those of other
    clients. A run of ``cloud.bulk``, where the facade has one client only, ends.

    **In line** for slots and rate limits, a run takes turns with all other calls of its client.

    **Rate limits.** One is waited for until the ``deadline``; without a deadline, for the
    ``max_retry_after`` of the :class:`~vcloud.RetryPolicy`. Refusals (429) do not use up an item's
    attempts, unless the policy has only one. A limit that lasts longer ends the run, whichever
    provider it is of: ``totals.until`` says until when. So does, without a deadline, a service that
    refuses everything for that long. The item, those whose calls wait for the limit, and those that
    were not begun are undone; what is under way is finished. An item that changed something before it met the limit has failed. A
    pager that meets the limit ends its run in the same way.

    **Journal.** With one, a run that was killed goes on where it stopped. What is done is not repeated: its outcome is yielded
    with ``resumed``. What failed is tried again. What was under way has an unknown outcome, and is not sent again: it is
    yielded as unknown, unless ``settle`` can tell. An answer that is lost in this run is settled when it is started again.
    When the journal cannot be written any more, or is not in its place, the run ends with an error:
    nothing more is begun, what has not sent anything yet does not, and the rest is finished and
    yielded.

    **The action** should change one thing with one request: after a failure it is repeated from its beginning. One that talks
    to something else than this SDK's services says that an outcome is unknown by raising
    :class:`~vcloud.VCloudError` with ``outcome_unknown=True``.

    Args:
        items: what to act on; also a :class:`~vcloud.Pager`, or any other async iterable.
        action: what to do with one of them.
        concurrency: how many at once.
        max_failures: begin nothing more when so many have failed or are unknown in this run; what is under way is finished.
        deadline: for the whole run, from its first item; seconds or timedelta. Then what is under way is cancelled.
            Until then a rate limit is waited for. If the process was stopped or its loop blocked
            until then, what has arrived is read first.
        journal: the file, or a :class:`Journal`, in which the run is written down.
        key: names an item in the journal, the same in each run. The default takes a text or a number as it is, and the
            ``id`` of anything that has one.
        record: what the journal keeps of a result, as something that JSON can say; without it nothing.
        settle: looks at the service for what became of an item that an earlier run left unknown.
        retry_failed: False: what failed in an earlier run stays failed.
        progress: the title of a progress bar on standard error. Where that is no terminal, it gets a line every 30 seconds.
            Both say what its calls wait for. What cannot be written there is dropped.
        counted: all that the action does to the world are requests of this SDK. Then one that was interrupted before it
            sent anything is undone; otherwise it is unknown too.

    Raises:
        InvalidArgumentError: an argument that makes no sense.
        ConfigurationError: (when it is entered) the journal cannot be opened or locked, or another
            run has it; (while it is iterated) the journal cannot be written or is not in its place,
            or the action raised it.
        DecodeError: (at the end of the iteration) some items of a pager cannot be read.
        VCloudError: (while it is iterated) something else than the run cancelled a task of its own.
    """

    def __init__(
        self,
        items: Iterable[T] | AsyncIterable[T],
        action: Callable[[T], Awaitable[R]],
        *,
        concurrency: int = 50,
        max_failures: int | None = None,
        deadline: timedelta | float | None = None,
        journal: Journal | str | os.PathLike[str] | None = None,
        key: Callable[[T], str] | None = None,
        record: Callable[[R], object] | None = None,
        settle: Callable[[T], Awaitable[Settled[R]]] | None = None,
        retry_failed: bool = True,
        progress: str | None = None,
        counted: bool = False,
    ) -> None:
        positive_integer(concurrency, "concurrency")
        if max_failures is not None:
            positive_integer(max_failures, "max_failures")
        for name, given in (
            ("action", action),
            ("key", key or default_key),
            ("record", record or str),
            ("settle", settle or str),
        ):
            if not callable(given):
                raise InvalidArgumentError(f"{name} must be a function, not {given!r}")
        if not isinstance(journal, Journal | str | os.PathLike | None):
            raise InvalidArgumentError(f"journal must be a path or a Journal, not {journal!r}")
        self._patience = None if deadline is None else positive_seconds(deadline, "deadline")
        if settle is not None and journal is None:
            raise InvalidArgumentError(
                "settle looks at what an earlier run left open, which only a journal knows: give one too"
            )
        self._given = items
        self._items = _stepwise(items)
        self._total = len(items) if isinstance(items, Sized) else None
        self._max_failures = max_failures
        self._journal = journal if isinstance(journal, Journal | None) else Journal(journal)
        again = frozenset({OutcomeStatus.FAILED} if retry_failed else ())
        self._worker = Worker(
            action, self._journal, key or default_key, record, settle, again, counted
        )
        #: What its calls know of it.
        self._run = BulkRun(shown=progress is not None)
        #: Whether no item can be of another client than the others. The facade knows.
        self._of_one_client = False
        self._title = progress
        self._bar: Bar | None = None

        self._slots = asyncio.Semaphore(concurrency)
        # For those that are worked on, and for as many that have finished and were not taken yet.
        self._room = asyncio.Semaphore(2 * concurrency)
        self._loop: asyncio.AbstractEventLoop
        self._dispatcher: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._finished: deque[Outcome[T, R]] = deque()
        self._news = asyncio.Event()
        self._failure: BaseException | None = None
        # The first error about items that cannot be read. It ends nothing, and so gives way to
        # what does.
        self._unreadable: DecodeError | None = None
        self._stopped: str | None = None
        self._closed = False
        self._began_at: float | None = None
        self._ended_at: float | None = None

    async def run(self) -> Totals:
        """Run it to its end; for those who need no single outcome.

        Raises:
            ConfigurationError: as for iterating.
            DecodeError: some items of a pager cannot be read; the run acted on all others.
        """
        async with self:
            async for _ in self:
                pass
        return self.totals

    @property
    def totals(self) -> Totals:
        """How far it is."""
        counts = self._worker.counts
        done, failed, unknown = (
            counts[status]
            for status in (OutcomeStatus.DONE, OutcomeStatus.FAILED, OutcomeStatus.UNKNOWN)
        )
        elapsed = (
            0.0 if self._began_at is None else (self._ended_at or monotonic()) - self._began_at
        )
        return Totals(
            total=self._total,
            done=done,
            failed=failed,
            unknown=unknown,
            undone=counts[OutcomeStatus.UNDONE]
            if self._total is None
            else max(0, self._total - done - failed - unknown),
            resumed=self._worker.resumed,
            attempts=self._worker.attempts,
            elapsed=timedelta(seconds=elapsed),
            stopped=self._stopped,
            until=self._worker.limited_until if self._stopped == "rate_limit" else None,
        )

    async def __aenter__(self) -> Self:
        """Open the journal; nothing is begun yet."""
        if self._bar is not None or self._closed:
            raise ConfigurationError("a bulk run is run once: make another one")
        if self._journal is not None:
            await self._journal.aopen()
        try:
            if self._journal is not None:
                self._worker.counts.update(await self._journal._counts())
                if (
                    self._worker.counts
                    and self._total is not None
                    and isinstance(self._given, Collection)
                ):
                    # Of a list that shrinks as it is worked off, an earlier run has done what is not in it any more.
                    self._total += await self._journal._others(
                        {self._worker.name(item) for item in self._given}
                    )
            self._bar = bar(self._title, lambda: summary(self._run.waits))
        except BaseException:
            if self._journal is not None:
                await self._journal.aclose()
            raise
        self._show()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End what is under way, and close the journal."""
        async with AsyncExitStack() as stack:  # each of these, whatever becomes of the others
            if self._bar is not None:
                stack.callback(self._bar.close)
                stack.callback(self._show)
            if self._journal is not None:
                stack.push_async_callback(self._journal.__aexit__, kind, error, trace)
            # What was made of the items here, a pager's pages under way say, is nobody else's to end.
            owned = self._items is not self._given or isinstance(self._given, Instances)
            if owned and (aclose := getattr(self._items, "aclose", None)) is not None:
                stack.push_async_callback(aclose)
            self._closed = self._worker.ended = True
            self._run.end()
            if self._dispatcher is not None and not self._over:
                self._stopped = self._stopped or "interrupted"
                await cancel_and_wait({self._dispatcher, *self._tasks})
                self._ended_at = monotonic()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[T, R]:
        if self._bar is None:
            raise ConfigurationError(
                "a bulk run must be opened: `async with cloud.bulk(...) as run`, then iterate `run`"
            )
        if self._dispatcher is None and not self._closed:
            self._begin()
        while not self._finished:
            if self._closed or self._over:
                if (failure := self._failure or self._unreadable) is not None:
                    raise failure
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        self._room.release()
        return self._finished.popleft()

    def _begin(self) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._began_at = self._run.began = monotonic()
        self._worker.ends_at = None if self._patience is None else loop.time() + self._patience
        if self._patience is not None:
            self._run.left = self._left
        self._worker.outer = ATTEMPT_COUNT.get()
        # What the run sends, its items' tasks included, takes turns with all others.
        context = copy_context()
        context.run(CURRENT_FLOW.set, Flow())
        self._dispatcher = loop.create_task(self._dispatch(), context=context)
        self._dispatcher.add_done_callback(self._task_over)

    def _left(self) -> float:
        """Seconds until the run must be over."""
        ends_at = self._worker.ends_at
        assert ends_at is not None
        return max(0.0, ends_at - self._loop.time())

    @property
    def _over(self) -> bool:
        return self._all_taken and not self._tasks

    @property
    def _all_taken(self) -> bool:
        return self._dispatcher is not None and self._dispatcher.done()

    def _task_over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
            self._stop("error")
        if self._over:
            self._ended_at = monotonic()
        self._news.set()

    def _fail(self, error: Exception) -> None:
        """Something is wrong with the run itself: begin nothing more, and raise this when what is under way has finished."""
        self._failure = self._failure or error
        self._stop("error")

    def _stop(self, why: str) -> None:
        self._stopped = self._stopped or why
        if self._dispatcher is not None and self._dispatcher is not asyncio.current_task():
            self._dispatcher.cancel()

    async def _dispatch(self) -> None:
        """Take items as there is room, and give each a task with a context of its own."""
        RUN.set(self._run)
        limit = timeout_at(self._worker.ends_at)
        try:
            async with limit:
                # Under eager tasks an item's task ends, and may stop the run, before this goes on.
                while self._stopped is None:
                    await self._room.acquire()
                    await self._slots.acquire()
                    task = asyncio.create_task(self._work(await self._next_item()))
                    self._tasks.add(task)
                    task.add_done_callback(self._task_over)
        except StopAsyncIteration:
            if self._unreadable is not None:
                self._stop("error")
        except asyncio.CancelledError:
            if is_cancelling():
                raise
            self._fail(
                VCloudError("something that the source of the items waited for was cancelled")
            )
        except Exception as error:  # noqa: BLE001 - raised where the run is iterated
            if isinstance(error, TimeoutError) and limit.expired():
                self._stop("deadline")
            elif isinstance(error, RateLimitError):
                self._worker.note_limit(error.retry_after)
                self._stop("rate_limit")
            else:
                self._fail(error)

    async def _next_item(self) -> T:
        """The next item that can be read."""
        while True:
            try:
                return await anext(self._items)
            except DecodeError as error:
                if not (isinstance(self._items, Items) and self._items.keep_readable(error)):
                    raise
                self._unreadable = self._unreadable or error

    async def _work(self, item: T) -> None:
        try:
            outcome = await self._worker.outcome(item)
        except Exception as error:  # noqa: BLE001 - about the run, and raised where it is iterated
            self._fail(error)
        except asyncio.CancelledError:
            if not self._closed:
                self._fail(VCloudError("a task of this run was cancelled, and not by the run"))
            raise
        else:
            self._finished.append(outcome)
            self._news.set()
        finally:
            # A loop that was closed over this wakes nobody any more.
            if not self._loop.is_closed():
                self._slots.release()
        self._stop_if_told()
        self._show()

    def _stop_if_told(self) -> None:
        """Begin nothing more where what became of an item says so."""
        if self._worker.unwritten is not None:
            self._fail(self._worker.unwritten)
        if self._worker.late:
            self._stop("deadline")
        elif self._worker.limited:
            self._stop("rate_limit")
        elif self._worker.refused and self._of_one_client and not self._all_taken:
            self._stop("credentials")
        elif (
            self._max_failures is not None
            and self._worker.failures >= self._max_failures
            and not self._all_taken
        ):
            self._stop("max_failures")

    def _show(self) -> None:
        if self._bar is not None:
            self._bar.show(self.totals)


class _Stepwise(AsyncIterator[T]):
    """An iterator rather than a generator: one that is left in the middle is simply forgotten."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items

    async def __anext__(self) -> T:
        for item in self._items:
            return item
        raise StopAsyncIteration


def _stepwise(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(items, AsyncIterable):
        return aiter(items)
    if isinstance(items, str | bytes) or not isinstance(items, Iterable):
        raise InvalidArgumentError(
            f"items must be a collection or an iterable of items, not {items!r}"
        )
    return _Stepwise(iter(items))

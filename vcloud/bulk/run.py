"""The public class of a bulk run: open it, iterate its outcomes, read its totals."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final, Generic, Never, NoReturn, Self, TypeVar, Unpack

from attrs import evolve

from vcloud._core.waiting_report import summary
from vcloud._core.wrong_arguments import WrongArgumentsError, check_keywords
from vcloud.bulk.dispatcher import Dispatcher
from vcloud.bulk.journal_writer import JournalWriter
from vcloud.bulk.options import BulkKeywords, BulkOptions
from vcloud.bulk.outcome import Outcome, Totals
from vcloud.bulk.plan import Plan, PlannedSource
from vcloud.bulk.progress import Display, open_display
from vcloud.bulk.source import ItemSource
from vcloud.bulk.state import RunState
from vcloud.errors import ConfigurationError, InvalidArgumentError

T = TypeVar("T")
R = TypeVar("R")

_KEYWORDS: Final = ("items", "action", *BulkKeywords.__annotations__)


class Bulk(AsyncIterator[Outcome[T, R]], Generic[T, R]):
    """Runs an async function over many items, and yields the outcome of each as it finishes.

    ::

        machines = cloud.computers.machines.list(status="off")
        async with cloud.bulk(machines, lambda one: one.start(), journal="start.journal") as run:
            async for outcome in run:
                print(repr(outcome.key), outcome.status, outcome.error or "")
        print(run.totals)

    Nothing is started before the run is iterated. An error of one item does not end the others:
    whatever the action raises is an outcome, except :class:`~vcloud.ConfigurationError`, which is
    about the client and ends the run. Items are taken as there is room: ``concurrency`` of them are
    in progress at once. Twice as many are held, including those whose outcomes were not taken yet.

    Leaving the ``async with`` early, or cancelling the task (Ctrl-C), cancels the items in progress
    without waiting for answers. The items that have sent something are unknown, the others undone.
    ``totals`` and the journal are complete.

    **Broken items.** If a page of a pager has items that cannot be decoded, the run acts on the
    other items of that page and continues with the next one. At the end, the iteration raises the
    first such :class:`~vcloud.DecodeError`, unless another error ended the run.

    **Refused credentials.** If the service refuses a client's credentials, nothing is sent for the
    remaining items of that client, which are undone. The run continues with the items of other
    clients. A run of ``cloud.bulk`` ends if the facade has only one client.

    **No batches.** Each item has requests of its own, also where a service has batches. Those of
    StreamSpace's published server tell no agent: its terminate takes the sessions off the list
    while their desktops go on running, and hibernate and wake only write the state.

    **Fairness.** A run takes turns with all other calls of its client, for slots and rate limits.

    **Rate limits.** The run waits for a rate limit until the ``deadline``; without a deadline, up
    to the ``max_retry_after`` of the :class:`~vcloud.RetryPolicy`. A 429 does not use up an item's
    attempts, unless the policy allows only one. A limit of any provider that lasts longer ends the
    run, and ``totals.until`` says until when it lasts. Without a deadline, a service that refuses
    everything for that long ends the run too. The items that wait for the limit and those that were
    not started are undone. Items in progress are finished. An item that changed something before it
    met the limit has failed. A pager that meets the limit ends its run in the same way.

    **Journal.** With a journal, a run that was killed can be started again, and continues where it
    stopped. Items that are done are not repeated: their outcomes are yielded with ``resumed``.
    Items that failed are tried again. Items that were in progress have an unknown outcome and are
    not sent again: they are yielded as unknown, unless ``settle`` finds out what happened. An
    answer that is lost in this run is settled when the run is started again.

    **Lists that get shorter.** Items of a filtered list leave it when they are acted on. So those
    that the journal has as unknown are settled and yielded also if the items of this run do not
    have them, after all others, with ``listed=False``. Their ``item`` is made of the journal's key:
    a handle with its ids and verbs, without fields; an :class:`~vcloud.Instance` of unknown state;
    or the string or number itself. Handles act through the facade, or the client of other items of
    the run. Where nothing makes an item (your own objects without ``handle``), ``item`` is the key,
    and ``settle`` is not asked. No such item is acted on: one that ``settle`` finds undone is
    yielded as undone, and a list that has it again starts it. Items of :meth:`Journal.plan` are
    fixed by the first run.

    **A lost journal.** If the journal cannot be written any more, or is moved, the run ends with an
    error: no further item is started, no item sends its first request, and the items that have sent
    something are finished and yielded.

    **The action** should change one thing with one request, because after a failure it is repeated
    from its beginning. An action that talks to other services than those of this SDK reports an
    unknown outcome by raising :class:`~vcloud.VCloudError` with ``outcome_unknown=True``.

    Args:
        items: what to act on: a collection, an iterator, a :class:`~vcloud.Pager`, or any other
            async iterable.
        action: what to do with one item.
        concurrency: how many items at once; 50 by default.
        max_failures: start no further item when so many have failed or are unknown in this run.
            Items in progress are finished. By default there is no maximum.
        deadline: for the whole run, from its first item; seconds or timedelta. By default there is
            none. At the deadline, items in progress are cancelled. Rate limits are waited for until
            then. If the process was stopped or its loop was blocked at that time, answers that have
            arrived are read first.
        journal: the file, or a :class:`Journal`, in which the run is recorded. By default it is not
            recorded.
        key: returns the name of an item in the journal, the same in each run. By default a string
            or a number is its own name, and anything else is named by its ``id``.
        record: returns what the journal keeps of a result, as something that JSON can represent.
            By default it keeps nothing.
        settle: asks the service what happened to an item that an earlier run left unknown. By
            default the item stays unknown. The handle of a Streams machine that is made of its key
            has no uid: ``machine.as_instance().refresh()`` looks for its id in the list.
        handle: makes an item of its key, for items that only the journal has. By default those of
            this SDK, strings and numbers are made as above.
        include_done: whether to yield also what earlier runs did to items that this one does not
            have: done and failed ones, and unknown ones if the run stopped before they were
            settled. If it stopped early, these are all items that it did not come to.
        retry_failed: False: items that failed in an earlier run stay failed. By default they are
            tried again.
        progress: the title of a progress bar on standard error; by default there is none. Where
            that is no terminal, a line is written every 30 seconds. Both show what the calls wait
            for. What cannot be written there is dropped.
        counted: whether everything that the action does is a request of this SDK. Then an item that
            is interrupted before it has sent anything is undone; otherwise it is unknown. False by
            default.

    Raises:
        InvalidArgumentError: a value is not allowed.
        ConfigurationError: (on entering) the journal cannot be opened or locked, or another run
            uses it; (while iterating) the journal cannot be written or was moved, or the action
            raised it.
        DecodeError: (at the end of the iteration) some items of a pager cannot be decoded.
        VCloudError: (while iterating) a task of the run was cancelled, but not by the run.
    """

    def __init__(
        self,
        items: Iterable[T] | AsyncIterable[T],
        action: Callable[[T], Awaitable[R]],
        *others: Never,
        **options: Unpack[BulkKeywords[T, R]],
    ) -> None:
        if others:
            raise WrongArgumentsError(
                "Bulk takes items and action by position, and all others by name: write "
                "Bulk(items, action, concurrency=...)"
            )
        check_keywords("Bulk", options, _KEYWORDS)
        self._prepare(items, BulkOptions(action=action, **options))

    @classmethod
    def from_options(
        cls, items: Iterable[T] | AsyncIterable[T], options: BulkOptions[T, R]
    ) -> Bulk[T, R]:
        """Make a run of options that were checked already.

        Raises:
            InvalidArgumentError: the items cannot be iterated.
        """
        run: Bulk[T, R] = cls.__new__(cls)
        cls._prepare(run, items, options)
        return run

    def _prepare(self, items: Iterable[T] | AsyncIterable[T], options: BulkOptions[T, R]) -> None:
        self._source: ItemSource[T] | PlannedSource[T]
        if isinstance(items, Plan):
            options = _with_plan(options, items)
            self._source = PlannedSource(items)
        else:
            self._source = ItemSource(items)
        options.check_journal()
        self._options = options
        self._state = RunState(self._source.total)
        self._dispatcher = Dispatcher(self._source, options, self._state, self._show)
        self._journal: JournalWriter | None = None
        self._display: Display | None = None

    async def run(self) -> Totals:
        """Run all items, and return the totals; for callers who need no single outcome.

        Raises:
            ConfigurationError: as for iterating.
            DecodeError: some items of a pager cannot be decoded; the run acted on all others.
        """
        async with self:
            async for _ in self:
                pass
        return self.totals

    @property
    def totals(self) -> Totals:
        """The totals so far."""
        return self._state.totals(self._dispatcher.elapsed, self._dispatcher.stopped)

    if not TYPE_CHECKING:

        def __await__(self) -> NoReturn:
            raise TypeError(
                "a Bulk is not awaited itself: use `async with ... as run`, or `await ....run()`"
            )

    async def __aenter__(self) -> Self:
        """Open the journal. No item is started yet."""
        if self._display is not None or self._dispatcher.closed:
            raise ConfigurationError("a bulk run can be run only once: make another one")
        journal = self._options.journal
        if journal is not None:
            await journal.aopen()
        try:
            if journal is not None:
                self._journal = journal.writer
                await self._include_earlier_runs(self._journal)
            self._display = open_display(
                self._options.progress, lambda: summary(self._dispatcher.run.waits)
            )
        except BaseException:
            if journal is not None:
                await journal.aclose()
            raise
        self._show()
        return self

    async def _include_earlier_runs(self, journal: JournalWriter) -> None:
        statuses, others = await journal.counts(), 0
        items = self._source.collection
        if statuses and items is not None:
            # If the list gets shorter with each run, the journal has the items that it has lost.
            others = await journal.count_others({self._options.key_of(item) for item in items})
        self._state.include(statuses, others)

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Cancel the items in progress, and close the journal."""
        async with AsyncExitStack() as stack:  # each of these, even if another one fails
            if self._display is not None:
                stack.callback(self._display.close)
                stack.callback(self._show)
            if self._options.journal is not None:
                stack.push_async_callback(self._options.journal.__aexit__, kind, error, trace)
            stack.push_async_callback(self._source.aclose)
            await self._dispatcher.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[T, R]:
        if self._display is None:
            raise ConfigurationError(
                "a bulk run must be opened: `async with cloud.bulk(...) as run`, then iterate `run`"
            )
        if not (self._dispatcher.started or self._dispatcher.closed):
            self._dispatcher.start(self._journal)
        return await self._dispatcher.next_outcome()

    def _show(self) -> None:
        if self._display is not None:
            self._display.show(self.totals)


def _with_plan(options: BulkOptions[T, R], plan: Plan[T]) -> BulkOptions[T, R]:
    """The options of a run over a plan, which has the journal and names the items.

    Raises:
        InvalidArgumentError: the options contradict the plan.
    """
    given = options.journal
    if given is not None and given is not plan.journal and given.path != plan.journal.path:
        raise InvalidArgumentError(
            f"journal is {given.path}, but the plan is in {plan.journal.path}: omit journal="
        )
    if options.key is not None and options.key is not plan.key:
        raise InvalidArgumentError(
            "key was given to the run, but its plan names the items: pass key= to Journal.plan"
        )
    handle = options.handle or plan.handle
    return evolve(options, journal=plan.journal, key=plan.key, handle=handle)

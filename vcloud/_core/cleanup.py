"""Work that continues to its end although its caller is cancelled.

``asyncio.run`` cancels *every* task when it ends, shielded ones too. Work that must be finished,
such as the stop of a machine, therefore runs in a task that ``asyncio.all_tasks`` does not list
(:func:`hidden_task`), and its caller waits for it through every cancellation.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Iterable
from contextlib import ExitStack
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from vcloud._core.tasks import cancel_and_wait, shielded_from_anyio
from vcloud._core.timing.running_time import Countdown
from vcloud.errors import CleanupError, TransportError

if TYPE_CHECKING:
    from logging import Logger

__all__ = [
    "CALLER",
    "CLEANUP",
    "WITHIN",
    "Cleanup",
    "Opened",
    "hidden_task",
    "left_behind",
    "run_to_completion",
]

T = TypeVar("T")


def hidden_task(work: Coroutine[Any, Any, T], cleanup: Cleanup | None = None) -> asyncio.Task[T]:
    """Start work that the end of ``asyncio.run`` does not cancel.

    The caller must wait for it in a task that the loop lists, because the loop does not list this
    one.

    Args:
        work: what to do.
        cleanup: what the requests that it sends are a part of; see :data:`CLEANUP`.
    """
    context = copy_context()
    context.run(CLEANUP.set, cleanup)
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        work.close()  # the loop was closed while the caller was running
        raise
    # Not by the loop's task factory: an eager task would run here, within the caller's task.
    task = asyncio.Task(work, loop=loop, context=context)
    # asyncio documents it for those who make tasks ("Extending").
    asyncio._unregister_task(task)  # noqa: SLF001 - see above
    # If the loop was closed, the exception is never retrieved, and asyncio must not report that.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


class Cleanup:
    """What one launch, connection or tunnel has to finish, and how long that may take.

    ::

        not urgent   its requests wait in the queue like all others
        urgent       the caller was cancelled, or the client closes: its requests go ahead of all
                     others, and the timeout runs while some of its work is running
        expired      the timeout is over: the work that is left is cancelled

    The timeout is one for all work together. It counts only time in which the event loop runs: a
    process that was suspended for longer still stops its machines afterwards.

    Args:
        timeout: seconds.
    """

    __slots__ = (
        "_countdown",
        "_given_up",
        "_tasks",
        "_timeout",
        "_urgent",
        "_urgent_waiters",
        "expired",
        "interruption",
    )

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        #: What the caller must raise once all work is finished.
        self.interruption: BaseException | None = None
        #: Whether the time ran out.
        self.expired: bool = False
        self._urgent = False
        self._urgent_waiters: set[asyncio.Future[None]] = set()
        #: The futures of callers that wait for work: done when they need not wait any longer.
        self._given_up: set[asyncio.Future[None]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        #: Runs while it is urgent and work is running.
        self._countdown = Countdown(timeout)

    @property
    def timeout(self) -> float:
        """Seconds for all work together, once it is urgent."""
        return self._timeout

    @property
    def urgent(self) -> bool:
        """Whether the caller was cancelled, or the client closes."""
        return self._urgent

    @property
    def left(self) -> float:
        """Seconds for which the loop may still run until the work is cancelled."""
        return self._countdown.left

    def make_urgent(self) -> None:
        """Start the timeout, unless it runs already."""
        if not self._urgent:
            _set_all(self._urgent_waiters)
        # Also when it is urgent already: a signal handler may have raised before this was done.
        if self._tasks and not self.expired:
            self._countdown.start(self._expire)
        # Last, so that all of this is repeated if a signal handler raises before.
        self._urgent = True

    def interrupt(self, error: BaseException) -> None:
        """The caller must raise this error once all work is finished."""
        if self.interruption is None:
            self.interruption = error
        self.make_urgent()

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work to its end, also if the caller is cancelled; then see :attr:`interruption`.

        Raises:
            TimeoutError: it is urgent, and the timeout is over.
            TransportError: something else interrupted it; what it sent may have been done.
            Exception: what the work raised.
        """
        return await self.wait(self.start(work))

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start work, for which the caller must :meth:`wait`."""
        task = hidden_task(work, self)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        if self._urgent:
            self._countdown.start(self._expire)
        return task

    async def wait(self, task: asyncio.Task[T]) -> T:
        """Wait for started work, through every cancellation. Raises as :meth:`finish` does."""
        given_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._given_up.add(given_up)
        try:
            await self._wait_through_cancellations({task, given_up})
        finally:
            self._given_up.discard(given_up)
        if not task.done():
            raise TimeoutError
        if task.cancelled():
            if self.expired:
                raise TimeoutError from _cancellation(task)
            # The end of the loop cancels tasks of libraries, which the work may have waited for.
            raise TransportError("the exchange was cancelled from outside", outcome_unknown=True)
        failure = task.exception()
        if failure is not None and not isinstance(failure, Exception):
            # A signal handler raised it while the work ran, and it is raised out of the loop too.
            self.interrupt(failure)
            raise TransportError(
                f"the exchange was interrupted by {type(failure).__name__}", outcome_unknown=True
            )
        return task.result()

    async def _wait_through_cancellations(self, awaited: set[asyncio.Future[Any]]) -> None:
        """Wait until one of these is done, whatever is raised meanwhile."""
        with ExitStack() as shield:
            shielded = False
            while not any(one.done() for one in awaited):
                try:
                    # Unlike `await task`, this does not cancel the task with the caller.
                    await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                except GeneratorExit:
                    raise
                except BaseException as error:  # noqa: BLE001 - signal handlers raise here too
                    if not shielded:
                        shield.enter_context(shielded_from_anyio())
                        shielded = True
                    self.interrupt(error)

    def forget_interruption(self) -> None:
        """Do not raise it: a time limit caused it, and has its own error."""
        self.interruption = None

    def conclude(self, failure: CleanupError | None, error: BaseException | None) -> None:
        """Raise what the caller must raise, now that all work is finished.

        Args:
            failure: what could not be ended. It replaces a cancellation; it is added to any other
                error as a note.
            error: what the caller already raises.

        Raises:
            CleanupError: the failure.
            BaseException: the :attr:`interruption`.
        """
        ends_with = self.interruption or error
        if failure is not None and failure is not error:
            if ends_with is None or isinstance(ends_with, asyncio.CancelledError):
                raise failure
            ends_with.add_note(str(failure))
        if isinstance(error, CleanupError) and isinstance(
            self.interruption, asyncio.CancelledError
        ):
            return  # it is raised instead of the cancellation
        if self.interruption is not None:
            raise self.interruption

    async def unless_urgent(
        self, waiting: Coroutine[Any, Any, T], *, drop: Callable[[T], object] | None = None
    ) -> T | None:
        """Wait for something until it is urgent; then cancel it, and return None.

        Args:
            waiting: what to wait for.
            drop: is called with the result if the caller was cancelled at the same moment.
        """
        if self.urgent:
            waiting.close()
            return None
        urgent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._urgent_waiters.add(urgent)
        # The task belongs to the same cleanup as the caller, which need not be this one.
        task = hidden_task(waiting, CLEANUP.get())
        try:
            try:
                both: set[asyncio.Future[Any]] = {task, urgent}
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._urgent_waiters.discard(urgent)
                urgent.cancel()
                await cancel_and_wait({task})
        except BaseException:
            if drop is not None and task.done() and not (task.cancelled() or task.exception()):
                drop(task.result())
            raise
        if self.urgent and (task.cancelled() or task.exception() is not None):
            return None
        return task.result()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # It may never be retrieved, and asyncio must not report that.
            task.exception()
        if not self._tasks:
            self._countdown.pause()

    def _expire(self) -> None:
        self.expired = True
        for task in self._tasks:
            task.cancel()
        Countdown(_GRACE).start(functools.partial(_set_all, self._given_up))


def _cancellation(task: asyncio.Task[Any]) -> asyncio.CancelledError | None:
    """The cancellation that a task ended with. It may be marked: nothing was sent."""
    try:
        task.result()
    except asyncio.CancelledError as stopped:
        return stopped
    return None


#: Seconds that cancelled work has for its end.
_GRACE: Final = 1.0


def _set_all(futures: set[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def left_behind(
    log: Logger,
    provider: str,
    what: str,
    *,
    ids: Iterable[str] = (),
    why: BaseException | None = None,
    outcome_unknown: bool = False,
) -> CleanupError:
    """The error for what could not be ended.

    It is logged here, once, because there may be no caller that gets it.

    Args:
        log: the provider's.
        provider: its name.
        what: what was left running, and what will happen to it.
        ids: its ids.
        why: why it could not be ended.
        outcome_unknown: whether the service may have carried out the last request.
    """
    because = "" if why is None else f": {why!s}" if str(why) else f": {type(why).__name__}"
    failure = CleanupError(
        f"{provider}: {what}{because}", provider=provider, ids=ids, outcome_unknown=outcome_unknown
    )
    failure.__cause__ = why
    log.error("%s", failure)
    return failure


class Opened(Protocol):
    """What was opened through a client, and ends when the client closes."""

    def make_urgent(self) -> None:
        """The client closes: the requests that this still sends go ahead of all others."""

    async def end_with_client(self) -> None:
        """Finish its work and end what it opened, without cancelling tasks of the user's.

        Raises:
            CleanupError: something may have been left running.
        """


#: The cleanup that the requests sent in this context belong to. They are sent even while the client
#: closes, and go ahead of all others when the cleanup is urgent.
CLEANUP: Final[ContextVar[Cleanup | None]] = ContextVar("vcloud_cleanup", default=None)


#: The call of a request that is finished although the call is cancelled. If the request has no
#: connection by then, it is not sent.
CALLER: Final[ContextVar[Cleanup | None]] = ContextVar("vcloud_caller", default=None)


#: The agent or forward whose handler or hook runs in this context. If that closes the client, the
#: closing does not wait for the agent, which waits for its handler.
WITHIN: Final[ContextVar[Opened | None]] = ContextVar("vcloud_within", default=None)


async def run_to_completion(work: Coroutine[Any, Any, T], *, within: float) -> T:
    """Await ``work``, and finish it before a cancellation of the caller takes effect.

    Args:
        work: what to do.
        within: seconds after which the work is cancelled, so that the caller's cancellation takes
            effect. Only time in which the event loop runs counts.

    Raises:
        TimeoutError: it took longer.
        CancelledError: the caller was cancelled meanwhile; the work was finished or cancelled.
    """
    cleanup = Cleanup(within)
    cleanup.make_urgent()
    try:
        result = await cleanup.finish(work)
    except Exception:
        # The cancellation matters more than the failure of the work.
        if cleanup.interruption is not None:
            raise cleanup.interruption from None
        raise
    if cleanup.interruption is not None:
        raise cleanup.interruption
    return result

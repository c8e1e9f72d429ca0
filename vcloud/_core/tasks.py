"""Work that is finished although its caller is cancelled, and tasks that must not be left behind.

``asyncio.run`` cancels *every* task when it ends, shielded ones too. What must be finished, the stop
of a machine say, therefore runs in a task that ``asyncio.all_tasks`` does not list
(:func:`hidden_task`), and its caller waits for it through every cancellation.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from vcloud._core.timing.running_time import Countdown
from vcloud.errors import CleanupError, TransportError

if TYPE_CHECKING:
    from logging import Logger

T = TypeVar("T")


def hidden_task(work: Coroutine[Any, Any, T], cleanup: Cleanup | None = None) -> asyncio.Task[T]:
    """Start work that the end of ``asyncio.run`` does not cancel.

    Whoever starts it must wait for it in a task of its own: the loop knows nothing of this one.

    Args:
        work: what to do.
        cleanup: what it is a part of, for the requests that it sends; see :data:`CLEANUP`.
    """
    context = copy_context()
    context.run(CLEANUP.set, cleanup)
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        work.close()  # the loop was closed over the caller, and nobody will await this
        raise
    # Not by the loop's factory: an eager task would already run here, in the caller's place.
    task = asyncio.Task(work, loop=loop, context=context)
    # Public: "Extending" in asyncio's documents names it for the makers of tasks.
    asyncio._unregister_task(task)
    # Nobody may be left to ask, where the loop was closed.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


class Cleanup:
    """What one launch, connection or tunnel has to finish, and how long that may take.

    It becomes urgent when the caller is cancelled, or the client closes. Before that, its requests
    wait as any others do. From then on they go ahead of all others, and ``timeout`` bounds all that
    is left to do, together. Only time counts in which the event loop ran, and something was under
    way: a process that is stopped for longer than that still stops its machines afterwards.

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
        #: What the caller is to be ended with, once all is finished.
        self.interruption: BaseException | None = None
        #: Whether the time ran out.
        self.expired = False
        self._urgent = False
        self._urgent_waiters: set[asyncio.Future[None]] = set()
        #: Those who wait for a task, and need not wait for one that outlives its cancellation.
        self._given_up: set[asyncio.Future[None]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        #: Runs while it is urgent and something is under way.
        self._countdown = Countdown(timeout)

    @property
    def timeout(self) -> float:
        """Seconds for all that is to be finished once it is urgent."""
        return self._timeout

    @property
    def urgent(self) -> bool:
        """Whether the caller was cancelled, or the client closes."""
        return self._urgent

    @property
    def left(self) -> float:
        """Seconds for which the loop may run until it is given up."""
        return self._countdown.left

    def make_urgent(self) -> None:
        """Let the time run from now on, unless it does already."""
        if not self._urgent:
            _set_all(self._urgent_waiters)
        # Again, where a signal's handler has raised in the middle of it: nothing would bound it.
        if self._tasks and not self.expired:
            self._countdown.start(self._ring)
        # Last, so that this is done again if a signal's handler raises in the middle of it.
        self._urgent = True

    def interrupt(self, error: BaseException) -> None:
        """The caller is to be ended with this error, once all is finished."""
        if self.interruption is None:
            self.interruption = error
        self.make_urgent()

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Do this to its end, whatever becomes of the caller; then see :attr:`interruption`.

        Raises:
            TimeoutError: it is urgent, and the time ran out.
            TransportError: it was interrupted by something else; what it sent may have been done.
            Exception: what the work raised.
        """
        return await self.wait(self.start(work))

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin to do this. Somebody must :meth:`wait` for it."""
        task = hidden_task(work, self)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        if self._urgent:
            self._countdown.start(self._ring)
        return task

    async def wait(self, task: asyncio.Task[T]) -> T:
        """Wait for what was begun, through every cancellation. Raises as :meth:`finish` does."""
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
            # The end of the loop cancels tasks of libraries that this one may have waited for.
            raise TransportError("the exchange was cancelled from outside", outcome_unknown=True)
        failure = task.exception()
        if failure is not None and not isinstance(failure, Exception):
            # Raised by a signal's handler while the work ran, and raised out of the loop as well.
            self.interrupt(failure)
            raise TransportError(
                f"the exchange was interrupted by {type(failure).__name__}", outcome_unknown=True
            )
        return task.result()

    async def _wait_through_cancellations(self, awaited: set[asyncio.Future[Any]]) -> None:
        """Wait until one of these is done, and be interrupted by nothing."""
        with ExitStack() as shield:
            shielded = False
            while not any(one.done() for one in awaited):
                try:
                    # Unlike awaiting the task, this leaves it alone when the caller is cancelled.
                    await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                except GeneratorExit:
                    raise
                except BaseException as error:  # noqa: BLE001 - signals' handlers raise here too
                    if not shielded:
                        shield.enter_context(_shielded_from_anyio())
                        shielded = True
                    self.interrupt(error)

    def forget_interruption(self) -> None:
        """Do not end the caller with it: it was a time limit, which has an error of its own."""
        self.interruption = None

    def conclude(self, failure: CleanupError | None, error: BaseException | None) -> None:
        """End the caller as it must be, now that all is finished.

        Args:
            failure: what could not be ended. It is raised in place of a cancellation; any other error
                that the caller ends with gets it as a note.
            error: what the caller ends with already.

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
            return  # it stands for a cancellation, and says more
        if self.interruption is not None:
            raise self.interruption

    async def unless_urgent(
        self, waiting: Coroutine[Any, Any, T], *, drop: Callable[[T], object] | None = None
    ) -> T | None:
        """Wait in peace; None, and nothing is waited for any more, as soon as it is urgent.

        Args:
            waiting: what to wait for.
            drop: gives back what came of it, where the caller was cancelled in the same moment.
        """
        if self.urgent:
            waiting.close()
            return None
        hurried: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._urgent_waiters.add(hurried)
        # A part of what the caller is a part of. To wait for something makes it no cleanup.
        task = hidden_task(waiting, CLEANUP.get())
        try:
            try:
                both: set[asyncio.Future[Any]] = {task, hurried}
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._urgent_waiters.discard(hurried)
                hurried.cancel()
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
            # Nobody may be left to ask, and asyncio must not report that.
            task.exception()
        if not self._tasks:
            self._countdown.pause()

    def _ring(self) -> None:
        self.expired = True
        for task in self._tasks:
            task.cancel()
        Countdown(_GRACE).start(functools.partial(_set_all, self._given_up))


def _cancellation(task: asyncio.Task[Any]) -> asyncio.CancelledError | None:
    """What a cancelled task ended with: it may say that nothing was sent."""
    try:
        task.result()
    except asyncio.CancelledError as stopped:
        return stopped
    return None


#: Seconds that what was given up has for its end.
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
    """The error for what could not be ended. It is logged here, once, because nobody may be left to get it.

    Args:
        log: the provider's.
        provider: its name.
        what: what was left, and what becomes of it.
        ids: its ids.
        why: what kept it from being ended.
        outcome_unknown: whether the service may have done what was asked last.
    """
    because = "" if why is None else f": {why!s}" if str(why) else f": {type(why).__name__}"
    failure = CleanupError(
        f"{provider}: {what}{because}", provider=provider, ids=ids, outcome_unknown=outcome_unknown
    )
    failure.__cause__ = why
    log.error("%s", failure)
    return failure


class Opened(Protocol):
    """What a client opened, and ends when it closes."""

    def make_urgent(self) -> None:
        """The client closes: whatever this still has to do goes first from now on."""

    async def end_with_client(self) -> None:
        """Finish what it does or end what it holds; no task of the user's is cancelled for it.

        Raises:
            CleanupError: something may have been left.
        """


#: The cleanup of which the requests that are sent here are a part. They are sent although the client
#: closes, and go ahead of all others when it is urgent.
CLEANUP: Final[ContextVar[Cleanup | None]] = ContextVar("vcloud_cleanup", default=None)


#: The call for which a request is sent that is finished although the call is cancelled. What has no
#: connection by then is not sent any more.
CALLER: Final[ContextVar[Cleanup | None]] = ContextVar("vcloud_caller", default=None)


#: The agent or the forward for which this runs. If a handler or a hook of it closes the client, the
#: closing does not wait for the agent, which waits for its handler.
WITHIN: Final[ContextVar[Opened | None]] = ContextVar("vcloud_within", default=None)


async def run_to_completion(work: Coroutine[Any, Any, T], *, within: float) -> T:
    """Await ``work``, and finish it before obeying a cancellation that comes meanwhile.

    Args:
        work: what to do.
        within: seconds after which it is given up, so that nobody who cancels has to wait for ever.
            Only time in which the event loop ran counts.

    Raises:
        TimeoutError: it took longer.
        CancelledError: the caller was cancelled meanwhile; the work was finished or given up.
    """
    cleanup = Cleanup(within)
    cleanup.make_urgent()
    try:
        result = await cleanup.finish(work)
    except Exception:
        # Its own failure is secondary to the cancellation.
        if cleanup.interruption is not None:
            raise cleanup.interruption from None
        raise
    if cleanup.interruption is not None:
        raise cleanup.interruption
    return result


async def cancel_and_wait(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel these tasks and return when all of them are over, even if the caller is cancelled meanwhile.

    What they raise is theirs to have reported before: nobody else asks for it.
    """
    try:
        current = asyncio.current_task()
    except RuntimeError:
        # The loop was closed over the caller, and over these.
        return
    # One that is collected while another loop runs may have tasks of a loop that was closed.
    loop = asyncio.get_running_loop()
    left = {task for task in tasks if task.get_loop() is loop and task is not current}
    for task in left:
        task.cancel()
    interruption: asyncio.CancelledError | None = None
    with ExitStack() as shield:
        while pending := {task for task in left if not task.done()}:
            try:
                await asyncio.wait(pending)
            except asyncio.CancelledError as error:
                if interruption is None:
                    shield.enter_context(_shielded_from_anyio())
                interruption = error
    for task in left:
        if not task.cancelled():
            task.exception()
    if interruption is not None:
        raise interruption


async def first_completed(*works: Coroutine[Any, Any, object]) -> None:
    """Run these at once until the first is over; end the others. None is left, however this ends.

    Raises:
        Exception: what the first that was over raised.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        first = [task for task in tasks if task.done() and not task.cancelled()]
    finally:
        await cancel_and_wait(tasks)
    for task in first:
        task.result()


def abort(transport: asyncio.WriteTransport) -> None:
    """Drop a connection with all that was not sent, at once. Nothing happens when it is gone.

    A transport of asyncio's that was closed while something was left to be sent, and has sent it,
    does not know that it is gone: its ``abort`` looks for the loop that it has let go of.
    """
    with suppress(AttributeError):
        transport.abort()


def _shielded_from_anyio() -> AbstractContextManager[object]:
    """Keep a cancelled anyio scope from cancelling again in every turn of the loop.

    anyio repeats a cancellation until the task leaves the scope. Whoever has to finish something
    first would be woken in every turn, and keep a core busy. A scope of anyio's own that is shielded
    stops that; plain cancellations of the task still arrive. Where anyio is not in use, nothing of
    it is imported.
    """
    # What anyio loads with its first scope on asyncio.
    if "anyio._backends._asyncio" not in sys.modules:
        return nullcontext()
    scope: AbstractContextManager[object] = sys.modules["anyio"].CancelScope(shield=True)
    return scope

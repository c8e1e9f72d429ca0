"""Launching: a desktop for ``await``, or for the length of an ``async with`` block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from datetime import timedelta
from functools import update_wrapper
from inspect import signature
from types import MethodType, TracebackType
from typing import Any, Final, TypeVar, cast

from vcloud._core.cleanup import Cleanup, left_behind
from vcloud._core.outcome import ATTEMPT_COUNT, AttemptCount
from vcloud._core.request import Request
from vcloud._core.session import Session
from vcloud.errors import (
    CleanupError,
    ConfigurationError,
    NotFoundError,
    RequestTimeout,
    TransportError,
    VCloudError,
)
from vcloud.errors.text import printable, word
from vcloud.providers.desktops.desktops import LAUNCHED, Desktop, LaunchedDesktop
from vcloud.providers.desktops.models import DesktopStatus

__all__ = ["Launch"]

F = TypeVar("F", bound=Callable[..., object])

#: So many launched desktops are looked through for those that are over before one more is added.
_FEW: Final = 64
#: A program may cancel every task before it ends, and the end of the loop does so once more.
_TRIES: Final = 3


class OpenDesktops:
    """The desktops that a client launched and that may still be there: the service has no list of them."""

    __slots__ = ("_ends", "_room")

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}
        self._room = _FEW

    def add(self, id: str, *, now: float, ends: float) -> None:
        """Remember one until its time is up; both in monotonic seconds."""
        # The oldest are in front, so a client that launches for years keeps no more than what can still run.
        while self._ends and next(iter(self._ends.values())) <= now:
            del self._ends[next(iter(self._ends))]
        # Behind one that runs long there may be any number that are over.
        if len(self._ends) >= self._room:
            self._ends = {one: end for one, end in self._ends.items() if end > now}
            self._room = max(_FEW, 2 * len(self._ends))
        self._ends[id] = ends

    def discard(self, id: str) -> None:
        """Forget one that is over, if it is known."""
        self._ends.pop(id, None)

    def ids(self) -> tuple[str, ...]:
        """All that may still be there, in the order of their launch."""
        return tuple(self._ends)


class _CoroutineFunction:
    """A method that returns its own kind of coroutine and is a coroutine function to ``inspect``.

    :func:`inspect.iscoroutinefunction`, and what asks it (autospecs of mocks, decorators that
    retry), take any callable with the attributes of a function for one. Python 3.12 has
    ``inspect.markcoroutinefunction`` for it; 3.11 has no other way.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        async def plain(*args: Any, **kwargs: Any) -> Any:
            return await function(*args, **kwargs)

        self._function = function
        unbound: Any = plain
        update_wrapper(unbound, function)
        of_function = signature(function)
        # Autospecs of a class leave out the self of plain functions only, and this is none in the
        # class.
        unbound.__signature__ = of_function.replace(
            parameters=list(of_function.parameters.values())[1:]
        )
        self._unbound = unbound
        self.__name__ = function.__name__
        update_wrapper(self, function)
        self.__code__ = plain.__code__
        self.__defaults__ = function.__defaults__
        self.__kwdefaults__ = function.__kwdefaults__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self._unbound if instance is None else MethodType(self, instance)


def coroutine_function(function: F) -> F:
    """Let a method that returns a coroutine object pass for one made with ``async def``."""
    return cast("F", _CoroutineFunction(function))


class OpenDesktop:
    """A desktop that is being launched, or that a block holds, until it is stopped.

    Attributes:
        cleanup: what bounds its end.
        block: whether a block holds it, and stops it.
        closed: whether the client's closing stops it, and tells of it.
    """

    def __init__(self, session: Session, register: OpenDesktops) -> None:
        self.cleanup = Cleanup(session.cleanup_timeout)
        self.block = self.closed = False
        self._session = session
        self._register = register
        self._desktop: LaunchedDesktop | None = None
        self._launching: asyncio.Future[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._failure: CleanupError | None = None

    async def launch(self, request: Request, lifetime: float) -> LaunchedDesktop:
        """Send the request, and stop what it made if the caller is cancelled meanwhile."""
        opened = self._session.opened
        opened.add(self)
        self._launching = asyncio.get_running_loop().create_future()
        try:
            return await self._launch(request, lifetime)
        finally:
            if not self.block or self._desktop is None:
                opened.discard(self)
            if not self._launching.get_loop().is_closed():
                self._launching.set_result(None)

    async def _launch(self, request: Request, lifetime: float) -> LaunchedDesktop:
        try:
            launched = await self._session.fetch(request, LAUNCHED, cleanup=self.cleanup)
        except VCloudError as error:
            if self.cleanup.urgent:
                lost = "a desktop may have been launched, and nobody knows its id"
                self._failure = self._left(lost, error) if error.outcome_unknown else None
                self.cleanup.conclude(self._failure, None)
            raise
        now = self._session.clock()
        self._register.add(launched.id, now=now, ends=now + lifetime)
        if not self.cleanup.urgent:
            self._desktop = launched
            return launched
        # Nobody would learn its id, and it would run for a day.
        self._desktop = launched
        self.cleanup.conclude(await self.stop(), None)
        raise ConfigurationError(
            f"the client was closed while desktop {word(launched.id)} was launched; it was stopped"
        )

    async def leave(self, error: BaseException | None) -> None:
        """Stop it when its block is left, with this error or none."""
        if error is not None and not isinstance(error, Exception):
            self.cleanup.make_urgent()
        if not self._loop_runs():
            # The loop ended before the block, and nothing can be sent any more.
            self._tell(RuntimeError("its event loop was closed"))
            return
        failure = await self.stop()
        # Told here, it is not told again when the client closes.
        self._session.opened.discard(self)
        if self.closed:
            if error is not None:
                words = "was stopped" if failure is None else "could not be stopped"
                note = f"the client was closed, and desktop {word(self._id)} {words}"
                error.add_note(printable(note))
            failure = None
        self.cleanup.conclude(failure, error)

    async def stop(self) -> CleanupError | None:
        """Stop it, whoever asks first; why that failed."""
        for _ in range(2):
            self._stopping = self._stopping or self.cleanup.start(self._stop())
            try:
                await self.cleanup.wait(self._stopping)
            except TransportError:
                # A signal's handler interrupted it by raising something. Stopping may be repeated.
                self._stopping = None
            except GeneratorExit:
                self._tell(RuntimeError("its event loop was closed"))
                raise
            else:
                break
        else:
            self._tell(RequestTimeout("it was interrupted twice", outcome_unknown=True))
        return self._failure

    def make_urgent(self) -> None:
        """See :class:`~vcloud._core.cleanup.Opened`."""
        self.cleanup.make_urgent()

    async def end_with_client(self) -> None:
        """See :class:`~vcloud._core.cleanup.Opened`."""
        if self._launching is not None:
            await asyncio.wait({self._launching})
        if self.block and self._desktop is not None:
            self.closed = True
            await self.stop()
        if self._failure is not None:
            raise self._failure

    async def _stop(self) -> None:
        count = AttemptCount()
        outer = ATTEMPT_COUNT.get()
        ATTEMPT_COUNT.set(count)
        try:
            await self._stop_counted(count)
        finally:
            if outer is not None:
                outer.include(count)

    async def _stop_counted(self, count: AttemptCount) -> None:
        assert self._desktop is not None, "launched before it is stopped"
        for _ in range(_TRIES):
            try:
                await self._desktop.stop()
            except NotFoundError:
                # The service has already forgotten it.
                break
            except VCloudError as failure:
                self._tell(failure)
                return
            except asyncio.CancelledError:
                if self.cleanup.expired:
                    self._tell(self._out_of_time(sent=count.acted))
                    return
                # The end of a loop cancels every task, and this may have waited for one of aiohttp's.
                continue
            break
        else:
            words = "it was cancelled from outside again and again"
            self._tell(TransportError(words, outcome_unknown=True))
            return
        self._register.discard(self._desktop.id)
        self._session.opened.discard(self)

    def _out_of_time(self, *, sent: bool) -> RequestTimeout:
        bound = f"within {self.cleanup.timeout:g} s"
        if sent:
            return RequestTimeout(f"there was no answer {bound}", outcome_unknown=True)
        return RequestTimeout(
            f"it could not be sent {bound}: there is no connection, slot or limit left"
        )

    def _loop_runs(self) -> bool:
        """Whether the event loop that launched it is the one that runs this."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            return False
        return self._launching is not None and self._launching.get_loop() is running

    def _tell(self, why: BaseException) -> None:
        if self._failure is None:
            what = f"desktop {word(self._id)} could not be stopped, and runs until it times out"
            self._failure = self._left(what, why)

    def _left(self, what: str, why: BaseException) -> CleanupError:
        ids = () if self._desktop is None else (self._desktop.id,)
        unknown = isinstance(why, VCloudError) and why.outcome_unknown
        return left_behind(
            self._session.log, "desktops", what, ids=ids, why=why, outcome_unknown=unknown
        )

    @property
    def _id(self) -> str:
        return "" if self._desktop is None else self._desktop.id


class Launch(Coroutine[Any, Any, LaunchedDesktop]):
    """What :meth:`Desktops.launch` returns: await it for the desktop, or enter it with ``async with``.

    A coroutine, so it can be given to a task group too; and like any coroutine it can be used once.
    """

    __slots__ = ("_coroutine", "_opened", "_poll", "_wait_timeout")

    def __init__(
        self,
        session: Session,
        request: Request,
        register: OpenDesktops,
        *,
        lifetime: float,
        wait_timeout: timedelta | float,
        poll: timedelta | float,
    ) -> None:
        self._opened = OpenDesktop(session, register)
        self._coroutine = self._opened.launch(request, lifetime)
        self._wait_timeout = wait_timeout
        self._poll = poll

    def send(self, value: Any, /) -> Any:
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, LaunchedDesktop]:
        return self._coroutine.__await__()

    async def __aenter__(self) -> Desktop:
        """Launch, and wait until it is running. If that fails it is stopped."""
        self._opened.block = True
        launched = await self
        try:
            return await launched.wait_until(
                DesktopStatus.RUNNING, timeout=self._wait_timeout, poll=self._poll
            )
        except BaseException as error:
            await self._opened.leave(error)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it, whatever happened.

        Without a cancellation the stop waits as any call does. When the caller is cancelled, it goes
        ahead of all other requests, and is given up after ``cleanup_timeout``.

        Raises:
            CleanupError: it could not be stopped; in place of a cancellation, too. Any other error
                that one is leaving with gets this as a note.
        """
        await self._opened.leave(error)

"""The launch of a desktop, for ``await`` or for an ``async with`` block that stops it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from datetime import timedelta
from typing import Any, Final

from vcloud._core.cleanup import Cleanup, left_behind
from vcloud._core.outcome import ATTEMPT_COUNT, AttemptCount
from vcloud._core.request import Request
from vcloud._core.session import Session
from vcloud.errors import (
    CleanupError,
    ConfigurationError,
    DecodeError,
    NotFoundError,
    RequestTimeout,
    TransportError,
    VCloudError,
)
from vcloud.errors.text import printable, word
from vcloud.providers.desktops.desktops import LAUNCHED, Desktop, LaunchedDesktop
from vcloud.providers.desktops.models import DesktopStatus
from vcloud.providers.desktops.registry import LaunchRegistry

__all__ = ["Launch"]

#: How often the stop is tried if it is cancelled from outside. A program may cancel every task
#: before it ends, and the end of the loop does so once more.
_STOP_ATTEMPTS: Final = 3


class DesktopLifetime:
    """Launches one desktop, and stops it if it was launched for a block.

    Args:
        session: sends the requests.
        registry: where the desktop is registered while it may exist.

    Attributes:
        cleanup: limits how long the stop may take.
        block: whether it was launched for a block, which stops it.
        closed: whether the closing client stops it, and raises the error of the stop.
    """

    def __init__(self, session: Session, registry: LaunchRegistry) -> None:
        self.cleanup: Cleanup = Cleanup(session.cleanup_timeout)
        self.block: bool = False
        self.closed: bool = False
        self._session = session
        self._registry = registry
        self._desktop: LaunchedDesktop | None = None
        self._launching: asyncio.Future[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._failure: CleanupError | None = None

    async def launch(self, request: Request, lifetime: float) -> LaunchedDesktop:
        """Send the request, and stop the desktop if the caller is cancelled meanwhile."""
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
                # An answer that cannot be read may name it.
                ids = error.ids if isinstance(error, DecodeError) else ()
                named = f"it may be {', '.join(map(word, ids))}" if ids else "its id is not known"
                what = f"a desktop may have been launched, and {named}"
                self._failure = (
                    self._left_error(what, error, ids) if error.outcome_unknown else None
                )
                self.cleanup.conclude(self._failure, None)
            raise
        now = self._session.clock()
        self._registry.add(launched.id, now=now, ends=now + lifetime)
        if not self.cleanup.urgent:
            self._desktop = launched
            return launched
        # The caller does not get its id, and it would run for a day.
        self._desktop = launched
        self.cleanup.conclude(await self.stop(), None)
        raise ConfigurationError(
            f"the client was closed while desktop {word(launched.id)} was launched; it was stopped"
        )

    async def leave(self, error: BaseException | None) -> None:
        """Stop the desktop when its block is left, with this error or none."""
        if error is not None and not isinstance(error, Exception):
            self.cleanup.make_urgent()
        if not self._loop_runs():
            # The loop was closed before the block was left, so nothing can be sent.
            self._note_failure(RuntimeError("its event loop was closed"))
            return
        failure = await self.stop()
        # The failure is raised here, so the closing client must not raise it again.
        self._session.opened.discard(self)
        if self.closed:
            if error is not None:
                stopped = "was stopped" if failure is None else "could not be stopped"
                note = f"the client was closed, and desktop {word(self._id)} {stopped}"
                error.add_note(printable(note))
            failure = None
        self.cleanup.conclude(failure, error)

    async def stop(self) -> CleanupError | None:
        """Stop the desktop once, whichever caller is first. Returns the error if that failed."""
        for _ in range(2):
            self._stopping = self._stopping or self.cleanup.start(self._stop())
            try:
                await self.cleanup.wait(self._stopping)
            except TransportError:
                # The handler of a signal raised an error, which interrupted it. A stop may be
                # repeated.
                self._stopping = None
            except GeneratorExit:
                self._note_failure(RuntimeError("its event loop was closed"))
                raise
            else:
                break
        else:
            self._note_failure(RequestTimeout("it was interrupted twice", outcome_unknown=True))
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
        assert self._desktop is not None, "a desktop is launched before it is stopped"
        for _ in range(_STOP_ATTEMPTS):
            try:
                await self._desktop.stop()
            except NotFoundError:
                break  # It has ended already.
            except VCloudError as failure:
                self._note_failure(failure)
                return
            except asyncio.CancelledError:
                if self.cleanup.expired:
                    self._note_failure(self._timeout_error(sent=count.acted))
                    return
                # The end of a loop cancels every task, including an aiohttp task that this awaits.
                continue
            break
        else:
            why = f"it was cancelled from outside {_STOP_ATTEMPTS} times"
            self._note_failure(TransportError(why, outcome_unknown=True))
            return
        self._registry.discard(self._desktop.id)
        self._session.opened.discard(self)

    def _timeout_error(self, *, sent: bool) -> RequestTimeout:
        bound = f"within {self.cleanup.timeout:g} s"
        if sent:
            return RequestTimeout(f"there was no answer {bound}", outcome_unknown=True)
        return RequestTimeout(
            f"it could not be sent {bound}: there is no connection, slot or limit left"
        )

    def _loop_runs(self) -> bool:
        """Whether the event loop in which it was launched is running."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            return False
        return self._launching is not None and self._launching.get_loop() is running

    def _note_failure(self, why: BaseException) -> None:
        if self._failure is None:
            what = (
                f"desktop {word(self._id)} could not be stopped, and runs until its lifetime ends"
            )
            self._failure = self._left_error(what, why)

    def _left_error(
        self, what: str, why: BaseException, named: tuple[str, ...] = ()
    ) -> CleanupError:
        ids = named if self._desktop is None else (self._desktop.id,)
        unknown = isinstance(why, VCloudError) and why.outcome_unknown
        return left_behind(
            self._session.log, "desktops", what, ids=ids, why=why, outcome_unknown=unknown
        )

    @property
    def _id(self) -> str:
        return "" if self._desktop is None else self._desktop.id


class Launch(Coroutine[Any, Any, LaunchedDesktop]):
    """What :meth:`Desktops.launch` returns: await it, or enter it with ``async with``.

    It is a coroutine, so a task group takes it too. Like any coroutine it can be used only once.
    Its constructor is not for users.
    """

    __slots__ = ("_coroutine", "_lifetime", "_poll", "_wait_timeout")

    def __init__(
        self,
        session: Session,
        request: Request,
        registry: LaunchRegistry,
        *,
        lifetime: float,
        wait_timeout: timedelta | float,
        poll: timedelta | float,
    ) -> None:
        self._lifetime = DesktopLifetime(session, registry)
        self._coroutine = self._lifetime.launch(request, lifetime)
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
        """Launch the desktop, and wait until it is running. If that fails, stop it."""
        self._lifetime.block = True
        launched = await self
        try:
            return await launched.wait_until(
                DesktopStatus.RUNNING, timeout=self._wait_timeout, poll=self._poll
            )
        except BaseException as error:
            await self._lifetime.leave(error)
            raise

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Stop the desktop.

        The stop waits for a slot and for rate limits as any call does. If the task was cancelled,
        it is sent before all other requests, and ends after ``cleanup_timeout``.

        Raises:
            CleanupError: the desktop could not be stopped. This replaces a cancellation. Any other
                error with which the block is left gets it as a note.
        """
        await self._lifetime.leave(error)

"""Launching: a desktop for ``await``, or for the length of an ``async with`` block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from datetime import timedelta
from functools import update_wrapper
from inspect import signature
from types import MethodType, TracebackType
from typing import Any, Final, TypeVar, cast

from vcloud._core.cleanup import run_to_the_end
from vcloud._core.request import Request
from vcloud._core.session import Session
from vcloud.errors import NotFoundError, RequestTimeout, VCloudError
from vcloud.providers.desktops.desktops import LAUNCHED, Desktop, DesktopRef, LaunchedDesktop
from vcloud.providers.desktops.models import DesktopStatus

__all__ = ["Launch"]

F = TypeVar("F", bound=Callable[..., object])

#: Seconds that stopping a desktop on the way out may take, with every retry.
PATIENCE: Final = 10.0
#: So many launched desktops are looked through for those that are over before one more is added.
_FEW: Final = 64


class Register:
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


class Launch(Coroutine[Any, Any, LaunchedDesktop]):
    """What :meth:`Desktops.launch` returns: await it for the desktop, or enter it with ``async with``.

    A coroutine, so it can be given to a task group too; and like any coroutine it can be used once.
    """

    __slots__ = ("_coroutine", "_desktop", "_poll", "_register", "_wait_timeout")

    def __init__(
        self,
        session: Session,
        request: Request,
        register: Register,
        *,
        lifetime: float,
        wait_timeout: timedelta | float,
        poll: timedelta | float,
    ) -> None:
        self._coroutine = _launch(session, request, register, lifetime)
        self._register = register
        self._wait_timeout = wait_timeout
        self._poll = poll
        self._desktop: Desktop | None = None

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
        launched = await self
        try:
            self._desktop = await launched.wait_until(
                DesktopStatus.RUNNING, timeout=self._wait_timeout, poll=self._poll
            )
        except BaseException as error:
            await _stop(launched, self._register, error)
            raise
        return self._desktop

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it, whatever happened: even if cancelled, but not for longer than ten seconds."""
        assert self._desktop is not None, "entered before left"
        await _stop(self._desktop, self._register, error)


async def _launch(
    session: Session, request: Request, register: Register, lifetime: float
) -> LaunchedDesktop:
    async def launch() -> LaunchedDesktop:
        launched = await session.fetch(request, LAUNCHED)
        now = session.clock()
        register.add(launched.id, now=now, ends=now + lifetime)
        return launched

    launching = asyncio.create_task(launch())
    try:
        return await asyncio.shield(launching)
    except asyncio.CancelledError as cancelled:
        # Nobody would learn the id of a desktop that the service has made, or is just making, and it would run for a day.
        try:
            await run_to_the_end(_undo(launching, register), within=PATIENCE)
        except (VCloudError, TimeoutError) as failure:
            cancelled.add_note(
                f"cancelled while a desktop was launched, and it could not be stopped: {_words(failure)}"
            )
        finally:
            launching.cancel()
        raise


async def _undo(launching: asyncio.Task[LaunchedDesktop], register: Register) -> None:
    await asyncio.wait((launching,))
    if not launching.cancelled() and launching.exception() is None:
        await launching.result().stop()
        register.discard(launching.result().id)


async def _stop(desktop: DesktopRef, register: Register, error: BaseException | None) -> None:
    """Stop on the way out. A failure to do so is raised, or noted on the error that one is leaving with."""
    try:
        await run_to_the_end(desktop.stop(), within=PATIENCE)
    except NotFoundError:
        # The service has already forgotten it.
        register.discard(desktop.id)
    except (VCloudError, TimeoutError) as failure:
        what = f"desktop {desktop.id} could not be stopped, and runs until it times out: {_words(failure)}"
        if error is not None:
            error.add_note(what)
        elif isinstance(failure, VCloudError):
            failure.add_note(what)
            raise
        else:
            raise RequestTimeout(f"desktops: {what}", outcome_unknown=True) from None
    else:
        register.discard(desktop.id)


def _words(error: BaseException) -> str:
    return str(error) or f"no answer within {PATIENCE:g} s"

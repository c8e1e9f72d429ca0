"""Who watches what is sent: observers of the user's own, and the log. While there are none, nothing here runs."""

from __future__ import annotations

import logging
import traceback
import weakref
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from enum import StrEnum
from functools import partial
from inspect import isawaitable, iscoroutinefunction
from types import TracebackType
from typing import Final, ParamSpec, Self, TypeVar

import msgspec

from vcloud._core.log import Throttle, printable_logger
from vcloud._core.request import Request, Response
from vcloud._core.timing.clock import monotonic
from vcloud.errors import ConfigurationError
from vcloud.errors.text import shortened

P = ParamSpec("P")
T = TypeVar("T")

#: A function of the user's that is told of something. It may be a coroutine function.
Hook = Callable[[T], object]


#: Seconds between two lines on what one observer or hook raised. It may raise for each attempt, and
#: a broken observer must not fill a disk.
FAILURE_INTERVAL: Final = 60.0


async def call_hook(
    hook: Hook[T],
    value: T,
    name: str,
    logger: logging.Logger,
    clock: Callable[[], float] = monotonic,
) -> Exception | None:
    """Call it, and await what it returns if that is awaitable.

    Args:
        hook: the function.
        value: what it is told.
        name: what the log calls it.
        logger: for what it raises.
        clock: monotonic seconds.

    Returns:
        what it raised, which is logged and harms nobody; None when it raised nothing.
    """
    try:
        result = hook(value)
        if isawaitable(result):
            await result
    except Exception as error:  # noqa: BLE001 - it is the user's code
        throttle = _throttle_of(hook, name)
        _log_failure(throttle, error, logger, clock(), _HOOK_FAILED, name)
        return error
    return None


_HOOK_FAILED: Final = "%s failed; what it was told of goes on: %s%s"
_OBSERVER_FAILED: Final = "%s.%s failed for %s; the call goes on: %s%s"
#: By the identity of those who raised something, because an observer may be unhashable; then by
#: what they were, because one function may be several hooks.
_THROTTLES: Final[dict[int, dict[str, Throttle]]] = {}


def _throttle_of(culprit: object, role: str) -> Throttle:
    """The one of this observer or hook, whichever of the clients it was given to."""
    key = id(culprit)
    roles = _THROTTLES.get(key)
    if roles is None:
        try:
            forgotten = weakref.finalize(culprit, _THROTTLES.pop, key, None)
        except TypeError:
            # With slots, nobody would say when it is gone. All of its class share one.
            return _throttle_of(type(culprit), role)
        forgotten.atexit = False
        roles = _THROTTLES[key] = {}
    return roles.setdefault(role, Throttle(FAILURE_INTERVAL))


def _log_failure(
    throttle: Throttle,
    error: Exception,
    logger: logging.Logger,
    now: float,
    form: str,
    *names: str,
) -> None:
    """Say on one line what the user's code raised, unless it had such a line less than a minute ago.

    Its traceback is added where the logger is enabled for DEBUG.
    """
    suppressed = throttle.admit(now)
    if suppressed is None:
        return
    more = f"; {suppressed} more failures since the last such line" if suppressed else ""
    trace = error if logger.isEnabledFor(logging.DEBUG) else None
    logger.error(form, *names, _described(error), more, exc_info=trace)


def _described(error: Exception) -> str:
    """What was raised, and where."""
    # This is safe where an exception's own __str__ raises.
    words = shortened("".join(traceback.format_exception_only(error)).strip())
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    if where is None:
        return words
    return f"{words} ({where.tb_frame.f_code.co_filename}:{where.tb_lineno})"


class Attempt(msgspec.Struct, eq=False, weakref=True):
    """One attempt to send a request. It is the same object from its start to its end, so it may be a (weak) key.

    It holds no credential, no body, and nothing of the query. To be read only.

    Attributes:
        provider: such as ``computers``.
        operation: what is asked for, the same whatever the ids: ``POST /machines/{id}/start``.
        method: the verb.
        base_url: the provider's address; for a WebSocket at the host's root, the host's.
        path: below it, with its ids: ``/machines/100/start``. Without them when the request or its answer carries a secret.
        number: which attempt of its call, from 1.
        waited: seconds in line before it, for a slot, a limit or a login; the pause that a retry was to make is not in it.
        status: of the answer; 101 for a WebSocket that was opened. None before there is one, and when none came.
        error: why it failed, a refusal with HTTP status 200 too; a ``CancelledError`` when it was cancelled.
        duration: seconds from sending to the end of the answer; None while it is under way.
        retry_in: seconds to the next attempt; None when there is none.
    """

    provider: str
    operation: str
    method: str
    base_url: str
    path: str
    number: int
    waited: float
    status: int | None = None
    error: BaseException | None = None
    duration: float | None = None
    retry_in: float | None = None

    @property
    def url(self) -> str:
        """Where it goes, without the query."""
        return self.base_url + self.path


class WaitReason(StrEnum):
    """What a call waits for before it is sent."""

    #: ``concurrency`` requests are under way.
    SLOT = "slot"
    #: A rate limit is used up: one that was configured, or that the service announces.
    RATE_LIMIT = "rate limit"
    #: The service refused a request and said when to come back, or another request tries first.
    PAUSE = "pause"
    #: A credential is obtained or tried, by this call or by another one.
    LOGIN = "login"
    #: It failed, and is sent again after a pause of the :class:`~vcloud.RetryPolicy`.
    RETRY = "retry"
    #: A limit that several processes share is used up, or its store has not answered yet.
    SHARED_BUDGET = "shared budget"
    #: The process has no file descriptor or port left for a connection.
    DESCRIPTORS = "descriptors"


class Queued(msgspec.Struct, frozen=True, eq=False):
    """A call that waits for more than a second before it is sent, or sent again.

    Like an :class:`Attempt`, it holds no credential, no body, and nothing of the query.

    Attributes:
        provider: such as ``computers``.
        operation: what is asked for, the same whatever the ids: ``POST /machines/{id}/start``.
        method: the verb.
        base_url: the provider's address; for a WebSocket at the host's root, the host's.
        path: below it, as in :class:`Attempt`.
        reason: what it waits for.
        waited: seconds for which it has waited so far; 0 when it was known from the beginning that
            it would wait for more than a second.
        until: when the wait ends at the earliest, by this machine's clock; None when nobody knows,
            as of a slot.
        waiting: how many calls of this client wait for the same reason, this one included.
    """

    provider: str
    operation: str
    method: str
    base_url: str
    path: str
    reason: WaitReason
    waited: float
    until: datetime | None
    waiting: int

    @property
    def url(self) -> str:
        """Where it will go, without the query."""
        return self.base_url + self.path


class Observer:
    """Hears of each attempt: every request that is sent, each repeat, logins and WebSocket upgrades too.

    Subclass it and write what you need. The methods run in the event loop, in the task that sends, so they must be quick; to do
    more, put it into a queue. What they raise is logged, one line a minute for each observer, and neither the call nor other
    observers notice.
    """

    def queued(self, event: Queued) -> None:
        """A call waits for more than a second.

        Once for each call and reason: when it is known that the wait will last for more than a
        second, otherwise when it has lasted for one (a tenth of a second later at most). It may run
        outside of the task that waits.
        """

    def started(self, attempt: Attempt) -> None:
        """It is admitted, signed, and sent now."""

    def ended(self, attempt: Attempt) -> None:
        """There is an answer, or none will come. An attempt that started always ends."""

    def retried(self, attempt: Attempt) -> None:
        """Having failed and ended, it is followed by another in ``retry_in`` seconds."""


def check_observer(observer: object) -> None:
    """Refuse what would never hear anything.

    Raises:
        ConfigurationError: it is no Observer, or one of its methods is a coroutine function, which nobody would await.
    """
    if not isinstance(observer, Observer):
        raise ConfigurationError(f"observers must be Observer objects, not {observer!r}")
    for method in (observer.queued, observer.started, observer.ended, observer.retried):
        if iscoroutinefunction(method):
            raise ConfigurationError(
                f"{type(observer).__name__}.{method.__name__} must be a plain function, not async"
            )


class Observers:
    """Those who watch one provider: there are some if it is ``observed``, or while its log is enabled for DEBUG.

    The loop asks that once for each call, in these words because a function for them would cost as much again; it is all that
    watching costs while nobody does.

    Args:
        provider: its name, which is also the last part of its logger's.
        observers: the user's.
        fixed_paths: see :func:`operation`.
    """

    def __init__(
        self, provider: str, observers: Sequence[Observer], fixed_paths: Collection[str]
    ) -> None:
        self.observed = bool(observers)
        self.log = printable_logger(f"vcloud.{provider}")
        self._provider = provider
        self._observers = (*observers, _Log(self.log))
        # Those that were written before there was such a method cost nothing.
        self._hear_of_waits = tuple(filter(_hears_of_waits, observers))
        self._fixed_paths = fixed_paths

    def watch(self, request: Request, base_url: str, clock: Callable[[], float]) -> ObservedCall:
        """Follow one call."""
        what = operation(request, self._fixed_paths)
        # An id may open something by itself, and a path that a service names may hold a token.
        path = request.label or (what.partition(" ")[2] if request.sensitive else request.path)
        about = self._provider, what, request.method, base_url, path
        watch = ObservedCall(self._observers, self.log, clock, partial(Attempt, *about))
        if self._hear_of_waits:
            watch.hear_of_waits(self._hear_of_waits, partial(Queued, *about))
        return watch


class ObservedCall:
    """Follows one call: a context manager, in which :meth:`over` sees the attempts begin and :meth:`end` hears how they went.

    Args:
        observers: whom to tell.
        logger: for what is wrong with them.
        clock: monotonic seconds.
        attempt: makes one from its number and the seconds that it waited.
    """

    def __init__(
        self,
        observers: Sequence[Observer],
        logger: logging.Logger,
        clock: Callable[[], float],
        attempt: Callable[[int, float], Attempt],
    ) -> None:
        self._observers = observers
        self._logger = logger
        self._clock = clock
        self._make = attempt
        self._ready = clock()
        self._number = 0
        self._attempt: Attempt | None = None
        self._status: int | None = None
        self._duration: float | None = None
        self._hear_of_waits: Sequence[Observer] = ()
        self._make_queued: Callable[..., Queued]
        self._reasons: set[WaitReason] = set()

    @property
    def hears_of_waits(self) -> bool:
        """Whether anybody wants to know for what the call waits."""
        return bool(self._hear_of_waits)

    def hear_of_waits(self, observers: Sequence[Observer], queued: Callable[..., Queued]) -> None:
        """Tell these when the call waits for long.

        Args:
            observers: whom to tell.
            queued: makes the event of the reason, the seconds waited, the end, and how many wait.
        """
        self._hear_of_waits, self._make_queued = observers, queued

    def queued(
        self, reason: WaitReason, waited: float, until: datetime | None, waiting: int
    ) -> None:
        """The call waits for more than a second. Only the first time for each reason is told."""
        if not self._hear_of_waits or reason in self._reasons:
            return
        self._reasons.add(reason)
        event = self._make_queued(reason, waited, until, waiting)
        self._tell(
            event.operation,
            "queued",
            lambda observer: observer.queued(event),
            self._hear_of_waits,
        )

    def over(self, exchange: Callable[P, Awaitable[Response]]) -> Callable[P, Awaitable[Response]]:
        """An exchange that is seen. Its arguments are not looked at: they hold the credentials."""

        async def seen(*given: P.args, **named: P.kwargs) -> Response:
            # Not kept in this frame: an error that it passed through, and that an attempt then holds, holds the frame.
            self._start()
            began = self._clock()
            try:
                response = await exchange(*given, **named)
                self._status = response.status
                return response
            finally:
                self._duration = self._clock() - began
                # They hold the credentials, and reporters of errors print the variables of a frame.
                del given, named

        return seen

    def _start(self) -> None:
        self._number += 1
        self._status = self._duration = None
        self._attempt = attempt = self._make(self._number, max(0.0, self._clock() - self._ready))
        self._tell(attempt.operation, "started", lambda observer: observer.started(attempt))

    def end(self, error: BaseException | None, retry_in: float | None = None) -> None:
        """The attempt that was under way, if any, has failed with ``error``, or else succeeded."""
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return
        if error is not None and retry_in is not None:
            # Nobody else will see it; the frames that it came through hold the credentials.
            error.__traceback__ = None
        attempt.status, attempt.error, attempt.duration, attempt.retry_in = (
            self._status,
            error,
            self._duration,
            retry_in,
        )
        self._tell(attempt.operation, "ended", lambda observer: observer.ended(attempt))
        if retry_in is not None:
            self._ready = self._clock() + retry_in
            self._tell(attempt.operation, "retried", lambda observer: observer.retried(attempt))

    def _tell(
        self,
        operation: str,
        what: str,
        tell: Callable[[Observer], None],
        observers: Sequence[Observer] | None = None,
    ) -> None:
        for observer in self._observers if observers is None else observers:
            try:
                tell(observer)
            except Exception as error:  # noqa: BLE001 - it is the user's code
                names = type(observer).__qualname__, what, operation
                throttle = _throttle_of(observer, "observer")
                _log_failure(throttle, error, self._logger, self._clock(), _OBSERVER_FAILED, *names)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end(error)


def _hears_of_waits(observer: Observer) -> bool:
    return getattr(observer.queued, "__func__", None) is not Observer.queued


class _Log(Observer):
    """One line for each attempt."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def ended(self, attempt: Attempt) -> None:
        if self._logger.isEnabledFor(logging.DEBUG):
            self._logger.debug("%s", line(attempt))


def line(attempt: Attempt) -> str:
    """An attempt that ended, for the log. Of an error it says the class only: texts of services may say anything."""
    status = "" if attempt.status is None else f" {attempt.status}"
    error = "" if attempt.error is None else f" {type(attempt.error).__name__}"
    took = "" if attempt.duration is None else f" in {_duration(attempt.duration)}"
    waited = f", after {_duration(attempt.waited)} in line" if attempt.waited >= 0.01 else ""
    after = "; gives up" if error else ""
    if attempt.retry_in is not None:
        after = f"; again in {_duration(attempt.retry_in)}"
    return f"{attempt.provider}: {attempt.method} {attempt.path}, attempt {attempt.number}:{status}{error}{took}{waited}{after}"


def _duration(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def operation(request: Request, fixed_paths: Collection[str]) -> str:
    """What a request asks for, without the ids: ``POST /machines/{id}/start``.

    Words and ids take turns in a path, except where its beginning is one of ``fixed_paths``, which are two words:
    ``/agents/stats``.
    """
    parts = request.shown_path.split("/")
    first_id = 3 if "/".join(parts[:3]) in fixed_paths else 2
    parts[first_id::2] = ["{id}"] * len(parts[first_id::2])
    return f"{request.method} {'/'.join(parts)}"

"""Calls a client's observers, and writes its log, for each attempt of a call."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Final, ParamSpec, Self

from vcloud._core.hooks import log_failure
from vcloud._core.log import printable_logger
from vcloud._core.observe import Attempt, Observer, Queued, WaitReason
from vcloud._core.request import Request, Response

__all__ = ["ObservedCall", "Observers", "log_line", "operation"]

P = ParamSpec("P")

_OBSERVER_FAILED: Final = "%s.%s failed for %s; the call continues: %s%s"


class Observers:
    """The observers of one provider's client, and its log.

    A call is observed if ``observed``, or if ``log`` is enabled for DEBUG. The request loop checks
    both in place once for each call, because a function for it would double the cost.

    Args:
        provider: its name, which is also the last part of its logger's.
        observers: the user's.
        fixed_paths: see :func:`operation`.
    """

    def __init__(
        self, provider: str, observers: Sequence[Observer], fixed_paths: Collection[str]
    ) -> None:
        self.observed: bool = bool(observers)
        self.log: logging.Logger = printable_logger(f"vcloud.{provider}")
        self._provider = provider
        self._observers = (*observers, _DebugLog(self.log))
        # Observers without a method for it cost nothing.
        self._with_queued = tuple(filter(_overrides_queued, observers))
        self._fixed_paths = fixed_paths

    def watch(self, request: Request, base_url: str, clock: Callable[[], float]) -> ObservedCall:
        """Observe one call."""
        what = operation(request, self._fixed_paths)
        # An id alone may give access to something, and a path from a service may hold a token.
        path = request.label or (what.partition(" ")[2] if request.sensitive else request.path)
        about = self._provider, what, request.method, base_url, path
        call = ObservedCall(self._observers, self.log, clock, partial(Attempt, *about))
        if self._with_queued:
            call.hear_of_waits(self._with_queued, partial(Queued, *about))
        return call


class ObservedCall:
    """One call, as a context manager.

    :meth:`over` wraps the function that sends, and notices when an attempt begins. :meth:`end` is
    called when the outcome of an attempt is known.

    Args:
        observers: are called.
        logger: for what they raise.
        clock: monotonic seconds.
        attempt: makes an attempt of its number and the seconds that it waited.
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
        self._with_queued: Sequence[Observer] = ()
        self._make_queued: Callable[..., Queued]
        self._reasons: set[WaitReason] = set()

    @property
    def hears_of_waits(self) -> bool:
        """Whether an observer is called when the call waits."""
        return bool(self._with_queued)

    def hear_of_waits(self, observers: Sequence[Observer], queued: Callable[..., Queued]) -> None:
        """Call these observers when the call waits for long.

        Args:
            observers: are called.
            queued: makes the event of the reason, the seconds waited, the end of the wait, and the
                number of calls that wait.
        """
        self._with_queued, self._make_queued = observers, queued

    def queued(
        self, reason: WaitReason, waited: float, until: datetime | None, waiting: int
    ) -> None:
        """The call waits for more than a second. Observers are called once for each reason."""
        if not self._with_queued or reason in self._reasons:
            return
        self._reasons.add(reason)
        event = self._make_queued(reason, waited, until, waiting)
        self._call(
            self._with_queued,
            event.operation,
            "queued",
            lambda observer: observer.queued(event),
        )

    def over(self, exchange: Callable[P, Awaitable[Response]]) -> Callable[P, Awaitable[Response]]:
        """An observed exchange. Its arguments hold credentials, and are only passed on."""

        async def observed(*given: P.args, **named: P.kwargs) -> Response:
            # This frame has no variable for the attempt: an attempt holds its error, and the error
            # holds the frames that it passed through.
            self._start()
            began = self._clock()
            try:
                response = await exchange(*given, **named)
                self._status = response.status
                return response
            finally:
                self._duration = self._clock() - began
                # They hold credentials, and error reporters print the variables of a frame.
                del given, named

        return observed

    def _start(self) -> None:
        self._number += 1
        self._status = self._duration = None
        self._attempt = attempt = self._make(self._number, max(0.0, self._clock() - self._ready))
        self._call(
            self._observers,
            attempt.operation,
            "started",
            lambda observer: observer.started(attempt),
        )

    def end(self, error: BaseException | None, retry_in: float | None = None) -> None:
        """The attempt in flight, if any, has failed with ``error``, or else succeeded."""
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return
        if error is not None and retry_in is not None:
            # Only the log gets this error, and the frames of its traceback hold credentials.
            error.__traceback__ = None
        attempt.status, attempt.error = self._status, error
        attempt.duration, attempt.retry_in = self._duration, retry_in
        what = attempt.operation
        self._call(self._observers, what, "ended", lambda observer: observer.ended(attempt))
        if retry_in is not None:
            self._ready = self._clock() + retry_in
            self._call(self._observers, what, "retried", lambda observer: observer.retried(attempt))

    def _call(
        self,
        observers: Sequence[Observer],
        operation: str,
        method: str,
        call: Callable[[Observer], None],
    ) -> None:
        for observer in observers:
            try:
                call(observer)
            except Exception as error:  # noqa: BLE001 - it is the user's code
                log_failure(
                    observer,
                    "observer",
                    error,
                    logger=self._logger,
                    now=self._clock(),
                    form=_OBSERVER_FAILED,
                    names=(type(observer).__qualname__, method, operation),
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.end(error)


def _overrides_queued(observer: Observer) -> bool:
    return getattr(observer.queued, "__func__", None) is not Observer.queued


class _DebugLog(Observer):
    """Writes one line for each attempt."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def ended(self, attempt: Attempt) -> None:
        if self._logger.isEnabledFor(logging.DEBUG):
            self._logger.debug("%s", log_line(attempt))


def log_line(attempt: Attempt) -> str:
    """An attempt that ended, for the log.

    It names the class of an error, not its text, which may quote the service.
    """
    status = "" if attempt.status is None else f" {attempt.status}"
    error = "" if attempt.error is None else f" {type(attempt.error).__name__}"
    took = "" if attempt.duration is None else f" in {_duration(attempt.duration)}"
    waited = f", after waiting {_duration(attempt.waited)}" if attempt.waited >= 0.01 else ""
    after = "; gives up" if error else ""
    if attempt.retry_in is not None:
        after = f"; again in {_duration(attempt.retry_in)}"
    return (
        f"{attempt.provider}: {attempt.method} {attempt.path}, attempt {attempt.number}:"
        f"{status}{error}{took}{waited}{after}"
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def operation(request: Request, fixed_paths: Collection[str]) -> str:
    """What a request asks for, without ids: ``POST /machines/{id}/start``.

    Words and ids alternate in a path, except where its beginning is one of ``fixed_paths``, which
    are two words: ``/agents/stats``. A longer one of them has no id.
    """
    if request.shown_path in fixed_paths:
        return f"{request.method} {request.shown_path}"
    parts = request.shown_path.split("/")
    first_id = 3 if "/".join(parts[:3]) in fixed_paths else 2
    parts[first_id::2] = ["{id}"] * len(parts[first_id::2])
    return f"{request.method} {'/'.join(parts)}"

"""Observers, and the events that they get: attempts, and calls that wait.

:mod:`vcloud._core.observed_call` calls them. Neither module runs for a call without observers and
logging.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from inspect import iscoroutinefunction

import msgspec

from vcloud._core.model import PlainStruct
from vcloud.errors import ConfigurationError

__all__ = ["Attempt", "Observer", "Queued", "WaitReason", "check_observer"]


class Attempt(PlainStruct, msgspec.Struct, eq=False, weakref=True):
    """One attempt to send a request.

    It is the same object from its start to its end, so it can be a key, also of a
    ``WeakKeyDictionary``. It holds no credential, no body, and no part of the query. Do not change
    it.

    Attributes:
        provider: such as ``computers``.
        operation: the method and the path without ids: ``POST /machines/{id}/start``.
        method: the verb.
        base_url: the provider's address; for a WebSocket at the host's root, the host's.
        path: below it, with ids: ``/machines/100/start``. It has no ids when the request or its
            answer carries a secret.
        number: which attempt of its call, from 1.
        waited: seconds in the queue before it, for a slot, a limit or a login. The pause before a
            retry is not counted.
        status: of the answer; 101 for a WebSocket that was opened. None while there is no answer.
        error: why it failed; also for a refusal with HTTP status 200. A ``CancelledError`` when it
            was cancelled.
        duration: seconds from sending to the end of the answer; None while it is in flight.
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
        """Where it is sent, without the query."""
        return self.base_url + self.path


class WaitReason(StrEnum):
    """What a call waits for before it is sent."""

    #: ``concurrency`` requests are in flight.
    SLOT = "slot"
    #: A rate limit is used up: a configured one, or one that the service announces.
    RATE_LIMIT = "rate limit"
    #: The service refused a request and said when to come back, or another request tries first.
    PAUSE = "pause"
    #: This call or another one obtains a credential, or tries one for the first time.
    LOGIN = "login"
    #: It failed, and is sent again after a pause of the :class:`~vcloud.RetryPolicy`.
    RETRY = "retry"
    #: A limit that several processes share is used up, or its store has not answered yet.
    SHARED_BUDGET = "shared budget"
    #: The process has no file descriptor or port left for a connection.
    DESCRIPTORS = "descriptors"


class Queued(PlainStruct, msgspec.Struct, frozen=True, eq=False):
    """A call that waits for more than a second before it is sent, or sent again.

    Like an :class:`Attempt`, it holds no credential, no body, and no part of the query.

    Attributes:
        provider: such as ``computers``.
        operation: the method and the path without ids: ``POST /machines/{id}/start``.
        method: the verb.
        base_url: the provider's address; for a WebSocket at the host's root, the host's.
        path: below it, as in :class:`Attempt`.
        reason: what it waits for.
        waited: seconds for which it has waited so far; 0 when it was known from the beginning that
            it would wait for more than a second.
        until: when the wait ends at the earliest, by this machine's clock; None when that is not
            known, as for a slot.
        waiting: how many calls of this client wait for the same reason, including this one.
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
        """Where it will be sent, without the query."""
        return self.base_url + self.path


class Observer:
    """Is called for each attempt to send a request; for retries, logins and WebSocket upgrades too.

    Subclass it and override the methods that you need. They run in the event loop, in the task that
    sends, so they must be quick; to do more, put the event into a queue. What they raise is logged,
    one line a minute for each observer, and changes nothing for the call or for other observers.
    """

    def queued(self, event: Queued) -> None:
        """A call waits for more than a second.

        It is called once for each call and reason: when it is known that the wait will last for
        more than a second, otherwise when it has lasted for one (a tenth of a second later at
        most). It may run outside of the task that waits.
        """

    def started(self, attempt: Attempt) -> None:
        """An attempt is admitted and signed, and is sent now."""

    def ended(self, attempt: Attempt) -> None:
        """An attempt has its answer, or none will come. Each attempt that started also ends."""

    def retried(self, attempt: Attempt) -> None:
        """An attempt failed and ended, and another one follows in ``retry_in`` seconds."""


def check_observer(observer: object) -> None:
    """Refuse an observer that could not be called.

    Raises:
        ConfigurationError: it is not an Observer, or one of its methods is a coroutine function,
            which would not be awaited.
    """
    if not isinstance(observer, Observer):
        raise ConfigurationError(f"observers must be Observer objects, not {observer!r}")
    for method in (observer.queued, observer.started, observer.ended, observer.retried):
        if iscoroutinefunction(method):
            raise ConfigurationError(
                f"{type(observer).__name__}.{method.__name__} must be a plain function, not async"
            )

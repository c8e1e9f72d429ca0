"""The interface of stores that count shared limits: the question, the answer, and the queue."""

from __future__ import annotations

import asyncio
import contextlib
import math
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextvars import Context
from typing import Any, Final, NamedTuple

import msgspec

from vcloud._core.limits.fair_queueing import WaitTooLongError
from vcloud._core.tasks import cancel_and_wait
from vcloud._core.timing.clock import monotonic
from vcloud._core.timing.timeouts import timeout

#: How many requests of one event loop may ask a store at once.
MAX_CONCURRENT: Final = 10
#: Seconds that a store has for its answer.
STORE_TIMEOUT: Final = 5.0
#: Seconds that are added to a wait, because stores compare inclusively: a request that asks again
#: at the exact time would have to wait once more.
MARGIN: Final = 0.001


class Delay(NamedTuple):
    """How long a request has to wait. All zero: it was counted, and may be sent."""

    #: Seconds after which to ask again.
    retry_in: float
    #: Seconds for which the limit is used up for all processes. No request waits less.
    used_up: float
    #: Whether the store keeps places for it and for those that wait behind it.
    queued: bool = False


COUNTED: Final = Delay(0.0, 0.0)


class Claim(msgspec.Struct, frozen=True):
    """A request that asks to be counted."""

    #: How many may be admitted within one window.
    requests: int
    #: The length of the window in whole seconds.
    length: int
    #: The name of the limit. Requests with the same name are counted together.
    name: tuple[str, ...]
    #: Whether it ends something that costs money. It goes ahead of those that do not.
    urgent: bool = False
    #: How many requests of this process could be sent now, including this one.
    waiting: int = 0
    #: How many urgent requests of this process wait. They are not counted in ``waiting``.
    urgent_waiting: int = 0
    #: Seconds for which the limit may be used up. If it is used up for longer, this does not wait.
    max_wait: float = math.inf


class LocalQueue:
    """The requests of one event loop that wait for one limit. The first asks on behalf of all."""

    def __init__(self) -> None:
        #: Whether one of them asks, or sleeps until it asks again.
        self.busy = False
        #: How often the store was away, and the last error text.
        self.failures = 0
        self.failure = ""
        # Until when the limit is used up at least, in monotonic seconds.
        self._used_up_until = -math.inf
        # Those behind the first, each with its longest wait in seconds.
        self._waiting: OrderedDict[asyncio.Future[None], float] = OrderedDict()

    @contextlib.asynccontextmanager
    async def first(self, max_wait: float) -> AsyncIterator[None]:
        """Wait to be the first, in the order of arrival.

        Raises:
            WaitTooLongError: the first one found that the limit is used up for longer.
        """
        if self.busy:
            self.check(max_wait)
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[turn] = max_wait
            try:
                await turn
            except BaseException:
                self._waiting.pop(turn, None)
                # It became the first, and was cancelled at once: now the next one is the first.
                if turn.done() and not turn.cancelled() and turn.exception() is None:
                    self._hand_on()
                raise
        self.busy = True
        try:
            yield
        finally:
            self._hand_on()

    def check(self, max_wait: float) -> None:
        """Fail if it is known already that the limit is used up for longer than this may wait.

        Raises:
            WaitTooLongError: it is.
        """
        used_up = self._used_up_until - monotonic()
        if self.busy and used_up > max_wait:
            raise WaitTooLongError(used_up)

    def set_used_up(self, used_up: float) -> None:
        """Note how long the limit is used up (seconds). Fail requests that cannot wait so long."""
        self._used_up_until = monotonic() + used_up
        for turn, max_wait in self._waiting.items():
            if used_up > max_wait and not turn.done():
                turn.set_exception(WaitTooLongError(used_up))

    def _hand_on(self) -> None:
        while self._waiting:
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():
                turn.set_result(None)
                return
        self.busy = False


class Counter(ABC):
    """How one event loop asks a store.

    Args:
        failures: the errors of the store's client.
        pool: the connections, if this closes them.
    """

    #: Whether processes take turns, so that the store must know how many requests wait.
    takes_turns = False

    def __init__(self, failures: tuple[type[Exception], ...], pool: Any = None) -> None:
        #: The errors that mean that the store cannot be reached or does not count.
        self.failures: tuple[type[Exception], ...] = (
            OSError,
            # Clients of stores raise these if the peer that answers is not a store.
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
            *failures,
        )
        self._pool = pool
        # Without this limit the pool could run out of connections, which looks like a store that is
        # away.
        self._connections = asyncio.Semaphore(MAX_CONCURRENT)
        self._background: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._queues: dict[tuple[object, ...], LocalQueue] = {}

    @abstractmethod
    async def take(self, claim: Claim) -> Delay:
        """Count one request, if the limit allows it.

        Raises:
            Exception: one of :attr:`failures`.
            ConfigurationError: the user's storage belongs to another event loop.
        """

    async def leave(self, claim: Claim) -> None:  # noqa: B027 - nothing to do without turns
        """Tell the store how many requests wait, without counting one.

        Raises:
            Exception: one of :attr:`failures`.
        """

    def queue(self, key: tuple[object, ...]) -> LocalQueue:
        """This event loop's queue for one limit and either urgent or other requests."""
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = LocalQueue()
        return queue

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Occupy one of a limited number of connections."""
        async with self._connections:
            yield

    def in_background(self, work: Callable[[], Any]) -> None:
        """Do something in the background, unless something is done there already.

        :meth:`end_background` cancels it.
        """
        if not self._background:
            # In an empty context, because it does not belong to the caller.
            task = asyncio.create_task(work(), context=Context())
            if not task.done():  # an eager task may be done
                self._background.add(task)
                task.add_done_callback(self._background.discard)

    def later(self, seconds: float, work: Callable[[], Any]) -> None:
        """Do something in the background after some seconds, unless that is planned already.

        This is a timer, because a sleeping task would outlive a loop that is about to end.
        """
        loop = asyncio.get_running_loop()
        if self._timer is None or self._timer.when() <= loop.time():
            self._timer = loop.call_later(seconds, self.in_background, work, context=Context())

    async def end_background(self) -> None:
        """Cancel the work in the background."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await cancel_and_wait(self._background)

    async def aclose(self) -> None:
        """Close the idle connections, if this owns them. The next use makes new ones."""
        try:
            await self.end_background()
        finally:
            if self._pool is not None:
                # If this fails or takes too long, the connection is lost, which does no harm.
                with contextlib.suppress(*self.failures):
                    async with timeout(STORE_TIMEOUT):
                        # A connection in use belongs to another client, which closes it later.
                        await self._pool.disconnect(inuse_connections=False)

"""What a store is asked when a configured limit is counted in it, and what it answers."""

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

#: How many may ask a store at once, in one event loop.
MAX_CONCURRENT: Final = 10
#: Seconds for which a store may be silent.
STORE_TIMEOUT: Final = 5.0
#: Seconds; a store's own comparison is inclusive, and an exact wake-up would come in vain.
MARGIN: Final = 0.001


class Delay(NamedTuple):
    """How long a request has to wait. All zero: it was counted, and may go."""

    #: Seconds after which to ask again.
    turn: float
    #: Seconds for which the limit is used up, whoever asks: it is waited for at least as long.
    used_up: float
    #: The store keeps a place for it, and places for those that wait behind it.
    in_line: bool = False


COUNTED: Final = Delay(0.0, 0.0)


class Claim(msgspec.Struct, frozen=True):
    """One request that asks to be counted."""

    #: How many may be let in within one window.
    requests: int
    #: How long the window is, in whole seconds.
    length: int
    #: Whose limit it is; those with the same name are counted together.
    name: tuple[str, ...]
    #: It ends something that costs money, and goes ahead of those that do not.
    urgent: bool = False
    #: How many of this process could go now if the limit allowed it, this one included.
    waiting: int = 0
    #: How many of them are urgent; they are not among the others.
    urgent_waiting: int = 0
    #: Seconds for which the limit may be used up; a request that has less patience will not wait.
    patience: float = math.inf


class LocalQueue:
    """Those of one event loop that wait for one limit: the first of them asks, for all of them."""

    def __init__(self) -> None:
        #: Whether one of them asks, or sleeps until it asks again.
        self.busy = False
        #: How often the store was away, and what was said the last time.
        self.failures = 0
        self.failure = ""
        # Until when the limit is used up at least, in monotonic seconds.
        self._used_up_until = -math.inf
        # Those behind the first, each with its patience in seconds.
        self._waiting: OrderedDict[asyncio.Future[None], float] = OrderedDict()

    @contextlib.asynccontextmanager
    async def first(self, patience: float) -> AsyncIterator[None]:
        """Wait to be the first, in the order of arrival.

        Raises:
            TooLongError: the limit is used up for longer than the patience, as the first learns.
        """
        if self.busy:
            self.check(patience)
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[turn] = patience
            try:
                await turn
            except BaseException:
                self._waiting.pop(turn, None)
                # Whoever is given the turn while it is cancelled passes it on.
                if turn.done() and not turn.cancelled() and turn.exception() is None:
                    self._hand_on()
                raise
        self.busy = True
        try:
            yield
        finally:
            self._hand_on()

    def check(self, patience: float) -> None:
        """Refuse to wait behind the first, as far as it is known for how long.

        Raises:
            TooLongError: the limit is used up for longer than the patience.
        """
        used_up = self._used_up_until - monotonic()
        if self.busy and used_up > patience:
            raise WaitTooLongError(used_up)

    def learn(self, used_up: float) -> None:
        """The limit is used up for so many seconds. Who has less patience need not wait."""
        self._used_up_until = monotonic() + used_up
        for turn, patience in self._waiting.items():
            if used_up > patience and not turn.done():
                turn.set_exception(WaitTooLongError(used_up))

    def _hand_on(self) -> None:
        while self._waiting:
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():
                turn.set_result(None)
                return
        self.busy = False


class Counter(ABC):
    """One event loop's way to the store.

    Args:
        failures: what the client of the store raises.
        pool: the connections, if they are ours to close.
    """

    #: Whether the processes take turns, so that the store has to know how many wait.
    takes_turns = False

    def __init__(self, failures: tuple[type[Exception], ...], pool: Any = None) -> None:
        #: What it raises when the store cannot be reached, or does not count.
        self.failures: tuple[type[Exception], ...] = (
            OSError,
            # What the clients of stores raise when a peer that is no store answers nonsense.
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
            *failures,
        )
        self._pool = pool
        # A pool that has no connection left would pass for a store that is away.
        self._connections = asyncio.Semaphore(MAX_CONCURRENT)
        self._background: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._lines: dict[tuple[object, ...], LocalQueue] = {}

    @abstractmethod
    async def take(self, claim: Claim) -> Delay:
        """Count one request, if the limit allows it.

        Raises:
            Exception: one of :attr:`failures`.
            ConfigurationError: the user's storage belongs to another event loop.
        """

    async def leave(self, claim: Claim) -> None:  # noqa: B027 - nothing to do without turns
        """Tell the store how many wait; nothing is counted.

        Raises:
            Exception: one of :attr:`failures`.
        """

    def line(self, key: tuple[object, ...]) -> LocalQueue:
        """The line of those that wait in this event loop for one limit, urgent or not."""
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = LocalQueue()
        return line

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """One of a limited number of connections."""
        async with self._connections:
            yield

    def in_background(self, work: Callable[[], Any]) -> None:
        """Do something that nobody waits for, unless something is being done already.

        :meth:`end_background` ends it.
        """
        if not self._background:
            # In no context of the caller's, because it is not the caller's work.
            task = asyncio.create_task(work(), context=Context())
            if not task.done():  # an eager task may be
                self._background.add(task)
                task.add_done_callback(self._background.discard)

    def later(self, seconds: float, work: Callable[[], Any]) -> None:
        """Do something in the background after a while, unless that is planned already.

        A timer, because a task that only sleeps would outlive a loop that is about to end.
        """
        loop = asyncio.get_running_loop()
        if self._timer is None or self._timer.when() <= loop.time():
            self._timer = loop.call_later(seconds, self.in_background, work, context=Context())

    async def end_background(self) -> None:
        """End what is done in the background."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await cancel_and_wait(self._background)

    async def aclose(self) -> None:
        """Close the connections that are ours and idle. The next use makes new ones."""
        try:
            await self.end_background()
        finally:
            if self._pool is not None:
                # Closing that fails, or takes too long, harms nobody: the connection is gone then.
                with contextlib.suppress(*self.failures):
                    async with timeout(STORE_TIMEOUT):
                        # One that is in use is another client's, which closes it at its own end.
                        await self._pool.disconnect(inuse_connections=False)

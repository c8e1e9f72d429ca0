"""Where configured limits are counted: in a store that several processes use, and in this process.

Connections belong to the event loop that made them, so each loop has its own :class:`Counter`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from vcloud._core.cleanup import end
from vcloud.errors import ConfigurationError

if TYPE_CHECKING:
    from limits.aio.storage import Storage

#: How many may ask a store at once, in one event loop.
_AT_ONCE: Final = 10
#: Seconds for which a store may be silent.
PATIENCE: Final = 5.0


class Window:
    """What this process let in under one limit. Times are monotonic seconds.

    Args:
        requests: how many may be let in within one window.
        length: how long the window is, in seconds.
    """

    __slots__ = ("_length", "_times")

    def __init__(self, requests: int, length: float) -> None:
        # The first is the one that has to leave the window before another may come.
        self._times: deque[float] = deque(maxlen=requests)
        self._length = length

    def delay(self, now: float) -> float:
        """Seconds until one more may go; 0: now."""
        times = self._times
        return max(0.0, times[0] + self._length - now) if len(times) == times.maxlen else 0.0

    def take(self, now: float) -> None:
        """One goes."""
        self._times.append(now)


class Counter:
    """One event loop's way to the store.

    Args:
        storage: an asyncio storage of the `limits` library.
        pool: the connections, if they are ours to close.
        given: the storage is the user's own.

    Raises:
        ConfigurationError: it is not asyncio's, or cannot count moving windows.
    """

    def __init__(self, storage: Storage, pool: Any = None, *, given: bool = False) -> None:
        from limits import RateLimitItemPerSecond  # noqa: PLC0415 - only those who share need it
        from limits.aio.strategies import MovingWindowRateLimiter  # noqa: PLC0415

        try:
            self._limiter = MovingWindowRateLimiter(storage)
        except (NotImplementedError, AssertionError):
            raise ConfigurationError(
                "the store of a SharedBudget must be asyncio's, and able to count moving windows"
            ) from None
        self._item = RateLimitItemPerSecond
        self._pool = pool
        self._given = given
        # A pool that has no connection left would pass for a store that is away.
        self._line = asyncio.Semaphore(_AT_ONCE)
        self._background: set[asyncio.Task[None]] = set()
        failures = storage.base_exceptions
        #: What it raises when the store cannot be reached, or does not count.
        self.failures: tuple[type[Exception], ...] = (
            OSError,
            *(failures if isinstance(failures, tuple) else (failures,)),
        )

    async def take(self, requests: int, length: int, name: tuple[str, ...]) -> float:
        """Count one request, if the limit allows it.

        Args:
            requests: how many may be let in within one window.
            length: how long the window is, in seconds.
            name: whose limit it is; those with the same name are counted together.

        Returns:
            0 when it was counted, or else the seconds until one more may go, which may be very few.

        Raises:
            Exception: one of :attr:`failures`.
            ConfigurationError: the user's storage belongs to another event loop.
        """
        item = self._item(requests, length, namespace="vcloud")
        try:
            async with self._line:
                if await self._limiter.hit(item, *name):
                    return 0.0
                window = await self._limiter.get_window_stats(item, *name)
        except RuntimeError as error:
            # What asyncio raises where something is used in one loop that belongs to another.
            if not self._given:
                raise
            raise ConfigurationError(f"{_ONE_LOOP} ({error})") from None
        # Whatever the store holds: the oldest of a moving window leaves it within its length.
        return min(max(GRAIN, window.reset_time - time.time() + GRAIN), length + GRAIN)

    def in_background(self, work: Callable[[], Any]) -> None:
        """Do something that nobody waits for, unless something is being done already.

        :meth:`aclose` ends it.
        """
        if not self._background:
            # In no context of the caller's, because it is not the caller's work.
            task = asyncio.create_task(work(), context=Context())
            if not task.done():  # an eager task may be
                self._background.add(task)
                task.add_done_callback(self._background.discard)

    async def aclose(self) -> None:
        """Close the connections that are ours and idle. The next use makes new ones."""
        try:
            await end(self._background)
        finally:
            if self._pool is not None:
                # Closing that fails, or takes too long, harms nobody: the connection is gone then.
                with contextlib.suppress(*self.failures):
                    async with asyncio.timeout(PATIENCE):
                        # One that is in use is another client's, which closes it at its own end.
                        await self._pool.disconnect(inuse_connections=False)


#: Seconds; a store's own comparison is inclusive, and an exact wake-up would come in vain.
GRAIN: Final = 0.001


class Counters:
    """The counters of all event loops, whichever threads they run in.

    Args:
        make: makes one, with connections of its own.
        exclusive: what it makes can serve one event loop at a time only.
    """

    def __init__(self, make: Callable[[], Counter], *, exclusive: bool = False) -> None:
        self._make = make
        self._exclusive = exclusive
        self._lock = threading.Lock()
        # A mistake in the configuration is found here. The first loop gets this one.
        self._spare: Counter | None = make()
        self._of: WeakKeyDictionary[asyncio.AbstractEventLoop, Counter] = WeakKeyDictionary()

    def here(self) -> Counter:
        """The counter of the running loop.

        Raises:
            ConfigurationError: it can serve one loop only, and another one uses it.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            counter = self._of.get(loop)
            if counter is None:
                # Its connections may refer to the loop, and so keep it from being collected.
                for other in [other for other in self._of if other.is_closed()]:
                    del self._of[other]
                if self._exclusive and self._of:
                    raise ConfigurationError(_ONE_LOOP)
                counter, self._spare = self._spare or self._make(), None
                self._of[loop] = counter
        return counter

    async def aclose(self) -> None:
        """Close the idle connections of the running loop, and those of no other."""
        with self._lock:
            counter = self._of.get(asyncio.get_running_loop())
        if counter is not None:
            await counter.aclose()

    def forked(self) -> None:
        """Leave the connections to the parent process.

        Closing them would take them out of the epoll that both processes share.
        """
        _KEPT.extend(self._of.values())
        self._of = WeakKeyDictionary()
        # Another thread may have held it when the process forked.
        self._lock = threading.Lock()


_ONE_LOOP = (
    "this SharedBudget counts in a storage object that another event loop uses; for several loops "
    "or threads give it an address such as redis://localhost:6379"
)
#: Counters of a parent process.
_KEPT: Final[list[Counter]] = []


def counters(store: str | Storage) -> Counters | None:
    """What counts in this store; None for one that counts within this process.

    Args:
        store: an address, or a storage of the user's own.

    Raises:
        ConfigurationError: a library is not installed, the address is invalid, or the store cannot
            count moving windows.
    """
    if not isinstance(store, str):
        _require_limits()
        return Counters(lambda: Counter(store, given=True), exclusive=True)
    plain = store.removeprefix("async+")
    if plain.startswith("memory://"):
        return None
    _require_limits()
    if plain.startswith(("redis://", "rediss://", "unix://")):
        return Counters(lambda: _redis(plain))
    return Counters(lambda: _other(plain))


def _require_limits() -> None:
    try:
        import limits  # noqa: F401, PLC0415
    except ImportError:
        raise ConfigurationError(
            "a SharedBudget needs the extra: pip install 'vcloud-sdk[redis]'"
        ) from None


def _redis(address: str) -> Counter:
    try:
        from redis.asyncio import ConnectionPool  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError(
            "this store needs the extra: pip install 'vcloud-sdk[redis]'"
        ) from None
    from limits.aio.storage import RedisStorage  # noqa: PLC0415

    # A pool of our own, because the storage has no way to close the one that it makes.
    try:
        # Our own clock runs over all of it. With a timeout for each command, redis-py uses
        # asyncio.wait_for, which before Python 3.12 loses a cancellation in the moment of success.
        pool: Any = ConnectionPool.from_url(
            address, socket_timeout=None, socket_connect_timeout=PATIENCE
        )
    except ValueError:
        # Whose words may hold a part of the password: what is before a slash passes for the port.
        raise ConfigurationError("the store of a SharedBudget is no valid address") from None
    return Counter(
        RedisStorage("redis://", implementation="redispy", connection_pool=pool), pool=pool
    )


def _other(address: str) -> Counter:
    from limits.errors import ConfigurationError as UnknownStoreError  # noqa: PLC0415
    from limits.storage import storage_from_string  # noqa: PLC0415

    try:
        storage: Any = storage_from_string(f"async+{address}")
    except UnknownStoreError:
        scheme = address.partition("://")[0] if "://" in address else "?"
        raise ConfigurationError(
            f"a SharedBudget cannot count in a {scheme!r} store: "
            "give it an address such as redis://localhost:6379"
        ) from None
    return Counter(storage)

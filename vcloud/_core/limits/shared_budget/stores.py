"""The stores in which several processes count configured limits together.

Connections belong to the event loop that made them, so each loop has its own :class:`Counter`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from vcloud._core.limits.shared_budget.counter import COUNTED, MARGIN, Claim, Counter, Delay
from vcloud._core.limits.shared_budget.redis_store import redis_counter
from vcloud.errors import ConfigurationError

if TYPE_CHECKING:
    from limits.aio.storage import Storage


class LimitsCounter(Counter):
    """How one event loop asks a storage of the `limits` library.

    It counts by the wall clock of each process, first come first served.

    Args:
        storage: an asyncio storage.
        given: the storage is the user's own.

    Raises:
        ConfigurationError: it is not an asyncio storage, or cannot count moving windows.
    """

    def __init__(self, storage: Storage, *, given: bool = False) -> None:
        from limits import RateLimitItemPerSecond  # noqa: PLC0415 - only those who share need it
        from limits.aio.strategies import MovingWindowRateLimiter  # noqa: PLC0415

        try:
            self._limiter = MovingWindowRateLimiter(storage)
        except (NotImplementedError, AssertionError):
            raise ConfigurationError(
                "the store of a SharedBudget must be an asyncio storage that counts moving windows"
            ) from None
        failures = storage.base_exceptions
        super().__init__(failures if isinstance(failures, tuple) else (failures,))
        self._item = RateLimitItemPerSecond
        self._given = given

    async def take(self, claim: Claim) -> Delay:
        item = self._item(claim.requests, claim.length, namespace="vcloud")
        try:
            async with self.connected():
                if await self._limiter.hit(item, *claim.name):
                    return COUNTED
                window = await self._limiter.get_window_stats(item, *claim.name)
        except RuntimeError as error:
            # asyncio raises it if something of another loop is used.
            if not self._given:
                raise
            raise ConfigurationError(f"{_ONE_LOOP} ({error})") from None
        # Bounded, whatever the store says: the oldest request leaves a window within its length.
        wait = min(max(MARGIN, window.reset_time - time.time() + MARGIN), claim.length + MARGIN)
        return Delay(wait, wait)


class Counters:
    """The counters of all event loops, whichever threads they run in.

    Args:
        make: makes a counter with its own connections.
        exclusive: its counters can serve only one event loop at a time.
    """

    def __init__(self, make: Callable[[], Counter], *, exclusive: bool = False) -> None:
        self._make = make
        self._exclusive = exclusive
        self._lock = threading.Lock()
        # Made at once, to find mistakes in the configuration. The first loop gets this one.
        self._spare: Counter | None = make()
        self._of: WeakKeyDictionary[asyncio.AbstractEventLoop, Counter] = WeakKeyDictionary()

    def here(self) -> Counter:
        """The counter of the running loop.

        Raises:
            ConfigurationError: the store can serve one loop only, and another loop uses it.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            counter = self._of.get(loop)
            if counter is None:
                # Connections may refer to their loop, and so keep it in memory.
                for other in [other for other in self._of if other.is_closed()]:
                    del self._of[other]
                if self._exclusive and self._of:
                    raise ConfigurationError(_ONE_LOOP)
                counter, self._spare = self._spare or self._make(), None
                self._of[loop] = counter
        return counter

    def used_here(self) -> Counter | None:
        """The counter of the running loop, if it has one."""
        with self._lock:
            return self._of.get(asyncio.get_running_loop())

    def forked(self) -> None:
        """Leave the connections to the parent process.

        Closing them would remove them from the epoll object that both processes share.
        """
        _KEPT.extend(self._of.values())
        self._of = WeakKeyDictionary()
        # Another thread may have held it when the process forked.
        self._lock = threading.Lock()


_ONE_LOOP = (
    "this SharedBudget counts in a storage object that another event loop uses; for several loops "
    "or threads give it an address such as redis://localhost:6379"
)
#: Counters of the parent process, which are kept so that nothing closes them.
_KEPT: Final[list[Counter]] = []


def counters(store: str | Storage) -> Counters | None:
    """The counters for this store; None for a store within this process.

    Args:
        store: an address, or a storage of the user's own.

    Raises:
        ConfigurationError: a library is not installed, the address is invalid, or the store cannot
            count moving windows.
    """
    if not isinstance(store, str):
        _require_limits()
        return Counters(lambda: LimitsCounter(store, given=True), exclusive=True)
    plain = store.removeprefix("async+")
    if plain.startswith("memory://"):
        return None
    if plain.startswith(("redis://", "rediss://", "unix://")):
        return Counters(lambda: redis_counter(plain))
    _require_limits()
    return Counters(lambda: _other(plain))


def _require_limits() -> None:
    try:
        import limits  # noqa: F401, PLC0415
    except ImportError:
        raise ConfigurationError(
            "a SharedBudget needs the extra: pip install 'vcloud-sdk[redis]'"
        ) from None


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
    return LimitsCounter(storage)

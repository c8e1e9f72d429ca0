"""A rate budget that several processes share, because a provider counts the account and not the process."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any

from vcloud._core.admission import TooLongError
from vcloud._core.ratelimit import RateLimit
from vcloud._core.secret import Secretive, concealing
from vcloud.errors import ConfigurationError, ConnectError

if TYPE_CHECKING:
    from limits.aio.storage import Storage

#: Seconds for which a store may be silent.
_PATIENCE = 5.0


class SharedBudget(Secretive):
    """Counts configured rate limits in a store, together with every other process that uses the same.

    ::

        Endpoint(auth=..., rate_limits=[RateLimit(600, per=60)], shared_budget=SharedBudget("redis://localhost:6379"))

    It counts a moving window with the `limits` library: no more than the limit in *any* ``per`` seconds, so never twice the
    limit around the turn of a minute. A second is added to the window, because requests are counted when they leave and the
    service counts them when they arrive, some later than others; of a minute that leaves 98 % to use. The processes' clocks
    must agree. What was let in counts even if it is cancelled before it is sent. A limit that the service announces itself
    (StreamSpace) needs no store: its answers count all processes.

    Args:
        store: a Redis address (``redis://``, ``rediss://``, ``unix://``; needs ``vcloud-sdk[redis]``), another address that
            the `limits` library knows (``async+memory://`` counts within this process), or one of its asyncio storages,
            which is then yours to close.
        account: whose budget it is; those who name the same account share it.

    Raises:
        ConfigurationError: the libraries are not installed, or the store cannot count moving windows.
    """

    @concealing
    def __init__(self, store: str | Storage, *, account: str = "default") -> None:
        try:
            from limits import RateLimitItemPerSecond  # noqa: PLC0415 - only those who share need it
            from limits.aio.strategies import MovingWindowRateLimiter  # noqa: PLC0415
        except ImportError:
            raise ConfigurationError(
                "a SharedBudget needs the extra: pip install 'vcloud-sdk[redis]'"
            ) from None
        self._item = RateLimitItemPerSecond
        self._account = account
        self._pool: Any = None
        self._storage = self._connected(store) if isinstance(store, str) else store
        failures = self._storage.base_exceptions
        self._failures: tuple[type[Exception], ...] = (
            OSError,
            *(failures if isinstance(failures, tuple) else (failures,)),
        )
        try:
            self._limiter = MovingWindowRateLimiter(self._storage)
        except (NotImplementedError, AssertionError):
            raise ConfigurationError(
                "the store of a SharedBudget must be asyncio's, and able to count moving windows"
            ) from None

    def _connected(self, address: str) -> Storage:
        from limits.errors import ConfigurationError as UnknownStoreError  # noqa: PLC0415
        from limits.storage import storage_from_string  # noqa: PLC0415

        plain = address.removeprefix("async+")
        if plain.startswith(("redis://", "rediss://", "unix://")):
            try:
                from redis.asyncio import ConnectionPool  # noqa: PLC0415
            except ImportError:
                raise ConfigurationError(
                    "this store needs the extra: pip install 'vcloud-sdk[redis]'"
                ) from None
            from limits.aio.storage import RedisStorage  # noqa: PLC0415

            # A pool of our own, because the storage has no way to close the one that it makes.
            try:
                self._pool = ConnectionPool.from_url(
                    plain, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE
                )
            except ValueError:
                # Whose words may hold a part of the password: what stands before a slash in it is taken for the port.
                raise ConfigurationError(
                    "the store of a SharedBudget is no valid address"
                ) from None
            return RedisStorage("redis://", implementation="redispy", connection_pool=self._pool)
        try:
            return storage_from_string(f"async+{plain}")  # type: ignore[return-value]
        except UnknownStoreError:
            raise ConfigurationError(
                f"a SharedBudget cannot count in a {address.partition('://')[0] if '://' in address else '?'!r} store: "
                "give it an address such as redis://localhost:6379"
            ) from None

    async def acquire(self, provider: str, rule: RateLimit, patience: float) -> None:
        """Wait until one more request may go, and count it.

        Args:
            provider: whose limit it is.
            rule: the limit.
            patience: seconds that it may be used up for.

        Raises:
            TooLongError: it is used up for longer.
            ConnectError: the store cannot be reached; nothing was sent.
        """
        item = self._item(rule.requests, math.ceil(rule.per + _TRAVEL), namespace="vcloud")
        name = (self._account, provider, rule.bucket)
        try:
            while not await self._limiter.hit(item, *name):
                window = await self._limiter.get_window_stats(item, *name)
                wait = max(0.0, window.reset_time - time.time())
                if wait > patience:
                    raise TooLongError(wait)
                # A little later than the clocks say: others wait for the same moment, and clocks differ.
                await asyncio.sleep(wait + _GRAIN)
        except self._failures as error:
            raise ConnectError(
                f"the store of the shared budget fails ({type(error).__name__}: {error}); nothing was sent"
            ) from None

    async def aclose(self) -> None:
        """Close the connections that were made here and are idle. The next use makes new ones."""
        if self._pool is not None:
            # One that is in use is another client's, which closes it at its own end.
            await self._pool.disconnect(inuse_connections=False)


#: Seconds by which two requests may differ in how long they take to arrive.
_TRAVEL = 1.0
#: Seconds; the store's own comparison is inclusive, and an exact wake-up would come in vain.
_GRAIN = 0.001

"""The token store in Redis, for the processes of several machines."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from vcloud._core.redaction.secretive import Secretive, concealing
from vcloud._core.timing.timeouts import timeout
from vcloud.auth.token_store.records import Record
from vcloud.auth.token_store.store import LOCK_LASTS, Found, StoreAccess, TokenStore
from vcloud.errors import ConfigurationError

if TYPE_CHECKING:
    from redis.asyncio import Redis

#: Deletes a key if it has this value.
_DELETE_IF: Final = """
if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end
return 0
"""
#: Lets a key last for so many milliseconds if it has this value.
_KEEP_IF: Final = """
if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("PEXPIRE", KEYS[1], ARGV[2]) end
return 0
"""
#: Seconds for which a token is kept whose end the service did not say.
_UNKNOWN_LIFE: Final = 86_400.0
#: Seconds for giving up a lock and a connection. If that fails, both end by themselves.
_CLOSE_TIMEOUT: Final = 1.0
#: Milliseconds in a second.
_MS: Final = 1_000


class RedisTokenStore(Secretive, TokenStore):
    """Tokens of logins in Redis (or Valkey), for the processes of several machines.

    ::

        BearerAuth.login("admin", password, store=RedisTokenStore("rediss://redis.example.com"))

    It needs ``vcloud-sdk[redis]``. However many processes need a token, one logs in, and the others
    wait for it; when it shows no life for 10 seconds, another one logs in. A token that the service
    refuses is removed for all. It ends in Redis when it ends at the service, and after a day if the
    service does not say when. Passwords are not stored. Beside each token is a slow hash of its
    password with a random salt (scrypt): whoever has another password gets no token, and logs in.
    **Whoever may read the keys may use the tokens**, so use a password and TLS (``rediss://``).

    While Redis cannot be reached, or does not answer within 2 seconds, this process logs in by
    itself. The logger ``vcloud.auth`` gets one WARNING, and one INFO when it works again.

    Args:
        redis: an address (``redis://``, ``rediss://``, ``unix://``), or a client of your own
            (``redis.asyncio.Redis``), which is then yours to close and serves one event loop. With
            an address, each login has a connection of its own, which is closed after it.
        prefix: what its keys begin with. Each goes on with a hash of base URL and user name.

    Raises:
        ConfigurationError: the library is not installed, or the address or the client is not one.
    """

    @concealing
    def __init__(self, redis: str | Redis, *, prefix: str = "vcloud:tokens:") -> None:
        super().__init__()
        if not isinstance(prefix, str):
            raise ConfigurationError(f"prefix must be a string, not {prefix!r:.80}")
        self._prefix = prefix
        self._address = redis if isinstance(redis, str) else ""
        self._client: Any = None if isinstance(redis, str) else _checked(redis)
        if self._client is None:
            # Made at once, to find mistakes in the address. It has no connection yet.
            _connect(self._address)

    @property
    def place(self) -> str:
        return "in Redis"

    @contextlib.asynccontextmanager
    async def opened(self, key: str) -> AsyncIterator[StoreAccess]:
        own = self._client is None
        client = _connect(self._address) if own else self._client
        access = _RedisAccess(client, f"{self._prefix}{key}", own=own)
        try:
            yield access
        except GeneratorExit:
            raise  # the loop is closed: nothing can be awaited any more
        except BaseException:
            await access.close()
            raise
        else:
            await access.close()


class _RedisAccess(StoreAccess):
    """Access to one token in Redis.

    Args:
        client: redis-py's.
        key: the key of the token.
        own: close the client afterwards.
    """

    def __init__(self, client: Any, key: str, *, own: bool) -> None:
        from redis.exceptions import RedisError  # noqa: PLC0415 - only those who share need it

        # A peer that is not Redis makes redis-py raise the others.
        self.failures = (OSError, AttributeError, LookupError, TypeError, ValueError, RedisError)
        if not own:
            # asyncio raises it if the user's client serves another loop.
            self.failures += (RuntimeError,)
        self._client = client
        self._own = own
        self._key = key
        self._lock = f"{key}:login"
        self._owner: str | None = None

    async def read(self) -> Found | None:
        value = await self._client.get(self._key)
        left = await self._client.pttl(self._key)
        if value is None or left == _GONE:
            return None
        try:
            record = msgspec.json.decode(value, type=Record)
        except msgspec.MsgspecError:
            return None
        # The server's clock says how long it lasts.
        return Found(record, 0.0 if left < 0 else record.left - left / _MS)

    async def write(self, record: Record) -> None:
        left = _UNKNOWN_LIFE if record.life is None else record.left
        value = msgspec.json.encode(record)
        await self._client.set(self._key, value, px=max(1, int(left * _MS)))

    async def drop(self, token: str) -> None:
        value = await self._client.get(self._key)
        if value is None:
            return
        with contextlib.suppress(msgspec.MsgspecError):
            if msgspec.json.decode(value, type=Record).token != token:
                return
        await self._client.eval(_DELETE_IF, 1, self._key, value)

    async def try_lock(self) -> bool:
        if self._owner is None:
            # Before the answer: if that is lost, :meth:`close` gives the lock up.
            owner, lasts = secrets.token_hex(16), int(LOCK_LASTS * _MS)
            self._owner = owner
            if not await self._client.set(self._lock, owner, nx=True, px=lasts):
                self._owner = None
        return self._owner is not None

    async def keep_lock(self) -> None:
        if self._owner is not None:
            lasts = int(LOCK_LASTS * _MS)
            await self._client.eval(_KEEP_IF, 1, self._lock, self._owner, lasts)

    async def close(self) -> None:
        """Give up the lock and the connection. Does not fail."""
        owner, self._owner = self._owner, None
        with contextlib.suppress(*self.failures):
            async with timeout(_CLOSE_TIMEOUT):
                if owner is not None:
                    await self._client.eval(_DELETE_IF, 1, self._lock, owner)
        if self._own:
            with contextlib.suppress(*self.failures):
                async with timeout(_CLOSE_TIMEOUT):
                    await self._client.aclose()


#: What Redis answers for the rest of the life of a key that it does not have.
_GONE: Final = -2


def _connect(address: str) -> Any:
    """A client with its own connections.

    Raises:
        ConfigurationError: the library is not installed, or the address is invalid.
    """
    library = _library()
    from redis.asyncio.retry import Retry  # noqa: PLC0415 - as there
    from redis.backoff import NoBackoff  # noqa: PLC0415

    try:
        # No timeout for each command, because the whole question has one. redis-py would use
        # asyncio.wait_for, which before Python 3.12 loses a cancellation that arrives with the
        # result. No retries either: a caller waits for the answer.
        return library.Redis.from_url(
            address,
            socket_timeout=None,
            socket_connect_timeout=None,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:
        # Without its text: what is before a slash counts as the port, and may be in the password.
        raise ConfigurationError(
            "the address of a RedisTokenStore is invalid: it must be like redis://localhost:6379"
        ) from None


def _checked(client: object) -> object:
    """A client of the user's own.

    Raises:
        ConfigurationError: it is not one of redis.asyncio.
    """
    library = _library()
    if not isinstance(client, library.Redis | library.RedisCluster):
        raise ConfigurationError(
            "a RedisTokenStore needs an address such as redis://localhost:6379, or a client of "
            f"redis.asyncio, not {type(client).__module__}.{type(client).__name__}"
        )
    return client


def _library() -> Any:
    try:
        from redis import asyncio as library  # noqa: PLC0415 - only those who share need it
    except ImportError:
        raise ConfigurationError(
            "a RedisTokenStore needs the extra: pip install 'vcloud-sdk[redis]'"
        ) from None
    return library

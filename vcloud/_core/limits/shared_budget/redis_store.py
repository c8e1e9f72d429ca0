"""Counting in Redis, with a script and the server's own clock."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from typing import Any, Final
from urllib.parse import quote

from vcloud._core.limits.shared_budget.counter import (
    COUNTED,
    MARGIN,
    STORE_TIMEOUT,
    Claim,
    Counter,
    Delay,
)
from vcloud._core.limits.shared_budget.redis_script import SCRIPT
from vcloud.errors import ConfigurationError

#: Seconds for which the places of a process are kept after its turn has come. Even a loaded machine
#: wakes up in less time. A process that was killed delays the others by this time.
GRACE: Final = 1.0
#: Seconds. Longer waits are sent as this.
_LONGEST: Final = 1e9
_MICROSECONDS: Final = 1_000_000
_SHA: Final = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


class _Process:
    """The name of this process in a store. A fork gets a new name."""

    name = secrets.token_hex(8)

    @classmethod
    def rename(cls) -> None:
        cls.name = secrets.token_hex(8)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Process.rename)


def keys(claim: Claim) -> tuple[str, str]:
    """The keys of a limit: its requests, and the processes that wait.

    The braces are a hash tag, which keeps both keys on one node of a cluster.
    """
    parts = (*claim.name, str(claim.requests), str(claim.length))
    tag = "/".join(quote(part, safe="") for part in parts)
    return f"vcloud:{{{tag}}}:requests", f"vcloud:{{{tag}}}:line"


class RedisCounter(Counter):
    """How one event loop asks Redis or Valkey.

    Args:
        pool: redis-py's connections.
    """

    takes_turns = True

    def __init__(self, pool: Any) -> None:
        from redis.asyncio import Redis  # noqa: PLC0415 - only those who share need it
        from redis.exceptions import NoScriptError, RedisError  # noqa: PLC0415

        super().__init__((RedisError,), pool)
        self._redis: Any = Redis(connection_pool=pool)
        self._unknown_script = NoScriptError

    async def take(self, claim: Claim) -> Delay:
        counted, retry_in, used_up = await self._run(claim, "stop" if claim.urgent else "call")
        if counted:
            return COUNTED
        # Bounded, whatever the store says: the oldest request leaves a window within its length.
        waits = [min(max(0.0, wait / _MICROSECONDS), claim.length) for wait in (retry_in, used_up)]
        return Delay(waits[0] + MARGIN, waits[1], queued=True)

    async def leave(self, claim: Claim) -> None:
        await self._run(claim, "none")

    async def _run(self, claim: Claim, kind: str) -> list[int]:
        given = (
            *keys(claim),
            claim.requests,
            claim.length * _MICROSECONDS,
            _Process.name,
            kind,
            claim.waiting,
            claim.urgent_waiting,
            int(max(0.0, min(claim.max_wait, _LONGEST)) * _MICROSECONDS),
            int(GRACE * _MICROSECONDS),
        )
        async with self.connected():
            with contextlib.suppress(self._unknown_script):
                return list[int](await self._redis.evalsha(_SHA, 2, *given))
            # The server was started again, or is another one. This loads the script, too.
            return list[int](await self._redis.eval(SCRIPT, 2, *given))


def redis_counter(address: str) -> RedisCounter:
    """Make a counter with its own connections.

    Raises:
        ConfigurationError: the library is not installed, or the address is invalid.
    """
    try:
        from redis.asyncio import ConnectionPool  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError(
            "this store needs the extra: pip install 'vcloud-sdk[redis]'"
        ) from None
    try:
        # No timeout for each command, because the whole question has one. redis-py would use
        # asyncio.wait_for, which before Python 3.12 loses a cancellation that arrives with the
        # result.
        pool: Any = ConnectionPool.from_url(
            address, socket_timeout=None, socket_connect_timeout=STORE_TIMEOUT
        )
    except ValueError:
        # Without its text: what is before a slash counts as the port, and may be in the password.
        raise ConfigurationError(
            "the address of a SharedBudget's store is invalid: it must be like "
            "redis://localhost:6379"
        ) from None
    return RedisCounter(pool)

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

#: Seconds for which a place is kept for a process after its turn has come: more than a loaded
#: machine takes to wake up, and as long as those of a process that was killed hold up the others.
GRACE: Final = 1.0
#: Seconds; what is longer is as good as for ever.
_LONGEST: Final = 1e9
_MICROSECONDS: Final = 1_000_000
_SHA: Final = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


class _Process:
    """Names this process in a store, and a fork of it by another name."""

    name = secrets.token_hex(8)

    @classmethod
    def rename(cls) -> None:
        cls.name = secrets.token_hex(8)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Process.rename)


def keys(claim: Claim) -> tuple[str, str]:
    """Under which names a limit is counted: its requests, and the processes in line.

    The braces are a cluster's hash tag, which keeps both on one node.
    """
    parts = (*claim.name, str(claim.requests), str(claim.length))
    tag = "/".join(quote(part, safe="") for part in parts)
    return f"vcloud:{{{tag}}}:requests", f"vcloud:{{{tag}}}:line"


class RedisCounter(Counter):
    """One event loop's way to Redis or Valkey.

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
        counted, turn, used_up = await self._run(claim, "stop" if claim.urgent else "call")
        if counted:
            return COUNTED
        # Whatever the store says: the oldest of a moving window leaves it within its length.
        waits = [min(max(0.0, wait / _MICROSECONDS), claim.length) for wait in (turn, used_up)]
        return Delay(waits[0] + MARGIN, waits[1], in_line=True)

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
            int(max(0.0, min(claim.patience, _LONGEST)) * _MICROSECONDS),
            int(GRACE * _MICROSECONDS),
        )
        async with self.connected():
            with contextlib.suppress(self._unknown_script):
                return list[int](await self._redis.evalsha(_SHA, 2, *given))
            # It was started again, or is another one. This teaches it the script, too.
            return list[int](await self._redis.eval(SCRIPT, 2, *given))


def redis_counter(address: str) -> RedisCounter:
    """A counter with connections of its own.

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
        # Our own clock runs over all of it. With a timeout for each command, redis-py uses
        # asyncio.wait_for, which before Python 3.12 loses a cancellation in the moment of success.
        pool: Any = ConnectionPool.from_url(
            address, socket_timeout=None, socket_connect_timeout=STORE_TIMEOUT
        )
    except ValueError:
        # Whose words may hold a part of the password: what is before a slash passes for the port.
        raise ConfigurationError("the store of a SharedBudget is no valid address") from None
    return RedisCounter(pool)

"""Whether each provider answers, as outcomes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from vcloud._core.outcome import ATTEMPT_COUNT, AttemptCount
from vcloud.bulk.failures import rate_limit_waits
from vcloud.bulk.outcome import Outcome, OutcomeStatus
from vcloud.errors import ConfigurationError

if TYPE_CHECKING:
    from vcloud._core.client import Client

__all__ = ["pinged"]


async def pinged(clients: Mapping[str, Client], timeout: float) -> dict[str, Outcome[str, None]]:
    """Ask each provider whether it answers, all at once; outcomes by the provider's name.

    Args:
        clients: by the provider's name.
        timeout: seconds, for each.

    Raises:
        ConfigurationError: the client is closed.
    """
    every = [_pinged(name, client, timeout) for name, client in clients.items()]
    outcomes: dict[str, Outcome[str, None]] = {}
    # All of them end before the first error is raised.
    for outcome in await asyncio.gather(*every, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
        outcomes[outcome.item] = outcome
    return outcomes


async def _pinged(name: str, client: Client, timeout: float) -> Outcome[str, None]:
    """Ask a provider whether it answers. Its failure is an outcome.

    Run it in a task of its own.

    Args:
        name: the provider's, which is the outcome's ``item``.
        client: the provider's.
        timeout: seconds.

    Raises:
        ConfigurationError: the client is closed.
    """
    outer, count = ATTEMPT_COUNT.get(), AttemptCount()
    ATTEMPT_COUNT.set(count)
    began, status, error = time.monotonic(), OutcomeStatus.DONE, None
    try:
        await client.ping(timeout=timeout)
    except ConfigurationError:
        raise
    except Exception as failure:  # noqa: BLE001 - also what a strategy of the user's raises
        # A service that answers too many requests is not away.
        limited = rate_limit_waits(failure, count)
        status = OutcomeStatus.UNDONE if limited else OutcomeStatus.FAILED
        error = failure
    finally:
        if outer is not None:
            outer.include(count)
    duration = timedelta(seconds=time.monotonic() - began)
    return Outcome(name, None, status, None, error, count.attempts, duration)

"""Whether a provider answers, as an outcome."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from vcloud._core.outcome import ATTEMPT_COUNT, AttemptCount
from vcloud.bulk.failures import rate_limit_waits
from vcloud.bulk.outcome import Outcome, OutcomeStatus
from vcloud.errors import ConfigurationError

if TYPE_CHECKING:
    from vcloud._core.client import Client

__all__ = ["pinged"]


async def pinged(name: str, client: Client, timeout: float) -> Outcome[str, None]:
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

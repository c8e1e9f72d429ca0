"""Whether a provider answers, as an outcome."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from vcloud.bulk.outcome import Outcome, OutcomeStatus
from vcloud.errors import ConfigurationError

if TYPE_CHECKING:
    from vcloud._core.client import Client

__all__ = ["pinged"]


async def pinged(name: str, client: Client, timeout: float) -> Outcome[str, None]:
    """Ask a provider whether it answers. Its failure is an outcome.

    Args:
        name: the provider's, which is the outcome's ``item``.
        client: the provider's.
        timeout: seconds.

    Raises:
        ConfigurationError: the client is closed.
    """
    began, error = time.monotonic(), None
    try:
        await client.ping(timeout=timeout)
    except ConfigurationError:
        raise
    except Exception as failure:  # noqa: BLE001 - also what a strategy of the user's raises
        error = failure
    status = OutcomeStatus.DONE if error is None else OutcomeStatus.FAILED
    duration = timedelta(seconds=time.monotonic() - began)
    return Outcome(name, None, status, error=error, duration=duration)

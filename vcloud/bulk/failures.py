"""What an error that an action raised means for its item and for the run."""

from __future__ import annotations

import asyncio

from vcloud._core.outcome import AttemptCount
from vcloud.errors import AuthenticationError, RateLimitError, VCloudError


def is_cancelling() -> bool:
    """Whether the current task itself was cancelled, rather than something that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def is_refused_unsent(error: BaseException | None) -> bool:
    """Whether an action failed because its client's credentials had been refused before."""
    return all(one is not None and one.remembered for one in _refusals(error))


def is_refused_for_now(error: BaseException | None) -> bool:
    """Whether every such refusal may be a temporary one, so that a run continues."""
    return all(one is not None and one.may_be_temporary for one in _refusals(error))


def _refusals(error: BaseException | None) -> list[AuthenticationError | None]:
    """The refusal of credentials behind an error, or behind each of a group; None: another one."""
    if isinstance(error, BaseExceptionGroup):
        return [found for one in error.exceptions for found in _refusals(one)]
    while error is not None and not isinstance(error, AuthenticationError):
        error = error.__cause__
    return [error]


def rate_limit_waits(error: BaseException | None, count: AttemptCount) -> list[float | None]:
    """The waits, in seconds, that rate limits demand, if rate limits made an action fail.

    Args:
        error: what it raised.
        count: what is known of its calls.

    Returns:
        One wait for each limit, None where it is not known. Empty if the action failed for
        another reason, or for another reason as well.
    """
    if isinstance(error, BaseExceptionGroup):
        each = [rate_limit_waits(one, count) for one in error.exceptions]
        return [wait for waits in each for wait in waits] if all(each) else []
    while error is not None:
        if count.gave_up is not None and error is count.gave_up[0]:
            return [count.gave_up[1]]
        if isinstance(error, RateLimitError) and error.retry_after is not None:
            return [error.retry_after]
        error = error.__cause__
    return []


def error_text(error: BaseException) -> str:
    """What the journal keeps of an error, on one line.

    The messages of this SDK are printable and hold no secrets. Those of other errors may not be,
    so the journal keeps only their class.
    """
    name = type(error).__name__
    return f"{name}: {error}"[:1000] if isinstance(error, VCloudError) else name

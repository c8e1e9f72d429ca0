"""How long a call waits for a rate limit: in a bulk run as long as that may last.

A cleanup that runs within a bulk run waits as any other call does: what was started must be
stopped, although the run's time is up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vcloud._core.bulk_run import RUN, BulkRun
from vcloud._core.call.call import Call
from vcloud._core.cleanup import CLEANUP
from vcloud._core.observe import WaitReason
from vcloud._core.outcome import ATTEMPT_COUNT
from vcloud.errors import RateLimitError, RequestTimeout, VCloudError

#: Seconds after the end of a bulk run at which a call leaves the queue. The run has ended the call
#: by then, unless a rate limit is known to outlast both.
_AFTER_THE_RUN: Final = 1.0
#: Ends the calls of a bulk run that has no deadline.
REFUSED_FOR_GOOD: Final = (
    "the service has refused everything for longer than max_retry_after allows a run to wait"
)


def _run() -> BulkRun | None:
    """The bulk run that limits how long this call waits; None: no run does."""
    return None if CLEANUP.get() is not None else RUN.get()


def longest_wait(call: Call) -> Callable[[], float]:
    """Gives the seconds for which a rate limit may be used up, or a refusal may ask to wait.

    For a run's calls they change while they wait.
    """
    usual, allowance, clock = (
        call.context.retry.max_retry_after,
        call.bucket.allowance,
        call.context.clock,
    )
    if (run := _run()) is None:
        return lambda: usual
    return lambda: run.longest_wait(usual, allowance.refused_since, clock())


def longest_wait_after(call: Call, error: VCloudError) -> float:
    """Seconds that this refusal may ask to wait."""
    if isinstance(error, RateLimitError):
        return longest_wait(call)()
    return call.context.retry.max_retry_after


def longest_wait_in_words(usual: str) -> str:
    """What limits the wait for a rate limit, for messages."""
    run = _run()
    return usual if run is None or run.left is None else "the deadline of the run"


def is_refused_for_good(call: Call, error: VCloudError | None = None) -> bool:
    """Whether a run stops waiting, because the service has refused everything for too long.

    Args:
        call: the call.
        error: with which an attempt ended; one that is about no rate limit is judged by itself.
    """
    run = _run()
    if run is None or (error is not None and not isinstance(error, RateLimitError)):
        return False
    since, usual = call.bucket.allowance.refused_since, call.context.retry.max_retry_after
    return run.is_refused_for_good(usual, since, call.context.clock())


def end_of_wait(call: Call, until: float | None) -> float | None:
    """When a call stops waiting in the queue, in monotonic seconds.

    Args:
        call: the call.
        until: when the call itself must be over.
    """
    run = _run()
    if run is None or run.left is None:
        return until
    # The run itself ends calls that wait for a slot.
    ends = call.context.clock() + run.left() + _AFTER_THE_RUN
    return ends if until is None else min(ends, until)


def is_forgiven(call: Call) -> bool:
    """Whether an attempt that was refused for its rate does not count, because a run sent it."""
    run = RUN.get()
    if not isinstance(call.error, RateLimitError) or run is None or run.ended:
        return False
    return call.context.retry.attempts > 1


def note_limit(call: Call, error: VCloudError | None) -> None:
    """Note for a bulk run that a call gives up, if it is because of a rate limit."""
    count = ATTEMPT_COUNT.get()
    if count is None or not isinstance(error, RateLimitError | RequestTimeout):
        return
    reason, until = call.context.admission.reason(call.bucket)
    if reason is not WaitReason.SLOT:
        count.gave_up = error, None if until is None else max(0.0, until - call.context.clock())

"""Waiting for a slot, a rate limit, a shared budget, a file descriptor."""

from __future__ import annotations

import asyncio
import functools
from math import inf

from vcloud._core.bulk_run import RUN
from vcloud._core.call.call import Call
from vcloud._core.call.errors import (
    closed,
    limit_used_up,
    not_admitted,
    too_late,
    without_answer,
    without_room,
)
from vcloud._core.call.interruption import until_urgent
from vcloud._core.call.limit_waits import end_of_wait, longest_wait
from vcloud._core.cleanup import CLEANUP
from vcloud._core.limits.fair_queueing import WaitTooLongError
from vcloud._core.observe import WaitReason
from vcloud._core.process_limits import MAX_WAIT, OwnLimitError
from vcloud._core.retry import RetryAfter, decide
from vcloud.errors import ConnectError


async def wait_in_queue(call: Call) -> None:
    """Wait until the request is admitted: :attr:`Call.number` says as which.

    A request that obtains a credential waits only for its limit: calls that hold the slots may wait
    for it.

    Raises:
        RequestTimeout: the deadline, or the time of a cleanup, would pass first.
        RateLimitError: the limit is used up for too long.
        ConnectError: the store of a shared budget cannot be reached.
        ConfigurationError: the client closes.
    """
    while not call.number:
        await _wait_in_queue(call)


async def _wait_in_queue(call: Call) -> None:
    """Wait in the queue. If it became urgent meanwhile, nothing is raised, and it has no number."""
    context, stopping = call.context, CLEANUP.get()
    urgent = stopping is not None and stopping.urgent
    ends, until = inf, call.deadline
    if stopping is not None and urgent:
        ends = context.clock() + stopping.left
        until = ends if until is None else min(ends, until)
    entering = _enter(call, until, urgent=urgent)
    waits_for = call.cleanup or stopping
    try:
        if urgent or waits_for is None:
            call.number = await entering
            return
        leave = functools.partial(
            context.admission.leave, call.bucket, counted=False, slot=call.slot
        )
        call.number = await waits_for.unless_urgent(entering, drop=leave) or 0
    except TimeoutError:
        if not urgent:
            raise not_admitted(call) from None
        # A cleanup has time left after the process was stopped. Otherwise the pause of a limit
        # outlasts it.
        if until != ends or context.clock() < ends or stopping is None or stopping.left <= 0:
            raise too_late(call, urgent=True) from None
    except WaitTooLongError as error:
        raise limit_used_up(call, error.seconds) from None
    except ConnectError as error:  # of the store that counts for several processes
        raise without_answer(call, error) from None
    if call.cleanup is not None and not call.number:
        raise closed()


async def _enter(call: Call, until: float | None, *, urgent: bool) -> int:
    """Enter the admission. A shared budget's store that is away is asked again as the policy says.

    Args:
        call: the call.
        until: when to give up, in monotonic seconds.
        urgent: it is a cleanup that goes before all others.

    Raises:
        ConnectError: the store stays away.
    """
    context, in_run = call.context, RUN.get() is not None
    longest, tries = longest_wait(call), 0
    while True:
        try:
            with context.waits.behind(call.bucket, context.admission.reason, call.watch):
                return await context.admission.enter(
                    call.bucket,
                    end_of_wait(call, until) if in_run else until,
                    slot=call.slot,
                    max_wait=longest,
                    urgent=urgent,
                )
        except ConnectError as error:
            tries += 1
            pause, why = _pause_without_store(call, error, tries, until)
            if pause is None and CLEANUP.get() is not None:
                # A stop continues without the store, urgent or not.
                urgent, pause = True, 0.0
            if pause is None:
                # If the request was sent before, the error says what is unknown.
                sent = "" if call.lost else "; nothing was sent"
                raise ConnectError(f"{error}{why}{sent}") from None
        with context.waits.for_reason(WaitReason.SHARED_BUDGET, call.watch, pause):
            await asyncio.sleep(pause)


def _pause_without_store(
    call: Call, error: ConnectError, tries: int, until: float | None
) -> tuple[float | None, str]:
    """Seconds until the store is asked again; None, and why: it is not."""
    context = call.context
    decision = decide(
        context.retry,
        error,
        repeatable=True,
        attempt=tries,
        random=context.entropy(),
        renewed=False,
    )
    if not isinstance(decision, RetryAfter):
        return None, f" (tried {tries} times)" if tries > 1 else ""
    if until is not None and context.clock() + decision.seconds >= until:
        return None, "; the deadline leaves no time to try again"
    return decision.seconds, ""


async def wait_for_room(call: Call) -> None:
    """Wait until this process may open a connection again. Nothing else waits for that.

    Meanwhile the call holds neither a slot nor a place in a rate limit.
    """
    error, call.error = call.error, None
    assert isinstance(error, OwnLimitError)
    context, stopping = call.context, CLEANUP.get()
    shortage = context.transport.shortage
    if call.watch is not None:
        call.watch.end(error, retry_in=0.0)
    place = call.place
    if place is None:
        place = shortage.join(error, context.observers.log, first=stopping is not None)
        call.place = place
    now = asyncio.get_running_loop().time()
    left = place.since + MAX_WAIT - now
    if call.deadline is not None:
        left = min(left, call.deadline - context.clock())
    if stopping is not None and stopping.urgent:
        left = min(left, stopping.left)
    since = context.clock() - (now - place.since)
    with context.waits.again(WaitReason.DESCRIPTORS, call.watch, since):
        came = await until_urgent(shortage.wait(place, left), call.cleanup)
    if came is None:
        raise closed()
    if not came:
        raise without_room(call, error.number)

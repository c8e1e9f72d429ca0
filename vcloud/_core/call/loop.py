"""The request loop: admit, sign, send, judge the answer; then retry or end."""

from __future__ import annotations

from collections.abc import Coroutine
from logging import DEBUG
from typing import Any

from vcloud._core.call.answers import NO_SUCCESS, note_refusal, success
from vcloud._core.call.attempts import begin_attempt, note_failure
from vcloud._core.call.call import Call
from vcloud._core.call.credentials import authorize, fail_if_refused
from vcloud._core.call.interruption import finished_anyway
from vcloud._core.call.queueing import wait_in_queue
from vcloud._core.call.retrying import prepare_retry


# Not a coroutine function: its own coroutine would be one more for each of thousands of calls.
def run(call: Call) -> Coroutine[Any, Any, Any]:
    """Send the request until it succeeds, or until an error is final."""
    observers = call.context.observers
    if observers.observed or observers.log.isEnabledFor(DEBUG):
        return _observed(call)
    return _run(call)


async def _observed(call: Call) -> Any:
    context = call.context
    base_url = context.root_url if call.root else context.base_url
    with context.observers.watch(call.request, base_url, context.clock) as watch:
        call.watch, call.exchange = watch, watch.over(call.exchange)
        return await _run(call)


async def _run(call: Call) -> Any:  # noqa: C901, PLR0912 - the one loop, in one piece
    """The loop. A call that has to wait for nothing but its answer awaits no other coroutine."""
    context, request = call.context, call.request
    admission, signer, shortage = context.admission, context.signer, context.transport.shortage
    context.transport.check()
    if call.cleanup is not None:
        call.exchange = finished_anyway(call.exchange, call.cleanup)
    if context.deadline is not None:
        call.deadline = context.clock() + context.deadline
    while True:
        if signer.refused.error is not None:
            fail_if_refused(call)
        call.number = admission.try_enter(call.bucket) if call.slot else 0
        if not call.number:
            await wait_in_queue(call)
        try:
            if signer.refused.error is None and signer.auth.ready(now := signer.now()):
                call.headers = signer.sign(request, now, call.root)
            else:
                await authorize(call)
            options = begin_attempt(call)
            try:
                if shortage.waiting and call.place is None:
                    shortage.refuse()
                # The address is in no variable: its path or query may hold a secret.
                call.response = await call.exchange(
                    request.method, call.address, call.headers, request.body, options
                )
            except BaseException as failure:  # noqa: BLE001 - raised again, but for our own
                note_failure(call, failure)
            else:
                result = success(call)
                if result is not NO_SUCCESS:
                    return result
                note_refusal(call)
        finally:
            admission.leave(call.bucket, call.number, counted=call.sent, slot=call.slot)
            if call.tries:
                signer.end_trial(call.tries)
        await prepare_retry(call)

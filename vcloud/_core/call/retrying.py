"""Whether a request that failed is sent again, and when."""

from __future__ import annotations

from vcloud._core.call.attempts import take_back_attempt
from vcloud._core.call.call import Call
from vcloud._core.call.errors import final
from vcloud._core.call.interruption import pause_before_retry
from vcloud._core.call.limit_waits import (
    REFUSED_FOR_GOOD,
    is_forgiven,
    is_refused_for_good,
    longest_wait_after,
    longest_wait_in_words,
    note_limit,
)
from vcloud._core.call.queueing import wait_for_room
from vcloud._core.observe import WaitReason
from vcloud._core.outcome import Proof, may_repeat
from vcloud._core.process_limits import OwnLimitError
from vcloud._core.retry import Decision, RetryAfter, Verdict, decide
from vcloud.errors import APIError, AuthenticationError, DecodeError, VCloudError


async def prepare_retry(call: Call) -> None:
    """Return when the request may be sent again.

    Raises:
        VCloudError: how the call ends, if it is not sent again, or not in time.
    """
    if isinstance(call.error, OwnLimitError):
        await wait_for_room(call)
    else:
        await _pause(call, _seconds_to_retry(call))
        call.attempt += 1
    call.sent = call.tries = False
    call.response = call.error = None


def _seconds_to_retry(call: Call) -> float:
    """Seconds until the request is sent again.

    No frame that an error is raised through holds it: it would hold itself.

    Raises:
        VCloudError: how the call ends, if it is not sent again.
    """
    if isinstance(call.error, DecodeError):
        raise final(call)
    _note_proof(call)
    if call.cleanup is not None and call.cleanup.urgent:
        raise final(call)
    decision = _decision(call)
    if decision is Verdict.REAUTHENTICATE and call.response is not None:
        if not _may_sign_again(call):
            raise final(call)
        call.renewed = True
        if isinstance(call.error, AuthenticationError) and call.error.login_ended:
            # It says nothing about the service, and may occur again and again.
            call.forgiven += 1
            call.context.signer.refused.untried = True
        return 0.0
    if not isinstance(decision, RetryAfter):
        raise final(call, _why_stopped(call))
    left = call.left()
    if left is not None and decision.seconds >= left:
        note_limit(call, call.error)
        raise final(call, "; the deadline leaves no time to try again")
    return decision.seconds


def _note_proof(call: Call) -> None:
    """Note what the attempt proves, for the call and for a bulk run."""
    call.lost_before, call.lost = call.lost, call.lost or call.proof is Proof.NONE
    if call.proof is Proof.NOT_DONE:
        take_back_attempt(call)
        call.forgiven += is_forgiven(call)


def _decision(call: Call) -> Decision:
    """What the retry policy says."""
    context, error = call.context, call.error
    assert error is not None
    return decide(
        context.retry,
        error,
        repeatable=may_repeat(call.request, call.proof) and not is_refused_for_good(call, error),
        attempt=call.attempt,
        random=context.entropy(),
        renewed=call.renewed and not _may_renew_again(call, error),
        forgiven=call.forgiven,
        longest_wait=longest_wait_after(call, error),
    )


def _may_renew_again(call: Call, error: VCloudError) -> bool:
    """Whether credentials that were renewed may be renewed once more."""
    signer = call.context.signer
    return signer.is_unproven(call.headers) or signer.has_ended(error)


def _may_sign_again(call: Call) -> bool:
    """Whether the service may accept the request when it is signed once more."""
    assert call.response is not None
    assert isinstance(call.error, APIError)
    return call.context.signer.may_sign_again(
        call.request, call.response, call.headers, call.error, call.proof
    )


def _why_stopped(call: Call) -> str:
    """Note what a final error says of credentials and limits; why there is no further attempt."""
    error = call.error
    assert error is not None
    call.context.signer.note(call.request, call.headers, error, call.proof)
    note_limit(call, error)
    if is_refused_for_good(call, error):
        return f"; {REFUSED_FOR_GOOD}"
    asked = error.retry_after if isinstance(error, APIError) else None
    if asked is not None and asked > longest_wait_after(call, error):
        longest = longest_wait_in_words("max_retry_after of the RetryPolicy")
        return f"; it asks to wait {asked:g} s, longer than {longest} allows"
    return f" (tried {call.attempt} times)" if call.attempt > 1 else ""


async def _pause(call: Call, seconds: float) -> None:
    """Wait before the next attempt.

    Raises:
        VCloudError: there is no time for it.
    """
    asked = isinstance(call.error, APIError) and call.error.retry_after
    reason = WaitReason.PAUSE if asked else WaitReason.RETRY
    if call.watch is not None:
        call.watch.end(call.error, retry_in=seconds)
    with call.context.waits.for_reason(reason, call.watch, seconds):
        waited = await pause_before_retry(call, seconds)
    if waited:
        return
    if call.cleanup is not None:
        raise final(call, "; the client was closed before it was sent again")
    raise final(call, f"; the pause of {seconds:.0f} s outlasts what is left of cleanup_timeout")

"""One attempt: its beginning, and its end without an answer."""

from __future__ import annotations

import asyncio

from vcloud._core.call.call import Call
from vcloud._core.call.errors import about_answer, closed, too_late, without_room
from vcloud._core.connections.options import TransportOptions
from vcloud._core.connections.unsent import unsent
from vcloud._core.outcome import ATTEMPT_COUNT, proof_of_silence
from vcloud._core.process_limits import OwnLimitError
from vcloud._core.request import SAFE
from vcloud.errors import ConnectError, LimitExceededError, TransportError
from vcloud.errors.wording import UNKNOWN


def begin_attempt(call: Call) -> TransportOptions:
    """Count the attempt, which is sent next; how it is sent.

    Raises:
        ConfigurationError: the client closes.
        RequestTimeout: the deadline passed.
        Exception: a bulk run must begin nothing more.
    """
    context, request = call.context, call.request
    if call.cleanup is not None and call.cleanup.urgent:
        raise closed()
    options = context.options if call.deadline is None else _options_until_deadline(call)
    if request.authenticated and (count := ATTEMPT_COUNT.get()) is not None:
        count.add(starts=request.starts, safe=request.safe)
    # Only what fails from here on says anything about this request: a login that fails is its own
    # failure.
    call.sent = True
    if context.signer.works_once and request.method not in SAFE:
        call.began = context.signer.elapsed()
    return options


def _options_until_deadline(call: Call) -> TransportOptions:
    context, left = call.context, call.left()
    assert left is not None
    if left <= 0 and call.place is not None:
        # It was allowed to try when its time was up.
        raise without_room(call, context.transport.shortage.number)
    if left <= 0:
        raise too_late(call)
    return context.options if left >= context.timeout else context.options.within(left)


def note_failure(call: Call, failure: BaseException) -> None:
    """Note how an attempt without an answer ended; raise what ends the call.

    Args:
        call: the call.
        failure: what the exchange raised. It is being handled.
    """
    if isinstance(failure, TransportError):
        call.error, call.proof = failure, proof_of_silence(failure)
        if isinstance(failure, ConnectError):
            call.sent = False
        if isinstance(failure, OwnLimitError):
            _forget_attempt(call)
        return
    if isinstance(failure, LimitExceededError):
        raise about_answer(call.context, call.request, failure, root=call.root) from None
    if isinstance(failure, asyncio.CancelledError | GeneratorExit):
        if unsent(failure) is not None:
            take_back_attempt(call)
        if call.request.starts and (call.lost or unsent(failure) is None):
            # It may have started a machine, which costs money until it is stopped.
            words = "%s: it was given up before the answer came, and %s"
            call.context.observers.log.error(words, call.label, UNKNOWN)
    elif not (isinstance(failure, Exception) and call.request.sensitive):
        raise  # noqa: PLE0704 - called while it is being handled
    # The frames below hold the credentials, a password, or an address with a token, and reporters
    # of errors print the variables of a frame.
    raise failure.with_traceback(None)


def take_back_attempt(call: Call) -> None:
    """Count the attempt as one that provably did nothing."""
    if call.request.authenticated and (count := ATTEMPT_COUNT.get()) is not None:
        count.take_back(safe=call.request.safe)


def _forget_attempt(call: Call) -> None:
    """Uncount the attempt: it did not take place."""
    if call.request.authenticated and (count := ATTEMPT_COUNT.get()) is not None:
        count.forget(safe=call.request.safe)

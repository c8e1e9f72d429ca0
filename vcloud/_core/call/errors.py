"""The errors that a call ends with: where it happened, why, and what it leaves unknown."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from vcloud._core.call.call import Call
from vcloud._core.call.context import CallContext
from vcloud._core.call.limit_waits import (
    REFUSED_FOR_GOOD,
    is_refused_for_good,
    longest_wait_in_words,
    note_limit,
)
from vcloud._core.decoding.unread import Unread
from vcloud._core.outcome import is_unknown
from vcloud._core.process_limits import LIMITS, describe_limit
from vcloud._core.request import Request
from vcloud._core.transport import CLOSED
from vcloud.errors import (
    APIError,
    ConfigurationError,
    ConnectError,
    ConnectTimeout,
    DecodeError,
    NotFoundError,
    RateLimitError,
    RequestTimeout,
    TransportError,
    VCloudError,
)

E = TypeVar("E", bound=VCloudError)


def final(call: Call, why: str = "") -> VCloudError:
    """The error of the last attempt, as the caller gets it. The call forgets it.

    Args:
        call: the call.
        why: why there is no further attempt.
    """
    error, call.error = call.error, None
    if isinstance(error, APIError):
        error.outcome_unknown = call.outcome_unknown
        if call.lost_before and isinstance(error, NotFoundError):
            error.add_note(
                "an earlier attempt had no answer of the service: it may be what removed it"
            )
        elif why:
            error.add_note(why.strip(" ;()"))
        return error
    if isinstance(error, TransportError):
        return without_answer(call, error, why)
    assert error is not None
    return error  # an answer that is neither success nor refusal


def without_answer(call: Call, error: TransportError, why: str = "") -> TransportError:
    """The error of a call whose last attempt had no answer, or never began."""
    # An attempt that never arrived proves nothing about earlier ones.
    kind, text, unknown = type(error), f"{error}", call.outcome_unknown
    if unknown and isinstance(error, ConnectError):
        kind = RequestTimeout if isinstance(error, ConnectTimeout) else TransportError
        text = text.replace("; nothing was sent", "; this time nothing was sent")
    made = kind(f"{call.label}: {text}{why}", outcome_unknown=unknown)
    if error.__cause__ is not None:  # otherwise the error that was being handled would be lost
        made.__cause__ = error.__cause__
    return made


def about_answer(
    context: CallContext,
    request: Request,
    error: E,
    *,
    root: bool = False,
    unread: Unread | None = None,
) -> E:
    """An error about an answer, with where it happened and whether the outcome is unknown.

    Args:
        context: of the call.
        request: what was sent.
        error: why the answer cannot be used.
        root: its path is not below the API's.
        unread: what is known of the answer to a change.
    """
    said = f"{error}" if unread is None else unread.added_to(f"{error}")
    made = type(error)(f"{context.label(request, root=root)}: {said}")
    made.__dict__.update(error.__dict__)
    made.outcome_unknown = is_unknown(request, lost=True)
    if unread is not None and isinstance(made, DecodeError):
        unread.note(made)
    return made


def closed() -> ConfigurationError:
    """The client closes, and the request is not sent any more."""
    return ConfigurationError(f"{CLOSED}; nothing was sent")


def limit_used_up(call: Call, wait: float) -> RateLimitError:
    """The rate limit is used up for longer than the call may wait.

    Args:
        call: the call.
        wait: seconds.
    """
    sent = "the answer to an earlier attempt was lost" if call.lost else "nothing was sent"
    longest = longest_wait_in_words("max_retry_after")
    why = f"the limit is used up for another {wait:.0f} s, longer than {longest} allows to wait"
    if is_refused_for_good(call):
        why = REFUSED_FOR_GOOD
    error = RateLimitError(
        f"{why}; {sent}",
        status=429,
        provider=call.context.service.provider,
        method=call.request.method,
        url=call.where,
    )
    error.retry_after = wait
    error.outcome_unknown = call.outcome_unknown
    return error


def too_late(call: Call, *, urgent: bool = False) -> RequestTimeout:
    """The time of the call is up before the request could be sent.

    Args:
        call: the call.
        urgent: it was that of a cleanup, and not its deadline.
    """
    context = call.context
    passed = f"the deadline of {context.deadline or 0:g} s passed before it could be sent"
    if urgent:
        passed = (
            "the limit is used up, or all slots are taken, for longer than is left of "
            f"cleanup_timeout ({context.cleanup_timeout:g} s), so it could not be sent"
        )
    what = " again" if call.lost else "; nothing was sent"
    return RequestTimeout(f"{call.label}: {passed}{what}", outcome_unknown=call.outcome_unknown)


def not_admitted(call: Call) -> VCloudError:
    """The call cannot be admitted before its time is up."""
    until, now = call.context.admission.reason(call.bucket).until, call.context.clock()
    if until is not None and (call.deadline is None or until < call.deadline):
        return limit_used_up(call, until - now)  # it was the end of the bulk run
    late = too_late(call)
    note_limit(call, late)
    return late


def without_room(call: Call, number: int) -> VCloudError:
    """No file descriptor or port came free in the time of the call.

    Args:
        call: the call, which has a place in the line for them.
        number: the limit of this process, see :data:`LIMITS`.
    """
    assert call.place is not None
    waited = asyncio.get_running_loop().time() - call.place.since
    error = ConnectError(
        f"cannot reach it: {describe_limit(number)}, and none came free within {waited:.2g} s: "
        f"{LIMITS[number][1]}; nothing was sent"
    )
    return without_answer(call, error)

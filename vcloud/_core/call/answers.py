"""What an answer is: a success, a refusal, or neither."""

from __future__ import annotations

import copy
import re
from typing import Any, Final

import msgspec

from vcloud._core.call.call import Call
from vcloud._core.call.context import CallContext
from vcloud._core.call.errors import about_answer
from vcloud._core.call.unread_answer import unread_answer
from vcloud._core.call.upgrades import UPGRADED
from vcloud._core.decoding.mismatch import excerpt
from vcloud._core.decoding.shape import Shape
from vcloud._core.limits.headers import REMAINING, retry_after
from vcloud._core.outcome import Form, proof_of_answer
from vcloud._core.redaction.sent_secrets import SEARCHED
from vcloud._core.request import MAX_REFUSAL, Request, Response
from vcloud.errors import APIError, AuthenticationError, DecodeError, RateLimitError

#: Stands for an answer that is not a success.
NO_SUCCESS: Final = object()
#: A note of a refusal that is long.
_CUT: Final = (
    f"the refusal was longer than {MAX_REFUSAL} bytes, and the service's words may be incomplete"
)


def success(call: Call) -> Any:
    """What the caller gets for an answer that is a success, :data:`NO_SUCCESS` for any other.

    A body is decoded once, into its endpoint's class, and that says whether it is a success.
    """
    context, request, response, shape = call.context, call.request, call.response, call.shape
    assert response is not None
    if response is not UPGRADED:
        if not 200 <= response.status < 300:
            return NO_SUCCESS
        try:
            if shape is None:
                # Only whether there is an error matters, so its time does not.
                if context.service.error(request, response, "", now=0.0) is not None:
                    return NO_SUCCESS
                result: Any = response
            else:
                wire = context.codec.decode(response.body, shape.wire, sensitive=request.sensitive)
                if not context.service.succeeded(wire):
                    return NO_SUCCESS
                result = shape.open(wire, call.session, response.body)
        except DecodeError:
            result = _list_in_part(call, response)
            if result is NO_SUCCESS:
                return result
        allowance = call.bucket.allowance
        # Nearly every answer announces no limit, and none is known.
        if allowance.bounded or REMAINING in response.headers:
            allowance.note(response.headers, context.clock(), context.signer.now(), call.number)
    else:
        result = response
    refused = context.signer.refused
    if call.renewed or refused.untried or refused.error is not None:
        context.signer.accepted(request, response, call.headers, renewed=call.renewed)
    return result


def _list_in_part(call: Call, response: Response) -> Any:
    """A list without its broken items; :data:`NO_SUCCESS` for any other answer."""
    context, request, shape = call.context, call.request, call.shape
    if shape is None or shape.open_partly is None:
        return NO_SUCCESS
    # The error quotes the answer, so what it repeats of the request is removed first.
    redactor = call.redactor()
    clean, cut = redactor.response(response), len(response.body) > SEARCHED
    try:
        wire, broken = context.codec.decode_items(
            clean.body, shape.wire, sensitive=request.sensitive
        )
        if not context.service.succeeded(wire):
            return NO_SUCCESS
        unread = unread_answer(request, response, redactor, context.service.id_fields)
        broken = {
            name: msgspec.structs.replace(
                one, reason=redactor.text(one.reason, cut=cut), unread=unread
            )
            for name, one in broken.items()
        }
        return shape.open_partly(wire, call.session, clean.body, broken)
    except DecodeError:
        return NO_SUCCESS


def note_refusal(call: Call) -> None:
    """Note the limits, the error that an answer is which is not a success, and what that proves."""
    context, request, response = call.context, call.request, call.response
    assert response is not None
    now = context.signer.now()
    # The error quotes the answer, so what it repeats of the request is removed first.
    redactor = call.redactor()
    clean = redactor.response(response)
    error, undecodable = _explained(call, clean, now)
    _note_limits(call, response, error, now)
    failure = error or undecodable or unreadable(context, request, clean, call.shape, call.session)
    redactor.error(failure, cut=len(response.body) > SEARCHED)
    if error is None:
        unread = unread_answer(request, response, redactor, context.service.id_fields)
        call.error = about_answer(context, request, failure, root=call.root, unread=unread)
        # Otherwise the frames of the error would keep the answer in memory.
        call.response = None
        return
    if isinstance(error, AuthenticationError):
        error.clock_difference = context.signer.difference_of_clocks(response)
    if error.status == 503:
        error.retry_after = retry_after(response.headers, now=now)
    call.error = error
    if 300 <= response.status < 400:
        call.proof = proof_of_answer(response.status, Form.FOREIGN)
    else:
        call.proof = context.service.proof(request, clean, error)
    call.response = response = _without_rest(response)
    if call.began is not None and isinstance(error, AuthenticationError):
        call.proof = context.signer.judge_copy(
            call.began, response, call.headers, error, call.proof
        )


def _note_limits(call: Call, response: Response, error: APIError | None, now: float) -> None:
    """Note what an answer that is not a success says of the rate limit."""
    context, allowance = call.context, call.bucket.allowance
    if error is not None and (response.cut or len(response.body) > MAX_REFUSAL):
        error.add_note(_CUT)
    if isinstance(error, RateLimitError):
        pause = max(error.retry_after or 0.0, context.retry.backoff(1, context.entropy()))
        allowance.pause(pause, response.headers, context.clock(), now)
    else:
        allowance.note(response.headers, context.clock(), now, call.number, good=False)


def _explained(
    call: Call, response: Response, now: float
) -> tuple[APIError | None, DecodeError | None]:
    """The refusal that an answer is, if it is one; or why it cannot be read."""
    if 300 <= response.status < 400:
        elsewhere = _without_secrets(response.headers.get("Location", "nowhere"))
        error = APIError(
            f"the service redirects to {elsewhere:.200}, and redirects are not followed: "
            "is the base_url right?",
            status=response.status,
            provider=call.context.service.provider,
            method=call.request.method,
            url=call.where,
        )
        return error, None
    try:
        return call.context.service.error(call.request, response, call.where, now=now), None
    except DecodeError as failure:
        return None, copy.copy(failure)


def read(
    context: CallContext,
    request: Request,
    response: Response,
    shape: Shape[Any, Any],
    session: Any,
) -> Any:
    """Decode an answer that was handed out; :data:`NO_SUCCESS` if it is not of that shape.

    A function of its own, so that what was answered is in no variable of a frame that raises.
    """
    try:
        wire = context.codec.decode(response.body, shape.wire, sensitive=request.sensitive)
        if context.service.succeeded(wire):
            return shape.open(wire, session, response.body)
    except DecodeError:
        pass
    return NO_SUCCESS


def unreadable(
    context: CallContext,
    request: Request,
    response: Response,
    shape: Shape[Any, Any] | None,
    session: Any,
) -> DecodeError:
    """Why an answer is not a success, with its first bytes.

    The error is returned and not raised, because what led to it quotes the answer at length.
    """
    try:
        if shape is not None:
            wire = context.codec.decode(response.body, shape.wire, sensitive=request.sensitive)
            shape.open(wire, session, response.body)
    except DecodeError as error:
        return copy.copy(error)
    quoted = excerpt(response.body, sensitive=request.sensitive)
    return DecodeError(f"this is no answer of the service: {quoted}")


def _without_rest(response: Response) -> Response:
    """A refusal without what follows its first 64 KiB. Frames of a kept error keep it."""
    if len(response.body) <= MAX_REFUSAL:
        return response
    return Response(response.status, response.headers, response.body[:MAX_REFUSAL], cut=True)


def _without_secrets(address: str) -> str:
    """Where a redirect leads, without what may be secret: user, query and fragment."""
    path = re.split(r"[?#]", address, maxsplit=1)[0]
    return re.sub(r"//[^/]*@", "//", path, count=1)

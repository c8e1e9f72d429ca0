"""The expected outcome of a call under a fault, by what the fault does and what may be repeated.

It does not depend on the client's code. In one table, for a fault that applies each time:

| the fault | a repeatable call | another call (POST, PATCH) | unknown |
|---|---|---|---|
| no connection | `ConnectError` | the same: it never arrived | no |
| no answer, or an incomplete one | repeated; `TransportError` | `TransportError` | yes |
| any 429, the service's 503 | repeated later; `RateLimitError`, `ServerError` | the same | no |
| a 429 with too long a pause | `RateLimitError` at once | the same | no |
| a gateway's 503, another 5xx | repeated; `ServerError` | `ServerError` | yes |
| a 408 | repeated; `InvalidRequestError` | `InvalidRequestError` | yes |
| a gateway's 403 | `PermissionDeniedError` | the same | yes |
| a nonce that was used before | signed anew; `ServerError` | `ServerError` | yes |
| a refusal under HTTP 200 | in the provider's words; of desktops as a 5xx | the same | no; yes |
| a redirect | `APIError`; the other host gets no request | the same | yes |
| an unreadable answer, foreign JSON | `DecodeError` | the same | yes |
| an answer that is too large | `LimitExceededError` | the same | yes |
| wrong values | success with them, or `DecodeError` | the same | yes |
| a wrong clock | signed again; if it jumps back `AuthenticationError` | the same | no |
| a late answer, a wrong content type | success | the same | |

If the fault applies once, a repeated call succeeds. "Unknown" is whether the error says that the
service may have carried out the call. No error says so of a call that changes nothing.

**The evidence** for "not carried out": a connection that was refused carried nothing. A 429 is the
answer of a limit, before anything is done (RFC 6585). The service's envelope or error object with a
4xx or a 503 is the service's own refusal. Anything else may come after the service has acted: the
emulator sends a gateway's pages before and after that, and no client can tell the difference.

One 4xx of the service is no such evidence: that the nonce was used before. The client signs every
attempt with a new nonce, and the service uses a nonce up when it accepts a request. So it accepted
a copy of the request, which a proxy sent twice, and the answer to that copy is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from attrs import evolve, frozen

from tests.faults.targets import Answer, Target
from vcloud import (
    APIError,
    AuthenticationError,
    ConnectError,
    DecodeError,
    InvalidRequestError,
    LimitExceededError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeout,
    ServerError,
    TransportError,
)
from vcloud.emulator import Fault

#: How often a call is sent at most.
ATTEMPTS: Final = 3
#: Bytes of the largest answer that the client accepts, and of answers that are too large.
BOUND: Final = 300_000
TOO_LARGE: Final = 600_000
#: No connection is possible. The listener is closed, so this is no `Fault`.
REFUSING: Final = "refusing"
#: A refusal under HTTP 200, in each provider's own form. StreamSpace has none.
REFUSED_200: Final = "refused_200"
#: A proxy sends the request twice, and the service refuses the copy for its nonce.
REPLAYED: Final = "replayed"
#: Answers of a gateway in front of the service, before or after the service has acted. The
#: emulator's catalogue has no names for them.
GATEWAYS: Final[Mapping[str, Fault]] = {
    "html_503": Fault.html(503),
    "html_503_after": Fault.html(503, processed=True),
    "text_408": Fault.reply(408, b"request timeout", content_type="text/plain"),
    "html_403": Fault.html(403),
    "html_403_after": Fault.html(403, processed=True),
    "json_200": Fault.reply(
        200, b'{"error":"service under maintenance"}', content_type="application/json"
    ),
    "json_empty_200": Fault.reply(200, b"{}", content_type="application/json"),
    REPLAYED: Fault.reply(
        401,
        b'{"client_code":401,"message":"nonce \'3f2b8c1e\' already used"}',
        content_type="application/json",
        processed=True,
    ),
}
REFUSALS_200: Final[Mapping[str, bytes]] = {
    "computers": b'{"client_code":4710,"message":"Permission required"}',
    "streams": b'{"client_code":4710,"message":"Permission required"}',
    "desktops": b'{"status":"error","error":"it did not work","details":"none"}',
}


class End(Enum):
    """How one request ends."""

    SUCCESS = "a success"
    NO_CONNECTION = "no connection"
    NO_ANSWER = "no answer, or an incomplete one"
    TIMEOUT = "no answer in time"
    NOT_DONE = "a temporary refusal that proves that nothing was done"
    UNPROVEN = "a temporary error that proves nothing"
    GATEWAY = "a permanent refusal by a gateway"
    DENIED = "a permanent refusal by the service"
    REDIRECT = "a redirect"
    UNREADABLE = "an unreadable answer"
    TOO_LARGE = "an answer that is too large"
    WRONG_VALUES = "an answer with wrong values"
    UNKNOWN_VALUES = "an answer with unknown values"
    WRONG_PAGE = "a page with wrong values about the list"
    CLOCK = "a signature that seems too old or too new"


@frozen
class Kind:
    """What a fault does to one request.

    Attributes:
        end: how the request ends.
        acts: whether the service carries it out.
        wait: seconds that the answer asks to wait.
        error: the class of the answer's error.
    """

    end: End
    acts: bool = False
    wait: float = 0.0
    error: type[APIError] = ServerError


_NO_ANSWER, _UNREADABLE, _WRONG_VALUES = (
    Kind(end, acts=True) for end in (End.NO_ANSWER, End.UNREADABLE, End.WRONG_VALUES)
)
_TOO_MANY = Kind(End.NOT_DONE, error=RateLimitError)
_SUCCESS, _WRONG_PAGE, _TOO_LARGE = (
    Kind(end, acts=True) for end in (End.SUCCESS, End.WRONG_PAGE, End.TOO_LARGE)
)

KINDS: Final[Mapping[str, Kind]] = {
    REFUSING: Kind(End.NO_CONNECTION),
    REFUSED_200: Kind(End.DENIED),
    "html_503": Kind(End.UNPROVEN),
    "html_503_after": Kind(End.UNPROVEN, acts=True),
    "text_408": Kind(End.UNPROVEN, error=InvalidRequestError),
    "html_403": Kind(End.GATEWAY, error=PermissionDeniedError),
    "html_403_after": Kind(End.GATEWAY, acts=True, error=PermissionDeniedError),
    REPLAYED: Kind(End.UNPROVEN, acts=True),
    "json_200": Kind(End.UNREADABLE),
    "json_empty_200": Kind(End.UNREADABLE),
    "refuse": Kind(End.NO_ANSWER),
    "reset_before": Kind(End.NO_ANSWER),
    "reset_after": _NO_ANSWER,
    "delay": _SUCCESS,
    "stall_headers": Kind(End.TIMEOUT, acts=True),
    "stall_body": Kind(End.TIMEOUT, acts=True),
    "drip": _SUCCESS,
    "too_many_seconds": Kind(End.NOT_DONE, wait=1, error=RateLimitError),
    "too_many_date": Kind(End.NOT_DONE, wait=1, error=RateLimitError),
    "too_many_milliseconds": Kind(End.NOT_DONE, wait=0.5, error=RateLimitError),
    "too_many_body": _TOO_MANY,
    "too_many_body_camel_case": _TOO_MANY,
    "too_many_silent": _TOO_MANY,
    "too_many_long": Kind(End.NOT_DONE, wait=10**9, error=RateLimitError),
    "too_many_negative": _TOO_MANY,
    "too_many_garbage": _TOO_MANY,
    "server_error_500": Kind(End.UNPROVEN),
    "server_error_502": Kind(End.UNPROVEN),
    "server_error_503": Kind(End.NOT_DONE),
    "server_error_503_retry_after": Kind(End.NOT_DONE, wait=1),
    "server_error_504": Kind(End.UNPROVEN),
    "server_error_after": Kind(End.UNPROVEN, acts=True),
    "html_502": Kind(End.UNPROVEN),
    "html_502_after": Kind(End.UNPROVEN, acts=True),
    "html_200": Kind(End.UNREADABLE),
    "redirect_301": Kind(End.REDIRECT),
    "redirect_302": Kind(End.REDIRECT),
    "redirect_307": Kind(End.REDIRECT),
    "redirect_308": Kind(End.REDIRECT),
    "redirect_same_host": Kind(End.REDIRECT),
    "truncate": _NO_ANSWER,
    "truncate_chunked": _NO_ANSWER,
    "huge_body": _TOO_LARGE,
    "huge_body_chunked": _TOO_LARGE,
    "gzip_bomb": _TOO_LARGE,
    "content_type_html": _SUCCESS,
    "content_type_plain": _SUCCESS,
    "empty_200": _UNREADABLE,
    "empty_204": _UNREADABLE,
    "invalid_json": _UNREADABLE,
    "not_utf8": _UNREADABLE,
    "not_an_object": _UNREADABLE,
    "deep": _UNREADABLE,
    "nulls": _WRONG_VALUES,
    "missing": _WRONG_VALUES,
    "wrong_types": _UNREADABLE,
    "unknown_values": Kind(End.UNKNOWN_VALUES, acts=True),
    "duplicate_pages": _WRONG_PAGE,
    "endless_pages": _WRONG_PAGE,
    "endless_empty_pages": _WRONG_PAGE,
    "wrong_totals": _WRONG_PAGE,
    "wrong_totals_negative": _WRONG_PAGE,
    "wrong_totals_large": _WRONG_PAGE,
    "clock_ahead": Kind(End.CLOCK),
    "clock_behind": Kind(End.CLOCK),
}

#: Pauses that a service asks for in the body, by its document. Others do not read the body.
IN_BODY: Final = {
    ("streamspace", "too_many_body"): 1.0,
    ("streamspace", "too_many_body_camel_case"): 1.0,
}
#: A viewer of the published server: a 503 may be of a replica that does not know the agent, so it
#: is asked again until its own time is over.
VIEWER: Final = "streamspace-published:vnc"
SAYS_503: Final = frozenset(
    {"html_503", "html_503_after", "server_error_503", "server_error_503_retry_after"}
)
#: Seconds. The client does not wait for longer pauses.
TOO_LONG: Final = 1000
#: Providers whose requests are signed with the time.
SIGNED: Final = frozenset({"computers", "streams"})


def _faults() -> dict[str, Fault]:
    made = Fault.catalogue(size=TOO_LARGE)
    # Shorter than the pauses between attempts, so that the service is back in time.
    made["refuse"] = Fault.refuse(0.01)
    # In pieces that are large enough for a screenshot within seconds.
    made["drip"] = Fault.drip(0.001, 4096)
    # Too deep to decode, and not too large.
    made["deep"] = Fault.deep(20_000)
    return made


_FAULTS: Final = _faults()
NAMES: Final = (REFUSING, REFUSED_200, *GATEWAYS, *_FAULTS)


def ordered(target: Target, name: str) -> Fault | None:
    """The emulator's fault of this name.

    Returns:
        None if it is no fault of the emulator, or if this provider has no such answer.
    """
    if name == REPLAYED and target.api not in SIGNED:
        return None
    if name == REFUSED_200:
        body = REFUSALS_200.get(target.api)
        return None if body is None else Fault.reply(200, body, content_type="application/json")
    return GATEWAYS.get(name) or _FAULTS.get(name)


@frozen(kw_only=True)
class Expected:
    """The expected outcome of a call.

    Attributes:
        outcomes: the exact classes of the allowed errors; None: success.
        sent: how many requests must arrive; None: any number.
        acts: how often the service must have acted; None: any number.
        unknown: whether an error must say that the service may have carried out the call.
        wait: the least number of seconds between two requests.
    """

    outcomes: tuple[type[Exception] | None, ...]
    sent: int | None
    acts: int | None
    unknown: bool = False
    wait: float = 0.0


def felt(target: Target, fault: str) -> bool:
    """Whether the fault has an effect on this call."""
    kind = KINDS[fault]
    if kind.end is End.WRONG_PAGE:
        return target.answer is Answer.PAGE
    if kind.end is End.CLOCK or fault == REPLAYED:
        return target.api in SIGNED
    if fault == REFUSED_200:
        return target.api in REFUSALS_200
    if target.answer is Answer.SOCKET:
        # Faults after the service has acted are too late for an open WebSocket. A silent service is
        # silent before it opens.
        return fault in ("delay", "stall_headers") or not kind.acts
    if target.answer is Answer.NOTHING:
        return not kind.acts or fault in (
            "delay",
            "drip",
            "reset_after",
            "stall_headers",
            "server_error_after",
            "html_502_after",
            "html_503_after",
            "html_403_after",
        )
    return True


def expected(target: Target, fault: str, *, lasting: bool) -> Expected:  # noqa: PLR0911 - a table
    """The expected outcome of a call to this endpoint if this fault applies once or each time."""
    kind, usual = KINDS[fault], target.requests
    success = Expected(outcomes=(None,), sent=usual, acts=usual)
    # The outcome of a call that changes nothing is never unknown.
    changes = target.method != "GET"
    if not felt(target, fault):
        return success
    if fault in SAYS_503 and f"{target.api}:{target.name}" == VIEWER and lasting:
        return Expected(outcomes=(TransportError,), sent=None, acts=0)
    match kind.end:
        case End.SUCCESS | End.UNKNOWN_VALUES:
            return success
        case End.NO_CONNECTION:
            return Expected(outcomes=(ConnectError,), sent=0, acts=0) if lasting else success
        case End.NO_ANSWER | End.TIMEOUT:
            return _no_answer(target, fault, lasting=lasting)
        case End.NOT_DONE:
            return _not_done(target, fault, lasting=lasting)
        case End.DENIED if target.api in SIGNED:
            return Expected(outcomes=(PermissionDeniedError,), sent=1, acts=0)
        case End.UNPROVEN | End.DENIED:
            return _unproven(target, acts=kind.acts, error=kind.error, lasting=lasting)
        case End.GATEWAY | End.REDIRECT | End.UNREADABLE | End.TOO_LARGE:
            error = _ERRORS.get(kind.end, kind.error)
            return Expected(outcomes=(error,), sent=1, acts=int(kind.acts), unknown=changes)
        case End.WRONG_VALUES | End.WRONG_PAGE:
            return Expected(outcomes=(None, DecodeError), sent=None, acts=None, unknown=changes)
        case End.CLOCK if lasting:
            return Expected(outcomes=(None,), sent=usual + 1, acts=usual)
        case End.CLOCK:
            return Expected(outcomes=(AuthenticationError,), sent=2, acts=0)


_ERRORS: Final[Mapping[End, type[Exception]]] = {
    End.REDIRECT: APIError,
    End.UNREADABLE: DecodeError,
    End.TOO_LARGE: LimitExceededError,
}


def _unproven(target: Target, *, acts: bool, error: type[Exception], lasting: bool) -> Expected:
    """It is not known whether the service acted: repeated if that does no harm."""
    if lasting or not target.repeatable:
        sent = ATTEMPTS if target.repeatable else 1
        return Expected(
            outcomes=(error,), sent=sent, acts=sent * acts, unknown=target.method != "GET"
        )
    if acts and target.gone:
        return Expected(outcomes=(NotFoundError,), sent=2, acts=1, unknown=True)
    done = target.requests if target.settled else target.requests + acts
    return Expected(outcomes=(None,), sent=target.requests + 1, acts=done)


def _no_answer(target: Target, fault: str, *, lasting: bool) -> Expected:
    kind = KINDS[fault]
    # Before a WebSocket opens the service has not acted.
    acts = kind.acts and target.answer is not Answer.SOCKET
    right = _unproven(
        target,
        acts=acts,
        error=RequestTimeout if kind.end is End.TIMEOUT else TransportError,
        lasting=lasting,
    )
    # While a service is down, no requests arrive.
    return evolve(right, sent=None) if fault == "refuse" and lasting else right


def _not_done(target: Target, fault: str, *, lasting: bool) -> Expected:
    """The service certainly did not act: repeated, whatever it is, after the pause."""
    kind = KINDS[fault]
    wait = IN_BODY.get((target.provider.api, fault), kind.wait)
    if wait > TOO_LONG:
        return Expected(outcomes=(kind.error,), sent=1, acts=0)
    if lasting:
        return Expected(outcomes=(kind.error,), sent=ATTEMPTS, acts=0, wait=wait)
    return Expected(outcomes=(None,), sent=target.requests + 1, acts=target.requests, wait=wait)

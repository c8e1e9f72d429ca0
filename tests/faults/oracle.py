"""What must become of a call under a fault, from what the fault does and what may be repeated. Not from the client's code.

In one table, for a fault that happens once and for one that never ends:

| the fault | may be repeated | may not (POST, PATCH) | unknown |
|---|---|---|---|
| no connection | sent when there is one; `ConnectError` | the same: it never arrived | no |
| no answer, or half of one | sent again; `TransportError` | `TransportError` | yes |
| any 429, the service's 503 | sent again, when asked to; `RateLimitError`, `ServerError` | the same | no |
| 429 for longer than one waits | `RateLimitError` at once | the same | no |
| a gateway's 503, another 5xx | sent again; `ServerError` | `ServerError` | yes |
| a 408 | sent again; `InvalidRequestError` | `InvalidRequestError` | yes |
| a gateway's 403 | `PermissionDeniedError` | the same | yes |
| a nonce of ours that was used before | signed anew; `ServerError` | `ServerError` | yes |
| a refusal under HTTP 200 | in the provider's words; of desktops it is a 5xx in effect | the same | no; yes |
| a redirect | `APIError`; the other host hears nothing | the same | yes |
| an answer that is none, somebody else's JSON | `DecodeError` | the same | yes |
| more than the client takes | `LimitExceededError` | the same | yes |
| an answer that lies | what it says, or `DecodeError` | the same | yes |
| a clock that is off | signed again by it; by one that jumps back `AuthenticationError` | the same | no |
| an answer that is late or oddly labelled | what it says | the same | |

Unknown is whether the error says that the service may have carried it out. Of a call that changes
nothing, none says so.

**The evidence**, from the facts: a connection that was refused carried nothing. 429 is what limits
answer before anything is done (RFC 6585). The service's envelope or error object with a 4xx or a
503 is the service's own word that it refused. All else may come after the deed: the emulator sends
a gateway's pages before it and after it, and no client can tell which.

One 4xx of the service is no such word: that the nonce was used before. The client signs every
attempt with a nonce that nobody had, and the service uses a nonce up when it lets a request in. So
a copy of the request was let in, by a proxy that sent it twice, and its answer is what was lost.
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
#: Bytes of an answer that the client takes, and of those that are too large.
BOUND: Final = 300_000
TOO_LARGE: Final = 600_000
#: No connection is made at all. It happens to a listener, so it is no `Fault`.
REFUSING: Final = "refusing"
#: A refusal that looks like a success, in each provider's own words; StreamSpace has none.
REFUSED_200: Final = "refused_200"
#: A proxy repeats the request, and the service refuses the copy for its nonce.
REPLAYED: Final = "replayed"
#: What the emulator's catalogue has no name for: a gateway in front of the service answers, before
#: the deed or after it.
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
SAYING: Final[Mapping[str, bytes]] = {
    "computers": b'{"client_code":4710,"message":"Permission required"}',
    "streams": b'{"client_code":4710,"message":"Permission required"}',
    "desktops": b'{"status":"error","error":"it did not work","details":"none"}',
}


class End(Enum):
    """How one exchange ends."""

    WHOLE = "an answer that means what it says"
    NEVER = "no connection"
    LOST = "no answer, or half of one"
    LATE = "no answer in time"
    REFUSED = "not done, and said so"
    BROKEN = "an error that proves nothing, and may pass"
    STRANGER = "a gateway's refusal that stands"
    DENIED = "a refusal that stands"
    ELSEWHERE = "a redirect"
    GARBLED = "an answer that is none"
    TOO_LARGE = "more than the client takes"
    LYING = "an answer that lies"
    UNHEARD = "an answer with values that nobody knows"
    PAGES = "a page that lies about the list"
    CLOCK = "a signature that seems too old, or too new"


@frozen
class Kind:
    """What a fault does to one exchange: how it ends, whether the service acts, and how long it asks one to wait."""

    end: End
    acts: bool = False
    wait: float = 0.0
    error: type[APIError] = ServerError


_LOST, _GARBLED, _LYING = (Kind(end, acts=True) for end in (End.LOST, End.GARBLED, End.LYING))
_TOO_MANY = Kind(End.REFUSED, error=RateLimitError)
_WHOLE, _PAGES, _TOO_LARGE = (Kind(end, acts=True) for end in (End.WHOLE, End.PAGES, End.TOO_LARGE))

KINDS: Final[Mapping[str, Kind]] = {
    REFUSING: Kind(End.NEVER),
    REFUSED_200: Kind(End.DENIED),
    "html_503": Kind(End.BROKEN),
    "html_503_after": Kind(End.BROKEN, acts=True),
    "text_408": Kind(End.BROKEN, error=InvalidRequestError),
    "html_403": Kind(End.STRANGER, error=PermissionDeniedError),
    "html_403_after": Kind(End.STRANGER, acts=True, error=PermissionDeniedError),
    REPLAYED: Kind(End.BROKEN, acts=True),
    "json_200": Kind(End.GARBLED),
    "json_empty_200": Kind(End.GARBLED),
    "refuse": Kind(End.LOST),
    "reset_before": Kind(End.LOST),
    "reset_after": _LOST,
    "delay": _WHOLE,
    "stall_headers": Kind(End.LATE, acts=True),
    "stall_body": Kind(End.LATE, acts=True),
    "drip": _WHOLE,
    "too_many_seconds": Kind(End.REFUSED, wait=1, error=RateLimitError),
    "too_many_date": Kind(End.REFUSED, wait=1, error=RateLimitError),
    "too_many_milliseconds": Kind(End.REFUSED, wait=0.5, error=RateLimitError),
    "too_many_body": _TOO_MANY,
    "too_many_body_camel_case": _TOO_MANY,
    "too_many_silent": _TOO_MANY,
    "too_many_long": Kind(End.REFUSED, wait=10**9, error=RateLimitError),
    "too_many_negative": _TOO_MANY,
    "too_many_garbage": _TOO_MANY,
    "server_error_500": Kind(End.BROKEN),
    "server_error_502": Kind(End.BROKEN),
    "server_error_503": Kind(End.REFUSED),
    "server_error_503_retry_after": Kind(End.REFUSED, wait=1),
    "server_error_504": Kind(End.BROKEN),
    "server_error_after": Kind(End.BROKEN, acts=True),
    "html_502": Kind(End.BROKEN),
    "html_502_after": Kind(End.BROKEN, acts=True),
    "html_200": Kind(End.GARBLED),
    "redirect_301": Kind(End.ELSEWHERE),
    "redirect_302": Kind(End.ELSEWHERE),
    "redirect_307": Kind(End.ELSEWHERE),
    "redirect_308": Kind(End.ELSEWHERE),
    "redirect_same_host": Kind(End.ELSEWHERE),
    "truncate": _LOST,
    "truncate_chunked": _LOST,
    "huge_body": _TOO_LARGE,
    "huge_body_chunked": _TOO_LARGE,
    "gzip_bomb": _TOO_LARGE,
    "content_type_html": _WHOLE,
    "content_type_plain": _WHOLE,
    "empty_200": _GARBLED,
    "empty_204": _GARBLED,
    "invalid_json": _GARBLED,
    "not_utf8": _GARBLED,
    "not_an_object": _GARBLED,
    "deep": _GARBLED,
    "nulls": _LYING,
    "missing": _LYING,
    "wrong_types": _GARBLED,
    "unknown_values": Kind(End.UNHEARD, acts=True),
    "duplicate_pages": _PAGES,
    "endless_pages": _PAGES,
    "endless_empty_pages": _PAGES,
    "wrong_totals": _PAGES,
    "wrong_totals_negative": _PAGES,
    "wrong_totals_large": _PAGES,
    "clock_ahead": Kind(End.CLOCK),
    "clock_behind": Kind(End.CLOCK),
}

#: Where the service says it in the body, by its document: elsewhere nobody asked for a pause.
IN_BODY: Final = {
    ("streamspace", "too_many_body"): 1.0,
    ("streamspace", "too_many_body_camel_case"): 1.0,
}
#: Seconds that nobody waits for.
TOO_LONG: Final = 1000
#: Who signs with a time.
SIGNED: Final = frozenset({"computers", "streams"})


def _faults() -> dict[str, Fault]:
    made = Fault.catalogue(size=TOO_LARGE)
    # Shorter than the pauses between attempts, so that the service is back in time.
    made["refuse"] = Fault.refuse(0.01)
    # In pieces that bring a screenshot within seconds.
    made["drip"] = Fault.drip(0.001, 4096)
    # Deeper than anything that decodes, and small enough to be taken.
    made["deep"] = Fault.deep(20_000)
    return made


_FAULTS: Final = _faults()
NAMES: Final = (REFUSING, REFUSED_200, *GATEWAYS, *_FAULTS)


def ordered(target: Target, name: str) -> Fault | None:
    """The fault of this name; None for what is none of the emulator's, or has no words at this provider."""
    if name == REPLAYED and target.api not in SIGNED:
        return None
    if name == REFUSED_200:
        words = SAYING.get(target.api)
        return None if words is None else Fault.reply(200, words, content_type="application/json")
    return GATEWAYS.get(name) or _FAULTS.get(name)


@frozen(kw_only=True)
class Expected:
    """What must become of a call.

    Attributes:
        outcomes: the classes of error that are right, exactly; None is success.
        sent: how many requests must arrive; None: that is not told.
        acts: how often the service must have done it.
        unknown: whether an error says that the service may have carried it out.
        wait: seconds that must lie between two requests.
    """

    outcomes: tuple[type[Exception] | None, ...]
    sent: int | None
    acts: int | None
    unknown: bool = False
    wait: float = 0.0


def felt(target: Target, fault: str) -> bool:
    """Whether the fault finds something to spoil."""
    kind = KINDS[fault]
    if kind.end is End.PAGES:
        return target.answer is Answer.PAGE
    if kind.end is End.CLOCK or fault == REPLAYED:
        return target.api in SIGNED
    if fault == REFUSED_200:
        return target.api in SAYING
    if target.answer is Answer.SOCKET:
        # What comes after the service has acted comes too late for one that is open; its silence comes before.
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
    """What must become of a call to this endpoint when this happens to it once, or each time."""
    kind, usual = KINDS[fault], target.requests
    well = Expected(outcomes=(None,), sent=usual, acts=usual)
    # What changes nothing leaves nothing unknown.
    changes = target.method != "GET"
    if not felt(target, fault):
        return well
    match kind.end:
        case End.WHOLE | End.UNHEARD:
            return well
        case End.NEVER:
            return Expected(outcomes=(ConnectError,), sent=0, acts=0) if lasting else well
        case End.LOST | End.LATE:
            return _lost(target, fault, lasting=lasting)
        case End.REFUSED:
            return _refused(target, fault, lasting=lasting)
        case End.DENIED if target.api in SIGNED:
            return Expected(outcomes=(PermissionDeniedError,), sent=1, acts=0)
        case End.BROKEN | End.DENIED:
            return _broken(target, acts=kind.acts, error=kind.error, lasting=lasting)
        case End.STRANGER | End.ELSEWHERE | End.GARBLED | End.TOO_LARGE:
            error = _ERRORS.get(kind.end, kind.error)
            return Expected(outcomes=(error,), sent=1, acts=int(kind.acts), unknown=changes)
        case End.LYING | End.PAGES:
            return Expected(outcomes=(None, DecodeError), sent=None, acts=None, unknown=changes)
        case End.CLOCK if lasting:
            return Expected(outcomes=(None,), sent=usual + 1, acts=usual)
        case End.CLOCK:
            return Expected(outcomes=(AuthenticationError,), sent=2, acts=0)


_ERRORS: Final[Mapping[End, type[Exception]]] = {
    End.ELSEWHERE: APIError,
    End.GARBLED: DecodeError,
    End.TOO_LARGE: LimitExceededError,
}


def _broken(target: Target, *, acts: bool, error: type[Exception], lasting: bool) -> Expected:
    """What leaves open what was done: repeated where that does no harm."""
    if lasting or not target.repeatable:
        sent = ATTEMPTS if target.repeatable else 1
        return Expected(
            outcomes=(error,), sent=sent, acts=sent * acts, unknown=target.method != "GET"
        )
    if acts and target.gone:
        return Expected(outcomes=(NotFoundError,), sent=2, acts=1, unknown=True)
    return Expected(outcomes=(None,), sent=target.requests + 1, acts=target.requests + acts)


def _lost(target: Target, fault: str, *, lasting: bool) -> Expected:
    kind = KINDS[fault]
    # A WebSocket is silent before it opens.
    acts = kind.acts and target.answer is not Answer.SOCKET
    right = _broken(
        target,
        acts=acts,
        error=RequestTimeout if kind.end is End.LATE else TransportError,
        lasting=lasting,
    )
    # While a service is down, nothing arrives there.
    return evolve(right, sent=None) if fault == "refuse" and lasting else right


def _refused(target: Target, fault: str, *, lasting: bool) -> Expected:
    """What was not done for certain: repeated whatever it is, but not before it was asked to be."""
    kind = KINDS[fault]
    wait = IN_BODY.get((target.api, fault), kind.wait)
    if wait > TOO_LONG:
        return Expected(outcomes=(kind.error,), sent=1, acts=0)
    if lasting:
        return Expected(outcomes=(kind.error,), sent=ATTEMPTS, acts=0, wait=wait)
    return Expected(outcomes=(None,), sent=target.requests + 1, acts=target.requests, wait=wait)

"""How the desktop-action API refuses: two shapes of error body, and a plain text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from attrs import evolve, frozen

from vcloud._core.decoding.codec import Codec
from vcloud._core.decoding.mismatch import excerpt
from vcloud._core.decoding.plain_json import too_deep
from vcloud._core.error_for_status import error_for_status
from vcloud._core.limits.headers import retry_after
from vcloud._core.limits.windows import RateLimit
from vcloud._core.outcome import Form, Proof, proof_of_answer
from vcloud._core.request import Request, Response
from vcloud.errors import (
    APIError,
    AuthenticationError,
    DecodeError,
    InvalidRequestError,
    RateLimitError,
    ServerError,
    VCloudError,
)
from vcloud.errors.text import shortened
from vcloud.providers.desktops.models import Reply

if TYPE_CHECKING:
    from vcloud.providers.desktops.models import ActionResult

__all__ = ["DIALECT", "ActionsFailed", "NoStreamError"]

#: What the document says of each status, in fewer words.
MEANINGS: Final[Mapping[int, str]] = {
    400: "the service cannot make sense of the request",
    401: "the API key is not valid",
    403: "the API key has no right to this",
    404: "there is no such desktop, or it belongs to somebody else",
    409: "the desktop is not in a state in which this can be done",
    429: "too many requests",
    500: "the service met a situation that it does not know how to handle",
    502: "the service got no valid answer from behind its gateway, or none in time",
}

# Also what any unknown path of the service's framework is answered with, so both are said.
_KEY_MISSING: Final = "the API key is missing: none arrived at the service (or nothing of it is at this address: both are answered like this)"
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_EXIT_CODE: Final = re.compile(r"Command failed with code ([0-9]{1,9})(?![0-9])")

#: What the service says of itself (from its published source): none of it is repeated from a
#: request.
_OWN_PHRASES: Final = re.compile(
    r"(Desktop|Instance) is not running|\(status: [a-z_]+\)"
    r"|Cannot (perform action|execute command)\."
    r"|Desktop( instance)? not found( or user not authorized\.)?|Invalid API key"
    r"|An unexpected internal server error occurred\."
    r"|Failed to (perform|execute) [a-z_]+( action)?:"
    rf"|{_EXIT_CODE.pattern}"
)
#: With one of these the service refuses before it looks at a text, so that words which it shares
#: with one prove nothing.
_REFUSED_UNREAD: Final = frozenset({401, 403, 404, 409, 429})
_OWN_WORDS: Final = frozenset(
    (
        " ".join(MEANINGS.values())
        + " instance is not found or user not authorized invalid running pending terminated"
        " completed error status"
        " cannot perform execute action command no stopped stopping ended"
    ).split()
)
#: How a shell (bash, dash, sh, with or without its path) and xdotool begin to say that something
#: failed. Warnings are none.
_COMPLAINT: Final = re.compile(
    r"^((?:\S*/)?(?:ba|da)?sh: (?!warning)|Error: |Failed |X Error |xdo)", re.MULTILINE
)


class NoStreamError(VCloudError):
    """The desktop has no stream to connect to.

    Attributes:
        status: the desktop's status.
    """

    def __init__(self, message: str, *, status: str) -> None:
        super().__init__(message)
        self.status = status


class ActionsFailed(VCloudError):
    """One of several actions failed, and those after it were not sent.

    ``outcome_unknown`` is set when the one that failed may have been done, or when any was done
    before it: whoever sends them all again would do those twice.

    Attributes:
        index: which one, from 0.
        results: what those before it came to.
        error: why it failed; ``__cause__`` too, but this one survives pickling.
    """

    def __init__(
        self, message: str, *, index: int, results: tuple[ActionResult, ...], error: VCloudError
    ) -> None:
        super().__init__(message, outcome_unknown=error.outcome_unknown or index > 0)
        self.index = index
        self.results = results
        self.error = error


def say_typed(error: VCloudError, typed: int, total: int) -> None:
    """Let an error say how many characters of a text were confirmed before it, and never which.

    If there are any, ``outcome_unknown`` is set: whoever sends the whole text again would type them
    twice.
    """
    error.typed = typed
    error.outcome_unknown = error.outcome_unknown or typed > 0
    progress = f"; {typed} of {total} characters were typed"
    if isinstance(error, APIError):
        error.message += progress
    else:
        error.args = (f"{error.args[0]}{progress}", *error.args[1:])


def complaint(output: str) -> str:
    """What a command of xdotool printed, if that says that it failed: its exit code is lost."""
    return output if _COMPLAINT.search(output) else ""


def failed_command(said: str, request: Request, url: str) -> ServerError:
    """The error of a command that the service reports as a success."""
    return ServerError(
        f"the command failed on the desktop: {said}",
        status=200,
        provider=DIALECT.provider,
        method=request.method,
        url=url,
    )


@frozen(kw_only=True, eq=False, repr=False)
class _Refusal:
    """Just enough of an answer to see whether it is a refusal, in either form, and what it says."""

    id: Any = None
    status: Any = None
    success: Any = None
    error: Any = None
    details: Any = None
    docs: Any = None

    @property
    def over_success(self) -> bool:
        """Whether it refuses under an HTTP status of success. A desktop, which has an id, may itself be in ``error``."""
        return self.id is None and (self.status == "error" or self.success is False)

    @property
    def issues(self) -> Sequence[Any] | None:
        """What is wrong with which field, in the shape that schema violations have."""
        issues = self.error.get("issues") if isinstance(self.error, dict) else None
        return issues if isinstance(issues, list) else None

    @property
    def words(self) -> str | None:
        """The service's words, from wherever they stand."""
        if isinstance(self.error, str):
            return self.error or None
        if self.issues is not None:
            return (
                "; ".join(_issue(issue) for issue in self.issues[:_MAX_ISSUES])
                or "the request breaks the service's schema"
            )
        return None


#: Violations of a schema that an error's text names. All that are kept stand in its details.
_MAX_ISSUES: Final = 10
#: Steps of the path to a field that breaks the schema. The documented bodies are two levels deep.
_MAX_STEPS: Final = 8


def _issue(issue: object) -> str:
    if not isinstance(issue, dict):
        return _said(issue)
    steps = issue.get("path")
    path = ".".join(map(_said, steps[:_MAX_STEPS])) if isinstance(steps, list) else ""
    return f"{path}: {_said(issue.get('message'))}" if path else _said(issue.get("message"))


def _said(value: object) -> str:
    return shortened(value if isinstance(value, str) else str(value), 200)


class DesktopsDialect(msgspec.Struct, frozen=True):
    """How the desktop-action API refuses."""

    provider: str = "desktops"
    #: Its document promises none.
    rate_limits: tuple[RateLimit, ...] = ()
    fixed_paths: frozenset[str] = frozenset()

    def succeeded(self, answer: object) -> bool:
        """Whether it is no refusal. A desktop, which has an id, may itself be in ``error``."""
        return not isinstance(answer, Reply) or not answer.refuses

    def error(
        self, request: Request, response: Response, url: str, *, now: float
    ) -> APIError | None:
        """The refusal in the status, or in the body of an HTTP success."""
        ok = 200 <= response.status < 300
        try:
            refusal = _CODEC.decode_refusal(response.body, _Refusal)
        except DecodeError:
            if ok:
                # The endpoint's own decoding says better what is wrong with it.
                return None
            return self._make(
                request, response, url, _Refusal(), _plain(request, response), now=now
            )
        if ok and not refusal.over_success:
            return None
        if too_deep([refusal.error, refusal.details, refusal.docs]):
            refusal = evolve(refusal, error=None, details=None, docs=None)
        return self._make(request, response, url, refusal, refusal.words, now=now)

    def _make(
        self,
        request: Request,
        response: Response,
        url: str,
        refusal: _Refusal,
        words: str | None,
        *,
        now: float,
    ) -> APIError:
        status = response.status
        kind = (
            (ServerError if refusal.issues is None else InvalidRequestError)
            if status < 300
            else AuthenticationError
            if words is _KEY_MISSING
            else error_for_status(status)
        )
        details = _details(refusal)
        if request.sensitive and _repeats(request, refusal, status):
            details.pop("details", None)
            details.pop("issues", None)
            words = "the service's words are not shown because they repeat what was sent"
        meaning = "" if words is _KEY_MISSING else MEANINGS.get(status, "")
        made = kind(
            words or meaning or "no reason given",
            status=status,
            meaning=meaning,
            provider=self.provider,
            method=request.method,
            url=url,
            request_id=response.headers.get("X-Request-Id"),
            details=details or None,
        )
        if isinstance(made, RateLimitError):
            made.retry_after = retry_after(response.headers, now=now)
        return made

    def proof(self, request: Request, response: Response, error: APIError) -> Proof:
        """What a refusal proves, by its form: one of two error objects, or the 404 without a key.

        Two failures are known although the status is 500: of an action whose command ended with an
        exit code, and with an id that is no UUID, which names no desktop (published source).
        """
        # A refusal under an HTTP status of success is a 5xx in all but its number.
        status = response.status if response.status >= 300 else 500
        if isinstance(error, AuthenticationError) and error.status == 404:
            return proof_of_answer(status, Form.OWN)
        try:
            refusal = _CODEC.decode_refusal(response.body, _Refusal)
        except DecodeError:
            return proof_of_answer(status, Form.FOREIGN)
        if refusal.issues is not None:
            # The request was held against the service's schema before anything was done with it.
            return proof_of_answer(400, Form.OWN)
        if refusal.status != "error" or not isinstance(refusal.error, str):
            return proof_of_answer(status, Form.FOREIGN)
        stated = _EXIT_CODE.search(refusal.error) or (status == 500 and _is_of_no_desktop(request))
        return proof_of_answer(status, Form.FAILURE if stated else Form.OWN)


def _is_of_no_desktop(request: Request) -> bool:
    """Whether it names a desktop by an id that cannot be one."""
    id = request.path.removeprefix("/desktop").strip("/").partition("/")[0]
    return bool(id) and not _UUID.fullmatch(id)


def _plain(request: Request, response: Response) -> str:
    """What an answer that is no JSON says: a missing key is a 404 in plain text, anything else comes from a proxy."""
    if response.status == 404 and response.headers.get("Content-Type", "").startswith("text/plain"):
        return _KEY_MISSING
    return excerpt(response.body, sensitive=request.sensitive)


def _details(refusal: _Refusal) -> dict[str, Any]:
    """What else the service said, as it said it, and the exit code that a failing action has in its words."""
    details = {"docs": refusal.docs, "details": refusal.details, "issues": refusal.issues}
    if isinstance(refusal.error, str) and (found := _EXIT_CODE.search(refusal.error)):
        details["exit_code"] = int(found[1])
    return {name: value for name, value in details.items() if value is not None}


def _repeats(request: Request, refusal: _Refusal, status: int) -> bool:
    """Whether the service repeats something of a text that must not be repeated, whole or a word of it."""
    if request.body is None:
        return False
    said = _OWN_PHRASES.sub(" ", "\n".join(_texts([refusal.error, refusal.details])))
    harmless = _OWN_WORDS if status in _REFUSED_UNREAD else frozenset[str]()
    sent = {
        text.strip()
        for name, value in msgspec.json.decode(request.body).items()
        if name != "type"
        for text in _texts(value)
    }
    words = {word for text in sent for word in text.split() if word.lower() not in harmless}
    long = {word for word in words if len(word) >= _SHORTEST}
    short = words - long
    # A text with a long word stands nowhere where that word does not.
    return _holds_any(long, said) or any(
        _stands_in(text, said)
        for text in sent
        if not short.isdisjoint(found := text.split()) and long.isdisjoint(found)
    )


#: Characters of a word that is looked for anywhere. A shorter one is in any long text.
_SHORTEST: Final = 4
#: Characters of a word that are looked for: where so many of them came back, it was repeated.
_LONGEST: Final = 16
#: Characters of a whole text that are looked for, likewise.
_MAX_WHOLE: Final = 200


def _holds_any(words: set[str], said: str) -> bool:
    """Whether any of the words is a part of what was said.

    The work is that of a few passes over what was said, however many words there are: of each
    length up to 16, all parts of what was said are looked up among the words.
    """
    by_length: dict[int, set[str]] = {}
    for word in words:
        start = word[:_LONGEST]
        by_length.setdefault(len(start), set()).add(start)
    return any(
        starts.pop() in said
        if len(starts) == 1
        else not starts.isdisjoint(said[at : at + length] for at in range(len(said) - length + 1))
        for length, starts in by_length.items()
    )


def _stands_in(text: str, said: str) -> bool:
    """Whether a short text stands in what was said by itself, and not as a part of a word."""
    start = text[:_MAX_WHOLE]
    end = r"(?!\w)" if start == text else ""
    return re.search(rf"(?<!\w){re.escape(start)}{end}", said) is not None


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from _texts(inner)


_CODEC = Codec()

DIALECT = DesktopsDialect()

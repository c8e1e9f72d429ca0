"""The errors of the desktop-action API: two forms of JSON, and a plain text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from attrs import evolve, frozen

from vcloud._core.codec import Codec
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

__all__ = ["SERVICE", "ActionsFailed", "NoStreamError"]

#: What each status means, in short, from the document.
MEANINGS: Final[Mapping[int, str]] = {
    400: "the service cannot understand the request",
    401: "the API key is not valid",
    403: "the API key has no right to this",
    404: "there is no such desktop, or it belongs to another user",
    409: "the desktop is not in a state that allows this",
    429: "too many requests",
    500: "the service failed unexpectedly",
    502: "the gateway got no valid answer from the service, or none in time",
}

# The service gives the same answer for any unknown path, so the message names both causes.
_KEY_MISSING: Final = (
    "the API key is missing: none arrived at the service "
    "(or the base URL is wrong: the answer is the same)"
)
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_EXIT_CODE: Final = re.compile(r"Command failed with code ([0-9]{1,9})(?![0-9])")

#: The service's own phrases (from its published source), and one of vcloud.emulator. None of them
#: repeats a request.
_OWN_PHRASES: Final = re.compile(
    r"(Desktop|Instance) is not running|\(status: [a-z_]+\)"
    r"|Cannot (perform action|execute command)\."
    r"|Desktop( instance)? not found( or user not authorized\.)?|Invalid API key"
    r"|An unexpected internal server error occurred\."
    r"|Failed to (perform|execute) [a-z_]+( action)?:"
    rf"|{_EXIT_CODE.pattern}"
    r"|vcloud\.emulator does not simulate this \(its log says what\): answer commands with "
    r"emulator\.desktops\.on_bash, or use Emulator\(backend='x11', allow_exec=True\)"
)
#: With these statuses the service refuses before it reads a text. So a word of the text in such an
#: error does not prove that the error repeats the text.
_REFUSED_UNREAD: Final = frozenset({401, 403, 404, 409, 429})
_OWN_WORDS: Final = frozenset(
    (
        " ".join(MEANINGS.values())
        + " instance is not found or user not authorized invalid running pending terminated"
        " completed error status"
        " cannot perform execute action command no stopped stopping ended make sense somebody else"
        " which can be done met situation does know how handle behind its"
    ).split()
)
#: The beginning of an error message of a shell (bash, dash, sh, with or without its path) or of
#: xdotool. Warnings are not errors.
_ERROR_OUTPUT: Final = re.compile(
    r"^((?:\S*/)?(?:ba|da)?sh: (?!warning)|Error: |Failed |X Error |xdo)", re.MULTILINE
)


class NoStreamError(VCloudError):
    """The desktop has no stream to connect to.

    Attributes:
        status: the desktop's status.
    """

    def __init__(self, message: str, *, status: str) -> None:
        super().__init__(message)
        self.status: str = status


class ActionsFailed(VCloudError):
    """One of several actions failed, and those after it were not sent.

    ``outcome_unknown`` is set if the failed action may have been done, or if any was done before
    it: sending all of them again would do those twice.

    Attributes:
        index: the index of the failed action, from 0.
        results: the results of the actions before it.
        error: the error of the failed action. It is also ``__cause__``, which pickling drops.
    """

    def __init__(
        self, message: str, *, index: int, results: tuple[ActionResult, ...], error: VCloudError
    ) -> None:
        super().__init__(message, outcome_unknown=error.outcome_unknown or index > 0)
        self.index: int = index
        self.results: tuple[ActionResult, ...] = results
        self.error: VCloudError = error


def add_typed(error: VCloudError, typed: int, total: int) -> None:
    """Add to an error how many characters of a text were confirmed before it, but not which.

    If there are any, ``outcome_unknown`` is set: sending the whole text again would type them
    twice.
    """
    error.typed = typed
    error.outcome_unknown = error.outcome_unknown or typed > 0
    progress = f"; {typed} of {total} characters were typed"
    if isinstance(error, APIError):
        error.message += progress
    else:
        error.args = (f"{error.args[0]}{progress}", *error.args[1:])


def failure_message(output: str) -> str:
    """The output of an xdotool command, if it shows a failure; the exit code is lost."""
    return output if _ERROR_OUTPUT.search(output) else ""


def failed_command(message: str, request: Request, url: str) -> ServerError:
    """The error of a failed command that the service reports as a success."""
    return ServerError(
        f"the command failed on the desktop: {message}",
        status=200,
        provider=SERVICE.provider,
        method=request.method,
        url=url,
    )


@frozen(kw_only=True, eq=False, repr=False)
class _Refusal:
    """The fields of an answer that say whether it is an error, in either form, and which."""

    id: Any = None
    status: Any = None
    success: Any = None
    error: Any = None
    details: Any = None
    docs: Any = None

    @property
    def is_error_despite_success(self) -> bool:
        """Whether an answer with an HTTP status of success is an error.

        A desktop has an id, and its own status may be ``error``.
        """
        return self.id is None and (self.status == "error" or self.success is False)

    @property
    def issues(self) -> Sequence[Any] | None:
        """The schema violations, each with its field and message."""
        issues = self.error.get("issues") if isinstance(self.error, dict) else None
        return issues if isinstance(issues, list) else None

    @property
    def message(self) -> str | None:
        """The service's message, from whichever field has it."""
        if isinstance(self.error, str):
            return self.error or None
        if self.issues is not None:
            return (
                "; ".join(_issue(issue) for issue in self.issues[:MAX_ISSUES])
                or "the request violates the service's schema"
            )
        return None


#: The number of schema violations in an error's message. Its details have all of them.
MAX_ISSUES: Final = 10
#: The number of steps in the path to a field that violates the schema. The documented bodies are
#: two levels deep.
MAX_STEPS: Final = 8


def _issue(issue: object) -> str:
    if not isinstance(issue, dict):
        return _as_text(issue)
    steps = issue.get("path")
    path = ".".join(map(_as_text, steps[:MAX_STEPS])) if isinstance(steps, list) else ""
    return f"{path}: {_as_text(issue.get('message'))}" if path else _as_text(issue.get("message"))


def _as_text(value: object) -> str:
    return shortened(value if isinstance(value, str) else str(value), 200)


class DesktopsService(msgspec.Struct, frozen=True):
    """How the desktop-action API reports errors."""

    provider: str = "desktops"
    #: The document has no rate limits.
    rate_limits: tuple[RateLimit, ...] = ()
    fixed_paths: frozenset[str] = frozenset()
    id_fields: tuple[str, ...] = ("id",)

    def succeeded(self, answer: object) -> bool:
        """Whether the answer is not an error. A desktop itself may be in the state ``error``."""
        return not isinstance(answer, Reply) or not answer.refuses

    def error(
        self, request: Request, response: Response, url: str, *, now: float
    ) -> APIError | None:
        """The error in the status, or in the body of an HTTP success."""
        ok = 200 <= response.status < 300
        try:
            refusal = _CODEC.decode_refusal(response.body, _Refusal)
        except DecodeError:
            if ok:
                # The endpoint's own decoder has a better message.
                return None
            return self._make(
                request, response, url, _Refusal(), _plain(request, response), now=now
            )
        if ok and not refusal.is_error_despite_success:
            return None
        if too_deep([refusal.error, refusal.details, refusal.docs]):
            refusal = evolve(refusal, error=None, details=None, docs=None)
        return self._make(request, response, url, refusal, refusal.message, now=now)

    def _make(
        self,
        request: Request,
        response: Response,
        url: str,
        refusal: _Refusal,
        message: str | None,
        *,
        now: float,
    ) -> APIError:
        status = response.status
        kind = (
            (ServerError if refusal.issues is None else InvalidRequestError)
            if status < 300
            else AuthenticationError
            if message is _KEY_MISSING
            else error_for_status(status)
        )
        details = _details(refusal)
        if request.sensitive and _repeats(request, refusal, status):
            details.pop("details", None)
            details.pop("issues", None)
            message = "the service's message is not shown because it repeats what was sent"
        meaning = "" if message is _KEY_MISSING else MEANINGS.get(status, "")
        made = kind(
            message or meaning or "no reason given",
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
        """What an error proves, by its form: one of two error objects, or the 404 without a key.

        Two failures with status 500 are certain: an action whose command ended with an exit code,
        and an id that is not a UUID, which is not a desktop's (published source).
        """
        # An error with an HTTP status of success is like a 5xx.
        status = response.status if response.status >= 300 else 500
        if isinstance(error, AuthenticationError) and error.status == 404:
            return proof_of_answer(status, Form.OWN)
        try:
            refusal = _CODEC.decode_refusal(response.body, _Refusal)
        except DecodeError:
            return proof_of_answer(status, Form.FOREIGN)
        if refusal.issues is not None:
            # The service checks a request against its schema before it does anything else.
            return proof_of_answer(400, Form.OWN)
        if refusal.status != "error" or not isinstance(refusal.error, str):
            return proof_of_answer(status, Form.FOREIGN)
        stated = _EXIT_CODE.search(refusal.error) or (status == 500 and _has_invalid_id(request))
        return proof_of_answer(status, Form.FAILURE if stated else Form.OWN)


def _has_invalid_id(request: Request) -> bool:
    """Whether the desktop's id in the path is not a UUID."""
    id = request.path.removeprefix("/desktop").strip("/").partition("/")[0]
    return bool(id) and not _UUID.fullmatch(id)


def _plain(request: Request, response: Response) -> str:
    """The message of an answer that is not JSON: a 404 in plain text is the service's.

    It means that the key is missing. Anything else comes from a proxy.
    """
    if response.status == 404 and response.headers.get("Content-Type", "").startswith("text/plain"):
        return _KEY_MISSING
    return excerpt(response.body, sensitive=request.sensitive)


def _details(refusal: _Refusal) -> dict[str, Any]:
    """The other fields of the error, and the exit code in the message of a failed action."""
    details = {"docs": refusal.docs, "details": refusal.details, "issues": refusal.issues}
    if isinstance(refusal.error, str) and (found := _EXIT_CODE.search(refusal.error)):
        details["exit_code"] = int(found[1])
    return {name: value for name, value in details.items() if value is not None}


def _repeats(request: Request, refusal: _Refusal, status: int) -> bool:
    """Whether the error repeats a text of the request, or a word of it."""
    if request.body is None:
        return False
    error_text = _OWN_PHRASES.sub(" ", "\n".join(_texts([refusal.error, refusal.details])))
    harmless = _OWN_WORDS if status in _REFUSED_UNREAD else frozenset[str]()
    sent = {
        text.strip()
        for name, value in msgspec.json.decode(request.body).items()
        if name != "type"
        for text in _texts(value)
    }
    words = {word for text in sent for word in text.split() if word.lower() not in harmless}
    long = {word for word in words if len(word) >= MIN_PART}
    short = words - long
    # A text with a long word cannot be there if that word is not.
    return _contains_any(long, error_text) or any(
        _contains_whole(text, error_text)
        for text in sent
        if not short.isdisjoint(found := text.split()) and long.isdisjoint(found)
    )


#: The shortest word that is searched for as a part of other words. Shorter ones are in any long
#: text.
MIN_PART: Final = 4
#: The number of characters of a word that are searched for: if so many are there, it was repeated.
MAX_PART: Final = 16
#: The same for a whole text.
MAX_WHOLE: Final = 200


def _contains_any(words: set[str], error_text: str) -> bool:
    """Whether any of the words is in the error text.

    This takes a few passes over the error text, however many words there are: for each length up to
    16, all its parts of that length are looked up among the words.
    """
    by_length: dict[int, set[str]] = {}
    for word in words:
        start = word[:MAX_PART]
        by_length.setdefault(len(start), set()).add(start)
    return any(
        starts.pop() in error_text
        if len(starts) == 1
        else not starts.isdisjoint(
            error_text[at : at + length] for at in range(len(error_text) - length + 1)
        )
        for length, starts in by_length.items()
    )


def _contains_whole(text: str, error_text: str) -> bool:
    """Whether a short text is in the error text by itself, and not as a part of a word."""
    start = text[:MAX_WHOLE]
    end = r"(?!\w)" if start == text else ""
    return re.search(rf"(?<!\w){re.escape(start)}{end}", error_text) is not None


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

SERVICE = DesktopsService()

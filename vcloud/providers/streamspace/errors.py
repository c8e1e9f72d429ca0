"""StreamSpace's errors: its codes, and how an answer becomes an exception."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

import msgspec

from vcloud._core.decoding.mismatch import excerpt
from vcloud._core.decoding.plain_json import loads, too_deep
from vcloud._core.error_for_status import error_for_status
from vcloud._core.limits.headers import retry_after
from vcloud._core.limits.windows import RateLimit
from vcloud._core.outcome import Form, Proof, proof_of_answer
from vcloud._core.redaction.sent_secrets import without_sent_secrets
from vcloud._core.request import Request, Response
from vcloud._core.scalars import Integer, instant_or_none
from vcloud.errors import (
    APIError,
    AuthenticationError,
    CapacityError,
    ConflictError,
    ConnectError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)
from vcloud.errors.text import MAX_WORD, shortened
from vcloud.providers.streamspace.models import SessionState
from vcloud.providers.streamspace.server_words import NO_PATH, Words, note_login, words_of

__all__ = ["DIALECT", "InvalidTransitionError", "StreamSpaceCode", "UnrecognisedError"]


class InvalidTransitionError(ConflictError):
    """A session cannot change from its state to the requested one.

    The document has 400 for this in its example and its table of codes, and 422 in its table of
    statuses: both become this error.

    Attributes:
        from_state: the session's state; None if the service's message does not name it.
        to_state: the requested state; None if the service's message does not name it.
    """

    from_state: SessionState | None = None
    to_state: SessionState | None = None


class UnrecognisedError(ConnectError):
    """The installation could not be asked which StreamSpace it is, so nothing else was sent.

    ``__cause__`` is why. The next call asks again.
    """


class StreamSpaceCode(StrEnum):
    """An error's ``code``, with its documented HTTP status, its meaning and its exception.

    The code decides which exception is raised, not the status: the document contradicts itself in
    some statuses.
    """

    status: Integer
    meaning: str
    error: type[APIError]

    def __new__(cls, value: str, status: int, error: type[APIError], meaning: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.status = status
        member.error = error
        member.meaning = meaning
        return member

    AUTH_INVALID_CREDENTIALS = (
        "AUTH_INVALID_CREDENTIALS",
        401,
        AuthenticationError,
        "invalid username or password",
    )
    AUTH_TOKEN_EXPIRED = "AUTH_TOKEN_EXPIRED", 401, AuthenticationError, "JWT token expired"
    AUTH_TOKEN_INVALID = (
        "AUTH_TOKEN_INVALID",
        401,
        AuthenticationError,
        "JWT token invalid or malformed",
    )
    AUTH_TOKEN_MISSING = (
        "AUTH_TOKEN_MISSING",
        401,
        AuthenticationError,
        "authorization header missing",
    )
    AUTH_INSUFFICIENT_PERMISSIONS = (
        "AUTH_INSUFFICIENT_PERMISSIONS",
        403,
        PermissionDeniedError,
        "user lacks required permissions",
    )
    AGENT_NOT_FOUND = "AGENT_NOT_FOUND", 404, NotFoundError, "agent does not exist"
    AGENT_OFFLINE = "AGENT_OFFLINE", 503, CapacityError, "agent is offline"
    AGENT_DRAINING = (
        "AGENT_DRAINING",
        503,
        CapacityError,
        "agent is draining (not accepting new sessions)",
    )
    NO_AGENTS_AVAILABLE = "NO_AGENTS_AVAILABLE", 503, CapacityError, "no online agents for platform"
    AGENT_CAPACITY_EXCEEDED = "AGENT_CAPACITY_EXCEEDED", 503, CapacityError, "agent at max capacity"
    SESSION_NOT_FOUND = "SESSION_NOT_FOUND", 404, NotFoundError, "session does not exist"
    SESSION_ALREADY_EXISTS = (
        "SESSION_ALREADY_EXISTS",
        409,
        ConflictError,
        "session with same name exists",
    )
    #: 400 in the example and the table of codes, 422 in the table of statuses.
    INVALID_STATE_TRANSITION = (
        "INVALID_STATE_TRANSITION",
        400,
        InvalidTransitionError,
        "invalid state change requested",
    )
    SESSION_PROVISIONING_FAILED = (
        "SESSION_PROVISIONING_FAILED",
        500,
        ServerError,
        "failed to provision session",
    )
    SESSION_TERMINATING = "SESSION_TERMINATING", 409, ConflictError, "session is terminating"
    #: 404 in the table, 400 in the example of a create.
    TEMPLATE_NOT_FOUND = "TEMPLATE_NOT_FOUND", 404, NotFoundError, "template does not exist"
    TEMPLATE_INVALID = (
        "TEMPLATE_INVALID",
        400,
        InvalidRequestError,
        "template configuration invalid",
    )
    VALIDATION_FAILED = "VALIDATION_FAILED", 400, InvalidRequestError, "request validation failed"
    INVALID_PARAMETER = (
        "INVALID_PARAMETER",
        400,
        InvalidRequestError,
        "invalid query/path parameter",
    )
    MISSING_REQUIRED_FIELD = (
        "MISSING_REQUIRED_FIELD",
        400,
        InvalidRequestError,
        "required field missing",
    )
    #: Only in an example, not in the tables.
    RATE_LIMIT_EXCEEDED = "RATE_LIMIT_EXCEEDED", 429, RateLimitError, "rate limit exceeded"
    #: Only in an agent's message, which has no HTTP status; 503 like the other codes of an agent
    #: that has no room.
    INSUFFICIENT_RESOURCES = (
        "INSUFFICIENT_RESOURCES",
        503,
        CapacityError,
        "the agent lacks the resources for the session",
    )


_CODES: Mapping[str, StreamSpaceCode] = {str(code): code for code in StreamSpaceCode}
_TRANSITION = re.compile(r"Cannot transition from '([^']*)' to '([^']*)'")


class StreamSpaceDialect(msgspec.Struct, frozen=True):
    """StreamSpace's errors: an HTTP status, and a body with ``error``, ``message`` and ``code``.

    The published server sends no ``code``. What its words mean is in
    :mod:`~vcloud.providers.streamspace.server_words`.
    """

    provider: str
    #: The documented ones. A published server may have none; its first answer says so.
    rate_limits: tuple[RateLimit, ...] = (
        RateLimit(5, 60, "login"),
        RateLimit(10, 60, "create"),
        RateLimit(100, 60),
    )
    fixed_paths: frozenset[str] = frozenset(
        {
            "/admin/agents",
            "/agent/vnc",
            "/agent/ws",
            "/agents/connect",
            "/agents/register",
            "/agents/stats",
            "/auth/login",
            "/auth/logout",
            "/auth/refresh",
            "/auth/setup/status",
            "/users/me",
        }
    )
    #: The published server's sessions and templates have names only.
    id_fields: tuple[str, ...] = ("id", "name", "agentId", "agent_id")

    def succeeded(self, answer: object) -> bool:
        """Whether the answer is a success: it has no ``error``, which only failures have."""
        return getattr(answer, "error", None) is None

    def error(
        self, request: Request, response: Response, url: str, *, now: float
    ) -> APIError | None:
        """The exception for an answer; None for a status of success."""
        if 200 <= response.status < 300:
            return None
        body = without_sent_secrets(_object(response.body), request)
        known = _CODES.get(str(body.get("code")))
        words = _words(request, response, body) if known is None else Words()
        code = known or _CODES.get(words.code or "")
        meaning = words.meaning or (code.meaning if code else "")
        quoted = excerpt(response.body, sensitive=request.sensitive)
        message = _message(body) or meaning or quoted
        if words is NO_PATH:
            message = f"the server has no such path ({message}): is the base_url right?"
        transition = words.states or _transition(message)
        kind = (
            words.error
            or (code.error if code else None)
            or (InvalidTransitionError if transition else error_for_status(response.status))
        )
        made = kind(
            message,
            status=response.status,
            code=code or _word(body, "code"),
            meaning=meaning,
            provider=self.provider,
            method=request.method,
            url=url,
            request_id=_word(body, "request_id", "requestId")
            or response.headers.get("X-Request-ID"),
            details=body.get("details") or body.get("fields"),
            timestamp=instant_or_none(body.get("timestamp")),
        )
        if isinstance(made, RateLimitError):
            made.retry_after = _retry_after(body, response, now)
        if isinstance(made, AuthenticationError):
            note_login(made, body, upgrade=request.upgrades)
        if isinstance(made, InvalidTransitionError) and transition:
            made.from_state, made.to_state = map(_state, transition)
        return made

    def proof(self, request: Request, response: Response, error: APIError) -> Proof:  # noqa: ARG002 - protocol
        """What an error proves about the request, by its form: a documented code, or ``error``.

        Below 500, ``error`` alone is enough to recognise the service. From 500 on there must be a
        code, a message, details or fields beside it, as in the document and, as a rule, on the
        published server: many gateways write ``{"error": ...}`` alone, others a numeric ``status``
        beside it. ``SESSION_PROVISIONING_FAILED`` says how the create ended, and so do some words
        of the published server's database.
        """
        body = _object(response.body)
        # Only a text can be one of the documented codes.
        code = _word(body, "code")
        if code == StreamSpaceCode.SESSION_PROVISIONING_FAILED:
            form = Form.FAILURE
        elif code in _CODES:
            form = Form.CODE
        elif _words(request, response, body).outcome:
            form = Form.FAILURE
        elif _word(body, "error") and not isinstance(body.get("status"), int):
            more = any(body.get(name) for name in ("code", "message", "details", "fields"))
            form = Form.OWN if more or response.status < 500 else Form.FOREIGN
        else:
            form = Form.FOREIGN
        return proof_of_answer(response.status, form)


DIALECT = StreamSpaceDialect("streamspace")


def _words(request: Request, response: Response, body: Mapping[str, Any]) -> Words:
    """What the words of an answer without a documented code mean."""
    words = words_of(response.status, body, upgrade=request.upgrades)
    # What was cut off may have been an error.
    return Words() if words is None or (words is NO_PATH and response.cut) else words


def _state(name: str) -> SessionState:
    return SessionState(shortened(name, MAX_WORD))


def _transition(message: str) -> tuple[str, str] | None:
    """The states that a message of the document names."""
    found = _TRANSITION.search(message)
    return None if found is None else (found[1], found[2])


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = loads(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) and not too_deep(found) else {}


def _word(body: Mapping[str, Any], *names: str) -> str | None:
    return next(
        (value for name in names if isinstance(value := body.get(name), str) and value), None
    )


def _message(body: Mapping[str, Any]) -> str:
    """The service's message, or the short ``error`` with its details."""
    short, details = _word(body, "error"), _word(body, "details")
    return _word(body, "message") or (
        f"{short}: {details}" if short and details else short or details or ""
    )


def _retry_after(body: Mapping[str, Any], response: Response, now: float) -> float | None:
    """Seconds to wait: the longest of those that the headers and the body name."""
    asked = [retry_after(response.headers, now=now)]
    for name in ("retry_after", "retryAfter"):
        value = body.get(name)
        if isinstance(value, int | float | str):
            asked.append(retry_after({"Retry-After": str(value)}, now=now))
    return max((seconds for seconds in asked if seconds is not None), default=None)

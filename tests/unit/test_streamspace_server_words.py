"""The published server's words: each becomes the exception that the document's code has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vcloud import (
    APIError,
    AuthenticationError,
    CapacityError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    Request,
    Response,
    ServerError,
)
from vcloud._core.outcome import Proof
from vcloud._core.request import UPGRADES
from vcloud.providers.streamspace import InvalidTransitionError, SessionState, StreamSpaceCode
from vcloud.providers.streamspace.errors import SERVICE

C = StreamSpaceCode
POST = Request("POST", "/sessions")
DUPLICATE = 'pq: duplicate key value violates unique constraint "users_username_key"'
NO_OWNER = (
    'Failed to create session in database: pq: insert or update on table "sessions" violates '
    'foreign key constraint "sessions_user_id_fkey"'
)
REFERRED = (
    'pq: update or delete on table "agents" violates foreign key constraint '
    '"sessions_agent_id_fkey" on table "sessions"'
)
REQUIRED = (
    "Key: 'CreateUserRequest.FullName' Error:Field validation for 'FullName' failed on the "
    "'required' tag"
)


def said(error: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {"error": error, **({"message": message} if message else {}), **more}


def refusal(status: int, body: object, request: Request = POST) -> tuple[APIError, Proof]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = Response(status, {}, raw)
    error = SERVICE.error(request, response, "https://host/api/v1/x", now=0.0)
    assert error is not None
    return error, SERVICE.proof(request, response, error)


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (401, said("Authorization header required"), AuthenticationError, C.AUTH_TOKEN_MISSING),
        (
            401,
            said("Invalid authorization header format. Use: Bearer <token>"),
            AuthenticationError,
            C.AUTH_TOKEN_INVALID,
        ),
        (
            401,
            said("Invalid or expired token", "failed to parse token: token is malformed"),
            AuthenticationError,
            C.AUTH_TOKEN_INVALID,
        ),
        (
            401,
            said("Invalid or expired token", "failed to parse token: token is expired"),
            AuthenticationError,
            C.AUTH_TOKEN_EXPIRED,
        ),
        (401, said("Session expired or invalidated"), AuthenticationError, C.AUTH_TOKEN_EXPIRED),
        (401, said("Invalid credentials"), AuthenticationError, C.AUTH_INVALID_CREDENTIALS),
        (401, said("User not found"), AuthenticationError, None),
        (
            403,
            said("Insufficient permissions"),
            PermissionDeniedError,
            C.AUTH_INSUFFICIENT_PERMISSIONS,
        ),
        (403, said("Access denied"), PermissionDeniedError, C.AUTH_INSUFFICIENT_PERMISSIONS),
        (
            403,
            said("Quota exceeded", "session quota exceeded: 5/5 sessions active"),
            CapacityError,
            None,
        ),
        (
            403,
            said("Quota exceeded", "total CPU quota exceeded: would use 5000m, limit is 4000m"),
            CapacityError,
            None,
        ),
        (
            403,
            said("Quota exceeded", "failed to get user limits: failed to get user: user not found"),
            NotFoundError,
            None,
        ),
        (404, said("Session not found"), NotFoundError, C.SESSION_NOT_FOUND),
        (404, said("Template not found", "gone"), NotFoundError, C.TEMPLATE_NOT_FOUND),
        (404, said("Agent not found", agentId="a"), NotFoundError, C.AGENT_NOT_FOUND),
        (
            404,
            said("Agent not found or not in pending status"),
            NotFoundError,
            C.AGENT_NOT_FOUND,
        ),
        (404, said("User not found", "user not found"), NotFoundError, None),
        (
            409,
            said("Session already terminating", "Session is already in terminating state"),
            ConflictError,
            C.SESSION_TERMINATING,
        ),
        (409, said("Session not ready", "Session has no agent assigned"), ConflictError, None),
        (409, said("Session is not running (state: pending)"), ConflictError, None),
        (
            503,
            said("No agents available", "none"),
            CapacityError,
            C.NO_AGENTS_AVAILABLE,
        ),
        (503, said("Agent k8s-1 is not connected"), CapacityError, C.AGENT_OFFLINE),
        (
            503,
            said("Agent not connected", details="Agent must be", agentId="a", status="offline"),
            CapacityError,
            C.AGENT_OFFLINE,
        ),
        (503, said("Session has no agent assigned"), CapacityError, None),
        (
            400,
            said("Invalid query parameter", "Parameter 'user': potential SQL injection detected"),
            InvalidRequestError,
            C.INVALID_PARAMETER,
        ),
        (400, said("Invalid resource request", "x"), InvalidRequestError, C.VALIDATION_FAILED),
        (
            400,
            said("Validation failed", fields={"role": "Must be one of: user admin operator"}),
            InvalidRequestError,
            C.VALIDATION_FAILED,
        ),
        (
            400,
            said("Invalid request format", details=REQUIRED),
            InvalidRequestError,
            C.MISSING_REQUIRED_FIELD,
        ),
        (400, said(REQUIRED), InvalidRequestError, C.MISSING_REQUIRED_FIELD),
        (
            400,
            said("Invalid request format", details=REQUIRED.replace("required", "email")),
            InvalidRequestError,
            C.VALIDATION_FAILED,
        ),
        (413, said("Request entity too large", "x", max_size_mb=10), InvalidRequestError, None),
        (429, said("Rate limit", details="x", retryAfter=60), RateLimitError, None),
    ],
)
def test_words_become_the_exception_and_the_code_of_the_document(
    status: int, body: dict[str, Any], kind: type[APIError], code: StreamSpaceCode | None
) -> None:
    error, proof = refusal(status, body)
    assert (type(error), error.code, error.status) == (kind, code, status)
    assert proof is (Proof.NONE if proof_is_open(status, body) else Proof.NOT_DONE)


def proof_is_open(status: int, body: dict[str, Any]) -> bool:
    """A 503 with ``error`` alone may be a gateway's."""
    return status == 503 and len(body) == 1


@pytest.mark.parametrize(
    ("message", "from_state", "to_state"),
    [
        (
            "Session must be in 'running' state to hibernate, currently: pending",
            SessionState.PENDING,
            SessionState.HIBERNATED,
        ),
        (
            "Session must be in 'hibernated' state to wake, currently: terminated",
            SessionState.TERMINATED,
            SessionState.RUNNING,
        ),
        ("in other words", None, None),
    ],
)
def test_forbidden_transition_has_both_states(
    message: str, from_state: SessionState | None, to_state: SessionState | None
) -> None:
    error, proof = refusal(409, said("Invalid session state", message))
    assert isinstance(error, InvalidTransitionError)
    assert error.code == C.INVALID_STATE_TRANSITION
    assert (error.from_state, error.to_state, proof) == (from_state, to_state, Proof.NOT_DONE)


@pytest.mark.parametrize(
    ("body", "kind", "meaning"),
    [
        (
            said("Failed to create user", DUPLICATE),
            ConflictError,
            "same",
        ),
        (said(DUPLICATE), ConflictError, "same"),
        (said("Failed to create session", NO_OWNER), InvalidRequestError, "administrator"),
        (said(NO_OWNER), InvalidRequestError, "does not exist"),
        (said("Failed to deregister agent", details=REFERRED), ConflictError, "refer to it"),
    ],
)
def test_database_that_states_the_cause_makes_the_outcome_known(
    body: dict[str, Any], kind: type[APIError], meaning: str
) -> None:
    error, proof = refusal(500, body)
    assert type(error) is kind
    assert meaning in error.meaning
    assert meaning in error.user_message
    assert proof is Proof.FAILED


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (500, said("Failed to create agent command", "pq: x"), "had changed the session"),
        (500, said("Failed to dispatch stop command", "x"), "had changed the session"),
        (500, said("Failed to create session", "pq: connection refused"), ""),
        (500, said("pq: invalid input syntax for type json"), ""),
        (408, said("Request timeout", "The request took too long to process", timeout="30s"), ""),
    ],
)
def test_failure_without_its_cause_leaves_the_outcome_unknown(
    status: int, body: dict[str, Any], meaning: str
) -> None:
    error, proof = refusal(status, body)
    assert type(error) is ServerError
    assert meaning in error.meaning
    assert proof is Proof.NONE


@pytest.mark.parametrize(
    "body", [b"404 page not found", b"", b"<html>404</html>", {}, {"message": "no Route matched"}]
)
def test_404_without_an_error_is_no_thing_that_is_gone(body: object) -> None:
    error, _ = refusal(404, body)
    assert type(error) is InvalidRequestError
    assert "has no such path" in str(error)
    assert "base_url" in str(error)


def test_404_with_a_code_of_the_document_is_a_thing_that_is_gone() -> None:
    error, _ = refusal(404, {"code": "SESSION_NOT_FOUND", "message": "gone"})
    assert type(error) is NotFoundError


def test_empty_401_of_an_upgrade_is_a_login_that_has_ended() -> None:
    error, _ = refusal(401, b"", Request("GET", "/vnc/s", bucket=UPGRADES))
    assert type(error) is AuthenticationError
    assert (error.code, error.message) == (C.AUTH_TOKEN_EXPIRED, "the login has ended")
    elsewhere, _ = refusal(401, b"", Request("GET", "/sessions"))
    assert (elsewhere.code, elsewhere.message) == (None, "the answer was empty")


def test_code_of_the_document_counts_more_than_words() -> None:
    body = {**said("Quota exceeded", "x"), "code": "SESSION_TERMINATING"}
    error, _ = refusal(403, body)
    assert (type(error), error.code) == (ConflictError, C.SESSION_TERMINATING)


@pytest.mark.parametrize("status", [400, 404, 502])
def test_words_count_with_their_own_status_only(status: int) -> None:
    error, _ = refusal(status, said("No agents available", "x"))
    assert not isinstance(error, CapacityError)
    assert error.code is None

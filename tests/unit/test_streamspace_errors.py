"""StreamSpace without a socket: every form of its errors becomes a typed exception."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    VCloudError,
)
from vcloud.providers.streamspace import InvalidTransitionError, SessionState, StreamSpaceCode
from vcloud.providers.streamspace.errors import SERVICE

NO_PATH = (
    "the server has no such path (the answer began b'404 page not found'): "
    "is the base_url right, and the dialect, if one was given?"
)
BASE = "https://streamspace.example.com/api/v1"


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def refusal(
    body: object,
    status: int = 400,
    request: Request | None = None,
    headers: Mapping[str, str] | None = None,
) -> APIError:
    raw = body if isinstance(body, bytes) else encoded(body)
    error = SERVICE.error(
        request or Request("GET", "/x"), Response(status, headers or {}, raw), f"{BASE}/x", now=0.0
    )
    assert error is not None
    return error


EXPECTED: dict[type[APIError], set[str]] = {
    AuthenticationError: {
        "AUTH_INVALID_CREDENTIALS",
        "AUTH_TOKEN_EXPIRED",
        "AUTH_TOKEN_INVALID",
        "AUTH_TOKEN_MISSING",
    },
    PermissionDeniedError: {"AUTH_INSUFFICIENT_PERMISSIONS"},
    NotFoundError: {"AGENT_NOT_FOUND", "SESSION_NOT_FOUND", "TEMPLATE_NOT_FOUND"},
    CapacityError: {
        "AGENT_OFFLINE",
        "AGENT_DRAINING",
        "NO_AGENTS_AVAILABLE",
        "AGENT_CAPACITY_EXCEEDED",
        "INSUFFICIENT_RESOURCES",
    },
    ConflictError: {"SESSION_ALREADY_EXISTS", "SESSION_TERMINATING"},
    InvalidTransitionError: {"INVALID_STATE_TRANSITION"},
    ServerError: {"SESSION_PROVISIONING_FAILED"},
    InvalidRequestError: {
        "TEMPLATE_INVALID",
        "VALIDATION_FAILED",
        "INVALID_PARAMETER",
        "MISSING_REQUIRED_FIELD",
    },
    RateLimitError: {"RATE_LIMIT_EXCEEDED"},
}


@pytest.mark.parametrize("status", [400, 422, 503])
@pytest.mark.parametrize("code", StreamSpaceCode)
def test_code_decides_the_class_whatever_the_status(code: StreamSpaceCode, status: int) -> None:
    error = refusal({"error": "Short", "message": "Long", "code": code}, status)
    assert code in EXPECTED[type(error)]
    assert (error.code, error.status, error.meaning, error.message) == (
        code,
        status,
        code.meaning,
        "Long",
    )


def test_all_details_of_an_error_are_kept() -> None:
    body = {
        "error": "Short",
        "message": "Long",
        "code": "VALIDATION_FAILED",
        "details": {"field": "context"},
        "timestamp": "2025-11-22T10:50:00Z",
        "request_id": "req-abc123",
    }
    error = refusal(body)
    assert (error.details, error.request_id) == ({"field": "context"}, "req-abc123")
    assert error.timestamp == datetime(2025, 11, 22, 10, 50, tzinfo=UTC)
    assert "req-abc123" in str(error)
    assert pickle.loads(pickle.dumps(error)).details == error.details


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    "code", [{"code": "INVALID_STATE_TRANSITION"}, {}], ids=["with code", "without"]
)
def test_forbidden_transition_names_both_states(status: int, code: dict[str, str]) -> None:
    error = refusal(
        {
            "error": "Invalid state transition",
            "message": "Cannot transition from 'terminated' to 'running'",
            **code,
        },
        status,
    )
    assert isinstance(error, InvalidTransitionError)
    assert (error.from_state, error.to_state) == (SessionState.TERMINATED, SessionState.RUNNING)
    back = pickle.loads(pickle.dumps(error))
    assert (back.from_state, back.to_state) == (error.from_state, error.to_state)


def test_forbidden_transition_with_another_message_has_no_states() -> None:
    error = refusal({"error": "No", "message": "not like this", "code": "INVALID_STATE_TRANSITION"})
    assert isinstance(error, InvalidTransitionError)
    assert (error.from_state, error.to_state) == (None, None)


@pytest.mark.parametrize(
    ("body", "status", "kind", "message", "details"),
    [
        ({"error": "Session not found"}, 404, NotFoundError, "Session not found", None),
        ({"error": "Bad", "message": "because"}, 400, InvalidRequestError, "because", None),
        ({"error": "Bad", "details": "because"}, 409, ConflictError, "Bad: because", "because"),
        (
            {"error": "Bad", "fields": {"user": "required"}},
            400,
            InvalidRequestError,
            "Bad",
            {"user": "required"},
        ),
        (
            b"404 page not found",
            404,
            InvalidRequestError,
            NO_PATH,
            None,
        ),
        (b"", 502, ServerError, "the answer was empty", None),
        (b"[1]", 500, ServerError, "the answer began b'[1]'", None),
        (
            {"error": {"nested": 1}, "message": 7, "code": ["x"], "timestamp": "soon"},
            403,
            PermissionDeniedError,
            None,
            None,
        ),
        ({"error": "x", "code": "BRAND_NEW"}, 409, ConflictError, "x", None),
    ],
)
def test_refusal_without_a_known_code_goes_by_its_status(
    body: object, status: int, kind: type[APIError], message: str | None, details: object
) -> None:
    error = refusal(body, status, headers={"X-Request-ID": "req-9"})
    assert type(error) is kind
    assert message is None or error.message == message
    assert (error.details, error.request_id) == (details, "req-9")


@pytest.mark.parametrize(
    ("body", "headers", "seconds"),
    [
        ({"retry_after": 45}, {}, 45),
        ({"retryAfter": 30}, {}, 30),
        ({"retryAfter": "12"}, {}, 12),
        ({}, {"Retry-After": "7"}, 7),
        ({"retry_after": 5}, {"Retry-After": "7"}, 7),
        ({}, {}, None),
        ({"retry_after": {"at": 1}}, {}, None),
    ],
)
def test_retry_after_is_read_from_headers_and_body(
    body: dict[str, Any], headers: dict[str, str], seconds: float | None
) -> None:
    error = refusal({"error": "Rate limit exceeded", **body}, 429, headers=headers)
    assert isinstance(error, RateLimitError)
    assert error.retry_after == seconds


def test_error_that_quotes_the_password_is_redacted() -> None:
    request = Request(
        "POST", "/users", body=encoded({"username": "u", "password": 'can"ary'}), sensitive=True
    )
    body = {
        "error": "Bad",
        "message": 'Password can"ary is too short',
        "details": {"password": ['can"ary']},
        "code": "VALIDATION_FAILED",
    }
    error = refusal(body, 400, request)
    assert isinstance(error, InvalidRequestError)
    assert "ary" not in f"{error} {error.message} {error.details}"
    assert "canary" not in str(refusal(b'<html>password "canary" refused', 500, request))


@settings(deadline=None)
@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=20),
        lambda inner: st.dictionaries(st.text(max_size=20), inner),
    ).map(encoded)
)
def test_no_refusal_is_ever_anything_but_a_typed_error(raw: bytes) -> None:
    assert isinstance(refusal(raw, 418), VCloudError)


@pytest.mark.parametrize("status", [400, 401, 429, 503])
@pytest.mark.parametrize("code", [[], {}, [[]], {"a": 1}, 7, 1e300, True, None, "\ud800"])
def test_a_code_that_is_not_a_string_proves_as_much_as_no_code(code: object, status: int) -> None:
    body = {"error": "no", "message": "no"}
    answers = [Response(status, {}, encoded(one)) for one in (body, {**body, "code": code})]
    error = refusal(body, status)

    plain, odd = (SERVICE.proof(Request("GET", "/x"), one, error) for one in answers)

    assert odd is plain

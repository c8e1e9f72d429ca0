"""What a type checker knows of errors. mypy and pyright read this; nothing here runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, assert_type

from vcloud import (
    APIError,
    AuthenticationError,
    CapacityError,
    CleanupError,
    ConfigurationError,
    ConflictError,
    ConnectError,
    ConnectTimeout,
    DecodeError,
    InsufficientFundsError,
    InvalidArgumentError,
    InvalidRequestError,
    LimitExceededError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeout,
    ServerError,
    TransportError,
    UnsupportedError,
    VagonCode,
    VCloudError,
    WaitFailed,
    WaitTimeout,
    printable,
)
from vcloud.providers.desktops import ActionResult, ActionsFailed, NoStreamError
from vcloud.providers.streamspace import (
    AgentRejectedError,
    ApprovalTimeoutError,
    DuplicateAgentError,
    InvalidTransitionError,
    SessionState,
    SessionStoppedError,
    StreamingProtocolError,
    StreamSpaceCode,
    UnrecognisedError,
)


def every(error: VCloudError) -> None:
    assert_type(error.outcome_unknown, bool)
    assert_type(error.created, Any)
    assert_type(error.user_message, str)
    assert_type(error.to_dict(), dict[str, Any])
    assert_type(printable("text"), str)


def answers(error: APIError, authentication: AuthenticationError) -> None:
    assert_type(error.status, int)
    assert_type(error.code, int | str | None)
    assert_type(error.message, str)
    assert_type(error.request_id, str | None)
    assert_type(error.details, Any)
    assert_type(error.retry_after, float | None)
    assert_type(authentication.remembered, bool)
    assert_type(authentication.clock_difference, timedelta | None)


def codes(code: VagonCode, of_streamspace: StreamSpaceCode) -> None:
    assert_type(code.value, int)
    assert_type(code.meaning, str)
    assert_type(code.error, type[APIError])
    assert_type(of_streamspace.value, str)
    assert_type(of_streamspace.status, int)
    assert_type(of_streamspace.meaning, str)
    assert_type(of_streamspace.error, type[APIError])


def others(
    decoding: DecodeError,
    cleanup: CleanupError,
    timeout: WaitTimeout,
    failed: WaitFailed,
) -> None:
    assert_type(decoding.items, tuple[Any, ...])
    assert_type(decoding.status, int | None)
    assert_type(decoding.body, str | None)
    assert_type(decoding.ids, tuple[str, ...])
    assert_type(cleanup.provider, str)
    assert_type(cleanup.ids, tuple[str, ...])
    assert_type(timeout.last, str | None)
    assert_type(failed.last, str)


def of_providers(transition: InvalidTransitionError, actions: ActionsFailed) -> None:
    assert_type(transition.from_state, SessionState | None)
    assert_type(transition.to_state, SessionState | None)
    assert_type(actions.results, tuple[ActionResult, ...])


def kinds() -> tuple[type[Exception], ...]:
    """A caller's ``except`` of a class catches what is listed under it."""
    transport: type[TransportError] = ConnectError
    transport = RequestTimeout
    connect: type[ConnectError] = ConnectTimeout
    timed_out: type[RequestTimeout] = ConnectTimeout
    value: type[ValueError] = InvalidArgumentError
    answered: tuple[type[APIError], ...] = (
        AuthenticationError,
        CapacityError,
        ConflictError,
        InsufficientFundsError,
        InvalidRequestError,
        NotFoundError,
        PermissionDeniedError,
        RateLimitError,
        ServerError,
    )
    conflict: type[ConflictError] = InvalidTransitionError
    connect = UnrecognisedError
    every: tuple[type[VCloudError], ...] = (
        transport,
        connect,
        timed_out,
        *answered,
        conflict,
        ActionsFailed,
        AgentRejectedError,
        ApprovalTimeoutError,
        DuplicateAgentError,
        NoStreamError,
        CleanupError,
        ConfigurationError,
        DecodeError,
        LimitExceededError,
        UnsupportedError,
        WaitFailed,
        WaitTimeout,
    )
    return (value, *every)


def tunnels(stopped: SessionStoppedError, protocol: StreamingProtocolError) -> None:
    assert_type(stopped.session_id, str)
    assert_type(stopped.state, SessionState | None)
    assert_type(protocol.session_id, str)
    assert_type(protocol.protocol, str)

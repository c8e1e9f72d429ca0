from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcloud import (
    AuthenticationError,
    CapacityError,
    ConflictError,
    ConnectError,
    DecodeError,
    InvalidRequestError,
    RateLimitError,
    RequestTimeout,
    RetryPolicy,
    ServerError,
    TransportError,
    VCloudError,
)
from vcloud._core.retry import Decision, RetryAfter, Verdict, decide

POLICY = RetryPolicy(attempts=3, base=1.0, cap=8.0, max_retry_after=60.0)


def decided(
    error: VCloudError, *, repeatable: bool = True, attempt: int = 1, renewed: bool = False
) -> Decision:
    return decide(
        POLICY, error, repeatable=repeatable, attempt=attempt, random=0.5, renewed=renewed
    )


def rate_limited(retry_after: float | None) -> RateLimitError:
    error = RateLimitError("slow down", status=429)
    error.retry_after = retry_after
    return error


PASSING = [
    ConnectError("refused"),
    rate_limited(None),
    ServerError("maintenance", status=503),
    CapacityError("no agents", status=503),
    InvalidRequestError("request timeout", status=408),
    InvalidRequestError("misdirected", status=421),
    InvalidRequestError("too early", status=425),
    TransportError("dropped"),
    RequestTimeout("slow"),
    ServerError("broken", status=500),
    ServerError("gateway", status=502),
    ServerError("gateway", status=504),
]
STANDING = [
    InvalidRequestError("no", status=400),
    ConflictError("running", status=409),
    DecodeError("html"),
    CapacityError("full", status=440),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_a_request_is_repeated_after_a_transient_error_only_if_it_is_repeatable(
    error: VCloudError,
) -> None:
    assert isinstance(decided(error), RetryAfter)
    assert decided(error, repeatable=False) is Verdict.STOP


@pytest.mark.parametrize("error", STANDING, ids=repr)
def test_a_considered_no_stands(error: VCloudError) -> None:
    assert decided(error) is Verdict.STOP


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_attempts_are_bounded(error: VCloudError) -> None:
    assert decided(error, attempt=3) is Verdict.STOP


def test_a_refused_credential_is_renewed_once() -> None:
    refused = AuthenticationError("who?", status=401)
    assert decided(refused) is Verdict.REAUTHENTICATE
    assert decided(refused, renewed=True) is Verdict.STOP
    assert decided(refused, repeatable=False) is Verdict.STOP


@given(asked=st.floats(0, 60), random=st.floats(0, 1), attempt=st.integers(1, 2))
def test_retry_after_is_never_undercut(asked: float, random: float, attempt: int) -> None:
    decision = decide(
        POLICY, rate_limited(asked), repeatable=True, attempt=attempt, random=random, renewed=False
    )
    assert isinstance(decision, RetryAfter)
    assert decision.seconds >= asked


@given(asked=st.floats(0, 60), random=st.floats(0, 1), attempt=st.integers(1, 2))
def test_retry_after_never_shortens_what_the_policy_waits_by_itself(
    asked: float, random: float, attempt: int
) -> None:
    for error in (rate_limited(asked), ServerError("maintenance", status=503)):
        error.retry_after = asked
        decision = decide(
            POLICY, error, repeatable=True, attempt=attempt, random=random, renewed=False
        )
        assert isinstance(decision, RetryAfter)
        assert decision.seconds >= POLICY.backoff(attempt, random)


def test_a_retry_after_above_the_maximum_ends_the_call() -> None:
    assert isinstance(decided(rate_limited(60.0)), RetryAfter)
    assert decided(rate_limited(60.1)) is Verdict.STOP


@given(attempt=st.integers(1, 10_000), random=st.floats(0, 1))
def test_backoff_is_bounded_and_never_negative(attempt: int, random: float) -> None:
    assert 0 <= POLICY.backoff(attempt, random) <= POLICY.cap * 1.5

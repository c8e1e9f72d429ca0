"""What an action raises decides whether an item failed, or whether nobody knows."""

from __future__ import annotations

import pytest

from vcloud import (
    Bulk,
    ConflictError,
    ConnectError,
    DecodeError,
    InvalidArgumentError,
    OutcomeStatus,
    ServerError,
    TransportError,
    WaitTimeout,
)
from vcloud._core.tally import TALLY

FAILED, UNKNOWN = OutcomeStatus.FAILED, OutcomeStatus.UNKNOWN


def send(requests: int = 1) -> None:
    """What the session does for each attempt."""
    tally = TALLY.get()
    assert tally is not None
    tally.attempts += requests


def lose() -> None:
    raise TransportError("lost", outcome_unknown=True)


@pytest.mark.parametrize(
    ("error", "requests", "status"),
    [
        (ValueError("mine"), 1, FAILED),
        (ConnectError("refused"), 1, FAILED),
        (TransportError("lost", outcome_unknown=True), 1, UNKNOWN),
        (TransportError("a read was lost"), 1, FAILED),
        (ConflictError("not now", status=409, method="POST"), 1, FAILED),
        (ServerError("broke", status=500, method="POST"), 1, UNKNOWN),
        (ServerError("broke", status=500, method="GET"), 1, FAILED),
        (ServerError("refused", status=503, method="POST"), 1, FAILED),
        (DecodeError("gibberish"), 1, UNKNOWN),
        (WaitTimeout("not ready", last="off"), 5, FAILED),
        (TimeoutError(), 1, UNKNOWN),
        (TimeoutError(), 0, FAILED),
        (ConnectionResetError(), 1, UNKNOWN),
        (ConnectionRefusedError(), 1, FAILED),
        (ExceptionGroup("two", [ValueError()]), 2, UNKNOWN),
        (InvalidArgumentError("no such thing"), 0, FAILED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
async def test_what_the_action_raises_decides_between_failed_and_unknown(
    error: Exception, requests: int, status: OutcomeStatus
) -> None:
    async def act(_: int) -> None:
        send(requests)
        raise error

    async with Bulk([1], act, counted=True) as run:
        outcome = await anext(run)
    assert (outcome.status, outcome.error) == (status, error)


@pytest.mark.parametrize("wrapped", [True, False])
async def test_an_error_of_ones_own_does_not_hide_the_lost_answer_that_it_came_from(wrapped: bool) -> None:
    async def act(_: int) -> None:
        send()
        try:
            lose()
        except TransportError as error:
            raise ValueError("mine") from (error if wrapped else None)

    async with Bulk([1], act, counted=True) as run:
        assert (await anext(run)).status is (UNKNOWN if wrapped else FAILED)


async def test_what_one_of_our_errors_was_caused_by_is_its_own_business() -> None:
    async def act(_: int) -> None:
        send()
        raise ConnectError("TLS failed") from ConnectionResetError()

    async with Bulk([1], act, counted=True) as run:
        assert (await anext(run)).status is FAILED

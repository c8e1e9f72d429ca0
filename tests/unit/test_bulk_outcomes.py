"""The error of an action decides whether its item failed or is unknown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from vcloud import (
    APIError,
    Bulk,
    ConflictError,
    ConnectError,
    DecodeError,
    InvalidArgumentError,
    LimitExceededError,
    NotFoundError,
    OutcomeStatus,
    ServerError,
    TransportError,
    VCloudError,
    WaitTimeout,
)
from vcloud._core.outcome import ATTEMPT_COUNT

FAILED, UNKNOWN = OutcomeStatus.FAILED, OutcomeStatus.UNKNOWN


def send(requests: int = 1) -> None:
    """Count attempts, as the session does."""
    count = ATTEMPT_COUNT.get()
    assert count is not None
    count.attempts += requests


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
        (ServerError("broke", status=500, method="POST", outcome_unknown=True), 1, UNKNOWN),
        (ServerError("broke", status=500, method="GET"), 1, FAILED),
        (ServerError("refused", status=503, method="POST"), 1, FAILED),
        (DecodeError("gibberish", outcome_unknown=True), 1, UNKNOWN),
        (DecodeError("gibberish, for a read"), 1, FAILED),
        (LimitExceededError("too large", outcome_unknown=True), 1, UNKNOWN),
        (VCloudError("one of your own", outcome_unknown=True), 1, UNKNOWN),
        (WaitTimeout("not ready", last="off"), 5, FAILED),
        (TimeoutError(), 1, UNKNOWN),
        (TimeoutError(), 0, FAILED),
        (ConnectionResetError(), 1, UNKNOWN),
        (ConnectionRefusedError(), 1, FAILED),
        (ExceptionGroup("two", [ValueError()]), 2, UNKNOWN),
        (InvalidArgumentError("no such thing"), 0, FAILED),
        # Another task may have sent it, and this SDK knows its outcome.
        (TransportError("lost", outcome_unknown=True), 0, UNKNOWN),
        (ServerError("broke", status=500, method="POST", outcome_unknown=True), 0, UNKNOWN),
        (DecodeError("gibberish", outcome_unknown=True), 0, UNKNOWN),
        (ConnectionResetError(), 0, FAILED),
        (APIError("see other", status=303, method="POST", outcome_unknown=True), 1, UNKNOWN),
        (APIError("see other", status=303, method="GET"), 1, FAILED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
async def test_the_error_of_the_action_decides_between_failed_and_unknown(
    error: Exception, requests: int, status: OutcomeStatus
) -> None:
    async def act(_: int) -> None:
        send(requests)
        raise error

    async with Bulk([1], act, counted=True) as run:
        outcome = await anext(run)
    assert (outcome.status, outcome.error) == (status, error)


@pytest.mark.parametrize("wrapped", [True, False])
async def test_an_error_of_the_caller_does_not_hide_the_lost_answer_that_caused_it(
    wrapped: bool,
) -> None:
    async def act(_: int) -> None:
        send()
        try:
            lose()
        except TransportError as error:
            raise ValueError("mine") from (error if wrapped else None)

    async with Bulk([1], act, counted=True) as run:
        assert (await anext(run)).status is (UNKNOWN if wrapped else FAILED)


async def test_the_cause_of_an_error_of_this_sdk_does_not_count() -> None:
    async def act(_: int) -> None:
        send()
        raise ConnectError("TLS failed") from ConnectionResetError()

    async with Bulk([1], act, counted=True) as run:
        assert (await anext(run)).status is FAILED


async def a_look_that_fails() -> None:
    failure = ConnectError("refused")
    failure.__cause__ = OSError("refused")
    raise failure


async def look_after_a_lost_answer() -> None:
    try:
        lose()
    except TransportError:
        await a_look_that_fails()


async def look_after_ones_own_clock() -> None:
    try:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
    except TimeoutError:
        await a_look_that_fails()


async def wrap_ones_own_clock() -> None:
    try:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
    except TimeoutError as error:
        raise ValueError("too slow") from error


async def tidy_up_in_vain() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        raise NotFoundError("no such thing", status=404, method="DELETE")


async def tidy_up_in_vain_after_ones_own_clock() -> None:
    async with asyncio.timeout(0):
        await tidy_up_in_vain()


@pytest.mark.parametrize(
    "lost",
    [
        look_after_a_lost_answer,
        look_after_ones_own_clock,
        wrap_ones_own_clock,
        tidy_up_in_vain_after_ones_own_clock,
    ],
    ids=lambda lost: lost.__name__,
)
async def test_a_later_error_does_not_hide_a_lost_answer(
    lost: Callable[[], Awaitable[None]],
) -> None:
    async def act(_: int) -> None:
        send()
        await lost()

    async with Bulk([1], act, counted=True) as run:
        assert (await anext(run)).status is UNKNOWN


async def test_an_error_of_cleanup_does_not_hide_that_the_run_was_ended() -> None:
    begun = asyncio.Event()

    async def act(_: int) -> None:
        send()
        begun.set()
        try:
            await tidy_up_in_vain()
        except NotFoundError:
            raise ValueError("mine") from None

    run = Bulk([1], act, counted=True)
    async with run:
        waiting = asyncio.create_task(anext(run))
        await begun.wait()
        waiting.cancel()
    assert (run.totals.unknown, run.totals.failed) == (1, 0)

    run = Bulk([1], act, counted=True, deadline=timedelta(milliseconds=1))
    assert ((await run.run()).unknown, run.totals.stopped) == (1, "deadline")

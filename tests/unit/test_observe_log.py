"""The log of a client: one line for each attempt, when it is enabled for DEBUG."""

from __future__ import annotations

import logging

import pytest

from tests.unit.observed import BUSY, GET, OK, START, Clock, moving_clock, session
from vcloud import (
    Attempt,
    TransportError,
    VCloudError,
)
from vcloud._core.observed_call import Observers, log_line


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return moving_clock(monkeypatch)


async def test_the_log_has_one_line_for_each_attempt_and_says_what_comes_next(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "vcloud")
    with pytest.raises(TransportError):
        await session(clock, BUSY, TransportError("canary"), OK).send(START)
    assert [(record.levelname, record.name) for record in caplog.records] == [
        ("DEBUG", "vcloud.computers")
    ] * 2
    call = "computers: POST /machines/100/start"
    assert caplog.messages == [
        f"{call}, attempt 1: 503 ServerError in 250 ms; again in 250 ms",
        f"{call}, attempt 2: TransportError in 250 ms; gives up",
    ]


def test_a_line_says_how_long_the_attempt_waited() -> None:
    attempt = Attempt(
        "desktops",
        "GET /desktop/{id}",
        "GET",
        "https://x.test",
        "/desktop/7",
        1,
        12.345,
        200,
        None,
        0.0123,
    )
    assert (
        log_line(attempt)
        == "desktops: GET /desktop/7, attempt 1: 200 in 12.3 ms, after waiting 12.3 s"
    )


async def test_the_log_is_empty_unless_it_is_enabled(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(VCloudError):
        await session(clock, BUSY, TransportError("reset")).send(START)
    assert caplog.records == []


async def test_the_log_can_be_enabled_while_the_client_runs_and_for_one_provider(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    shared = session(clock, OK, OK, OK)
    await shared.send(GET)
    caplog.set_level(logging.DEBUG, "vcloud.desktops")
    await shared.send(GET)
    assert caplog.records == []
    caplog.set_level(logging.DEBUG, "vcloud.computers")
    await shared.send(GET)
    assert len(caplog.records) == 1


async def test_without_observers_a_call_only_checks_once_whether_the_log_is_enabled(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def is_enabled_for(level: int) -> bool:
        asked.append(level)
        return False

    monkeypatch.setattr(Observers, "watch", lambda *_: pytest.fail("the call is observed"))
    shared = session(clock, BUSY, BUSY, OK)
    monkeypatch.setattr(shared.log, "isEnabledFor", is_enabled_for)
    await shared.send(GET)
    assert asked == [logging.DEBUG]

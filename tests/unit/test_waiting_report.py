"""The log and a bulk run's progress say what calls wait for."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
import time
from collections.abc import AsyncIterator

import pytest

from tests.unit.waiting_calls import (
    OK,
    SLOW_DOWN,
    START,
    Clock,
    Make,
    making,
    settle,
)
from vcloud import (
    Bulk,
    RateLimit,
    WaitReason,
)
from vcloud._core.waiting import Wait


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(asyncio.get_running_loop(), monkeypatch)


@pytest.fixture
async def make(clock: Clock) -> AsyncIterator[Make]:
    async with making(clock) as one:
        yield one


async def test_the_log_says_once_a_minute_how_many_wait_for_what(
    make: Make, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vcloud")
    service, calls = make(concurrency=1)
    await calls.make(4)
    await clock.move(1.2)
    assert caplog.messages == ["computers: 3 calls wait for a free slot (concurrency)"]
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert caplog.records[0].name == "vcloud.computers"
    await clock.move(58)
    assert len(caplog.messages) == 1
    await clock.move(3)
    assert len(caplog.messages) == 2
    # Another reason has a line of its own.
    service.answer(SLOW_DOWN)
    await clock.move(2)
    words = "computers: 4 calls wait for a pause that the service asked for"
    assert caplog.messages[2:] == [f"{words}, until at least 12:01:32 UTC"]


async def test_the_log_says_until_when_where_that_is_known(
    make: Make, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vcloud")
    _, calls = make(OK, rate_limits=[RateLimit(1, per=100)])
    await calls.make(1)
    await clock.move(5)
    await calls.make(1)
    await calls.make(40)
    await clock.move(2)
    assert caplog.messages == [
        "computers: 41 calls wait for the rate limit, until at least 12:01:40 UTC"
    ]


async def test_the_log_counts_waiting_calls_although_the_first_of_them_are_sent(
    make: Make, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vcloud")
    service, calls = make(concurrency=1)
    await calls.make(8)
    for _ in range(2):
        await clock.move(0.9)
        service.answer()
        await settle()
    await clock.move(0.3)
    assert caplog.messages == ["computers: 5 calls wait for a free slot (concurrency)"]


async def test_the_log_is_silent_if_each_call_waits_for_less_than_a_second(
    make: Make, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vcloud")
    service, calls = make(concurrency=1)
    await calls.make(1)
    for _ in range(20):  # there is always one in line, and never the same for a second
        await calls.make(1)
        await clock.move(0.4)
        service.answer()
        await settle()
    assert caplog.messages == []


async def test_a_wait_without_observers_is_only_counted(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    monkeypatch.setattr(Wait, "__enter__", made.append)
    _, calls = make(concurrency=1)
    await calls.make(1_000)
    assert made == []


async def test_a_wait_for_a_descriptor_is_reported(
    make: Make, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vcloud")
    _, calls = make()
    with calls.session.waits.for_reason(WaitReason.DESCRIPTORS):
        await clock.move(1.2)
    assert caplog.messages == ["computers: 1 call waits for free file descriptors or ports"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def test_without_a_terminal_the_lines_of_a_run_say_what_it_waits_for(
    make: Make, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    _, calls = make(OK, OK, rate_limits=[RateLimit(2, per=100)])

    async def act(_: int) -> None:
        await calls.session.send(START)

    task = asyncio.create_task(Bulk(range(6), act, progress="Starting").run())
    # What waits outside of the run is not the run's.
    await settle()
    await calls.make(3)
    await clock.move(31)
    assert log.getvalue() == (
        "Starting: 2/6, after 0:00:30; computers: 4 wait for the rate limit until 12:01:40 UTC\n"
    )
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_short_wait_is_not_in_the_lines_of_a_run(
    make: Make, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    service, calls = make(concurrency=1)

    async def act(_: int) -> None:
        await calls.session.send(START)

    task = asyncio.create_task(Bulk(range(6), act, concurrency=2, progress="Starting").run())
    await settle()
    await clock.move(29.5)
    service.answer()
    await clock.move(1)
    assert log.getvalue() == "Starting: 1/6, after 0:00:30\n"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_bar_of_a_run_shows_what_it_waits_for(
    make: Make, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    service, calls = make(concurrency=1)

    async def act(_: int) -> None:
        await calls.session.send(START)

    task = asyncio.create_task(Bulk(range(3), act, progress="Starting").run())
    await settle()
    await clock.move(2.5)
    waits = "computers: 2 wait for a free slot (concurrency)"
    while waits not in terminal.getvalue():
        await asyncio.to_thread(time.sleep, 0.01)  # rich draws in a thread of its own
    for _ in range(3):
        service.answer()
        await settle()
    await task
    assert waits not in terminal.getvalue().rsplit("Starting", 1)[1], "nobody waits any more"

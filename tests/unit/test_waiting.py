"""Observers are called for calls that wait for more than a second; the test moves the clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.waiting_calls import (
    BUSY,
    NOON,
    OK,
    SLOW_DOWN,
    Clock,
    Diary,
    Make,
    making,
    settle,
)
from vcloud import (
    APIKeyAuth,
    BearerAuth,
    ConfigurationError,
    Endpoint,
    Observer,
    Queued,
    RateLimit,
    Request,
    RetryPolicy,
    SharedBudget,
    WaitReason,
)
from vcloud._core.waiting import Waits

GET = Request("GET", "/machines/100")


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(asyncio.get_running_loop(), monkeypatch)


@pytest.fixture
async def make(clock: Clock) -> AsyncIterator[Make]:
    async with making(clock) as one:
        yield one


async def test_a_wait_for_a_slot_is_reported_once_after_a_second(make: Make, clock: Clock) -> None:
    diary = Diary()
    _, calls = make(concurrency=1, observers=[diary])
    await calls.make(1)
    await calls.make(3)
    await clock.move(0.9)
    assert diary.events == []
    await clock.move(0.3)
    assert diary.reasons == ["slot"] * 3
    event = diary.events[0]
    assert (event.provider, event.operation, event.method) == (
        "computers",
        "POST /machines/{id}/start",
        "POST",
    )
    assert event.url == "https://vagon.test/v1/machines/100/start"
    assert (event.reason, event.until, event.waiting) == (WaitReason.SLOT, None, 3)
    assert 1 <= event.waited <= 1.1 + 1e-6
    await clock.move(30)
    assert len(diary.events) == 3


async def test_each_wait_is_reported_when_its_own_second_is_over(make: Make, clock: Clock) -> None:
    diary = Diary()
    _, calls = make(concurrency=1, observers=[diary])
    await calls.make(1)
    for _ in range(3):
        await calls.make(1)
        await clock.move(0.5)
    assert len(diary.events) == 2
    await clock.move(0.4)
    assert len(diary.events) == 2
    await clock.move(0.2)
    assert len(diary.events) == 3
    assert all(1 <= event.waited <= 1.1 + 1e-6 for event in diary.events)


async def test_a_wait_of_less_than_a_second_is_not_reported(make: Make, clock: Clock) -> None:
    diary = Diary()
    service, calls = make(concurrency=1, observers=[diary])
    await calls.make(3)
    for _ in range(3):
        await clock.move(0.4)
        service.answer()
        await settle()
    assert all(task.done() for task in calls.tasks)
    await clock.move(5)
    assert diary.events == []


async def test_a_wait_for_a_used_up_limit_is_reported_at_once_with_its_end(
    make: Make, clock: Clock
) -> None:
    diary = Diary()
    service, calls = make(OK, observers=[diary], rate_limits=[RateLimit(1, per=60)])
    await calls.make(1)
    await clock.move(10)
    await calls.make(2)
    assert diary.reasons == ["rate limit"] * 2
    assert [event.waiting for event in diary.events] == [1, 2]
    assert {(event.waited, event.until) for event in diary.events} == {
        (0.0, NOON + timedelta(seconds=60))
    }
    await clock.move(51)
    assert len(service.waiting) == 1
    assert len(diary.events) == 2


async def test_a_limit_that_is_free_again_within_a_second_is_not_reported(
    make: Make, clock: Clock
) -> None:
    diary = Diary()
    _, calls = make(OK, OK, observers=[diary], rate_limits=[RateLimit(1, per=1)])
    await calls.make(1)
    await clock.move(0.5)
    await calls.make(1)
    await clock.move(1.0)
    assert all(task.done() for task in calls.tasks)
    assert diary.events == []


async def test_after_a_429_the_pauses_of_the_call_and_of_the_queue_are_reported(
    make: Make, clock: Clock
) -> None:
    diary = Diary()
    service, calls = make(SLOW_DOWN, observers=[diary])
    await calls.make(1)
    await calls.make(2, GET)
    assert diary.reasons == ["pause"] * 3
    assert [event.method for event in diary.events] == ["POST", "GET", "GET"]
    assert all(event.until is not None for event in diary.events)
    assert all(
        timedelta(seconds=29) < event.until - NOON < timedelta(seconds=32)
        for event in diary.events
        if event.until is not None
    )
    # One goes ahead then, and the others wait for its answer: still the same pause.
    await clock.move(31)
    assert len(service.waiting) == 1
    assert len(diary.events) == 3


async def test_a_retry_is_reported_once_however_often_it_is_repeated(
    make: Make, clock: Clock
) -> None:
    diary = Diary()
    _, calls = make(BUSY, OK, observers=[diary])
    await calls.make(1, GET)
    await clock.move(1)
    assert calls.tasks[0].done()
    assert diary.reasons == []  # the first pause is a quarter of a second

    diary, patient = Diary(), RetryPolicy(base=5)
    _, calls = make(BUSY, BUSY, BUSY, OK, observers=[diary], retry=patient)
    await calls.make(1, GET)
    assert diary.reasons == ["retry"]
    assert diary.events[0].until == datetime.fromtimestamp(clock.wall() + 5, UTC)
    await clock.move(60)
    assert calls.tasks[0].done()
    assert diary.reasons == ["retry"]


async def test_waits_for_a_login_are_reported(make: Make, clock: Clock) -> None:
    diary = Diary()
    service, calls = make(auth=BearerAuth.login("me", "password"), observers=[diary])
    await calls.make(3)
    assert len(service.waiting) == 1
    await clock.move(1.2)
    # The one that logs in, too. The login itself is under way, and waits for nothing.
    assert diary.reasons == ["login"] * 3
    assert {event.operation for event in diary.events} == {"POST /machines/{id}/start"}


async def test_waits_for_a_shared_budget_are_reported(make: Make, clock: Clock) -> None:
    diary = Diary()
    _, calls = make(
        OK,
        observers=[diary],
        rate_limits=[RateLimit(1, per=60)],
        shared_budget=SharedBudget("async+memory://"),
    )
    await calls.make(1)
    await calls.make(2)
    await clock.move(1.2)
    assert diary.reasons == ["shared budget"] * 2


async def test_another_reason_is_reported_after_its_own_second(make: Make, clock: Clock) -> None:
    diary = Diary()
    service, calls = make(concurrency=1, observers=[diary])
    await calls.make(3)
    await clock.move(2)
    assert diary.reasons == ["slot"] * 2
    service.answer(SLOW_DOWN)
    await clock.move(2)
    assert diary.reasons[2:] == ["pause"] * 3
    assert {event.waiting for event in diary.events[2:]} <= {1, 2, 3}


async def test_thousands_of_waiting_calls_share_one_timer(make: Make, clock: Clock) -> None:
    diary = Diary()
    _, calls = make(concurrency=1, observers=[diary])
    await calls.make(1)
    before = clock.timers
    await calls.make(5_000)
    assert clock.timers - before <= 1
    await clock.move(10)
    assert len(diary.events) == 5_000
    assert clock.timers - before <= 15


async def test_when_no_call_waits_no_timer_is_left(make: Make, clock: Clock) -> None:
    service, calls = make(concurrency=1)
    await calls.make(2)
    for _ in range(2):
        service.answer()
        await settle()
    await clock.move(2)
    before = clock.timers
    await clock.move(10)
    assert clock.timers == before


async def test_a_call_that_does_not_wait_is_not_registered(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Waits, "behind", forbid)
    monkeypatch.setattr(Waits, "for_reason", forbid)
    _, calls = make(OK, observers=[Diary()], auth=APIKeyAuth("key"))
    await calls.make(1)
    assert calls.tasks[0].result() is OK


async def test_an_observer_without_the_method_is_still_called_for_attempts(
    make: Make, clock: Clock
) -> None:
    class Old(Observer):
        started_attempts = 0

        def started(self, attempt: object) -> None:
            self.started_attempts += 1

    old = Old()
    service, calls = make(concurrency=1, observers=[old])
    await calls.make(2)
    await clock.move(3)
    service.answer()
    await settle()
    assert old.started_attempts == 2


async def test_an_observer_that_raises_costs_one_line_and_no_call(
    make: Make, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Observer):
        def queued(self, event: Queued) -> None:
            raise ValueError("mine")

    diary = Diary()
    service, calls = make(concurrency=1, observers=[Broken(), diary])
    await calls.make(5)
    await clock.move(2)
    assert len(diary.events) == 4
    failures = [line for line in caplog.messages if "Broken" in line]
    assert len(failures) == 1
    assert "Broken.queued failed for POST /machines/{id}/start; the call continues: " in failures[0]
    for _ in range(5):
        service.answer()
        await settle()
    assert all(task.result() is OK for task in calls.tasks)


async def test_a_coroutine_function_as_the_method_is_refused() -> None:
    class Async(Observer):
        async def queued(self, event: Queued) -> None:  # type: ignore[override]
            pass

    with pytest.raises(ConfigurationError, match="queued must be a plain function"):
        Endpoint(auth=APIKeyAuth("key"), observers=[Async()])


async def test_an_observer_may_end_the_calls_that_it_is_called_for(
    make: Make, clock: Clock
) -> None:
    class Impatient(Observer):
        def __init__(self) -> None:
            self.heard = 0

        def queued(self, event: Queued) -> None:
            self.heard += 1
            for task in calls.tasks[1:]:
                task.cancel()

    observer = Impatient()
    _, calls = make(concurrency=1, observers=[observer])
    await calls.make(4)
    await clock.move(3)
    assert [task.cancelled() for task in calls.tasks] == [False, True, True, True]
    assert observer.heard >= 1

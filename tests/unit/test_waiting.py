"""Calls that wait for more than a second are told of, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from vcloud import (
    APIKeyAuth,
    Auth,
    BearerAuth,
    Bulk,
    ConfigurationError,
    Endpoint,
    HMACAuth,
    Observer,
    Queued,
    RateLimit,
    Request,
    Response,
    RetryPolicy,
    SharedBudget,
    WaitReason,
)
from vcloud._core.call.sources import Sources
from vcloud._core.connections.options import TransportOptions
from vcloud._core.session import Session
from vcloud._core.transport import Transport
from vcloud._core.waiting import Wait, Waits
from vcloud.providers.vagon import VagonDialect

OK = Response(200, {}, b'{"client_code":200,"message":"OK"}')
SLOW_DOWN = Response(429, {"Retry-After": "30"}, b'{"client_code":429,"message":"slow down"}')
BUSY = Response(503, {}, b'{"client_code":503,"message":"busy"}')
START = Request("POST", "/machines/100/start", "secret=query")
GET = Request("GET", "/machines/100")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Clock:
    """The loop's time and the session's, which stand still unless they are moved."""

    def __init__(self, loop: asyncio.AbstractEventLoop, patch: pytest.MonkeyPatch) -> None:
        self.now = float(round(loop.time()))
        self.began = self.now
        patch.setattr(loop, "time", self)
        self.timers = 0
        call_at = loop.call_at

        def counted(when: float, callback: Callable[..., object], *args: Any, **named: Any) -> Any:
            self.timers += 1
            return call_at(when, callback, *args, **named)

        patch.setattr(loop, "call_at", counted)

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return NOON.timestamp() + self.now - self.began

    async def move(self, seconds: float) -> None:
        """Let time pass, and all that is due happen, in steps of a tenth of a second."""
        for _ in range(round(seconds * 10)):
            self.now = round(self.now + 0.1, 6)
            await settle()


async def settle() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


class Service(Transport):
    """Answers each request when it is told to; what has a scripted answer, at once."""

    def __init__(self, *answers: Response) -> None:
        super().__init__()
        self.answers = list(answers)
        self.waiting: list[asyncio.Future[Response]] = []

    def check(self) -> None: ...

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        wire: TransportOptions,
    ) -> Response:
        if self.answers:
            return self.answers.pop(0)
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return await future

    def answer(self, response: Response = OK) -> None:
        self.waiting.pop(0).set_result(response)


class Diary(Observer):
    def __init__(self) -> None:
        self.events: list[Queued] = []

    def queued(self, event: Queued) -> None:
        self.events.append(event)

    @property
    def reasons(self) -> list[str]:
        return [event.reason.value for event in self.events]


class Calls:
    """Calls of one session."""

    def __init__(self, shared: Session) -> None:
        self.session = shared
        self.tasks: list[asyncio.Task[Response]] = []

    async def make(self, count: int = 1, request: Request = START) -> None:
        self.tasks += [asyncio.create_task(self.session.send(request)) for _ in range(count)]
        await settle()

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(asyncio.get_running_loop(), monkeypatch)


@pytest.fixture
async def make(clock: Clock) -> AsyncIterator[Callable[..., tuple[Service, Calls]]]:
    made: list[Calls] = []

    def calls(*answers: Response, auth: Auth | None = None, **options: Any) -> Any:
        service = Service(*answers)
        url = "https://vagon.test/v1"
        endpoint = Endpoint(url, auth=auth or HMACAuth("ak", "sk"), **options)
        dialect = VagonDialect("computers")
        shared = Session(
            dialect,
            endpoint,
            url,
            service,
            sources=Sources(clock=clock, wall=clock.wall, entropy=lambda: 0.5),
        )
        made.append(Calls(shared))
        return service, made[-1]

    yield calls
    for one in made:
        await one.end()


Make = Callable[..., tuple[Service, Calls]]


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


async def test_an_observer_without_the_method_still_hears_of_attempts(
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
    assert "Broken.queued failed for POST /machines/{id}/start; the call goes on: " in failures[0]
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


async def test_an_observer_may_end_the_calls_that_it_hears_of(make: Make, clock: Clock) -> None:
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


async def test_a_wait_that_nobody_observes_is_only_counted(
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

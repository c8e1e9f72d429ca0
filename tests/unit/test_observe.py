"""What observers and the log hear of the attempts, with a transport that plays a script: no socket, no real time."""

from __future__ import annotations

import asyncio
import gc
import logging
import traceback
import weakref
from collections.abc import Mapping
from typing import Any

import pytest
from attrs import define, field

from vcloud import (
    APIKeyAuth,
    Attempt,
    BearerAuth,
    ConfigurationError,
    ConflictError,
    ConnectError,
    DecodeError,
    Endpoint,
    HMACAuth,
    Observer,
    RateLimitError,
    Request,
    RequestTimeout,
    Response,
    ServerError,
    TransportError,
    VCloud,
    VCloudError,
)
from vcloud._core.call.sources import Sources
from vcloud._core.connections.options import TransportOptions
from vcloud._core.observe import Hook, Observers, call_hook, line
from vcloud._core.session import Session
from vcloud._core.transport import Transport
from vcloud.providers.computers.machines import MACHINE
from vcloud.providers.vagon import VagonDialect

OK = Response(200, {}, b'{"client_code":200,"message":"OK"}')
BUSY = Response(503, {}, b'{"client_code":503,"message":"busy"}')
START = Request("POST", "/machines/100/start", "secret=query")
GET = Request("GET", "/machines/100")


@define
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class Script(Transport):
    """Plays answers and exceptions in turn, each of which takes a quarter of a second."""

    def __init__(self, clock: Clock, *acts: Response | BaseException) -> None:
        super().__init__()
        self.clock = clock
        self.acts = list(acts)

    def check(self) -> None: ...

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        wire: TransportOptions,
    ) -> Response:
        self.clock.now += 0.25
        act = self.acts.pop(0)
        if isinstance(act, BaseException):
            raise act
        return act


@define
class Diary(Observer):
    """Keeps what it hears, as it was when it was heard."""

    heard: list[tuple[str, int, int | None, str | None, float | None, float | None]] = field(
        factory=list
    )
    attempts: list[Attempt] = field(factory=list)

    def started(self, attempt: Attempt) -> None:
        self._note("started", attempt)

    def ended(self, attempt: Attempt) -> None:
        self._note("ended", attempt)

    def retried(self, attempt: Attempt) -> None:
        self._note("retried", attempt)

    def _note(self, what: str, attempt: Attempt) -> None:
        error = None if attempt.error is None else type(attempt.error).__name__
        self.heard.append(
            (what, attempt.number, attempt.status, error, attempt.duration, attempt.retry_in)
        )
        if what == "started":
            self.attempts.append(attempt)
        else:
            assert attempt in self.attempts, "the same object from start to end"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Sleeping moves it."""
    clock, real = Clock(), asyncio.sleep

    async def sleep(seconds: float) -> None:
        clock.now += seconds
        await real(0)

    monkeypatch.setattr("asyncio.sleep", sleep)
    return clock


def session(
    clock: Clock,
    *acts: Response | BaseException,
    observers: list[Observer] | None = None,
    **options: Any,
) -> Session:
    auth = options.pop("auth", None) or HMACAuth("ak", "sk")
    base_url = "https://vagon.test/v1"
    endpoint = Endpoint(base_url, auth=auth, observers=observers or [], **options)
    transport = Script(clock, *acts)
    return Session(
        VagonDialect("computers"),
        endpoint,
        base_url,
        transport,
        sources=Sources(clock=clock, wall=lambda: 1e9, entropy=lambda: 0.5),
    )


async def test_an_observer_hears_of_start_end_and_retry_in_order(clock: Clock) -> None:
    diary = Diary()
    await session(clock, BUSY, ConnectError("refused"), OK, observers=[diary]).send(START)
    assert diary.heard == [
        ("started", 1, None, None, None, None),
        ("ended", 1, 503, "ServerError", 0.25, 0.25),
        ("retried", 1, 503, "ServerError", 0.25, 0.25),
        ("started", 2, None, None, None, None),
        ("ended", 2, None, "ConnectError", 0.25, 0.5),
        ("retried", 2, None, "ConnectError", 0.25, 0.5),
        ("started", 3, None, None, None, None),
        ("ended", 3, 200, None, 0.25, None),
    ]


async def test_an_attempt_says_where_it_goes_without_the_query(clock: Clock) -> None:
    diary = Diary()
    await session(clock, OK, observers=[diary]).send(START)
    (attempt,) = diary.attempts
    assert (attempt.provider, attempt.operation) == ("computers", "POST /machines/{id}/start")
    assert (attempt.method, attempt.url) == ("POST", "https://vagon.test/v1/machines/100/start")
    assert "secret" not in repr(attempt)


async def test_an_attempt_of_a_sensitive_request_says_no_ids(clock: Clock) -> None:
    diary = Diary()
    await session(clock, OK, observers=[diary]).send(
        Request("GET", "/machines/canary", sensitive=True)
    )
    assert diary.attempts[0].path == "/machines/{id}"
    assert "canary" not in repr(diary.attempts) + line(diary.attempts[0])


@pytest.mark.parametrize(
    ("act", "error", "status"),
    [
        (BUSY, ServerError, 503),
        (Response(200, {}, b'{"client_code":4206,"message":"no"}'), ConflictError, 200),
        (Response(200, {}, b"<html>"), DecodeError, 200),
        (Response(429, {"Retry-After": "3600"}, b'{"client_code":429}'), RateLimitError, 429),
        (RequestTimeout("slow"), RequestTimeout, None),
        (asyncio.CancelledError(), asyncio.CancelledError, None),
        (RuntimeError("a bug"), RuntimeError, None),
    ],
)
async def test_every_way_to_fail_ends_the_attempt_with_its_error(
    clock: Clock, act: Response | BaseException, error: type[BaseException], status: int | None
) -> None:
    diary = Diary()
    shared = session(clock, *[act] * 4, OK, observers=[diary], concurrency=1)
    with pytest.raises(error):
        await shared.send(START)
    (what, _, seen, name, duration, retry_in) = diary.heard[-1]
    assert (what, seen, name, duration, retry_in) == ("ended", status, error.__name__, 0.25, None)
    assert shared.admission.free == 1


async def test_an_answer_that_does_not_decode_is_a_failed_attempt(clock: Clock) -> None:
    diary = Diary()
    with pytest.raises(DecodeError):
        await session(clock, OK, observers=[diary]).fetch(GET, MACHINE)
    assert diary.heard[-1] == ("ended", 1, 200, "DecodeError", 0.25, None)


async def test_an_attempt_signed_once_more_is_a_retry_at_once(clock: Clock) -> None:
    diary = Diary()
    early = Response(
        401, {"Date": "Sun, 09 Sep 2001 03:46:40 GMT"}, b'{"client_code":401,"message":"no"}'
    )
    await session(clock, early, OK, observers=[diary]).send(START)
    assert [(what, number, retry_in) for what, number, *_, retry_in in diary.heard] == [
        ("started", 1, None),
        ("ended", 1, 0.0),
        ("retried", 1, 0.0),
        ("started", 2, None),
        ("ended", 2, None),
    ]


async def test_a_login_is_an_attempt_of_its_own_and_the_request_waited_for_it(clock: Clock) -> None:
    diary = Diary()
    login = Response(200, {}, b'{"client_code":200,"token":"canary-token"}')
    await session(
        clock,
        login,
        OK,
        observers=[diary],
        auth=BearerAuth.login("admin", "canary-password", path="/login"),
    ).send(GET)
    first, second = diary.attempts
    assert (first.path, first.waited) == ("/login", 0.0)
    assert (second.path, second.waited) == ("/machines/100", 0.25)
    assert "canary" not in repr(diary.attempts)


async def test_the_pause_before_a_retry_is_not_time_in_line_but_waiting_for_the_limit_is(
    clock: Clock,
) -> None:
    class Opens(Observer):
        def retried(self, attempt: Attempt) -> None:
            free, shared.admission._free = shared.admission._free, 0

            def open_again() -> None:
                clock.now += 7
                shared.admission._free = free
                shared.admission._admit()

            asyncio.get_running_loop().call_later(0.001, open_again)

    diary = Diary()
    shared = session(clock, BUSY, OK, observers=[diary, Opens()])
    await shared.send(GET)
    assert [attempt.waited for attempt in diary.attempts] == [0, 7]


async def test_a_call_that_is_cancelled_in_the_pause_before_a_retry_ends_its_attempt_once(
    clock: Clock,
) -> None:
    class Cancel(Observer):
        def retried(self, attempt: Attempt) -> None:
            task.cancel()

    diary = Diary()
    task = asyncio.ensure_future(session(clock, BUSY, observers=[diary, Cancel()]).send(GET))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [what for what, *_ in diary.heard] == ["started", "ended", "retried"]


async def test_an_attempt_that_failed_is_freed_without_the_garbage_collector(clock: Clock) -> None:
    kept: list[weakref.ref[Attempt]] = []

    class Weak(Observer):
        def ended(self, attempt: Attempt) -> None:
            kept.append(weakref.ref(attempt))

    shared = session(clock, TransportError("reset"), OK, observers=[Weak()])
    gc.disable()
    try:
        await shared.send(GET)
        assert [reference() for reference in kept] == [None, None]
    finally:
        gc.enable()


async def test_the_frames_that_an_observer_can_reach_hold_no_credential(clock: Clock) -> None:
    diary = Diary()
    request = Request("PUT", "/streams/1", body=b'{"password":"canary"}')
    shared = session(clock, TransportError("reset"), RuntimeError("a bug"), observers=[diary])
    with pytest.raises(RuntimeError) as caught:
        await shared.send(request)
    first, second = (attempt.error for attempt in diary.attempts)
    assert first is not None
    assert first.__traceback__ is None
    assert second is caught.value
    # Those of the script stand for the transport's, which has its own care to take.
    frames = [
        frame
        for frame, _ in traceback.walk_tb(second.__traceback__)
        if "observe.py" in frame.f_code.co_filename
    ]
    assert "canary" not in repr(
        [frame.f_locals for frame in frames if "test_" not in frame.f_code.co_filename]
    )
    assert frames


async def test_a_call_that_is_never_sent_starts_nothing(clock: Clock) -> None:
    diary = Diary()
    limited = Response(429, {"Retry-After": "3600"}, b'{"client_code":429}')
    shared = session(clock, limited, observers=[diary])
    for _ in range(2):
        with pytest.raises(RateLimitError):
            await shared.send(GET)
    assert len(diary.heard) == 2


class Broken(Observer):
    def started(self, attempt: Attempt) -> None:
        raise ValueError("at the start")

    def ended(self, attempt: Attempt) -> None:
        raise KeyError("at the end")

    def retried(self, attempt: Attempt) -> None:
        raise OSError("between them")


async def test_what_an_observer_raises_is_logged_and_neither_the_call_nor_the_others_notice(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    diary = Diary()
    shared = session(clock, BUSY, OK, observers=[Broken(), diary], concurrency=1)
    assert await shared.send(START) is OK
    assert len(diary.heard) == 5
    assert shared.admission.free == 1
    (record,) = caplog.records
    assert (record.levelname, record.name) == ("ERROR", "vcloud.computers")
    assert record.exc_info is None
    (message,) = caplog.messages
    assert message.startswith(
        "Broken.started failed for POST /machines/{id}/start; the call goes on: "
        f"ValueError: at the start ({__file__}:"
    )


async def test_an_observer_that_raises_costs_one_line_a_minute_which_counts_the_others(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    shared = session(clock, *[OK] * 100, observers=[Broken()])
    began = clock.now
    for _ in range(11):
        await shared.send(START)  # a quarter of a second each
    assert len(caplog.records) == 1
    clock.now = began + 59.7
    await shared.send(START)
    assert len(caplog.records) == 1
    clock.now = began + 60
    await shared.send(START)
    # Of twelve calls, a start and an end each, but for the one that was said.
    assert caplog.messages[1].endswith("; 23 more failures since the last such line")
    clock.now = began + 150
    await shared.send(START)
    assert caplog.messages[2].endswith("; 1 more failures since the last such line")
    assert len(caplog.records) == 3


async def test_each_observer_has_a_line_of_its_own_whichever_clients_it_watches(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    @define  # compares by value, so it cannot be hashed
    class Other(Broken):
        name: str

    one, other = Other("one"), Other("one")
    first = session(clock, *[OK] * 9, observers=[one, other])
    second = session(clock, *[OK] * 9, observers=[one])
    for _ in range(4):
        await first.send(START)
        await second.send(START)
    assert len(caplog.records) == 2


async def test_a_new_observer_is_not_taken_for_one_that_is_gone(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    # Objects of one kind that follow each other often have the same address.
    for number in range(1, 6):
        await session(clock, OK, observers=[Broken()]).send(START)
        gc.collect()
        assert len(caplog.records) == number


async def test_where_the_log_is_enabled_for_debug_it_has_the_traceback_too(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "vcloud")
    await session(clock, OK, observers=[Broken()]).send(START)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.exc_info is not None
    assert "in started" in caplog.text


async def test_what_an_observer_raises_may_be_long_and_have_no_words(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise ValueError

    class Long(Observer):
        def started(self, attempt: Attempt) -> None:
            raise ValueError("x\n" * 100_000)

    class Wordless(Observer):
        def started(self, attempt: Attempt) -> None:
            raise Unspeakable

    await session(clock, OK, observers=[Long(), Wordless()]).send(START)
    long, wordless = caplog.messages
    assert "\n" not in long
    assert len(long) < 3000
    assert "Unspeakable" in wordless


@pytest.mark.parametrize("kind", ["function", "method", "with slots"])
async def test_a_hook_that_raises_costs_one_line_a_minute_too(
    clock: Clock, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    class Owner:
        __slots__ = ()

        def __call__(self, error: Exception) -> None:
            raise KeyError("in the hook")

        async def later(self, error: Exception) -> None:
            self(error)

    owner = Owner()

    def function(error: Exception) -> None:
        owner(error)

    hooks: dict[str, Hook[Exception]] = {
        "function": function,
        "method": owner.later,
        "with slots": owner,
    }
    hook = hooks[kind]
    log = logging.getLogger("vcloud.test")
    for _ in range(10):
        raised = await call_hook(hook, ValueError(), "on_error of x", log, clock)
        assert isinstance(raised, KeyError)
    (message,) = caplog.messages
    assert message.startswith(
        "on_error of x failed; what it was told of goes on: KeyError: 'in the hook' ("
    )


async def test_what_stops_a_program_also_stops_it_in_an_observer_and_leaves_the_slot_free(
    clock: Clock,
) -> None:
    class Stop(Observer):
        def started(self, attempt: Attempt) -> None:
            raise asyncio.CancelledError

    shared = session(clock, OK, observers=[Stop()], concurrency=1)
    with pytest.raises(asyncio.CancelledError):
        await shared.send(GET)
    assert shared.admission.free == 1


# -- the log -----------------------------------------------------------------------------------------------------------


async def test_the_log_has_one_line_for_each_attempt_and_says_what_comes_next(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "vcloud")
    with pytest.raises(TransportError):
        await session(clock, BUSY, TransportError("canary"), OK).send(START)
    assert [(record.levelname, record.name) for record in caplog.records] == [
        ("DEBUG", "vcloud.computers")
    ] * 2
    assert caplog.messages == [
        "computers: POST /machines/100/start, attempt 1: 503 ServerError in 250 ms; again in 250 ms",
        "computers: POST /machines/100/start, attempt 2: TransportError in 250 ms; gives up",
    ]


def test_a_line_says_how_long_the_attempt_stood_in_line() -> None:
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
        line(attempt) == "desktops: GET /desktop/7, attempt 1: 200 in 12.3 ms, after 12.3 s in line"
    )


async def test_the_log_says_nothing_unless_it_is_asked(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(VCloudError):
        await session(clock, BUSY, TransportError("reset")).send(START)
    assert caplog.records == []


async def test_the_log_can_be_asked_while_the_client_runs_and_for_one_provider_alone(
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


async def test_while_nobody_listens_that_is_asked_once_for_a_call_and_nothing_else_runs(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    class Quiet(logging.Logger):
        def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - its name in logging
            asked.append(level)
            return False

    monkeypatch.setattr(Observers, "watch", lambda *_: pytest.fail("somebody watches"))
    shared = session(clock, BUSY, BUSY, OK)
    shared.observers.log = Quiet("quiet")
    await shared.send(GET)
    assert asked == [logging.DEBUG]


# -- where observers are given -----------------------------------------------------------------------------------------


async def test_the_facades_observers_hear_of_every_provider_after_the_endpoints_own() -> None:
    own, every = Diary(), Diary()
    computers = Endpoint(auth=HMACAuth("ak", "sk"), observers=[own])
    cloud = VCloud(
        computers=computers, desktops=Endpoint(auth=APIKeyAuth("key")), observers=iter([every])
    )
    assert cloud.computers._session.observers._observers[:-1] == (own, every)
    assert cloud.desktops._session.observers._observers[:-1] == (every,)
    assert computers.observers == (own,)
    assert (
        cloud.computers.with_options(timeout=1)._session.observers
        is cloud.computers._session.observers
    )


def test_observers_come_from_env_too() -> None:
    every = Diary()
    cloud = VCloud.from_env({"VCLOUD_DESKTOPS_API_KEY": "key"}, observers=[every])
    assert cloud.desktops._session.observers._observers[0] is every


class Async(Observer):
    async def ended(self, attempt: Attempt) -> None:  # type: ignore[override]
        """Nobody would await it."""


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (Diary(), "must be a list of Observer objects"),
        ([print], "must be Observer objects"),
        ([Diary], "must be Observer objects"),
        ([Async()], "Async.ended must be a plain function, not async"),
    ],
)
def test_what_would_never_hear_anything_is_refused_at_the_start(given: Any, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        Endpoint(auth=HMACAuth("ak", "sk"), observers=given)

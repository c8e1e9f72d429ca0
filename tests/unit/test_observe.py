"""The calls of observers for the attempts of a call, and where observers are configured."""

from __future__ import annotations

import asyncio
import gc
import traceback
import weakref
from typing import Any

import pytest
from attrs import define

from tests.unit.observed import BUSY, GET, OK, START, Clock, Diary, moving_clock, session
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
    RetryPolicy,
    ServerError,
    TransportError,
    VCloud,
)
from vcloud._core.observed_call import log_line
from vcloud._core.transport import Transport
from vcloud.providers.computers.machine import MACHINE

ONCE = RetryPolicy(attempts=1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return moving_clock(monkeypatch)


async def test_an_observer_is_called_for_start_end_and_retry_in_order(clock: Clock) -> None:
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


async def test_an_attempt_of_a_sensitive_request_shows_no_ids(clock: Clock) -> None:
    diary = Diary()
    await session(clock, OK, observers=[diary]).send(
        Request("GET", "/machines/canary", sensitive=True)
    )
    assert diary.attempts[0].path == "/machines/{id}"
    assert "canary" not in repr(diary.attempts) + log_line(diary.attempts[0])


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
    assert shared.stats().free == 1


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


async def test_a_login_is_a_separate_attempt_and_the_request_waited_for_it(clock: Clock) -> None:
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


async def test_the_pause_before_a_retry_is_not_waited_time_but_the_wait_for_a_slot_is(
    clock: Clock,
) -> None:
    async def hold_the_only_slot() -> Response:
        while not shared.stats().waiting:  # noqa: ASYNC110 - no time passes here
            await asyncio.sleep(0)
        clock.now += 6.75  # besides the quarter of a second of each answer
        return OK

    others: list[asyncio.Task[Response]] = []

    class Sends(Observer):
        def retried(self, attempt: Attempt) -> None:
            others.append(asyncio.ensure_future(shared.send(Request("GET", "/machines/other"))))

    diary = Diary()
    acts = BUSY, hold_the_only_slot, OK
    shared = session(clock, *acts, observers=[diary, Sends()], concurrency=1)
    await shared.send(GET)
    await others[0]
    waited = [attempt.waited for attempt in diary.attempts if attempt.path == GET.path]
    assert waited == [0, 7]


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
    # The script's frames stand for the transport's, which is tested on its own.
    frames = [
        frame
        for frame, _ in traceback.walk_tb(second.__traceback__)
        if "observed_call.py" in frame.f_code.co_filename
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


@define
class Named(Observer):
    """Notes its name when it is called for an attempt."""

    name: str
    heard: list[str]

    def started(self, attempt: Attempt) -> None:
        self.heard.append(self.name)


@pytest.fixture
def unconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request ends without a connection."""

    async def refuse(*_: object) -> Response:
        raise ConnectError("refused")

    monkeypatch.setattr(Transport, "exchange", refuse)


@pytest.mark.usefixtures("unconnected")
async def test_the_facades_observers_hear_of_every_provider_after_the_endpoints_own() -> None:
    heard: list[str] = []
    own, every = Named("own", heard), Named("every", heard)
    computers = Endpoint(auth=HMACAuth("ak", "sk"), observers=[own], retry=ONCE)
    desktops = Endpoint(auth=APIKeyAuth("key"), retry=ONCE)
    async with VCloud(computers=computers, desktops=desktops, observers=iter([every])) as cloud:
        for get, names in (
            (cloud.computers.machines.get, ["own", "every"]),
            (cloud.desktops.get, ["every"]),
            (cloud.computers.with_options(timeout=1).machines.get, ["own", "every"]),
        ):
            heard.clear()
            with pytest.raises(ConnectError):
                await get("1")
            assert heard == names
    assert computers.observers == (own,)


@pytest.mark.usefixtures("unconnected")
async def test_observers_come_from_env_too() -> None:
    heard: list[str] = []
    environ = {"VCLOUD_DESKTOPS_API_KEY": "key"}
    async with VCloud.from_env(environ, observers=[Named("every", heard)]) as cloud:
        with pytest.raises(ConnectError):
            await cloud.desktops.with_options(retry=ONCE).get("1")
    assert heard == ["every"]


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
def test_an_observer_that_would_never_be_called_is_refused_at_the_start(
    given: Any, complaint: str
) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        Endpoint(auth=HMACAuth("ak", "sk"), observers=given)

"""The request loop, with a transport that plays a script: no socket, no real time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from vcloud import (
    APIError,
    Auth,
    AuthenticationError,
    BearerAuth,
    ConfigurationError,
    ConflictError,
    ConnectError,
    DecodeError,
    Endpoint,
    HMACAuth,
    InvalidArgumentError,
    InvalidRequestError,
    NotFoundError,
    RateLimit,
    RateLimitError,
    Request,
    RequestTimeout,
    Response,
    RetryPolicy,
    ServerError,
    TransportError,
)
from vcloud._core.auth import Send
from vcloud._core.call.sources import Sources
from vcloud._core.connections.options import TransportOptions
from vcloud._core.session import Session
from vcloud._core.transport import Transport
from vcloud.providers.vagon import VagonDialect

OK = Response(200, {}, b'{"client_code":200,"message":"OK"}')
GET, POST, DELETE = (Request(method, "/machines") for method in ("GET", "POST", "DELETE"))


def refused(code: int, status: int = 400, headers: Mapping[str, str] | None = None) -> Response:
    return Response(status, headers or {}, b'{"client_code":%d,"message":"no"}' % code)


class Script(Transport):
    """Plays answers and exceptions in turn, and keeps what it was asked."""

    def __init__(self, *acts: Response | Exception) -> None:
        super().__init__()
        self.acts = list(acts)
        self.asked: list[tuple[str, str, dict[str, str], float]] = []
        self.in_flight = self.most_in_flight = 0

    def check(self) -> None: ...

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        wire: TransportOptions,
    ) -> Response:
        self.asked.append((method, url, dict(headers), wire.attempt_timeouts.seconds))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0)
        self.in_flight -= 1
        act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
        if isinstance(act, Exception):
            raise act
        return act


class Time:
    """A clock that sleeping moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        real = asyncio.sleep

        async def sleep(seconds: float) -> None:
            if seconds > 0:
                self.slept.append(seconds)
                self.now += seconds
            await real(0)

        def call_later(
            loop: asyncio.AbstractEventLoop, seconds: float, callback: Callable[[], None]
        ) -> asyncio.Handle:
            self.slept.append(seconds)
            self.now += seconds
            return loop.call_soon(callback)

        monkeypatch.setattr("asyncio.sleep", sleep)
        monkeypatch.setattr("asyncio.BaseEventLoop.call_later", call_later)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


def session(script: Script, time: Time, **options: Any) -> Session:
    endpoint = Endpoint("https://vagon.test/v1", **{"auth": HMACAuth("ak", "sk")} | options)
    nonces = iter(range(10_000))
    return Session(
        VagonDialect("computers"),
        endpoint,
        "https://vagon.test/v1",
        script,
        sources=Sources(
            clock=time, wall=time, entropy=lambda: 0.5, nonce=lambda: f"n{next(nonces)}"
        ),
    )


async def test_every_attempt_is_signed_afresh(time: Time) -> None:
    script = Script(TransportError("dropped"), ServerErrorAnswer, OK)
    await session(script, time).send(GET)
    signatures = [headers["Authorization"] for _, _, headers, _ in script.asked]
    assert len(set(signatures)) == 3


ServerErrorAnswer = Response(502, {}, b"<html>bad gateway</html>")


@pytest.mark.parametrize("failure", [TransportError("reset"), RequestTimeout("slow")])
async def test_a_create_whose_answer_is_lost_is_not_sent_again_and_says_that_the_outcome_is_unknown(
    time: Time, failure: TransportError
) -> None:
    script = Script(failure, OK)
    with pytest.raises(type(failure), match="unknown, so look before you repeat") as caught:
        await session(script, time).send(POST)
    assert caught.value.outcome_unknown
    assert len(script.asked) == 1


@pytest.mark.parametrize("proof", [ConnectError("refused"), refused(503, 503), refused(429, 429)])
async def test_a_create_that_provably_was_not_done_is_sent_again(
    time: Time, proof: Response | Exception
) -> None:
    script = Script(proof, OK)
    assert await session(script, time).send(POST) is OK
    assert len(script.asked) == 2


async def test_a_create_that_never_connects_did_nothing(time: Time) -> None:
    script = Script(ConnectError("refused"))
    with pytest.raises(
        ConnectError,
        match=r"computers: POST https://vagon.test/v1/machines: refused \(tried 4 times\)",
    ) as caught:
        await session(script, time).send(POST)
    assert not caught.value.outcome_unknown


async def test_a_gateway_error_is_not_an_answer_of_the_service_to_a_create(time: Time) -> None:
    script = Script(ServerErrorAnswer)
    with pytest.raises(ServerError):
        await session(script, time).send(POST)
    assert len(script.asked) == 1


async def test_reads_are_repeated_with_growing_pauses_until_patience_ends(time: Time) -> None:
    script = Script(TransportError("reset"))
    with pytest.raises(TransportError, match="tried 4 times") as caught:
        await session(script, time).send(GET)
    assert not caught.value.outcome_unknown
    assert time.slept == [0.25, 0.5, 1.0]


async def test_a_delete_that_finds_nothing_after_a_lost_answer_says_why_that_may_be(
    time: Time,
) -> None:
    script = Script(TransportError("reset"), refused(404, 404))
    with pytest.raises(NotFoundError) as caught:
        await session(script, time).send(DELETE)
    assert "may be what removed it" in caught.value.__notes__[0]


async def test_retry_after_is_obeyed_and_holds_back_every_other_task(time: Time) -> None:
    script = Script(refused(429, 429, {"Retry-After": "45"}), OK)
    shared = session(script, time)
    first = asyncio.create_task(shared.send(GET))
    for _ in range(4):
        await asyncio.sleep(0)
    others = [asyncio.create_task(shared.send(GET)) for _ in range(20)]
    await asyncio.gather(first, *others)
    assert len(script.asked) == 22
    assert time.now >= 1045


@pytest.mark.parametrize("status", [429, 503])
async def test_a_retry_after_of_nothing_shortens_no_pause(status: int, time: Time) -> None:
    script = Script(*[refused(status, status, {"Retry-After": "0"})] * 3, OK)
    await session(script, time).send(GET)
    assert time.now - 1000 >= 0.25 + 0.5 + 1.0, "what the policy waits by itself"


async def test_a_429_with_a_retry_after_of_nothing_holds_back_every_other_task(time: Time) -> None:
    shared = session(Script(refused(429, 429, {"Retry-After": "0"}), OK), time)
    with pytest.raises(RateLimitError):
        await shared.with_options(retry=RetryPolicy(attempts=1)).send(GET)
    await shared.send(GET)
    assert time.now - 1000 >= 0.25


async def test_a_retry_after_beyond_patience_is_an_error_that_carries_it(time: Time) -> None:
    script = Script(refused(429, 429, {"Retry-After": "3600"}))
    with pytest.raises(RateLimitError) as caught:
        await session(script, time).send(GET)
    assert caught.value.retry_after == 3600
    assert time.slept == []


async def test_a_limit_that_lasts_longer_than_patience_is_not_undercut_by_later_calls(
    time: Time,
) -> None:
    script = Script(refused(429, 429, {"Retry-After": "3600"}), OK)
    shared = session(script, time)
    for _ in range(3):
        with pytest.raises(RateLimitError) as caught:
            await shared.send(GET)
        assert caught.value.retry_after == 3600
    assert len(script.asked) == 1
    time.now += 3601
    assert await shared.send(GET) is OK


async def test_an_exhausted_budget_is_waited_for_before_it_becomes_a_429(time: Time) -> None:
    # 1970-01-01T00:17:40Z is second 1060 of the clock in this test.
    limited = Response(200, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1060"}, OK.body)
    script = Script(limited, OK)
    shared = session(script, time)
    await shared.send(GET)
    await shared.send(GET)
    assert time.now >= 1060


async def test_the_deadline_covers_retries_and_is_not_slept_past(time: Time) -> None:
    script = Script(TransportError("reset"))
    with pytest.raises(TransportError, match="the deadline leaves no time"):
        await session(script, time, deadline=0.6).send(GET)
    assert len(script.asked) == 2


async def test_the_deadline_covers_waiting_for_the_budget(time: Time) -> None:
    script = Script(refused(429, 429, {"Retry-After": "45"}), OK)
    shared = session(script, time, deadline=10)
    with pytest.raises(RateLimitError):
        await shared.send(GET)
    with pytest.raises(RequestTimeout, match="before it could be sent; nothing was sent"):
        await shared.send(GET)


async def test_an_attempt_never_gets_more_time_than_the_deadline_leaves(time: Time) -> None:
    script = Script(OK)
    await session(script, time, timeout=30, deadline=5).send(GET)
    await session(script, time, timeout=30, deadline=500).send(GET)
    assert [limit for *_, limit in script.asked] == [5, 30]


async def test_options_can_be_changed_for_some_calls_while_everything_else_is_shared(
    time: Time,
) -> None:
    script = Script(OK)
    base = session(script, time)
    other = base.with_options(timeout=3, deadline=2, retry=RetryPolicy(attempts=1))
    await other.send(GET)
    await base.send(GET)
    assert [limit for *_, limit in script.asked] == [2, 30]
    assert other.admission is base.admission
    assert other.auth is base.auth


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout": 0}, "timeout must be greater than 0, not 0"),
        ({"deadline": -1}, "deadline must be greater than 0, not -1"),
        ({"deadline": timedelta(0)}, "deadline must be greater than 0"),
        ({"retry": 3}, r"retry must be a RetryPolicy\(...\), not 3"),
    ],
)
def test_other_patience_must_make_sense(options: dict[str, Any], words: str, time: Time) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        session(Script(), time).with_options(**options)


async def test_a_wrong_clock_is_corrected_once_and_then_no_means_no(time: Time) -> None:
    date = {"Date": "Thu, 01 Jan 1970 02:00:00 GMT"}
    script = Script(refused(401, 401, date), OK)
    await session(script, time).send(POST)
    assert script.asked[1][2]["Authorization"].rsplit(":", 1)[1].startswith("7200")

    script = Script(refused(401, 401, date))
    with pytest.raises(AuthenticationError):
        await session(script, time).send(POST)
    assert len(script.asked) == 2


async def test_a_login_that_is_lost_says_nothing_about_the_request_that_wanted_it(
    time: Time,
) -> None:
    script = Script(TransportError("reset"))
    shared = session(script, time, auth=BearerAuth.login("admin", "hunter2"))
    with pytest.raises(TransportError, match="/auth/login") as caught:
        await shared.send(GET)
    assert [(method, url.rpartition("/v1")[2]) for method, url, _, _ in script.asked] == [
        ("POST", "/auth/login")
    ]
    assert "/machines" not in str(caught.value)


async def test_the_deadline_covers_waiting_for_a_login(time: Time) -> None:
    class Stuck(Script):
        async def exchange(
            self,
            method: str,
            url: str,
            headers: Mapping[str, str],
            body: bytes | None,
            wire: TransportOptions,
        ) -> Response:
            await asyncio.Event().wait()
            raise AssertionError

    auth = BearerAuth.login("admin", "hunter2")
    shared = session(Stuck(OK), time, auth=auth, deadline=0.02)
    with pytest.raises(RequestTimeout, match="nothing was sent") as caught:
        await shared.send(POST)
    assert not caught.value.outcome_unknown


@pytest.mark.parametrize("deadline", [None, 60])
async def test_a_strategys_own_timeout_is_not_taken_for_the_deadline(
    time: Time, deadline: float | None
) -> None:
    class Slow(BearerAuth):
        def ready(self, now: float) -> bool:
            return False

        async def acquire(self, send: object, *, now: float) -> None:
            raise TimeoutError("the vault did not answer")

    script = Script(OK)
    shared = session(script, time, auth=Slow("token"), deadline=deadline)
    with pytest.raises(TimeoutError, match="the vault did not answer"):
        await shared.send(GET)
    assert script.asked == []


async def test_no_more_requests_are_in_flight_than_allowed(time: Time) -> None:
    script = Script(OK)
    shared = session(script, time, concurrency=7)
    await asyncio.gather(*[shared.send(GET) for _ in range(200)])
    assert script.most_in_flight == 7
    assert len(script.asked) == 200


async def test_cancelled_requests_leave_every_slot_free(time: Time) -> None:
    script = Script(OK)
    shared = session(script, time, concurrency=5)
    for rounds in range(6):
        tasks = [asyncio.create_task(shared.send(GET)) for _ in range(300)]
        for _ in range(rounds):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    script.most_in_flight = script.in_flight = 0
    await asyncio.gather(*[shared.send(GET) for _ in range(50)])
    assert script.most_in_flight == 5


@pytest.mark.parametrize("body", [b"", b"<html>hello</html>", b'{"client_code":', b"[1]", b"null"])
async def test_a_success_that_is_no_envelope_is_a_decode_error_and_no_success(
    time: Time, body: bytes
) -> None:
    with pytest.raises(DecodeError, match=r"computers: POST https://vagon.test/v1/machines"):
        await session(Script(Response(200, {}, body)), time).send(POST)


async def test_a_proxys_html_is_an_error_with_its_status_and_first_words(time: Time) -> None:
    with pytest.raises(ServerError, match="bad gateway") as caught:
        await session(Script(ServerErrorAnswer), time, retry=RetryPolicy(attempts=1)).send(GET)
    assert caught.value.status == 502


async def test_a_redirect_is_an_error_and_not_followed(time: Time) -> None:
    script = Script(Response(302, {"Location": "https://elsewhere.test/"}, b""))
    with pytest.raises(
        APIError, match="redirects to https://elsewhere.test/, and redirects are not followed"
    ):
        await session(script, time).send(GET)
    assert len(script.asked) == 1


async def test_a_password_that_the_service_quotes_is_hidden(time: Time) -> None:
    request = Request("PUT", "/streams/1", body=b'{"password":"hunter2"}', sensitive=True)
    quoted = Response(400, {}, b'{"client_code":400,"message":"hunter2 is too weak"}')
    with pytest.raises(InvalidRequestError, match=r"\*\*\* is too weak") as caught:
        await session(Script(quoted), time).send(request)
    assert "hunter2" not in repr(caught.value) + str(vars(caught.value))


async def test_client_code_decides_over_http_200_wherever_the_key_stands(time: Time) -> None:
    for body in (b'{"client_code":2001,"message":"x"}', b'{"client_code":200.5}'):
        with pytest.raises((APIError, DecodeError)):
            await session(Script(Response(200, {}, body)), time).send(POST)
    for body in (
        b'{"client_code":4206,"message":"x"}',
        b'{ "message" : "x", "client_code" : 4206 }',
    ):
        with pytest.raises(ConflictError):
            await session(Script(Response(200, {}, body)), time).send(POST)
    text = b'{"message":"not a key: \\"client_code\\":200","client_code":4206}'
    with pytest.raises(ConflictError):
        await session(Script(Response(200, {}, text)), time).send(POST)


async def test_a_503_says_when_to_come_back_too(time: Time) -> None:
    script = Script(refused(503, 503, {"Retry-After": "7"}), OK)
    await session(script, time).send(POST)
    assert time.slept[0] >= 7
    with pytest.raises(ServerError) as caught:
        await session(Script(refused(503, 503, {"Retry-After": "3600"})), time).send(GET)
    assert caught.value.retry_after == 3600


async def test_a_gateways_error_leaves_open_what_was_done_as_a_lost_answer_does(time: Time) -> None:
    with pytest.raises(NotFoundError) as missing:
        await session(Script(refused(504, 504), refused(404, 404)), time).send(DELETE)
    assert "may be what removed it" in missing.value.__notes__[0]
    with pytest.raises(TransportError) as caught:
        await session(Script(refused(504, 504), ConnectError("refused")), time).send(DELETE)
    assert caught.value.outcome_unknown
    with pytest.raises(ConnectError) as refusal:
        await session(Script(refused(503, 503), ConnectError("refused")), time).send(POST)
    assert not refusal.value.outcome_unknown


async def test_what_never_arrived_at_last_proves_nothing_of_what_was_sent_before(
    time: Time,
) -> None:
    with pytest.raises(TransportError) as caught:
        await session(Script(TransportError("reset"), ConnectError("refused")), time).send(DELETE)
    assert (type(caught.value), caught.value.outcome_unknown) == (TransportError, True)
    with pytest.raises(ConnectError):
        await session(Script(TransportError("reset"), ConnectError("refused")), time).send(GET)


async def test_who_waits_in_line_in_vain_does_not_forget_an_answer_that_was_lost(
    time: Time,
) -> None:
    one = session(
        Script(TransportError("reset")), time, deadline=50, rate_limits=[RateLimit(1, per=100)]
    )
    with pytest.raises(RequestTimeout, match="be sent again; .* is unknown") as caught:
        await one.send(DELETE)
    assert caught.value.outcome_unknown
    other = session(Script(TransportError("reset")), time, rate_limits=[RateLimit(1, per=1000)])
    with pytest.raises(RateLimitError, match="the answer to an earlier attempt was lost"):
        await other.send(DELETE)


class Fetched(Auth):
    """A strategy of a user's own, which obtains its credential with a request that names no bucket."""

    token = ""

    def headers(self, request: Request, path: str, *, now: float, nonce: str) -> Mapping[str, str]:
        return {"X-Token": self.token}

    def ready(self, now: float) -> bool:
        return bool(self.token)

    async def acquire(self, send: Send, *, now: float) -> None:
        await send(Request("POST", "/token", authenticated=False))
        self.token = "fresh"


async def test_a_request_for_a_credential_never_waits_for_those_who_wait_for_the_credential(
    time: Time,
) -> None:
    script = Script(OK)
    one = session(script, time, auth=Fetched(), concurrency=2, rate_limits=[RateLimit(1, per=60)])
    await asyncio.gather(*[one.send(GET) for _ in range(3)])
    assert [url.rpartition("/")[2] for _, url, *_ in script.asked].count("machines") == 3


async def test_a_long_pause_is_told_to_those_in_line_too(time: Time) -> None:
    one = session(Script(refused(429, 429, {"Retry-After": "3600"})), time, concurrency=1)
    results = await asyncio.gather(*[one.send(GET) for _ in range(5)], return_exceptions=True)
    assert [type(result) for result in results] == [RateLimitError] * 5
    assert time.now < 1100


def test_a_limit_for_a_bucket_that_does_not_exist_is_refused(time: Time) -> None:
    with pytest.raises(
        ConfigurationError, match="computers has no bucket 'logins', but '', 'login'"
    ):
        session(Script(OK), time, rate_limits=[RateLimit(5, 60, "logins")])

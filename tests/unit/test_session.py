"""The request loop, with a transport that plays a script: no socket, no real time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.scripted import (
    DELETE,
    GET,
    OK,
    POST,
    Fetched,
    Script,
    ServerErrorAnswer,
    Time,
    refused,
    session,
)
from vcloud import (
    ConfigurationError,
    ConnectError,
    InvalidArgumentError,
    NotFoundError,
    RateLimit,
    RateLimitError,
    RequestTimeout,
    Response,
    RetryPolicy,
    ServerError,
    TransportError,
)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


async def test_every_attempt_is_signed_afresh(time: Time) -> None:
    script = Script(TransportError("dropped"), ServerErrorAnswer, OK)
    await session(script, time).send(GET)
    signatures = [headers["Authorization"] for _, _, headers, _ in script.asked]
    assert len(set(signatures)) == 3


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


async def test_reads_are_repeated_with_growing_pauses_until_no_attempt_is_left(time: Time) -> None:
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


async def test_retry_after_is_obeyed_and_delays_every_other_task(time: Time) -> None:
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


async def test_a_429_with_retry_after_0_delays_every_other_task(time: Time) -> None:
    shared = session(Script(refused(429, 429, {"Retry-After": "0"}), OK), time)
    with pytest.raises(RateLimitError):
        await shared.with_options(retry=RetryPolicy(attempts=1)).send(GET)
    await shared.send(GET)
    assert time.now - 1000 >= 0.25


async def test_a_retry_after_beyond_max_retry_after_is_an_error_that_carries_it(time: Time) -> None:
    script = Script(refused(429, 429, {"Retry-After": "3600"}))
    with pytest.raises(RateLimitError) as caught:
        await session(script, time).send(GET)
    assert caught.value.retry_after == 3600
    assert time.slept == []


async def test_a_limit_that_outlasts_max_retry_after_is_not_undercut_by_later_calls(
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
        ({"timeout": 0}, "timeout must be greater than 0 seconds, not 0"),
        ({"deadline": -1}, "deadline must be greater than 0 seconds, not -1"),
        ({"deadline": timedelta(0)}, "deadline must be greater than 0"),
        ({"retry": 3}, r"retry must be a RetryPolicy\(...\), not 3"),
    ],
)
def test_other_timeouts_must_be_valid(options: dict[str, Any], words: str, time: Time) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        session(Script(), time).with_options(**options)


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


async def test_a_last_attempt_that_never_arrived_proves_nothing_about_earlier_ones(
    time: Time,
) -> None:
    with pytest.raises(TransportError) as caught:
        await session(Script(TransportError("reset"), ConnectError("refused")), time).send(DELETE)
    assert (type(caught.value), caught.value.outcome_unknown) == (TransportError, True)
    with pytest.raises(ConnectError):
        await session(Script(TransportError("reset"), ConnectError("refused")), time).send(GET)


async def test_a_call_that_gives_up_in_the_queue_still_reports_a_lost_answer(
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


async def test_a_login_never_waits_for_the_calls_that_wait_for_it(
    time: Time,
) -> None:
    script = Script(OK)
    one = session(script, time, auth=Fetched(), concurrency=2, rate_limits=[RateLimit(1, per=60)])
    await asyncio.gather(*[one.send(GET) for _ in range(3)])
    assert [url.rpartition("/")[2] for _, url, *_ in script.asked].count("machines") == 3


async def test_a_long_pause_ends_the_calls_in_the_queue_too(time: Time) -> None:
    one = session(Script(refused(429, 429, {"Retry-After": "3600"})), time, concurrency=1)
    results = await asyncio.gather(*[one.send(GET) for _ in range(5)], return_exceptions=True)
    assert [type(result) for result in results] == [RateLimitError] * 5
    assert time.now < 1100


def test_a_limit_for_a_bucket_that_does_not_exist_is_refused(time: Time) -> None:
    with pytest.raises(
        ConfigurationError, match="computers has no bucket 'logins', but '', 'login'"
    ):
        session(Script(OK), time, rate_limits=[RateLimit(5, 60, "logins")])

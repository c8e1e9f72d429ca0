"""Credentials that are refused, bearer tokens and logins."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.auth_service import NOW, SECRETS, Service, bearer, refusal
from vcloud import (
    APIKeyAuth,
    AuthenticationError,
    BearerAuth,
    ConfigurationError,
    DecodeError,
    HMACAuth,
    Request,
    Response,
    ServerError,
    TransportError,
)
from vcloud._core.request import json_body


@pytest.mark.parametrize(
    "bad", ["", "   ", "line\nbreak", "crlf\r\nX: y", "nul\0", "ümlaut", None, 5]
)
def test_credentials_that_cannot_travel_are_refused_without_being_shown(bad: object) -> None:
    for make in (
        lambda: HMACAuth("ak", bad),  # type: ignore[arg-type]
        lambda: HMACAuth(bad, "sk"),  # type: ignore[arg-type]
        lambda: APIKeyAuth(bad),  # type: ignore[arg-type]
        lambda: BearerAuth(bad),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert not isinstance(bad, str) or not bad.strip() or bad not in str(caught.value)


@pytest.mark.parametrize(
    "auth",
    [
        HMACAuth("ak", "sk_canary"),
        APIKeyAuth("api_canary"),
        BearerAuth("tok_canary"),
        BearerAuth.login("admin", "hunter2"),
    ],
)
def test_secrets_are_in_no_repr_and_no_pickle(auth: object) -> None:
    for text in (repr(auth), str(auth), f"{auth!r}"):
        assert not any(secret in text for secret in SECRETS)
    for spread in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="secret"):
            spread(auth)


async def test_five_hundred_tasks_without_a_token_log_in_once() -> None:
    auth, service = BearerAuth.login("admin", "hunter2"), Service()
    service.gate.clear()
    tasks = [asyncio.create_task(auth.acquire(service, now=NOW)) for _ in range(500)]
    await asyncio.sleep(0)
    service.gate.set()
    await asyncio.gather(*tasks)
    assert service.logins == 1
    assert bearer(auth) == "Bearer tok-1"


async def test_a_failed_login_fails_for_all_who_waited_and_is_tried_once() -> None:
    auth, service = BearerAuth.login("admin", "wrong"), Service()
    service.failure = AuthenticationError("Invalid username or password", status=401)
    service.gate.clear()
    tasks = [asyncio.create_task(auth.acquire(service, now=NOW)) for _ in range(50)]
    await asyncio.sleep(0)
    service.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert service.logins == 1
    assert {type(outcome) for outcome in outcomes} == {AuthenticationError}


async def test_a_call_that_waited_for_a_refused_login_reports_that_nothing_was_sent() -> None:
    auth, service = BearerAuth.login("admin", "wrong"), Service()
    service.failure = AuthenticationError("Invalid username or password", status=401)
    service.gate.clear()
    tasks = [asyncio.create_task(auth.acquire(service, now=NOW)) for _ in range(50)]
    await asyncio.sleep(0)
    service.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [getattr(outcome, "remembered", None) for outcome in outcomes].count(True) == 49
    with pytest.raises(AuthenticationError) as caught:
        await auth.acquire(service, now=NOW)
    assert caught.value.remembered
    assert service.logins == 1


@pytest.mark.parametrize(
    "failure",
    [
        ServerError("broken", status=500),
        TransportError("reset", outcome_unknown=True),
        AuthenticationError("a gateway's page", status=401, outcome_unknown=True),
    ],
    ids=["5xx", "lost", "gateway"],
)
async def test_a_login_that_failed_otherwise_is_tried_again_by_the_next_call(
    failure: Exception,
) -> None:
    auth, service = BearerAuth.login("admin", "hunter2"), Service()
    service.failure = failure
    with pytest.raises(type(failure)):
        await auth.acquire(service, now=NOW)
    service.failure = None
    await auth.acquire(service, now=NOW)
    assert auth.ready(NOW)


async def test_when_the_task_that_logs_in_is_cancelled_the_next_one_does_it() -> None:
    auth, service = BearerAuth.login("admin", "hunter2"), Service()
    service.gate.clear()
    first, second = (asyncio.create_task(auth.acquire(service, now=NOW)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    service.gate.set()
    await second
    assert service.logins == 2
    assert first.cancelled()


@pytest.mark.parametrize("key", ["expires_at", "expiresAt"])
async def test_a_token_is_renewed_shortly_before_it_expires(key: str) -> None:
    auth, service = BearerAuth.login("admin", "hunter2"), Service(key=key)
    assert not auth.ready(NOW)
    await auth.acquire(service, now=NOW)
    end = NOW + service.life.total_seconds()
    assert auth.expires_at == datetime.fromtimestamp(end, UTC)
    assert auth.ready(end - 61)
    assert not auth.ready(end - 59)


async def test_a_short_lived_token_is_not_renewed_for_every_request() -> None:
    auth, service = BearerAuth.login("admin", "hunter2"), Service(life=timedelta(seconds=30))
    await auth.acquire(service, now=NOW)
    assert auth.ready(NOW + 20)


async def test_a_refusal_of_an_old_token_never_throws_away_a_newer_one() -> None:
    auth, service = BearerAuth.login("admin", "hunter2"), Service()
    await auth.acquire(service, now=NOW)
    old = auth.headers(Request("GET", "/"), "/", now=NOW, nonce="")
    assert auth.refused(Response(401, {}, b""), old, now=NOW)
    assert not auth.ready(NOW)
    await auth.acquire(service, now=NOW)
    assert auth.refused(Response(401, {}, b""), old, now=NOW), (
        "worth another try, with the newer one"
    )
    assert auth.ready(NOW)
    assert bearer(auth) == "Bearer tok-2"


def test_a_static_token_is_not_worth_a_second_try() -> None:
    assert not BearerAuth("tok").refused(
        Response(401, {}, b""), {"Authorization": "Bearer tok"}, now=NOW
    )


async def test_a_malformed_login_answer_does_not_show_itself() -> None:
    async def send(request: Request) -> Response:
        return Response(200, {}, b'{"tokn": "tok_canary"}')

    with pytest.raises(DecodeError) as caught:
        await BearerAuth.login("admin", "hunter2").acquire(send, now=NOW)
    assert "canary" not in str(caught.value)


def test_a_token_that_no_server_would_take_is_not_sent() -> None:
    """It would be in every request, and be looked for in every refusal."""
    auth = BearerAuth("the-first-token")
    auth.adopt("t" * 16_384, None, now=NOW)

    with pytest.raises(
        DecodeError, match=r"invalid token: the token has 16385 characters, more than 16384$"
    ):
        auth.adopt("t" * 16_385, None, now=NOW)


async def test_a_tokens_life_is_counted_by_the_services_clock() -> None:
    async def send(request: Request) -> Response:
        # The service is two hours behind us; its tokens last for one.
        expires = datetime.fromtimestamp(NOW - 7200 + 3600, UTC)
        return Response(
            200,
            dict(refusal(NOW - 7200).headers),
            json_body({"token": "tok", "expires_at": expires}),
        )

    auth = BearerAuth.login("admin", "hunter2")
    await auth.acquire(send, now=NOW)
    assert auth.ready(NOW + 3500)
    assert not auth.ready(NOW + 3590)


def test_one_strategy_serves_one_event_loop_after_another() -> None:
    auth, service = BearerAuth.login("admin", "hunter2"), Service()

    async def three_at_once() -> None:
        auth.forget()
        service.gate = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, service.gate.set)
        await asyncio.gather(*[auth.acquire(service, now=NOW) for _ in range(3)])

    asyncio.run(three_at_once())
    asyncio.run(three_at_once())
    assert service.logins == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: HMACAuth("ak:sk", "sk"),
        lambda: BearerAuth("Bearer tok_canary"),
        lambda: HMACAuth("ak ", "sk"),
    ],
)
def test_credentials_that_are_put_together_wrongly_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert "canary" not in str(caught.value)


def test_a_login_needs_both_halves() -> None:
    with pytest.raises(ConfigurationError, match="(username|password) must be a non-empty string"):
        BearerAuth.login("admin", "")


# -- tokens that seem to have ended --------------------------------------------------------------


@pytest.mark.parametrize(
    "expires_at",
    ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "2020-01-01T00:00:00Z"],
)
async def test_a_token_that_seems_past_its_end_is_used_until_it_is_refused(expires_at: str) -> None:
    logins = 0

    async def send(request: Request) -> Response:
        nonlocal logins
        logins += 1
        return Response(200, {}, json_body({"token": f"tok-{logins}", "expires_at": expires_at}))

    auth = BearerAuth.login("admin", "hunter2")
    for _ in range(8):
        if not auth.ready(NOW):
            await auth.acquire(send, now=NOW)
    assert logins == 1
    assert auth.refused(
        Response(401, {}, b""), auth.headers(Request("GET", "/"), "/", now=NOW, nonce=""), now=NOW
    )
    assert not auth.ready(NOW)


async def test_an_empty_authorization_header_is_never_made() -> None:
    auth = BearerAuth.login("admin", "hunter2")
    with pytest.raises(ConfigurationError, match="no token yet"):
        bearer(auth)
    await auth.acquire(Service(), now=NOW)
    auth.forget()
    with pytest.raises(ConfigurationError, match="no token yet"):
        bearer(auth)


@pytest.mark.parametrize("had_a_token", [False, True])
async def test_a_call_that_waited_for_a_token_that_was_refused_logs_in_again(
    had_a_token: bool,
) -> None:
    auth, service = BearerAuth.login("admin", "hunter2"), Service()
    if had_a_token:
        auth.adopt("about-to-end", None, now=NOW)
    service.gate.clear()

    async def use() -> str:
        await auth.acquire(service, now=NOW)
        return bearer(auth)

    async def use_and_be_refused() -> None:
        await auth.acquire(service, now=NOW)
        sent = auth.headers(Request("GET", "/"), "/", now=NOW, nonce="")
        auth.refused(Response(401, {}, b""), sent, now=NOW)

    first = asyncio.create_task(use_and_be_refused())
    others = [asyncio.create_task(use()) for _ in range(5)]
    await asyncio.sleep(0)
    service.gate.set()
    await first
    assert await asyncio.gather(*others) == ["Bearer tok-2"] * 5
    assert service.logins == 2

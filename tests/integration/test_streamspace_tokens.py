"""StreamSpace's tokens and rate limits against the emulator: logins, renewals, waits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine

from tests.seeded import ADMIN_PASSWORD, SEED
from vcloud import (
    AuthenticationError,
    BearerAuth,
    Endpoint,
    InvalidRequestError,
    RateLimitError,
    RequestTimeout,
    RetryPolicy,
)
from vcloud.emulator import Clock, Emulator, Fault
from vcloud.emulator.credentials import ADMIN
from vcloud.emulator.streamspace.catalog import USER
from vcloud.providers.streamspace import StreamSpace, StreamSpaceCode

STATS = "/api/v1/agents/stats"


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(clock=Clock.stopped(), rate_limits=False, seed=SEED) as emulator:
        yield emulator


def connect(emulator: Emulator, password: str = ADMIN_PASSWORD, **options: Any) -> StreamSpace:
    base_url = emulator.endpoints()["streamspace"].base_url
    return StreamSpace(Endpoint(base_url, auth=BearerAuth.login(ADMIN, password), **options))


def logins(emulator: Emulator) -> int:
    return sum(call.path.endswith("/auth/login") for call in emulator.calls)


def answered(emulator: Emulator, status: int) -> int:
    return sum(call.status == status for call in emulator.calls)


# -- tokens ----------------------------------------------------------------------------------------


async def test_five_hundred_tasks_without_a_token_log_in_once(emulator: Emulator) -> None:
    async with connect(emulator) as client:
        await asyncio.gather(*(client.agents.stats() for _ in range(500)))
    assert logins(emulator) == 1
    assert answered(emulator, 200) == 501


@pytest.mark.parametrize("end", ["expired", "revoked"])
async def test_token_that_ends_during_a_run_costs_one_login_and_no_failed_call(
    emulator: Emulator, end: str
) -> None:
    async with connect(emulator, concurrency=20) as client:
        await client.agents.stats()

        async def work(number: int) -> None:
            if number == 100:
                # The clients' clocks do not change: only the refusal shows that the token ended.
                if end == "expired":
                    emulator.clock.advance(emulator.streamspace.tokens.life)
                else:
                    emulator.streamspace.tokens.revoke_all()
            await client.agents.stats()

        await asyncio.gather(*(work(number) for number in range(200)))
    assert logins(emulator) == 2
    assert sum(call.path == STATS and call.status == 200 for call in emulator.calls) == 201


async def test_token_that_is_about_to_end_is_replaced_before_it_is_refused(
    emulator: Emulator,
) -> None:
    async with connect(emulator) as client:
        login = await client.login()
        assert login.expires_at is not None
        with time_machine.travel(login.expires_at - timedelta(seconds=30), tick=False):
            await client.agents.stats()
    assert logins(emulator) == 2
    assert answered(emulator, 401) == 0


async def test_token_past_its_end_on_arrival_is_used_until_it_is_refused(
    emulator: Emulator,
) -> None:
    emulator.streamspace.tokens.life = -1.0
    async with connect(emulator) as client:
        await client.login()
        emulator.streamspace.tokens.life = 86400.0
        await client.agents.stats()
    assert logins(emulator) == 2
    assert answered(emulator, 401) == 1


async def test_error_for_a_wrong_password_does_not_show_it(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with connect(emulator, "pass-canary") as client:
        outcomes = await asyncio.gather(
            *(client.agents.stats() for _ in range(20)), return_exceptions=True
        )
    for error in outcomes:
        assert isinstance(error, AuthenticationError)
        assert error.code is StreamSpaceCode.AUTH_INVALID_CREDENTIALS
        assert "canary" not in f"{error!r} {error} {error.__dict__} {caplog.text}"
    assert logins(emulator) == 1


async def test_logout_makes_the_token_worthless_and_the_next_call_logs_in_again(
    emulator: Emulator,
) -> None:
    async with connect(emulator) as client, connect(emulator) as other:
        token = (await client.login()).token
        await client.logout()
        await client.agents.stats()
        assert logins(emulator) == 2
        base_url = emulator.endpoints()["streamspace"].base_url
        with pytest.raises(AuthenticationError) as caught:
            async with StreamSpace(Endpoint(base_url, auth=BearerAuth(token))) as late:
                await late.agents.stats()
        assert caught.value.code is StreamSpaceCode.AUTH_TOKEN_INVALID
        await other.logout()
        assert logins(emulator) == 2, "there was nothing to log out from"


async def test_client_with_a_token_can_log_in_as_a_user(emulator: Emulator) -> None:
    async with StreamSpace(
        Endpoint(emulator.endpoints()["streamspace"].base_url, auth=BearerAuth("no.such.token"))
    ) as client:
        with pytest.raises(AuthenticationError):
            await client.agents.stats()
        login = await client.login(USER, emulator.streamspace.users[USER].password)
        assert login.user is not None
        assert login.user.username == USER
        emulator.streamspace.tokens.revoke_all()
        await client.agents.stats()
    assert logins(emulator) == 2


async def test_renewed_token_is_used_from_then_on(emulator: Emulator) -> None:
    async with connect(emulator) as client:
        first = await client.login()
        second = await client.refresh_token()
        assert second.token != first.token
        emulator.streamspace.tokens.revoke(first.token)
        await client.agents.stats()
        assert (await client.sessions.ref("x").connect_url()).endswith(f"token={second.token}")
        emulator.faults.add("POST */auth/refresh", Fault.reply(404, "404 page not found"))
        with pytest.raises(InvalidRequestError, match="no such path") as caught:
            await client.refresh_token()
        assert second.token not in str(caught.value)
    assert logins(emulator) == 1


async def test_login_in_the_published_servers_form_is_understood() -> None:
    async with Emulator(rate_limits=False, seed=SEED, streamspace="published") as emulator:
        async with connect(emulator) as client:
            await client.sessions.list().all()
            login = await client.login()
            assert login.expires_at is not None
            assert login.expires_at.microsecond
    assert logins(emulator) == 2


# -- limits ----------------------------------------------------------------------------------------


async def test_login_limit_reached_is_a_rate_limit_error(emulator: Emulator) -> None:
    emulator.streamspace.limits.enabled = True
    for _ in range(5):
        async with connect(emulator) as client:
            await client.login()
    async with connect(emulator, retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(RateLimitError) as caught:
            await client.agents.stats()
    assert caught.value.retry_after == 60
    assert answered(emulator, 429) == 1


async def test_client_waits_for_the_next_minute_instead_of_a_refusal(emulator: Emulator) -> None:
    emulator.streamspace.limits.enabled = True
    async with connect(emulator) as client:
        await client.agents.stats()
        await asyncio.gather(*(client.agents.stats() for _ in range(99)))
        outcomes = await asyncio.gather(
            *(client.with_options(deadline=0.5).agents.stats() for _ in range(20)),
            return_exceptions=True,
        )
    assert {type(outcome) for outcome in outcomes} == {RequestTimeout}, (
        "a minute is longer than the deadline"
    )
    assert answered(emulator, 200) == 101
    assert answered(emulator, 429) == 0


async def test_new_sessions_are_counted_apart_from_everything_else(emulator: Emulator) -> None:
    emulator.streamspace.limits.enabled = True
    async with connect(emulator, deadline=0.5) as client:
        for _ in range(10):
            await client.sessions.create(USER, "firefox-browser")
        with pytest.raises(RequestTimeout, match="nothing was sent"):
            await client.sessions.create(USER, "firefox-browser")
        await client.agents.stats()
    assert len(emulator.streamspace.sessions) == 10


async def test_refused_create_is_sent_again_after_a_429(emulator: Emulator) -> None:
    body = '{"error":"Rate limit exceeded","code":"RATE_LIMIT_EXCEEDED","retry_after":0}'
    emulator.faults.add("POST */sessions", Fault.reply(429, body, content_type="application/json"))
    async with connect(emulator, retry=RetryPolicy(base=0.01)) as client:
        await client.sessions.create(USER, "firefox-browser")
    assert len(emulator.streamspace.sessions) == 1

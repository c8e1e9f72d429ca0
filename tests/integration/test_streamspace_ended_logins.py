"""Logins that a published server ends with each change, and refusals while its database is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.seeded import ADMIN_PASSWORD, SEED
from vcloud import (
    AuthenticationError,
    BearerAuth,
    Endpoint,
    OutcomeStatus,
    RetryPolicy,
    VCloud,
)
from vcloud._core.call import credentials
from vcloud._core.client import session_of
from vcloud._core.request import Request
from vcloud._core.timing.clock import monotonic
from vcloud.auth import bearer, logins
from vcloud.emulator import Clock, Emulator, Fault
from vcloud.emulator.credentials import ADMIN
from vcloud.providers.streamspace import StreamSpace

API = "/api/v1"
#: Every change of a session.
CHANGES = "[PD]* */sessions*"
TEMPLATE = "firefox-browser"


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(
        clock=Clock.stopped(), rate_limits=False, seed=SEED, streamspace="published"
    ) as emulator:
        yield emulator


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds by which the clock of remembered refusals is ahead."""
    ahead = [0.0]
    monkeypatch.setattr(logins, "monotonic", lambda: monotonic() + ahead[0])
    return ahead


def base_url(emulator: Emulator) -> str:
    found = emulator.endpoints()["streamspace"].base_url
    assert found is not None
    return found


def connect(emulator: Emulator, auth: Any = None, **options: Any) -> StreamSpace:
    auth = auth or BearerAuth.login(ADMIN, ADMIN_PASSWORD)
    return StreamSpace(Endpoint(base_url(emulator), auth=auth, **options))


async def given_token(emulator: Emulator) -> BearerAuth:
    async with connect(emulator) as client:
        token = (await client.login()).token
    emulator.calls.clear()
    return BearerAuth(token)


def count(emulator: Emulator, path: str, status: int = 200) -> int:
    return sum(call.path == f"{API}{path}" and call.status == status for call in emulator.calls)


def changes(emulator: Emulator) -> int:
    return sum(call.method in {"POST", "DELETE"} and call.status == 202 for call in emulator.calls)


# -- ended in the middle ---------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [3, 50])
@pytest.mark.parametrize("way", ["login", "refresh"])
async def test_fifty_creates_of_which_each_ends_all_logins(
    emulator: Emulator, way: str, concurrency: int
) -> None:
    auth = None if way == "login" else await given_token(emulator)
    emulator.faults.add(CHANGES, Fault.end_logins(), times=None)
    async with connect(emulator, auth, concurrency=concurrency) as client:
        first = await client.sessions.create(ADMIN, TEMPLATE)
        waiting = asyncio.create_task(first.wait_until("running", timeout=60, poll=0.02))
        read = 0

        async def page() -> None:
            nonlocal read
            while not waiting.done():
                read += len(await client.sessions.list(limit=7).all())
                await asyncio.sleep(0)

        paging = asyncio.create_task(page())
        made = await asyncio.gather(*(client.sessions.create(ADMIN, TEMPLATE) for _ in range(50)))
        emulator.clock.advance(60)
        assert (await waiting).state == "running"
        await paging
    assert read > 50
    assert len({session.id for session in made}) == 50
    assert emulator.published_streamspace.sessions.keys() == {
        first.id,
        *(session.id for session in made),
    }
    endings = changes(emulator)
    assert endings == 51
    assert count(emulator, "/sessions", 401) > 0
    logged_in = count(emulator, "/auth/login"), count(emulator, "/auth/refresh")
    assert logged_in[way == "login"] == 0
    assert 0 < logged_in[way != "login"] <= endings + (way == "login")


async def test_one_ending_costs_one_login_however_many_wait(emulator: Emulator) -> None:
    async with connect(emulator) as client:
        await client.sessions.list().all()
        emulator.published_streamspace.tokens.revoke_all()
        await asyncio.gather(*(client.sessions.list().all() for _ in range(200)))
    assert count(emulator, "/auth/login") == 2


async def test_one_ending_costs_one_exchange_of_a_given_token(emulator: Emulator) -> None:
    async with connect(emulator, await given_token(emulator)) as client:
        for _ in range(3):
            emulator.published_streamspace.tokens.revoke_all()
            await asyncio.gather(*(client.sessions.list().all() for _ in range(50)))
    assert count(emulator, "/auth/refresh") == 3
    assert count(emulator, "/auth/login") == 0


async def test_an_upgrade_after_an_ending_is_tried_with_a_new_login(emulator: Emulator) -> None:
    async with connect(emulator, retry=RetryPolicy(attempts=1)) as client:
        await client.sessions.list().all()
        for _ in range(3):
            emulator.published_streamspace.tokens.revoke_all()
            socket = await session_of(client).connect(Request("GET", "/ws/sessions"))
            await socket.close()
    assert count(emulator, "/ws/sessions", 401) == 3
    assert count(emulator, "/auth/login") == 4


async def test_a_service_that_ends_every_login_is_not_believed_for_ever(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bearer, "PAUSE", 0.001)
    emulator.faults.add(
        "GET */sessions",
        Fault.reply(401, b'{"error":"Session expired or invalidated"}'),
        times=None,
    )
    async with connect(emulator) as client:
        with pytest.raises(AuthenticationError, match="Session expired") as caught:
            await client.sessions.list().all()
        assert caught.value.login_ended
        assert caught.value.may_be_temporary
    assert count(emulator, "/auth/login") == bearer.MAX_USELESS + 1


async def test_endings_take_no_attempt_from_the_retry_policy(emulator: Emulator) -> None:
    ended = Fault.reply(401, b'{"error":"Session expired or invalidated"}')
    emulator.faults.add("GET */sessions", ended, times=2)
    emulator.faults.add("GET */sessions", Fault.html(503), times=1)
    async with connect(emulator, retry=RetryPolicy(attempts=2, base=0.001)) as client:
        assert await client.sessions.list().all() == []
    assert len([call for call in emulator.calls if call.path == f"{API}/sessions"]) == 4


# -- refused too -----------------------------------------------------------------------------------


async def test_a_refusal_while_the_database_is_away_is_remembered_for_five_seconds(
    emulator: Emulator, later: list[float]
) -> None:
    async with connect(emulator) as client:
        await client.sessions.list().all()
        emulator.published_streamspace.database_away = True
        with pytest.raises(AuthenticationError, match="database is away") as caught:
            await client.sessions.list().all()
        assert caught.value.may_be_temporary
        assert not caught.value.remembered
        sent = len(emulator.calls)
        later[0] += 4.5
        with pytest.raises(AuthenticationError, match=r"remembered for 5 s.*database is away"):
            await client.sessions.list().all()
        assert len(emulator.calls) == sent
        emulator.published_streamspace.database_away = False
        later[0] += 1
        assert await client.sessions.list().all() == []


async def test_a_given_token_is_used_again_when_the_database_is_back(
    emulator: Emulator, later: list[float]
) -> None:
    async with connect(emulator, await given_token(emulator)) as client:
        await client.sessions.list().all()
        emulator.published_streamspace.database_away = True
        for _ in range(2):
            with pytest.raises(Exception, match="Failed to get user data|User not found"):
                await client.sessions.list().all()
        emulator.published_streamspace.database_away = False
        later[0] += 6
        assert await client.sessions.list().all() == []


async def test_a_token_that_cannot_be_exchanged_is_refused_for_good(emulator: Emulator) -> None:
    async with connect(emulator, BearerAuth("not.a.token")) as client:
        for remembered in (False, True):
            with pytest.raises(AuthenticationError, match="token signature is invalid") as caught:
                await client.sessions.list().all()
            assert caught.value.remembered is remembered
            assert not caught.value.may_be_temporary
    assert count(emulator, "/auth/refresh", 401) == 1


async def test_no_bulk_run_ends_and_items_wait_for_the_database(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, later: list[float]
) -> None:
    monkeypatch.setattr(credentials, "RECHECK", 0.01)
    async with VCloud(streamspace=emulator.endpoints()["streamspace"]) as cloud:
        await cloud.streamspace.sessions.list().all()
        emulator.published_streamspace.database_away = True
        run = cloud.bulk(range(100), lambda _: cloud.streamspace.sessions.list().all())
        async with run:
            outcomes = []
            async for outcome in run:
                outcomes.append(outcome)
                if len(outcomes) == 1:
                    emulator.published_streamspace.database_away = False
                    later[0] += 6
    assert run.totals.stopped is None
    assert {outcome.status for outcome in outcomes} == {OutcomeStatus.FAILED, OutcomeStatus.DONE}
    assert run.totals.done > 90


async def test_items_wait_too_before_it_is_known_which_streamspace_it_is(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, later: list[float]
) -> None:
    monkeypatch.setattr(credentials, "RECHECK", 0.01)
    emulator.published_streamspace.database_away = True
    async with VCloud(streamspace=emulator.endpoints()["streamspace"]) as cloud:
        run = cloud.bulk(range(20), lambda _: cloud.streamspace.sessions.list().all())
        async with run:
            outcomes = []
            async for outcome in run:
                outcomes.append(outcome)
                if len(outcomes) == 1:
                    emulator.published_streamspace.database_away = False
                    later[0] += 6
    assert run.totals.stopped is None
    assert (run.totals.failed, run.totals.done) == (1, 19)
    assert count(emulator, "/auth/login", 401) == 1
    assert count(emulator, "/auth/login") == 1


async def test_items_of_a_bulk_run_give_up_when_the_database_stays_away(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "HOLD", 0.05)
    monkeypatch.setattr(credentials, "RECHECK", 0.01)
    emulator.faults.add("*", Fault.database_away(), times=None)
    async with VCloud(
        streamspace=emulator.endpoints()["streamspace"], streamspace_dialect="published"
    ) as cloud:
        run = cloud.bulk(
            range(100), lambda _: cloud.streamspace.sessions.list().all(), concurrency=10
        )
        async with run:
            outcomes = [outcome async for outcome in run]
    assert run.totals.stopped is None
    assert len(outcomes) == 100
    assert run.totals.undone > 50


# -- logging out -----------------------------------------------------------------------------------


async def test_a_logout_forgets_the_token_and_says_that_the_server_does_not(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vcloud")
    async with connect(emulator) as client:
        token = (await client.login()).token
        await client.logout()
        assert "does not end the token at a logout" in caplog.text
        assert token not in caplog.text
        await client.logout()
        assert count(emulator, "/auth/logout") == 1
        await client.sessions.list().all()
        assert count(emulator, "/auth/login") == 2
    async with connect(emulator, BearerAuth(token)) as other:
        assert await other.sessions.list().all() == []


async def test_processes_that_share_tokens_share_the_refusal_for_five_seconds(
    emulator: Emulator, tmp_path: Any
) -> None:
    store = tmp_path / "tokens"

    def shared() -> BearerAuth:
        return BearerAuth.login(ADMIN, ADMIN_PASSWORD, store=str(store))

    emulator.faults.add("*", Fault.database_away(), times=None)
    async with connect(emulator, shared(), concurrency=1) as client:
        with pytest.raises(AuthenticationError, match="database is away"):
            await client.recognise()
    sent = len(emulator.calls)
    async with connect(emulator, shared()) as other:
        with pytest.raises(AuthenticationError, match="remembered for 5 s") as caught:
            await other.recognise()
        assert caught.value.may_be_temporary
    assert len(emulator.calls) == sent

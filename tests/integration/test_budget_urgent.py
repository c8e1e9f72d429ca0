"""Urgent requests (stops of machines) and a shared budget: first, and also without the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from tests.integration.redis_server import RedisServer, redis_server
from tests.integration.test_budget_away import PLENTY, QUICK, lines
from vcloud import ConnectError, RateLimit, SharedBudget, VCloud
from vcloud._core.limits.fair_queueing import WaitTooLongError
from vcloud.emulator import Emulator


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "vcloud.budget")
    return caplog


async def test_requests_that_end_machines_continue_without_the_store_and_this_is_logged(
    server: RedisServer, log: pytest.LogCaptureFixture
) -> None:
    budget = SharedBudget(server.address)
    limit = RateLimit(5, per=3600)
    await budget.acquire("computers", limit, 0)
    server.kill()
    with pytest.raises(ConnectError):
        await budget.acquire("computers", limit, 0)
    assert lines(log) == []
    for _ in range(3):
        await budget.acquire("computers", limit, 0, urgent=True)
    [(level, text)] = lines(log)
    assert level == "WARNING"
    assert "requests that end machines continue without it, counted in this process alone" in text
    # Other requests fail.
    with pytest.raises(ConnectError):
        await budget.acquire("computers", limit, 0)
    # They are counted nevertheless, with those that were admitted before.
    await budget.acquire("computers", limit, 0, urgent=True)
    with pytest.raises(WaitTooLongError):
        await budget.acquire("computers", limit, 0, urgent=True)
    server.start()
    await budget.acquire("computers", RateLimit(5, per=3600, bucket="other"), 0)
    assert [level for level, _ in lines(log)] == ["WARNING", "INFO"]
    await budget.aclose()


async def test_one_urgent_request_a_second_waits_for_a_silent_store(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("vcloud._core.limits.shared_budget.store_access.SHORT_STORE_TIMEOUT", 0.2)
    budget = SharedBudget(server.address)
    server.pause()
    # One by one this would take longer than a test may.
    for _ in range(700):
        await budget.acquire("computers", PLENTY, 0, urgent=True)
    assert [level for level, _ in lines(log)] == ["WARNING"]
    server.resume()
    await asyncio.sleep(1.0)
    await budget.acquire("computers", PLENTY, 0, urgent=True)
    assert [level for level, _ in lines(log)] == ["WARNING", "INFO"]
    await budget.aclose()
    assert server.connections() == set()


@pytest.mark.parametrize("counts", ["in redis", "here"])
async def test_urgent_requests_go_ahead_of_all_others_and_are_counted(
    server: RedisServer, counts: str
) -> None:
    budget = SharedBudget(server.address if counts == "in redis" else "async+memory://")
    limit = RateLimit(1, per=0.5)
    order: list[str] = []

    async def pass_by(name: str, *, urgent: bool) -> None:
        await budget.acquire("computers", limit, 60, urgent=urgent)
        order.append(name)

    await pass_by("first", urgent=False)
    others = [asyncio.create_task(pass_by("other", urgent=False)) for _ in range(5)]
    await asyncio.sleep(0.1)
    urgent = asyncio.create_task(pass_by("urgent", urgent=True))
    await urgent
    assert order == ["first", "urgent"]
    # Others are delayed only by the place of the urgent request.
    await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
    assert order == ["first", "urgent", "other"]
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await budget.aclose()


async def test_many_requests_at_once_do_not_look_like_a_store_that_is_away(
    server: RedisServer, log: pytest.LogCaptureFixture
) -> None:
    budget = SharedBudget(server.address)
    # More than redis-py has connections.
    await asyncio.gather(*[budget.acquire("computers", PLENTY, 0, urgent=True) for _ in range(500)])
    assert lines(log) == []
    assert server.counted() == 500
    await budget.aclose()


async def test_a_cancelled_urgent_wait_delays_no_others() -> None:
    budget = SharedBudget("async+memory://")
    limit = RateLimit(1, per=0.5)
    await budget.acquire("computers", limit, 60)
    waits = [
        asyncio.create_task(budget.acquire("computers", limit, 60, urgent=True)) for _ in range(3)
    ]
    await asyncio.sleep(0)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    await budget.acquire("computers", limit, 60)


async def test_an_ordinary_stop_continues_without_the_store_after_it_was_asked(
    server: RedisServer, log: pytest.LogCaptureFixture
) -> None:
    async with Emulator(speed=1000) as emulator:
        desktops = evolve(
            emulator.endpoints()["desktops"],
            rate_limits=[PLENTY],
            shared_budget=SharedBudget(server.address),
            retry=QUICK,
        )
        async with VCloud(desktops=desktops) as cloud, cloud.desktops.launch(poll=0.01):
            server.kill()
        assert [call.path.endswith("/stop") for call in emulator.calls][-1]
    assert [level for level, _ in lines(log)] == ["WARNING"]

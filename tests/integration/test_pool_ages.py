"""Kept connections: lost ones are not tried one after another, and none is kept forever."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import aiohttp
import pytest

from tests.integration import keeping
from tests.integration.keeping import TWICE, Service, at, start, until, warmed
from vcloud import Request, RequestTimeout, VagonComputers
from vcloud._core import transport
from vcloud._core.client import client_with, session_of
from vcloud._core.connections.kept_connections import MAX_AGE
from vcloud._core.connections.pool import Pool, pool
from vcloud._core.timing.clock import SUSPENDED, was_suspended

both_ways = pytest.mark.usefixtures("aiohttp_parts")
TIMEOUT: Final = 0.3
EIGHT_HOURS: Final = 8 * 3600.0


async def forgotten(
    service: Service, call: Callable[[VagonComputers], Awaitable[object]], **options: Any
) -> None:
    """Make a call while three connections are kept that the service has forgotten."""
    session = options.pop("session", None)
    async with VagonComputers(at(service, **options), client_session=session) as computers:
        await warmed(computers, 3)
        await call(computers)


@both_ways
async def test_after_a_timeout_the_next_attempt_uses_a_new_connection(service: Service) -> None:
    async def call(computers: VagonComputers) -> None:
        for one in service.conversations:
            one.answers = False
        await computers.machines.ref("1").refresh()

    await forgotten(service, call, retry=TWICE, timeout=TIMEOUT)
    assert max(service.requests[:3], key=len)[1:] == ["GET 1"]
    assert sorted(map(len, service.requests)) == [1, 1, 1, 2]
    assert service.requests[3] == ["GET 1"]


@both_ways
async def test_after_a_silently_dropped_connection_the_next_attempt_uses_a_new_one(
    service: Service,
) -> None:
    async def call(computers: VagonComputers) -> None:
        for one in service.conversations:
            one.drops = True
        await computers.machines.ref("1").refresh()

    await forgotten(service, call, retry=TWICE)
    assert sorted(map(len, service.requests)) == [1, 1, 1, 2]
    assert service.requests[3] == ["GET 1"]


@both_ways
async def test_after_an_upgrade_without_an_answer_the_next_one_uses_a_new_connection(
    service: Service,
) -> None:
    async with VagonComputers(at(service)) as computers:
        await warmed(computers, 3)
        for one in service.conversations:
            one.answers = False
        session = session_of(computers.with_options(timeout=TIMEOUT))
        with pytest.raises(RequestTimeout):
            await session.connect(Request("GET", "/machines/socket"))
        await computers.machines.ref("1").refresh()
    assert sorted(map(len, service.requests)) == [1, 1, 1, 2]
    assert service.requests[3] == ["GET 1"]


@both_ways
async def test_a_pool_forgets_lost_connections(
    plain: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[Pool] = []

    def recorded() -> Pool:
        pools.append(pool())
        return pools[-1]

    monkeypatch.setattr(transport, "pool", recorded)
    async with VagonComputers(at(plain, retry=TWICE)) as computers:
        for _ in range(20):
            await warmed(computers, 1)
            plain.conversations[-1].do(keeping.end)
            await start(computers, "1")
            plain.conversations[-1].do(keeping.reset)
            await until(lambda: all(one.ended.is_set() for one in plain.conversations))
            await asyncio.sleep(0.01)
        gc.collect()
        (only,) = pools
        assert len(only.pooled) <= 1
    assert len(plain.conversations) == 40


async def test_connections_to_another_host_are_kept(plain: Service) -> None:
    with Service().serving() as other:
        async with VagonComputers(at(plain, timeout=TIMEOUT)) as computers:
            # One pool for both, as in the facade.
            shared = session_of(computers).transport
            others = client_with(VagonComputers, at(other), transport=shared)
            await warmed(others, 2)
            await warmed(computers, 1)
            plain.conversations[0].answers = False
            with pytest.raises(RequestTimeout):
                await computers.machines.ref("1").refresh()
            await warmed(others, 2)
        assert [len(one) for one in other.requests] == [2, 2]


async def test_on_a_session_of_the_users_own_nothing_is_dropped(plain: Service) -> None:
    async def call(computers: VagonComputers) -> None:
        for one in plain.conversations:
            one.answers = False
        with pytest.raises(RequestTimeout):
            await computers.machines.ref("1").refresh()

    async with aiohttp.ClientSession() as session:
        await forgotten(plain, call, session=session, retry=TWICE, timeout=TIMEOUT)
    assert sorted(map(len, plain.requests)) == [1, 2, 2]


class Clocks:
    """A monotonic clock and a time of day that only a test moves."""

    def __init__(self) -> None:
        self.passed, self.of_day = 1000.0, 1_700_000_000.0

    def go(self, seconds: float) -> None:
        """Let time pass."""
        self.passed += seconds
        self.of_day += seconds


@pytest.fixture
def clocks(aiohttp_parts: str, monkeypatch: pytest.MonkeyPatch) -> Clocks:
    """The clocks of the pools that are made in this test."""
    made = Clocks()
    making = partial(pool, lambda: made.passed, lambda: made.of_day)
    monkeypatch.setattr(transport, "pool", making)
    return made


async def test_a_connection_is_kept_for_five_minutes_and_no_longer(
    service: Service, clocks: Clocks
) -> None:
    async with VagonComputers(at(service)) as computers:
        await warmed(computers, 1)
        for id in ("1", "2"):
            clocks.go(MAX_AGE / 2 - 1)
            await computers.machines.ref(id).refresh()
        clocks.go(3)
        await computers.machines.ref("3").refresh()
        assert await asyncio.to_thread(service.conversations[0].ended.wait, keeping.LONG)
        clocks.go(MAX_AGE - 1)
        await start(computers, "4")
        clocks.go(2)
        await start(computers, "5")
    assert service.requests == [["GET warm0", "GET 1", "GET 2"], ["GET 3", "POST 4"], ["POST 5"]]


async def test_an_old_connection_in_use_is_closed_after_its_request(
    service: Service, clocks: Clocks
) -> None:
    async with VagonComputers(at(service)) as computers:
        await warmed(computers, 1)
        [old] = service.conversations
        old.may_answer.clear()
        in_flight = asyncio.create_task(start(computers, "long"))
        await until(lambda: len(old.requests) == 2)
        clocks.go(MAX_AGE + 1)
        await start(computers, "1")
        old.may_answer.set()
        await in_flight
        assert await asyncio.to_thread(old.ended.wait, keeping.LONG)
        await start(computers, "2")
    assert service.requests == [["GET warm0", "POST long"], ["POST 1", "POST 2"]]


async def test_after_a_suspend_idle_connections_are_dropped_and_those_in_use_stay(
    service: Service, clocks: Clocks
) -> None:
    async with VagonComputers(at(service)) as computers:
        await warmed(computers, 3)
        for one in service.conversations:
            one.may_answer.clear()
        in_flight = asyncio.create_task(start(computers, "long"))
        await until(lambda: any("POST long" in one.requests for one in service.conversations))
        [held] = [one for one in service.conversations if "POST long" in one.requests]
        idle = [one for one in service.conversations if one is not held]
        # The monotonic clock does not move during a suspend.
        clocks.of_day += EIGHT_HOURS
        await computers.machines.ref("2").refresh()
        held.may_answer.set()
        await in_flight
        for one in idle:
            assert await asyncio.to_thread(one.ended.wait, keeping.LONG)
        await asyncio.gather(start(computers, "3"), start(computers, "4"))
    assert len(service.requests) == 4
    assert service.requests[3][0] == "GET 2"
    assert sorted([held.requests[2], service.requests[3][1]]) == ["POST 3", "POST 4"]


async def test_a_wall_clock_that_is_put_back_drops_nothing(plain: Service, clocks: Clocks) -> None:
    async with VagonComputers(at(plain)) as computers:
        await warmed(computers, 1)
        clocks.of_day -= EIGHT_HOURS
        await computers.machines.ref("1").refresh()
        clocks.of_day += SUSPENDED - 1
        await computers.machines.ref("2").refresh()
    assert plain.requests == [["GET warm0", "GET 1", "GET 2"]]


def test_only_a_wall_clock_that_is_ahead_means_a_suspend() -> None:
    assert was_suspended(0.0, SUSPENDED + 0.001)
    assert not was_suspended(0.0, SUSPENDED)
    assert not was_suspended(EIGHT_HOURS, 0.0)

"""A shared budget whose store is away: killed, paused, started again, while requests continue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from tests.integration.redis_server import RedisServer, redis_server
from tests.leaks.nothing_held import wait_for_tasks
from vcloud import (
    ConnectError,
    Endpoint,
    RateLimit,
    RateLimitError,
    RequestTimeout,
    RetryPolicy,
    SharedBudget,
    TransportError,
    VagonComputers,
)
from vcloud.emulator import Emulator, Fault

PLENTY = RateLimit(1000, per=3600)
QUICK = RetryPolicy(attempts=3, base=0.01)
#: Retries for longer than a server takes to start again.
LASTING = RetryPolicy(attempts=20, base=0.05, cap=0.2)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "vcloud.budget")
    return caplog


def endpoint(
    emulator: Emulator,
    budget: SharedBudget,
    limit: RateLimit = PLENTY,
    retry: RetryPolicy = QUICK,
    deadline: float | None = None,
) -> Endpoint:
    return evolve(
        emulator.endpoints()["computers"],
        rate_limits=[limit],
        shared_budget=budget,
        retry=retry,
        deadline=deadline,
    )


async def until(condition: Callable[[], bool]) -> None:
    while True:
        if condition():
            return
        await asyncio.sleep(0.01)


def lines(log: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in log.records]


async def test_calls_wait_for_a_store_that_restarts_and_each_is_sent_once(
    server: RedisServer,
) -> None:
    async with Emulator(machines=1) as emulator:
        budget = SharedBudget(server.address)
        async with VagonComputers(endpoint(emulator, budget, retry=LASTING)) as computers:
            machine = computers.machines.ref("100")
            await machine.refresh()
            server.kill()
            calls = asyncio.gather(
                computers.machines.create(1, region="dublin"),
                *[machine.refresh() for _ in range(50)],
            )
            await asyncio.sleep(0.3)
            assert len(emulator.calls) == 1
            server.start()
            await calls
        assert len(emulator.calls) == 52
        assert [call.method for call in emulator.calls].count("POST") == 1
        assert server.counted() == 51  # it lost the first


async def test_an_idle_connection_that_the_store_closed_costs_no_attempt(
    server: RedisServer,
) -> None:
    async with Emulator(machines=1) as emulator:
        budget = SharedBudget(server.address)
        once = RetryPolicy(attempts=1)
        async with VagonComputers(endpoint(emulator, budget, retry=once)) as computers:
            await computers.machines.ref("100").refresh()
            server.kill()
            server.start()
            await asyncio.sleep(0.05)  # the loop notices that the connection was closed
            await computers.machines.ref("100").refresh()


@pytest.mark.parametrize("how", ["killed", "silent"])
async def test_a_store_that_stays_away_is_asked_as_often_as_the_policy_says(
    server: RedisServer, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vcloud._core.limits.shared_budget.store_access.STORE_TIMEOUT", 0.3)
    async with Emulator(machines=1) as emulator:
        budget = SharedBudget(server.address)
        async with VagonComputers(endpoint(emulator, budget)) as computers:
            server.kill() if how == "killed" else server.pause()
            # All calls notice it together. One by one would take 500 times as long.
            outcomes = await asyncio.gather(
                computers.machines.create(1, region="dublin"),
                *[computers.machines.ref("100").refresh() for _ in range(500)],
                return_exceptions=True,
            )
            assert {type(outcome) for outcome in outcomes} == {ConnectError}
            for outcome in outcomes:
                assert isinstance(outcome, ConnectError)
                assert not outcome.outcome_unknown
                assert "the store of the shared budget fails" in str(outcome)
                assert str(outcome).endswith("(tried 3 times); nothing was sent")
            assert emulator.calls == []
            if how == "silent":
                assert "no answer in 0.3 s" in str(outcomes[0])
                server.resume()
            else:
                server.start()
            await computers.machines.ref("100").refresh()


async def test_a_silent_store_delays_no_call_beyond_its_deadline(server: RedisServer) -> None:
    async with Emulator(machines=1) as emulator:
        budget = SharedBudget(server.address)
        async with VagonComputers(endpoint(emulator, budget, deadline=0.3)) as computers:
            await computers.machines.ref("100").refresh()
            server.pause()
            # The timeout of the store would lead to a ConnectError.
            outcomes = await asyncio.gather(
                *[computers.machines.ref("100").refresh() for _ in range(100)],
                return_exceptions=True,
            )
            assert {type(outcome) for outcome in outcomes} == {RequestTimeout}
            assert all("nothing was sent" in str(outcome) for outcome in outcomes)
            server.resume()
            await computers.machines.ref("100").refresh()
        assert len(emulator.calls) == 2


async def test_the_deadline_ends_the_attempts_to_reach_a_store(server: RedisServer) -> None:
    async with Emulator(machines=1) as emulator:
        budget = SharedBudget(server.address)
        server.kill()
        slow = RetryPolicy(base=60, cap=60)
        async with VagonComputers(endpoint(emulator, budget, retry=slow, deadline=10)) as computers:
            with pytest.raises(ConnectError, match="deadline leaves no time.*nothing was sent"):
                await computers.machines.ref("100").refresh()
        server.start()


async def test_cancelled_waits_for_a_silent_store_leave_nothing_behind(
    server: RedisServer,
) -> None:
    async with Emulator(machines=1) as emulator:
        budget = SharedBudget(server.address)
        before = asyncio.all_tasks()
        async with VagonComputers(endpoint(emulator, budget)) as computers:
            machine = computers.machines.ref("100")
            await machine.refresh()
            server.pause()
            # More than the store's library has connections.
            for _ in range(150):
                waits = [asyncio.create_task(machine.refresh()) for _ in range(5)]
                await asyncio.sleep(0.002)
                for wait in waits:
                    wait.cancel()
                assert {
                    type(end) for end in await asyncio.gather(*waits, return_exceptions=True)
                } == {asyncio.CancelledError}
            assert len(emulator.calls) == 1
            server.resume()
            await asyncio.gather(*[machine.refresh() for _ in range(100)])
        await wait_for_tasks(before)
        assert len(emulator.calls) == 101
        assert server.connections() == set()


async def test_unshared_continues_alone_logs_it_once_and_returns_to_the_store(
    server: RedisServer, log: pytest.LogCaptureFixture
) -> None:
    async with Emulator(machines=1) as emulator:
        budget = SharedBudget(server.address, account="ours", when_away="unshared")
        async with VagonComputers(endpoint(emulator, budget)) as computers:
            machine = computers.machines.ref("100")
            await machine.refresh()
            for _ in range(2):
                log.clear()
                server.kill()
                await asyncio.gather(*[machine.refresh() for _ in range(50)])
                [(level, text)] = lines(log)
                assert level == "WARNING"
                assert text.startswith(
                    "the store of the shared budget 'ours' fails (ConnectionError: "
                )
                assert text.endswith(
                    "until it answers, requests continue without it, counted in this process alone"
                )
                server.start()
                while len(log.records) < 2:
                    await machine.refresh()
                    await asyncio.sleep(0.05)
                assert lines(log)[1:] == [
                    ("INFO", "the store of the shared budget 'ours' answers again")
                ]
                counted = server.counted()
                assert counted == 1  # counted here too, to find out whether the store was back
                await machine.refresh()
                assert server.counted() == counted + 1


async def test_unshared_does_not_wait_for_a_silent_store_repeatedly(
    server: RedisServer, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vcloud._core.limits.shared_budget.store_access.SHORT_STORE_TIMEOUT", 0.1)
    async with Emulator(machines=1) as emulator:
        budget = SharedBudget(server.address, when_away="unshared")
        async with VagonComputers(endpoint(emulator, budget)) as computers:
            machine = computers.machines.ref("100")
            server.pause()
            # The store is asked in the background.
            await asyncio.gather(*[machine.refresh() for _ in range(20)])
            await asyncio.sleep(1.1)
            await asyncio.gather(*[machine.refresh() for _ in range(20)])
            assert [level for level, _ in lines(log)] == ["WARNING"]
            server.resume()
            while len(log.records) < 2:
                await machine.refresh()
                await asyncio.sleep(0.05)
            assert lines(log)[1][0] == "INFO"


async def test_a_client_closes_while_a_silent_store_is_asked_in_the_background(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vcloud._core.limits.shared_budget.store_access.SHORT_STORE_TIMEOUT", 0.1)
    monkeypatch.setattr("vcloud._core.limits.shared_budget.store_access._RETRY_INTERVAL", 0.0)

    def asked() -> list[asyncio.Task[Any]]:
        return [task for task in asyncio.all_tasks() if "StoreAccess" in repr(task.get_coro())]

    async with Emulator(machines=1) as emulator:
        before = asyncio.all_tasks()
        budget = SharedBudget(server.address, when_away="unshared")
        async with VagonComputers(endpoint(emulator, budget)) as computers:
            server.pause()
            await asyncio.gather(*[computers.machines.ref("100").refresh() for _ in range(20)])
            assert asked()
        assert not asked()
        await wait_for_tasks(before)
        server.resume()
        await until(lambda: not server.connections())


@pytest.mark.parametrize("when_away", ["fail", "unshared"])
async def test_a_process_keeps_its_limit_when_the_store_is_away_or_has_lost_its_data(
    server: RedisServer, when_away: str
) -> None:
    async with Emulator(machines=1) as emulator:
        budget = SharedBudget(server.address, when_away=when_away)  # type: ignore[arg-type]
        given = endpoint(emulator, budget, RateLimit(10, per=3600))
        async with VagonComputers(given) as computers:
            machine = computers.machines.ref("100")
            for _ in range(7):
                await machine.refresh()
            server.kill()
            if when_away == "fail":
                server.start()
            for _ in range(3):
                await machine.refresh()
            with pytest.raises(RateLimitError, match="nothing was sent"):
                await machine.refresh()
        assert len(emulator.calls) == 10
        if when_away != "fail":
            server.start()


async def test_an_error_of_the_store_after_a_lost_answer_leaves_the_outcome_unknown(
    server: RedisServer,
) -> None:
    async with Emulator(machines=1) as emulator:
        given = endpoint(emulator, SharedBudget(server.address), retry=RetryPolicy(base=0.5))
        async with VagonComputers(given) as computers:
            task = computers.machines.ref("100").tasks.ref("1")
            # A gateway answers, and then the store is away.
            emulator.faults.add("DELETE *", Fault.server_error(502), times=None)
            deleting = asyncio.create_task(task.delete())
            await until(lambda: bool(emulator.calls))
            server.kill()
            with pytest.raises(TransportError) as caught:
                await deleting
            assert not isinstance(caught.value, ConnectError)
            assert caught.value.outcome_unknown
            assert "store of the shared budget fails" in str(caught.value)
            assert "nothing was sent" not in str(caught.value)


@pytest.mark.parametrize("options", ["", "?socket_timeout=5"])
async def test_a_wait_for_the_store_can_be_cancelled_at_any_moment(
    server: RedisServer, options: str
) -> None:
    # Before Python 3.12 asyncio.wait_for, which redis-py uses, loses some of these cancellations.
    async with Emulator(machines=1) as emulator:
        for turns in range(60):
            budget = SharedBudget(server.address + options, account=str(turns))
            async with VagonComputers(endpoint(emulator, budget)) as computers:
                waiting = asyncio.create_task(budget.acquire("computers", PLENTY, 0))
                for _ in range(turns):
                    await asyncio.sleep(0)
                if waiting.done():
                    break
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                await computers.machines.ref("100").refresh()
        assert turns > 5
    assert server.connections() == set()

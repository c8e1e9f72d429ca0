"""A shared budget whose store is away: killed, stopped, started again, while requests go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from tests.integration.redis_server import RedisServer, redis_server
from tests.leaks.wholeness import at_rest
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
    VCloud,
)
from vcloud._core.limits.fair_queueing import WaitTooLongError
from vcloud.emulator import Emulator, Fault

PLENTY = RateLimit(1000, per=3600)
QUICK = RetryPolicy(attempts=3, base=0.01)
#: As long as a server takes to start again, and longer.
PATIENT = RetryPolicy(attempts=20, base=0.05, cap=0.2)


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


async def test_a_store_that_restarts_is_waited_for_and_even_a_create_is_sent_once(
    server: RedisServer,
) -> None:
    async with Emulator(machines=1) as emulator:
        budget = SharedBudget(server.address)
        async with VagonComputers(endpoint(emulator, budget, retry=PATIENT)) as computers:
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
        assert server.counted() == 51  # it forgot the first


async def test_a_connection_that_the_store_lost_while_it_was_idle_costs_no_attempt(
    server: RedisServer,
) -> None:
    async with Emulator(machines=1) as emulator:
        budget = SharedBudget(server.address)
        once = RetryPolicy(attempts=1)
        async with VagonComputers(endpoint(emulator, budget, retry=once)) as computers:
            await computers.machines.ref("100").refresh()
            server.kill()
            server.start()
            await asyncio.sleep(0.05)  # idle, so that the loop hears of it
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
            # A crowd does not find out one by one, which would take 500 times as long.
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


async def test_a_silent_store_holds_no_call_beyond_its_deadline(server: RedisServer) -> None:
    async with Emulator(machines=1) as emulator:
        budget = SharedBudget(server.address)
        async with VagonComputers(endpoint(emulator, budget, deadline=0.3)) as computers:
            await computers.machines.ref("100").refresh()
            server.pause()
            # A store's own patience would end in a ConnectError.
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


async def test_waits_for_a_silent_store_that_are_cancelled_leave_nothing_behind(
    server: RedisServer,
) -> None:
    async with Emulator(machines=1) as emulator:
        budget = SharedBudget(server.address)
        before = asyncio.all_tasks()
        async with VagonComputers(endpoint(emulator, budget)) as computers:
            machine = computers.machines.ref("100")
            await machine.refresh()
            server.pause()
            # More than the store's library makes connections.
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
        await at_rest(before)
        assert len(emulator.calls) == 101
        assert server.connections() == set()


async def test_unshared_goes_on_alone_says_so_once_and_returns_to_the_store(
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
                    "until it answers, requests go on without it, counted in this process alone"
                )
                server.start()
                while len(log.records) < 2:
                    await machine.refresh()
                    await asyncio.sleep(0.05)
                assert lines(log)[1:] == [
                    ("INFO", "the store of the shared budget 'ours' answers again")
                ]
                counted = server.counted()
                assert counted == 1  # the request that was counted here while it was asked
                await machine.refresh()
                assert server.counted() == counted + 1


async def test_unshared_does_not_wait_for_a_silent_store_again_and_again(
    server: RedisServer, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vcloud._core.limits.shared_budget.store_access.SHORT_STORE_TIMEOUT", 0.1)
    async with Emulator(machines=1) as emulator:
        budget = SharedBudget(server.address, when_away="unshared")
        async with VagonComputers(endpoint(emulator, budget)) as computers:
            machine = computers.machines.ref("100")
            server.pause()
            # As the background asks.
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
        await at_rest(before)
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


async def test_what_ends_machines_goes_on_without_the_store_and_a_line_says_so(
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
    assert "requests that end machines go on without it, counted in this process alone" in text
    # Others do not.
    with pytest.raises(ConnectError):
        await budget.acquire("computers", limit, 0)
    # Counted all the same, what was let in before too.
    await budget.acquire("computers", limit, 0, urgent=True)
    with pytest.raises(WaitTooLongError):
        await budget.acquire("computers", limit, 0, urgent=True)
    server.start()
    await budget.acquire("computers", RateLimit(5, per=3600, bucket="other"), 0)
    assert [level for level, _ in lines(log)] == ["WARNING", "INFO"]
    await budget.aclose()


async def test_of_what_is_urgent_one_a_second_waits_for_a_silent_store(
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
async def test_what_is_urgent_goes_ahead_of_all_others_but_is_counted(
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
    # It holds nobody up beyond its own place.
    await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
    assert order == ["first", "urgent", "other"]
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await budget.aclose()


async def test_a_crowd_that_asks_at_once_is_not_mistaken_for_a_store_that_is_away(
    server: RedisServer, log: pytest.LogCaptureFixture
) -> None:
    budget = SharedBudget(server.address)
    # More than redis-py makes connections.
    await asyncio.gather(*[budget.acquire("computers", PLENTY, 0, urgent=True) for _ in range(500)])
    assert lines(log) == []
    assert server.counted() == 500
    await budget.aclose()


async def test_an_urgent_wait_that_is_cancelled_holds_nobody_up() -> None:
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


async def test_an_error_of_the_store_after_a_lost_answer_leaves_the_outcome_unknown(
    server: RedisServer,
) -> None:
    async with Emulator(machines=1) as emulator:
        given = endpoint(emulator, SharedBudget(server.address), retry=RetryPolicy(base=0.5))
        async with VagonComputers(given) as computers:
            task = computers.machines.ref("100").tasks.ref("1")
            # An answer of a gateway, and then no store.
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
async def test_a_wait_for_the_store_can_be_cancelled_in_each_of_its_moments(
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


async def test_a_stop_without_hurry_goes_on_without_the_store_once_it_was_asked(
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

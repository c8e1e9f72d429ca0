"""A budget in Redis: processes take turns, and no clock but the server's says what is allowed."""

from __future__ import annotations

import asyncio
import contextlib
import socket as socket_server
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from redis import Redis

from tests.integration.redis_server import RedisServer, redis_server
from tests.integration.test_budget import spread
from vcloud import ConnectError, RateLimit, SharedBudget, VCloud
from vcloud._core.limits.fair_queueing import WaitTooLongError
from vcloud.emulator import Emulator


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


async def use_up(server: RedisServer, limit: RateLimit) -> None:
    """Use up a limit as another process. A process knows its own requests without the store."""
    budget = SharedBudget(server.address)
    for _ in range(limit.requests):
        await budget.acquire("computers", limit, 0)
    await budget.aclose()


CROWD = textwrap.dedent("""
    import asyncio, sys
    from vcloud import Endpoint, HMACAuth, RateLimit, SharedBudget, VagonComputers

    async def main(url, key, secret, store, machine, calls, limit):
        endpoint = Endpoint(
            url,
            auth=HMACAuth(key, secret),
            rate_limits=[RateLimit(int(limit), per=1)],
            shared_budget=SharedBudget(store),
        )
        async with VagonComputers(endpoint) as computers:
            print("ready", flush=True)
            sys.stdin.readline()
            mine = computers.machines.ref(machine)
            await asyncio.gather(*[mine.refresh() for _ in range(int(calls))])

    asyncio.run(main(*sys.argv[1:]))
""")


def five_processes(server: RedisServer, calls: int, limit: int) -> tuple[list[str], list[float]]:
    """The paths of calls in the order of arrival, and their times. Each process has a machine."""
    with Emulator(machines=5) as emulator, contextlib.ExitStack() as running:
        env = emulator.env()
        given = [env[f"VCLOUD_COMPUTERS_{name}"] for name in ("URL", "KEY", "SECRET")]
        command = [sys.executable, "-W", "error", "-c", CROWD, *given, server.address]
        processes = [
            running.enter_context(
                subprocess.Popen(
                    [*command, str(100 + number), str(calls), str(limit)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(5)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        # Now all of them wait before the first one is admitted.
        asyncio.run(use_up(server, RateLimit(limit, per=1)))
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            process.communicate()
        assert [process.returncode for process in processes] == [0] * 5
        arrived = sorted(emulator.calls, key=lambda call: call.at)
    return [call.path for call in arrived], [call.at for call in arrived]


@pytest.mark.parametrize(
    ("calls", "first"), [(30, 100), pytest.param(200, 500, marks=pytest.mark.long)]
)
def test_five_processes_have_equal_shares_of_one_budget(
    server: RedisServer, calls: int, first: int
) -> None:
    limit = 50
    whose, times = five_processes(server, calls, limit)
    assert len(whose) == 5 * calls
    shares = Counter(whose[:first])
    assert len(shares) == 5
    assert all(0.8 * first <= 5 * share <= 1.2 * first for share in shares.values())
    # One of the two counted seconds is for requests that take longer to arrive than others.
    assert spread(times, limit) >= 1


DAY = 24 * 3600.0
#: Seconds by which the clock of a process is wrong, in turn.
JUMPS = (-1.0, 1.0, -3600.0, 3600.0, -23 * 3600.0, 23 * 3600.0, -365 * DAY, 365 * DAY, 0.0)


@pytest.mark.parametrize("before", JUMPS)
async def test_no_jump_of_a_process_clock_changes_what_redis_allows(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, before: float
) -> None:
    real, shift = time.time, before
    monkeypatch.setattr(time, "time", lambda: real() + shift)
    # Two budgets, because each keeps the limit by itself as well.
    one, other = SharedBudget(server.address), SharedBudget(server.address)
    limit = RateLimit(10, per=1)
    begin = time.monotonic()
    await asyncio.gather(*[one.acquire("computers", limit, 0) for _ in range(10)])
    shift = 0.0
    with pytest.raises(WaitTooLongError) as caught:
        await other.acquire("computers", limit, 1.0)
    assert caught.value.seconds <= 2.01
    # No request waits for longer than the window.
    waits = [asyncio.create_task(other.acquire("computers", limit, 2.01)) for _ in range(10)]
    for shift in JUMPS:  # noqa: B007 - what time.time adds
        await asyncio.sleep(0.1)
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    assert time.monotonic() - begin >= 2
    await asyncio.gather(*waits)
    assert server.counted() == 10  # none from before the window
    await one.aclose()
    await other.aclose()


async def until_waiting(server: RedisServer, counts: list[int]) -> None:
    async with asyncio.timeout(60):
        while server.waiting() != counts:  # noqa: ASYNC110 - the server is another process
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("client", [False, True])
async def test_cancelled_calls_leave_the_queue(server: RedisServer, client: bool) -> None:
    budget = SharedBudget(server.address)
    limit = RateLimit(1, per=3600)
    await use_up(server, limit)
    if client:
        async with Emulator(machines=1) as emulator:
            endpoint = evolve(
                emulator.endpoints()["computers"], rate_limits=[limit], shared_budget=budget
            )
            endpoint = evolve(endpoint, retry=evolve(endpoint.retry, max_retry_after=10_000))
            async with VCloud(computers=endpoint) as cloud:
                machine = cloud.computers.machines.ref("100")
                waits = [asyncio.create_task(machine.refresh()) for _ in range(7)]
                await until_waiting(server, [7])
                for wait in waits:
                    wait.cancel()
                await asyncio.wait(waits)
                await until_waiting(server, [0])
                last = asyncio.create_task(machine.refresh())
                await until_waiting(server, [1])
                last.cancel()
                await asyncio.wait([last])
    else:
        asks = [asyncio.create_task(budget.acquire("computers", limit, 10_000)) for _ in range(7)]
        await until_waiting(server, [7])
        for ask in asks:
            ask.cancel()
        await asyncio.wait(asks)
        await budget.aclose()
    # A client that closes tells the store as well.
    assert server.waiting() == [0]
    assert server.counted() == 1
    assert server.connections() == set()


async def test_calls_without_a_free_slot_take_no_places(server: RedisServer) -> None:
    budget = SharedBudget(server.address)
    limit = RateLimit(2, per=3600)
    await use_up(server, limit)
    async with Emulator(machines=1) as emulator:
        endpoint = evolve(
            emulator.endpoints()["computers"],
            rate_limits=[limit],
            shared_budget=budget,
            concurrency=5,
        )
        endpoint = evolve(endpoint, retry=evolve(endpoint.retry, max_retry_after=10_000))
        async with VCloud(computers=endpoint) as cloud:
            machine = cloud.computers.machines.ref("100")
            waits = [asyncio.create_task(machine.refresh()) for _ in range(50)]
            await until_waiting(server, [5])
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)


async def test_a_request_that_cannot_wait_so_long_fails_at_once(
    server: RedisServer,
) -> None:
    limit = RateLimit(1, per=3600)
    await use_up(server, limit)
    budget = SharedBudget(server.address)
    first = asyncio.create_task(budget.acquire("computers", limit, 10_000))
    await until_waiting(server, [1])
    for _ in range(3):
        with pytest.raises(WaitTooLongError) as caught:
            await budget.acquire("computers", limit, 3000)
        assert 3000 < caught.value.seconds <= 3602
    # Refused requests do not stay in the queue.
    await until_waiting(server, [1])
    first.cancel()
    await asyncio.wait([first])
    await budget.aclose()
    assert server.waiting() == [0]


async def test_a_request_behind_the_one_that_asks_fails_when_the_answer_takes_too_long_for_it(
    server: RedisServer,
) -> None:
    limit = RateLimit(1, per=3600)
    await use_up(server, limit)
    budget = SharedBudget(server.address)
    server.pause()
    first = asyncio.create_task(budget.acquire("computers", limit, 10_000))
    behind = [
        asyncio.create_task(budget.acquire("computers", limit, max_wait))
        for max_wait in (3000, 10_000, 3000)
    ]
    await asyncio.sleep(0.1)
    server.resume()
    for waits in (behind[0], behind[2]):
        with pytest.raises(WaitTooLongError):
            await waits
    assert not first.done()
    assert not behind[1].done()
    for waits in (first, behind[1]):
        waits.cancel()
    await asyncio.wait([first, behind[1]])
    await budget.aclose()
    assert server.waiting() == [0]


async def test_many_waiting_requests_notice_once_that_the_store_is_away(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vcloud._core.limits.shared_budget.store_access.STORE_TIMEOUT", 0.5)
    budget = SharedBudget(server.address)
    server.pause()
    # One by one this would take longer than a test may.
    asks = [budget.acquire("computers", RateLimit(1000, per=60), 0) for _ in range(500)]
    ends = await asyncio.gather(*asks, return_exceptions=True)
    assert {type(end) for end in ends} == {ConnectError}
    server.resume()
    await budget.acquire("computers", RateLimit(1000, per=60), 0)
    await budget.aclose()


async def test_a_call_asks_once_if_the_limit_allows_it_and_a_few_times_if_it_waits(
    server: RedisServer,
) -> None:
    def asked() -> int:
        with Redis(unix_socket_path=str(server.socket)) as client:
            found = client.info("commandstats")
        return sum(found[f"cmdstat_{name}"]["calls"] for name in ("eval", "evalsha"))

    budgets = [SharedBudget(server.address) for _ in range(2)]
    limit = RateLimit(50, per=1)
    for _ in range(25):
        for budget in budgets:
            await budget.acquire("computers", limit, 0)
    # The first time the store did not have the script.
    assert asked() == 50 + 1
    await asyncio.gather(
        *[budget.acquire("computers", limit, 60) for budget in budgets for _ in range(40)]
    )
    assert asked() <= 51 + 3 * 80
    for budget in budgets:
        await budget.aclose()


async def test_a_store_without_the_script_gets_it_again(server: RedisServer) -> None:
    budget = SharedBudget(server.address)
    limit = RateLimit(10, per=3600)
    with Redis(unix_socket_path=str(server.socket)) as client:
        for _ in range(3):
            await budget.acquire("computers", limit, 0)
            client.script_flush()
    assert server.counted() == 3
    await budget.aclose()


def test_all_keys_of_a_limit_are_on_one_node_of_a_cluster(tmp_path: Path) -> None:
    async def count(account: str) -> None:
        budget = SharedBudget(f"unix://{socket}", account=account)
        for _ in range(2):
            await budget.acquire("computers", RateLimit(10, per=3600), 0)
        await budget.aclose()

    socket = tmp_path / "redis.sock"
    with socket_server.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    with redis_server(tmp_path, {"port": port, "bind": "127.0.0.1", "cluster-enabled": "yes"}):
        with Redis(unix_socket_path=str(socket)) as client:
            client.execute_command("CLUSTER ADDSLOTS", *range(16384))
            while client.execute_command("CLUSTER INFO").get("cluster_state") != "ok":
                time.sleep(0.05)
            for account in ("plain", "a}b", "{}", "", "a:b/c", "é"):
                asyncio.run(count(account))
            found = [key.decode() for key in client.keys("*")]
            slots = {client.execute_command("CLUSTER KEYSLOT", key) for key in found}
    assert len(found) == 12
    assert len(slots) == 6

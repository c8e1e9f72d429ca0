"""One shared budget in several event loops, threads and processes."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from tests.integration import test_budget_away as away
from tests.integration.redis_server import RedisServer, redis_server
from tests.integration.test_budget import spread
from vcloud import ConfigurationError, Endpoint, RateLimit, SharedBudget, VagonComputers
from vcloud.emulator import Emulator

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
if sys.platform != "win32":
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop
NewLoop = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(params=LOOPS)
def new_loop(request: pytest.FixtureRequest) -> NewLoop:
    return LOOPS[request.param]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(machines=1) as emulator:
        yield emulator


def endpoint(emulator: Emulator, budget: SharedBudget, limit: RateLimit) -> Endpoint:
    return evolve(
        emulator.endpoints()["computers"], rate_limits=[limit], shared_budget=budget, deadline=60
    )


async def many_calls(given: Endpoint, calls: int) -> None:
    async with VagonComputers(given) as computers:
        await asyncio.gather(*[computers.machines.ref("100").refresh() for _ in range(calls)])


def test_ten_loops_one_after_the_other(
    emulator: Emulator, server: RedisServer, new_loop: NewLoop
) -> None:
    budget = SharedBudget(server.address)
    given = endpoint(emulator, budget, RateLimit(1000, per=3600))
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []
    for _ in range(10):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            loops.append(weakref.ref(runner.get_loop()))
            runner.run(many_calls(given, 20))
        assert server.connections() == set()
    assert len(emulator.calls) == server.counted() == 200
    del runner
    gc.collect()
    # The budget keeps none of them in memory but the last one.
    assert [loop() for loop in loops[:-1]] == [None] * 9


@pytest.mark.parametrize("store", ["redis", "memory"])
def test_four_threads_with_a_loop_each_keep_one_limit(
    emulator: Emulator, server: RedisServer, new_loop: NewLoop, store: str
) -> None:
    budget = SharedBudget(server.address if store == "redis" else "async+memory://")
    given = endpoint(emulator, budget, RateLimit(60, per=1))
    begin = threading.Barrier(4)
    errors: list[BaseException] = []

    def work() -> None:
        begin.wait()
        try:
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(many_calls(given, 25))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not errors
    assert len(emulator.calls) == 100
    assert spread([call.at for call in emulator.calls], 60) >= 1
    assert server.connections() == set()


def test_closing_in_one_loop_leaves_the_others_connected(
    emulator: Emulator, server: RedisServer, new_loop: NewLoop
) -> None:
    budget = SharedBudget(server.address)
    given = endpoint(emulator, budget, RateLimit(1000, per=3600))
    loops = [new_loop(), new_loop()]
    clients = [VagonComputers(given), VagonComputers(given)]
    for loop, client in zip(loops, clients, strict=True):
        loop.run_until_complete(client.aopen())
        loop.run_until_complete(client.machines.ref("100").refresh())
    both = server.connections()
    assert len(both) == 2
    loops[0].run_until_complete(clients[0].aclose())
    [left] = server.connections()
    loops[1].run_until_complete(clients[1].machines.ref("100").refresh())
    assert server.connections() == {left} < both
    # If another client of a loop has closed the connections, new ones are made.
    with_it = VagonComputers(given)
    loops[1].run_until_complete(with_it.aopen())
    loops[1].run_until_complete(with_it.aclose())
    assert server.connections() == set()
    loops[1].run_until_complete(clients[1].machines.ref("100").refresh())
    loops[1].run_until_complete(clients[1].aclose())
    assert server.connections() == set()
    for loop in loops:
        loop.close()


@pytest.mark.skipif("uvloop" not in LOOPS, reason="there is no uvloop for Windows")
@pytest.mark.parametrize(
    "scenario",
    [
        away.test_calls_wait_for_a_store_that_restarts_and_each_is_sent_once,
        away.test_a_silent_store_delays_no_call_beyond_its_deadline,
        away.test_cancelled_waits_for_a_silent_store_leave_nothing_behind,
        partial(away.test_a_wait_for_the_store_can_be_cancelled_at_any_moment, options=""),
    ],
)
def test_a_store_that_is_away_is_handled_alike_on_uvloop(
    server: RedisServer, scenario: Callable[[RedisServer], Coroutine[Any, Any, None]]
) -> None:
    with asyncio.Runner(loop_factory=LOOPS["uvloop"]) as runner:
        runner.run(scenario(server))


def test_a_storage_object_serves_one_loop_at_a_time(emulator: Emulator) -> None:
    from limits.aio.storage import MemoryStorage

    budget = SharedBudget(MemoryStorage())
    given = endpoint(emulator, budget, RateLimit(1000, per=3600))
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    first.run_until_complete(many_calls(given, 2))
    with pytest.raises(ConfigurationError, match="give it an address"):
        second.run_until_complete(many_calls(given, 1))
    first.close()
    second.run_until_complete(many_calls(given, 1))
    second.close()
    assert len(emulator.calls) == 3


FORK = textwrap.dedent("""
    import asyncio, os, sys
    import uvloop
    from vcloud import Endpoint, HMACAuth, RateLimit, SharedBudget, VagonComputers

    url, key, secret, store, kind = sys.argv[1:]
    new_loop = uvloop.new_event_loop if kind == "uvloop" else asyncio.new_event_loop
    budget = SharedBudget(store)
    auth = HMACAuth(key, secret)
    limits = [RateLimit(100, per=3600)]
    endpoint = Endpoint(url, auth=auth, rate_limits=limits, shared_budget=budget)

    async def anew():
        async with VagonComputers(endpoint) as computers:
            await asyncio.gather(*[computers.machines.ref("100").refresh() for _ in range(20)])

    loop = new_loop()
    computers = VagonComputers(endpoint)
    loop.run_until_complete(computers.aopen())
    ask = computers.machines.ref("100").refresh

    async def many():
        async with asyncio.timeout(30):
            await asyncio.gather(*[ask() for _ in range(20)])

    loop.run_until_complete(ask())
    if (child := os.fork()) == 0:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(anew())
        sys.exit(0)
    # The child works while this loop does.
    loop.run_until_complete(many())
    assert os.waitpid(child, 0)[1] == 0
    loop.run_until_complete(many())
    print("whole")
    sys.stdin.readline()
    loop.run_until_complete(computers.aclose())
    loop.close()
""")


@pytest.mark.skipif(sys.platform == "win32", reason="fork is POSIX's")
@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_a_forked_process_counts_with_connections_of_its_own(
    emulator: Emulator, server: RedisServer, kind: str
) -> None:
    env = emulator.env()
    given = [env[f"VCLOUD_COMPUTERS_{name}"] for name in ("URL", "KEY", "SECRET")]
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", FORK, *given, server.address, kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        said = parent.stdout.readline()
        if said == "whole\n":
            # The parent still has its own connection.
            assert len(server.connections()) == 1
        _, errors = parent.communicate("\n", timeout=30)
    assert (errors, said, parent.returncode) == ("", "whole\n", 0)
    assert len(emulator.calls) == server.counted() == 61
    assert server.connections() == set()
    # The fork takes turns with its parent as another process does.
    assert server.waiting() == [0, 0]

"""An hour's worth of fan-out, compressed: what a client holds does not grow with what it has done."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import random
import subprocess
import sys
import textwrap
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from itertools import count

import pytest
from attrs import evolve

from tests.leaks.wholeness import at_rest, whole
from vcloud import Endpoint, RateLimit, RetryPolicy, VCloud, VCloudError
from vcloud._core.scalars import REMEMBERED
from vcloud.providers.desktops.registry import LaunchRegistry

SLOTS = 20
#: Calls in a round, rounds until every cache is full, and rounds that are measured.
CALLS, WARM_UP, MEASURED = 300, 3, 10
#: Bytes and objects of one kind, for each call, by which the process may seem to grow: less than the smallest thing that leaks.
GROWTH, OBJECTS = 100, 0.2

#: In a process of its own, so that only the client is measured. Each answer has ids and words that were never seen before.
SERVICE = """
    import itertools, json, sys
    from vcloud.emulator import Emulator, Fault

    fresh = itertools.count()

    def renamed(value):
        if isinstance(value, dict):
            return {name: new(name, inner) for name, inner in value.items()}
        return [renamed(inner) for inner in value] if isinstance(value, list) else value

    def new(name, value):
        if name in {"id", "state", "status", "friendly_status", "region"} and isinstance(value, str):
            return f"{value}-{next(fresh)}"
        return renamed(value)

    def often(fault, one_in):
        emulator.faults.add("*", fault, times=None, probability=1 / one_in)

    with Emulator(machines=40, rate_limits=False, keep_calls=10, fault_seed=1) as emulator:
        emulator.faults.add("POST */desktop", Fault.server_error(400), times=None)
        for fault in (
            Fault.reset_before(), Fault.reset_after(), Fault.server_error(503), Fault.html(502), Fault.too_many(0),
            Fault.truncate(5), Fault.invalid_json(), Fault.wrong_types(), Fault.nulls(), Fault.not_an_object(),
            Fault.stall_body(1, 0.05), Fault.redirect(status=307),
        ):
            often(fault, 60)
        emulator.faults.add("*", Fault.edit(renamed), times=None)
        print(json.dumps(emulator.env()), flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    command = [sys.executable, "-c", textwrap.dedent(SERVICE)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ}
    ) as service:
        assert service.stdout is not None
        try:
            yield json.loads(service.stdout.readline())
        finally:
            service.communicate("")


def quick(name: str, environment: dict[str, str]) -> Endpoint:
    endpoint = getattr(VCloud, name).variables.endpoint(environment)
    assert isinstance(endpoint, Endpoint)
    retry = RetryPolicy(attempts=2, base=0.001, cap=0.002)
    return evolve(
        endpoint,
        concurrency=SLOTS,
        timeout=0.5,
        retry=retry,
        rate_limits=[RateLimit(10**6, per=0.2)],
    )


@pytest.fixture
def unlogged() -> Iterator[None]:
    """Let nothing be logged: pytest keeps each record, and a busy machine makes more of them."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("unlogged")
async def test_memory_is_flat_however_many_calls_were_made(environment: dict[str, str]) -> None:
    chance = random.Random(4)
    numbers = count()
    kept: list[BaseException] = []
    tracemalloc.start()
    async with VCloud(
        computers=quick("computers", environment),
        streams=quick("streams", environment),
        streamspace=quick("streamspace", environment),
        desktops=quick("desktops", environment),
    ) as cloud:
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: cloud.computers.machines.list(per_page=20).prefetch(2).all(),
            lambda: cloud.computers.machines.get(str(100 + chance.randrange(40))),
            lambda: cloud.computers.machines.get(f"nobody-{next(numbers)}"),
            lambda: (
                cloud.computers.with_options(timeout=0.4)
                .machines.ref(f"nobody-{next(numbers)}")
                .start()
            ),
            lambda: cloud.streams.machines.list().first(),
            lambda: cloud.streams.users.create(f"visitor-{next(numbers)}@example.com"),
            lambda: cloud.streamspace.sessions.get(f"nobody-{next(numbers)}"),
            lambda: cloud.streamspace.agents.list().all(),
            lambda: cloud.streamspace.sessions.ref(f"nobody-{next(numbers)}").open_vnc().aopen(),
            lambda: cloud.desktops.ref(f"nobody-{next(numbers)}").bash("true"),
            cloud.desktops.launch,
            lambda: cloud.instances().all(),
        ]

        async def one() -> None:
            try:
                await chance.choice(calls)()
            except VCloudError as error:
                kept.append(error)

        async def a_round() -> int:
            before = asyncio.all_tasks()
            tasks = [asyncio.create_task(one()) for _ in range(CALLS)]
            loop = asyncio.get_running_loop()
            cancellations = [
                loop.call_later(chance.random() * 0.2, task.cancel) for task in tasks[::5]
            ]
            await asyncio.gather(*tasks, return_exceptions=True)
            for cancellation in cancellations:
                cancellation.cancel()
            await at_rest(before)
            whole(cloud, slots=SLOTS)
            # An error that somebody keeps for a while must not keep others.
            assert kept
            kept.clear()
            tasks.clear()
            # The one cache of what services say fills up and begins anew; how far it has come says nothing.
            for cache in REMEMBERED.values():
                cache.clear()
            for _ in range(3):
                gc.collect()
            return tracemalloc.get_traced_memory()[0]

        def kinds() -> Counter[str]:
            return Counter(type(one).__qualname__ for one in gc.get_objects())

        try:
            for _ in range(WARM_UP):
                await a_round()
            before = kinds()
            sizes = [await a_round() for _ in range(MEASURED)]
            more = {
                kind: number
                for kind, number in (kinds() - before).items()
                if number > OBJECTS * MEASURED * CALLS
            }
        finally:
            tracemalloc.stop()
    assert not more
    # How many connections are open at its end, say, makes each round a little different; what leaks is there in all that follow.
    half = MEASURED // 2
    growth = (min(sizes[half:]) - min(sizes[:half])) / (half * CALLS)
    assert growth < GROWTH, f"{growth:.0f} bytes for each call"


def test_desktops_that_are_over_are_forgotten_behind_one_that_runs_long() -> None:
    register = LaunchRegistry()
    register.add("long", now=0.0, ends=86_400.0)
    for number in range(10_000):
        register.add(f"short-{number}", now=float(number), ends=number + 60.0)
    assert len(register.ids()) < 300
    assert "long" in register.ids()
    assert {f"short-{number}" for number in range(9_950, 10_000)} < set(register.ids())

"""The memory of a client does not grow with the number of its calls."""

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

from tests.leaks.nothing_held import assert_nothing_held, wait_for_tasks
from vcloud import Endpoint, RateLimit, RetryPolicy, VCloud, VCloudError
from vcloud._core.scalars import REMEMBERED
from vcloud.providers.desktops.registry import LaunchRegistry

SLOTS = 20
#: Calls in a round, rounds until every cache is full, and rounds that are measured.
CALLS, WARM_UP, MEASURED = 300, 3, 10
#: Bytes, and objects of one kind, for each call, by which the process may seem to grow: less than
#: the smallest thing that could leak.
GROWTH, OBJECTS = 100, 0.2

#: In a process of its own, so that only the client is measured. Each answer has new ids and words.
SERVICE = """
    import itertools, json, sys
    from vcloud.emulator import Emulator, Fault

    fresh = itertools.count()

    def renamed(value):
        if isinstance(value, dict):
            return {name: new(name, inner) for name, inner in value.items()}
        return [renamed(inner) for inner in value] if isinstance(value, list) else value

    def new(name, value):
        names = {"id", "state", "status", "friendly_status", "region"}
        if name in names and isinstance(value, str):
            return f"{value}-{next(fresh)}"
        return renamed(value)

    def often(fault, one_in):
        emulator.faults.add("*", fault, times=None, probability=1 / one_in)

    with Emulator(machines=40, rate_limits=False, keep_calls=10, fault_seed=1) as emulator:
        emulator.faults.add("POST */desktop", Fault.server_error(400), times=None)
        for fault in (
            Fault.reset_before(), Fault.reset_after(), Fault.server_error(503), Fault.html(502),
            Fault.too_many(0), Fault.truncate(5), Fault.invalid_json(), Fault.wrong_types(),
            Fault.nulls(), Fault.not_an_object(), Fault.stall_body(1, 0.05),
            Fault.redirect(status=307),
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
    endpoint = getattr(VCloud, name).variables.endpoint(environment, {})
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
    """Disable logging: pytest keeps each record, and a busy machine makes more of them."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def calls_of(cloud: VCloud, chance: random.Random) -> list[Callable[[], Awaitable[object]]]:
    """Calls of all kinds; of some of them each one is for something new."""
    numbers = count()
    computers, streams, streamspace = cloud.computers, cloud.streams, cloud.streamspace
    return [
        lambda: computers.machines.list(per_page=20).prefetch(2).all(),
        lambda: computers.machines.get(str(100 + chance.randrange(40))),
        lambda: computers.machines.get(f"nobody-{next(numbers)}"),
        lambda: computers.with_options(timeout=0.4).machines.ref(f"nobody-{next(numbers)}").start(),
        lambda: streams.machines.list().first(),
        lambda: streams.users.create(f"visitor-{next(numbers)}@example.com"),
        lambda: streamspace.sessions.get(f"nobody-{next(numbers)}"),
        lambda: streamspace.agents.list().all(),
        lambda: streamspace.sessions.ref(f"nobody-{next(numbers)}").open_vnc().aopen(),
        lambda: cloud.desktops.ref(f"nobody-{next(numbers)}").bash("true"),
        cloud.desktops.launch,
        lambda: cloud.instances().all(),
    ]


async def a_round(
    cloud: VCloud, calls: list[Callable[[], Awaitable[object]]], chance: random.Random
) -> int:
    """Make calls, cancel some of them, and return the memory in use when all have ended."""
    kept: list[BaseException] = []

    async def one() -> None:
        try:
            await chance.choice(calls)()
        except VCloudError as error:
            kept.append(error)

    before = asyncio.all_tasks()
    tasks = [asyncio.create_task(one()) for _ in range(CALLS)]
    loop = asyncio.get_running_loop()
    cancellations = [loop.call_later(chance.random() * 0.2, task.cancel) for task in tasks[::5]]
    await asyncio.gather(*tasks, return_exceptions=True)
    for cancellation in cancellations:
        cancellation.cancel()
    await wait_for_tasks(before)
    assert_nothing_held(cloud, slots=SLOTS)
    # An error that is kept for a while must not keep others.
    assert kept
    kept.clear()
    tasks.clear()
    # The only cache of services' words fills up and begins anew, at a time that means nothing.
    for cache in REMEMBERED.values():
        cache.clear()
    for _ in range(3):
        gc.collect()
    return tracemalloc.get_traced_memory()[0]


def kinds() -> Counter[str]:
    return Counter(type(one).__qualname__ for one in gc.get_objects())


@pytest.mark.usefixtures("unlogged")
async def test_memory_does_not_grow_with_the_number_of_calls(environment: dict[str, str]) -> None:
    chance = random.Random(4)
    tracemalloc.start()
    async with VCloud(
        computers=quick("computers", environment),
        streams=quick("streams", environment),
        streamspace=quick("streamspace", environment),
        desktops=quick("desktops", environment),
    ) as cloud:
        calls = calls_of(cloud, chance)
        try:
            for _ in range(WARM_UP):
                await a_round(cloud, calls, chance)
            before = kinds()
            sizes = [await a_round(cloud, calls, chance) for _ in range(MEASURED)]
            more = {
                kind: number
                for kind, number in (kinds() - before).items()
                if number > OBJECTS * MEASURED * CALLS
            }
        finally:
            tracemalloc.stop()
    assert not more
    # Rounds differ a little, by the connections that are open at their end, say. A leak is in all.
    half = MEASURED // 2
    growth = (min(sizes[half:]) - min(sizes[:half])) / (half * CALLS)
    assert growth < GROWTH, f"{growth:.0f} bytes for each call"


def test_desktops_that_have_ended_are_forgotten_while_an_older_one_runs() -> None:
    registry = LaunchRegistry()
    registry.add("long", now=0.0, ends=86_400.0)
    for number in range(10_000):
        registry.add(f"short-{number}", now=float(number), ends=number + 60.0)
    assert len(registry.ids()) < 300
    assert "long" in registry.ids()
    assert {f"short-{number}" for number in range(9_950, 10_000)} < set(registry.ids())

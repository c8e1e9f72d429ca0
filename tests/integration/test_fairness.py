"""A call beside a bulk run of thousands on the same client, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from tests.integration.redis_server import RedisServer, redis_server
from vcloud import Attempt, Observer, RateLimit, SharedBudget, VCloud
from vcloud.emulator import Emulator, Fault

#: How many items the run has. tests/unit/test_fair_queueing.py tests thousands in the short form.
RUN_SIZES = pytest.mark.parametrize("run_size", [300, pytest.param(5000, marks=pytest.mark.long)])


class Sent(Observer):
    """The paths of all attempts, in order."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def started(self, attempt: Attempt) -> None:
        self.paths.append(attempt.path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@asynccontextmanager
async def beside_a_run(run_size: int, **options: Any) -> AsyncIterator[tuple[VCloud, list[str]]]:
    """A client on which all items of a run wait, and the paths that it has sent so far."""
    sent, begun = Sent(), 0
    async with Emulator(machines=2) as emulator:
        # Long enough that a run of thousands does not end while another call waits.
        emulator.faults.add("*", Fault.delay(0.02), times=None)
        endpoint = evolve(emulator.endpoints()["computers"], **options)
        async with VCloud(computers=endpoint, observers=[sent]) as cloud:

            async def act(_: int) -> None:
                nonlocal begun
                begun += 1
                await cloud.computers.machines.ref("100").refresh()

            async with cloud.bulk(range(run_size), act, concurrency=run_size) as run:
                task = asyncio.ensure_future(anext(run))
                while begun < run_size:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.01)
                yield cloud, sent.paths
                task.cancel()
                await asyncio.wait([task])


async def visit(cloud: VCloud, sent: list[str]) -> list[str]:
    """Make one call. Returns what the run sent while it waited."""
    before = len(sent)
    machine = await cloud.computers.machines.ref("101").refresh()
    assert machine.id == "101"
    theirs = next(place for place in range(before, len(sent)) if sent[place].endswith("/101"))
    return sent[before:theirs]


@RUN_SIZES
async def test_a_call_waits_for_at_most_two_sends_of_a_run_that_holds_all_slots(
    run_size: int,
) -> None:
    async with beside_a_run(run_size, concurrency=2) as (cloud, sent):
        for _ in range(5):
            assert len(await visit(cloud, sent)) <= 2


@RUN_SIZES
async def test_a_call_waits_for_at_most_two_sends_of_a_run_that_uses_up_a_limit(
    run_size: int,
) -> None:
    async with beside_a_run(run_size, rate_limits=[RateLimit(4, per=0.5)]) as (cloud, sent):
        for _ in range(5):
            assert len(await visit(cloud, sent)) <= 2


@RUN_SIZES
async def test_a_call_waits_for_at_most_two_sends_of_a_run_that_uses_up_a_shared_budget(
    server: RedisServer, run_size: int
) -> None:
    options = {
        "rate_limits": [RateLimit(4, per=0.5)],
        "shared_budget": SharedBudget(server.address),
    }
    async with beside_a_run(run_size, **options) as (cloud, sent):
        for _ in range(3):
            assert len(await visit(cloud, sent)) <= 2


async def test_two_runs_and_a_call_take_turns() -> None:
    async with beside_a_run(300, concurrency=1) as (cloud, sent):

        async def act(_: int) -> None:
            await cloud.computers.machines.ref("101").refresh()

        before = len(sent)
        assert (await cloud.bulk(range(10), act, concurrency=10).run()).done == 10
        # Each send of the second run waited for one of the first run, not for thousands.
        assert len(sent) - before <= 2 * 10 + 2

"""While one call hangs, others that have ended are freed; counted by weak references."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from tests.leaks.nothing_held import wait_for_tasks
from vcloud import Bulk, CleanupError, RateLimit, SharedBudget, VCloud
from vcloud.emulator import Emulator, Fault
from vcloud.providers.computers import Machine

#: Calls that end, or are cancelled, while another one hangs.
CALLS = 40
#: Those of them that the loop or the pool may still hold: in the last callback or connection.
LAST = 2
HANGS = 60.0

Call = Callable[[VCloud], Awaitable[object]]


@contextlib.asynccontextmanager
async def hanging(call: Call, cloud: VCloud) -> AsyncIterator[asyncio.Task[object]]:
    """Run a call that does not end while others start and end."""

    async def work() -> object:
        return await call(cloud)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.1)
    assert not task.done()
    try:
        yield task
        assert not task.done()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, CleanupError):
            await task


async def held_after(call: Call, cloud: VCloud, *, cancel: bool = False) -> list[object]:
    """Make calls, and return those of their tasks and results that are still held afterwards.

    Args:
        call: makes one.
        cloud: the client.
        cancel: the calls wait for the one that hangs, and are cancelled.
    """
    before = asyncio.all_tasks()
    seen: list[weakref.ref[Any]] = []

    async def one() -> None:
        if not cancel:
            seen.append(weakref.ref(await call(cloud)))
            return
        waiting = asyncio.create_task(_done(call(cloud)))
        seen.append(weakref.ref(waiting))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting

    for _ in range(CALLS // 10):
        tasks = [asyncio.create_task(one()) for _ in range(10)]
        seen += [weakref.ref(task) for task in tasks]
        await asyncio.gather(*tasks)
        del tasks
    await wait_for_tasks(before)
    await asyncio.sleep(0.01)  # until then the loop holds the last callbacks
    gc.collect()
    assert len(seen) == 2 * CALLS
    return [held for reference in seen if (held := reference()) is not None]


async def _done(doing: Awaitable[object]) -> object:
    return await doing


async def get(cloud: VCloud) -> object:
    return await cloud.computers.machines.get("102")


async def refresh(cloud: VCloud) -> object:
    return await cloud.computers.machines.ref("101").refresh()


async def bulk(cloud: VCloud) -> object:
    ids = ["101", *["102"] * 3]
    return await Bulk(ids, cloud.computers.machines.get, concurrency=4).run()


async def upgrade(cloud: VCloud) -> object:
    async with cloud.streamspace.sessions.ref("nobody").open_vnc() as tunnel:
        return tunnel


async def listed(cloud: VCloud) -> object:
    return await cloud.instances().all()


HANGING: dict[str, tuple[str, Fault, Call]] = {
    "a call": ("GET */machines/101", Fault.stall_headers(HANGS), refresh),
    "an answer": ("GET */machines/101", Fault.stall_body(1, HANGS), refresh),
    "a run": ("GET */machines/101", Fault.stall_headers(HANGS), bulk),
    "a launch": (
        "POST */desktop",
        Fault.stall_headers(HANGS),
        lambda cloud: cloud.desktops.launch().__aenter__(),
    ),
    "a tunnel": ("GET */vnc-viewer/*", Fault.stall_headers(HANGS), upgrade),
    "one of all providers": (
        "GET */app-stream-management/v2/machines",
        Fault.stall_headers(HANGS),
        listed,
    ),
}


@contextlib.asynccontextmanager
async def waiting_long(emulator: Emulator, **options: Any) -> AsyncIterator[VCloud]:
    given: Any = emulator.endpoints()
    endpoints = {
        name: evolve(endpoint, timeout=HANGS, cleanup_timeout=0.2, **options)
        for name, endpoint in given.items()
    }
    async with VCloud(**endpoints) as cloud:
        yield cloud


@pytest.mark.parametrize("what", HANGING)
async def test_calls_that_ended_are_freed_while_another_hangs(what: str) -> None:
    target, fault, call = HANGING[what]
    async with Emulator(machines=5, rate_limits=False) as emulator, waiting_long(emulator) as cloud:
        await get(cloud)
        emulator.faults.add(target, fault, times=None)
        async with hanging(call, cloud):
            assert len(await held_after(get, cloud)) <= LAST


async def sessions(cloud: VCloud) -> object:
    return await cloud.streamspace.sessions.list().all()


#: By what the calls wait for: the options of the client, and the call that hangs.
WAITING: dict[str, tuple[dict[str, Any], Call]] = {
    "a slot": ({"concurrency": 1}, refresh),
    "a rate limit": ({"rate_limits": [RateLimit(2, per=HANGS)]}, get),
    "a shared budget": (
        {
            "rate_limits": [RateLimit(2, per=HANGS)],
            "shared_budget": SharedBudget("async+memory://"),
        },
        get,
    ),
    "a login": ({}, sessions),
}


@pytest.mark.parametrize("what", WAITING)
async def test_cancelled_calls_are_freed_while_what_they_waited_for_hangs(what: str) -> None:
    options, call = WAITING[what]
    waits = sessions if call is sessions else get
    async with Emulator(machines=5, rate_limits=False) as emulator:
        async with waiting_long(emulator, **options) as cloud:
            for _ in range(2):
                await get(cloud)
            emulator.faults.add("GET */machines/101", Fault.stall_headers(HANGS), times=None)
            emulator.faults.add("POST */auth/login", Fault.stall_headers(HANGS), times=None)
            async with hanging(call, cloud):
                assert len(await held_after(waits, cloud, cancel=True)) <= LAST


@pytest.mark.parametrize("journal", [False, True])
async def test_a_run_frees_items_that_ended_while_another_one_hangs(
    journal: bool, tmp_path: Path
) -> None:
    seen: list[weakref.ref[Any]] = []
    taken = 0
    all_taken = asyncio.Event()

    async def act(item: str) -> Machine:
        result = await cloud.computers.machines.get(item.partition("-")[0])
        seen.extend([weakref.ref(result), weakref.ref(current_task())])
        return result

    async def consume() -> None:
        nonlocal taken
        items = ["101-0", *[f"102-{number}" for number in range(CALLS)]]
        path = tmp_path / "journal" if journal else None
        async with Bulk(
            items, act, concurrency=4, journal=path, record=lambda machine: machine.id
        ) as run:
            async for _ in run:
                taken += 1
                if taken == CALLS:
                    all_taken.set()

    async with Emulator(machines=5, rate_limits=False) as emulator, waiting_long(emulator) as cloud:
        emulator.faults.add("GET */machines/101", Fault.stall_headers(HANGS), times=None)
        running = asyncio.create_task(consume())
        await all_taken.wait()
        await asyncio.sleep(0.01)  # until then the loop holds the last callbacks
        gc.collect()
        # The consumer holds the last outcome.
        assert sum(reference() is not None for reference in seen) <= LAST
        assert not running.done()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def current_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task

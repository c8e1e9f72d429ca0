"""While one thing hangs, what is over beside it is let go: counted by weak references, on real sockets."""

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

from tests.leaks.wholeness import at_rest
from vcloud import Bulk, CleanupError, RateLimit, SharedBudget, VCloud
from vcloud.emulator import Emulator, Fault
from vcloud.providers.computers import Machine

#: What finishes, or is given up, while another hangs.
CALLS = 40
#: Of them, those that a loop or a pool may hold for the moment: its last step, its last connection.
LAST = 2
HANGS = 60.0

Call = Callable[[VCloud], Awaitable[object]]


@contextlib.asynccontextmanager
async def hanging(call: Call, cloud: VCloud) -> AsyncIterator[asyncio.Task[object]]:
    """Something that goes on while others come and go."""

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


async def held_after(call: Call, cloud: VCloud, *, given_up: bool = False) -> list[object]:
    """Make calls; which of their tasks and results are still there when they are over.

    Args:
        call: what each does.
        cloud: with what.
        given_up: they wait for what hangs, and are cancelled.
    """
    before = asyncio.all_tasks()
    seen: list[weakref.ref[Any]] = []

    async def one() -> None:
        if not given_up:
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
    await at_rest(before)
    await asyncio.sleep(0.01)  # the loop still holds the last steps
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
async def patient(emulator: Emulator, **options: Any) -> AsyncIterator[VCloud]:
    given: Any = emulator.endpoints()
    endpoints = {
        name: evolve(endpoint, timeout=HANGS, cleanup_timeout=0.2, **options)
        for name, endpoint in given.items()
    }
    async with VCloud(**endpoints) as cloud:
        yield cloud


@pytest.mark.parametrize("what", HANGING)
async def test_what_is_over_is_let_go_of_while_another_hangs(what: str) -> None:
    target, fault, call = HANGING[what]
    async with Emulator(machines=5, rate_limits=False) as emulator, patient(emulator) as cloud:
        await get(cloud)
        emulator.faults.add(target, fault, times=None)
        async with hanging(call, cloud):
            assert len(await held_after(get, cloud)) <= LAST


async def sessions(cloud: VCloud) -> object:
    return await cloud.streamspace.sessions.list().all()


#: What is waited for, what is asked of the client for that, and what hangs and is waited for.
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
async def test_what_is_given_up_is_let_go_of_while_what_it_waited_for_hangs(what: str) -> None:
    options, call = WAITING[what]
    waits = sessions if call is sessions else get
    async with Emulator(machines=5, rate_limits=False) as emulator:
        async with patient(emulator, **options) as cloud:
            for _ in range(2):
                await get(cloud)
            emulator.faults.add("GET */machines/101", Fault.stall_headers(HANGS), times=None)
            emulator.faults.add("POST */auth/login", Fault.stall_headers(HANGS), times=None)
            async with hanging(call, cloud):
                assert len(await held_after(waits, cloud, given_up=True)) <= LAST


@pytest.mark.parametrize("journal", [False, True])
async def test_a_run_lets_go_of_what_is_over_while_one_of_its_items_hangs(
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

    async with Emulator(machines=5, rate_limits=False) as emulator, patient(emulator) as cloud:
        emulator.faults.add("GET */machines/101", Fault.stall_headers(HANGS), times=None)
        running = asyncio.create_task(consume())
        await all_taken.wait()
        await asyncio.sleep(0.01)  # the loop still holds the last steps
        gc.collect()
        # The consumer holds the last outcome that it took.
        assert sum(reference() is not None for reference in seen) <= LAST
        assert not running.done()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def current_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task

"""Lists that shrink while one acts on them, over a real socket: nothing on them is passed over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from vcloud import ConflictError, Pager, VCloud
from vcloud.emulator import Emulator
from vcloud.providers.computers import Machine
from vcloud.providers.streamspace import Session

MACHINES = 1000
IDS = {str(number) for number in range(100, 100 + MACHINES)}


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(machines=MACHINES, rate_limits=False) as emulator:
        yield emulator


@pytest.fixture
async def cloud(emulator: Emulator) -> AsyncIterator[VCloud]:
    async with VCloud(**emulator.endpoints()) as cloud:
        yield cloud


def ahead(pager: Pager[Machine], n: int) -> Pager[Machine]:
    return pager.prefetch(n) if n else pager


def lists(emulator: Emulator) -> int:
    """How many pages were asked for."""
    return sum(call.method == "GET" for call in emulator.calls)


@pytest.mark.parametrize(("n", "pages"), [(0, 50 + 1), (8, 2 * (50 + 1))])
async def test_the_first_script_of_the_readme_starts_every_machine(
    emulator: Emulator, cloud: VCloud, n: int, pages: int
) -> None:
    started = []
    async for machine in ahead(cloud.computers.machines.list(status="off"), n):
        await machine.start()
        started.append(machine.id)
    assert len(started) == MACHINES
    assert set(started) == IDS
    assert lists(emulator) <= pages
    assert await cloud.computers.machines.list(status="off").first() is None


@pytest.mark.parametrize("n", [0, 8])
@pytest.mark.parametrize("per_page", [None, 100])
async def test_a_bulk_run_over_the_list_starts_every_machine(
    emulator: Emulator, cloud: VCloud, n: int, per_page: int | None
) -> None:
    pager = ahead(cloud.computers.machines.list(status="off", per_page=per_page), n)
    totals = await cloud.bulk(pager, lambda machine: machine.start()).run()
    assert (totals.done, totals.failed) == (MACHINES, 0)
    assert lists(emulator) <= 2 * (MACHINES // (per_page or 20) + 1)
    assert await cloud.computers.machines.list(status="off").first() is None


@pytest.mark.parametrize("n", [0, 3])
async def test_all_instances_are_shown_while_each_one_shown_is_deleted(
    emulator: Emulator, cloud: VCloud, n: int
) -> None:
    machines = emulator.computers.machines
    found = cloud.instances().prefetch(n) if n else cloud.instances()
    shown = []
    async for instance in found:
        if instance.provider == "computers":
            shown.append(instance.id)
            del machines[instance.id]
    assert found.errors == {}
    assert len(shown) == MACHINES
    assert set(shown) == IDS


async def test_every_running_session_is_terminated_while_others_are_created(
    emulator: Emulator, cloud: VCloud
) -> None:
    sessions = cloud.streamspace.sessions
    there = {emulator.streamspace.add_session(state="running").id for _ in range(130)}
    terminated: list[str] = []

    async def terminate(session: Session) -> None:
        await session.terminate()
        terminated.append(session.id)

    async for session in sessions.list(state="running", limit=20):
        await terminate(session)
        if len(terminated) % 30 == 0:
            emulator.streamspace.add_session(state="running")
    assert len(terminated) == len(set(terminated))
    assert there <= set(terminated)


@pytest.mark.parametrize("n", [0, 4])
async def test_two_programs_that_start_the_same_list_start_every_machine(
    cloud: VCloud, n: int
) -> None:
    async def start_all() -> None:
        async for machine in ahead(cloud.computers.machines.list(status="off"), n):
            with contextlib.suppress(ConflictError):  # the other one was faster
                await machine.start()

    await asyncio.gather(start_all(), start_all())
    assert await cloud.computers.machines.list(status="off").first() is None

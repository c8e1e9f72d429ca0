"""Pages read ahead over a socket: each item once and in order, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

import attrs
import pytest

from vcloud import Pager, RetryPolicy, ServerError, TransportError, VCloud
from vcloud.emulator import Emulator, Fault

MACHINES = "GET /organization-management/v1/machines"
IDS = [str(number) for number in range(100, 1100)]
SLOTS = 4

T = TypeVar("T")


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(machines=1000, rate_limits=False) as emulator:
        yield emulator


@pytest.fixture
async def cloud(emulator: Emulator) -> AsyncIterator[VCloud]:
    """Its computers client does not retry, and has few requests in flight."""
    endpoints = emulator.endpoints()
    endpoints["computers"] = attrs.evolve(
        endpoints["computers"], retry=RetryPolicy(attempts=1), concurrency=SLOTS
    )
    async with VCloud(**endpoints) as cloud:
        yield cloud


def ahead(pager: Pager[T], n: int) -> Pager[T]:
    """Read ``n`` pages ahead; 0: one by one."""
    return pager.prefetch(n) if n else pager


async def collect(source: AsyncIterator[T], into: list[T]) -> None:
    """Append until the end, or an error."""
    async for one in source:
        into.append(one)


async def test_a_thousand_machines_come_in_order_with_no_more_requests_than_one_by_one(
    emulator: Emulator, cloud: VCloud
) -> None:
    pages = [page async for page in cloud.computers.machines.list().prefetch(8).pages()]
    assert [machine.id for page in pages for machine in page.items] == IDS
    assert [(page.number, page.last) for page in pages] == [(number, 50) for number in range(1, 51)]
    assert sorted(call.query for call in emulator.calls) == sorted(
        f"page={number}" for number in range(1, 51)
    )


async def test_leaving_an_iteration_early_frees_the_slots_of_its_requests(
    emulator: Emulator, cloud: VCloud
) -> None:
    computers = cloud.computers
    async for _ in cloud.computers.machines.list().prefetch(8):
        emulator.faults.add(MACHINES, Fault.delay(3600), times=None)
        while computers.stats().free:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)
        break
    async with asyncio.timeout(10):
        assert (await cloud.computers.machines.ref("100").refresh()).id == "100"
    stats = computers.stats()
    assert (stats.free, stats.waiting) == (SLOTS, 0)


@pytest.mark.parametrize("n", [0, 1, 3, 20])
async def test_machines_that_move_back_while_others_are_started_come_once(
    emulator: Emulator, cloud: VCloud, n: int
) -> None:
    (stream_id,) = emulator.streams.streams
    there = {str(emulator.streams.add_machine(stream_id).id) for _ in range(50)}
    ids: list[str] = []
    sent = 0
    # The newest is listed first: each one that is started moves all the others.
    async for page in ahead(cloud.streams.machines.list(per_page=5), n).pages():
        ids += [machine.id for machine in page.items]
        sent += 1
        if page.number % 2:
            for _ in range(3):
                emulator.streams.add_machine(stream_id)
        await asyncio.sleep(0)
    assert len(ids) == len(set(ids))
    assert there <= set(ids)
    assert sent > len(ids) / 5, "some came again, and were left out"


@pytest.mark.parametrize("n", [0, 1, 3])
async def test_sessions_that_move_back_while_others_are_created_come_once(
    cloud: VCloud, n: int
) -> None:
    sessions = cloud.streamspace.sessions
    there = {(await sessions.create("admin", "firefox-browser")).id for _ in range(6)}
    ids = []
    async for session in ahead(sessions.list(limit=2), n):
        ids.append(session.id)
        if len(ids) in {2, 4}:
            await sessions.create("admin", "firefox-browser")
    assert len(ids) == len(set(ids))
    assert there <= set(ids)


@pytest.mark.parametrize("n", [0, 1, 8])
async def test_a_list_that_shrinks_meanwhile_ends(
    emulator: Emulator, cloud: VCloud, n: int
) -> None:
    machines = emulator.computers.machines
    ids = []
    async for page in ahead(cloud.computers.machines.list(), n).pages():
        ids += [machine.id for machine in page.items]
        for id in list(machines)[-200:]:
            del machines[id]
    assert len(ids) == len(set(ids))
    assert ids == IDS[: len(ids)]
    assert 20 <= len(ids) < 1000


@pytest.mark.parametrize("n", [0, 1, 8])
@pytest.mark.parametrize(
    ("fault", "error"),
    [(Fault.reply(500), ServerError), (Fault.reset_before(), TransportError)],
    ids=["500", "reset"],
)
async def test_after_an_error_no_item_is_lost_or_repeated(
    emulator: Emulator, cloud: VCloud, n: int, fault: Fault, error: type[Exception]
) -> None:
    machines = aiter(ahead(cloud.computers.machines.list(), n))
    seen = [await anext(machines) for _ in range(20)]
    emulator.faults.add(MACHINES, fault)
    with pytest.raises(error):
        await collect(machines, seen)
    assert len(seen) < 1000
    await collect(machines, seen)
    assert [machine.id for machine in seen] == IDS


async def test_another_process_can_continue_at_the_page_that_was_reached(
    emulator: Emulator, cloud: VCloud
) -> None:
    pages = cloud.computers.machines.list(per_page=100).prefetch(3).pages()
    read = [await anext(pages) for _ in range(4)]
    emulator.faults.add(MACHINES, Fault.reply(503), times=None)
    with pytest.raises(ServerError):
        await collect(pages, read)
    emulator.faults.clear()
    reached = pages.number
    async with VCloud(**emulator.endpoints()) as other:
        read += [
            page
            async for page in other.computers.machines.list(page=reached, per_page=100)
            .prefetch(3)
            .pages()
        ]
    assert [machine.id for page in read for machine in page.items] == IDS


async def test_instances_of_all_providers_can_be_read_ahead(
    emulator: Emulator, cloud: VCloud
) -> None:
    (stream_id,) = emulator.streams.streams
    streamed = {str(emulator.streams.add_machine(stream_id).id) for _ in range(30)}
    found = cloud.instances().prefetch(4)
    instances = await found.all()
    assert found.errors == {}
    assert [one.id for one in instances if one.provider == "computers"] == IDS
    assert {one.id for one in instances if one.provider == "streams"} == streamed


@pytest.mark.parametrize("n", [0, 4])
async def test_instances_lose_nothing_if_the_reader_times_out(
    emulator: Emulator, cloud: VCloud, n: int
) -> None:
    emulator.faults.add("GET *", Fault.delay(0.002), times=None)
    found = cloud.instances().prefetch(n) if n else cloud.instances()
    ids: list[str] = []
    over = False
    turns = 0
    while not over:
        turns += 1
        reading = asyncio.ensure_future(anext(found, None))
        for _ in range(turns % 50):
            await asyncio.sleep(0)
        if turns % 3:
            reading.cancel()
        await asyncio.wait({reading})
        if not reading.cancelled():
            one = reading.result()
            over = one is None
            ids += [one.id] if one is not None else []
    await found.aclose()
    assert found.errors == {}
    assert [id for id in ids if id in IDS] == IDS

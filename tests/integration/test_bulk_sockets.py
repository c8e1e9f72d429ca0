"""Bulk runs over real requests: attempts, unknown items, and how runs end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from vcloud import (
    ConfigurationError,
    DecodeError,
    Journal,
    OutcomeStatus,
    Settled,
    VCloud,
    VCloudError,
)
from vcloud.emulator import Emulator, Fault
from vcloud.providers.computers import Machine

CREATE = "POST */machines"


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(machines=25, speed=300) as emulator:
        yield emulator


@pytest.fixture
async def cloud(emulator: Emulator) -> AsyncIterator[VCloud]:
    async with VCloud(**emulator.endpoints()) as cloud:
        yield cloud


def sent(emulator: Emulator, ending: str) -> int:
    return sum(call.path.endswith(ending) for call in emulator.calls)


async def test_a_run_acts_on_all_items_of_a_pager(emulator: Emulator, cloud: VCloud) -> None:
    async def rename(machine: Machine) -> str:
        return (await machine.refresh()).name or ""

    run = cloud.bulk(cloud.computers.machines.list(per_page=10), rename, concurrency=4)
    async with run:
        results = {outcome.item.id: outcome.result async for outcome in run}
    assert results == {id: machine.name for id, machine in emulator.computers.machines.items()}
    assert run.totals.attempts == 25


async def test_a_broken_machine_ends_no_other(emulator: Emulator, cloud: VCloud) -> None:
    broken: list[str] = []

    def spoil(answer: Any) -> Any:
        broken.append(answer["machines"][0]["id"])
        answer["machines"][0]["attributes"] = "none"
        return answer

    acted: list[str] = []

    async def look(machine: Machine) -> None:
        acted.append((await machine.refresh()).id)

    emulator.faults.add("GET */machines", Fault.edit(spoil), times=1)
    run = cloud.bulk(cloud.computers.machines.list(per_page=10), look, concurrency=4)
    with pytest.raises(DecodeError, match=r"machines\[0\]"):
        await run.run()
    assert set(acted) == {id for id in emulator.computers.machines if id not in broken}
    assert (run.totals.done, run.totals.attempts, run.totals.stopped) == (24, 24, "error")


async def test_attempts_are_the_requests_that_the_service_received(
    emulator: Emulator, cloud: VCloud
) -> None:
    emulator.faults.add(
        "GET */machines/100", Fault.reply(503, headers={"Retry-After": "0"}), times=2
    )
    async with cloud.bulk(["100", "101"], cloud.computers.machines.get) as run:
        attempts = {outcome.key or outcome.item: outcome.attempts async for outcome in run}
    assert attempts == {"100": 3, "101": 1}
    assert sent(emulator, "/machines/100") == 3


async def test_a_lost_answer_is_unknown_and_settled_in_the_next_run(
    emulator: Emulator, cloud: VCloud, tmp_path: Path
) -> None:
    before = set(emulator.computers.machines)
    names = ["one", "two", "three"]
    journal = Journal(tmp_path / "buy.journal", job="buy")

    async def buy(_: str) -> str:
        (machine,) = await cloud.computers.machines.create(1, region="dublin")
        return machine.id

    async def find(_: str) -> Settled[str]:
        there = {machine.id async for machine in cloud.computers.machines.list()}
        (orphan,) = there - before - {entry.recorded for entry in await journal.entries()}
        return Settled.done(orphan)

    emulator.faults.add(CREATE, Fault.reset_after())
    totals = await cloud.bulk(names, buy, journal=journal, record=str, concurrency=1).run()
    assert (totals.done, totals.unknown) == (2, 1)
    totals = await cloud.bulk(names, buy, journal=journal, record=str).run()
    assert (totals.done, totals.unknown) == (2, 1)
    run = cloud.bulk(names, buy, journal=journal, record=str, settle=find)
    async with run:
        bought = {outcome.recorded async for outcome in run}
    assert run.totals.done == 3
    assert bought == set(emulator.computers.machines) - before
    assert (
        sent(emulator, "/machines") - len([call for call in emulator.calls if call.method == "GET"])
        == 3
    )


async def test_a_cancelled_run_waits_for_no_answer_and_reports_unknown_items(
    emulator: Emulator, tmp_path: Path
) -> None:
    rule = emulator.faults.add("POST */start", Fault.delay(3600), times=None)
    begun = asyncio.Semaphore(0)

    async def start(id: str) -> None:
        begun.release()
        await cloud.computers.machines.ref(id).start()

    async def consume() -> None:
        async with run:
            async for _ in run:
                raise AssertionError

    # The client sends two at once. The other two started items wait, and have sent nothing.
    async with VCloud(computers=evolve(emulator.endpoints()["computers"], concurrency=2)) as cloud:
        run = cloud.bulk(
            map(str, range(100, 125)), start, concurrency=4, journal=tmp_path / "start.journal"
        )
        task = asyncio.create_task(consume())
        for _ in range(4):
            await begun.acquire()
        while rule.hits < 2:  # noqa: ASYNC110 - the emulator has no event for it
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (run.totals.done, run.totals.unknown, run.totals.undone) == (0, 2, 2)
    async with Journal(tmp_path / "start.journal") as journal:
        assert [entry.status for entry in await journal.entries()] == [OutcomeStatus.UNKNOWN] * 2


async def test_a_closed_client_ends_the_run(emulator: Emulator) -> None:
    cloud = VCloud(**emulator.endpoints())
    with pytest.raises(ConfigurationError):
        await cloud.bulk(map(str, range(1000)), cloud.computers.machines.get).run()


async def test_a_create_of_another_task_with_a_lost_answer_is_not_repeated(
    emulator: Emulator, cloud: VCloud, tmp_path: Path
) -> None:
    emulator.faults.add(CREATE, Fault.reset_after(), times=1)
    orders: asyncio.Queue[asyncio.Future[object]] = asyncio.Queue()

    async def send() -> None:
        while True:
            order = await orders.get()
            try:
                order.set_result(await cloud.computers.machines.create(1))
            except VCloudError as error:
                order.set_exception(error)

    async def buy(_: str) -> object:
        order: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        await orders.put(order)
        return await order

    sender = asyncio.create_task(send())
    for _ in range(2):
        async with cloud.bulk(["a"], buy, journal=tmp_path / "journal") as run:
            assert [outcome.status async for outcome in run] == [OutcomeStatus.UNKNOWN]
    sender.cancel()
    assert sent(emulator, "/machines") == 1


async def test_a_failed_login_leaves_no_item_unknown(emulator: Emulator, cloud: VCloud) -> None:
    emulator.faults.add("POST */auth/login", Fault.reset_after(), times=None)

    async def create(user: str) -> object:
        return await cloud.streamspace.sessions.create(user, "firefox-browser")

    async with cloud.bulk(["a"], create) as run:
        (outcome,) = [outcome async for outcome in run]
    assert (outcome.status, outcome.attempts) == (OutcomeStatus.FAILED, 0)
    assert isinstance(outcome.error, VCloudError)


async def test_leaving_a_run_over_all_providers_cancels_requests_in_flight(
    emulator: Emulator, cloud: VCloud
) -> None:
    emulator.faults.add("*/sessions*", Fault.delay(3600), times=None)

    async def nothing(_: object) -> None: ...

    def free() -> int:
        return cloud.streamspace.stats().free

    before = free()
    async with cloud.bulk(cloud.instances().prefetch(3), nothing, concurrency=1) as run:
        await anext(run)
        assert free() == before - 1
    assert free() == before


def unlink(journal: Journal) -> None:
    journal.path.unlink()


def unlink_lock(journal: Journal) -> None:
    journal.path.with_name("journal.lock").unlink()


def forbid_writing(journal: Journal) -> None:
    """Make all further transactions fail, as on a full disk."""
    journal.writer.submit(lambda store: store.database.execute("PRAGMA query_only = ON").close())


@pytest.mark.parametrize(
    ("harm", "words", "seen"),
    [
        (unlink, "removed or renamed", 1),
        (unlink_lock, "removed or renamed", 1),
        # The first thing that cannot be written is the outcome of the first item.
        (forbid_writing, "cannot be used", 2),
    ],
)
async def test_waiting_requests_are_not_sent_after_the_journal_is_lost(
    emulator: Emulator, tmp_path: Path, harm: Callable[[Journal], None], words: str, seen: int
) -> None:
    emulator.faults.add("POST */start", Fault.delay(0.3), times=None)
    endpoints = emulator.endpoints()
    endpoints["computers"] = evolve(endpoints["computers"], concurrency=1)
    async with VCloud(**endpoints) as cloud:

        async def start(id: str) -> None:
            if id == "100":
                # While this one is in flight, and all others wait.
                asyncio.get_running_loop().call_later(0.15, harm, journal)
            await cloud.computers.machines.ref(id).start()

        journal = Journal(tmp_path / "journal")
        run = cloud.bulk(map(str, range(100, 125)), start, concurrency=8, journal=journal)
        outcomes = []

        async def main() -> None:
            async with run:
                async for outcome in run:
                    outcomes.append(outcome.key)

        with pytest.raises(ConfigurationError, match=words):
            await main()
    # The intents of seven others had been written.
    assert sent(emulator, "/start") == len(outcomes) <= seen
    assert (run.totals.done, run.totals.stopped) == (len(outcomes), "error")


async def test_a_started_desktop_is_stopped_although_the_journal_is_lost(
    emulator: Emulator, cloud: VCloud, tmp_path: Path
) -> None:
    async def use(_: int) -> str:
        async with cloud.desktops.launch(poll=0.01) as desktop:
            (tmp_path / "journal").unlink()
            return desktop.id

    run = cloud.bulk([1, 2], use, concurrency=1, journal=tmp_path / "journal")
    outcomes = []

    async def main() -> None:
        async with run:
            async for outcome in run:
                outcomes.append(outcome)

    with pytest.raises(ConfigurationError, match="removed or renamed"):
        await main()
    (outcome,) = outcomes
    assert outcome.status is OutcomeStatus.DONE
    assert sent(emulator, f"/{outcome.result}/stop") == 1

"""A nightly job over a filtered list: its journal, its plan, and processes that are killed."""

from __future__ import annotations

import asyncio
import csv
import os
import random
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from vcloud import DecodeError, Journal, OutcomeStatus, Settled, VCloud
from vcloud.emulator import Emulator, Fault
from vcloud.providers.computers import MachineRef

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("nightly_program.py")
MACHINES = 60
START = "POST */start"


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(machines=MACHINES) as emulator:
        yield emulator


@pytest.fixture
async def cloud(emulator: Emulator) -> AsyncIterator[VCloud]:
    async with VCloud(**emulator.endpoints()) as cloud:
        yield cloud


def starts(emulator: Emulator) -> Counter[str]:
    """How often the service has started each machine."""
    paths = [call.path for call in emulator.calls if call.method == "POST" and call.processed]
    return Counter(path.split("/")[-2] for path in paths)


def lists(emulator: Emulator) -> int:
    return sum(call.path.endswith("/machines") for call in emulator.calls)


async def test_a_machine_that_its_start_took_off_the_list_is_settled_by_its_handle(
    emulator: Emulator, cloud: VCloud, tmp_path: Path
) -> None:
    path = tmp_path / "journal"
    emulator.faults.add(START, Fault.reset_after(), times=3)
    off = cloud.computers.machines.list(status="off", per_page=10)
    first = await cloud.bulk(off, lambda one: one.start(), journal=path, concurrency=1).run()
    assert (first.done, first.unknown) == (MACHINES - 3, 3)
    asked: list[MachineRef] = []

    async def settle(machine: MachineRef) -> Settled[None]:
        asked.append(machine)
        now = await machine.refresh()
        return Settled.undone() if now.friendly_status == "off" else Settled.done()

    run = cloud.bulk(off, lambda one: one.start(), journal=path, settle=settle, include_done=True)
    async with run:
        outcomes = [outcome async for outcome in run]
    assert len(asked) == 3
    assert {type(machine) for machine in asked} == {MachineRef}
    assert Counter(outcome.status for outcome in outcomes) == {OutcomeStatus.DONE: MACHINES}
    assert {outcome.key for outcome in outcomes} == set(emulator.computers.machines)
    assert set(starts(emulator).values()) == {1}


@pytest.mark.parametrize("kind", ["list", "plan"])
async def test_a_job_that_is_killed_starts_each_machine_once_and_reports_all(
    emulator: Emulator, tmp_path: Path, kind: str
) -> None:
    chance = random.Random(kind)
    environment = os.environ | emulator.env() | {"PYTHONPATH": str(ROOT)}
    emulator.faults.add(START, Fault.delay(0.02), times=None)
    for target in [*sorted(chance.randint(0, MACHINES - 5) for _ in range(3)), None]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-W", "error", str(PROGRAM), str(tmp_path), kind),
            env=environment,
            stdout=PIPE,
            stderr=STDOUT,
        )
        assert process.stdout is not None
        if target is None:
            break
        while len(starts(emulator)) <= target:  # noqa: ASYNC110 - the emulator has no event for it
            await asyncio.sleep(0.002)
        process.kill()
        await process.communicate()
    said, _ = await process.communicate()
    *lines, totals, count = said.decode().splitlines()
    assert process.returncode == 0, said.decode()
    assert sorted(lines) == sorted(f"{id} done" for id in emulator.computers.machines)
    assert totals.startswith(f"{MACHINES} done, 0 failed, 0 unknown, 0 undone")
    assert starts(emulator) == dict.fromkeys(emulator.computers.machines, 1)
    with (tmp_path / "nightly.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == int(count) == MACHINES
    assert {row["status"] for row in rows} == {"done"}


async def test_a_plan_of_a_list_with_a_broken_page_is_not_made(
    emulator: Emulator, cloud: VCloud, tmp_path: Path
) -> None:
    def spoil(answer: Any) -> Any:
        answer["machines"][0]["attributes"] = "none"
        return answer

    emulator.faults.add("GET */machines", Fault.edit(spoil), times=1)
    plan = Journal(tmp_path / "journal").plan(cloud.computers.machines.list(per_page=10))
    run = cloud.bulk(plan, lambda one: one.start())
    with pytest.raises(DecodeError, match=r"machines\[0\]"):
        await run.run()
    assert starts(emulator) == {}
    before = lists(emulator)
    assert (await cloud.bulk(plan, lambda one: one.start()).run()).done == MACHINES
    assert lists(emulator) == before + MACHINES // 10
    assert (await cloud.bulk(plan, lambda one: one.start()).run()).resumed == MACHINES
    assert lists(emulator) == before + MACHINES // 10

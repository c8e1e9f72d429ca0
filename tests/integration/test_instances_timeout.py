"""`cloud.instances(timeout=...)`: what does not answer in time hides nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.virtual_time import virtual
from vcloud import InvalidArgumentError, RequestTimeout, VCloud
from vcloud.emulator import Emulator, Fault

SLOW = "GET /organization-management/*"


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(speed=300) as emulator:
        yield emulator


@pytest.fixture
async def cloud(emulator: Emulator) -> AsyncIterator[VCloud]:
    async with VCloud(**emulator.endpoints()) as cloud:
        await cloud.computers.machines.create(1, region="dublin", quantity=3)
        await cloud.streamspace.sessions.create("admin", "firefox-browser")
        yield cloud


@pytest.mark.parametrize("fault", [Fault.stall_headers(None), Fault.stall_body(1, None)])
async def test_a_provider_that_does_not_answer_in_time_is_an_error_and_the_others_are_there(
    emulator: Emulator, cloud: VCloud, fault: Fault
) -> None:
    emulator.faults.add(SLOW, fault, times=None)
    found = cloud.instances(timeout=timedelta(seconds=0.3))
    assert [instance.provider async for instance in found] == ["streamspace"]
    (error,) = found.errors.values()
    assert list(found.errors) == ["computers"]
    assert type(error) is RequestTimeout
    assert str(error).startswith("computers did not answer in full within 0.3 s")
    assert not error.outcome_unknown
    assert cloud.computers.stats().in_flight == 0


async def test_what_answers_in_time_is_not_touched_by_it(cloud: VCloud) -> None:
    found = cloud.instances(timeout=30)
    assert len(await found.all()) == 4
    assert found.errors == {}
    assert len(await cloud.instances().all()) == 4


async def test_pages_that_came_in_time_are_shown(emulator: Emulator, cloud: VCloud) -> None:
    await cloud.computers.machines.create(1, region="dublin", quantity=150)
    for found in (cloud.instances(timeout=0.5), cloud.instances(timeout=0.5).prefetch(2)):
        emulator.faults.clear()
        emulator.faults.add(SLOW, Fault.stall_headers(None), times=None, skip=1)
        shown = [instance.provider async for instance in found]
        assert shown.count("computers") == 100
        assert type(found.errors["computers"]) is RequestTimeout


async def test_what_the_caller_does_meanwhile_does_not_count(cloud: VCloud) -> None:
    await cloud.computers.machines.create(1, region="dublin", quantity=150)
    found = cloud.instances(timeout=0.4)
    count = 0
    async for _ in found:
        count += 1
        if count % 50 == 0:
            await asyncio.sleep(0.3)
    assert (count, found.errors) == (154, {})


@virtual
async def test_the_time_is_for_all_pages_together() -> None:
    async with Emulator(speed=300) as emulator, VCloud(**emulator.endpoints()) as cloud:
        await cloud.computers.machines.create(1, region="dublin", quantity=400)
        emulator.faults.add(SLOW, Fault.delay(2.5), times=None)
        found = cloud.instances(timeout=6)
        shown = [instance.provider async for instance in found]
        assert shown.count("computers") == 200
        assert type(found.errors["computers"]) is RequestTimeout


async def test_a_blocked_loop_makes_no_provider_late(emulator: Emulator, cloud: VCloud) -> None:
    await cloud.computers.machines.create(1, region="dublin", quantity=150)
    emulator.faults.add(SLOW, Fault.delay(0.1), times=None)
    found = cloud.instances(timeout=1)
    loop = asyncio.get_running_loop()
    loop.call_later(0.05, time.sleep, 1.5)
    assert len(await found.all()) == 154
    assert found.errors == {}


async def test_a_cancelled_listing_with_a_timeout_leaves_nothing_behind(
    emulator: Emulator, cloud: VCloud
) -> None:
    emulator.faults.add("GET *", Fault.stall_headers(None), times=None)
    listing = asyncio.create_task(cloud.instances(timeout=5).all())
    await asyncio.sleep(0.1)
    listing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listing
    await asyncio.sleep(0.05)
    assert {stats.in_flight + stats.waiting for stats in cloud.stats().values()} == {0}


@pytest.mark.parametrize("timeout", [0, -1, "5", float("inf"), timedelta()])
async def test_a_timeout_that_is_none_is_refused(cloud: VCloud, timeout: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="^timeout must be"):
        cloud.instances(timeout=timeout)

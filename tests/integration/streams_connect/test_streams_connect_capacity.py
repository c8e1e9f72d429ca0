"""``stream.connect`` where there is no capacity for another machine."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.streams_connect.deployment import (
    POLL,
    every_kind,
    refused_for_lack_of_capacity,
    sent,
    set_capacity,
    statuses,
    until,
)
from vcloud import (
    WaitTimeout,
)
from vcloud.emulator import Emulator
from vcloud.providers.streams import (
    ConnectionStatus,
    StreamRef,
)


@every_kind
async def test_connect_waits_for_capacity(emulator: Emulator, stream: StreamRef) -> None:
    set_capacity(emulator, 0)
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    await refused_for_lack_of_capacity(emulator, 3)
    assert not task.done()
    set_capacity(emulator, 1)
    await until(lambda: bool(emulator.streams.machines))
    emulator.clock.advance(15)
    assert (await task).machine.connection_status is ConnectionStatus.ASSIGNED
    assert statuses(emulator) == ["assigned"]


@every_kind
async def test_connect_that_waits_for_capacity_takes_a_machine_that_becomes_available(
    emulator: Emulator, stream: StreamRef
) -> None:
    set_capacity(emulator, 0)
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    await refused_for_lack_of_capacity(emulator)
    machine = emulator.streams.add_machine(1381, status="available")
    assert (await task).machine.id == str(machine.id)
    assert statuses(emulator) == ["assigned"]


async def test_connect_says_after_a_timeout_that_there_was_no_capacity(
    emulator: Emulator, stream: StreamRef
) -> None:
    set_capacity(emulator, 0)
    with pytest.raises(
        WaitTimeout,
        match="no machine in dublin within 0.2 s: none was available, "
        "and there was no capacity for another",
    ) as error:
        await stream.connect("dublin", timeout=0.2, poll=POLL)
    assert error.value.last is None
    assert sent(emulator, "POST", "/start-machine") > 1
    assert (emulator.streams.machines, sent(emulator, "POST", "/stop-machine")) == ({}, 0)


async def test_connect_that_found_capacity_too_late_stops_its_machine(
    emulator: Emulator, stream: StreamRef
) -> None:
    set_capacity(emulator, 0)
    task = asyncio.create_task(stream.connect("dublin", timeout=0.5, poll=POLL))
    await refused_for_lack_of_capacity(emulator)
    set_capacity(emulator, 1)
    with pytest.raises(WaitTimeout, match="still waiting"):
        await task
    assert statuses(emulator) == ["terminated"]


async def test_connect_cancelled_while_it_waits_for_capacity_leaves_nothing(
    emulator: Emulator, stream: StreamRef
) -> None:
    set_capacity(emulator, 0)
    task = asyncio.create_task(stream.connect("dublin", poll=60))
    await refused_for_lack_of_capacity(emulator)
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (emulator.streams.machines, sent(emulator, "POST", "/stop-machine")) == ({}, 0)

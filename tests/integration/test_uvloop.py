"""On uvloop: requests of all providers, WebSockets, a local port, cancellations."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tests.emulator.http_raw import BODY, SIZED, wired
from tests.seeded import SEED
from vcloud import (
    ConnectError,
    Endpoint,
    HMACAuth,
    InvalidRequestError,
    RetryPolicy,
    VagonComputers,
    VCloud,
)
from vcloud.emulator import Emulator, Fault

if sys.platform == "win32":
    pytest.skip("there is no uvloop for Windows", allow_module_level=True)

import uvloop

POLL = 0.005
GREETING = b"RFB 003.008\n"


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Emulator, VCloud]]:
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
    async with (
        Emulator(machines=3, speed=300, seed=SEED) as emulator,
        VCloud(**emulator.endpoints()) as cloud,
    ):
        yield emulator, cloud


async def computers() -> None:
    async with opened() as (_, cloud):
        (machine,) = await cloud.computers.machines.create(1, region="dublin")
        await machine.wait_until("off", poll=POLL)
        await machine.start()
        assert (await machine.wait_until("ready", poll=POLL)).friendly_status == "ready"
        machines = await cloud.computers.machines.list(per_page=1).prefetch(4).all()
        assert machine.id in {found.id for found in machines}


async def streams() -> None:
    async with opened() as (_, cloud):
        application = await cloud.streams.applications.list().first()
        assert application is not None
        stream = await cloud.streams.streams.list(application.id).first()
        assert stream is not None
        machine = await stream.start_machine("dublin")
        assert (await machine.wait_until("available", poll=POLL)).connection_status == "available"


async def desktops() -> None:
    async with opened() as (_, cloud):
        desktop = await (await cloud.desktops.launch()).wait_until("running", poll=POLL)
        await desktop.click(500, 300)
        assert (await desktop.screenshot()).data.startswith(b"\xff\xd8")


async def streamspace() -> None:
    async with opened() as (_, cloud):
        session = await cloud.streamspace.sessions.create("admin", "firefox-browser")
        await session.wait_until("running", poll=POLL)
        async with session.open_vnc() as tunnel:
            assert await tunnel.read() == GREETING
        async with session.forward_vnc() as forward:
            reader, writer = await asyncio.open_connection(forward.host, forward.port)
            assert await reader.readexactly(len(GREETING)) == GREETING
            writer.close()
            await writer.wait_closed()
        async with session.logs(follow=True, tail=1) as lines:
            assert await anext(lines)


async def refusals() -> None:
    async with opened() as (_, cloud):
        with pytest.raises(InvalidRequestError):
            await cloud.computers.machines.create(1)
    nobody = Endpoint(
        "http://127.0.0.1:1/v1", auth=HMACAuth("key", "secret"), retry=RetryPolicy(attempts=1)
    )
    async with VagonComputers(nobody) as unreachable:
        with pytest.raises(ConnectError):
            await unreachable.machines.list().first()


async def a_client_is_usable_after_many_cancelled_calls() -> None:
    async with opened() as (emulator, cloud):
        calls = [asyncio.create_task(cloud.computers.machines.list().all()) for _ in range(300)]
        while not emulator.calls:  # noqa: ASYNC110 - the emulator has no event for it
            await asyncio.sleep(0)
        for task in calls:
            task.cancel()
        await asyncio.wait(calls)
        assert all(task.cancelled() for task in calls)
        assert len(await cloud.computers.machines.list().all()) == 3


async def a_client_that_half_closes_gets_its_answers() -> None:
    async with opened() as (emulator, _), wired(emulator) as wire:
        emulator.faults.add("POST *", Fault.delay(0.05), 2)
        wire.send((SIZED + b"\r\n" + BODY) * 2)
        await asyncio.sleep(0.02)
        wire.send(end=True)
        assert [await wire.status() for _ in range(2)] == [200, 200]
        assert await wire.is_over()


@pytest.mark.parametrize(
    "scenario",
    [
        computers,
        streams,
        desktops,
        streamspace,
        refusals,
        a_client_is_usable_after_many_cancelled_calls,
        a_client_that_half_closes_gets_its_answers,
    ],
    ids=lambda scenario: scenario.__name__,
)
def test_works_on_uvloop(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await scenario()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())

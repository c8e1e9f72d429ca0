"""Simulated time that a test moves: what waits for it goes on, in the emulator and in clients."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from vcloud import VCloud
from vcloud.emulator import Clock, Emulator

HOUR = timedelta(hours=1)


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - the emulator has no event for it
        await asyncio.sleep(0.001)


async def test_what_was_idle_for_an_hour_has_stopped_and_waits_see_it() -> None:
    async with Emulator(machines=1) as emulator, VCloud(**emulator.endpoints()) as cloud:
        machine = cloud.computers.machines.ref("100")
        await machine.start()
        emulator.advance(60)
        assert (await machine.refresh()).friendly_status == "ready"
        off = asyncio.create_task(machine.wait_until("off", timeout=3600, poll=0.01))
        session = await cloud.streamspace.sessions.create(
            "admin", "firefox-browser", idle_timeout=1800
        )
        emulator.advance(60)
        assert (await session.refresh()).state == "running"
        asleep = asyncio.create_task(session.wait_until("hibernated", timeout=3600, poll=0.01))
        polls = len(emulator.calls)
        await until(lambda: len(emulator.calls) > polls + 4)
        assert not off.done()
        assert not asleep.done()
        emulator.advance(HOUR)
        assert (await off).friendly_status == "off"
        assert (await asleep).state == "hibernated"


async def test_a_desktop_ends_by_its_lifetime() -> None:
    async with Emulator() as emulator, VCloud(**emulator.endpoints()) as cloud:
        seeded = emulator.desktops.add_desktop(lifetime=HOUR)
        desktop = cloud.desktops.ref(seeded.id)
        ended = asyncio.create_task(desktop.wait_until("terminated", timeout=60, poll=0.01))
        emulator.advance(timedelta(minutes=59))
        assert (await desktop.refresh()).status == "running"
        emulator.advance(timedelta(minutes=1))
        await ended


def test_a_lifetime_is_seconds_a_timedelta_or_the_services_milliseconds() -> None:
    desktops = Emulator(clock=Clock.stopped(0)).desktops
    assert desktops.add_desktop(lifetime=90).timeout_at == 90
    assert desktops.add_desktop(timeout_ms=1500).timeout_at == 1.5
    assert desktops.add_desktop().timeout_at == 86_400
    with pytest.raises(ValueError, match="lifetime must be 0 or more"):
        desktops.add_desktop(lifetime=-1)


async def test_a_command_that_sleeps_goes_on_as_time_is_moved() -> None:
    async with Emulator() as emulator, VCloud(**emulator.endpoints()) as cloud:
        seeded = emulator.desktops.add_desktop()
        before = emulator.clock.now()
        running = asyncio.create_task(cloud.desktops.ref(seeded.id).bash("sleep 29; echo done"))
        await until(lambda: seeded.events)
        emulator.advance(10)
        await asyncio.sleep(0.05)
        assert not running.done()
        threading.Thread(target=emulator.advance, args=[19]).start()
        async with asyncio.timeout(15):
            assert await running == "done"
        assert emulator.clock.now() - before >= 29


async def test_sleepers_wake_at_their_own_times() -> None:
    clock = Clock.stopped()
    woken: list[int] = []
    moves: list[float] = []

    async def sleep(seconds: int) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    async with asyncio.TaskGroup() as tasks:
        for seconds in (30, 10, 20):
            tasks.create_task(sleep(seconds))
        cancelled = tasks.create_task(sleep(40))
        await asyncio.sleep(0)
        for _ in range(3):
            clock.advance(10)
            await until(lambda: len(woken) > len(moves))
            moves.append(clock.now())
        cancelled.cancel()
    assert woken == [10, 20, 30]
    clock.advance(100)


@pytest.mark.parametrize("by", [-1, float("inf"), float("nan"), timedelta(seconds=-1)])
def test_time_only_moves_forward(by: float | timedelta) -> None:
    with pytest.raises(ValueError, match="time only moves forward"):
        Emulator().advance(by)

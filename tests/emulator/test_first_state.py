"""What an emulator has at the start, by its arguments."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.seeded import SEED
from vcloud import VCloud
from vcloud.emulator import Clock, Emulator
from vcloud.emulator.computers.catalog import AUTO_STOP_THRESHOLDS

START = 1_770_000_000.0
HOUR = 3600


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    clock = Clock.stopped(START)
    async with Emulator(machines=3, sessions=2, desktops=1, clock=clock, seed=SEED) as emulator:
        yield emulator


@pytest.fixture
async def cloud(emulator: Emulator) -> AsyncIterator[VCloud]:
    async with VCloud(**emulator.endpoints()) as cloud:
        yield cloud


@pytest.mark.parametrize("idle", [0, 600, HOUR, 8 * HOUR, timedelta(days=3)])
async def test_machines_begin_ready_and_idle(idle: float | timedelta) -> None:
    clock = Clock.stopped(START)
    seconds = idle.total_seconds() if isinstance(idle, timedelta) else idle
    async with (
        Emulator(machines=3, status="ready", idle=idle, clock=clock) as emulator,
        VCloud(**emulator.endpoints()) as cloud,
    ):
        since = datetime.fromtimestamp(START - seconds, UTC)
        async for machine in cloud.computers.machines.list():
            assert (machine.friendly_status, machine.last_session_start_at) == ("ready", since)
            (session,) = await machine.sessions.list().all()
            assert (session.start_at, session.end_at) == (since, None)
            assert machine.auto_stop_threshold is not None
            # The service would not have let it run otherwise.
            threshold = machine.auto_stop_threshold.total_seconds()
            assert threshold in AUTO_STOP_THRESHOLDS
            assert threshold == 0 or threshold > seconds
        assert [one.idle for one in emulator.computers.machines.values()] == [seconds] * 3


async def test_machines_begin_off_and_last_used_so_long_ago() -> None:
    clock = Clock.stopped(START)
    async with (
        Emulator(machines=4, idle=8 * HOUR, clock=clock) as emulator,
        VCloud(**emulator.endpoints()) as cloud,
    ):
        for machine in await cloud.computers.machines.list().all():
            assert machine.friendly_status == "off"
            (session,) = await machine.sessions.list().all()
            assert session.end_at == datetime.fromtimestamp(START - 8 * HOUR, UTC)


async def test_every_service_can_begin_with_something(emulator: Emulator, cloud: VCloud) -> None:
    running = [one async for one in cloud.streamspace.sessions.list()]
    assert [one.state for one in running] == ["running"] * 2
    (id,) = emulator.desktops.desktops
    assert (await cloud.desktops.ref(id).bash("echo hello")) == "hello"
    assert len(emulator.computers.machines) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"machines": -1}, "machines must not be below 0, not -1"),
        ({"sessions": -1}, "sessions must not be below 0"),
        ({"desktops": 1.5}, "desktops must be a whole number"),
        ({"machines": True}, "machines must be a whole number"),
        ({"machines": 1, "status": "redy"}, r"did you mean ready\?"),
        ({"machines": 1, "idle": -1}, "idle must be 0 or more"),
        ({"status": "ready"}, "status and idle are of the machines: give machines=1"),
        ({"idle": 60}, "status and idle are of the machines"),
    ],
)
def test_what_cannot_be_at_the_start_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Emulator(**arguments)


@pytest.mark.vcloud_emulator(machines=2, status="ready", idle=HOUR)
def test_the_marker_takes_them(vcloud_emulator: Emulator) -> None:
    assert [one.status for one in vcloud_emulator.computers.machines.values()] == ["ready"] * 2

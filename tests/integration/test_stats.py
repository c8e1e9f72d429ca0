"""What a client says of itself: in flight, waiting, free, paused until."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve

from vcloud import RateLimitError, Stats, VagonComputers, WaitReason
from vcloud.emulator import Emulator, Fault

MACHINES = "/organization-management/v1/machines"
IDLE = Stats(in_flight=0, waiting=0, waiting_for={}, free=2, paused_until=None)


async def when_sent(computers: VagonComputers, in_flight: int) -> Stats:
    """What the client says once so many of its requests are in flight."""
    async with asyncio.timeout(5):
        while (stats := computers.stats()).in_flight < in_flight:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)
    return stats


async def test_slots_in_use_and_calls_that_wait_for_them() -> None:
    async with Emulator(machines=1) as emulator:
        emulator.faults.add(f"GET {MACHINES}/*", Fault.delay(0.3), times=5)
        endpoint = evolve(emulator.endpoints()["computers"], concurrency=2)
        async with VagonComputers(endpoint) as computers:
            assert computers.stats() == IDLE
            calls = [asyncio.create_task(computers.machines.get("100")) for _ in range(5)]
            assert await when_sent(computers, 2) == Stats(
                in_flight=2, waiting=3, waiting_for={WaitReason.SLOT: 3}, free=0, paused_until=None
            )
            # Clients with other options share slots and limits, and so these numbers.
            assert computers.with_options(timeout=9).stats() == computers.stats()
            await asyncio.gather(*calls)
            assert computers.stats() == IDLE
        assert computers.stats() == IDLE


async def test_a_cancelled_call_is_counted_no_longer() -> None:
    async with Emulator(machines=1) as emulator:
        emulator.faults.add(f"GET {MACHINES}/*", Fault.delay(5), times=None)
        endpoint = evolve(emulator.endpoints()["computers"], concurrency=2)
        async with VagonComputers(endpoint) as computers:
            calls = [asyncio.create_task(computers.machines.get("100")) for _ in range(4)]
            await when_sent(computers, 2)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            assert computers.stats() == IDLE


async def test_a_pause_that_the_service_asks_for_is_named_until_it_is_over() -> None:
    async with Emulator(machines=1) as emulator:
        emulator.faults.add(f"GET {MACHINES}/*", Fault.too_many(600))
        async with VagonComputers(emulator.endpoints()["computers"]) as computers:
            before = datetime.now(UTC)
            with pytest.raises(RateLimitError):
                await computers.machines.get("100")
            paused = computers.stats().paused_until
            assert paused is not None
            assert timedelta(seconds=599) < paused - before < timedelta(seconds=602)

"""The stop of a desktop: ahead of all other requests, and within its time limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.emulator.faults_raw import until
from tests.integration.open_desktops import block, endpoint, left, stops
from vcloud import (
    CleanupError,
    RateLimit,
    RequestTimeout,
    VCloud,
)
from vcloud.emulator import Emulator, Fault


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(speed=1000) as emulator:
        yield emulator


async def test_an_urgent_stop_goes_ahead_of_all_calls_that_wait_for_a_slot(
    emulator: Emulator,
) -> None:
    async with VCloud(desktops=endpoint(emulator, concurrency=1)) as cloud:
        entered = asyncio.Event()
        task = asyncio.create_task(block(cloud, entered))
        await entered.wait()
        emulator.faults.add("GET *", Fault.delay(0.05), times=None)
        ref = cloud.desktops.ref(next(iter(emulator.desktops.desktops)))
        others = [asyncio.create_task(ref.refresh()) for _ in range(20)]
        await asyncio.sleep(0.02)
        before = len(emulator.calls)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        answered = [call.path for call in list(emulator.calls)[before:]]
        assert len(answered) <= 2, "it goes right after the one that had the slot"
        assert stops(answered[-1])
        await asyncio.gather(*others)


async def test_a_stop_waits_in_the_queue_until_a_cancellation_makes_it_urgent(
    emulator: Emulator,
) -> None:
    async with VCloud(desktops=endpoint(emulator, concurrency=1)) as cloud:
        leave = asyncio.Event()

        async def short() -> None:
            async with cloud.desktops.launch(poll=0.01):
                await leave.wait()

        task = asyncio.create_task(short())
        await until(lambda: any(call.method == "GET" for call in emulator.calls))
        await asyncio.sleep(0.05)
        emulator.faults.add("GET *", Fault.delay(0.05), times=None)
        ref = cloud.desktops.ref(next(iter(emulator.desktops.desktops)))
        others = [asyncio.create_task(ref.refresh()) for _ in range(20)]
        await asyncio.sleep(0.02)
        leave.set()
        before = len(emulator.calls)
        await until(lambda: len(emulator.calls) >= before + 2)
        assert not any(stops(call.path) for call in emulator.calls), "it waits like any other call"
        before = len(emulator.calls)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        answered = [call.path for call in list(emulator.calls)[before:]]
        assert stops(answered[-1])
        assert len(answered) <= 2
        await asyncio.gather(*others)


async def test_a_pause_longer_than_the_time_limit_is_reported_at_once_with_the_id(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    async with VCloud(desktops=endpoint(emulator, cleanup_timeout=50)) as cloud:
        entered = asyncio.Event()
        task = asyncio.create_task(block(cloud, entered))
        await entered.wait()
        emulator.faults.add("GET *", Fault.too_many(retry_after=100), times=1)
        (id,) = emulator.desktops.desktops
        other = asyncio.create_task(cloud.desktops.ref(id).refresh())
        await until(lambda: emulator.calls[-1].status == 429)
        await asyncio.sleep(0.1)  # until the client knows
        task.cancel()
        with pytest.raises(CleanupError, match="longer than is left of cleanup_timeout") as error:
            await asyncio.wait_for(task, 5)
        assert error.value.ids == (id,)
        assert not error.value.outcome_unknown, "the stop was not sent"
        assert isinstance(error.value.__cause__, RequestTimeout)
        assert [record.levelname for record in caplog.records if id in record.getMessage()] == [
            "ERROR"
        ]
        other.cancel()
        await asyncio.wait({other})
    assert not any(stops(call.path) for call in emulator.calls), "the pause is not undercut"


async def test_a_pause_that_the_stop_itself_gets_is_waited_for_if_the_time_limit_allows(
    emulator: Emulator,
) -> None:
    async with VCloud(desktops=endpoint(emulator, cleanup_timeout=50)) as cloud:
        entered = asyncio.Event()
        task = asyncio.create_task(block(cloud, entered))
        await entered.wait()
        emulator.faults.add("POST */stop", Fault.too_many(retry_after=0.2), times=1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert left(emulator) == 0

        entered = asyncio.Event()
        task = asyncio.create_task(block(cloud, entered))
        await entered.wait()
        emulator.faults.add("POST */stop", Fault.too_many(retry_after=100), times=1)
        task.cancel()
        with pytest.raises(CleanupError):
            await asyncio.wait_for(task, 5)


async def test_a_stop_that_was_never_sent_has_no_unknown_outcome(emulator: Emulator) -> None:
    options = {"concurrency": 1, "cleanup_timeout": 0.3}
    async with VCloud(desktops=endpoint(emulator, **options)) as cloud:
        entered = asyncio.Event()
        task = asyncio.create_task(block(cloud, entered))
        await entered.wait()
        emulator.faults.add("GET *", Fault.stall_headers(None), times=1)
        (id,) = emulator.desktops.desktops
        other = asyncio.create_task(cloud.desktops.ref(id).refresh())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(CleanupError, match="could not be sent") as error:
            await task
        assert error.value.ids == (id,)
        assert not error.value.outcome_unknown
        other.cancel()
        await asyncio.wait({other})


@pytest.mark.parametrize("what", ["slot", "rate limit", "pause", "retry"])
async def test_a_launch_that_waits_is_cancelled_at_once_and_never_sent(
    emulator: Emulator, what: str
) -> None:
    options: dict[str, Any] = {"cleanup_timeout": 500}
    if what == "slot":
        options["concurrency"] = 1
        emulator.faults.add("GET *", Fault.delay(0.3), times=None)
    if what == "rate limit":
        options["rate_limits"] = [RateLimit(1, per=100)]
    async with VCloud(desktops=endpoint(emulator, **options)) as cloud:
        first = asyncio.create_task(cloud.desktops.get("7c65c1e5-82e2-4662-b728-b4fa42485e3a"))
        if what == "pause":
            emulator.faults.add("GET *", Fault.too_many(retry_after=50), times=1)
        if what == "retry":
            emulator.faults.add("POST */desktop", Fault.too_many(retry_after=50), times=1)
            await asyncio.wait({first})
        await asyncio.sleep(0.1)
        task = asyncio.create_task(block(cloud, asyncio.Event()))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)
        first.cancel()
        await asyncio.wait({first})
        await asyncio.sleep(0.05)
        sent = [call for call in emulator.calls if call.path.endswith("/desktop")]
        assert [call.processed for call in sent] == ([False] if what == "retry" else [])

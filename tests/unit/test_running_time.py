"""Timeouts that count only the time in which the loop runs, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.virtual_time import after, block, now, virtual
from vcloud._core.cleanup import Cleanup, run_to_completion
from vcloud._core.timing.running_time import (
    SLICE,
    SLICES,
    Countdown,
    timeout_running,
    wait_running,
)


@virtual
async def test_a_countdown_ends_when_the_loop_has_run_for_its_seconds() -> None:
    began, fired = now(), asyncio.Event()
    countdown = Countdown(25)
    assert countdown.left == 25
    countdown.start(fired.set)
    await asyncio.sleep(10)
    assert countdown.left == pytest.approx(15)
    await fired.wait()
    assert now() - began == pytest.approx(25)
    assert countdown.left <= 0


@pytest.mark.parametrize("seconds", [0.5, 25])
@virtual
async def test_a_blocked_loop_costs_a_countdown_one_slice_at_most(
    seconds: float,
) -> None:
    began, fired = now(), asyncio.Event()
    countdown = Countdown(seconds)
    countdown.start(fired.set)
    await asyncio.sleep(seconds / 2)
    block(33)
    one = min(SLICE, seconds / SLICES) + 1e-6
    assert countdown.left >= seconds / 2 - one, "before the loop runs again"
    await asyncio.sleep(0)
    assert countdown.left >= seconds / 2 - one, "and afterwards"
    await fired.wait()
    assert seconds - one <= now() - began - 33 <= seconds


@virtual
async def test_ten_pauses_cost_ten_slices() -> None:
    began, fired = now(), asyncio.Event()
    Countdown(25).start(fired.set)
    for _ in range(10):
        await asyncio.sleep(1)
        block(3600)
    await fired.wait()
    assert 25 - 10 * SLICE <= now() - began - 36_000 <= 25


@virtual
async def test_a_paused_countdown_does_not_count() -> None:
    began, fired = now(), asyncio.Event()
    countdown = Countdown(10)
    countdown.start(fired.set)
    await asyncio.sleep(4.3)
    countdown.pause()
    await asyncio.sleep(100)
    assert countdown.left == pytest.approx(5.7)
    countdown.start(fired.set)
    await fired.wait()
    assert now() - began == pytest.approx(110)


@virtual
async def test_a_countdown_that_has_ended_ends_at_once_when_it_is_started_again() -> None:
    fired: list[float] = []
    countdown = Countdown(1)
    for _ in range(2):
        countdown.start(lambda: fired.append(now()))
        await asyncio.sleep(2)
    assert fired[1] - fired[0] == pytest.approx(1)


@virtual
async def test_data_that_arrived_in_the_last_slice_is_read_before_the_countdown_ends() -> None:
    reader, writer = (asyncio.Event() for _ in range(2))
    order: list[str] = []

    async def read() -> None:
        await reader.wait()
        for _ in range(5):  # the head and the body of an answer take some iterations
            await asyncio.sleep(0)
        order.append("read")
        writer.set()

    task = asyncio.create_task(read())
    Countdown(10).start(lambda: order.append("over"))
    await asyncio.sleep(9.9)
    block(33)
    reader.set()
    await task
    await asyncio.sleep(1)
    assert order == ["read", "over"]


@virtual
async def test_a_running_timeout_expires_later_by_the_pause() -> None:
    began = now()
    after(3, block, 60)
    with pytest.raises(TimeoutError):
        async with timeout_running(10):
            await asyncio.Event().wait()
    assert 69 < now() - began <= 70
    async with timeout_running(10):
        await asyncio.sleep(5)
    with pytest.raises(TimeoutError):
        async with timeout_running(0):
            await asyncio.Event().wait()


@virtual
async def test_tasks_are_waited_for_while_the_loop_runs() -> None:
    task = asyncio.create_task(asyncio.sleep(8))
    after(1, block, 5)
    began = now()
    await wait_running([task], 3)
    assert not task.done()
    assert now() - began == pytest.approx(8, abs=0.2)
    await wait_running([task], 30)
    assert task.done()


async def in_steps(seconds: int) -> int:
    """Take so long, a second at a time, as a request and its retries do."""
    for _ in range(seconds):
        await asyncio.sleep(1)
    return seconds


@virtual
async def test_a_cleanup_does_not_lose_the_time_in_which_its_process_was_stopped() -> None:
    cleanup = Cleanup(25)

    finishing = asyncio.create_task(cleanup.finish(in_steps(20)))
    began = now()
    await asyncio.sleep(0)
    cleanup.make_urgent()
    after(1.5, block, 33)
    assert await finishing == 20
    assert 52 <= now() - began <= 54
    assert not cleanup.expired
    assert cleanup.left >= 4.9


@virtual
async def test_a_cleanup_times_out_when_the_loop_has_run_for_its_time() -> None:
    cleanup = Cleanup(25)
    cleanup.make_urgent()
    began = now()
    after(1, block, 33)
    with pytest.raises(TimeoutError):
        await cleanup.finish(asyncio.Event().wait())
    assert cleanup.expired
    assert 57 < now() - began <= 58
    # Another part of it times out at once.
    with pytest.raises(TimeoutError):
        await cleanup.finish(asyncio.Event().wait())
    assert now() - began <= 58


@virtual
async def test_the_time_between_two_parts_of_a_cleanup_does_not_count() -> None:
    cleanup = Cleanup(10)
    cleanup.make_urgent()
    for _ in range(3):
        await cleanup.finish(asyncio.sleep(3))
        block(60)
        await asyncio.sleep(60)
    assert cleanup.left == pytest.approx(1)


@virtual
async def test_a_task_that_ignores_its_cancellation_is_left_after_a_second_of_the_loop() -> None:
    began, gate = now(), asyncio.Event()

    async def stubborn() -> None:
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                after(0.5, block, 60)

    with pytest.raises(TimeoutError):
        await run_to_completion(stubborn(), within=10)
    assert 70.9 <= now() - began <= 71.1
    gate.set()
    await asyncio.sleep(1)


@virtual
async def test_work_that_is_run_to_completion_is_not_cancelled_after_a_pause() -> None:
    done: list[int] = []

    async def work() -> None:
        done.append(await in_steps(8))

    task = asyncio.create_task(run_to_completion(work(), within=10))
    await asyncio.sleep(1.5)
    task.cancel()
    after(1, block, 33)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [8]

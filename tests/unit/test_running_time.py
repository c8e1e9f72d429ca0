"""Seconds that pass only while the loop runs, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.virtual_time import after, now, stand_still, virtual
from vcloud._core.cleanup import Cleanup, run_to_completion
from vcloud._core.timing.running_time import (
    SLICE,
    SLICES,
    Countdown,
    timeout_running,
    wait_running,
)


@virtual
async def test_a_countdown_rings_when_the_loop_has_run_for_its_seconds() -> None:
    began, rung = now(), asyncio.Event()
    countdown = Countdown(25)
    assert countdown.left == 25
    countdown.start(rung.set)
    await asyncio.sleep(10)
    assert countdown.left == pytest.approx(15)
    await rung.wait()
    assert now() - began == pytest.approx(25)
    assert countdown.left <= 0


@pytest.mark.parametrize("seconds", [0.5, 25])
@virtual
async def test_the_time_in_which_the_loop_could_not_run_costs_a_slice_at_most(
    seconds: float,
) -> None:
    began, rung = now(), asyncio.Event()
    countdown = Countdown(seconds)
    countdown.start(rung.set)
    await asyncio.sleep(seconds / 2)
    stand_still(33)
    one = min(SLICE, seconds / SLICES) + 1e-6
    assert countdown.left >= seconds / 2 - one, "looked at before the loop ran again"
    await asyncio.sleep(0)
    assert countdown.left >= seconds / 2 - one, "and afterwards"
    await rung.wait()
    assert seconds - one <= now() - began - 33 <= seconds


@virtual
async def test_ten_pauses_cost_ten_slices() -> None:
    began, rung = now(), asyncio.Event()
    Countdown(25).start(rung.set)
    for _ in range(10):
        await asyncio.sleep(1)
        stand_still(3600)
    await rung.wait()
    assert 25 - 10 * SLICE <= now() - began - 36_000 <= 25


@virtual
async def test_a_countdown_that_is_paused_does_not_count() -> None:
    began, rung = now(), asyncio.Event()
    countdown = Countdown(10)
    countdown.start(rung.set)
    await asyncio.sleep(4.3)
    countdown.pause()
    await asyncio.sleep(100)
    assert countdown.left == pytest.approx(5.7)
    countdown.start(rung.set)
    await rung.wait()
    assert now() - began == pytest.approx(110)


@virtual
async def test_a_countdown_that_is_over_rings_at_once_when_it_is_started_again() -> None:
    rung: list[float] = []
    countdown = Countdown(1)
    for _ in range(2):
        countdown.start(lambda: rung.append(now()))
        await asyncio.sleep(2)
    assert rung[1] - rung[0] == pytest.approx(1)


@virtual
async def test_what_arrived_in_the_last_slice_is_read_before_the_countdown_rings() -> None:
    reader, writer = (asyncio.Event() for _ in range(2))
    order: list[str] = []

    async def read() -> None:
        await reader.wait()
        for _ in range(5):  # the head and the body of an answer take some turns
            await asyncio.sleep(0)
        order.append("read")
        writer.set()

    task = asyncio.create_task(read())
    Countdown(10).start(lambda: order.append("over"))
    await asyncio.sleep(9.9)
    stand_still(33)
    reader.set()
    await task
    await asyncio.sleep(1)
    assert order == ["read", "over"]


@virtual
async def test_a_running_timeout_ends_what_it_surrounds_late_by_the_pause() -> None:
    began = now()
    after(3, stand_still, 60)
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
    after(1, stand_still, 5)
    began = now()
    await wait_running([task], 3)
    assert not task.done()
    assert now() - began == pytest.approx(8, abs=0.2)
    await wait_running([task], 30)
    assert task.done()


async def in_steps(seconds: int) -> int:
    """Take so long, a second at a time, as a request and its repeats do."""
    for _ in range(seconds):
        await asyncio.sleep(1)
    return seconds


@virtual
async def test_a_cleanup_outlasts_the_time_in_which_its_process_stood_still() -> None:
    cleanup = Cleanup(25)

    finishing = asyncio.create_task(cleanup.finish(in_steps(20)))
    began = now()
    await asyncio.sleep(0)
    cleanup.make_urgent()
    after(1.5, stand_still, 33)
    assert await finishing == 20
    assert 52 <= now() - began <= 54
    assert not cleanup.expired
    assert cleanup.left >= 4.9


@virtual
async def test_a_cleanup_is_given_up_when_the_loop_has_run_for_its_time() -> None:
    cleanup = Cleanup(25)
    cleanup.make_urgent()
    began = now()
    after(1, stand_still, 33)
    with pytest.raises(TimeoutError):
        await cleanup.finish(asyncio.Event().wait())
    assert cleanup.expired
    assert 57 < now() - began <= 58
    # And at once where more is to be finished.
    with pytest.raises(TimeoutError):
        await cleanup.finish(asyncio.Event().wait())
    assert now() - began <= 58


@virtual
async def test_the_time_between_two_parts_of_a_cleanup_does_not_count() -> None:
    cleanup = Cleanup(10)
    cleanup.make_urgent()
    for _ in range(3):
        await cleanup.finish(asyncio.sleep(3))
        stand_still(60)
        await asyncio.sleep(60)
    assert cleanup.left == pytest.approx(1)


@virtual
async def test_what_outlives_its_cancellation_is_left_when_the_loop_ran_for_a_second() -> None:
    began, gate = now(), asyncio.Event()

    async def stubborn() -> None:
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                after(0.5, stand_still, 60)

    with pytest.raises(TimeoutError):
        await run_to_completion(stubborn(), within=10)
    assert 70.9 <= now() - began <= 71.1
    gate.set()
    await asyncio.sleep(1)


@virtual
async def test_work_that_is_run_to_its_end_is_not_given_up_for_a_pause() -> None:
    done: list[int] = []

    async def work() -> None:
        done.append(await in_steps(8))

    task = asyncio.create_task(run_to_completion(work(), within=10))
    await asyncio.sleep(1.5)
    task.cancel()
    after(1, stand_still, 33)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [8]

"""Work that is finished although its caller is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from vcloud._core.cleanup import run_to_completion


async def test_work_is_finished_before_the_cancellation_is_raised() -> None:
    begun, go, done = asyncio.Event(), asyncio.Event(), []

    async def work() -> None:
        begun.set()
        await go.wait()
        done.append(True)

    task = asyncio.create_task(run_to_completion(work(), within=60))
    await begun.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [True]


async def test_work_that_never_ends_is_cancelled() -> None:
    with pytest.raises(TimeoutError):
        await run_to_completion(asyncio.Event().wait(), within=0.01)


async def test_work_that_fails_while_its_caller_is_cancelled_leaves_only_the_cancellation() -> None:
    go = asyncio.Event()

    async def work() -> None:
        await go.wait()
        raise ValueError

    task = asyncio.create_task(run_to_completion(work(), within=60))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task

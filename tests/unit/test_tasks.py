"""Tasks that must not be left running."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from vcloud._core.cleanup import run_to_completion
from vcloud._core.tasks import cancel_and_wait, first_completed


async def stubborn(seen: list[str], turns: int = 5) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        for _ in range(turns):
            await asyncio.sleep(0)
        seen.append("over")


async def test_cancel_and_wait_waits_for_the_tasks_also_when_it_is_cancelled_itself() -> None:
    seen: list[str] = []
    tasks = [asyncio.create_task(stubborn(seen)) for _ in range(3)]
    await asyncio.sleep(0)
    ending = asyncio.create_task(cancel_and_wait(tasks))
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert seen == ["over"] * 3


async def test_cancel_and_wait_retrieves_the_errors_of_the_tasks() -> None:
    async def fails() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("on the way out")

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await cancel_and_wait([task])
    assert task.done()


async def test_first_completed_ends_with_the_first_and_cancels_the_others() -> None:
    seen: list[str] = []
    await first_completed(stubborn(seen), asyncio.sleep(0.001))
    assert seen == ["over"]


async def test_first_completed_raises_what_the_first_raised() -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("first")

    seen: list[str] = []
    with pytest.raises(ValueError, match="first"):
        await first_completed(stubborn(seen), fails())
    assert seen == ["over"]


async def test_first_completed_when_cancelled_leaves_no_task_running() -> None:
    seen: list[str] = []
    racing = asyncio.create_task(first_completed(stubborn(seen), stubborn(seen)))
    await asyncio.sleep(0.001)
    racing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await racing
    assert seen == ["over"] * 2


async def finish(work: Awaitable[None]) -> None:
    async def doing() -> None:
        await work

    await run_to_completion(doing(), within=10)


async def end_it(work: Awaitable[None]) -> None:
    async def doing() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await work

    task = asyncio.create_task(doing())
    await asyncio.sleep(0)
    await cancel_and_wait([task])


@pytest.mark.parametrize("cleanup", [finish, end_it])
async def test_a_cancelled_anyio_scope_does_not_keep_the_loop_busy_until_cleanup_is_over(
    cleanup: Callable[[Awaitable[None]], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = 0
    real = asyncio.wait

    async def counted(*args: Any, **more: Any) -> Any:
        nonlocal waits
        waits += 1
        return await real(*args, **more)

    monkeypatch.setattr(asyncio, "wait", counted)
    gate = asyncio.Event()

    async def opened() -> None:
        await gate.wait()

    with anyio.CancelScope() as scope:
        asyncio.get_running_loop().call_later(0.05, scope.cancel)
        asyncio.get_running_loop().call_later(0.3, gate.set)
        await cleanup(opened())
    assert scope.cancelled_caught
    assert waits < 20, "an anyio scope cancels again in each turn of the loop"

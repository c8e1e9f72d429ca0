"""Tasks that must not be left behind."""

from __future__ import annotations

import asyncio

import pytest

from vcloud._core.cleanup import end, race


async def stubborn(seen: list[str], turns: int = 5) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        for _ in range(turns):
            await asyncio.sleep(0)
        seen.append("over")


async def test_end_waits_for_what_a_task_still_does_even_when_cancelled_itself() -> None:
    seen: list[str] = []
    tasks = [asyncio.create_task(stubborn(seen)) for _ in range(3)]
    await asyncio.sleep(0)
    ending = asyncio.create_task(end(tasks))
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert seen == ["over"] * 3


async def test_end_takes_the_errors_of_what_it_ends() -> None:
    async def fails() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("on the way out")

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await end([task])
    assert task.done()


async def test_a_race_is_over_with_its_first_and_ends_the_others() -> None:
    seen: list[str] = []
    await race(stubborn(seen), asyncio.sleep(0.001))
    assert seen == ["over"]


async def test_a_race_raises_what_its_first_raised() -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("first")

    seen: list[str] = []
    with pytest.raises(ValueError, match="first"):
        await race(stubborn(seen), fails())
    assert seen == ["over"]


async def test_a_cancelled_race_leaves_nobody_running() -> None:
    seen: list[str] = []
    racing = asyncio.create_task(race(stubborn(seen), stubborn(seen)))
    await asyncio.sleep(0.001)
    racing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await racing
    assert seen == ["over"] * 2

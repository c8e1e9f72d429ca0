from __future__ import annotations

import asyncio

import pytest

from vcloud._core.admission import Gate
from vcloud._core.ratelimit import Limits


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def entered(gate: Gate, order: list[int], number: int) -> None:
    await gate.enter("", None)
    order.append(number)


async def test_those_who_wait_are_admitted_in_the_order_they_came() -> None:
    gate = Gate(1, Clock())
    assert gate.enter_now("")
    order: list[int] = []
    tasks = [asyncio.create_task(entered(gate, order, number)) for number in range(5)]
    await asyncio.sleep(0)
    for _ in tasks:
        gate.leave()
        # A newcomer finds no free slot: it was handed over.
        assert not gate.enter_now("")
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]


async def test_ten_thousand_cancelled_waiters_leave_the_gate_whole() -> None:
    gate = Gate(3, Clock())
    assert all(gate.enter_now("") for _ in range(3))
    tasks = [asyncio.create_task(gate.enter("", None)) for _ in range(10_000)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for _ in range(3):
        gate.leave()
    assert all(gate.enter_now("") for _ in range(3))
    assert not gate.enter_now("")


async def test_a_slot_that_arrives_together_with_a_cancellation_is_passed_on() -> None:
    gate = Gate(1, Clock())
    assert gate.enter_now("")
    first = asyncio.create_task(gate.enter("", None))
    second = asyncio.create_task(gate.enter("", None))
    await asyncio.sleep(0)
    gate.leave()  # handed to the first
    first.cancel()  # which gives up before it runs
    await asyncio.wait_for(second, 1)
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_deadline_ends_the_wait_in_line_and_holds_nothing() -> None:
    gate = Gate(1, asyncio.get_running_loop().time)
    assert gate.enter_now("")
    with pytest.raises(TimeoutError):
        await gate.enter("", asyncio.get_running_loop().time() + 0.01)
    gate.leave()
    assert gate.enter_now("")


async def test_a_pause_that_outlasts_the_deadline_fails_at_once() -> None:
    clock = Clock()
    gate = Gate(1, clock)
    gate.budget.pause("", 3600.0, clock.now)
    assert not gate.enter_now("")
    with pytest.raises(TimeoutError):
        await gate.enter("", 60.0)


async def test_the_budget_counts_what_was_admitted() -> None:
    gate = Gate(10, Clock())
    gate.budget.note("", Limits(2, 100, 60.0), 0.0)
    assert [gate.enter_now("") for _ in range(4)] == [True, True, False, False]
    assert gate.enter_now("login")

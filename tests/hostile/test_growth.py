"""The harness itself: proportional cost passes, and faster growth is detected."""

from __future__ import annotations

import asyncio

import pytest

from tests.hostile.growth import check_growth


def numbers(size: int) -> list[int]:
    return list(range(size))


def linear(values: list[int]) -> list[str]:
    return [str(value) for value in values]


def quadratic(values: list[int]) -> int:
    return sum(value in values for value in reversed(values))


def constant(values: list[int]) -> int:
    return sum(values[:100])


def quadratic_memory(values: list[int]) -> int:
    # What is zero is not written, so that it takes no time.
    return len(bytes((len(values) // 16) ** 2)) + sum(map(hash, values))


def test_work_in_proportion_to_its_input_passes() -> None:
    found = check_growth(make=numbers, work=linear)

    assert found.seconds[0] >= 0.01
    assert 5 < found.memory_ratio < 15


def test_bounded_work_is_repeated_until_it_can_be_measured_and_passes() -> None:
    found = check_growth(make=numbers, work=constant, largest=1024)

    assert found.size <= 1024
    assert found.repeats > 1
    assert found.seconds[0] >= 0.01


def test_quadratic_time_is_refused() -> None:
    with pytest.raises(AssertionError, match="time grows too fast"):
        check_growth(make=numbers, work=quadratic)


def test_quadratic_memory_is_refused() -> None:
    with pytest.raises(AssertionError, match="memory grows too fast"):
        check_growth(make=numbers, work=quadratic_memory, largest=2**17)


def test_a_coroutine_function_is_run_to_its_end_in_one_event_loop() -> None:
    loops = set()

    async def wait(values: list[int]) -> None:
        await asyncio.sleep(0)
        loops.add(asyncio.get_running_loop())
        linear(values)

    check_growth(make=numbers, work=wait)

    assert len(loops) == 1

"""Bulk runs of plain async functions, without sockets and journals."""

from __future__ import annotations

import asyncio
import pickle
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any, cast

import pytest

from vcloud import (
    Bulk,
    ConfigurationError,
    ConnectError,
    DecodeError,
    InvalidArgumentError,
    Outcome,
    OutcomeStatus,
    RequestTimeout,
    TransportError,
    VCloudError,
)
from vcloud._core.outcome import ATTEMPT_COUNT, AttemptCount
from vcloud._core.paging.pager import Page, Pager

DONE, FAILED, UNKNOWN, UNDONE = (
    OutcomeStatus.DONE,
    OutcomeStatus.FAILED,
    OutcomeStatus.UNKNOWN,
    OutcomeStatus.UNDONE,
)


def send(requests: int = 1) -> None:
    """Count attempts, as the session does."""
    count = ATTEMPT_COUNT.get()
    assert count is not None
    count.attempts += requests


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def outcomes_of(run: Bulk[int, int]) -> dict[int, Outcome[int, int]]:
    async with run:
        return {outcome.item: outcome async for outcome in run}


async def test_outcomes_come_as_they_finish() -> None:
    gates = {number: asyncio.Event() for number in range(3)}

    async def act(number: int) -> int:
        await gates[number].wait()
        return number

    seen = []
    async with Bulk(range(3), act) as run:
        for number in (2, 0, 1):
            gates[number].set()
            seen.append((await anext(run)).result)
        with pytest.raises(StopAsyncIteration):
            await anext(run)
    assert seen == [2, 0, 1]


async def test_an_outcome_has_the_item_the_result_the_attempts_and_the_duration() -> None:
    async def act(number: int) -> str:
        send(3)
        return f"result {number}"

    async with Bulk([7], act) as run:
        outcome = await anext(run)
    assert (outcome.item, outcome.status, outcome.result, outcome.error, outcome.attempts) == (
        7,
        DONE,
        "result 7",
        None,
        3,
    )
    assert outcome.duration >= timedelta()
    assert run.totals.attempts == 3
    assert pickle.loads(pickle.dumps(outcome)) == outcome


async def test_one_failed_item_does_not_end_the_others() -> None:
    async def act(number: int) -> int:
        if number % 2:
            raise ValueError(f"odd: {number}")
        return number

    run = Bulk(range(10), act)
    outcomes = await outcomes_of(run)
    assert {number for number, outcome in outcomes.items() if outcome.status is FAILED} == {
        1,
        3,
        5,
        7,
        9,
    }
    assert {str(outcome.error) for outcome in outcomes.values() if outcome.error} == {
        f"odd: {n}" for n in (1, 3, 5, 7, 9)
    }
    assert (run.totals.done, run.totals.failed, run.totals.undone, run.totals.stopped) == (
        5,
        5,
        0,
        None,
    )


async def test_run_returns_the_totals_without_iterating() -> None:
    totals = await Bulk(range(100), double).run()
    assert (totals.total, totals.done, totals.unknown) == (100, 100, 0)
    assert str(totals).startswith("100 done, 0 failed, 0 unknown, 0 undone of 100 in ")


async def test_as_many_items_as_concurrency_allows_are_in_progress() -> None:
    running, most = 0, 0

    async def act(_: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    await Bulk(range(200), act, concurrency=7).run()
    assert most == 7


async def test_a_consumer_that_takes_no_outcomes_pauses_the_run() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(10_000):
            taken += 1
            yield number

    async with Bulk(items(), double, concurrency=5) as run:
        await anext(run)
        for _ in range(200):
            await asyncio.sleep(0)
        # Five in progress, five outcomes that wait to be taken, and the one that was taken.
        assert taken <= 11
        assert len(asyncio.all_tasks()) <= 7
        assert len([outcome async for outcome in run]) == 9_999


async def test_an_async_iterable_is_read_as_there_is_room() -> None:
    reading = 0

    async def items() -> AsyncIterator[int]:
        nonlocal reading
        for number in range(20):
            reading += 1
            assert reading == 1, "asked for an item before the one before it came"
            await asyncio.sleep(0)
            reading -= 1
            yield number

    run = Bulk(items(), double, concurrency=4)
    assert set(await outcomes_of(run)) == set(range(20))
    assert run.totals.total is None


async def test_a_failing_source_ends_the_run_after_the_items_in_progress() -> None:
    async def items() -> AsyncIterator[int]:
        yield 1
        yield 2
        raise ConnectError("the next page did not come")

    seen = []
    run = Bulk(items(), double)

    async def consume() -> None:
        async with run:
            async for outcome in run:
                seen.append(outcome.item)

    with pytest.raises(ConnectError, match="next page"):
        await consume()
    assert sorted(seen) == [1, 2]
    assert run.totals.stopped == "error"


class Shelves:
    """Four pages of three numbers; on the broken ones the second number cannot be decoded."""

    def __init__(self, *broken: int) -> None:
        self.broken = broken

    async def fetch(self, number: int) -> Page[int]:
        items = tuple(range(3 * number - 2, 3 * number + 1))
        following = number + 1 if number < 4 else None
        if number not in self.broken:
            return Page(items, number, 12, following, 4)
        error = DecodeError(f"page {number} cannot be read")
        return Page((items[0], items[2]), number, 12, following, 4, error, 1)


@pytest.mark.parametrize("ahead", [0, 3])
async def test_broken_items_end_neither_the_other_items_nor_the_next_pages(ahead: int) -> None:
    pager = Pager(Shelves(1, 3, 4).fetch, key=str)
    run = Bulk(pager.prefetch(ahead) if ahead else pager, double, concurrency=2)
    results: dict[int, int | None] = {}

    async def consume() -> None:
        async with run:
            async for outcome in run:
                results[outcome.item] = outcome.result

    with pytest.raises(DecodeError, match="page 1"):
        await consume()
    assert results == {number: 2 * number for number in (1, 3, 4, 5, 6, 7, 9, 10, 12)}
    totals = run.totals
    assert (totals.total, totals.done, totals.failed, totals.unknown) == (None, 9, 0, 0)
    assert (totals.undone, totals.stopped) == (0, "error")


async def test_run_raises_the_error_of_broken_items_at_the_end() -> None:
    run = Bulk(Pager(Shelves(2).fetch), double)
    with pytest.raises(DecodeError, match="page 2"):
        await run.run()
    assert run.totals.done == 11


async def test_items_taken_from_a_pager_before_the_run_are_not_taken_again() -> None:
    items = aiter(Pager(Shelves(1).fetch))
    with pytest.raises(DecodeError, match="page 1"):
        await anext(items)
    assert await anext(items) == 4
    assert set(await outcomes_of(Bulk(items, double))) == set(range(5, 13))


async def test_the_error_that_ends_a_run_is_raised_instead_of_that_of_broken_items() -> None:
    async def act(number: int) -> int:
        if number == 6:
            raise ConfigurationError("the client is closed")
        return number

    run = Bulk(Pager(Shelves(1).fetch), act, concurrency=1)
    with pytest.raises(ConfigurationError, match="closed"):
        await run.run()
    assert (run.totals.done, run.totals.stopped) == (4, "error")


async def test_broken_items_do_not_hide_that_max_failures_stopped_the_run() -> None:
    async def act(number: int) -> int:
        raise ValueError(number)

    run = Bulk(Pager(Shelves(1).fetch), act, concurrency=1, max_failures=3)
    with pytest.raises(DecodeError, match="page 1"):
        await run.run()
    assert (run.totals.failed, run.totals.stopped) == (3, "max_failures")


async def test_a_pager_that_repeats_itself_ends_the_run_once() -> None:
    async def fetch(number: int) -> Page[int]:
        return Page((1, 2), number, 4, number + 1)

    run = Bulk(Pager(fetch), double)
    with pytest.raises(DecodeError, match="repeats itself"):
        await run.run()
    assert (run.totals.done, run.totals.stopped) == (2, "error")


async def test_after_max_failures_no_item_is_started_and_those_in_progress_finish() -> None:
    begun = []
    gate = asyncio.Event()

    async def act(number: int) -> int:
        begun.append(number)
        if number == 3:
            await gate.wait()
            return number
        if number >= 5:
            raise ValueError
        return number

    run = Bulk(range(100), act, concurrency=2, max_failures=2)
    seen = {}
    async with run:
        async for outcome in run:
            seen[outcome.item] = outcome.status
            if run.totals.failed == 2:
                gate.set()
    assert begun == [0, 1, 2, 3, 4, 5, 6]
    assert seen == {0: DONE, 1: DONE, 2: DONE, 3: DONE, 4: DONE, 5: FAILED, 6: FAILED}
    assert (run.totals.stopped, run.totals.undone) == ("max_failures", 93)


if sys.version_info >= (3, 12):

    @pytest.mark.parametrize("suspends", [False, True])
    async def test_eager_tasks_stop_at_max_failures_too(suspends: bool) -> None:
        async def fail(number: int) -> None:
            if suspends:
                await asyncio.sleep(0)
            raise ValueError(number)

        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        run = Bulk(range(1000), fail, concurrency=5, max_failures=3)
        totals = await run.run()
        # The items in progress at the third failure are finished.
        assert totals.failed == (5 if suspends else 3)
        assert (totals.undone, totals.stopped) == (1000 - totals.failed, "max_failures")


async def test_an_unknown_outcome_counts_as_a_failure_for_max_failures() -> None:
    async def act(_: int) -> None:
        send()
        raise TransportError("lost", outcome_unknown=True)

    run = Bulk(range(10), act, concurrency=1, max_failures=1)
    totals = await run.run()
    assert (totals.unknown, totals.undone, totals.stopped) == (1, 9, "max_failures")


async def test_max_failures_ends_a_run_whose_source_is_waiting() -> None:
    async def items() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    async def act(_: int) -> None:
        raise ValueError

    run = Bulk(items(), act, max_failures=1)
    assert (await run.run()).failed == 1


async def test_at_the_deadline_items_in_progress_are_cancelled_and_reported() -> None:
    async def act(number: int) -> int:
        if number == 0:
            return number
        if number == 1:
            send()
        await asyncio.Event().wait()
        return number

    run = Bulk(range(100), act, concurrency=3, deadline=timedelta(milliseconds=20), counted=True)
    outcomes = await outcomes_of(run)
    assert {number: outcome.status for number, outcome in outcomes.items()} == {
        0: DONE,
        1: UNKNOWN,
        2: UNDONE,
        3: UNDONE,
    }
    assert isinstance(outcomes[1].error, RequestTimeout)
    assert outcomes[1].error.outcome_unknown
    assert (run.totals.stopped, run.totals.undone) == ("deadline", 98)


async def test_the_deadline_also_ends_the_wait_for_a_source() -> None:
    async def items() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    run = Bulk(items(), double, deadline=0.02)
    totals = await run.run()
    assert (totals.done, totals.stopped) == (1, "deadline")


async def stuck(number: int) -> int:
    if number == 0:
        return number
    if number % 2:
        send()
    await asyncio.Event().wait()
    return number


@pytest.mark.parametrize(("counted", "unknown"), [(True, 2), (False, 4)])
async def test_a_cancelled_run_reports_done_undone_and_unknown_items(
    counted: bool, unknown: int
) -> None:
    run = Bulk(range(10), stuck, concurrency=4, counted=counted)
    entered = asyncio.Event()

    async def consume() -> None:
        async with run:
            async for _ in run:
                entered.set()

    task = asyncio.create_task(consume())
    await entered.wait()
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    totals = run.totals
    assert (totals.done, totals.failed, totals.unknown, totals.undone) == (
        1,
        0,
        unknown,
        9 - unknown,
    )
    assert totals.stopped == "interrupted"
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_leaving_the_loop_early_leaves_no_task_running() -> None:
    run = Bulk(range(10), stuck, counted=True)
    async with run:
        async for _ in run:
            break
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert run.totals.stopped == "interrupted"


async def test_an_error_in_the_body_of_the_loop_is_raised() -> None:
    async def consume() -> None:
        async with Bulk(range(10), stuck, counted=True) as run:
            async for _ in run:
                raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await consume()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_unusable_client_ends_the_run_instead_of_failing_every_item() -> None:
    begun = 0

    async def act(_: int) -> None:
        nonlocal begun
        begun += 1
        raise ConfigurationError("the client is closed")

    run = Bulk(range(1000), act, concurrency=3, counted=True)
    with pytest.raises(ConfigurationError, match="closed"):
        await run.run()
    assert begun <= 3
    assert (run.totals.failed, run.totals.undone) == (0, 1000)


async def test_an_action_whose_awaited_task_was_cancelled_has_an_outcome() -> None:
    async def act(_: int) -> None:
        send()
        asyncio.get_running_loop().call_soon(lost.cancel)
        await lost

    lost = asyncio.get_running_loop().create_future()
    async with Bulk([1], act, counted=True) as run:
        assert [outcome.status async for outcome in run] == [UNKNOWN]


async def test_a_base_exception_ends_the_run() -> None:
    class Worse(BaseException):
        pass

    async def act(number: int) -> None:
        if number == 1:
            raise Worse

    run = Bulk(range(3), act)
    with pytest.raises(Worse):
        await run.run()


async def test_each_item_has_a_context_of_its_own() -> None:
    async def act(number: int) -> int:
        await asyncio.gather(child(), child())
        count = ATTEMPT_COUNT.get()
        assert count is not None
        return count.attempts

    async def child() -> None:
        send()

    outcomes = await outcomes_of(Bulk(range(5), act, concurrency=2))
    assert {outcome.result for outcome in outcomes.values()} == {2}
    assert ATTEMPT_COUNT.get() is None


async def test_requests_of_a_nested_run_count_for_the_outer_item() -> None:
    async def act(number: int) -> None:
        await asyncio.sleep(0)
        send()
        if number:
            await asyncio.Event().wait()

    outer = AttemptCount()
    ATTEMPT_COUNT.set(outer)
    async with Bulk([0, 1], act) as run:
        await anext(run)
    assert outer.attempts == 2


async def test_a_run_must_be_opened_and_runs_only_once() -> None:
    run = Bulk(range(3), double)
    with pytest.raises(ConfigurationError, match="async with"):
        await anext(run)
    await run.run()
    with pytest.raises(ConfigurationError, match="once"):
        await run.run()


async def test_no_item_is_started_before_the_run_is_iterated() -> None:
    async def act(_: int) -> None:
        raise AssertionError

    async with Bulk(range(3), act):
        await asyncio.sleep(0)


async def test_two_consumers_share_the_outcomes() -> None:
    async with Bulk(range(50), double, concurrency=3) as run:

        async def consume() -> list[int]:
            return [outcome.item async for outcome in run]

        one, other = await asyncio.gather(consume(), consume())
    assert sorted(one + other) == list(range(50))


@pytest.mark.parametrize(
    "wrong",
    [
        {"concurrency": 0},
        {"concurrency": True},
        {"max_failures": 0},
        {"deadline": 0},
        {"deadline": "soon"},
        {"items": "abc"},
        {"settle": double},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
async def test_invalid_arguments_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError):
        Bulk(**({"items": [], "action": double} | wrong))  # type: ignore[arg-type]


async def test_a_run_without_items_ends_at_once() -> None:
    totals = await Bulk([], double).run()
    assert (totals.total, totals.done, totals.stopped) == (0, 0, None)


async def test_a_source_whose_awaited_task_was_cancelled_is_not_taken_for_exhausted() -> None:
    async def source() -> AsyncIterator[int]:
        yield 1
        raise asyncio.CancelledError

    run = Bulk(source(), double)
    async with run:
        assert (await anext(run)).item == 1
        with pytest.raises(VCloudError, match="cancelled"):
            await anext(run)
    assert run.totals.stopped == "error"


async def test_leaving_early_cancels_the_pages_in_flight() -> None:
    async def fetch(number: int) -> Page[int]:
        if number > 1:
            await asyncio.Event().wait()
        return Page(tuple(range(10)), number, 100, number + 1, 10)

    run = Bulk(Pager(fetch).prefetch(8), double, concurrency=10)
    async with run:
        for _ in range(10):
            await anext(run)
        assert len(asyncio.all_tasks()) > 8
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_item_whose_task_is_cancelled_is_unknown_and_ends_no_other() -> None:
    async def act(number: int) -> int:
        if number % 2:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        return number

    run = Bulk(range(20), act, concurrency=2)
    async with run:
        statuses = {outcome.item: outcome.status async for outcome in run}
    assert statuses == {
        number: OutcomeStatus.UNKNOWN if number % 2 else OutcomeStatus.DONE for number in range(20)
    }
    assert (run.totals.unknown, run.totals.stopped) == (10, None)


async def test_an_action_that_is_not_async_ends_the_run_at_once() -> None:
    acted: list[int] = []
    run: Bulk[int, None] = Bulk([1, 2, 3], acted.append, concurrency=1)  # type: ignore[arg-type]
    with pytest.raises(
        ConfigurationError, match="must be an async function; this one returned NoneType"
    ):
        await run.run()
    assert acted == [1]
    # It may have changed something.
    assert (run.totals.unknown, run.totals.undone) == (1, 2)


@pytest.mark.parametrize(
    "wrong", [{"action": None}, {"key": "id"}, {"journal": 5}, {"record": 5}], ids=str
)
def test_an_argument_of_the_wrong_type_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
        Bulk(**cast("dict[str, Any]", {"items": [1], "action": print} | wrong))

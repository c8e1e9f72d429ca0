"""Items that the journal has, and the list no longer: they are settled, and may be yielded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.killed_runs import ENDPOINT, collect, killed_in_progress, never, status_in, works
from vcloud import Bulk, InvalidArgumentError, OutcomeStatus, Settled, VCloudError
from vcloud.providers.computers import MachineRef, VagonComputers

DONE, FAILED, UNKNOWN, UNDONE = (
    OutcomeStatus.DONE,
    OutcomeStatus.FAILED,
    OutcomeStatus.UNKNOWN,
    OutcomeStatus.UNDONE,
)


async def test_settle_is_asked_about_an_unknown_item_that_left_the_list(tmp_path: Path) -> None:
    async with VagonComputers(ENDPOINT) as computers:
        machines = [computers.machines.ref(id) for id in ("1", "2", "3")]
        path = await killed_in_progress(machines, tmp_path / "journal")
        asked: list[MachineRef] = []

        async def settle(machine: MachineRef) -> Settled[None]:
            asked.append(machine)
            return Settled.done()

        outcomes = await collect(Bulk(machines[:1], never, journal=path, settle=settle))
    assert sorted(asked, key=lambda machine: machine.id) == machines
    assert {key: (one.status, one.listed) for key, one in outcomes.items()} == {
        "1": (DONE, True),
        "2": (DONE, False),
        "3": (DONE, False),
    }
    assert outcomes["3"].item == machines[2]
    assert outcomes["3"].resumed
    assert set((await status_in(path)).values()) == {DONE}


@pytest.mark.parametrize("source", ["list", "iterator", "async"])
async def test_without_settle_an_unknown_item_that_left_the_list_is_yielded_as_unknown(
    tmp_path: Path, source: str
) -> None:
    path = await killed_in_progress(["a", "b", "c"], tmp_path / "journal")

    async def one_by_one() -> AsyncIterator[str]:
        yield "d"

    items: Any = {"list": ["d"], "iterator": iter(["d"]), "async": one_by_one()}[source]
    run = Bulk(items, works, journal=path, concurrency=1)
    outcomes = await collect(run)
    assert {key: one.status for key, one in outcomes.items()} == {
        "a": UNKNOWN,
        "b": UNKNOWN,
        "c": UNKNOWN,
        "d": DONE,
    }
    assert outcomes["a"].item == "a"
    assert (run.totals.unknown, run.totals.done, run.totals.resumed) == (3, 1, 3)
    assert run.totals.total == (4 if source == "list" else None)
    assert (await status_in(path))["a"] is UNKNOWN


async def test_an_item_that_left_the_list_and_was_not_acted_on_is_left_undone(
    tmp_path: Path,
) -> None:
    path = await killed_in_progress(["a", "b"], tmp_path / "journal")

    async def settle(_: str) -> Settled[None]:
        return Settled.undone()

    acted: list[str] = []

    async def act(item: str) -> None:
        acted.append(item)

    run = Bulk(["b"], act, journal=path, settle=settle)
    outcomes = await collect(run)
    assert acted == ["b"]
    assert (outcomes["a"].status, outcomes["a"].listed) == (UNDONE, False)
    assert "the items of this run do not have it" in str(outcomes["a"].error)
    assert (run.totals.done, run.totals.unknown, run.totals.undone) == (1, 0, 1)
    assert await status_in(path) == {"b": DONE}
    # A list that has it again starts it.
    assert (await collect(Bulk(["a"], act, journal=path)))["a"].status is DONE


async def test_totals_without_a_length_count_what_left_the_list(tmp_path: Path) -> None:
    path = await killed_in_progress(["a", "b"], tmp_path / "journal")

    async def settle(item: str) -> Settled[None]:
        return Settled.undone() if item == "a" else Settled.done()

    run = Bulk(iter(()), never, journal=path, settle=settle)
    await collect(run)
    totals = run.totals
    assert (totals.total, totals.done, totals.unknown, totals.undone) == (None, 1, 0, 1)


async def test_earlier_outcomes_are_yielded_only_with_include_done(tmp_path: Path) -> None:
    path = tmp_path / "journal"

    async def act(item: str) -> str:
        if item == "bad":
            raise VCloudError("no")
        return item

    await Bulk(["good", "bad", "still"], act, journal=path, record=str).run()
    assert set(await collect(Bulk(["still"], act, journal=path))) == {"still"}
    run = Bulk(["still"], act, journal=path, include_done=True)
    outcomes = await collect(run)
    assert {key: (one.status, one.listed) for key, one in outcomes.items()} == {
        "still": (DONE, True),
        "good": (DONE, False),
        "bad": (FAILED, False),
    }
    assert (outcomes["good"].recorded, outcomes["good"].item) == ("good", "good")
    assert (run.totals.total, run.totals.done, run.totals.failed) == (3, 2, 1)
    assert run.totals.resumed == 3


async def test_a_report_of_a_run_that_stopped_early_has_no_holes_either(tmp_path: Path) -> None:
    path = await killed_in_progress(["x", "y"], tmp_path / "journal")
    await Bulk(["a"], works, journal=path).run()

    async def fails(_: str) -> None:
        raise VCloudError("no")

    async def settle(_: str) -> Settled[None]:
        raise AssertionError("the run is stopped")

    run = Bulk(
        ["1", "2", "3"],
        fails,
        journal=path,
        max_failures=1,
        concurrency=1,
        include_done=True,
        settle=settle,
    )
    outcomes = await collect(run)
    assert run.totals.stopped == "max_failures"
    assert {"a", "x", "y", "1"} <= set(outcomes)
    assert (outcomes["a"].status, outcomes["x"].status) == (DONE, UNKNOWN)


async def test_two_tasks_that_iterate_a_run_get_each_earlier_outcome_once(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    names = [str(number) for number in range(1200)]
    await Bulk(names, works, journal=path).run()

    async def read() -> list[str | None]:
        return [outcome.key async for outcome in run]

    nothing: list[str] = []
    async with Bulk(nothing, works, journal=path, include_done=True) as run:
        found = await asyncio.gather(read(), read(), read())
    assert sorted(key or "" for keys in found for key in keys) == sorted(names)


@pytest.mark.parametrize("include_done", [False, True])
async def test_leaving_early_yields_nothing_of_earlier_runs(
    tmp_path: Path, include_done: bool
) -> None:
    path = tmp_path / "journal"
    await Bulk(["a", "b"], works, journal=path).run()
    run = Bulk(["a"], works, journal=path, include_done=include_done)
    async with run:
        await anext(run)
    with pytest.raises(StopAsyncIteration):
        await anext(run)


async def test_a_run_that_needs_a_journal_says_so() -> None:
    for options in ({"include_done": True}, {"handle": str}, {"settle": never}):
        with pytest.raises(InvalidArgumentError, match=f"{next(iter(options))} needs a journal"):
            Bulk(["a"], works, **options)
    with pytest.raises(InvalidArgumentError, match="include_done must be"):
        Bulk(["a"], works, journal="j", include_done="yes")  # type: ignore[arg-type]

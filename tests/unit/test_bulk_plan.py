"""Plans: the first run fixes the items of a job, and later ones work them off."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcloud import (
    Bulk,
    DecodeError,
    Endpoint,
    HMACAuth,
    InvalidArgumentError,
    Journal,
    OutcomeStatus,
    RateLimitError,
    Settled,
    VCloud,
    VCloudError,
)
from vcloud.bulk.journal_lists import PAGE
from vcloud.providers.computers import MachineRef, VagonComputers

DONE, FAILED, UNKNOWN, UNDONE = (
    OutcomeStatus.DONE,
    OutcomeStatus.FAILED,
    OutcomeStatus.UNKNOWN,
    OutcomeStatus.UNDONE,
)
ENDPOINT = Endpoint(auth=HMACAuth("key", "secret"))


class Listed:
    """Items that count how often they are listed."""

    def __init__(self, *items: Any, broken: Exception | None = None) -> None:
        self.items = items
        self.broken = broken
        self.times = 0

    async def __aiter__(self) -> AsyncIterator[Any]:
        self.times += 1
        for item in self.items:
            yield item
        if self.broken is not None:
            raise self.broken


async def works(_: object) -> None:
    pass


async def statuses(path: Path) -> dict[str, str]:
    return {row["key"]: row["status"] for row in await Journal(path).rows()}


async def test_the_first_run_fixes_the_items_and_later_ones_do_not_list(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    acted: list[str] = []

    async def act(item: str) -> None:
        acted.append(item)
        if len(acted) <= 2:
            raise VCloudError("not yet")

    first = Listed("c", "a", "b")
    run = Bulk(Journal(path).plan(first), act, concurrency=1, max_failures=2)
    assert run.totals.total is None
    totals = await run.run()
    assert (totals.total, totals.failed, totals.undone) == (3, 2, 1)
    assert acted == ["c", "a"]  # in the order of the list
    assert await statuses(path) == {"a": "failed", "b": "undone", "c": "failed"}
    later = Listed("d")
    totals = await Bulk(Journal(path).plan(later), act).run()
    assert (totals.total, totals.done, totals.stopped) == (3, 3, None)
    assert acted == ["c", "a", "c", "a", "b"]
    assert (first.times, later.times) == (1, 0)


async def test_a_dry_run_writes_the_plan_and_does_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    listed = Listed("a", "b")
    plan = journal.plan(listed)
    assert await plan.write() == 2
    assert [item async for item in plan] == ["a", "b"]
    assert await plan.write() == 2
    assert listed.times == 1
    assert await statuses(journal.path) == {"a": "undone", "b": "undone"}
    totals = await Bulk(plan, works).run()
    assert (totals.done, totals.total) == (2, 2)
    assert listed.times == 1


async def test_a_journal_says_whether_it_has_a_plan(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    assert await journal.planned() is None
    assert not journal.path.exists()
    await Bulk(["a"], works, journal=journal).run()
    assert await journal.planned() is None
    with pytest.raises(ValueError, match="mine"):
        await journal.plan(Listed("a", broken=ValueError("mine"))).write()
    assert await journal.planned() is None
    await journal.plan(["a", "b"]).write()
    async with journal:
        assert await journal.planned() == 2
    assert await Journal(journal.path).planned() == 2


async def test_a_plan_can_be_awaited(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    plan = await journal.plan(["a"])
    assert await statuses(journal.path) == {"a": "undone"}
    assert (await Bulk(plan, works, journal=journal).run()).done == 1


async def test_a_wrong_argument_is_named_at_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    with pytest.raises(InvalidArgumentError, match="items must be a collection.*not 'machine'"):
        journal.plan("machine")
    with pytest.raises(InvalidArgumentError, match="handle must be a function, not 'id'"):
        journal.plan(["a"], handle="id")  # type: ignore[call-overload]
    with pytest.raises(InvalidArgumentError, match="key must be a function, not 'id'"):
        journal.plan(["a"], key="id")  # type: ignore[call-overload]


async def test_a_plan_without_items_is_a_plan(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    assert await journal.plan([]).write() == 0
    assert await journal.plan(["a"]).write() == 0
    assert (await Bulk(journal.plan(["a"]), works).run()).total == 0
    assert await journal.rows() == []


async def test_nothing_is_started_before_all_items_are_written(tmp_path: Path) -> None:
    path = tmp_path / "journal"

    async def act(_: str) -> None:
        raise AssertionError("the plan is not complete")

    for error in (RateLimitError("slow down", status=429), ValueError("mine"), DecodeError("what")):
        listed = Listed(*map(str, range(PAGE + 1)), broken=error)
        run = Bulk(Journal(path).plan(listed), act)
        if isinstance(error, RateLimitError):
            assert (await run.run()).stopped == "rate_limit"
        else:
            with pytest.raises(type(error)):
                await run.run()
        assert await statuses(path) == {}
        with pytest.raises(type(error)):
            await Journal(path).plan(listed).write()
    # What was written of it is not a part of the next one.
    assert await Journal(path).plan(["a"]).write() == 1
    assert await statuses(path) == {"a": "undone"}


async def test_a_plan_yields_handles_the_same_in_the_first_run_and_in_later_ones(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal"
    acted: list[MachineRef] = []

    async def act(machine: MachineRef) -> None:
        acted.append(machine)
        if len(acted) == 1:
            raise VCloudError("not yet")

    async with VCloud(computers=ENDPOINT) as cloud:
        machine = cloud.computers.machines.ref("100")
        await cloud.bulk(Journal(path).plan([machine]), act).run()
        none: list[MachineRef] = []
        await cloud.bulk(Journal(path).plan(none), act).run()
        assert acted == [machine, machine]
        assert acted[1]._session is machine._session  # noqa: SLF001


async def test_without_a_client_a_plan_of_handles_says_what_to_pass(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    async with VagonComputers(ENDPOINT) as computers:
        machines = [computers.machines.ref("100")]
        plan = Journal(path).plan(machines)
        assert [one async for one in plan] == machines
        later = Journal(path).plan(machines)
        with pytest.raises(InvalidArgumentError, match="no client of 'computers'.* pass handle="):
            await Bulk(later, works).run()
        with pytest.raises(InvalidArgumentError, match="pass handle="):
            [one async for one in later]
        totals = await Bulk(later, works, handle=computers.machines.ref).run()
        assert totals.done == 1
        given = Journal(path).plan(machines, handle=computers.machines.ref)
        assert [one async for one in given] == machines


async def test_an_item_that_cannot_be_made_again_is_refused_before_anything_is_done(
    tmp_path: Path,
) -> None:
    class Mine:
        id = "1"

    journal = Journal(tmp_path / "journal")
    with pytest.raises(InvalidArgumentError, match="a Mine cannot be made again.* pass handle="):
        await Bulk(journal.plan([Mine()]), works).run()
    with pytest.raises(InvalidArgumentError, match="a str cannot be made again"):
        await journal.plan(["secret"], key=lambda _: "name").write()
    assert b"secret" not in journal.path.read_bytes()
    assert [one async for one in journal.plan([Mine()], handle=int)] == [1]


async def test_two_items_with_one_key_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="two items of the plan have the key 'a'"):
        await Journal(tmp_path / "journal").plan(["a", "b", "a"]).write()


async def test_a_run_over_a_plan_uses_its_journal_and_its_keys(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    plan = journal.plan(["a"])
    for same in (journal, journal.path, str(journal.path), None):
        assert (await Bulk(plan, works, journal=same).run()).done == 1
    with pytest.raises(InvalidArgumentError, match="but the plan is in .*: omit journal="):
        Bulk(plan, works, journal=tmp_path / "other")
    with pytest.raises(InvalidArgumentError, match=r"pass key= to Journal\.plan"):
        Bulk(plan, works, key=str)


async def test_items_of_the_journal_that_a_plan_does_not_have_are_settled_too(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal"

    async def lost(_: str) -> None:
        raise VCloudError("lost", outcome_unknown=True)

    await Bulk(["before"], lost, journal=path).run()

    async def settle(_: str) -> Settled[None]:
        return Settled.done()

    totals = await Bulk(Journal(path).plan(["a"]), works, settle=settle).run()
    assert (totals.total, totals.done, totals.unknown) == (2, 2, 0)


async def test_a_deadline_that_passes_while_the_plan_is_made_starts_nothing(tmp_path: Path) -> None:
    async def slow() -> AsyncIterator[str]:
        yield "a"
        await asyncio.Event().wait()

    totals = await Bulk(Journal(tmp_path / "journal").plan(slow()), works, deadline=0.05).run()
    assert (totals.stopped, totals.done, totals.total) == ("deadline", 0, None)


# A process that is killed.


class Killed(BaseException):
    pass


class Fleet:
    """Machines, and a process that stops those that run until it is killed at some moment."""

    def __init__(self, machines: int) -> None:
        self.running = [str(number) for number in range(machines)]
        self.stops: Counter[str] = Counter()
        self.moments = 0
        self.journal = Path()
        self.left: Path | None = None

    async def moment(self) -> None:
        await asyncio.sleep(0)
        self.moments -= 1
        if self.moments == 0:
            self.left = self.journal.with_name(f"{self.journal.name}+")
            self.left.mkdir()
            for file in self.journal.parent.glob("journal*"):
                if file.is_file():
                    shutil.copy(file, self.left)
        if self.left is not None:
            # From here on nothing that this process does has an effect.
            raise Killed

    async def list(self) -> AsyncIterator[str]:
        """Those that run, as a filtered list that is read while they are stopped."""
        for machine in list(self.running):
            await self.moment()
            if machine in self.running:
                yield machine

    async def stop(self, machine: str) -> None:
        await self.moment()
        self.stops[machine] += 1
        self.running.remove(machine)
        await self.moment()

    async def settle(self, machine: str) -> Settled[None]:
        await self.moment()
        return Settled.undone() if machine in self.running else Settled.done()

    async def run(self, *, planned: bool) -> Bulk[str, None]:
        items: Any = self.list()
        options: Any = {"concurrency": 3, "settle": self.settle, "include_done": True}
        if planned:
            run = Bulk(Journal(self.journal).plan(items), self.stop, **options)
        else:
            run = Bulk(items, self.stop, journal=self.journal, **options)
        try:
            async with run:
                self.yielded = [outcome async for outcome in run]
        except Killed:
            pass
        return run


@settings(max_examples=40, deadline=None)
@given(kills=st.lists(st.integers(1, 40), max_size=4), planned=st.booleans())
def test_runs_over_a_list_that_shrinks_stop_each_machine_once_and_report_all(
    kills: list[int], planned: bool
) -> None:
    async def lives(folder: Path) -> Bulk[str, None]:
        fleet.journal = folder / "journal"
        for kill in [*kills, 0]:
            fleet.moments, fleet.left = kill, None
            run = await fleet.run(planned=planned)
            if fleet.left is not None:
                fleet.journal = fleet.left / "journal"
        return run

    fleet = Fleet(8)
    with TemporaryDirectory() as folder:
        totals = asyncio.run(lives(Path(folder))).totals
    assert fleet.running == []
    assert set(fleet.stops.values()) == {1}
    assert (totals.done, totals.unknown, totals.failed, totals.undone) == (8, 0, 0, 0)
    assert sorted(outcome.key or "" for outcome in fleet.yielded) == [str(n) for n in range(8)]
    assert {outcome.status for outcome in fleet.yielded} == {DONE}

"""Items that the journal has, and the list no longer: they are settled, and may be yielded."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from vcloud import (
    Bulk,
    Endpoint,
    HMACAuth,
    Instance,
    InstanceState,
    InvalidArgumentError,
    Journal,
    Outcome,
    OutcomeStatus,
    Settled,
    VCloud,
    VCloudError,
)
from vcloud.providers.computers import Machine, MachineRef, TaskRef, VagonComputers

DONE, FAILED, UNKNOWN, UNDONE = (
    OutcomeStatus.DONE,
    OutcomeStatus.FAILED,
    OutcomeStatus.UNKNOWN,
    OutcomeStatus.UNDONE,
)
ENDPOINT = Endpoint(auth=HMACAuth("key", "secret"))


async def never(item: object) -> None:
    raise AssertionError(f"{item} is not to be acted on")


async def works(_: object) -> None:
    pass


async def collect(run: Bulk[Any, Any]) -> dict[str | None, Outcome[Any, Any]]:
    async with run:
        outcomes = [outcome async for outcome in run]
    assert len({outcome.key for outcome in outcomes}) == len(outcomes)
    return {outcome.key: outcome for outcome in outcomes}


async def killed_in_progress(items: Iterable[Any], path: Path, **options: Any) -> Path:
    """A journal as a process left it that was killed while all of these were in progress."""

    async def act(_: object) -> None:
        if len(begun) + 1 == len(everything):
            all_begun.set()
        begun.append(1)
        await asyncio.Event().wait()

    everything, begun, all_begun = list(items), list[int](), asyncio.Event()
    left = path.with_name(f"{path.name}-left")
    async with Bulk(everything, act, journal=path, **options) as run:
        waiting = asyncio.ensure_future(anext(run))
        await all_begun.wait()
        shutil.copy(path, left)
        waiting.cancel()
        await asyncio.wait([waiting])
    return left


async def status_in(path: Path) -> dict[str, OutcomeStatus]:
    async with Journal(path) as journal:
        return {entry.key: entry.status for entry in await journal.entries()}


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


# What becomes of a key.


async def settled_items(path: Path, make: Any, *items: Any, **options: Any) -> dict[Any, Any]:
    """The item that ``settle`` is asked with, by its key."""
    asked: dict[Any, Any] = {}

    async def settle(item: object) -> Settled[None]:
        asked[item if isinstance(item, str | int) else getattr(item, "id", None)] = item
        return Settled.done()

    outcomes = await collect(make(list(items), works, journal=path, settle=settle, **options))
    for outcome in outcomes.values():
        assert outcome.listed or outcome.item in asked.values()
    return asked


async def test_numbers_and_strings_are_their_own_keys(tmp_path: Path) -> None:
    path = await killed_in_progress([7, "7a"], tmp_path / "journal")
    assert await settled_items(path, Bulk) == {7: 7, "7a": "7a"}


async def test_a_facade_makes_handles_where_the_list_is_empty(tmp_path: Path) -> None:
    async with VCloud(computers=ENDPOINT, streams=ENDPOINT) as cloud:
        made: Any = Machine
        lacking = ("friendly_status", "user", "permissions", "task", "latest_image_status")
        machine = made(id="100", name="portal", **dict.fromkeys(lacking))
        task = TaskRef(id="t1", machine_id="100")
        path = await killed_in_progress([machine, task], tmp_path / "journal")
        asked = await settled_items(path, cloud.bulk)
        assert asked == {"100": cloud.computers.machines.ref("100"), "t1": task}
        assert type(asked["100"]) is MachineRef
        assert asked["100"]._session is cloud.computers.machines.ref("1")._session  # noqa: SLF001


async def test_an_instance_becomes_an_instance_of_unknown_state(tmp_path: Path) -> None:
    async with VCloud(computers=ENDPOINT) as cloud:
        machine = cloud.computers.machines.ref("100")
        running = InstanceState.RUNNING
        instance = Instance("computers", "100", "portal", running, "dublin", None, machine)
        path = await killed_in_progress([instance], tmp_path / "journal")
        assert await status_in(path) == {"computers/100": UNKNOWN}
        (made,) = (await settled_items(path, cloud.bulk)).values()
    assert isinstance(made, Instance)
    assert (made.provider, made.id, made.state) == ("computers", "100", InstanceState.UNKNOWN)
    assert made.resource == machine


async def test_items_that_the_user_names_are_made_of_their_ids(tmp_path: Path) -> None:
    async with VCloud(computers=ENDPOINT) as cloud:
        machine = cloud.computers.machines.ref("100")
        path = await killed_in_progress([machine], tmp_path / "journal", key=lambda _: "portal")
        assert await status_in(path) == {"portal": UNKNOWN}
        asked = await settled_items(path, cloud.bulk, key=lambda _: "portal")
        assert asked == {"100": machine}


async def test_without_a_facade_handles_act_through_the_client_of_other_items(
    tmp_path: Path,
) -> None:
    async with VagonComputers(ENDPOINT) as computers:
        fast = computers.with_options(timeout=1)
        machines = [computers.machines.ref(id) for id in ("1", "2")]
        path = await killed_in_progress(machines, tmp_path / "journal")
        asked = await settled_items(path, Bulk, fast.machines.ref("1"))
        assert asked == {"1": machines[0], "2": machines[1]}
        assert asked["2"]._session is fast.machines.ref("1")._session  # noqa: SLF001


async def test_a_key_that_cannot_become_an_item_is_yielded_and_says_what_to_pass(
    tmp_path: Path,
) -> None:
    async with VagonComputers(ENDPOINT) as computers:
        path = await killed_in_progress([computers.machines.ref("1")], tmp_path / "journal")
        outcome = (await collect(Bulk([], never, journal=path, settle=never)))["1"]  # type: ignore[arg-type]
        assert (outcome.status, outcome.item, outcome.listed) == (UNKNOWN, "1", False)
        assert outcome.error is not None
        (note,) = outcome.error.__notes__
        assert "no client of 'computers' is known here: pass handle=" in note
        asked = await settled_items(path, Bulk, handle=computers.machines.ref)
        assert asked == {"1": computers.machines.ref("1")}


async def test_an_object_of_the_user_needs_handle(tmp_path: Path) -> None:
    class Mine:
        def __init__(self, id: str) -> None:
            self.id = id

    path = await killed_in_progress([Mine("1")], tmp_path / "journal")
    outcome = (await collect(Bulk([], never, journal=path)))["1"]
    assert outcome.item == "1"
    (asked,) = (await settled_items(path, Bulk, handle=Mine)).values()
    assert isinstance(asked, Mine)


async def test_a_reference_that_was_tampered_with_makes_nothing(tmp_path: Path) -> None:
    path = await killed_in_progress([str(number) for number in range(8)], tmp_path / "journal")
    references = [
        '["os","Ref",{"id":"1"}]',
        '["computers","MachineRef",{"id":".."}]',
        '["computers","MachineRef",{"id":5}]',
        '["computers","MachineRef",{"id":"1","uid":"2"}]',
        '["computers","Machines",{"id":"1"}]',
        '["computers.machine","MachineRef",{"id":"1"}]',
        '["int"]',
        "[" * 100_000,
    ]
    with sqlite3.connect(path) as database:
        for number, reference in enumerate(references):
            database.execute(
                "UPDATE item SET key = ?, reference = ? WHERE key = ?",
                (f"key{number}", reference, str(number)),
            )
    database.close()
    async with VCloud(computers=ENDPOINT) as cloud:
        run: Bulk[Any, Any] = cloud.bulk([], never, journal=path, settle=never)  # type: ignore[arg-type]
        outcomes = await collect(run)
    assert {outcome.item for outcome in outcomes.values()} == set(outcomes)
    for outcome in outcomes.values():
        assert outcome.error is not None
        assert len(outcome.error.__notes__) == 1


# Journals of earlier versions.

OLD = """
    CREATE TABLE job (name TEXT NOT NULL);
    CREATE TABLE item (key TEXT PRIMARY KEY, status TEXT NOT NULL, attempts INTEGER NOT NULL,
        seconds REAL NOT NULL, error TEXT, recorded TEXT) WITHOUT ROWID;
    PRAGMA application_id = 0x7663626A;
    PRAGMA user_version = 1;
    INSERT INTO job VALUES ('');
"""


def old_journal(path: Path, *keys: str) -> Path:
    """A journal as the version before this one left it, killed while these were in progress."""
    database = sqlite3.connect(path)
    database.executescript(OLD)
    database.executemany(
        "INSERT INTO item VALUES (?, 'unknown', 0, 0, NULL, NULL)", [(key,) for key in keys]
    )
    database.execute("INSERT INTO item VALUES ('done', 'done', 1, 0.5, NULL, NULL)")
    database.commit()
    database.close()
    path.chmod(0o600)
    return path


async def test_in_an_old_journal_keys_are_of_the_kind_of_the_items_of_this_run(
    tmp_path: Path,
) -> None:
    async with VagonComputers(ENDPOINT) as computers:
        machine = computers.machines.ref
        path = old_journal(tmp_path / "machines", "1", "2")
        assert await settled_items(path, Bulk, machine("1")) == {
            "1": machine("1"),
            "2": machine("2"),
        }
        assert (await status_in(path)) == {"1": DONE, "2": DONE, "done": DONE}
    path = old_journal(tmp_path / "numbers", "1", "2")
    assert await settled_items(path, Bulk, 1) == {1: 1, 2: 2}


async def test_in_an_old_journal_the_keys_of_instances_are_understood(tmp_path: Path) -> None:
    path = old_journal(tmp_path / "journal", "computers/100", "streams/5")
    async with VCloud(computers=ENDPOINT) as cloud:
        run: Bulk[Any, Any] = cloud.bulk([], never, journal=path)
        outcomes = await collect(run)
        made = outcomes["computers/100"].item
        assert isinstance(made, Instance)
        assert made.resource == cloud.computers.machines.ref("100")
        assert outcomes["streams/5"].item == "streams/5"


async def test_the_version_before_can_use_a_journal_of_this_one(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    assert await journal.plan(["a", "b"]).write() == 2
    await Bulk(["a"], works, journal=path).run()
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA user_version").fetchone() == (1,)
    database.execute(
        "INSERT OR REPLACE INTO item (key, status, attempts, seconds, error, recorded) "
        "VALUES ('b', 'unknown', 0, 0, NULL, NULL)"
    )
    database.commit()
    database.close()
    assert await status_in(path) == {"a": DONE, "b": UNKNOWN}
    assert await settled_items(path, Bulk, "c") == {"b": "b"}

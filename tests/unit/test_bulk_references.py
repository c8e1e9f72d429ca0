"""What becomes of the keys of a journal: items, made of what it keeps of them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.unit.killed_runs import (
    ENDPOINT,
    collect,
    killed_in_progress,
    never,
    settled_items,
    status_in,
    works,
)
from vcloud import (
    Bulk,
    Instance,
    InstanceState,
    InvalidArgumentError,
    Journal,
    OutcomeStatus,
    VCloud,
)
from vcloud.providers.computers import Machine, MachineRef, TaskRef, VagonComputers

DONE, UNKNOWN = OutcomeStatus.DONE, OutcomeStatus.UNKNOWN


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


async def test_the_uid_of_a_streams_machine_is_not_kept(tmp_path: Path) -> None:
    async with VCloud(streams=ENDPOINT) as cloud:
        machine = cloud.streams.machines.ref("5", uid="opens-the-machine")
        path = await killed_in_progress([machine], tmp_path / "journal")
        assert await settled_items(path, cloud.bulk) == {"5": cloud.streams.machines.ref("5")}
        totals = await cloud.bulk(Journal(path).plan([machine]), works).run()
        assert totals.done == 1
    assert b"opens-the-machine" not in path.read_bytes()


async def test_a_plan_of_instances_without_a_client_names_what_makes_them(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    async with VCloud(computers=ENDPOINT) as cloud:
        plan = await journal.plan([cloud.instance("computers/100")])
        with pytest.raises(InvalidArgumentError, match=r"pass handle=.*, such as cloud\.instance$"):
            assert [one async for one in plan]
        plan = journal.plan([], handle=cloud.instance)
        assert [one async for one in plan] == [cloud.instance("computers/100")]


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

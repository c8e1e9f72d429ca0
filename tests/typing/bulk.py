"""What a type checker knows of bulk runs and journals. mypy and pyright read this only."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, assert_type

from vcloud import Bulk, Journal, Outcome, Settled, VCloud
from vcloud.bulk import Entry, OutcomeStatus, Plan, Totals
from vcloud.providers.computers import Machine, MachineRef


async def stop(machine: Machine) -> None:
    await machine.stop()


async def set_threshold(machine: MachineRef) -> Machine:
    return await machine.update(auto_stop_threshold=60)


async def settle(machine: MachineRef) -> Settled[Machine]:
    found = await machine.refresh()
    return Settled.done(found) if found.auto_stop_threshold else Settled.undone()


async def of_a_facade(cloud: VCloud) -> None:
    async with cloud.bulk(
        cloud.computers.machines.list(), stop, deadline=timedelta(hours=1)
    ) as run:
        assert_type(run, Bulk[Machine, None])
        assert_type(run.totals, Totals)
        async for outcome in run:
            assert_type(outcome, Outcome[Machine, None])
            assert_type(outcome.item, Machine)
            assert_type(outcome.status, OutcomeStatus)
    assert_type(await cloud.bulk([cloud.computers.machines.ref("1")], set_threshold).run(), Totals)
    changed = cloud.bulk(
        [cloud.computers.machines.ref("1")],
        set_threshold,
        concurrency=5,
        max_failures=1,
        journal="run.journal",
        key=lambda machine: machine.id,
        record=lambda machine: machine.name,
        settle=settle,
        retry_failed=False,
        progress="thresholds",
    )
    assert_type(changed, Bulk[MachineRef, Machine])
    async for each in changed:
        assert_type(each, Outcome[MachineRef, Machine])
        assert_type(each.result, Machine | None)


async def count(text: str) -> int:
    return len(text)


async def texts() -> AsyncIterator[str]:
    yield "text"


async def of_anything() -> None:
    assert_type(Bulk(["a"], count), Bulk[str, int])
    assert_type(Bulk(texts(), count, journal=Path("run.journal"), counted=True), Bulk[str, int])


async def journals() -> None:
    async with Journal("run.journal", job="stop all", check_owner=False) as journal:
        assert_type(journal, Journal)
        assert_type(journal.path, Path)
        assert_type(journal.job, str)
        assert_type(journal.check_owner, bool)
        assert_type(await journal.entries(), list[Entry])
        assert_type(await journal.aopen(), Journal)
        assert_type(await journal.aclose(), None)
        assert_type(await journal.rows(), list[dict[str, Any]])
        assert_type(await journal.to_csv("run.csv"), int)
        assert_type(await journal.planned(), int | None)


async def plans(cloud: VCloud) -> None:
    journal = Journal(Path("run.journal"))
    planned = journal.plan(cloud.computers.machines.list())
    assert_type(planned, Plan[Machine])
    assert_type(await planned.write(), int)
    assert_type(await planned, Plan[Machine])
    by_id = journal.plan(
        cloud.computers.machines.list(),
        key=lambda machine: machine.name or machine.id,
        handle=cloud.computers.machines.ref,
    )
    assert_type(by_id, Plan[MachineRef])
    assert_type(cloud.bulk(by_id, set_threshold), Bulk[MachineRef, Machine])
    assert_type([one async for one in by_id], list[MachineRef])


async def with_what_the_journal_alone_has(
    # The annotation makes checkers refuse fields, which handles of the journal do not have.
    cloud: VCloud,
    machines: AsyncIterable[MachineRef],
) -> None:
    run = cloud.bulk(
        machines,
        set_threshold,
        journal="run.journal",
        handle=cloud.computers.machines.ref,
        include_done=True,
        settle=settle,
    )
    assert_type(run, Bulk[MachineRef, Machine])


def outcomes(outcome: Outcome[Machine, int]) -> None:
    assert_type(outcome.item, Machine)
    assert_type(outcome.key, str | None)
    assert_type(outcome.status, OutcomeStatus)
    assert_type(outcome.result, int | None)
    assert_type(outcome.error, Exception | None)
    assert_type(outcome.user_message, str | None)
    assert_type(outcome.attempts, int)
    assert_type(outcome.duration, timedelta)
    assert_type(outcome.recorded, Any)
    assert_type(outcome.resumed, bool)
    assert_type(outcome.listed, bool)


def settled(settled: Settled[int]) -> None:
    assert_type(settled.status, OutcomeStatus)
    assert_type(settled.result, int | None)


def entry_fields(value: Entry) -> None:
    assert_type(value.key, str)
    assert_type(value.status, OutcomeStatus)
    assert_type(value.attempts, int)
    assert_type(value.duration, timedelta)
    assert_type(value.error, str | None)
    assert_type(value.recorded, Any)


def totals_fields(value: Totals) -> None:
    assert_type(value.total, int | None)
    assert_type(value.done, int)
    assert_type(value.failed, int)
    assert_type(value.unknown, int)
    assert_type(value.undone, int)
    assert_type(value.resumed, int)
    assert_type(value.attempts, int)
    assert_type(value.elapsed, timedelta)
    assert_type(value.stopped, str | None)
    assert_type(value.until, datetime | None)
    assert_type(value.ending, str | None)

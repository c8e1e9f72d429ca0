"""The journal: bulk runs of plain async functions that are killed and continued."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vcloud import (
    Bulk,
    ConfigurationError,
    InstanceState,
    InvalidArgumentError,
    Journal,
    Outcome,
    OutcomeStatus,
    RateLimitError,
    Settled,
    TransportError,
)
from vcloud._core.instances import Instance
from vcloud._core.outcome import ATTEMPT_COUNT
from vcloud.bulk import Entry
from vcloud.bulk.references import default_key

DONE, FAILED, UNKNOWN, UNDONE = (
    OutcomeStatus.DONE,
    OutcomeStatus.FAILED,
    OutcomeStatus.UNKNOWN,
    OutcomeStatus.UNDONE,
)


def send() -> None:
    """Count attempts, as the session does."""
    count = ATTEMPT_COUNT.get()
    assert count is not None
    count.attempts += 1


def copy_of(journal: Path, elsewhere: Path) -> Path:
    """The journal as a process leaves it that is killed now."""
    elsewhere.mkdir()
    for file in journal.parent.glob(f"{journal.name}*"):
        shutil.copy(file, elsewhere)
    return elsewhere / journal.name


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


async def entries(path: Path, job: str = "") -> dict[str, Entry]:
    async with Journal(path, job=job) as journal:
        return {entry.key: entry for entry in await journal.entries()}


async def collect(run: Bulk[int, str]) -> dict[int, Outcome[int, str]]:
    async with run:
        return {outcome.item: outcome async for outcome in run}


async def never(_: int) -> str:
    raise AssertionError("it is not to be repeated")


async def test_items_that_are_done_are_not_repeated(tmp_path: Path) -> None:
    async def act(number: int) -> str:
        send()
        return f"made {number}"

    path = tmp_path / "journal"
    await Bulk(range(3), act, journal=path, record=str.upper).run()
    run = Bulk(range(3), never, journal=path)
    outcomes = await collect(run)
    for number, outcome in outcomes.items():
        assert (outcome.status, outcome.resumed, outcome.recorded) == (DONE, True, f"MADE {number}")
        assert (outcome.result, outcome.error, outcome.attempts) == (None, None, 1)
    assert (run.totals.done, run.totals.resumed, run.totals.attempts) == (3, 3, 0)


async def test_results_are_recorded_only_with_record(tmp_path: Path) -> None:
    async def act(_: int) -> str:
        return "https://example.com/a-link-that-opens-the-machine"

    path = tmp_path / "journal"
    await Bulk([1], act, journal=path).run()
    assert (await entries(path))["1"].recorded is None
    assert b"a-link" not in path.read_bytes()


async def test_failed_items_are_tried_again_unless_retry_failed_is_false(tmp_path: Path) -> None:
    async def refuse(_: int) -> str:
        raise RateLimitError("slow down", status=429)

    async def act(number: int) -> str:
        return str(number)

    path = tmp_path / "journal"
    assert (await Bulk(range(2), refuse, journal=path).run()).failed == 2
    outcomes = await collect(Bulk(range(2), never, journal=path, retry_failed=False))
    assert {outcome.status for outcome in outcomes.values()} == {FAILED}
    assert "RateLimitError" in str(outcomes[0].error)
    assert "slow down" in str(outcomes[0].error)
    run = Bulk(range(2), act, journal=path)
    await run.run()
    assert (run.totals.done, run.totals.failed, run.totals.resumed) == (2, 0, 0)


async def test_the_journal_keeps_only_the_class_of_a_foreign_error(tmp_path: Path) -> None:
    async def act(_: int) -> str:
        raise ValueError("the password is hunter2")

    path = tmp_path / "journal"
    await Bulk([1], act, journal=path).run()
    assert (await entries(path))["1"].error == "ValueError"


async def test_items_in_progress_when_the_process_was_killed_are_unknown_and_not_repeated(
    tmp_path: Path,
) -> None:
    under_way = asyncio.Event()

    async def act(number: int) -> str:
        if number == 2:
            under_way.set()
            await asyncio.Event().wait()
        return str(number)

    async with Bulk(range(4), act, journal=tmp_path / "journal", concurrency=1) as run:
        await anext(run)
        await anext(run)
        await under_way.wait()
        left = copy_of(tmp_path / "journal", tmp_path / "restart")

    async def rest(number: int) -> str:
        assert number == 3
        return str(number)

    run = Bulk(range(4), rest, journal=left)
    outcomes = await collect(run)
    assert {number: outcome.status for number, outcome in outcomes.items()} == {
        0: DONE,
        1: DONE,
        2: UNKNOWN,
        3: DONE,
    }
    assert outcomes[2].resumed
    assert isinstance(outcomes[2].error, TransportError)
    assert outcomes[2].error.outcome_unknown
    assert (run.totals.done, run.totals.unknown, run.totals.undone) == (3, 1, 0)


async def test_a_cancelled_run_records_sent_items_as_unknown_and_no_others(
    tmp_path: Path,
) -> None:
    waiting = asyncio.Semaphore(0)

    async def act(number: int) -> str:
        if number in {1, 3}:
            send()
        if number:
            waiting.release()
            await asyncio.Event().wait()
        return str(number)

    path = tmp_path / "journal"
    run = Bulk(range(10), act, journal=path, concurrency=3, counted=True)
    async with run:
        await anext(run)
        for _ in range(3):
            await waiting.acquire()
    assert (run.totals.done, run.totals.unknown, run.totals.undone) == (1, 2, 7)
    written = await entries(path)
    assert {key: entry.status for key, entry in written.items()} == {
        "0": DONE,
        "1": UNKNOWN,
        "3": UNKNOWN,
    }
    assert written["1"].attempts == 1


async def test_cancelling_while_the_intent_is_written_leaves_no_entry(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    async with Bulk(range(3), never, journal=path, counted=True) as run:
        waiting = asyncio.create_task(anext(run))
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) > 2, "it is not under way yet, or already over"
        waiting.cancel()
    assert await entries(path) == {}


async def test_cancelling_settle_leaves_the_item_unknown(tmp_path: Path) -> None:
    async def lose(_: int) -> str:
        raise TransportError("lost", outcome_unknown=True)

    async def look(_: int) -> Settled[str]:
        looking.set()
        return await asyncio.Event().wait()  # type: ignore[return-value]

    path = tmp_path / "journal"
    looking = asyncio.Event()
    await Bulk([1], lose, journal=path).run()
    async with Bulk([1], never, journal=path, settle=look, counted=True) as run:
        waiting = asyncio.create_task(anext(run))
        await looking.wait()
        waiting.cancel()
    assert (await entries(path))["1"].status is UNKNOWN


async def test_an_item_settled_as_undone_and_not_sent_again_has_no_entry(
    tmp_path: Path,
) -> None:
    async def lose(_: int) -> str:
        raise TransportError("lost", outcome_unknown=True)

    async def wait(_: int) -> str:
        begun.set()
        return await asyncio.Event().wait()  # type: ignore[return-value]

    async def look(_: int) -> Settled[str]:
        return Settled.undone()

    path = tmp_path / "journal"
    begun = asyncio.Event()
    await Bulk([1], lose, journal=path).run()
    run = Bulk([1], wait, journal=path, settle=look, counted=True)
    async with run:
        waiting = asyncio.create_task(anext(run))
        await begun.wait()
        waiting.cancel()
    assert (run.totals.unknown, run.totals.undone) == (0, 1)
    assert await entries(path) == {}


@pytest.mark.parametrize(
    ("verdict", "status", "acts"),
    [
        (Settled.done("found"), DONE, 0),
        (Settled.undone(), DONE, 1),
        (Settled.unknown(), UNKNOWN, 0),
        (KeyError("no"), UNKNOWN, 0),
    ],
    ids=["done", "undone", "unknown", "a look that fails"],
)
async def test_settle_decides_the_outcome_of_unknown_items(
    tmp_path: Path, verdict: Settled[str] | Exception, status: OutcomeStatus, acts: int
) -> None:
    acted = 0

    async def lose(_: int) -> str:
        raise TransportError("lost", outcome_unknown=True)

    async def act(_: int) -> str:
        nonlocal acted
        acted += 1
        return "made"

    async def look(_: int) -> Settled[str]:
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    path = tmp_path / "journal"
    await Bulk([1], lose, journal=path).run()
    run = Bulk([1], act, journal=path, settle=look, record=str)
    outcome = (await collect(run))[1]
    assert (outcome.status, acted) == (status, acts)
    assert (run.totals.done, run.totals.unknown) == (int(status is DONE), int(status is UNKNOWN))
    assert outcome.resumed is not bool(acts)
    written = (await entries(path))["1"]
    assert (written.status, written.recorded) == (status, outcome.recorded)
    assert outcome.recorded == {(DONE, 0): "found", (DONE, 1): "made"}.get((status, acts))


async def test_the_totals_begin_with_those_of_the_journal(tmp_path: Path) -> None:
    async def act(number: int) -> str:
        return str(number)

    path = tmp_path / "journal"
    await Bulk(range(6), act, journal=path).run()
    async with Bulk(range(10), act, journal=path) as run:
        assert (run.totals.done, run.totals.undone) == (6, 4)


async def test_a_duplicate_key_ends_the_run_and_changes_no_entry(tmp_path: Path) -> None:
    async def act(number: int) -> str:
        return str(number)

    path = tmp_path / "journal"
    with pytest.raises(InvalidArgumentError, match="'1'"):
        await Bulk([1, 2, 1, 3], act, journal=path, concurrency=1).run()
    assert {key: entry.status for key, entry in (await entries(path)).items()} == {
        "1": DONE,
        "2": DONE,
    }


@pytest.mark.parametrize(
    "record",
    [lambda _: {1, 2}, lambda _: float("nan"), lambda result: result.id],
    ids=["set", "nan", "bug"],
)
async def test_a_result_that_cannot_be_recorded_ends_the_run_but_stays_done(
    tmp_path: Path, record: Callable[[str], object]
) -> None:
    async def act(number: int) -> str:
        return str(number)

    path = tmp_path / "journal"
    with pytest.raises(InvalidArgumentError, match="record"):
        await Bulk([1], act, journal=path, record=record).run()
    assert (await entries(path))["1"].status is DONE


def test_the_default_key_is_the_item_or_its_id() -> None:
    class Thing:
        id = "t-1"

    assert [default_key(item) for item in ("a", 7, Thing())] == ["a", "7", "t-1"]
    instance = Instance("computers", "7", "Computer", InstanceState.RUNNING, None, None, Thing())  # type: ignore[arg-type]
    assert default_key(instance) == "computers/7"
    for nameless in (True, 1.5, object(), None):
        with pytest.raises(InvalidArgumentError, match="key="):
            default_key(nameless)


async def test_a_journal_in_use_is_refused(tmp_path: Path) -> None:
    async with Bulk([1], never, journal=tmp_path / "journal"):
        with pytest.raises(ConfigurationError, match="in use by another run"):
            await Bulk([1], never, journal=tmp_path / "journal").run()
    assert await entries(tmp_path / "journal") == {}


def spoil(path: Path) -> None:
    """Overwrite a page in the middle."""
    content = bytearray(path.read_bytes())
    content[8192:12288] = b"\xa5" * 4096
    path.write_bytes(content)


def disorder(path: Path) -> None:
    """Change a key, so that an item that is done would not be found."""
    path.write_bytes(path.read_bytes().replace(b"190done", b"110done"))


def make_newer(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 2")
    database.close()


def make_foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE mine (x)")
    database.close()


def make_strange(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("UPDATE item SET status = 'perhaps'")
    database.close()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: path.write_bytes(b"no database " * 1000), "not a journal, or it is damaged"),
        (spoil, "damaged"),
        (disorder, "damaged"),
        (make_newer, "later version"),
        (make_foreign, "some other database"),
        (make_strange, "damaged"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be written"),
    ],
    ids=["garbage", "page", "order", "newer", "foreign", "status", "directory"],
)
async def test_a_damaged_or_foreign_file_is_refused(
    tmp_path: Path, harm: Callable[[Path], object], message: str
) -> None:
    async def act(number: int) -> str:
        return str(number) * 50

    path = tmp_path / "journal"
    await Bulk(range(200), act, journal=path, record=str).run()
    harm(path)
    with pytest.raises(ConfigurationError, match=message):
        await Bulk(range(200), never, journal=path).run()


@pytest.mark.parametrize(
    "change",
    [
        "seconds = 1e300",
        "seconds = 9e999",
        "seconds = -1",
        "seconds = 'soon'",
        "attempts = 'many'",
        "attempts = -1",
        "recorded = 'NaN'",
        "recorded = '[-Infinity]'",
        "recorded = '1e999'",
        f"recorded = '{'9' * 5000}'",
        f"recorded = '{'[' * 100_000}'",
    ],
    ids=lambda text: text[:24],
)
async def test_values_that_no_run_writes_are_damage(tmp_path: Path, change: str) -> None:
    async def act(number: int) -> str:
        return str(number)

    path = tmp_path / "journal"
    await Bulk(range(3), act, journal=path, record=str).run()
    with sqlite3.connect(path) as database:
        database.execute(f"UPDATE item SET {change} WHERE key = '1'")
    database.close()
    with pytest.raises(ConfigurationError, match="damaged") as caught:
        await entries(path)
    assert len(str(caught.value)) < 500
    with pytest.raises(ConfigurationError, match="damaged"):
        await Bulk(range(3), never, journal=path).run()


async def test_the_journal_of_another_job_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert await entries(path, "start") == {}
    with pytest.raises(ConfigurationError, match="'start', not of 'stop'"):
        await Bulk([1], never, journal=Journal(path, job="stop")).run()


async def test_only_its_owner_can_read_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    async with Journal(path) as journal:
        await journal.entries()
        modes = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}  # noqa: ASYNC240 - a test
    assert modes == {0o600}


async def test_a_closed_journal_raises_an_error(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    with pytest.raises(ConfigurationError, match="not open"):
        await journal.entries()
    async with journal:
        pass
    await journal.aclose()


async def test_the_action_does_not_run_if_the_intent_cannot_be_written(
    tmp_path: Path,
) -> None:
    journal = Journal(tmp_path / "journal")
    run = Bulk([1], never, journal=journal)
    async with run:
        await journal.writer.submit(
            lambda store: store.database.execute("PRAGMA query_only = ON").close()
        )
        with pytest.raises(ConfigurationError, match="cannot be used"):
            await anext(run)
    assert run.totals.undone == 1


async def test_the_action_does_not_run_after_an_unexpected_write_error(
    tmp_path: Path,
) -> None:
    async def lose(_: int) -> str:
        raise TransportError("lost", outcome_unknown=True)

    async def look(_: int) -> Settled[str]:
        return Settled.undone()

    def breaks(key: str, ticket: int) -> None:
        raise RuntimeError(key, ticket)

    path = tmp_path / "journal"
    await Bulk([1], lose, journal=path).run()
    journal = Journal(path)
    async with Bulk([1], never, journal=journal, settle=look) as run:
        await journal.writer.submit(lambda store: setattr(store, "intend", breaks))
        with pytest.raises(RuntimeError):
            await anext(run)
    assert (await entries(path))["1"].status is UNKNOWN


async def test_settle_whose_awaited_task_was_cancelled_leaves_the_item_unknown(
    tmp_path: Path,
) -> None:
    async def lose(_: int) -> str:
        raise TransportError("lost", outcome_unknown=True)

    async def look(_: int) -> Settled[str]:
        raise asyncio.CancelledError

    path = tmp_path / "journal"
    await Bulk(range(5), lose, journal=path).run()
    outcomes = await asyncio.wait_for(
        collect(Bulk(range(5), never, journal=path, settle=look, concurrency=1)), 5
    )
    assert [outcome.status for outcome in outcomes.values()] == [UNKNOWN] * 5


async def test_a_text_that_cannot_be_encoded_affects_no_other_item(tmp_path: Path) -> None:
    async def act(number: int) -> str:
        if number == 1:
            raise RateLimitError("half of a pair: \ud800", status=429)
        return str(number)

    path = tmp_path / "journal"
    assert (await Bulk(range(3), act, journal=path).run()).done == 2
    assert "half of a pair: \\ud800" in str((await entries(path))["1"].error)
    with pytest.raises(InvalidArgumentError, match="key must return a string"):
        await Bulk([1], act, journal=path, key=lambda _: "\ud800").run()


async def test_of_two_runs_that_open_a_journal_at_once_one_gets_it(tmp_path: Path) -> None:
    async def act(number: int) -> str:
        return str(number)

    journal = Journal(tmp_path / "journal")
    runs = [Bulk(range(3), act, journal=journal) for _ in range(2)]
    ended = await asyncio.gather(*[run.run() for run in runs], return_exceptions=True)
    assert sorted(type(one).__name__ for one in ended) == ["ConfigurationError", "Totals"]
    assert sorted(run.totals.done for run in runs) == [0, 3]


@pytest.mark.parametrize("attempt", range(5))
async def test_of_two_journals_that_open_a_file_at_once_exactly_one_gets_it(
    tmp_path: Path, attempt: int
) -> None:
    refused = asyncio.Event()

    async def act(number: int) -> str:
        await refused.wait()
        return str(number)

    async def run(journal: Journal) -> str:
        try:
            await Bulk(range(3), act, journal=journal).run()
        except ConfigurationError as error:
            refused.set()
            return str(error)
        return "done"

    ended = await asyncio.gather(*[run(Journal(tmp_path / "journal")) for _ in range(2)])
    assert sorted(ended) == ["done", f"the journal {tmp_path / 'journal'} is in use by another run"]


async def test_the_total_of_a_shrinking_list_includes_items_of_earlier_runs(tmp_path: Path) -> None:
    async def act(number: int) -> str:
        return str(number)

    path = tmp_path / "journal"
    await Bulk(range(8), act, journal=path).run()
    async with Bulk(range(6, 14), act, journal=path) as run:
        assert (run.totals.total, run.totals.done, run.totals.undone) == (14, 8, 6)
        assert len([outcome async for outcome in run]) == 8
    assert (run.totals.total, run.totals.done, run.totals.undone) == (14, 14, 0)


async def test_an_item_is_not_started_after_the_deadline(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    async with Bulk([1], never, journal=journal, deadline=0.01) as run:
        # The disk is slow.
        journal.writer.submit(lambda _: time.sleep(0.05))
        outcome = await anext(run)
    assert (outcome.status, run.totals.stopped) == (UNDONE, "deadline")
    assert await entries(path) == {}


async def test_settle_that_returns_something_else_ends_the_run_and_leaves_the_item_unknown(
    tmp_path: Path,
) -> None:
    async def lose(_: int) -> str:
        raise TransportError("lost", outcome_unknown=True)

    async def look(_: int) -> Settled[str]:
        return True  # type: ignore[return-value]

    path = tmp_path / "journal"
    await Bulk([1], lose, journal=path).run()
    with pytest.raises(InvalidArgumentError, match=r"settle must return Settled\.done"):
        await Bulk([1], never, journal=path, settle=look).run()
    assert (await entries(path))["1"].status is UNKNOWN


async def test_a_failed_item_that_is_interrupted_before_its_retry_stays_failed(
    tmp_path: Path,
) -> None:
    async def fail(_: int) -> str:
        raise ValueError

    path = tmp_path / "journal"
    await Bulk([1, 2], fail, journal=path).run()
    before = await entries(path)
    for turns in range(12):
        run = Bulk([1, 2], fail, journal=path, counted=True)
        async with run:
            waiting = asyncio.create_task(anext(run))
            for _ in range(turns):
                await asyncio.sleep(0)
            waiting.cancel()
        assert (run.totals.failed, run.totals.undone) == (2, 0)
        after = await entries(path)
        assert {key: entry.status for key, entry in after.items()} == dict.fromkeys(
            ["1", "2"], FAILED
        )
        assert {key: entry.error for key, entry in after.items()} == {
            key: entry.error for key, entry in before.items()
        }


async def test_a_journal_is_one_file_even_after_its_process_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "journal"

    async def act(number: int) -> str:
        if number == 2:
            shutil.copy(path, tmp_path / "moved")
        return "done"

    await Bulk([1, 2], act, journal=path, concurrency=1).run()
    assert names(tmp_path) == {"journal", "journal.lock", "moved"}
    assert {key: entry.status for key, entry in (await entries(tmp_path / "moved")).items()} == {
        "1": DONE,
        "2": UNKNOWN,
    }


async def test_a_name_that_is_special_to_sqlite_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def act(_: int) -> str:
        return "done"

    await Bulk([1], act, journal=":memory:").run()
    assert (await Bulk([1], never, journal=":memory:").run()).resumed == 1

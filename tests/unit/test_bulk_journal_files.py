"""The lock of a journal, and runs whose journal files are removed: with real processes."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Self

import pytest

from vcloud import Bulk, ConfigurationError, Journal, Outcome, OutcomeStatus

if sys.platform == "win32":
    pytest.skip("forks, signals and POSIX locks", allow_module_level=True)

import fcntl

ROOT = Path(__file__).parents[2]
PRELUDE = """
import asyncio, os, sys, shutil, signal, time
from pathlib import Path
from vcloud import Bulk, ConfigurationError, Journal

async def opens(path):
    try:
        async with Journal(path):
            return "opened"
    except ConfigurationError as error:
        return str(error)
"""


class Script:
    """A Python program in a process of its own, with lines of input and output."""

    def __init__(self, source: str, *arguments: object, prelude: str = PRELUDE) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", prelude + textwrap.dedent(source), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def ask(self, line: object = "") -> str:
        """Send a line, and return the next line of output."""
        assert self.process.stdin is not None
        print(line, file=self.process.stdin, flush=True)
        return self.hear()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def outsider() -> Iterator[Callable[[Path], str]]:
    """Another process, which tries to open a journal and prints the result."""
    with Script("for line in sys.stdin: print(asyncio.run(opens(line.strip())), flush=True)") as it:
        yield it.ask


def refusal(path: Path) -> str:
    return f"the journal {path} is in use by another run"


async def act(number: int) -> str:
    return str(number)


async def written(path: Path) -> dict[str, OutcomeStatus]:
    async with Journal(path) as journal:
        return {entry.key: entry.status for entry in await journal.entries()}


# The lock.


async def test_a_refused_run_does_not_release_the_lock_of_another(
    tmp_path: Path, outsider: Callable[[Path], str]
) -> None:
    path = tmp_path / "journal"
    async with Journal(path):
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="in use by another run"):
                await Journal(path).aopen()
            assert outsider(path) == refusal(path)
    assert outsider(path) == "opened"


def copy_in_this_process(path: Path, copy: Path) -> None:
    shutil.copyfile(path, copy)


def copy_by_cp(path: Path, copy: Path) -> None:
    subprocess.run(["cp", "-a", path, copy], check=True)


def copy_by_tar(path: Path, copy: Path) -> None:
    archive = copy.with_name("backup.tar")
    subprocess.run(["tar", "-C", path.parent, "-cf", archive, path.name], check=True)
    copy.parent.joinpath("out").mkdir()
    subprocess.run(["tar", "-C", copy.parent / "out", "-xf", archive], check=True)
    copy.parent.joinpath("out", path.name).rename(copy)


@pytest.mark.parametrize("back_up", [copy_in_this_process, copy_by_cp, copy_by_tar])
async def test_a_copy_made_during_a_run_affects_neither_lock_nor_journal(
    tmp_path: Path, outsider: Callable[[Path], str], back_up: Callable[[Path, Path], None]
) -> None:
    path, copy = tmp_path / "journal", tmp_path / "backup"

    async def copied(number: int) -> str:
        if number == 2:
            back_up(path, copy)
            assert outsider(path) == refusal(path)
        return str(number)

    totals = await Bulk(range(4), copied, journal=path, concurrency=1).run()
    assert totals.done == 4
    assert set((await written(path)).values()) == {OutcomeStatus.DONE}
    assert (await written(copy))["2"] is OutcomeStatus.UNKNOWN


BACK_UP = """
    import sqlite3, sys
    try:
        sqlite3.connect(sys.argv[1], timeout=0).execute("VACUUM INTO ?", [sys.argv[1] + ".copy"])
    except sqlite3.OperationalError as error:
        print(error)
"""


@pytest.mark.parametrize("own", [True, False], ids=["this process", "another"])
async def test_a_backup_by_sqlite_during_a_run_is_refused_and_changes_nothing(
    tmp_path: Path, outsider: Callable[[Path], str], own: bool
) -> None:
    path = tmp_path / "journal"

    async def copied(number: int) -> str:
        if own:
            with closing(sqlite3.connect(path, timeout=0)) as base:
                with pytest.raises(sqlite3.OperationalError, match="locked"):
                    base.execute("VACUUM INTO ?", [str(tmp_path / "copy")])
        else:
            with Script(BACK_UP, path, prelude="") as program:
                assert program.hear() == "database is locked"
        assert outsider(path) == refusal(path)
        return str(number)

    assert (await Bulk(range(2), copied, journal=path, concurrency=1).run()).done == 2
    assert set((await written(path)).values()) == {OutcomeStatus.DONE}


async def test_opening_waits_for_a_backup_in_progress(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    await Bulk([1], act, journal=path).run()
    reader = """
        import sqlite3, sys, time
        base = sqlite3.connect(sys.argv[1], isolation_level=None)
        base.execute("BEGIN")
        base.execute("SELECT * FROM item").fetchall()
        print("reading", flush=True)
        time.sleep(0.2)
        base.execute("COMMIT")
        sys.stdin.readline()
    """
    with Script(reader, path, prelude="") as program:
        assert program.hear() == "reading"
        assert await written(path) == {"1": OutcomeStatus.DONE}


def test_of_processes_that_open_a_new_journal_at_once_exactly_one_gets_it(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    source = """
        async def main():
            print("ready", flush=True)
            while not Path(sys.argv[1] + ".go").exists():
                pass
            try:
                async with Journal(sys.argv[1]):
                    print("opened", flush=True)
                    sys.stdin.readline()
            except ConfigurationError as error:
                print(error, flush=True)
        asyncio.run(main())
    """
    racers = [Script(source, path) for _ in range(3)]
    try:
        assert [racer.hear() for racer in racers] == ["ready"] * 3
        path.with_name("journal.go").touch()
        assert sorted(racer.hear() for racer in racers) == sorted(["opened", *[refusal(path)] * 2])
    finally:
        for racer in racers:
            racer.__exit__()


async def test_the_lock_file_is_empty_private_and_kept(
    tmp_path: Path, outsider: Callable[[Path], str]
) -> None:
    path = tmp_path / "journal"
    await Bulk([1], act, journal=path).run()
    lock = tmp_path / "journal.lock"
    first = lock.stat()
    assert outsider(path) == "opened"
    await Bulk([1, 2], act, journal=path).run()
    assert os.path.samestat(first, lock.stat())
    assert (first.st_size, stat.S_IMODE(first.st_mode)) == (0, 0o600)
    assert lock.read_bytes() == b""
    assert {file.name for file in tmp_path.iterdir()} == {"journal", "journal.lock"}  # noqa: ASYNC240


async def test_a_journal_in_use_is_refused_under_other_names_and_stays_locked(
    tmp_path: Path, outsider: Callable[[Path], str]
) -> None:
    path, other = tmp_path / "journal", tmp_path / "elsewhere" / "other"
    other.parent.mkdir()
    async with Journal(path):
        os.link(path, other)
        with pytest.raises(ConfigurationError, match="in use by another run"):
            await Journal(other).aopen()
        assert outsider(path) == refusal(path)
        assert "in use by another" in outsider(other)
    assert outsider(other) == "opened"


async def test_a_journal_has_one_lock_file_through_all_links_to_its_folder(
    tmp_path: Path, outsider: Callable[[Path], str]
) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    path, other = folder / "journal", link / "journal"
    async with Journal(other):
        # This drops the lock of SQLite on the file itself.
        shutil.copyfile(path, tmp_path / "copy")
        assert outsider(path) == refusal(path)
        assert outsider(other) == refusal(other)
    assert {file.name for file in tmp_path.iterdir()} == {"folder", "link", "copy"}  # noqa: ASYNC240
    assert {file.name for file in folder.iterdir()} == {"journal", "journal.lock"}


async def test_a_journal_that_was_dropped_unclosed_can_be_opened_again(
    tmp_path: Path, outsider: Callable[[Path], str]
) -> None:
    path = tmp_path / "journal"
    journal = await Journal(path).aopen()
    assert outsider(path) == refusal(path)
    del journal
    # The loop keeps the result of opening it until its next iteration.
    await asyncio.sleep(0)
    gc.collect()
    assert outsider(path) == "opened"
    assert await written(path) == {}


async def test_no_journal_is_opened_without_file_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(_: int, __: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    # As on NFS without a lock manager.
    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(ConfigurationError, match="cannot be locked on this file system: No locks"):
        await Journal(tmp_path / "journal").aopen()
    assert not (tmp_path / "journal").exists()


# Processes that are killed, and forks.

HOLDER = """
    async def main():
        async with Bulk([1, 2], act, journal=sys.argv[1]) as run:
            await anext(run)
            print("holding", flush=True)
            {then}
    async def act(number):
        return await asyncio.sleep(0 if number == 1 else 3600)
    asyncio.run(main())
"""


async def test_a_killed_process_releases_the_lock(
    tmp_path: Path, outsider: Callable[[Path], str]
) -> None:
    path = tmp_path / "journal"
    with Script(HOLDER.format(then="sys.stdin.readline()"), path) as holder:
        assert holder.hear() == "holding"
        assert outsider(path) == refusal(path)
        holder.kill()
        assert outsider(path) == "opened"
    assert await written(path) == {"1": OutcomeStatus.DONE, "2": OutcomeStatus.UNKNOWN}


CHILDREN = {
    "fork": "if os.fork() == 0: os.read(0, 1); os._exit(0)",
    "multiprocessing": (
        "import multiprocessing; stdin = os.dup(0); multiprocessing.get_context('fork')"
        ".Process(target=lambda: os.read(stdin, 1), daemon=True).start()"
    ),
    "subprocess": (
        "import subprocess; subprocess.Popen('cat', close_fds=False, stdout=subprocess.DEVNULL, "
        "preexec_fn=lambda: None)"
    ),
}


@pytest.mark.parametrize("child", CHILDREN.values(), ids=CHILDREN)
def test_a_child_of_a_killed_process_does_not_keep_the_lock(
    tmp_path: Path, outsider: Callable[[Path], str], child: str
) -> None:
    path = tmp_path / "journal"
    # Each child lives until the input of its parent ends, which is after the parent's own end.
    then = f"{child}\n            print('forked', flush=True); time.sleep(60)"
    with Script(HOLDER.format(then=then), path) as holder:
        assert (holder.hear(), holder.hear()) == ("holding", "forked")
        assert outsider(path) == refusal(path)
        holder.kill()
        # On a busy machine the child may not have run yet. It releases the lock itself.
        ends = time.monotonic() + 20
        while (said := outsider(path)) != "opened" and time.monotonic() < ends:
            time.sleep(0.05)
        assert said == "opened"


FORKING = """
    import gc

    async def use(journal):
        try:
            await journal.entries()
        except ConfigurationError as error:
            return str(error)

    loop = asyncio.new_event_loop()
    journal = loop.run_until_complete(Journal(sys.argv[1]).aopen())
    loop.run_until_complete(journal.writer.intend("1", 1))
    done, tell = os.pipe()
    if os.fork() == 0:
        loop = asyncio.new_event_loop()
        print(loop.run_until_complete(use(journal)), flush=True)
        loop.run_until_complete(journal.aclose())
        del journal
        gc.collect()
        print(loop.run_until_complete(opens(sys.argv[1])), flush=True)
        loop.close()
        os.write(tell, b"x")
        if sys.argv[2] == "waits":
            while not Path(sys.argv[1] + ".go").exists():
                time.sleep(0.01)
            print(asyncio.run(opens(sys.argv[1])), flush=True)
        sys.exit(0)
    os.read(done, 1)
    if sys.argv[2] == "ends":
        os.wait()
    # The child shares the epoll of the old loop, and has closed it.
    loop = asyncio.new_event_loop()
    print("parent goes on", flush=True)
    sys.stdin.readline()
    loop.run_until_complete(journal.writer.intend("2", 2))
    loop.run_until_complete(journal.aclose())
    loop.close()
    print("closed", flush=True)
    if sys.argv[2] == "waits":
        os.wait()
"""


def test_a_child_that_ends_releases_neither_lock_nor_rollback_journal(
    tmp_path: Path, outsider: Callable[[Path], str]
) -> None:
    path = tmp_path / "journal"
    with Script(FORKING, path, "ends") as holder:
        assert "was opened by the process from which this one was forked" in holder.hear()
        assert holder.hear() == refusal(path)
        assert holder.hear() == "parent goes on"
        assert outsider(path) == refusal(path)
        # SQLite needs it to roll back a transaction after a crash.
        assert rollback_of(path).exists()
        assert holder.ask() == "closed"
        assert outsider(path) == "opened"


def test_a_child_neither_locks_nor_opens_the_journal_of_its_parent(
    tmp_path: Path, outsider: Callable[[Path], str]
) -> None:
    path = tmp_path / "journal"
    with Script(FORKING, path, "waits") as holder:
        assert "was opened by the process from which this one was forked" in holder.hear()
        assert holder.hear() == refusal(path)
        assert holder.hear() == "parent goes on"
        assert holder.ask() == "closed"
        assert outsider(path) == "opened"
        path.with_name("journal.go").touch()
        # SQLite in the child assumes that it has the locks of the parent.
        assert "was open when this process was forked" in holder.hear()
        assert outsider(path) == "opened"
        assert holder.process.wait(30) == 0


def test_the_lock_ends_with_the_run_even_if_a_native_fork_has_it_open(
    tmp_path: Path, outsider: Callable[[Path], str]
) -> None:
    path = tmp_path / "journal"
    source = """
        import ctypes
        async def main():
            async with Journal(sys.argv[1]):
                # With the GIL: another thread that had it would be gone in the child.
                if ctypes.PyDLL(None).fork() == 0:
                    os.read(0, 1)
                    os._exit(0)
            print("closed", flush=True)
            time.sleep(60)
        asyncio.run(main())
    """
    with Script(source, path) as holder:
        assert holder.hear() == "closed"
        assert outsider(path) == "opened"
        holder.kill()


# Files that are changed or removed during a run.


def replace(file: Path) -> None:
    """Replace it by a copy, as an editor or a restored backup does."""
    shutil.copyfile(file, file.with_name("copy"))
    file.with_name("copy").replace(file)


def lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def rollback_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-journal")


CHANGE = """
    import sqlite3, sys
    with sqlite3.connect(sys.argv[1]) as base:
        base.execute("DELETE FROM item")
    print("changed", flush=True)
"""


def change(path: Path) -> None:
    """Write it from a program that uses only SQLite's lock, which a copy made here has dropped."""
    shutil.copyfile(path, path.with_name("copy"))
    with Script(CHANGE, path, prelude="") as program:
        assert program.hear() == "changed"


HARM: dict[str, tuple[Callable[[Path], object], str]] = {
    "removed": (Path.unlink, "was removed or renamed"),
    "renamed": (lambda path: path.rename(path.with_name("old")), "was removed or renamed"),
    "its folder renamed": (
        lambda path: path.parent.rename(path.parent.with_name("old")),
        "was removed or renamed",
    ),
    "replaced": (replace, "was replaced"),
    "emptied": (lambda path: os.truncate(path, 0), "was truncated"),
    "cut short": (lambda path: os.truncate(path, path.stat().st_size - 1), "was truncated"),
    "emptied and filled": (
        lambda path: path.write_bytes(b"x" * path.stat().st_size),
        "was changed by another program",
    ),
    "added to": (lambda path: os.truncate(path, 10**6), "was changed by another program"),
    "changed": (change, "was changed by another program"),
    "lock removed": (lambda path: lock_of(path).unlink(), r"lost its lock file, journal\.lock"),
    "lock renamed": (
        lambda path: lock_of(path).rename(path.with_name("old")),
        r"lost its lock file, journal\.lock",
    ),
    "lock replaced": (
        lambda path: replace(lock_of(path)),
        r"lost its lock file, journal\.lock, which was replaced",
    ),
    "rollback journal removed": (
        lambda path: rollback_of(path).unlink(),
        "lost SQLite's rollback journal, journal-journal",
    ),
}


@pytest.mark.parametrize(("harm", "words"), HARM.values(), ids=HARM)
async def test_a_journal_that_is_changed_during_a_run_ends_it_before_the_next_item(
    tmp_path: Path, harm: Callable[[Path], object], words: str
) -> None:
    path = tmp_path / "folder" / "journal"
    path.parent.mkdir()
    acted = []
    outcomes: list[Outcome[int, str]] = []

    async def harmed(number: int) -> str:
        acted.append(number)
        if number == 2:
            harm(path)
        return f"made {number}"

    run = Bulk(range(9), harmed, journal=path, concurrency=1)

    async def main() -> None:
        async with run:
            async for outcome in run:
                outcomes.append(outcome)

    with pytest.raises(ConfigurationError, match=words):
        await main()
    assert acted == [0, 1, 2]
    # The outcome of the last item is not in the journal, so the run must yield it.
    assert [outcome.result for outcome in outcomes] == ["made 0", "made 1", "made 2"]
    assert (run.totals.done, run.totals.undone, run.totals.stopped) == (3, 6, "error")


async def test_an_intent_is_not_taken_for_written_if_the_journal_is_removed_meanwhile(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal"

    def remove(_: object) -> None:
        path.unlink()

    journal = await Journal(path).aopen()
    # The first is written at once, and those after it together.
    first = journal.writer.submit(lambda _: None)
    both = [
        asyncio.create_task(refused(journal.writer.submit(work)))
        for work in (remove, lambda store: store.intend("1", 1))
    ]
    await asyncio.gather(first, *both)
    await refused(journal.aclose())


async def refused(work: Awaitable[object]) -> None:
    with pytest.raises(ConfigurationError, match="removed or renamed"):
        await work


async def test_a_journal_that_is_moved_back_during_a_run_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    async with Journal(path) as journal:
        path.rename(tmp_path / "away")
        with pytest.raises(ConfigurationError, match="removed or renamed"):
            await journal.entries()
        (tmp_path / "away").rename(path)
        with pytest.raises(ConfigurationError, match="removed or renamed"):
            await journal.entries()
        with pytest.raises(ConfigurationError, match="removed or renamed"):
            await journal.aclose()
    assert await written(path) == {}


async def test_a_journal_that_is_removed_before_the_end_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "journal"

    async def main() -> None:
        async with Bulk([1], act, journal=path) as run:
            assert (await anext(run)).status is OutcomeStatus.DONE
            path.unlink()

    with pytest.raises(ConfigurationError, match="removed or renamed"):
        await main()


async def test_a_removed_journal_is_noted_on_the_error_of_the_run_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal"

    async def main() -> None:
        async with Bulk([1, 2], act, journal=path) as run:
            await anext(run)
            path.unlink()
            raise KeyError("mine")

    with pytest.raises(KeyError) as caught:
        await main()
    assert ["removed or renamed" in note for note in caught.value.__notes__] == [True]
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("vcloud.bulk", "ERROR")
    assert "removed or renamed" in record.getMessage()


async def test_a_run_whose_files_were_moved_does_not_touch_those_of_the_next_one(
    tmp_path: Path, outsider: Callable[[Path], str]
) -> None:
    path, old = tmp_path / "journal", tmp_path / "old"
    old.mkdir()
    first = await Journal(path).aopen()
    await first.writer.intend("mine", 1)
    for file in (path, lock_of(path), rollback_of(path)):
        file.rename(old / file.name)
    async with Journal(path) as second:
        await second.writer.intend("yours", 1)
        with pytest.raises(ConfigurationError, match="removed or renamed|was replaced"):
            await first.aclose()
        assert rollback_of(path).exists()
        assert outsider(path) == refusal(path)
        assert [entry.key for entry in await second.entries()] == ["yours"]


async def test_a_journal_is_found_after_the_working_directory_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)

    async def move(number: int) -> str:
        monkeypatch.chdir(tmp_path / "elsewhere")
        return str(number)

    await Bulk([1, 2], move, journal="journal", concurrency=1).run()
    assert len(await written(tmp_path / "journal")) == 2


# A full disk.

FULL = """
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))

    async def act(number):
        print("sent", number, flush=True)
        return "x" * 500

    try:
        asyncio.run(Bulk(range(200), act, journal=sys.argv[1], record=str, concurrency=4).run())
    except ConfigurationError as error:
        print(error, flush=True)
"""


@pytest.mark.parametrize("limit", [8192 + 4096 * pages for pages in (1, 4)])
async def test_a_full_disk_ends_the_run_and_nothing_is_sent_twice(
    tmp_path: Path, limit: int
) -> None:
    path = tmp_path / "journal"
    with Script(FULL, path, limit) as program:
        said, _ = program.process.communicate(timeout=60)
    *sent, error = said.splitlines()
    assert "cannot be used" in error
    before = {line.removeprefix("sent ") for line in sent}
    assert 0 < len(before) < 200
    # What was sent is recorded, as done or as unknown, and is not sent again.
    assert before == set(await written(path))
    again: set[str] = set()

    async def rest(number: int) -> str:
        again.add(str(number))
        return ""

    totals = await Bulk(range(200), rest, journal=path).run()
    assert again == set(map(str, range(200))) - before
    assert totals.done + totals.unknown == 200


async def test_an_outcome_that_cannot_be_written_is_yielded_before_the_error(
    tmp_path: Path,
) -> None:
    journal = Journal(tmp_path / "journal")
    outcomes: list[Outcome[int, str]] = []

    async def act(number: int) -> str:
        await journal.writer.submit(
            lambda store: store.database.execute("PRAGMA query_only = ON").close()
        )
        return str(number)

    async def main() -> None:
        async with Bulk([1], act, journal=journal) as run:
            async for outcome in run:
                outcomes.append(outcome)

    with pytest.raises(ConfigurationError, match="cannot be used"):
        await main()
    assert [outcome.result for outcome in outcomes] == ["1"]
    assert await written(journal.path) == {"1": OutcomeStatus.UNKNOWN}

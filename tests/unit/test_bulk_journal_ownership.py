"""The owner and mode of a journal: with real files and processes of other users."""

# ruff: noqa: ASYNC240 - small files of a test

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from vcloud import Bulk, ConfigurationError, Journal

if sys.platform == "win32":
    pytest.skip("owners and modes of POSIX", allow_module_level=True)

ROOT = Path(__file__).parents[2]
NOBODY, SOMEBODY = 65534, 65533
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has files of several users")
#: Imports as root, who may own the interpreter and its packages, and then runs as another user.
AS_USER = """
import asyncio, os, sys
from vcloud import ConfigurationError, Journal
user, path = int(sys.argv[1]), sys.argv[2]
os.setgroups([])
os.setresgid(user, user, user)
os.setresuid(user, user, user)

async def main():
    try:
        async with Journal(path) as journal:
            await journal.entries()
        print("opened")
    except ConfigurationError as error:
        print(error)

asyncio.run(main())
"""


def opened_by(user: int, path: Path) -> str:
    """What a process of that user prints when it opens a journal."""
    done = subprocess.run(
        [sys.executable, "-c", AS_USER, str(user), str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def shell_of(user: int, command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a shell as that user."""
    switch = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups")
    return subprocess.run(
        [*switch, "sh", "-c", command, "sh", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def shell(command: str) -> None:
    subprocess.run(command, shell=True, check=True)


def write_as(user: int, path: Path) -> None:
    shell_of(user, 'umask 077; printf "" > "$1"', path).check_returncode()
    assert path.stat().st_uid == user


async def opens(path: Path, *, check_owner: bool = True) -> str:
    try:
        async with Journal(path, check_owner=check_owner) as journal:
            await journal.entries()
    except ConfigurationError as error:
        return str(error)
    return "opened"


async def act(number: int) -> str:
    return str(number)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder like ``/tmp``, which all users can reach. They cannot reach that of pytest."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


# Files of other users.


@needs_root
@pytest.mark.parametrize("suffix", ["", ".lock", "-journal", "-wal", "-shm"])
async def test_a_file_of_another_user_in_a_shared_folder_is_refused(
    shared: Path, suffix: str
) -> None:
    path = shared / "journal"
    planted = shared / f"journal{suffix}"
    write_as(NOBODY, planted)
    said = await opens(path)
    assert said.startswith(f"{planted} belongs to another user (uid {NOBODY}; this process")
    assert "Journal(path, check_owner=False)" in said
    assert planted.stat().st_size == 0
    assert shared.joinpath("journal").exists() == (suffix in ("", "-journal", "-wal", "-shm"))


@needs_root
async def test_root_accepts_its_own_journal_and_that_of_the_folder_owner_only(
    shared: Path,
) -> None:
    shared.chmod(0o755)
    os.chown(shared, NOBODY, NOBODY)
    write_as(NOBODY, shared / "of the owner")
    assert await opens(shared / "of the owner") == "opened"
    assert await opens(shared / "of root") == "opened"
    assert (shared / "of root").stat().st_uid == 0
    shared.chmod(0o1777)
    write_as(SOMEBODY, shared / "of a third")
    assert f"uid {SOMEBODY}" in await opens(shared / "of a third")
    # The user opens what root has opened before.
    assert opened_by(NOBODY, shared / "of the owner") == (
        f"{shared}/of the owner.lock belongs to another user (uid 0; this process has uid "
        f"{NOBODY}), and anyone who can write it decides what is done: if you trust its content, "
        f"`chown {NOBODY} '{shared}/of the owner.lock'`; on a file system without owners and "
        "modes, use Journal(path, check_owner=False)"
    )


@needs_root
async def test_another_user_can_neither_read_nor_use_a_journal(
    shared: Path,
) -> None:
    path = shared / "journal"
    await Bulk([1], act, journal=path).run()
    for file in (path, shared / "journal.lock"):
        assert shell_of(NOBODY, 'cat "$1"', file).returncode != 0
        assert shell_of(NOBODY, 'echo >> "$1"', file).returncode != 0
    assert f"{path} belongs to another user (uid 0" in opened_by(NOBODY, path)
    path.chmod(0o666)
    (shared / "journal.lock").chmod(0o666)
    assert f"{path} belongs to another user (uid 0" in opened_by(NOBODY, path)
    assert opened_by(NOBODY, shared / "its own") == "opened"
    assert opened_by(NOBODY, shared / "its own") == "opened"
    assert {stat.S_IMODE(file.stat().st_mode) for file in shared.glob("its own*")} == {0o600}


# Modes.


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o660, 0o666, 0o777])
@pytest.mark.parametrize("suffix", ["", ".lock"])
async def test_a_journal_that_others_may_write_is_refused_until_its_mode_is_fixed(
    tmp_path: Path, suffix: str, mode: int
) -> None:
    path, file = tmp_path / "the journal", tmp_path / f"the journal{suffix}"
    await Bulk([1], act, journal=path).run()
    file.chmod(mode)
    said = await opens(path)
    assert said.startswith(f"{file} can be written by other users (its mode is {mode:04o})")
    mend = re.search("`(chmod .*?)`", said)
    assert mend is not None
    shell(mend[1])
    assert await opens(path) == "opened"
    assert stat.S_IMODE(file.stat().st_mode) == mode & 0o755


async def test_a_journal_that_others_may_only_read_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    await Bulk([1], act, journal=path).run()
    path.chmod(0o644)
    assert (await Bulk([1], act, journal=path).run()).resumed == 1


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277, 0o777])
def test_a_new_journal_and_its_companions_are_0600_with_any_umask(
    tmp_path: Path, umask: int
) -> None:
    script = """
        import asyncio, os, sys
        from pathlib import Path
        from vcloud import Bulk
        folder = Path(sys.argv[1])
        async def act(number):
            print(*sorted(f"{file.name} {file.stat().st_mode & 0o7777:o}" for file in
            folder.iterdir()), sep="\\n")
        async def main():
            await Bulk([1], act, journal=folder / "journal").run()
        os.umask(int(sys.argv[2]))
        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path), str(umask)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines() == ["journal 600", "journal-journal 600", "journal.lock 600"]


async def test_check_owner_false_accepts_files_without_owners_and_modes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal"
    await Bulk([1], act, journal=path).run()
    tmp_path.chmod(0o777)
    path.chmod(0o777)
    (tmp_path / "journal.lock").chmod(0o777)
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    with caplog.at_level(logging.WARNING):
        run = Bulk([1, 2], act, journal=Journal(path, check_owner=False))
        assert (await run.run()).resumed == 1
    assert not caplog.records


# Links, and other kinds of files.


@pytest.mark.parametrize("suffix", ["", ".lock", "-journal", "-wal", "-shm"])
@pytest.mark.parametrize("check_owner", [True, False])
@pytest.mark.parametrize("dangling", [True, False])
async def test_a_symbolic_link_is_refused_and_its_target_is_not_made(
    tmp_path: Path, suffix: str, *, check_owner: bool, dangling: bool
) -> None:
    path, aim = tmp_path / "journal", tmp_path / "aim"
    if not dangling:
        aim.write_bytes(b"")
    (tmp_path / f"journal{suffix}").symlink_to(aim)
    said = await opens(path, check_owner=check_owner)
    assert said.startswith(f"{path}{suffix} is a symbolic link")
    assert aim.exists() == (not dangling)
    assert dangling or aim.read_bytes() == b""
    if not suffix:
        assert {file.name for file in tmp_path.iterdir()} <= {"journal", "aim"}


async def test_the_folder_of_a_journal_may_be_reached_through_links(tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    assert await opens(link / "journal") == "opened"
    assert (folder / "journal").is_file()


@pytest.mark.parametrize("suffix", ["", ".lock", "-journal"])
async def test_a_fifo_instead_of_a_file_is_refused_at_once(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"journal{suffix}", 0o600)
    said = await opens(tmp_path / "journal")
    assert said == f"{tmp_path}/journal{suffix} is not a regular file: use another path"


# The folder.


@pytest.mark.parametrize(
    ("mode", "warned"),
    [(0o777, True), (0o770, True), (0o702, True), (0o1777, False), (0o755, False), (0o700, False)],
)
async def test_a_folder_that_others_may_write_is_logged_once_and_accepted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, *, warned: bool
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode)
    with caplog.at_level(logging.WARNING):
        async with Journal(folder / "journal") as journal:
            await journal.entries()
    said = [f"{record.name} {record.levelname}: {record.getMessage()}" for record in caplog.records]
    words = (
        f"vcloud.bulk WARNING: other users may replace the journal in {folder}, because they may "
        f"write that folder (its mode is {mode:04o}): use a folder of your own, or `chmod go-w` it"
    )
    assert said == [words] * warned


# Between the check and SQLite.


def planting(plant: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do something just before SQLite opens the journal."""
    connect = sqlite3.connect

    def late(*args: object, **options: object) -> sqlite3.Connection:
        monkeypatch.setattr(sqlite3, "connect", connect)
        plant()
        return connect(*args, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(sqlite3, "connect", late)


async def test_another_user_cannot_provide_the_rollback_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    await Bulk([1], act, journal=path).run()

    def plant() -> None:
        with pytest.raises(FileExistsError):
            os.open(tmp_path / "journal-journal", os.O_CREAT | os.O_EXCL)

    planting(plant, monkeypatch)
    assert (await Bulk([1], act, journal=path).run()).resumed == 1
    assert not (tmp_path / "journal-journal").exists()


def test_a_write_ahead_log_that_appears_while_a_journal_is_opened_is_not_used(
    tmp_path: Path,
) -> None:
    path, forged = tmp_path / "journal", tmp_path / "forged"
    asyncio.run(Bulk([1], act, journal=path).run())
    shutil.copy(path, forged)
    with closing(sqlite3.connect(forged, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("DELETE FROM item")
        log = Path(f"{forged}-wal")
        shutil.copy(log, tmp_path / "kept")
    # The connection stays open until its process ends.
    script = """
        import asyncio, shutil, sqlite3, sys
        from vcloud import ConfigurationError, Journal
        connect = sqlite3.connect
        def late(*args, **options):
            shutil.copy(sys.argv[2], sys.argv[1] + "-wal")
            return connect(*args, **options)
        sqlite3.connect = late
        async def main():
            try:
                async with Journal(sys.argv[1]) as journal:
                    print(await journal.entries())
            except ConfigurationError as error:
                print(error)
        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(path), str(tmp_path / "kept")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "got a write-ahead log while it was opened" in done.stdout
    (tmp_path / "journal-wal").unlink()
    assert asyncio.run(Bulk([1], act, journal=path).run()).resumed == 1

"""What an agent remembers of its commands, across restarts: ``serve_agent(remember=PATH)``."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.integration.published_plane import published_plane
from tests.integration.realtime_plane import Handler, plane, ready
from tests.integration.realtime_server import settled
from vcloud import ConfigurationError, InvalidArgumentError
from vcloud.providers.streamspace import (
    AgentSession,
    CommandFailed,
    SessionResult,
    StartSession,
    StopSession,
)
from vcloud.providers.streamspace.agent.remembering import opening
from vcloud.providers.streamspace.agent.remembering.memory import CommandMemory
from vcloud.providers.streamspace.agent.remembering.store import Began, CommandStore, Ended

# -- after a restart -------------------------------------------------------------------------------


async def test_a_restarted_agent_answers_what_it_carried_out_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "commands.db"
    first, second = ready(), ready()
    async with published_plane() as control:
        async with control.agent(first, remember=path):
            await control.command("start_session", "c1")
            await settled(lambda: control.states() == ["running"])
        control.said.clear()
        async with control.agent(second, remember=path):
            # The state is sent because commands may have been lost meanwhile.
            await settled(lambda: control.states() == ["running"])
            await control.command("start_session", "c1")
            await settled(lambda: control.states() == ["running", "running"])
            assert control.ended() == ["c1"]
            await control.command("stop_session", "c2")
            await settled(lambda: control.states()[-1] == "terminated")
    assert (first.done, second.done) == (["start s1"], ["stop s1"])


async def test_a_failed_command_is_answered_as_failed(tmp_path: Path) -> None:
    class Failing(Handler):
        async def stop_session(self, command: StopSession) -> None:
            self.done.append("tried")
            raise CommandFailed("BUSY", "not now")

    async with published_plane() as control:
        for handler in (first := Failing(), second := Failing()):
            async with control.agent(handler, remember=tmp_path / "x"):
                await control.command("stop_session", "c1")
                await settled(lambda: bool(control.of("failed")))
                words = control.of("failed")[0]["error"]
                control.said.clear()
        assert (first.done, second.done) == (["tried"], [])
        assert "carried out before, and failed" in words


async def test_the_documented_dialect_remembers_too(tmp_path: Path) -> None:
    async with plane() as control:
        for handler in (first := ready(), second := ready()):
            control.said.clear()
            async with control.agent(handler, remember=tmp_path / "x"):
                await control.command("start_session", "c1")
                await settled(lambda: "c1" in control.results())
                assert control.results()["c1"]["status"] == "completed"
                assert control.results()["c1"]["result"]["session_id"] == "s1"
    assert (first.done, second.done) == (["start s1"], [])


async def test_a_start_that_was_in_flight_when_the_process_was_killed_has_failed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x"
    store = CommandStore(path, "agent-1", 10)
    store.write([Began("c1", "start_session", "s1"), Began("c2", "stop_session", "s2")])
    store.close()
    handler = ready()
    async with published_plane() as control, control.agent(handler, remember=path):
        await settled(lambda: control.states("s1") == ["failed"])
        await control.command("start_session", "c1", "s1")
        await control.command("stop_session", "c2", "s2")
        await settled(lambda: len(control.of("failed")) == 2)
        assert handler.done == []


async def test_a_command_is_written_before_it_is_carried_out(tmp_path: Path) -> None:
    handler = Handler()
    async with published_plane() as control, control.agent(handler, remember=tmp_path / "x"):
        await control.command("start_session", "c1")
        await settled(lambda: handler.running == {"s1"})
        # The lock is SQLite's, which a reader of the bytes does not need.
        assert b"start_session" in (tmp_path / "x").read_bytes()
        handler.gate.set()


async def test_on_registered_gets_the_sessions_of_earlier_processes(tmp_path: Path) -> None:
    found: list[Sequence[AgentSession]] = []
    async with published_plane() as control:
        async with control.agent(ready(), remember=tmp_path / "x"):
            await control.command("start_session", "c1", "s1")
            await control.command("start_session", "c2", "s2")
            await settled(lambda: len(control.of("status")) == 2)
            await control.command("stop_session", "c3", "s2")
            await settled(lambda: control.states("s2")[-1] == "terminated")
        agent = control.agent(ready(), remember=tmp_path / "x", on_registered=found.append)
        async with agent as worker:
            await settled(lambda: bool(found))
            (session,) = found[0]
            assert (session.id, session.state) == ("s1", "running")
            worker.report_failed(session, "its container is gone")
            await settled(lambda: control.states("s1")[-1] == "failed")


async def test_on_registered_is_not_called_without_a_file(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With an empty list it would end every container of an earlier process."""
    called: list[Any] = []
    async with published_plane() as control:
        async with control.agent(ready(), on_registered=called.append):
            await control.command("start_session", "c1")
            await settled(lambda: control.states() == ["running"])
        assert called == []
        assert "on_registered is not called" in caplog.text


# -- the file --------------------------------------------------------------------------------------


async def test_the_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    async with published_plane() as control, control.agent(ready(), remember=tmp_path / "x"):
        assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o600


async def test_a_second_agent_is_refused_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "BUSY_TIMEOUT", 0.1)
    path = tmp_path / "x"
    open_it = (
        "import sys, pathlib\n"
        "from vcloud.providers.streamspace.agent.remembering import opening, store\n"
        "opening.BUSY_TIMEOUT = 0.1\n"
        "store.CommandStore(pathlib.Path(sys.argv[1]), 'agent-1', 10)\n"
    )
    async with published_plane() as control, control.agent(ready(), remember=path):
        with pytest.raises(ConfigurationError, match="in use by another agent of this process"):
            await control.agent(ready(), remember=path).run()
        other = await asyncio.create_subprocess_exec(
            sys.executable, "-c", open_it, str(path), stderr=asyncio.subprocess.PIPE
        )
        _, words = await other.communicate()
        assert b"in use by another process" in words


async def test_the_file_of_another_agent_is_refused(tmp_path: Path) -> None:
    CommandStore(tmp_path / "x", "agent-2", 10).close()
    async with published_plane() as control:
        with pytest.raises(ConfigurationError, match="file of agent agent-2"):
            await control.agent(ready(), remember=tmp_path / "x").run()


def _garbage(path: Path) -> None:
    path.write_bytes(b"garbage" * 1000)
    path.chmod(0o600)


def _cut(path: Path) -> None:
    store = CommandStore(path, "agent-1", 10)
    store.write([Ended(f"c{number}", "stop_session", "s", True) for number in range(500)])
    store.close()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"\xff" * (len(content) // 2))


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE notes (text)")
    path.chmod(0o600)


def _readable_by_others(path: Path) -> None:
    path.touch(mode=0o600)
    path.chmod(0o644)


def _link(path: Path) -> None:
    path.with_name("target").touch(mode=0o600)
    path.symlink_to(path.with_name("target"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_garbage, "damaged"),
        (_cut, "damaged"),
        (_foreign, "another program's file"),
        (_readable_by_others, r"its mode is 0644.*chmod go="),
        (_link, "symbolic link"),
        (Path.mkdir, "folder"),
    ],
)
async def test_a_file_that_is_none_ends_the_agent_and_says_what_to_do(
    spoil: Any, words: str, tmp_path: Path
) -> None:
    spoil(tmp_path / "x")
    async with published_plane() as control:
        with pytest.raises(ConfigurationError, match=words):
            await control.agent(ready(), remember=tmp_path / "x").run()
        assert control.registrations == []


async def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    async with published_plane() as control:
        with pytest.raises(ConfigurationError, match="No such file or directory"):
            await control.agent(ready(), remember=tmp_path / "no" / "x").run()


@pytest.mark.parametrize("path", ["", 7, b"x", "a\0b"])
async def test_what_is_no_path_is_refused_at_once(path: Any) -> None:
    async with published_plane() as control:
        with pytest.raises(InvalidArgumentError, match="remember must be the path of a file"):
            control.agent(ready(), remember=path)


async def test_commands_continue_while_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, handler = tmp_path / "x", ready()
    write, full = CommandStore.write, True

    def fails(store: CommandStore, changes: Sequence[Any]) -> None:
        if full:
            raise sqlite3.OperationalError("database or disk is full")
        write(store, changes)

    monkeypatch.setattr(CommandStore, "write", fails)
    async with published_plane() as control:
        async with control.agent(handler, remember=path) as worker:
            await control.command("start_session", "c1", "s1")
            await control.command("start_session", "c2", "s2")
            await settled(lambda: len(control.of("status")) == 2)
            await control.command("start_session", "c1", "s1")
            await settled(lambda: len(control.ended()) == 3)
            assert handler.done == ["start s1", "start s2"]
            # Once for both; others are about the desktops, which have no VNC server here.
            assert len([one for one in worker.errors if "disk is full" in str(one)]) == 1
            full = False
            await control.command("start_session", "c3", "s3")
            await settled(lambda: len(control.ended()) == 4)
        second = ready()
        async with control.agent(second, remember=path):
            control.said.clear()
            for number in (1, 2, 3):
                await control.command("start_session", f"c{number}", f"s{number}")
            await settled(lambda: len(control.ended()) == 3)
        assert second.done == []


async def test_after_a_full_disk_the_same_changes_can_be_written(tmp_path: Path) -> None:
    store = CommandStore(tmp_path / "x", "agent-1", 10)
    pages = store.database.execute("PRAGMA page_count").fetchone()[0]
    store.database.execute(f"PRAGMA max_page_count = {pages}")
    many = [Ended(f"c{number}", "stop_session", "s" * 100, True) for number in range(500)]
    with pytest.raises(sqlite3.OperationalError, match="full"):
        store.write(many)
    store.database.execute("PRAGMA max_page_count = 100000")
    store.write(many)
    store.close()


async def test_the_oldest_commands_are_forgotten(tmp_path: Path) -> None:
    store = CommandStore(tmp_path / "x", "agent-1", 10)
    store.write([Ended(f"c{number}", "stop_session", "s", True) for number in range(15)])
    store.close()
    store = CommandStore(tmp_path / "x", "agent-1", 10)
    assert [one.id for one in store.remembered.commands] == [f"c{n}" for n in range(5, 15)]
    store.close()


async def test_a_name_that_sqlite_cannot_hold_is_escaped(tmp_path: Path) -> None:
    class Named(Handler):
        async def start_session(self, command: StartSession) -> SessionResult:
            return SessionResult(pod_name="caf\udce9")

    async with published_plane() as control:
        async with control.agent(Named(), remember=tmp_path / "x") as worker:
            await control.command("start_session", "c1")
            await settled(lambda: control.states() == ["running"])
        async with control.agent(ready(), remember=tmp_path / "x"):
            await settled(lambda: control.states() == ["running"] * 2)
        assert not [one for one in worker.errors if "written" in str(one)]


async def test_a_cancelled_opening_leaves_the_file_free(tmp_path: Path) -> None:
    memory = CommandMemory(tmp_path / "x", "agent-1", print)
    cancelled = asyncio.create_task(memory.open())
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    other = CommandMemory(tmp_path / "x", "agent-1", print)
    await other.open()
    await other.aclose()

"""An agent of the published server: its commands, and the states of sessions."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from tests.integration.published_plane import PublishedPlane, command, published_plane
from tests.integration.realtime_plane import Handler, ready
from tests.integration.realtime_server import settled
from vcloud.providers.streamspace import (
    AgentCapacity,
    CommandFailed,
    Resources,
    SessionResult,
    StartSession,
    VNCPort,
)


class Recording(Handler):
    """Keeps its commands."""

    commands: list[StartSession]

    async def start_session(self, command: StartSession) -> SessionResult:
        self.commands = [command]
        return SessionResult(pod_name="pod-1", vnc_port=5905)


async def test_a_start_is_acknowledged_carried_out_and_reported() -> None:
    handler = Recording()
    async with published_plane() as control, control.agent(handler):
        await control.command("start_session", "c1")
        await settled(lambda: control.states() == ["running"])
        (made,) = handler.commands
        assert (made.command_id, made.session_id) == ("c1", "s1")
        data = made.data
        assert (data.name, data.namespace, data.user) == ("s1", "streamspace", "admin")
        assert (data.template, data.image) == ("firefox", "x/firefox:1")
        assert data.resources == Resources(cpu="1000m", memory="2Gi")
        assert (data.vnc, data.persistent_home) == (VNCPort(port=5901), True)
        assert (data.idle_timeout, data.max_session_duration) == (timedelta(minutes=30), None)
        assert data.tags == ["blue"]
        assert data.manifest is not None
        assert data.manifest["spec"]["baseImage"] == "x/firefox:1"
        assert [message["type"] for message in control.said] == ["ack", "complete", "status"]
        assert all(set(one) == {"type", "timestamp", "payload"} for one in control.said)
        assert control.of("ack") == [{"commandId": "c1"}]
        result = {"sessionId": "s1", "podName": "pod-1", "vncPort": 5905}
        assert control.of("complete") == [{"commandId": "c1", "result": result}]
        assert control.of("status") == [
            {
                "sessionId": "s1",
                "state": "running",
                "vncReady": True,
                "vncPort": 5905,
                "platformMetadata": {"podName": "pod-1"},
            }
        ]


async def test_each_report_has_all_fields_because_it_overwrites_them() -> None:
    async with published_plane() as control, control.agent(Recording()):
        for number, action in enumerate(("start", "hibernate", "wake", "stop")):
            await control.command(f"{action}_session", f"c{number}")
            await settled(partial(_has_reports, control, number + 1))
        assert control.states() == ["running", "hibernated", "running", "terminated"]
        assert [one["vncPort"] for one in control.of("status")] == [5905, 0, 5905, 0]
        names = [one["platformMetadata"]["podName"] for one in control.of("status")]
        assert names == ["pod-1"] * 4


class Failing(Handler):
    code = "NO_DISK"

    async def start_session(self, command: StartSession) -> SessionResult:
        raise CommandFailed(self.code, "the disk is gone")


async def test_a_start_that_failed_is_reported_as_failed() -> None:
    async with published_plane() as control, control.agent(Failing()):
        await control.command("start_session", "c1")
        await settled(lambda: control.states() == ["failed"])
        assert control.of("failed") == [{"commandId": "c1", "error": "NO_DISK: the disk is gone"}]
        (report,) = control.of("status")
        assert (report["vncReady"], report["vncPort"]) == (False, 0)


class Stuck(Recording):
    async def hibernate_session(self, command: object) -> None:
        raise CommandFailed("BUSY", "not now")

    stop_session = wake_session = hibernate_session


@pytest.mark.parametrize("action", ["hibernate_session", "stop_session"])
async def test_a_session_that_could_not_be_changed_is_reported_as_it_is(action: str) -> None:
    """The server has it on the way, and would leave it there for ever."""
    async with published_plane() as control, control.agent(Stuck()):
        await control.command("start_session", "c1")
        await control.command(action, "c2")
        await settled(lambda: len(control.of("failed")) == 1 and len(control.states()) == 2)
        assert control.states() == ["running", "running"]


@pytest.mark.parametrize(
    ("action", "state"), [("wake_session", "hibernated"), ("hibernate_session", "running")]
)
async def test_so_is_one_that_an_earlier_process_started(action: str, state: str) -> None:
    async with published_plane() as control, control.agent(Stuck()):
        await control.command(action, "c1")
        await settled(lambda: control.states() == [state])


async def test_a_session_that_does_not_exist_here_is_reported_as_failed() -> None:
    class Gone(Handler):
        async def hibernate_session(self, command: object) -> None:
            raise CommandFailed("SESSION_NOT_FOUND", "no such desktop")

    async with published_plane() as control, control.agent(Gone()):
        await control.command("hibernate_session", "c1")
        await settled(lambda: control.states() == ["failed"])


async def test_starts_that_are_refused_are_reported_as_failed() -> None:
    async with published_plane() as control:
        agent = control.agent(ready(), capacity=AgentCapacity(max_sessions=1))
        async with agent as worker:
            await control.command("start_session", "c1", "s1")
            await settled(lambda: control.states("s1") == ["running"])
            await control.command("start_session", "c2", "s2")
            await settled(lambda: control.states("s2") == ["failed"])
            worker.drain()
            await control.command("start_session", "c3", "s3")
            await settled(lambda: control.states("s3") == ["failed"])


async def test_a_command_that_cannot_be_read_fails_its_session() -> None:
    handler = ready()
    async with published_plane() as control, control.agent(handler) as worker:
        await control.command("start_session", "c1", idleTimeout="soon")
        await settled(lambda: control.states() == ["failed"])
        (failed,) = control.of("failed")
        assert failed["error"].startswith("VALIDATION_FAILED: start_session: data.idle_timeout")
        assert len(worker.errors) == 1
        assert handler.done == []


async def test_one_message_may_hold_several_objects() -> None:
    handler = ready()
    async with published_plane() as control, control.agent(handler):
        await control.send(
            command("start_session", "c1", "s1"),
            {"type": "ping", "timestamp": "x", "payload": {"timestamp": "x"}},
            {"type": "shutdown", "timestamp": "x", "payload": {"reason": "x"}},
            {"type": "news", "payload": None},
            {"type": "command", "payload": []},
            command("stop_session", "c2", "s2"),
        )
        await settled(lambda: set(control.ended()) == {"c1", "c2"})
        assert sorted(handler.done) == ["start s1", "stop s2"]


async def test_a_message_of_many_mebibytes_is_taken_on_the_agents_socket_only() -> None:
    async with published_plane(max_message=1024) as control, control.agent(ready()):
        await control.command("start_session", "c1", padding="x" * 6_000_000)
        await settled(lambda: control.ended() == ["c1"])


async def test_commands_with_one_id_for_two_sessions_are_two_commands() -> None:
    """The ids have eight hexadecimal digits."""
    handler = ready()
    async with published_plane() as control, control.agent(handler):
        await control.command("start_session", "c1", "s1")
        await control.command("start_session", "c1", "s2")
        await settled(lambda: len(control.ended()) == 2)
        assert sorted(handler.done) == ["start s1", "start s2"]


async def test_a_command_that_comes_again_is_answered_with_the_state() -> None:
    handler = ready()
    async with published_plane() as control, control.agent(handler):
        for times in (1, 2, 3):
            await control.command("start_session", "c1")
            await settled(partial(_has_reports, control, times))
        assert control.ended() == ["c1"] * 3
        assert handler.done == ["start s1"]
        assert set(control.states()) == {"running"}


def _has_reports(control: PublishedPlane, number: int) -> bool:
    return len(control.of("status")) == number

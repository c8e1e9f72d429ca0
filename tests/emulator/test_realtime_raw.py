"""The emulator's control plane over WebSockets, without the client."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.emulator.realtime_raw import World, token, until
from vcloud.emulator import Clock, Emulator
from vcloud.emulator.streamspace.catalog import USER

pytestmark = pytest.mark.asyncio


@pytest.fixture
async def world() -> AsyncIterator[World]:
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        Emulator(clock=Clock.stopped(), rate_limits=False) as emu,
        aiohttp.ClientSession(connector=connector) as http,
    ):
        yield World(emu, http)


# -- agents ----------------------------------------------------------------------------------------


async def test_agent_is_listed_as_registered_and_offline_when_its_socket_closes(
    world: World,
) -> None:
    world.emu.streamspace.control.heartbeat_interval = 12.0
    async with world.agent(max_cpu=8, max_memory=32, max_sessions=3) as agent:
        assert agent.ack == {
            "type": "register_ack",
            "agent_id": "agent-1",
            "status": "registered",
            "heartbeat_interval": "12s",
        }
        _, seen = await world.rest("GET", "/agents/agent-1")
        assert (seen["status"], seen["platform"], seen["region"]) == ("online", "kubernetes", "eu")
        assert seen["capacity"] == {
            "max_cpu": 8,
            "max_memory": 32,
            "max_sessions": 3,
            "current_sessions": 0,
        }
        assert seen["metadata"] == {"agent_version": "test"}
        assert seen["websocket_conn_id"].startswith("conn-")
        world.emu.clock.advance(30)
        before = seen["last_heartbeat"]
        assert (await world.rest("GET", "/agents/agent-1"))[1]["last_heartbeat"] == before
        await agent.say("heartbeat", capacity={"current_sessions": 2})
        await until(lambda: world.emu.streamspace.agents["agent-1"].other_sessions == 2)
        _, seen = await world.rest("GET", "/agents/agent-1")
        assert (seen["capacity"]["current_sessions"], seen["last_heartbeat"] > before) == (2, True)
    await until(lambda: world.emu.streamspace.agents["agent-1"].status == "offline")
    _, seen = await world.rest("GET", "/agents/agent-1")
    assert (seen["websocket_conn_id"], seen["uptime_seconds"]) == (None, 0)
    status, refused = await world.rest("PATCH", "/agents/agent-1", {"status": "online"})
    assert (status, refused["code"]) == (503, "AGENT_OFFLINE")


async def test_agent_that_misses_its_heartbeats_is_closed_and_offline(world: World) -> None:
    world.emu.streamspace.control.heartbeat_interval = 0.01
    async with world.agent() as agent:
        assert agent.ack["heartbeat_interval"] == "10ms"
        message = await agent.socket.receive()
        assert (message.data, message.extra) == (1001, "3 heartbeats are missing")
    assert world.emu.streamspace.agents["agent-1"].status == "offline"


async def test_several_messages_may_share_a_frame_and_unknown_ones_are_ignored(
    world: World,
) -> None:
    async with world.agent() as agent:
        beat = json.dumps({"type": "heartbeat", "capacity": {"current_sessions": 4}})
        await agent.socket.send_str(f'{{"type": "weather"}}\n\n{beat}\n')
        await until(lambda: world.emu.streamspace.agents["agent-1"].other_sessions == 4)
        await agent.socket.send_str(
            json.dumps({"type": "register", "capacity": {"max_sessions": 1}}, indent=1)
        )
        assert (await agent.hear())["type"] == "register_ack"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '"x"',
        '{"type": "heartbeat"}',
        '{"type": "register", "agent_id": "another"}',
        '{"type": "register", "platform": "docker"}',
        '{"type": "register", "capacity": 7}',
        '{"type": "register", "capacity": {"max_sessions": -1}}',
        '{"type": "register", "capacity": {"max_cpu": "many"}}',
        '{"type": "register", "metadata": []}',
    ],
)
async def test_agent_that_sends_an_invalid_message_is_closed(world: World, text: str) -> None:
    async with world.socket("/agent/ws?agent_id=a&platform=kubernetes") as socket:
        await socket.send_str(text)
        message = await socket.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1008)
        assert message.extra
    assert "a" not in world.emu.streamspace.agents


async def test_agents_are_refused_before_the_upgrade_in_the_documented_form(world: World) -> None:
    for query, code in (
        ("platform=docker", "INVALID_PARAMETER"),
        ("agent_id=a&platform=vmware", "INVALID_PARAMETER"),
    ):
        status, body = await world.refusal(f"/agent/ws?{query}")
        assert (status, body["code"]) == (400, code)
        assert list(body) == ["error", "message", "code", "details", "timestamp", "request_id"]
    path = "/agent/ws?agent_id=a&platform=docker"
    assert (await world.refusal(path, Authorization="Bearer x.y.z"))[1][
        "code"
    ] == "AUTH_TOKEN_INVALID"
    assert (await world.refusal("/agent/vnc/proxy-1"))[0] == 404
    assert (await world.refusal("/agent/elsewhere"))[0] == 404
    async with world.http.get(f"{world.emu.url}{path}") as response:
        assert response.status == 400
    async with world.socket(path, headers={"Authorization": f"Bearer {token(world.emu)}"}):
        pass


# -- commands --------------------------------------------------------------------------------------


START_DATA = {
    "user": USER,
    "template": "firefox-browser",
    "image": "lscr.io/linuxserver/firefox:latest",
    "resources": {"memory": "4Gi", "cpu": "1000m"},
    "vnc": {"port": 3000},
    "persistent_home": True,
    "environment": {"PUID": "1000", "PGID": "1000", "TZ": "UTC"},
}


async def test_commands_reach_the_agent_and_its_results_change_the_session(world: World) -> None:
    async with world.agent() as agent:
        id_ = await world.create(resources={"memory": "4Gi"})
        session = await world.session(id_)
        assert (session["agent_id"], session["state"]) == ("agent-1", "pending")
        started = await agent.start()
        assert re.fullmatch(r"cmd-[0-9a-f]+", started["command_id"])
        assert started["session_id"] == id_
        name = {"name": session["name"], "namespace": "streamspace"}
        assert started["data"] == {**name, **START_DATA}
        status = (await world.until_state(id_, "running"))["status"]
        assert (status["pod_ip"], status["pod_name"], status["started_at"]) == (
            "10.9.8.7",
            "pod-1",
            "2025-11-22T10:45:12Z",
        )
        assert status["vnc_url"] == f"/vnc-viewer/{id_}"

        assert (await world.rest("PATCH", f"/sessions/{id_}", {"state": "hibernated"}))[1][
            "state"
        ] == "hibernating"
        assert (await agent.command("hibernate_session"))["data"] == name
        assert (await world.until_state(id_, "hibernated"))["status"]["pod_ip"] is None
        assert (await world.rest("PATCH", f"/sessions/{id_}", {"state": "running"}))[1][
            "state"
        ] == "waking"
        assert (await agent.command("wake_session"))["data"] == name
        assert (await world.until_state(id_, "running"))["status"]["pod_ip"] == "10.9.8.7"
        assert (await world.rest("DELETE", f"/sessions/{id_}"))[0] == 204
        assert (await agent.command("stop_session"))["data"] == {
            **name,
            "graceful": True,
            "timeout": "30s",
        }
        await world.until_state(id_, "terminated")
        assert not world.emu.streamspace.control.commands


async def test_session_created_as_hibernated_is_started_and_then_hibernated(world: World) -> None:
    async with world.agent() as agent:
        id_ = await world.create(state="hibernated")
        await agent.start()
        await agent.command("hibernate_session")
        await world.until_state(id_, "hibernated")


async def test_idle_session_is_hibernated_by_its_agent(world: World) -> None:
    async with world.agent() as agent:
        id_ = await agent.running(idle_timeout="5m")
        world.emu.clock.advance(301)
        await agent.command("hibernate_session")
        await world.until_state(id_, "hibernated")


@pytest.mark.parametrize(
    ("wanted", "after"),
    [
        (None, "failed"),
        ("hibernated", "running"),
        ("running", "hibernated"),
        ("terminating", "failed"),
    ],
)
async def test_failed_command_sets_the_sessions_state_and_message(
    world: World, wanted: str | None, after: str
) -> None:
    async with world.agent() as agent:
        if wanted is None:
            id_ = await world.create()
        else:
            id_ = await agent.running()
            if wanted == "running":
                world.emu.streamspace.set_state(id_, "hibernated")
            await world.rest("PATCH", f"/sessions/{id_}", {"state": wanted})
        command = await agent.hear()
        failure = {
            "status": "failed",
            "error": "no room in the pod",
            "error_code": "INSUFFICIENT_RESOURCES",
        }
        await agent.say("command_result", command_id=command["command_id"], **failure)
        await until(lambda: not world.emu.streamspace.control.commands)
        session = await world.session(id_)
        assert (session["state"], session["status"]["message"]) == (
            after,
            "no room in the pod (INSUFFICIENT_RESOURCES)",
        )


async def test_second_result_of_a_command_and_results_of_other_agents_are_ignored(
    world: World,
) -> None:
    async with world.agent() as agent, world.agent("agent-2") as other:
        id_ = await world.create()
        command = await agent.hear()
        answer = {
            "command_id": command["command_id"],
            "status": "failed",
            "error": "mine it is not",
        }
        await other.say("command_result", **answer)
        await other.say("heartbeat", capacity={"current_sessions": 1})
        await until(lambda: world.emu.streamspace.agents["agent-2"].other_sessions)
        assert world.state(id_) == "pending"
        await agent.say(
            "command_result", command_id=command["command_id"], status="completed", result={}
        )
        await agent.say("command_result", **answer)
        await agent.say("heartbeat", capacity={"current_sessions": 5})
        await until(lambda: world.emu.streamspace.agents["agent-1"].other_sessions == 4)
        assert world.state(id_) == "running"


async def test_unanswered_command_fails_and_a_start_is_stopped(
    world: World,
) -> None:
    world.emu.streamspace.control.command_timeout = 0.01
    async with world.agent() as agent:
        id_ = await world.create()
        start = await agent.hear()
        session = await world.until_state(id_, "failed")
        assert (
            session["status"]["message"]
            == "start_session was not answered within 0.01 s (COMMAND_TIMEOUT)"
        )
        stop = await agent.hear()
        assert (stop["command_type"], stop["data"]["graceful"]) == ("stop_session", False)
        await agent.say(
            "command_result", command_id=start["command_id"], status="completed", result={}
        )
        await until(lambda: not world.emu.streamspace.control.commands)
        assert world.state(id_) == "failed"


async def test_forced_end_is_immediate_and_is_sent_to_the_agent(world: World) -> None:
    async with world.agent() as agent:
        id_ = await agent.running()
        assert (await world.rest("DELETE", f"/sessions/{id_}?force=true"))[0] == 204
        assert world.state(id_) == "terminated"
        assert (await agent.hear())["data"]["graceful"] is False


async def test_built_in_agents_take_sessions_only_without_a_connected_agent(
    world: World,
) -> None:
    async with world.agent(max_sessions=1) as agent:
        docker = await world.create(platform="docker")
        assert world.emu.streamspace.sessions[docker].agent_id == "docker-host-01"
        await agent.running()
        assert (await world.rest("POST", "/sessions", {"user": USER, "template": "gimp-editor"}))[
            1
        ]["code"] == ("AGENT_CAPACITY_EXCEEDED")
        await world.rest("PATCH", "/agents/agent-1", {"status": "draining"})
        body = {"user": USER, "template": "gimp-editor", "platform": "kubernetes"}
        assert (await world.rest("POST", "/sessions", body))[1]["code"] == "NO_AGENTS_AVAILABLE"
    await until(lambda: world.emu.streamspace.agents["agent-1"].status == "offline")
    id_ = await world.create()
    assert world.emu.streamspace.sessions[id_].agent_id == "k8s-prod-us-east-1"
    world.emu.clock.advance(8)
    assert world.state(id_) == "running"
    async with world.agent():
        assert world.emu.streamspace.agents["agent-1"].status == "draining"


async def test_sessions_report_a_lost_agent_and_another_agent_takes_new_ones(
    world: World,
) -> None:
    async with world.agent() as agent:
        ids = [await agent.running() for _ in range(2)]
        pending = await world.create()
        command = await agent.hear()
    await until(lambda: world.emu.streamspace.agents["agent-1"].status == "offline")
    for id_ in ids:
        session = await world.session(id_)
        assert (session["state"], session["status"]["message"]) == (
            "running",
            "Agent 'agent-1' is offline",
        )
        assert (await world.rest("PATCH", f"/sessions/{id_}", {"state": "hibernated"}))[1][
            "code"
        ] == "AGENT_OFFLINE"
        assert (await world.refusal(f"/vnc-viewer/{id_}?token={token(world.emu)}"))[1][
            "code"
        ] == "AGENT_OFFLINE"
    async with world.agent("agent-2") as new:
        assert world.emu.streamspace.sessions[await new.running()].agent_id == "agent-2"
        async with world.agent() as back:
            assert (await world.session(ids[0]))["status"]["message"] == "Session is running"
            assert await back.hear() == command
            await back.say(
                "command_result", command_id=command["command_id"], status="completed", result={}
            )
            await world.until_state(pending, "running")


async def test_agent_that_connects_again_replaces_its_old_connection_without_being_offline(
    world: World,
) -> None:
    async with world.agent() as old, world.agent() as new:
        message = await old.socket.receive()
        assert (message.data, message.extra) == (1001, "the agent has connected again")
        assert world.emu.streamspace.agents["agent-1"].status == "online"
        assert world.emu.streamspace.sessions[await new.running()].agent_id == "agent-1"


@pytest.mark.parametrize("state", ["running", "hibernated"])
async def test_agent_can_report_that_a_session_ended(world: World, state: str) -> None:
    async with world.agent() as agent:
        id_ = await agent.running()
        world.emu.streamspace.set_state(id_, state)
        await agent.say("status", session_id=id_, state="failed", message="the desktop has ended")
        session = await world.until_state(id_, "failed")
        assert session["status"]["message"] == "the desktop has ended"


async def test_agent_can_report_only_its_own_live_sessions(world: World) -> None:
    async with world.agent() as agent, world.agent("agent-2") as other:
        id_ = await agent.running()
        over = await agent.running()
        world.emu.streamspace.set_state(over, "terminated")
        await other.say("status", session_id=id_, state="failed")
        await agent.say("status", session_id=over, state="failed")
        await agent.say("status", session_id="nothing", state="failed")
        await agent.say("status", session_id=id_, state="paused")
        for one in (agent, other):
            await one.say("heartbeat", capacity={"current_sessions": 7})
        await until(lambda: world.emu.streamspace.agents["agent-1"].other_sessions)
        await until(lambda: world.emu.streamspace.agents["agent-2"].other_sessions)
        assert (world.state(id_), world.state(over)) == ("running", "terminated")

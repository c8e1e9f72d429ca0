"""The sockets of the published server's agents, without the client.

What is expected here was seen on the published server (2026-11-28), where no source is named.
"""

from __future__ import annotations

import json

import pytest

from tests.emulator.published_sockets import AGENT, Json, Published, envelope, published
from tests.emulator.realtime_raw import until
from tests.unit.virtual_time import now, virtual

MISSING = "Either client certificate (mTLS) or X-Agent-API-Key header is required"


async def state_of(world: Published, id: str = AGENT) -> str:
    found: Json = (await world.ask("GET", f"/admin/agents/{id}"))[1]
    return str(found["status"])


@virtual
async def test_a_socket_needs_a_key_a_known_agent_and_an_upgrade() -> None:
    async with published() as world:
        path = f"/agents/connect?agent_id={AGENT}"
        assert await world.ask("GET", path, headers={}) == (
            401,
            {"error": "Missing authentication", "details": MISSING},
        )
        assert await world.ask("GET", path, headers=world.key()) == (
            404,
            {
                "error": "Agent not found",
                "details": "Agent must register before connecting via WebSocket",
                "agentId": AGENT,
            },
        )
        assert await world.ask("GET", "/agents/connect", headers=world.key()) == (
            400,
            {"error": "Missing agent_id", "details": "agent_id must be provided"},
        )
        async with world.agent():
            assert await world.ask("GET", path, headers=world.key()) == (400, "Bad Request\n")
            assert await world.refused(path, {"X-Agent-API-Key": "a" * 64}) == 403
            assert await world.refused(path, {}) == 401


@virtual
async def test_an_agent_is_online_while_it_is_connected_and_says_its_capacity() -> None:
    async with published() as world:
        async with world.agent() as agent:
            assert "X-Request-ID" not in agent.socket._response.headers  # noqa: SLF001 - not public
            await agent.say("heartbeat", status="draining", capacity={"maxSessions": 7})
            # What it drops: no JSON, several objects at once, and a time that is none.
            for text in ("nonsense", f"{envelope('x')}\n{envelope('x')}"):
                await agent.socket.send_str(text)
            beat = {"type": "heartbeat", "timestamp": "today", "payload": {"capacity": {}}}
            await agent.socket.send_str(json.dumps(beat))
            await agent.hears_nothing()
            _, seen = await world.ask("GET", f"/admin/agents/{AGENT}")
            assert (seen["status"], seen["capacity"]) == (
                "online",
                {"maxSessions": 7, "cpu": "", "memory": ""},
            )
        await until(lambda: world.service.agents[AGENT].status == "offline")


@virtual
async def test_a_command_is_sent_with_its_payload_and_only_a_status_changes_a_session() -> None:
    async with published() as world, world.agent() as agent:
        name = await world.create(tags=["a"], idleTimeout="30m")
        command = await agent.command("start_session", name)
        assert list(command["payload"]) == [
            "cpu",
            "idleTimeout",
            "maxSessionDuration",
            "memory",
            "namespace",
            "persistentHome",
            "sessionId",
            "tags",
            "template",
            "templateManifest",
            "user",
        ]
        await agent.say("ack", commandId=command["commandId"])
        await agent.say("complete", commandId=command["commandId"], result={})
        await agent.hears_nothing()
        assert (await world.session(name))["state"] == "pending"
        await agent.status(name, "running")
        await agent.hears_nothing()
        seen = await world.session(name)
        assert (seen["state"], seen["status"]["podName"]) == ("running", "pod-1")
        assert seen["status"]["url"] == f"/api/v1/sessions/{name}/vnc"
        # The next one overwrites what it does not say.
        await agent.say("status", sessionId=name, state="anything")
        await agent.hears_nothing()
        seen = await world.session(name)
        assert (seen["state"], seen["status"]["podName"], seen["status"]["url"]) == (
            "anything",
            "",
            "",
        )


@virtual
async def test_what_waits_is_sent_in_one_message_on_lines_of_its_own() -> None:
    async with published() as world, world.agent() as agent:
        agent.aclose()
        for number in range(3):
            world.service.realtime.server.tell(AGENT, "ping", {"number": number})
        lines = (await agent.socket.receive()).data.split("\n")
        assert [json.loads(line)["payload"]["number"] for line in lines] == [0, 1, 2]


@virtual
async def test_what_a_viewer_sends_is_text_whatever_it_is() -> None:
    async with published() as world, world.agent() as agent:
        name = await world.running(agent)
        agent.aclose()
        async with world.viewer(name) as viewer:
            for text in ("YQ==", "<&>", ""):
                await viewer.send_str(text)
            await viewer.send_bytes(b"\xff\x00raw")
            found: list[Json] = []
            while len(found) < 4:
                found += [
                    json.loads(line) for line in (await agent.socket.receive()).data.split("\n")
                ]
        assert [one["payload"]["data"] for one in found] == ["YQ==", "<&>", "", "\ufffd\0raw"]
        assert {one["type"] for one in found} == {"vnc_data"}


@virtual
async def test_a_command_made_while_the_agent_is_away_is_lost() -> None:
    async with published() as world:
        async with world.agent() as agent:
            name = await world.running(agent)
        await until(lambda: world.service.agents[AGENT].status == "offline")
        status, _ = await world.ask("PUT", f"/sessions/{name}/hibernate")
        assert status == 202
        async with world.agent() as agent:
            await agent.hears_nothing()
            assert (await world.session(name))["state"] == "hibernating"


@virtual
async def test_a_second_connection_ends_the_first_and_then_itself() -> None:
    async with published() as world, world.agent() as first:
        begun, second = now(), await world.connect()
        message = await second.receive()
        await first.ended.wait()
        assert now() - begun < 1
        assert (message.data, second.close_code, first.socket.close_code) == (None, 1006, 1006)
        async with world.connect() as third:
            with pytest.raises(TimeoutError):
                await third.receive(timeout=1)
            assert await state_of(world) == "online"


@virtual
async def test_a_message_above_512_kib_ends_the_connection_with_1009() -> None:
    async with published() as world:
        async with world.agent() as agent:
            room = 512 * 1024 - len(envelope("vnc_data", sessionId="s", data=""))
            await agent.show("s", "a" * room)
            await agent.hears_nothing()
            await agent.show("s", "a" * (room + 1))
            await agent.ended.wait()
            assert agent.socket.close_code == 1009


@virtual
async def test_an_agent_without_heartbeats_is_ended_after_45_seconds() -> None:
    async with published() as world, world.agent() as agent:
        begun = now()
        agent._tasks[1].cancel()  # noqa: SLF001 - its heart
        await agent.ended.wait()
        assert 45 <= now() - begun <= 56
        assert await state_of(world) == "offline"


@virtual
async def test_an_agent_that_answers_no_ping_is_ended_after_60_seconds() -> None:
    async with published() as world, world.agent() as agent:
        agent._tasks[0].cancel()  # noqa: SLF001 - it no longer reads, and so answers nothing
        begun = now()
        await until(lambda: world.service.agents[AGENT].status == "offline")
        assert 59 <= now() - begun <= 62


@virtual
async def test_an_agent_s_queue_drops_what_comes_while_it_is_full() -> None:
    async with published() as world, world.agent() as agent:
        name = await world.running(agent)
        connection = world.service.realtime.server.hub.get(AGENT)
        assert connection is not None
        for _ in range(300):
            await agent.show(name, "QUJD")
        await until(lambda: connection.incoming.dropped == 44)
        assert (len(connection.incoming), connection.incoming.dropped) == (256, 44)


@virtual
async def test_a_restart_ends_every_socket_and_forgets_what_was_queued() -> None:
    async with published() as world, world.agent() as agent:
        name = await world.running(agent)
        await agent.show(name, "b2xk")
        async with world.viewer(name) as viewer:
            assert (await viewer.receive()).data == "b2xk"
            await agent.show("other", "eA==")
            world.service.realtime.server.restart()
            await agent.ended.wait()
            assert (await viewer.receive(), viewer.close_code)[1] == 1006
        # In the database the agent is what it was, and it may connect again at once.
        assert await state_of(world) == "online"
        async with world.agent() as again:
            await again.show(name, "bmV3")
            async with world.viewer(name) as viewer:
                assert (await viewer.receive()).data == "bmV3"

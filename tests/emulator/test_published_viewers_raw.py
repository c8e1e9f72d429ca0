"""Viewers of the published server, and what goes wrong in its relay, without the client.

What is expected here was seen on the published server (2026-11-28), unless it says "source".
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import aiohttp

from tests.emulator.published_sockets import AGENT, Agent, Published, published, texts
from tests.emulator.realtime_raw import transport_of, until
from tests.unit.virtual_time import now, virtual
from vcloud.emulator.streamspace.control import rfb
from vcloud.emulator.streamspace.published.realtime.connections import Connection

CLOSE = {"reason": "client_disconnect"}


def queue(world: Published) -> Connection:
    found = world.service.realtime.server.hub.get(AGENT)
    assert found is not None
    return found


async def closes(agent: Agent, name: str) -> None:
    heard = await agent.hear()
    assert heard["type"] == "vnc_close", heard
    assert heard["payload"] == {"sessionId": name, **CLOSE}


async def reading(socket: aiohttp.ClientWebSocketResponse) -> tuple[asyncio.Task[None], list[Any]]:
    """Read all the time, so that pings are answered."""
    found: list[Any] = []

    async def read() -> None:
        async for message in socket:
            found.append(message.data)

    return asyncio.create_task(read()), found


@virtual
async def test_who_may_view_what() -> None:
    async with published() as world, world.agent() as agent:
        world.service.add_user("jane", "secret")
        name = await world.create()
        path = f"/vnc/{name}"
        assert await world.ask("GET", path) == (
            409,
            {"error": "Session is not running (state: pending)"},
        )
        await agent.status(name, "running")
        await agent.command("start_session", name)
        await agent.hears_nothing()
        assert await world.ask("GET", path) == (400, "Bad Request\n")
        assert await world.refused(path, world.bearer("jane")) == 403
        assert await world.refused(path, {}) == 401
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
        assert await world.ask("GET", path, headers=upgrade) == (401, "")
        assert await world.ask("GET", path, headers=upgrade | world.bearer("jane")) == (
            403,
            {"error": "Access denied"},
        )
        assert await world.refused("/vnc/nobody", world.bearer()) == 404
        assert await world.ask("GET", path, headers=world.bearer("jane")) == (
            403,
            {"error": "Access denied"},
        )
        token = world.bearer()["Authorization"].removeprefix("Bearer ")
        if "--" not in token:
            async with world.http.ws_connect(world.url(f"{path}?token={token}")):
                pass
            row = (await world.ask("PATCH", f"/sessions/{name}/tags", {"tags": []}))[1]
            assert "last_connection" in row
    async with published() as world:
        async with world.agent() as agent:
            name = await world.running(agent)
        await until(lambda: not world.service.connected(AGENT))
        assert await world.ask("GET", f"/vnc/{name}") == (
            503,
            {"error": f"Agent {AGENT} is not connected"},
        )


@virtual
async def test_a_session_that_is_a_web_page_is_answered_with_json_instead_of_an_upgrade() -> None:
    async with published() as world, world.agent() as agent:
        name = await world.create("gimp-editor")
        await agent.command("start_session", name)
        await agent.status(name, "running", ready=False)
        await agent.hears_nothing()
        status, waiting = await world.ask("GET", f"/vnc/{name}")
        assert (status, waiting["protocol"], waiting["retry_after"]) == (202, "selkies", 5)
        await agent.status(name, "running")
        await agent.hears_nothing()
        assert await world.refused(f"/vnc/{name}", world.bearer()) == 200
        assert (await world.ask("GET", f"/vnc/{name}"))[1] == {
            "type": "http_session",
            "protocol": "selkies",
            "url": f"/api/v1/sessions/{name}/vnc",
            "port": 3000,
            "path": "/websockify",
            "session_id": name,
            "message": "Access this session via the provided URL",
        }
        for page in (f"/http/{name}", f"/http/{name}/", f"/http/{name}/app/main.js"):
            status, text = await world.ask("GET", page)
            assert status == 502
            assert "Proxy error" in text
        name = await world.running(agent)
        assert (await world.ask("GET", f"/http/{name}/"))[0] == 400
        assert (await world.ask("GET", "/http/nobody/"))[0] == 404


@virtual
async def test_both_ways_are_text_as_it_is() -> None:
    async with published() as world, world.agent() as agent:
        name = await world.running(agent)
        async with world.viewer(name) as viewer:
            for data in ("UkZC", "", "not base64 <ä>"):
                await agent.show(name, data)
            await agent.show("another", "AAAA")
            assert await texts(viewer) == ["UkZC", "", "not base64 <ä>"]
            await viewer.send_str("")
            heard = await agent.hear()
            assert heard["payload"] == {"sessionId": name, "data": ""}
            assert (await world.session(name))["activeConnections"] == 1


@virtual
async def test_a_viewer_that_leaves_is_noticed_only_if_the_agent_has_not_woken_its_relay() -> None:
    async with published() as world, world.agent() as agent:
        name = await world.running(agent)
        async with world.viewer(name):
            pass
        await closes(agent, name)
        # Closed in order: the first write fails.
        async with world.viewer(name) as viewer:
            await asyncio.sleep(0.1)
            await agent.show(name, "aGk=")
            assert await texts(viewer) == ["aGk="]
        await agent.hears_nothing()
        await agent.show(name, "")
        await closes(agent, name)
        # Lost: the second one does.
        viewer = await world.viewer(name)
        await asyncio.sleep(0.1)
        await agent.show(name, "aGk=")
        assert await texts(viewer) == ["aGk="]
        transport_of(viewer).abort()
        await agent.hears_nothing()
        await agent.show(name, "")
        await agent.hears_nothing()
        await agent.show(name, "")
        await closes(agent, name)
        await viewer.close()
        assert (await world.session(name))["activeConnections"] == 0


@virtual
async def test_a_second_viewer_ends_the_first_whose_relay_takes_one_message_more() -> None:
    async with published() as world, world.agent() as agent:
        name = await world.running(agent)
        first = await world.viewer(name)
        await asyncio.sleep(0.1)
        await agent.show(name, "aGk=")
        assert await texts(first) == ["aGk="]
        async with world.viewer(name) as second:
            assert (await first.receive(), first.close_code)[1] == 1006
            await asyncio.sleep(0.1)
            for data in ("b25l", "dHdv"):
                await agent.show(name, data)
                await asyncio.sleep(0.1)
            assert await texts(second) == ["dHdv"]
            # Though the session is viewed.
            await closes(agent, name)


@virtual
async def test_what_one_viewer_left_in_the_queue_is_given_to_the_next() -> None:
    async with published() as world, world.agent() as agent:
        name = await world.running(agent)
        await agent.show(name, "b2xk")
        await agent.hears_nothing()
        async with world.viewer(name) as viewer:
            assert await texts(viewer) == ["b2xk"]


@virtual
async def test_viewers_of_two_sessions_take_each_other_s_messages() -> None:
    async with published() as world, world.agent() as agent:
        names = [await world.running(agent) for _ in range(2)]
        async with world.viewer(names[0]) as one, world.viewer(names[1]) as other:
            await asyncio.sleep(0.1)
            for _ in range(10):
                for name in names:
                    await agent.show(name, "aGk=")
            assert len(await texts(one)) + len(await texts(other)) < 20


@virtual
async def test_a_viewer_is_told_nothing_when_its_session_is_stopped_or_its_agent_leaves() -> None:
    async with published() as world:
        async with world.agent() as agent:
            name = await world.running(agent)
            viewer = await world.viewer(name)
            assert (await world.ask("DELETE", f"/sessions/{name}"))[0] == 202
            await agent.command("stop_session", name)
            await agent.status(name, "terminated")
            assert await texts(viewer) == []
        assert await texts(viewer) == []
        assert not viewer.closed
        await viewer.close()


@virtual
async def test_viewers_from_before_an_agent_s_new_connection_send_and_get_nothing() -> None:
    """Source: a relay keeps the connection that the agent had; what viewers send finds the new."""
    async with published() as world:
        async with world.agent() as agent:
            name = await world.running(agent)
            viewer = await world.viewer(name)
        async with world.agent() as agent:
            await viewer.send_str("Z28=")
            assert (await agent.hear())["payload"] == {"sessionId": name, "data": "Z28="}
            await agent.show(name, "bmV3")
            assert await texts(viewer) == []
        await viewer.close()


@virtual
async def test_a_viewer_whose_agent_takes_nothing_is_no_longer_read() -> None:
    """Source: what does not fit into the agent's queue ends the viewer's way to it."""
    async with published() as world, world.agent() as agent:
        name = await world.running(agent)
        agent.aclose()
        transport_of(agent.socket).pause_reading()
        viewer = await world.viewer(name)
        closing = asyncio.create_task(viewer.receive())
        while not closing.done():
            with contextlib.suppress(ConnectionError):
                await viewer.send_str("A" * 100_000)
        assert viewer.close_code == 1006
        assert queue(world).outgoing.dropped
        assert world.panics == 0
        transport_of(agent.socket).resume_reading()


# -- what ends the server --------------------------------------------------------------------------


@virtual
async def test_an_error_that_an_agent_reports_for_a_viewed_session_ends_the_whole_server() -> None:
    async with published() as world, world.agent() as agent:
        name = await world.running(agent)
        viewer = await world.viewer(name)
        await agent.say("vnc_error", sessionId="another", error="gone")
        assert await texts(viewer) == []
        await agent.say("vnc_error", sessionId=name, error="gone")
        await agent.ended.wait()
        assert (await viewer.receive(), viewer.close_code)[1] == 1006
        assert world.panics == 1


@virtual
async def test_a_viewer_s_ping_ends_the_server_with_the_first_message_10_seconds_later() -> None:
    async with published() as world, world.agent() as agent:
        name = await world.running(agent)
        viewer = await world.viewer(name)
        task, found = await reading(viewer)
        await viewer.ping()
        await asyncio.sleep(9)
        await agent.show(name, "b2s=")
        await asyncio.sleep(2)
        assert (found, world.panics) == (["b2s="], 0)
        await agent.show(name, "bGF0ZQ==")
        await agent.ended.wait()
        assert (found, world.panics) == (["b2s="], 1)
        await task
        await viewer.close()


@virtual
async def test_the_server_s_own_ping_ends_it_64_seconds_after_a_viewer_came() -> None:
    async with published() as world, world.agent() as agent:
        name = await world.running(agent)
        viewer = await world.viewer(name)
        task, found = await reading(viewer)
        begun = now()
        while not agent.ended.is_set():
            await agent.show(name, "aGk=")
            await asyncio.sleep(0.5)
        assert 64 <= now() - begun < 66
        assert (world.panics, len(found) >= 127) == (1, True)
        await task
        await viewer.close()


@virtual
async def test_a_viewer_that_pings_from_the_server_s_first_ping_on_keeps_it_alive() -> None:
    async with published() as world, world.agent() as agent:
        name = await world.running(agent)
        viewer = await world.viewer(name, autoping=False)
        kinds = []

        async def read() -> None:
            async for message in viewer:
                kinds.append(message.type)
                if message.type is aiohttp.WSMsgType.PING:
                    await viewer.pong(message.data)

        async def ping() -> None:
            await until(lambda: aiohttp.WSMsgType.PING in kinds)
            while True:
                await viewer.ping()
                await asyncio.sleep(4)

        tasks = [asyncio.create_task(read()), asyncio.create_task(ping())]
        for _ in range(300):
            await agent.show(name, "aGk=")
            await asyncio.sleep(1)
        assert (world.panics, kinds.count(aiohttp.WSMsgType.TEXT)) == (0, 300)
        assert kinds.count(aiohttp.WSMsgType.PING) == 5
        for task in tasks:
            task.cancel()
        await viewer.close()


@virtual
async def test_a_ping_while_a_viewer_takes_nothing_ends_the_server() -> None:
    async with published() as world, world.agent() as agent:
        name = await world.running(agent)
        viewer = await world.viewer(name)
        transport_of(viewer).pause_reading()
        begun = now()
        for _ in range(60):
            await agent.show(name, "A" * 400_000)
        await agent.ended.wait()
        assert 53 <= now() - begun <= 55
        assert world.panics == 1
        transport_of(viewer).resume_reading()
        await viewer.close()


@virtual
async def test_a_viewer_that_says_nothing_for_120_seconds_is_left() -> None:
    """Source: pongs count as something."""
    async with published() as world, world.agent() as agent:
        name = await world.running(agent)
        viewer = await world.viewer(name, autoping=False)
        begun = now()
        await closes(agent, name)
        assert 119 <= now() - begun <= 121
        assert world.panics == 0
        await viewer.close()


# -- pictures --------------------------------------------------------------------------------------


@virtual
async def test_a_4k_picture_is_whole_in_full_messages_and_not_in_small_ones() -> None:
    """33 177 616 bytes to a viewer that waits 3 s, as measured on the published server."""
    size = 33_177_616
    for part, whole in ((32 * 1024, False), (300_000, True)):
        async with published() as world, world.agent() as agent:
            name = await world.running(agent)
            viewer = await world.viewer(name)
            transport_of(viewer).pause_reading()
            await agent.show(name, "aGk=")
            for start in range(0, size, part):
                await agent.show(name, "A" * ((min(part, size - start) + 2) // 3 * 4))
            asyncio.get_running_loop().call_later(3, transport_of(viewer).resume_reading)
            await asyncio.sleep(3)
            got = sum(len(text) for text in await texts(viewer)) * 3 // 4
            assert (got >= size) is whole
            assert (queue(world).incoming.dropped == 0) is whole
            await viewer.close()


@virtual
async def test_the_built_in_agent_shows_each_viewer_its_screen_from_the_beginning() -> None:
    async with published() as world:
        name = world.service.add_session().name
        for _ in range(3):
            async with world.viewer(name) as viewer:
                assert (await viewer.receive()).data == "UkZCIDAwMy4wMDgK"
                await viewer.send_str("UkZCIDAwMy4wMDgK")
                assert (await viewer.receive()).data == "AQE="
        assert isinstance(world.service.screen(name), rfb.Screen)
        assert world.panics == 0

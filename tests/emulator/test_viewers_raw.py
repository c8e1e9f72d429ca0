"""Viewers, followed logs and the emulator's end over WebSockets, without the client."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.emulator.realtime_raw import World, echo, flood, leave, token, transport_of, until
from vcloud.emulator import Clock, Emulator, Fault
from vcloud.emulator.credentials import ADMIN

pytestmark = pytest.mark.asyncio


@pytest.fixture
async def world() -> AsyncIterator[World]:
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        Emulator(clock=Clock.stopped(), rate_limits=False) as emu,
        aiohttp.ClientSession(connector=connector) as http,
    ):
        yield World(emu, http)


# -- pictures --------------------------------------------------------------------------------------


async def test_bytes_go_both_ways_between_viewer_and_agent_until_the_viewer_leaves(
    world: World,
) -> None:
    async with world.agent() as agent:
        id_ = await agent.running()
        opening = asyncio.create_task(world.viewer(id_).__aenter__())
        request = await agent.hear()
        data = {"pod_name": "pod-1", "namespace": "streamspace", "vnc_port": 5907}
        proxy = request["proxy_id"]
        assert request == {
            "type": "vnc_proxy_request",
            "session_id": id_,
            "proxy_id": proxy,
            "data": data,
        }
        async with world.socket(f"/agent/vnc/{proxy}") as picture:
            viewer = await opening
            assert (await world.refusal(f"/agent/vnc/{proxy}"))[0] == 404
            await picture.send_bytes(b"RFB 003.008\n")
            assert await viewer.receive_bytes() == b"RFB 003.008\n"
            await viewer.send_str(base64.b64encode(b"\x00\x01").decode())
            assert await picture.receive_bytes() == b"\x00\x01"
            await viewer.close()
            assert (await picture.receive()).data == 1000
        await until(lambda: not world.emu.streamspace.sessions[id_].viewers)
        log = (await world.rest("GET", f"/sessions/{id_}/logs?timestamps=false"))[1]["logs"]
        assert log[-2:] == ["[INFO] User connected via VNC", "[INFO] User disconnected from VNC"]


@pytest.mark.parametrize("end", ["agent", "agent's program", "session", "nonsense"])
async def test_viewer_is_closed_when_the_other_side_ends(world: World, end: str) -> None:
    async with world.agent() as agent:
        id_ = await agent.running()
        opening = asyncio.create_task(world.viewer(id_).__aenter__())
        picture = await agent.picture()
        viewer = await opening
        if end == "agent":
            await picture.close()
        elif end == "agent's program":
            transport_of(picture).abort()
        elif end == "session":
            world.emu.streamspace.set_state(id_, "hibernated")
        else:
            await viewer.send_str("no base64 !")
        code = {"agent's program": 1011, "nonsense": 1003}.get(end, 1000)
        assert (await viewer.receive()).data == code
        await picture.close()
        await viewer.close()


@pytest.mark.parametrize("size", [1000, 50_000, 250_000])
async def test_clean_end_stays_clean_though_the_agent_leaves_before_a_slow_viewer(
    world: World, size: int
) -> None:
    sizes = [256 * 1024] * 72 + [size] * 20

    async def say_all_and_leave(picture: aiohttp.ClientWebSocketResponse) -> None:
        for each in sizes:
            await picture.send_bytes(bytes(each))
        await leave(picture)

    async with world.agent() as agent:
        id_ = await agent.running()
        for _ in range(4):
            opening = asyncio.create_task(world.viewer(id_).__aenter__())
            picture = await agent.picture()
            viewer = await opening
            writing = asyncio.create_task(say_all_and_leave(picture))
            received = 0
            while (message := await viewer.receive()).type is aiohttp.WSMsgType.BINARY:
                received += len(message.data)
                # Slower than the agent, so that the emulator waits for the viewer.
                await asyncio.sleep(0.001)
            await writing
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1000)
            assert received == sum(sizes)
            await viewer.close()
            await picture.close()


@pytest.mark.parametrize(
    ("end", "code", "reason"),
    [
        ("agent says why", 1000, "the VNC server has ended"),
        ("agent breaks off", 1011, "the VNC server has crashed"),
        ("agent is lost", 1011, "the connection of the agent was lost"),
        ("session", 1000, "the session is hibernated"),
        ("nonsense", 1003, "the viewer sent a text that is not base64"),
    ],
)
async def test_viewer_is_closed_with_a_reason(
    world: World, end: str, code: int, reason: str
) -> None:
    async with world.agent() as agent:
        id_ = await agent.running()
        opening = asyncio.create_task(world.viewer(id_).__aenter__())
        picture = await agent.picture()
        viewer = await opening
        match end:
            case "agent says why":
                await picture.close(message=b"the VNC server has ended")
            case "agent breaks off":
                await picture.close(code=1011, message=b"the VNC server has crashed")
            case "agent is lost":
                transport_of(picture).abort()
            case "session":
                world.emu.streamspace.set_state(id_, "hibernated")
            case _:
                await viewer.send_str("no base64 !")
        message = await viewer.receive()
        assert (message.data, message.extra) == (code, reason)
        await picture.close()
        await viewer.close()


async def test_viewers_get_base64_in_text_frames_with_base64_vnc(
    world: World,
) -> None:
    world.emu.streamspace.base64_vnc = True
    async with world.agent() as agent:
        id_ = await agent.running()
        opening = asyncio.create_task(world.viewer(id_).__aenter__())
        picture = await agent.picture()
        viewer = await opening
        await picture.send_bytes(b"\xff\x00")
        assert await viewer.receive_str() == "/wA="
        await viewer.close()
        await picture.close()


async def test_viewers_are_refused_before_the_upgrade_in_the_documented_form(world: World) -> None:
    streamspace = world.emu.streamspace
    own, asleep = streamspace.add_session().id, streamspace.add_session(state="hibernated").id
    others = streamspace.add_session(user=ADMIN).id
    good = token(world.emu)
    for path, expected in (
        (f"{own}", (401, "AUTH_TOKEN_MISSING")),
        (f"{own}?token={good}x", (401, "AUTH_TOKEN_INVALID")),
        (f"{others}?token={good}", (403, "AUTH_INSUFFICIENT_PERMISSIONS")),
        (f"none?token={good}", (404, "SESSION_NOT_FOUND")),
        (f"a/b?token={good}", (404, "NOT_FOUND")),
        (f"{asleep}?token={good}", (409, "SESSION_NOT_RUNNING")),
    ):
        status, body = await world.refusal(f"/vnc-viewer/{path}")
        assert (status, body["code"]) == expected
        assert list(body) == ["error", "message", "code", "details", "timestamp", "request_id"]
    async with world.http.get(f"{world.emu.url}/vnc-viewer/{own}?token={good}") as response:
        assert response.status == 400
    assert good not in repr(world.emu.calls)
    old = token(world.emu)
    world.emu.clock.advance(86401)
    assert (await world.refusal(f"/vnc-viewer/{own}?token={old}"))[1][
        "code"
    ] == "AUTH_TOKEN_EXPIRED"


async def test_missing_picture_is_an_error_before_the_upgrade(
    world: World,
) -> None:
    async with world.agent() as agent:
        id_ = await agent.running()
        path = f"/vnc-viewer/{id_}?token={token(world.emu)}"
        asked = asyncio.create_task(world.refusal(path))
        request = await agent.hear()
        await agent.say(
            "vnc_proxy_error",
            proxy_id=request["proxy_id"],
            session_id=id_,
            error="connection refused",
        )
        status, body = await asked
        assert (status, body["code"], body["message"]) == (
            503,
            "VNC_PROXY_FAILED",
            "connection refused",
        )
        world.emu.streamspace.control.vnc_timeout = 0.01
        assert (await world.refusal(path))[1]["code"] == "VNC_PROXY_FAILED"
        world.emu.streamspace.control.vnc_timeout = 10.0
        await agent.hear()
        asked = asyncio.create_task(world.refusal(path))
        await agent.hear()
        await agent.socket.close()
        assert (await asked)[1]["code"] == "AGENT_OFFLINE"


async def test_viewer_that_does_not_read_slows_its_agent(world: World) -> None:
    async with world.agent() as agent:
        id_ = await agent.running()
        opening = asyncio.create_task(world.viewer(id_).__aenter__())
        picture = await agent.picture()
        viewer = await opening
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                await picture.send_bytes(bytes(256 * 1024))
                sent += 1

        flooding = asyncio.create_task(flood())
        before = -1
        # Sockets have buffers of some megabytes; beyond them, nothing may be sent.
        while sent != before:
            before = sent
            await asyncio.sleep(0.03)
        assert sent * 256 < 64 * 1024
        for _ in range(sent):
            assert len(await viewer.receive_bytes()) == 256 * 1024
        await until(lambda: sent > before)
        flooding.cancel()
        await viewer.close()
        await picture.close()


async def test_fifty_viewers_at_once_each_have_their_own_connection(world: World) -> None:
    async with world.agent() as agent:
        id_ = await agent.running()
        openings = [asyncio.create_task(world.viewer(id_).__aenter__()) for _ in range(50)]
        pictures = [await agent.picture() for _ in range(50)]
        echoing = [asyncio.create_task(echo(picture)) for picture in pictures]
        viewers = [await opening for opening in openings]
        for _ in range(3):
            for number, viewer in enumerate(viewers):
                await viewer.send_bytes(bytes([number]) * 5000)
            for number, viewer in enumerate(viewers):
                assert await viewer.receive_bytes() == bytes([number]) * 5000
        await asyncio.gather(*(viewer.close() for viewer in viewers))
        await asyncio.gather(*echoing)
        await until(lambda: not world.emu.streamspace.sessions[id_].viewers)


# -- logs ------------------------------------------------------------------------------------------


async def test_followed_log_has_its_tail_then_new_lines_and_closes_with_the_session(
    world: World,
) -> None:
    id_ = world.emu.streamspace.add_session().id
    world.emu.clock.advance(4)
    async with world.follower(id_, "&tail=1&timestamps=false") as socket:
        assert await socket.receive_str() == "[INFO] noVNC web server started on port 6080"
        world.emu.streamspace.log(id_, "one\ntwo")
        assert await socket.receive_str() == "[INFO] one\n[INFO] two"
        world.emu.clock.advance(2)
        assert await socket.receive_str() == "[INFO] firefox-browser initialized"
        await world.rest("DELETE", f"/sessions/{id_}")
        assert await socket.receive_str() == "[INFO] Shutting down"
        world.emu.clock.advance(5)
        assert await socket.receive_str() == "[INFO] Session terminated"
        message = await socket.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1000)
        assert message.extra == "the session is terminated"


async def test_followed_lines_have_timestamps_and_none_is_lost(world: World) -> None:
    id_ = world.emu.streamspace.add_session().id
    async with world.follower(id_, "&tail=1") as socket:
        stamp, _, line = (await socket.receive_str()).partition(" ")
        assert (stamp, line) == (
            world.emu.clock.iso(world.emu.clock.now(), "seconds"),
            "[INFO] Container started",
        )
        for number in range(2000):
            world.emu.streamspace.log(id_, f"line {number}")
        seen: list[str] = []
        while len(seen) < 2000:
            seen += (await socket.receive_str()).split("\n")
        assert [line.partition("] ")[2] for line in seen] == [
            f"line {number}" for number in range(2000)
        ]


async def test_log_of_an_ended_session_is_sent_and_closed(world: World) -> None:
    id_ = world.emu.streamspace.add_session(state="terminated").id
    async with world.follower(id_) as socket:
        assert (await socket.receive_str()).endswith("[INFO] Session terminated")
        assert (await socket.receive()).data == 1000


async def test_followers_are_refused_before_the_upgrade(world: World) -> None:
    id_ = world.emu.streamspace.add_session(user=ADMIN).id
    path = f"/api/v1/sessions/{id_}/logs?follow=true"
    assert (await world.refusal(path))[1]["code"] == "AUTH_TOKEN_MISSING"
    assert (await world.refusal(path, Authorization=f"Bearer {token(world.emu)}"))[1][
        "code"
    ] == "SESSION_NOT_FOUND"


async def test_faults_apply_to_upgrades_too(world: World) -> None:
    id_ = world.emu.streamspace.add_session().id
    world.emu.faults.add("GET /vnc-viewer/*", Fault.reply(502, b"<html>"))
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await world.viewer(id_).__aenter__()
    assert caught.value.status == 502
    world.emu.faults.add("GET /vnc-viewer/*", Fault.truncate(3))
    async with world.viewer(id_) as viewer:
        assert await viewer.receive_bytes() == b"RFB 003.008\n"


# -- the end ---------------------------------------------------------------------------------------


async def test_emulator_closes_every_connection() -> None:
    before = asyncio.all_tasks()
    async with aiohttp.ClientSession() as http:
        emu = Emulator(rate_limits=False)
        await emu.start()
        world = World(emu, http)
        built_in = emu.streamspace.add_session().id
        async with world.agent() as agent:
            id_ = await agent.running()
            opening = asyncio.create_task(world.viewer(id_).__aenter__())
            picture = await agent.picture()
            waiting = asyncio.create_task(world.refusal(f"/vnc-viewer/{id_}?token={token(emu)}"))
            await agent.hear()
            await world.create()
            sockets = [agent.socket, picture, await opening]
            sockets += [
                await world.viewer(built_in).__aenter__(),
                await world.follower(id_).__aenter__(),
            ]
            reading = [asyncio.create_task(_to_the_end(socket)) for socket in sockets]
            await emu.aclose()
            assert await asyncio.gather(*reading) == [1001] * len(sockets)
            assert (await waiting)[0] == 503
            await emu.aclose()
        assert emu.streamspace.agents["agent-1"].status == "offline"
        assert not emu.streamspace.control.commands
    await until(lambda: asyncio.all_tasks() == before)


async def _to_the_end(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    async for _ in socket:
        pass
    return socket.close_code


async def test_emulator_closes_though_a_viewer_does_not_read(world: World) -> None:
    async with world.agent() as agent:
        id_ = await agent.running()
        opening = asyncio.create_task(world.viewer(id_).__aenter__())
        picture = await agent.picture()
        viewer = await opening
        await flood(picture)
        await world.emu.aclose()
        await viewer.close()
        await picture.close()

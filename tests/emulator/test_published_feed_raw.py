"""The published server's feed of sessions, without the client.

What is expected here was seen on the published server (2026-11-28), unless it says "source".
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import aiohttp

from tests.emulator.published_sockets import Json, Published, published
from tests.emulator.realtime_raw import transport_of, until
from tests.unit.virtual_time import now, virtual

SECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def follow(world: Published) -> Any:
    return world.http.ws_connect(
        world.url("/ws/sessions"), headers=world.bearer(), max_msg_size=0, autoping=False
    )


async def hear(socket: aiohttp.ClientWebSocketResponse) -> Json:
    return dict(json.loads(await socket.receive_str()))


@virtual
async def test_the_whole_list_comes_every_three_seconds() -> None:
    async with published() as world, world.agent() as agent:
        names = [await world.running(agent), await world.create(idleTimeout="1h30m")]
        gone = world.service.add_session(state="terminated").name
        async with follow(world) as feed:
            assert "X-Request-ID" not in feed._response.headers  # noqa: SLF001 - not public
            begun = now()
            first = await hear(feed)
            await hear(feed)
            assert 5.9 <= now() - begun <= 6.1
    assert list(first) == ["count", "org_id", "sessions", "timestamp", "type"]
    assert (first["count"], first["org_id"], first["type"]) == (2, "default-org", "sessions_update")
    assert [one["name"] for one in first["sessions"]] == [*reversed(names)]
    assert gone not in names
    starting, running = first["sessions"]
    assert running["status"] == {
        "phase": "Running",
        "podName": "pod-1",
        "url": f"/api/v1/sessions/{names[0]}/vnc",
    }
    assert running["resources"] == {"cpu": "1000m", "memory": "2Gi"}
    assert (running["agent_id"], running["platform"]) == (agent.id, "kubernetes")
    for text in (first["timestamp"], running["createdAt"], running["lastActivity"]):
        assert SECONDS.fullmatch(text)
    assert "lastActivity" not in starting
    assert not {"persistentHome", "idleTimeout", "streamingProtocol"} & running.keys()


@virtual
async def test_a_session_with_an_idle_timeout_says_how_idle_it_is() -> None:
    async with published() as world, world.agent() as agent:
        name = await world.create(idleTimeout="1h30m")
        await agent.command("start_session", name)
        await agent.status(name, "running")
        await agent.hears_nothing()
        world.emulator.clock.advance(60)
        async with follow(world) as feed:
            (session,) = (await hear(feed))["sessions"]
    assert (session["idleThreshold"], session["isIdle"], session["isActive"]) == (5400, False, True)
    assert 60 <= session["idleDuration"] <= 61


@virtual
async def test_a_slow_client_gets_several_lists_in_one_message_on_lines_of_their_own() -> None:
    """Source; so does an agent, where it was seen."""
    async with published() as world:
        world.service.add_session(resources={"memory": "1" * 100_000})
        world.service.realtime.feed.interval = 0.01
        async with follow(world) as feed:
            transport_of(feed).pause_reading()
            await asyncio.sleep(2)
            transport_of(feed).resume_reading()
            while len(lines := (await feed.receive_str()).split("\n")) == 1:
                pass
            assert {json.loads(line)["count"] for line in lines} == {1}


@virtual
async def test_a_client_that_takes_nothing_is_left_once_256_lists_wait() -> None:
    """Source."""
    async with published() as world:
        world.service.add_session(resources={"memory": "1" * 100_000})
        world.service.realtime.feed.interval = 0.01
        async with follow(world) as feed:
            transport_of(feed).pause_reading()
            await until(lambda: not world.emulator.stats().websockets)
            transport_of(feed).resume_reading()


@virtual
async def test_a_client_that_says_nothing_for_60_seconds_is_left() -> None:
    """Source: pongs count as something."""
    async with published() as world, follow(world) as feed:
        begun, kinds = now(), []
        while not feed.closed:
            kinds.append((await feed.receive()).type)
        assert 59 <= now() - begun <= 61
        assert aiohttp.WSMsgType.PING in kinds


@virtual
async def test_it_needs_a_login_and_an_upgrade() -> None:
    async with published() as world:
        assert await world.ask("GET", "/ws/sessions") == (400, "Bad Request\n")
        assert await world.refused("/ws/sessions", {}) == 401
        assert (await world.ask("GET", "/ws/sessions", headers={}))[0] == 401

"""What the emulator claims of the published server's sockets, held against a real one too.

Nothing here ends a server: what does so is in `tests/emulator/test_published_viewers_raw.py`.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from attrs import frozen

from tests.emulator.published_sockets import Agent, envelope, texts
from tests.installations.places import Place

pytestmark = pytest.mark.timeout(600)

Json = dict[str, Any]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")


def connect(place: Place, agent_id: str) -> Any:
    url = f"{place.url}/agents/connect?agent_id={agent_id}"
    return place.http.ws_connect(url, headers=place.key, max_msg_size=0)


def view(place: Place, name: str) -> Any:
    return place.http.ws_connect(f"{place.url}/vnc/{name}", headers=place.bearer, max_msg_size=0)


@frozen
class Stage:
    """A hand-written agent, and a session that it has started."""

    place: Place
    agent_id: str
    agent: Agent
    name: str
    start: Json

    def view(self) -> Any:
        return view(self.place, self.name)


@asynccontextmanager
async def stage(place: Place) -> AsyncIterator[Stage]:
    agent_id, template = place.agent_id(), await place.template()
    assert await place.register(agent_id) == 202
    async with connect(place, agent_id) as socket:
        agent = Agent(agent_id, socket)
        try:
            body = {"user": place.username, "template": template, "tags": ["a"]}
            status, made = await place.ask("POST", "/sessions", body)
            assert status == 202, made
            start = await agent.hear()
            await agent.status(made["name"], "running")
            await agent.hears_nothing()
            yield Stage(place, agent_id, agent, made["name"], start)
        finally:
            agent.aclose()


async def test_what_a_start_and_a_status_say(place: Place) -> None:
    async with stage(place) as on:
        assert list(on.start) == ["type", "timestamp", "payload"]
        assert TIME.fullmatch(on.start["timestamp"])
        assert list(on.start["payload"]) == ["commandId", "action", "payload"]
        told = on.start["payload"]["payload"]
        assert list(told) == [
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
        assert (told["sessionId"], told["tags"]) == (on.name, ["a"])
        _, seen = await place.ask("GET", f"/sessions/{on.name}")
        assert (seen["state"], seen["status"]["podName"]) == ("running", "pod-1")
        assert seen["status"]["url"] == f"/api/v1/sessions/{on.name}/vnc"
        await on.agent.say("status", sessionId=on.name, state="anything")
        await on.agent.hears_nothing()
        _, seen = await place.ask("GET", f"/sessions/{on.name}")
        assert (seen["state"], seen["status"]["podName"], seen["status"]["url"]) == (
            "anything",
            "",
            "",
        )


async def test_a_second_connection_of_an_agent_ends_the_first_and_then_itself(place: Place) -> None:
    async with stage(place) as on:
        async with connect(place, on.agent_id) as second:
            assert (await second.receive()).type in {
                aiohttp.WSMsgType.CLOSED,
                aiohttp.WSMsgType.ERROR,
            }
            assert second.close_code == 1006
        await on.agent.ended.wait()
        assert on.agent.socket.close_code == 1006
        async with connect(place, on.agent_id) as third:
            with pytest.raises(TimeoutError):
                await third.receive(timeout=1)
            await third.send_str(envelope("status", sessionId=on.name, state="failed"))
            await asyncio.sleep(0.3)
            _, seen = await place.ask("GET", f"/sessions/{on.name}")
            assert seen["state"] == "failed"
            await third.send_str(envelope("status", sessionId=on.name, state="terminated"))
            await asyncio.sleep(0.3)


async def test_both_ways_of_a_viewer_are_text_as_it_is(place: Place) -> None:
    async with stage(place) as on, on.view() as viewer:
        for data in ("UkZC", "", "not base64 <ä>"):
            await on.agent.show(on.name, data)
        await on.agent.show("another", "AAAA")
        assert await texts(viewer) == ["UkZC", "", "not base64 <ä>"]
        for data in ("", "Z28=", "<&>"):
            await viewer.send_str(data)
            heard = await on.agent.hear()
            assert (heard["type"], heard["payload"]) == (
                "vnc_data",
                {"sessionId": on.name, "data": data},
            )


async def test_a_viewer_that_left_is_noticed_late_and_what_was_for_it_goes_to_the_next(
    place: Place,
) -> None:
    async with stage(place) as on:
        left = {"sessionId": on.name, "reason": "client_disconnect"}
        async with on.view() as viewer:
            await asyncio.sleep(0.2)
            await on.agent.show(on.name, "aGk=")
            assert await texts(viewer) == ["aGk="]
        await on.agent.hears_nothing()
        for _ in range(2):
            await on.agent.show(on.name, "")
        heard = await on.agent.hear()
        assert (heard["type"], heard["payload"]) == ("vnc_close", left)
        await on.agent.show(on.name, "bGVmdA==")
        await on.agent.hears_nothing()
        async with on.view() as viewer:
            assert (await texts(viewer))[-1] == "bGVmdA=="


async def test_a_second_viewer_ends_the_first(place: Place) -> None:
    async with stage(place) as on, on.view() as first:
        await asyncio.sleep(0.2)
        async with on.view():
            await first.receive()
            assert first.close_code == 1006


async def test_the_feed_has_the_session_every_three_seconds(place: Place) -> None:
    async with stage(place) as on:
        async with place.http.ws_connect(
            f"{place.url}/ws/sessions", headers=place.bearer, max_msg_size=0
        ) as feed:
            if place.emulator is not None:
                place.emulator.published_streamspace.realtime.feed.interval = 0.1
            await feed.receive_str()
            heard = json.loads((await feed.receive_str(timeout=4)).split("\n")[-1])
        assert list(heard) == ["count", "org_id", "sessions", "timestamp", "type"]
        assert heard["type"] == "sessions_update"
        (session,) = [one for one in heard["sessions"] if one["name"] == on.name]
        assert sorted(session) == [
            "activeConnections",
            "agent_id",
            "createdAt",
            "lastActivity",
            "name",
            "namespace",
            "platform",
            "resources",
            "state",
            "status",
            "template",
            "user",
        ]
        assert re.fullmatch(r"[\d-]+T[\d:]+Z", session["createdAt"])


@pytest.mark.parametrize("size", [32 * 1024, 300_000], ids=["small", "full"])
async def test_a_4k_picture_for_a_viewer_that_waits_is_whole_in_full_messages_only(
    place: Place, size: int
) -> None:
    """33 177 616 bytes; the viewer takes nothing for three seconds."""
    picture = 33_177_616
    async with stage(place) as on, on.view() as viewer:
        transport = viewer._response.connection.transport  # noqa: SLF001 - aiohttp has no public way
        transport.pause_reading()
        for start in range(0, picture, size):
            await on.agent.show(on.name, "A" * ((min(size, picture - start) + 2) // 3 * 4))
        await asyncio.sleep(3)
        transport.resume_reading()
        got = sum(len(text) for text in await texts(viewer)) * 3 // 4
        assert (got >= picture) is (size == 300_000)

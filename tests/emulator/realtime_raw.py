"""Helpers of the tests of WebSockets: a caller, a hand-written agent, and its picture."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from attrs import define, field

from vcloud.emulator import Emulator
from vcloud.emulator.credentials import ADMIN
from vcloud.emulator.streamspace.catalog import USER

Json = dict[str, Any]
SESSION = {"user": USER, "template": "firefox-browser", "platform": "kubernetes"}


async def until(true: Callable[[], object]) -> None:
    """Wait for something that must happen; pytest's own time limit ends the wait."""
    while not true():  # noqa: ASYNC110 - what is looked at wakes nobody
        await asyncio.sleep(0.002)


def token(emu: Emulator, user: str = USER) -> str:
    return emu.streamspace.tokens.issue(emu.streamspace.users[user])[0]


@define
class World:
    emu: Emulator
    http: aiohttp.ClientSession

    async def rest(
        self, method: str, route: str, body: object = None, user: str = ADMIN
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token(self.emu, user)}"}
        async with self.http.request(
            method, f"{self.emu.url}/api/v1{route}", json=body, headers=headers
        ) as response:
            raw = await response.read()
            return response.status, json.loads(raw) if raw else None

    async def session(self, id: str) -> Json:
        status, found = await self.rest("GET", f"/sessions/{id}")
        assert status == 200
        return dict(found)

    async def create(self, **more: object) -> str:
        status, made = await self.rest("POST", "/sessions", {**SESSION, **more})
        assert status == 202, made
        return str(made["id"])

    def state(self, id: str) -> str:
        return self.emu.streamspace.sessions[id].state_at(self.emu.clock.now())

    async def until_state(self, id: str, state: str) -> Json:
        await until(lambda: self.state(id) == state)
        return await self.session(id)

    def socket(self, path: str, **more: Any) -> Any:
        return self.http.ws_connect(f"{self.emu.url}{path}", **more)

    def viewer(self, id: str, user: str = USER) -> Any:
        return self.socket(f"/vnc-viewer/{id}?token={token(self.emu, user)}")

    def follower(self, id: str, query: str = "", user: str = USER) -> Any:
        headers = {"Authorization": f"Bearer {token(self.emu, user)}"}
        return self.socket(f"/api/v1/sessions/{id}/logs?follow=true{query}", headers=headers)

    async def refusal(self, path: str, **headers: str) -> tuple[int, Json]:
        """The refusal of an upgrade."""
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        async with self.http.get(
            f"{self.emu.url}{path}", headers={**upgrade, **headers}
        ) as response:
            return response.status, await response.json()

    @asynccontextmanager
    async def agent(self, id: str = "agent-1", **capacity: int) -> AsyncIterator[FakeAgent]:
        async with self.socket(f"/agent/ws?agent_id={id}&platform=kubernetes&region=eu") as socket:
            agent = FakeAgent(id, self, socket)
            ack = await agent.register(**capacity)
            assert ack["type"] == "register_ack"
            yield agent


@define
class FakeAgent:
    id: str
    world: World
    socket: aiohttp.ClientWebSocketResponse
    ack: Json = field(factory=dict)

    async def say(self, type: str, **fields: object) -> None:
        await self.socket.send_str(json.dumps({"type": type, "agent_id": self.id, **fields}))

    async def hear(self) -> Json:
        return dict(json.loads(await self.socket.receive_str()))

    async def register(self, **capacity: int) -> Json:
        metadata = {"agent_version": "test"}
        await self.say(
            "register",
            platform="kubernetes",
            region="eu",
            capacity={"max_sessions": 9, **capacity},
            metadata=metadata,
        )
        self.ack = await self.hear()
        return self.ack

    async def command(self, kind: str, **result: object) -> Json:
        """Take a command of this kind, acknowledge it, answer it as completed."""
        command = await self.hear()
        assert (command["type"], command["command_type"]) == ("command", kind)
        await self.say("command_ack", command_id=command["command_id"], status="acknowledged")
        result = {"session_id": command["session_id"], **result}
        await self.say(
            "command_result", command_id=command["command_id"], status="completed", result=result
        )
        return command

    async def start(self) -> Json:
        return await self.command(
            "start_session",
            pod_ip="10.9.8.7",
            pod_name="pod-1",
            vnc_port=5907,
            started_at="2025-11-22T10:45:12Z",
        )

    async def running(self, **more: object) -> str:
        """A session that this agent has started."""
        id_ = await self.world.create(**more)
        await self.start()
        await until(lambda: self.world.state(id_) == "running")
        return id_

    async def picture(self) -> aiohttp.ClientWebSocketResponse:
        """Open the picture that a viewer asks for."""
        request = await self.hear()
        assert request["type"] == "vnc_proxy_request"
        socket: aiohttp.ClientWebSocketResponse = await self.world.socket(
            f"/agent/vnc/{request['proxy_id']}"
        )
        return socket


async def echo(socket: aiohttp.ClientWebSocketResponse) -> None:
    async for message in socket:
        await socket.send_bytes(message.data)


async def flood(socket: aiohttp.ClientWebSocketResponse) -> int:
    """Send until nothing more is taken; how many bytes were sent."""
    sent = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            while True:
                # Counted first: what waits to be taken was sent, too.
                sent += 256 * 1024
                await socket.send_bytes(bytes(256 * 1024))
    return sent


def transport_of(socket: aiohttp.ClientWebSocketResponse) -> asyncio.Transport:
    """The transport of a WebSocket, to break the connection as a lost network does."""
    connection = socket._response.connection  # noqa: SLF001 - aiohttp has no public way
    assert connection is not None
    assert connection.transport is not None
    return connection.transport


async def leave(socket: aiohttp.ClientWebSocketResponse, *, close: bool = True) -> None:
    """Send a close, and disconnect before it is answered, as ending programs do."""
    if close:
        await socket._writer.close(1000)  # noqa: SLF001 - the public one waits for the answer
    transport_of(socket).close()

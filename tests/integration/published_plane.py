"""A published control plane that a test scripts, written from what that server answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import WSMsgType, web
from attrs import define, field

from tests.integration.realtime_plane import SHORT_PAUSES
from vcloud.providers.streamspace import AgentHandler, AgentWorker, StreamSpace

KEY = "0123456789abcdef" * 4
AGENT = {"agentId": "agent-1", "platform": "kubernetes", "status": "online", "approvalStatus": ""}


@define
class PublishedPlane:
    """The agents' side of a published server.

    Attributes:
        approvals: its answers to registrations, the next one first: ``approved``, ``pending``,
            ``rejected``, ``own`` (a key of the agent's own) or a response; the last one stays.
        said: all messages of agents.
        registrations: the bodies.
        heartbeats: the bodies of those over REST.
        keys: the keys of all requests.
        sockets: the agents' sockets, one for each connection.
        connects: its answers to connections, the next one first; 101 when there is none.
        ends_at_once: how many connections it ends at once.
        answers: while it is not set, heartbeats over REST get no answer.
        given_up: how many of those their client gave up.
        base_url: the API's.
        client: a client of it, without credentials.
    """

    approvals: list[str | web.Response] = field(factory=lambda: ["own"])
    said: list[dict[str, Any]] = field(factory=list)
    registrations: list[dict[str, Any]] = field(factory=list)
    heartbeats: list[dict[str, Any]] = field(factory=list)
    keys: list[str | None] = field(factory=list)
    sockets: list[web.WebSocketResponse] = field(factory=list)
    connects: list[web.Response] = field(factory=list)
    ends_at_once: int = 0
    answers: asyncio.Event = field(factory=asyncio.Event)
    given_up: int = 0
    base_url: str = ""
    client: StreamSpace | None = None

    @property
    def streamspace(self) -> StreamSpace:
        assert self.client is not None
        return self.client

    async def register(self, request: web.Request) -> web.Response:
        self.registrations.append(await request.json())
        self.keys.append(request.headers.get("X-Agent-API-Key"))
        answer = self.approvals.pop(0) if len(self.approvals) > 1 else self.approvals[0]
        if isinstance(answer, web.Response):
            return answer
        if answer == "own":
            return web.json_response(AGENT, status=201)
        status = {"approved": 200, "pending": 202, "rejected": 403}[answer]
        body = {"agent": AGENT, "approvalStatus": answer, "message": "words"}
        return web.json_response(body, status=status)

    async def heartbeat(self, request: web.Request) -> web.Response:
        self.heartbeats.append(await request.json())
        try:
            await self.answers.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        return web.json_response({"message": "Heartbeat updated successfully"})

    async def connect(self, request: web.Request) -> web.StreamResponse:
        self.keys.append(request.headers.get("X-Agent-API-Key"))
        assert request.query["agent_id"] == "agent-1"
        if self.connects:
            return self.connects.pop(0)
        socket = web.WebSocketResponse(max_msg_size=512 * 1024)
        await socket.prepare(request)
        self.sockets.append(socket)
        if self.ends_at_once:
            self.ends_at_once -= 1
            assert request.transport is not None
            request.transport.abort()
            return socket
        async for message in socket:
            assert message.type is WSMsgType.TEXT
            self.said.append(json.loads(message.data))
        return socket

    async def send(self, *messages: dict[str, Any]) -> None:
        """Send objects in one message, as the server does with what waits."""
        await self.sockets[-1].send_str("\n".join(map(json.dumps, messages)))

    async def command(
        self, action: str, command_id: str, session_id: str = "s1", **more: object
    ) -> None:
        await self.send(command(action, command_id, session_id, **more))

    async def drop(self) -> None:
        """End the agent's connection without a close frame."""
        connection = self.sockets[-1]
        await connection.close()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message["payload"] for message in self.said if message["type"] == kind]

    def states(self, session_id: str = "s1") -> list[str]:
        return [one["state"] for one in self.of("status") if one["sessionId"] == session_id]

    def ended(self) -> list[str]:
        return [
            message["payload"]["commandId"]
            for message in self.said
            if message["type"] in ("complete", "failed")
        ]

    def agent(self, handler: AgentHandler, **options: Any) -> AgentWorker:
        chosen: dict[str, Any] = {"platform": "kubernetes", "api_key": KEY, "retry": SHORT_PAUSES}
        return self.streamspace.serve_agent("agent-1", handler=handler, **(chosen | options))


def command(action: str, command_id: str, session_id: str = "s1", **more: object) -> dict[str, Any]:
    payload: dict[str, Any] = {"sessionId": session_id, "namespace": "streamspace"}
    if action == "start_session":
        payload |= {
            "user": "admin",
            "template": "firefox",
            "templateManifest": '{"spec": {"baseImage": "x/firefox:1", "vnc": {"port": 5901}}}',
            "memory": "2Gi",
            "cpu": "1000m",
            "persistentHome": True,
            "idleTimeout": "30m",
            "maxSessionDuration": "",
            "tags": ["blue"],
        }
    return {
        "type": "command",
        "timestamp": "2026-11-28T12:26:28.62982972Z",
        "payload": {"commandId": command_id, "action": action, "payload": payload | more},
    }


@contextlib.asynccontextmanager
async def published_plane(**options: Any) -> AsyncIterator[PublishedPlane]:
    """Serve one, and open a client of it that has no credentials."""
    made = PublishedPlane()
    made.answers.set()
    app = web.Application()
    app.router.add_get("/version", _version)
    app.router.add_get("/api/v1/agents/connect", made.connect)
    app.router.add_post("/api/v1/agents/register", made.register)
    app.router.add_post("/api/v1/agents/agent-1/heartbeat", made.heartbeat)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/v1"
        async with StreamSpace(made.base_url, **options) as made.client:
            yield made
    finally:
        await runner.cleanup()


async def _version(request: web.Request) -> web.Response:
    assert "Authorization" not in request.headers
    return web.json_response({"api": "v1", "phase": "2.2", "version": "v0.1.0"})

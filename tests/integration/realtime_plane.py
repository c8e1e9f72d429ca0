"""A control plane that a test scripts, written from the document, and a handler for its agents."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiohttp import WSMsgType, web
from attrs import define, field

from tests.integration.realtime_server import Script, client, serving
from vcloud import RetryPolicy
from vcloud.providers.streamspace import (
    AgentWorker,
    HibernateSession,
    SessionResult,
    StartSession,
    StopSession,
    StreamSpace,
    VNCProxyRequest,
    WakeSession,
)

SHORT_PAUSES = RetryPolicy(base=0.001, cap=0.005)


@define
class Plane:
    """A control plane: the messages of agents, and their sockets, the last one connected.

    Attributes:
        interval: the interval of heartbeats that it asks for.
        status: its answer to a registration.
        assigned: what ``GET /agents/agent-1`` lists as its sessions; None: the answer has no such
            field.
        said: all messages of agents.
        sockets: the agents' sockets, one for each connection.
        registrations: how many there were.
        viewer: serves ``/agent/vnc/…`` instead of sending a greeting and keeping what comes.
        proxied: the sockets of ``/agent/vnc/…``, by their proxy ids.
        streamspace: a client of it.
        base_url: the API's.
        requests: all requests.
    """

    interval: object = "10s"
    status: str = "registered"
    assigned: list[dict[str, Any]] | None = field(factory=list)
    said: list[dict[str, Any]] = field(factory=list)
    sockets: list[web.WebSocketResponse] = field(factory=list)
    registrations: int = 0
    viewer: Script | None = None
    proxied: dict[str, web.WebSocketResponse] = field(factory=dict)
    streamspace: StreamSpace | None = None
    base_url: str = ""
    requests: list[web.Request] = field(factory=list)

    async def script(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        if request.path.startswith("/agent/vnc/"):
            self.proxied[request.path.rpartition("/")[2]] = socket
            if self.viewer is not None:
                await self.viewer(request, socket)
                return
            await socket.send_bytes(b"from the viewer")
            async for message in socket:
                self.said.append({"type": "bytes", "data": message.data})
            return
        assert request.path == "/agent/ws"
        self.sockets.append(socket)
        async for message in socket:
            assert message.type is WSMsgType.TEXT
            found = json.loads(message.data)
            self.said.append(found)
            if found["type"] == "register":
                self.registrations += 1
                ack = {
                    "type": "register_ack",
                    "agent_id": found["agent_id"],
                    "status": self.status,
                }
                await socket.send_json(ack | {"heartbeat_interval": self.interval})

    def agent_view(self) -> dict[str, Any]:
        times = {"created_at": "2025-11-01T08:00:00Z", "updated_at": None, "last_heartbeat": None}
        view: dict[str, Any] = {
            "id": "a1",
            "agent_id": "agent-1",
            "platform": "docker",
            "region": None,
            "status": "online",
            "capacity": None,
            "metadata": {},
            "websocket_conn_id": None,
            **times,
        }
        return view if self.assigned is None else view | {"sessions": self.assigned}

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.said if message["type"] == kind]

    def results(self) -> dict[str, dict[str, Any]]:
        return {message["command_id"]: message for message in self.of("command_result")}

    def transport_of(self, path: str) -> asyncio.Transport:
        """The transport below the last WebSocket at this path."""
        request = next(one for one in reversed(self.requests) if one.path == path)
        assert request.transport is not None
        return request.transport

    async def command(self, kind: str, command_id: str, session_id: str = "s1") -> None:
        data = {"name": session_id, "namespace": "x", "user": "u", "template": "t"}
        await self.sockets[-1].send_json(
            {
                "type": "command",
                "command_id": command_id,
                "command_type": kind,
                "session_id": session_id,
                "data": data,
            }
        )

    def agent(self, handler: Handler, **options: Any) -> AgentWorker:
        assert self.streamspace is not None
        return self.streamspace.serve_agent(
            "agent-1", platform="docker", handler=handler, retry=SHORT_PAUSES, **options
        )


@define
class Handler:
    """Starts nothing, and keeps a list of the commands that it carried out."""

    done: list[str] = field(factory=list)
    running: set[str] = field(factory=set)
    cancelled: list[str] = field(factory=list)
    gate: asyncio.Event = field(factory=asyncio.Event)
    address: tuple[str, int] = ("127.0.0.1", 1)
    failure: Exception | None = None

    async def start_session(self, command: StartSession) -> SessionResult:
        self.running.add(command.session_id)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(command.session_id)
            raise
        finally:
            self.running.discard(command.session_id)
        if self.failure is not None:
            raise self.failure
        self.done.append(f"start {command.session_id}")
        return SessionResult(pod_name=command.data.name, vnc_port=5900)

    async def hibernate_session(self, command: HibernateSession) -> None:
        self.done.append(f"hibernate {command.session_id}")

    async def wake_session(self, command: WakeSession) -> None:
        self.done.append(f"wake {command.session_id}")

    async def stop_session(self, command: StopSession) -> None:
        self.done.append(f"stop {command.session_id}")

    async def vnc_address(self, request: VNCProxyRequest) -> tuple[str, int]:
        return self.address


@contextlib.asynccontextmanager
async def plane(
    interval: object = "10s",
    refuse: Callable[[web.Request], web.Response | None] = lambda request: None,
    *,
    tls: bool = False,
    autoclose: bool = True,
    **options: Any,
) -> AsyncIterator[Plane]:
    """Serve a control plane, and open a client of it."""
    made = Plane(interval)

    def rest(request: web.Request) -> web.Response | None:
        if (refused := refuse(request)) is not None:
            return refused
        asked = request.path == "/api/v1/agents/agent-1"
        return web.json_response(made.agent_view()) if asked else None

    async with (
        serving(made.script, rest, tls=tls, autoclose=autoclose) as server,
        client(server, **options) as streamspace,
    ):
        made.streamspace = streamspace
        made.requests = server.requests
        made.base_url = f"{server.url}/api/v1"
        yield made


def ready() -> Handler:
    """A handler whose starts do not wait."""
    handler = Handler()
    handler.gate.set()
    return handler

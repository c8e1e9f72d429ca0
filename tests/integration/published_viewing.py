"""A published server's VNC path, as a test scripts it."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web
from attrs import define, field

from tests.integration.published_server import AT
from vcloud import BearerAuth, Endpoint, RetryPolicy
from vcloud.providers.streamspace import SessionRef, StreamSpace

NAME = "admin-firefox-552afe2e"
TOKEN = "jwt.published-token"
GREETING = b"RFB 003.008\n"

Script = Callable[[web.WebSocketResponse], Awaitable[None]]


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@define
class Viewing:
    """What the server answers, and what it was asked.

    Attributes:
        scripts: what it does with each viewer, one after another; the last one for all that follow.
            A response refuses the upgrade.
        state: the session's.
        protocol: how it shows its desktop.
        broken: whether questions for the session are answered with 502.
        tokens: those that ``POST /auth/refresh`` gives, one after another.
    """

    scripts: list[Script | web.Response]
    state: str = "running"
    protocol: str = "vnc"
    tokens: list[str] = field(factory=list)
    upgrades: list[web.Request] = field(factory=list)
    questions: int = 0
    broken: bool = False
    heard: list[str] = field(factory=list)
    streamspace: StreamSpace = field(init=False)

    @property
    def session(self) -> SessionRef:
        return self.streamspace.sessions.ref(NAME)

    async def view(self, request: web.Request) -> web.StreamResponse:
        at = min(len(self.upgrades), len(self.scripts) - 1)
        self.upgrades.append(request)
        script = self.scripts[at]
        if isinstance(script, web.Response):
            return web.Response(
                status=script.status, body=script.body, content_type=script.content_type
            )
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await script(socket)
        if not socket.closed and request.transport is not None:
            # The server never sends a close frame.
            request.transport.abort()
        return socket

    async def refresh(self, request: web.Request) -> web.Response:
        token = self.tokens.pop(0)
        return web.json_response({"token": token, "expiresAt": AT, "user": None})

    async def get(self, request: web.Request) -> web.Response:
        self.questions += 1
        if self.broken:
            return web.Response(status=502)
        if not self.state:
            return web.json_response({"error": "Session not found"}, status=404)
        body: dict[str, Any] = {"name": NAME, "namespace": "streamspace", "user": "admin"}
        body |= {"template": "firefox", "state": self.state, "createdAt": AT, "tags": None}
        body |= {"streamingProtocol": self.protocol, "persistentHome": True, "idleTimeout": ""}
        body |= {"maxSessionDuration": "", "platform": "kubernetes", "activeConnections": 0}
        body |= {"status": {"phase": "Running", "podName": "", "url": ""}}
        return web.json_response(body)

    async def greet(self, socket: web.WebSocketResponse) -> None:
        """Send a greeting, and keep what the viewer says."""
        await socket.send_str(text(GREETING))
        await self.hear(socket)

    async def hear(self, socket: web.WebSocketResponse) -> None:
        async for message in socket:
            self.heard.append(message.data)


@contextlib.asynccontextmanager
async def viewing(*scripts: Script | web.Response, token: str = TOKEN) -> AsyncIterator[Viewing]:
    found = Viewing(list(scripts))
    if not scripts:
        found.scripts = [found.greet]
    app = web.Application()
    app.router.add_get("/api/v1/vnc/{name}", found.view)
    app.router.add_get("/api/v1/sessions/{name}", found.get)
    app.router.add_post("/api/v1/auth/refresh", found.refresh)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/v1"
        endpoint = Endpoint(url, auth=BearerAuth(token), retry=RetryPolicy(attempts=1))
        async with StreamSpace(endpoint, dialect="published") as found.streamspace:
            yield found
    finally:
        await runner.cleanup()

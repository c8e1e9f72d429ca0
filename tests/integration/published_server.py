"""A server that answers as a test says, in the published server's words."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiohttp import web
from attrs import define, field

from vcloud import BearerAuth, Endpoint, RetryPolicy
from vcloud.providers.streamspace import StreamSpace

API = "/api/v1"
AT = "2026-11-27T07:51:51.112514Z"


@define
class Asked:
    """A request."""

    verb: str
    path: str
    query: dict[str, str]
    body: Any


@define
class Server:
    """Where it listens, what it was asked, and what it answers.

    ``answer`` returns a status and a JSON value, and headers where there are any. None: the
    connection is lost without an answer.
    """

    answer: Callable[[Asked], tuple[Any, ...] | None]
    url: str = ""
    endpoint: Endpoint = field(init=False)
    asked: list[Asked] = field(factory=list)

    def calls(self) -> list[tuple[str, str]]:
        return [(one.verb, one.path) for one in self.asked]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        sent = await request.read()
        asked = Asked(
            request.method,
            request.raw_path.partition("?")[0].removeprefix(API),
            dict(request.query),
            json.loads(sent) if sent else None,
        )
        self.asked.append(asked)
        answered = self.answer(asked)
        if answered is None:
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        status, body, *headers = answered
        return web.json_response(body, status=status, headers=headers[0] if headers else None)


@contextlib.asynccontextmanager
async def published(
    answer: Callable[[Asked], tuple[Any, ...] | None], *, attempts: int = 1
) -> AsyncIterator[tuple[StreamSpace, Server]]:
    """A client that knows what it talks to, and the server."""
    server = Server(answer)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}{API}"
        retry = RetryPolicy(attempts=attempts, base=0.001, cap=0.01)
        server.endpoint = Endpoint(server.url, auth=BearerAuth("tok-canary"), retry=retry)
        async with StreamSpace(server.endpoint, dialect="published") as client:
            yield client, server
    finally:
        await runner.cleanup()


def session(name: str = "admin-firefox-552afe2e", **changes: Any) -> dict[str, Any]:
    """A session as a GET answers it."""
    return {
        "name": name,
        "namespace": "streamspace",
        "user": "admin",
        "template": "firefox",
        "state": "running",
        "persistentHome": True,
        "idleTimeout": "30m",
        "maxSessionDuration": "",
        "createdAt": AT,
        "platform": "kubernetes",
        "activeConnections": 0,
        "streamingProtocol": "vnc",
        "streamingPort": 5900,
        "streamingPath": "",
        "resources": {"cpu": "1000m", "memory": "2Gi"},
        "status": {
            "phase": "Running",
            "podName": "pod-1",
            "url": f"/api/v1/sessions/{name}/vnc",
            "lastActivity": AT,
        },
        **changes,
    }


def created(name: str = "admin-firefox-552afe2e", **changes: Any) -> dict[str, Any]:
    """A session as a create answers it."""
    return {
        "name": name,
        "namespace": "streamspace",
        "user": "admin",
        "template": "firefox",
        "state": "pending",
        "persistentHome": True,
        "idleTimeout": "",
        "maxSessionDuration": "",
        "resources": {"cpu": "1000m", "memory": "2Gi"},
        "tags": None,
        "status": {"phase": "Pending", "message": "Session provisioning in progress"},
        **changes,
    }


def accepted(name: str = "admin-firefox-552afe2e", message: str = "requested") -> dict[str, Any]:
    """The answer to a change."""
    return {"name": name, "commandId": "cmd-31a6f5a9", "message": message}

"""A token that ends when an agent opens a viewer's WebSocket."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from tests.integration.realtime_plane import plane, ready
from tests.integration.realtime_server import refusal, settled
from vcloud import (
    AuthenticationError,
    BearerAuth,
    Endpoint,
    RetryPolicy,
)
from vcloud.providers.streamspace import (
    StreamSpace,
)


def expired_for_viewers(request: web.Request) -> web.Response | None:
    stale = request.headers.get("Authorization") != "Bearer fresh"
    return refusal(401, "AUTH_TOKEN_EXPIRED") if "/vnc/" in request.path and stale else None


async def listening() -> tuple[asyncio.Server, int]:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"RFB 003.008\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def test_a_token_that_expired_before_a_viewer_connects_is_renewed_by_a_login() -> None:
    tokens = iter(["stale", "fresh"])

    def refuse(request: web.Request) -> web.Response | None:
        if request.path.endswith("/auth/login"):
            return web.json_response({"token": next(tokens), "expires_at": None})
        return expired_for_viewers(request)

    server, port = await listening()
    async with server, plane(refuse=refuse) as control:
        endpoint = Endpoint(control.base_url, auth=BearerAuth.login("agent", "password"))
        handler = ready()
        handler.address = ("127.0.0.1", port)
        async with StreamSpace(endpoint) as own:
            retry = RetryPolicy(base=0.001, cap=0.005)
            worker = own.serve_agent("agent-1", platform="docker", handler=handler, retry=retry)
            async with worker:
                ask = {"type": "vnc_proxy_request", "session_id": "s", "proxy_id": "p", "data": {}}
                await control.sockets[0].send_json(ask)
                await settled(lambda: bool(control.of("bytes")))
                assert worker.errors == ()
        await settled(lambda: not any("greet" in repr(task) for task in asyncio.all_tasks()))


async def test_a_token_that_cannot_be_renewed_ends_the_agent_as_it_does_on_its_own_socket() -> None:
    server, port = await listening()
    async with server, plane(refuse=expired_for_viewers) as control:
        handler = ready()
        handler.address = ("127.0.0.1", port)
        running = asyncio.create_task(control.agent(handler).run())
        await settled(lambda: bool(control.registrations))
        ask = {"type": "vnc_proxy_request", "session_id": "s", "proxy_id": "p", "data": {}}
        await control.sockets[0].send_json(ask)
        with pytest.raises(AuthenticationError):
            await running
        await settled(lambda: not any("greet" in repr(task) for task in asyncio.all_tasks()))

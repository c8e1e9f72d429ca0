"""A WebSocket server whose behaviour a test writes, to test the client without the emulator."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from typing import Any, Literal

from aiohttp import WSMsgType, web
from attrs import define, field

from tests.secrets.tls import client_context, server_context
from vcloud import BearerAuth, Endpoint, RetryPolicy
from vcloud.providers.streamspace import StreamSpace

TOKEN = "jwt.hush+token/="
AUTH = "Bearer " + TOKEN

# Made once, because reading all authorities of the system takes longer than most tests.
trusting = cache(client_context)
certified = cache(lambda: server_context("127.0.0.1"))

Script = Callable[[web.Request, web.WebSocketResponse], Awaitable[None]]


@define
class Server:
    """The requests that it got, and where it listens."""

    url: str
    requests: list[web.Request] = field(factory=list)


def refusal(status: int, code: str) -> web.Response:
    return web.json_response({"error": "no", "message": "you may not", "code": code}, status=status)


@contextlib.asynccontextmanager
async def serving(
    script: Script,
    refuse: Callable[[web.Request], web.Response | None] = lambda request: None,
    before: Callable[[web.Request], Awaitable[None]] | None = None,
    *,
    tls: bool = False,
    autoping: bool = True,
    autoclose: bool = True,
) -> AsyncIterator[Server]:
    """Serve WebSockets.

    Args:
        script: what the server does on each WebSocket.
        refuse: answers a request without an upgrade, unless it returns None.
        before: is awaited before the upgrade.
        tls: whether it speaks TLS.
        autoping: whether aiohttp answers pings; otherwise the script gets them.
        autoclose: whether aiohttp answers a close while the script receives.
    """
    server = Server("")

    async def answer(request: web.Request) -> web.StreamResponse:
        server.requests.append(request)
        if (response := refuse(request)) is not None:
            return response
        if before is not None:
            await before(request)
        socket = web.WebSocketResponse(autoping=autoping, autoclose=autoclose)
        await socket.prepare(request)
        try:
            await script(request, socket)
        finally:
            await socket.close()
        return socket

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        context = certified() if tls else None
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        scheme = "https" if tls else "http"
        server.url = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()


def client(
    server: Server,
    *,
    attempts: int = 3,
    dialect: Literal["documented", "published"] | None = "documented",
    **options: Any,
) -> StreamSpace:
    retry = RetryPolicy(attempts=attempts, base=0.001, cap=0.01)
    if server.url.startswith("https:"):
        options["ssl"] = trusting()
    return StreamSpace(
        Endpoint(f"{server.url}/api/v1", auth=BearerAuth(TOKEN), retry=retry, **options),
        dialect=dialect,
    )


async def settled(holds: Callable[[], bool]) -> None:
    """Wait until this holds; fail after a minute.

    The signal of pytest-timeout would not do. Its exception is lost if it arrives in a callback of
    the loop, and then this would wait for ever.
    """
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - what a peer does has no event here
            await asyncio.sleep(0.002)


def others() -> set[asyncio.Task[object]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


async def echo(request: web.Request, socket: web.WebSocketResponse) -> None:
    async for message in socket:
        if message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
        else:
            await socket.send_str(message.data)


async def greet_and_leave(request: web.Request, socket: web.WebSocketResponse) -> None:
    await socket.send_bytes(b"RFB 003.008\n")

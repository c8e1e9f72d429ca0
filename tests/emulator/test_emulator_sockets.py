"""How the emulator's WebSockets end: what the other side said, and what it still gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from tests.emulator.realtime_raw import leave, until
from vcloud.emulator import sockets

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def connected(
    serve: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    runner = web.ServerRunner(web.Server(serve))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with aiohttp.ClientSession() as http:
            host, port = runner.addresses[0]
            yield await http.ws_connect(f"http://{host}:{port}/")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("close", [True, False], ids=["closed", "lost"])
@pytest.mark.parametrize("messages", [0, 3, 50])
async def test_whoever_is_gone_before_all_is_read_has_closed_only_if_it_said_so(
    *, close: bool, messages: int
) -> None:
    left = asyncio.Event()
    ends: list[sockets.Close] = []

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        await left.wait()
        await until(lambda: request.transport is None)
        channel = sockets.Channel(socket, "the agent")
        received = 0
        while data := await channel.read():
            received += len(data)
        assert received == 1000 * messages
        ends.append(channel.close)
        return socket

    async with connected(serve) as picture:
        for _ in range(messages):
            await picture.send_bytes(bytes(1000))
        await leave(picture, close=close)
        left.set()
        await until(lambda: ends)
    lost = sockets.Close(1011, "the connection of the agent was lost")
    assert ends == [sockets.Close() if close else lost]


@pytest.mark.parametrize("ending", [False, True], ids=["goes on", "ends"])
async def test_peer_that_pauses_gets_all_that_was_sent_unless_the_emulator_ends(
    monkeypatch: pytest.MonkeyPatch, *, ending: bool
) -> None:
    monkeypatch.setattr(sockets, "CLOSING", 0.01)
    live, sent, done = sockets.Live(), 0, asyncio.Event()

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        async def until_full(socket: web.WebSocketResponse) -> sockets.Close:
            nonlocal sent
            assert request.transport is not None
            while not request.transport.get_write_buffer_size():
                await socket.send_bytes(bytes(1000))
                sent += 1000
            done.set()
            return sockets.Close(1000, "that is all")

        return await live.serve(request, {}, until_full)

    async with connected(serve) as viewer:
        await done.wait()
        if ending:
            await live.aclose()
        else:
            # Longer than anybody is waited for when the emulator ends.
            await asyncio.sleep(0.1)
        received = 0
        while (message := await viewer.receive()).type is aiohttp.WSMsgType.BINARY:
            received += len(message.data)
        if ending:
            assert received < sent
        else:
            assert (message.data, message.extra) == (1000, "that is all")
            assert received == sent


async def test_peer_that_takes_nothing_any_more_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sockets, "CLOSING", 0.01)
    monkeypatch.setattr(sockets, "STALLED", 0.05)
    over = asyncio.Event()

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        async def until_full(socket: web.WebSocketResponse) -> sockets.Close:
            assert request.transport is not None
            while not request.transport.get_write_buffer_size():
                await socket.send_bytes(bytes(1000))
            return sockets.Close()

        response = await sockets.Live().serve(request, {}, until_full)
        over.set()
        return response

    async with connected(serve):
        await over.wait()


async def test_reason_is_cut_to_what_a_close_frame_holds() -> None:
    assert sockets.Close(1000, "\u00e9" * 100).message == "\u00e9".encode() * 61

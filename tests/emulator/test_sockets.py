"""How the emulator's WebSockets close: the close frame and the last data that the peer gets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from attrs import define, field

from tests.emulator.realtime_raw import leave, until
from vcloud.emulator.net import websockets

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
async def test_peer_that_disconnects_early_closed_normally_only_with_a_close_frame(
    *, close: bool, messages: int
) -> None:
    left = asyncio.Event()
    ends: list[websockets.Close] = []

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        await left.wait()
        await until(lambda: request.transport is None)
        channel = websockets.Channel(socket, "the agent")
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
    lost = websockets.Close(1011, "the connection of the agent was lost")
    assert ends == [websockets.Close() if close else lost]


@asynccontextmanager
async def deaf(
    serve: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
) -> AsyncIterator[Callable[[], Coroutine[None, None, bytes]]]:
    """A peer whose program reads nothing until the function that this gives is called."""
    runner = web.ServerRunner(web.Server(serve))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    loop = asyncio.get_running_loop()
    peer = socket.socket()
    peer.setblocking(False)

    async def read() -> bytes:
        received = b""
        while data := await loop.sock_recv(peer, 2**20):
            received += data
        return received.partition(b"\r\n\r\n")[2]

    try:
        await loop.sock_connect(peer, runner.addresses[0])
        await loop.sock_sendall(peer, UPGRADE)
        yield read
    finally:
        peer.close()
        await runner.cleanup()


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
#: A message of 1000 bytes, and the close for `until_full`, in a server's frames (RFC 6455, 5.2).
FRAME, CLOSE = 4 + 1000, b"\x88\x0d\x03\xe8that is all"


@define
class UntilFull:
    """Send until the peer's kernel takes no more, so that some bytes stay in this process."""

    live: websockets.OpenWebSockets = field(factory=websockets.OpenWebSockets)
    sent: int = 0
    full: asyncio.Event = field(factory=asyncio.Event)
    over: asyncio.Event = field(factory=asyncio.Event)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        async def use(socket: web.WebSocketResponse) -> websockets.Close:
            assert request.transport is not None
            while not request.transport.get_write_buffer_size():
                await socket.send_bytes(bytes(1000))
                self.sent += FRAME
            self.full.set()
            return websockets.Close(1000, "that is all")

        response = await self.live.serve(request, {}, use)
        self.over.set()
        return response


async def test_peer_that_pauses_gets_all_that_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websockets, "CLOSING", 0.01)
    server = UntilFull()
    async with deaf(server.serve) as read:
        await server.full.wait()
        # Longer than the emulator waits when it closes.
        await asyncio.sleep(0.1)
        reading = asyncio.create_task(read())
        await asyncio.sleep(0.1)
        # It does not answer the close. It has received everything, which is what counts here.
        await server.live.aclose()
        received = await reading
        assert received.endswith(CLOSE)
        assert len(received) == server.sent + len(CLOSE)


async def test_peer_that_does_not_read_does_not_delay_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websockets, "CLOSING", 0.01)
    server = UntilFull()
    async with deaf(server.serve) as read:
        await server.full.wait()
        await server.live.aclose()
        assert not (await read()).endswith(CLOSE)


async def test_peer_that_stops_reading_is_disconnected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websockets, "CLOSING", 0.01)
    monkeypatch.setattr(websockets, "STALLED", 0.05)
    server = UntilFull()
    async with deaf(server.serve):
        await server.over.wait()


async def test_reason_is_cut_to_the_size_of_a_close_frame() -> None:
    assert websockets.Close(1000, "\u00e9" * 100).message == "\u00e9".encode() * 61

"""WebSocket servers for tests: one ends each connection as a test says, one counts messages."""

from __future__ import annotations

import asyncio
import contextlib
import socket as sockets
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from tests.integration.realtime_server import (
    others,
    settled,
)
from tests.leaks.nothing_held import assert_nothing_held
from vcloud._core.websocket import socket as socket_module
from vcloud.providers.streamspace import StreamSpace, VNCTunnel

ID = "770e8400-e29b-41d4-a716-446655440002"
PART = bytes(range(256)) * 1024
#: More than all buffers on the way hold.
MUCH = 64


class Peer:
    """A server that greets, echoes, and ends as the test says."""

    def __init__(self, end: str = "answers") -> None:
        self.end = end
        self.go, self.over = asyncio.Event(), asyncio.Event()
        self.codes: list[int | None] = []
        self.received = 0
        self.closing: asyncio.Task[None] | None = None

    async def script(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        try:
            await socket.send_bytes(b"hello")
            await getattr(self, self.end)(request, socket)
        finally:
            self.over.set()

    async def answers(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        async for message in socket:
            self.received += len(message.data)
        self.codes.append(socket.close_code)

    async def closes(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        await self.go.wait()
        await socket.close(code=1000, message=b"over")
        self.codes.append(socket.close_code)

    async def closes_after_much(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        for _ in range(MUCH):
            await socket.send_bytes(PART)
        await socket.close(code=1000, message=b"over")
        self.codes.append(socket.close_code)

    async def aborts(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        await self.go.wait()
        assert request.transport is not None
        request.transport.abort()

    async def half_closes(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        """End the TCP connection below, without a word of TLS or WebSocket."""
        await self.go.wait()
        assert request.transport is not None
        found = request.transport.get_extra_info("socket")
        with sockets.socket(fileno=sockets.dup(found.fileno())) as raw:
            raw.shutdown(sockets.SHUT_WR)
        await self.hangs(request, socket)

    async def closes_unread(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        """Close while this side has not read what it was sent, and read on to the answer."""
        assert request.transport is not None
        request.transport.pause_reading()
        await self.go.wait()

        async def close() -> None:
            await socket.close(code=1000, message=b"over")
            self.codes.append(socket.close_code)

        # In a task, because aiohttp ends a handler whose client has left, before it has read all.
        self.closing = asyncio.create_task(close())
        await asyncio.sleep(0.05)
        request.transport.resume_reading()
        await asyncio.wait({self.closing})

    async def hangs(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        """Neither read nor answer."""
        assert request.transport is not None
        request.transport.pause_reading()
        await self.go.wait()
        with contextlib.suppress(RuntimeError):
            request.transport.resume_reading()
        await self.answers(request, socket)


@contextlib.contextmanager
def quick(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Shorten the timeouts for a peer that does not answer."""
    with monkeypatch.context() as patch:
        patch.setattr(socket_module, "CLOSE_TIMEOUT", 0.05)
        patch.setattr("vcloud._core.websocket.receiver.CLOSE_TIMEOUT", 0.05)
        yield


async def read_to_the_end(tunnel: VNCTunnel) -> int:
    return sum([len(data) async for data in tunnel])


async def closed(tunnel: VNCTunnel) -> None:
    await settled(lambda: tunnel.close_code is not None)


def whole(streamspace: StreamSpace) -> bool:
    """Whether nothing is held any more."""
    try:
        assert_nothing_held(streamspace)
    except AssertionError:
        return False
    return not any("WebSocket" in task.get_name() for task in others())


class CountingPeer:
    """A server that counts what it receives.

    It answers pings itself: serve it with ``autoping=False``.
    """

    def __init__(self) -> None:
        self.pongs: list[bytes] = []
        self.pings = 0
        self.received = 0
        self.request: web.Request | None = None
        self.socket: web.WebSocketResponse | None = None
        self.up, self.over = asyncio.Event(), asyncio.Event()
        self.ended: list[WSMsgType] = []

    async def script(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self.request, self.socket = request, socket
        self.up.set()
        try:
            while True:
                message = await socket.receive()
                match message.type:
                    case WSMsgType.PONG:
                        self.pongs.append(bytes(message.data))
                    case WSMsgType.PING:
                        self.pings += 1
                        await socket.pong(message.data)
                    case WSMsgType.BINARY | WSMsgType.TEXT:
                        self.received += len(message.data)
                    case _:
                        self.ended.append(message.type)
                        return
        finally:
            self.over.set()

    async def ping(self, payload: bytes) -> None:
        assert self.socket is not None
        await self.socket.ping(payload)

    async def answered(self, payload: bytes) -> None:
        async with asyncio.timeout(30.0):
            await settled(lambda: payload in self.pongs)

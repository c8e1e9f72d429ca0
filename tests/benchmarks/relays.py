"""The paths of the tunnel benchmark: both ends, relays of TCP and WebSocket, and a session."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import aiohttp
from aiohttp import web
from attrs import define, field

from vcloud._core.tasks import first_completed
from vcloud.emulator import Emulator
from vcloud.emulator.net.websockets import Channel
from vcloud.emulator.streamspace.catalog import USER
from vcloud.providers.streamspace import (
    AgentCapacity,
    HibernateSession,
    Session,
    SessionResult,
    StartSession,
    StopSession,
    StreamSpace,
    VNCProxyRequest,
    WakeSession,
)
from vcloud.providers.streamspace.realtime.vnc_tunnel import CHUNK_SIZE

HOST = "127.0.0.1"
MB = 1_000_000
PIECE = bytes(64 * 1024)

Port = int
Open = Callable[[], Awaitable["Pipe"]]


class Pipe(Protocol):
    """Bytes both ways."""

    async def read(self) -> bytes: ...
    async def write(self, data: bytes) -> None: ...
    async def aclose(self) -> None: ...


@define
class TCP:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def to(cls, port: Port) -> TCP:
        return cls(*await asyncio.open_connection(HOST, port, limit=CHUNK_SIZE))

    async def read(self) -> bytes:
        return await self.reader.read(CHUNK_SIZE)

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def aclose(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@define
class BareSocket:
    """aiohttp's own WebSocket client."""

    opened: aiohttp.ClientWebSocketResponse

    async def read(self) -> bytes:
        return await self.opened.receive_bytes()

    async def write(self, data: bytes) -> None:
        await self.opened.send_bytes(data)

    async def aclose(self) -> None:
        await self.opened.close()


async def pump(source: Pipe, sink: Pipe) -> None:
    while data := await source.read():
        await sink.write(data)


# The far ends.


def order(kind: bytes, size: int = 0) -> bytes:
    return kind + size.to_bytes(8, "big")


@define
class PipeServer:
    """The server in place of VNC. It carries out orders of nine bytes each, one after the other."""

    pushed: int = 0
    over: asyncio.Event = field(factory=asyncio.Event)

    async def serve(self, pipe: TCP) -> None:
        while head := await pipe.reader.read(1):
            size = int.from_bytes(await pipe.reader.readexactly(8), "big")
            match head:
                case b"D":
                    for _ in range(size // len(PIECE)):
                        await pipe.write(PIECE)
                case b"U":
                    await swallow(pipe, size)
                    await pipe.write(b"!")
                case b"E":
                    while size:
                        data = await pipe.read()
                        size -= len(data)
                        await pipe.write(data)
                case b"F":
                    self.pushed = 0
                    while self.pushed < size:
                        await pipe.write(PIECE)
                        self.pushed += len(PIECE)
                case _:
                    await self.over.wait()
                    return


async def swallow(pipe: Pipe, size: int) -> None:
    while size > 0:
        data = await pipe.read()
        if not data:
            raise EOFError
        size -= len(data)


async def download(pipe: Pipe, size: int) -> None:
    await pipe.write(order(b"D", size))
    await swallow(pipe, size)


async def upload(pipe: Pipe, size: int) -> None:
    await pipe.write(order(b"U", size))
    for _ in range(size // len(PIECE)):
        await pipe.write(PIECE)
    await swallow(pipe, 1)


async def echo(pipe: Pipe, size: int) -> None:
    await pipe.write(order(b"E", size))
    for _ in range(size // len(PIECE)):
        await pipe.write(PIECE)
        await swallow(pipe, len(PIECE))


# The paths.


@contextlib.asynccontextmanager
async def listening(serve: Callable[[TCP], Awaitable[None]]) -> AsyncIterator[Port]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(TCP(reader, writer))
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, HOST, 0, limit=CHUNK_SIZE)
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def bare_relays(count: int, port: Port) -> AsyncIterator[Port]:
    """A chain of TCP relays. Yields the port of the first one."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(count):

            async def carry(near: TCP, port: Port = port) -> None:
                far = await TCP.to(port)
                try:
                    await first_completed(pump(near, far), pump(far, near))
                finally:
                    await far.aclose()

            port = await stack.enter_async_context(listening(carry))
        yield port


@contextlib.asynccontextmanager
async def socket_relay(port: Port) -> AsyncIterator[str]:
    """A WebSocket server that only relays to the TCP server. Yields its URL."""

    async def answer(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        far = await TCP.to(port)
        try:
            near = Channel(socket)
            await first_completed(pump_into(near, far), pump_from(far, near))
        finally:
            await far.aclose()
        return socket

    async def pump_into(near: Channel, far: TCP) -> None:
        while data := await near.read():
            await far.write(data)

    async def pump_from(far: TCP, near: Channel) -> None:
        while data := await far.read():
            await near.write(data)

    app = web.Application()
    app.router.add_get("/vnc-viewer/{id}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0).start()
        yield f"http://{HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@define
class Handler:
    """The handler of an agent: every session is the one TCP server."""

    port: Port

    async def start_session(self, command: StartSession) -> SessionResult:
        return SessionResult(vnc_port=self.port)

    async def hibernate_session(self, command: HibernateSession) -> None: ...
    async def wake_session(self, command: WakeSession) -> None: ...
    async def stop_session(self, command: StopSession) -> None: ...

    async def vnc_address(self, request: VNCProxyRequest) -> tuple[str, int]:
        return HOST, self.port


@contextlib.asynccontextmanager
async def session_of(port: Port) -> AsyncIterator[Session]:
    """A running session in the emulator. An AgentWorker connects it to this port."""
    async with (
        Emulator(rate_limits=False) as emulator,
        StreamSpace(emulator.endpoints()["streamspace"]) as streamspace,
    ):
        capacity = AgentCapacity(max_sessions=1)
        async with streamspace.serve_agent(
            "bench", platform="docker", handler=Handler(port), capacity=capacity
        ):
            session = await streamspace.sessions.create(USER, "firefox-browser", platform="docker")
            await session.wait_until("running", timeout=10, poll=0.05)
            yield session

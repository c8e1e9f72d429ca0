"""The VNC tunnel: what it carries relative to bare TCP, what fifty of them keep, and where a slow reader stops a sender.

    python -m tests.benchmarks.tunnel [--rounds 11] [--megabytes 24] [--tunnels 50]

Everything, for both sides alike, runs in this one process and its one event loop: viewer, relays and the TCP server that
stands in for VNC. So a figure is the whole path's work and not what several cores make of it, and the part that is common
to both sides, both ends and the kernel, is in both. Both sides read and write with the same sizes.

Carried: two paths take the same bytes in turn (A B A B), each pair gives one ratio of their speeds, below 1 where the tunnel
is slower. The paths, ``-`` for TCP and ``=`` for a WebSocket:

* forward_vnc: viewer - forward = emulator = AgentWorker - server; bare: viewer - relay - relay - relay - server.
* open_vnc: tunnel = relay - server; bare: viewer - relay - server.
* The same open_vnc next to aiohttp's own WebSocket client through the same relay: what is vcloud's, and what is WebSocket's.

Kept: memory that Python has allocated (tracemalloc) and that the process has (RSS, with tracemalloc's own share) after each
round of echoes; first through tunnels that stay open, then through new ones in each round, counted when they are closed.
Pushed: what a sender gets rid of until it is held up by a reader that takes nothing. The kernel's socket buffers have most of
that, on every hop; what is in this process is told apart. Memory and sockets are looked up in Linux's /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import statistics
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol

import aiohttp
from aiohttp import web
from attrs import define, field

from vcloud import BearerAuth, Endpoint
from vcloud._core.cleanup import race
from vcloud.emulator import Emulator
from vcloud.emulator.sockets import Channel
from vcloud.emulator.streamspace_catalog import USER
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
from vcloud.providers.streamspace.vnc import PART, VNCForward

HOST = "127.0.0.1"
MB = 1_000_000
PIECE = bytes(64 * 1024)
ENDLESS = 512 * MB
STILL = 0.3
"""Seconds without progress after which a sender counts as held up."""

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
        return cls(*await asyncio.open_connection(HOST, port, limit=PART))

    async def read(self) -> bytes:
        return await self.reader.read(PART)

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def aclose(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@define
class BareSocket:
    """aiohttp's WebSocket, used as it comes."""

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


# -- the far ends ------------------------------------------------------------------------------------------------------


def order(kind: bytes, size: int = 0) -> bytes:
    return kind + size.to_bytes(8, "big")


@define
class StandIn:
    """The server in VNC's place: it does what nine bytes tell it to, again and again."""

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


# -- the ways there ----------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def listening(serve: Callable[[TCP], Awaitable[None]]) -> AsyncIterator[Port]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(TCP(reader, writer))
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, HOST, 0, limit=PART)
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def bare_relays(count: int, port: Port) -> AsyncIterator[Port]:
    """So many TCP relays in a row; gives the first one's port."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(count):

            async def carry(near: TCP, port: Port = port) -> None:
                far = await TCP.to(port)
                try:
                    await race(pump(near, far), pump(far, near))
                finally:
                    await far.aclose()

            port = await stack.enter_async_context(listening(carry))
        yield port


@contextlib.asynccontextmanager
async def socket_relay(port: Port) -> AsyncIterator[str]:
    """A WebSocket server in front of the TCP server, with nothing else to it; gives its address."""

    async def answer(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        far = await TCP.to(port)
        try:
            near = Channel(socket)
            await race(pump_into(near, far), pump_from(far, near))
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
    """An agent's: every session is the one TCP server."""

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
    """A running session in the emulator whose picture an AgentWorker fetches from this port."""
    async with Emulator(rate_limits=False) as emulator, StreamSpace(emulator.endpoints()["streamspace"]) as streamspace:
        capacity = AgentCapacity(max_sessions=1)
        async with streamspace.serve_agent("bench", platform="docker", handler=Handler(port), capacity=capacity):
            session = await streamspace.sessions.create(USER, "firefox-browser", platform="docker")
            await session.wait_until("running", timeout=10, poll=0.05)
            yield session


# -- carried -----------------------------------------------------------------------------------------------------------


async def seconds(work: Awaitable[None]) -> float:
    begin = time.perf_counter()
    await work
    return time.perf_counter() - begin


async def compare(name: str, ours: Open, bare: Open, rounds: int, size: int) -> None:
    """Print a row for each direction: the ratio of speeds ours / bare, and both in MB/s."""
    a, b = await ours(), await bare()
    for direction, carry in ("down", download), ("up", upload):
        await carry(b, size)
        await carry(a, size)
        pairs = [(await seconds(carry(a, size)), await seconds(carry(b, size))) for _ in range(rounds)]
        ratios = sorted(bare_took / ours_took for ours_took, bare_took in pairs)
        ours_speed, bare_speed = (size / MB / statistics.median(column) for column in zip(*pairs, strict=True))
        print(
            f"{name:<38} {direction:<5} {statistics.median(ratios):>5.2f}   ({ratios[0]:.2f} .. {ratios[-1]:.2f})"
            f"   vcloud {ours_speed:>5.0f} MB/s   other {bare_speed:>5.0f} MB/s"
        )
    await a.aclose()
    await b.aclose()


async def carried(session: Session, stand_in: Port, rounds: int, size: int) -> None:
    async with bare_relays(3, stand_in) as three, session.forward_vnc() as forward:
        await compare("forward_vnc / TCP, 3 relays", lambda: TCP.to(forward.port), lambda: TCP.to(three), rounds, size)
    async with (
        bare_relays(1, stand_in) as one,
        socket_relay(stand_in) as url,
        StreamSpace(Endpoint(f"{url}/api/v1", auth=BearerAuth("token"))) as streamspace,
        aiohttp.ClientSession() as http,
    ):
        ref = streamspace.sessions.ref("id")

        async def bare() -> Pipe:
            return BareSocket(await http.ws_connect(f"{url}/vnc-viewer/id", max_msg_size=4 * 1024**2))

        await compare("open_vnc / TCP, 1 relay", lambda: ref.open_vnc().aopen(), lambda: TCP.to(one), rounds, size)
        await compare("open_vnc / aiohttp's WebSocket, 1 relay", lambda: ref.open_vnc().aopen(), bare, rounds, size)


# -- kept --------------------------------------------------------------------------------------------------------------


def memory() -> str:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return f"{tracemalloc.get_traced_memory()[0] / MB:>6.2f} traced {pages * os.sysconf('SC_PAGESIZE') / MB:>6.1f} RSS"


def left() -> tuple[int, int]:
    """Tasks and open files of this process."""
    return len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - of names alone


async def closed(forward: VNCForward, pipes: list[TCP], before: tuple[int, int]) -> None:
    """Close these and wait until as much is left as before, but not for ever."""
    for pipe in pipes:
        await pipe.aclose()
    for _ in range(200):
        if not forward.connections and left() <= before:
            break
        await asyncio.sleep(0.01)


async def kept(session: Session, tunnels: int, size: int) -> None:
    async with session.forward_vnc() as forward:

        async def opened() -> list[TCP]:
            return await asyncio.gather(*(TCP.to(forward.port) for _ in range(tunnels)))

        before = left()
        print(f"{'before':<38} {memory()}")
        pipes = await opened()
        for number in 1, 2, 3:
            await asyncio.gather(*(echo(pipe, size) for pipe in pipes))
            print(f"{f'{len(pipes)} held open, after round {number}':<38} {memory()}")
        await closed(forward, pipes, before)
        print(f"{'all closed':<38} {memory()}")
        for number in 1, 2, 3:
            pipes = await opened()
            await asyncio.gather(*(echo(pipe, size) for pipe in pipes))
            await closed(forward, pipes, before)
            print(f"{f'{len(pipes)} new ones, closed, round {number}':<38} {memory()}")
        tasks, files = (now - then for now, then in zip(left(), before, strict=True))
        print(f"{'left afterwards':<38} {tasks} tasks, {files} sockets, {len(forward.errors)} errors")


# -- pushed ------------------------------------------------------------------------------------------------------------


async def held_up(name: str, count: Callable[[], int], before: int) -> None:
    """Wait until a sender gets nowhere any more, and print how far it got."""
    seen = -1
    while seen != count():
        seen = count()
        await asyncio.sleep(STILL)
    gc.collect()
    here = tracemalloc.get_traced_memory()[0] - before
    print(f"{name:<38} {seen / MB:>6.1f} MB, {here / MB:.2f} MB of it in this process{' - NOT HELD UP' * (seen >= ENDLESS)}")


async def pushed(name: str, port: Port, stand_in: StandIn) -> None:
    """Print how much can be sent down to a viewer, and up to a server, that does not read."""
    before = tracemalloc.get_traced_memory()[0]
    viewer = await TCP.to(port)
    stand_in.pushed = 0
    await viewer.write(order(b"F", ENDLESS))
    await held_up(f"{name}, down", lambda: stand_in.pushed, before)
    viewer.writer.transport.abort()
    await asyncio.sleep(STILL)

    before = tracemalloc.get_traced_memory()[0]
    viewer, sent = await TCP.to(port), 0

    async def send() -> None:
        nonlocal sent
        await viewer.write(order(b"S"))
        while sent < ENDLESS:
            await viewer.write(PIECE)
            sent += len(PIECE)

    sending = asyncio.create_task(send())
    await held_up(f"{name}, up", lambda: sent, before)
    sending.cancel()
    await asyncio.wait({sending})
    stand_in.over.set()
    viewer.writer.transport.abort()
    await asyncio.sleep(STILL)
    stand_in.over.clear()


async def main(rounds: int, megabytes: int, tunnels: int) -> None:
    """Start everything, measure, print."""
    stand_in = StandIn()
    size = megabytes * MB // len(PIECE) * len(PIECE)
    async with listening(stand_in.serve) as port, session_of(port) as session:
        print(f"Carried: ratio of speeds, {rounds} pairs of {size / MB:.0f} MB, one process\n")
        await carried(session, port, rounds, size)
        tracemalloc.start()
        print(f"\nKept by {tunnels} tunnels at once, MB; each echoes 1 MB in a round\n")
        await kept(session, tunnels, MB // len(PIECE) * len(PIECE))
        print("\nPushed until held up by a reader that takes nothing\n")
        async with session.forward_vnc() as forward, bare_relays(3, port) as three:
            await pushed("forward_vnc", forward.port, stand_in)
            await pushed("TCP, 3 relays", three, stand_in)
        tracemalloc.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--megabytes", type=int, default=24)
    parser.add_argument("--tunnels", type=int, default=50)
    given = parser.parse_args()
    asyncio.run(main(given.rounds, given.megabytes, given.tunnels))

"""Tunnels of a machine that slept, which others have forgotten: they end with a reason.

Monotonic clocks stand while a machine sleeps. So for the client no time has passed when it wakes
up, and only the path has changed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from tests.integration.realtime_server import Server, client, serving, settled
from vcloud import TransportError

ID = "ses-1"
PICTURE = b"RFB 003.008\n" + bytes(100)
#: What the path does after the sleep, and what the client then says of the tunnel.
WAYS = {
    "a router that drops what it does not know": r"no ping was answered within 0\.1 s",
    "a service that has restarted": r"1006 .*without a close frame|the WebSocket broke",
}


class Path:
    """A TCP connection's way to the server, which may forget the connections that it carries."""

    def __init__(self, server: Server) -> None:
        self._host = urlsplit(server.url).hostname
        self._port = urlsplit(server.url).port
        self._asleep = False
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, onward = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, onward}
        try:
            await asyncio.gather(self._carry(reader, onward), self._carry(there, writer))
        finally:
            for one in (writer, onward):
                one.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if not self._asleep:
                    writer.write(data)

    def forget(self, way: str) -> None:
        """What happens while the machine sleeps."""
        self._asleep = True
        if "restarted" in way:
            for writer in self._writers:
                writer.transport.abort()


@contextlib.asynccontextmanager
async def path_to(server: Server) -> AsyncIterator[Path]:
    path = Path(server)
    listener = await asyncio.start_server(path.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield path
    finally:
        path.forget("restarted")
        listener.close()
        await listener.wait_closed()


async def show(request: web.Request, socket: web.WebSocketResponse) -> None:
    """A desktop whose screen does not change any more."""
    await socket.send_bytes(PICTURE)
    async for _ in socket:
        pass


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("reads", [True, False], ids=["read", "nobody reads"])
async def test_a_tunnel_ends_with_a_reason(way: str, reads: bool) -> None:
    async with (
        serving(show) as server,
        path_to(server) as path,
        client(server, heartbeat=0.1) as streamspace,
        streamspace.sessions.ref(ID).open_vnc() as tunnel,
    ):
        assert await tunnel.read() == PICTURE
        waiting = asyncio.create_task(tunnel.read()) if reads else None
        await asyncio.sleep(0)
        path.forget(way)
        if waiting is not None:
            with pytest.raises(TransportError, match=WAYS[way]):
                await waiting
        else:
            await settled(lambda: tunnel.close_code is not None)
        assert tunnel.close_code == 1006
        with pytest.raises(TransportError, match=r"the WebSocket is closed: .*1006"):
            await tunnel.write(b"x")


@pytest.mark.parametrize("way", WAYS)
async def test_a_forward_disconnects_its_viewer_and_calls_on_error(way: str) -> None:
    reported: list[Exception] = []
    async with (
        serving(show) as server,
        path_to(server) as path,
        client(server, heartbeat=0.1) as streamspace,
        streamspace.sessions.ref(ID).forward_vnc(on_error=reported.append) as forward,
    ):
        reader, writer = await asyncio.open_connection(forward.host, forward.port)
        assert await reader.readexactly(len(PICTURE)) == PICTURE
        path.forget(way)
        assert await reader.read() == b"", "the viewer's connection ends"
        writer.close()
        await settled(lambda: len(forward.errors) == 1)
        error = forward.errors[0]
        assert isinstance(error, TransportError)
        with pytest.raises(TransportError, match=WAYS[way]):
            raise error
        assert reported == [error]
        await settled(lambda: forward.connections == 0)

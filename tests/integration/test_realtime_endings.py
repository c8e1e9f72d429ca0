"""How WebSockets end: with their reasons, and after everything that was sent before."""

from __future__ import annotations

import asyncio
import socket as sockets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, web

from tests.integration.realtime_plane import plane, ready
from tests.integration.realtime_server import Script, client, refusal, serving, settled
from vcloud import APIError, ConflictError, TransportError
from vcloud._core.connections.aiohttp_compat import WebSocketConnection
from vcloud._core.websocket import MAX_REASON, close_message, describe_close
from vcloud._core.websocket import socket as socket_module
from vcloud.providers.streamspace import VNCTunnel
from vcloud.providers.streamspace.realtime import vnc_forward, vnc_relay
from vcloud.providers.streamspace.realtime.vnc_refusal import GREETING, refusal_message

ID = "770e8400-e29b-41d4-a716-446655440002"


@asynccontextmanager
async def opened(script: Script) -> AsyncIterator[VNCTunnel]:
    async with (
        serving(script) as server,
        client(server) as streamspace,
        streamspace.sessions.ref(ID).open_vnc() as tunnel,
    ):
        yield tunnel


# -- reasons ---------------------------------------------------------------------------------------


async def test_why_the_service_closed_a_tunnel_stands_in_the_error() -> None:
    async def close(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.close(code=1011, message=b"the VNC server has crashed")

    async with serving(close) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).open_vnc() as tunnel:
            with pytest.raises(TransportError) as caught:
                await tunnel.read()
            assert str(caught.value) == (
                "the tunnel was closed with code 1011 (unexpected condition):"
                " the VNC server has crashed"
            )
            assert tunnel.close_reason == "the VNC server has crashed"


async def test_why_a_tunnel_ended_well_can_be_asked() -> None:
    async def close(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.close(code=1000, message=b"the session is hibernated")

    async with serving(close) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).open_vnc() as tunnel:
            assert tunnel.close_reason == ""
            assert await tunnel.read() == b""
            assert tunnel.close_reason == "the session is hibernated"


async def test_why_a_log_broke_off_stands_in_the_error() -> None:
    async def close(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.close(code=1012, message=b"moved to another node")

    async with serving(close) as server, client(server, attempts=2) as streamspace:
        with pytest.raises(
            TransportError, match=r"1012 \(service restart\): moved to another node"
        ):
            await anext(streamspace.sessions.ref(ID).logs(follow=True))


async def test_a_connection_lost_without_a_close_frame_is_described() -> None:
    async def vanish(request: web.Request, socket: web.WebSocketResponse) -> None:
        assert request.transport is not None
        request.transport.abort()

    async with opened(vanish) as tunnel:
        with pytest.raises(TransportError) as caught:
            await tunnel.read()
        assert str(caught.value) == (
            "the tunnel was closed with code 1006 (the connection was lost without a close frame)"
        )


def test_a_close_reason_fits_its_frame_and_is_shown_on_one_line() -> None:
    assert describe_close(4001, "x") == "code 4001: x"
    assert close_message("é" * 100) == "é".encode() * (MAX_REASON // 2)
    assert describe_close(4001, "a\x1b[2Jb\nc") == r"code 4001: a\x1b[2Jb\nc"


# -- everything is delivered -----------------------------------------------------------------------


async def test_sent_data_is_delivered_although_the_peer_pauses_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket_module, "CLOSE_TIMEOUT", 0.01)
    read, ended = asyncio.Event(), asyncio.Event()
    received: list[int] = []
    codes: list[object] = []

    async def pausing(request: web.Request, socket: web.WebSocketResponse) -> None:
        await read.wait()
        async for message in socket:
            received.append(len(message.data))
        codes.append(socket.close_code)
        ended.set()

    async with opened(pausing) as tunnel:
        sent = 0
        # Beyond what the kernel holds, some of it is left in this process.
        while tunnel.unsent == 0:
            await tunnel.write(bytes(1000))
            sent += 1000
        finishing = asyncio.create_task(tunnel.finish())
        await asyncio.wait({finishing}, timeout=10 * socket_module.CLOSE_TIMEOUT)
        assert not finishing.done()
        read.set()
        await finishing
        await ended.wait()
    assert sum(received) == sent
    assert codes == [1000]


async def test_a_peer_that_never_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_module, "CLOSE_TIMEOUT", 0.01)
    monkeypatch.setattr(socket_module, "STALL_TIMEOUT", 0.02)
    connections: list[WebSocketConnection] = []

    def recorded(opened: ClientWebSocketResponse) -> WebSocketConnection:
        connections.append(WebSocketConnection(opened))
        return connections[-1]

    monkeypatch.setattr(socket_module, "WebSocketConnection", recorded)

    async def deaf(request: web.Request, socket: web.WebSocketResponse) -> None:
        await asyncio.Event().wait()

    for end in (VNCTunnel.aclose, VNCTunnel.finish):
        connections.clear()
        async with opened(deaf) as tunnel:
            while tunnel.unsent == 0:
                await tunnel.write(bytes(1000))
            await end(tunnel)
            assert [connection.is_closing() for connection in connections] == [True]


async def test_an_agent_waits_until_the_close_of_a_viewer_s_socket_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The peer cannot answer a close that it reads after the agent has disconnected."""
    monkeypatch.setattr(socket_module, "CLOSE_TIMEOUT", 0.01)

    async def vnc_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(100_000))
        writer.close()

    left: list[bool] = []
    ends = asyncio.Event()
    server = await asyncio.start_server(vnc_server, "127.0.0.1", 0)

    async def slowly(request: web.Request, socket: web.WebSocketResponse) -> None:
        received = 0
        while (message := await socket.receive()).type is WSMsgType.BINARY:
            received += len(message.data)
        assert (message.type, message.data, received) == (WSMsgType.CLOSE, 1000, 100_000)
        for _ in range(20):
            await asyncio.sleep(0.005)
        left.append(request.transport is None or request.transport.is_closing())
        ends.set()

    # The script itself answers the close.
    async with server, plane(autoclose=False) as control:
        handler = ready()
        handler.address = ("127.0.0.1", server.sockets[0].getsockname()[1])
        control.viewer = slowly
        async with control.agent(handler) as worker:
            ask = {"type": "vnc_proxy_request", "session_id": "s", "proxy_id": "p", "data": {}}
            await control.sockets[0].send_json(ask)
            await ends.wait()
            assert left == [False]
            assert worker.errors == ()


async def test_a_vnc_server_that_drops_the_connection_is_an_error() -> None:
    async def vnc_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"RFB 003.008\n")
        await reader.readexactly(1)
        # Without lingering, closing is a reset.
        linger = b"\x01\0\0\0\0\0\0\0"
        writer.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, linger)
        writer.transport.abort()

    ends: list[tuple[object, object]] = []
    server = await asyncio.start_server(vnc_server, "127.0.0.1", 0)

    async def viewer(request: web.Request, socket: web.WebSocketResponse) -> None:
        assert (await socket.receive()).data == b"RFB 003.008\n"
        await socket.send_bytes(b"x")
        message = await socket.receive()
        ends.append((message.data, message.extra))

    async with server, plane() as control:
        handler = ready()
        handler.address = ("127.0.0.1", server.sockets[0].getsockname()[1])
        control.viewer = viewer
        async with control.agent(handler):
            ask = {"type": "vnc_proxy_request", "session_id": "s", "proxy_id": "p", "data": {}}
            await control.sockets[0].send_json(ask)
            await settled(lambda: bool(ends))
    assert ends == [(1011, "the connection of the VNC server was lost")]


class Watched:
    """Relays of a forward, seen from outside: their TCP connections, and what they carried."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.progress: list[vnc_relay.RelayProgress] = []
        monkeypatch.setattr(vnc_forward, "relay", self.relay)

    async def relay(
        self,
        tunnel: VNCTunnel,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        progress: vnc_relay.RelayProgress,
    ) -> None:
        self.writers.append(writer)
        self.progress.append(progress)
        await vnc_relay.relay(tunnel, reader, writer, progress)

    def full(self) -> bool:
        """Whether a viewer has left something in this process."""
        return any(writer.transport.get_write_buffer_size() > 0 for writer in self.writers)

    def carried(self) -> int:
        return sum(progress.bytes_to_viewer for progress in self.progress)


async def test_a_viewer_that_pauses_gets_the_end_of_the_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vnc_relay, "FLUSH_TIMEOUT", 0.01)
    relays = Watched(monkeypatch)
    total = 0
    closed = asyncio.Event()

    async def until_full(request: web.Request, socket: web.WebSocketResponse) -> None:
        nonlocal total
        # In small parts, so that the forward goes on reading while it cannot write.
        while not relays.full():
            await socket.send_bytes(bytes(1000))
            total += 1000
            while relays.carried() < total:  # noqa: ASYNC110 - the forward has no event for it
                await asyncio.sleep(0)
        await socket.close()
        closed.set()

    async with serving(until_full) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).forward_vnc() as forward:
            viewer = sockets.socket()
            viewer.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
            viewer.setblocking(False)
            await asyncio.get_running_loop().sock_connect(viewer, (forward.host, forward.port))
            await closed.wait()
            await asyncio.sleep(0.1)
            got = 0
            while data := await asyncio.get_running_loop().sock_recv(viewer, 2**16):
                got += len(data)
            viewer.close()
            assert got == total
            assert forward.errors == ()


# -- what a viewer is shown ------------------------------------------------------------------------


async def failure(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, version: bytes
) -> str:
    """Shake hands as a viewer of this version does, and read why it is refused."""
    assert await reader.readexactly(12) == GREETING
    writer.write(version)
    none = 1 if version >= b"RFB 003.007\n" else 4
    assert await reader.readexactly(none) == bytes(none)
    length = int.from_bytes(await reader.readexactly(4), "big")
    reason = (await reader.readexactly(length)).decode()
    assert await reader.read() == b""
    writer.close()
    return reason


@pytest.mark.parametrize("version", [b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.008\n"])
async def test_a_refused_viewer_is_shown_the_reason_and_on_error_gets_it(version: bytes) -> None:
    errors: list[Exception] = []
    async with (
        serving(echo, lambda request: refusal(409, "SESSION_NOT_RUNNING")) as server,
        client(server) as streamspace,
    ):
        async with streamspace.sessions.ref(ID).forward_vnc(on_error=errors.append) as forward:
            reader, writer = await asyncio.open_connection(forward.host, forward.port)
            reason = await failure(reader, writer, version)
            assert reason == "StreamSpace refused the connection: you may not (SESSION_NOT_RUNNING)"
            await settled(lambda: len(errors) == 1)
            assert isinstance(errors[0], ConflictError)
            assert forward.errors == tuple(errors)


async def echo(request: web.Request, socket: web.WebSocketResponse) -> None:
    async for message in socket:
        await socket.send_bytes(message.data)


@pytest.mark.parametrize("greeted", [False, True])
async def test_a_viewer_is_shown_the_reason_if_only_versions_were_exchanged(
    greeted: bool,
) -> None:
    async def close(request: web.Request, socket: web.WebSocketResponse) -> None:
        if greeted:
            await socket.send_bytes(GREETING)
            await socket.receive()
        await socket.close(code=1011, message=b"the desktop is gone")

    async with serving(close) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).forward_vnc() as forward:
            reader, writer = await asyncio.open_connection(forward.host, forward.port)
            reason = await failure(reader, writer, b"RFB 003.008\n")
            assert reason.startswith(
                "No connection to StreamSpace: the tunnel was closed with code 1011"
            )
            assert reason.endswith("the desktop is gone")


async def test_a_viewer_that_got_more_than_a_version_is_sent_no_reason() -> None:
    async def close(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(GREETING + b"\x01\x01")
        await socket.receive()
        await socket.close(code=1011)

    async with serving(close) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).forward_vnc() as forward:
            reader, writer = await asyncio.open_connection(forward.host, forward.port)
            writer.write(b"RFB 003.008\n")
            assert await reader.read() == GREETING + b"\x01\x01"
            writer.close()
            await settled(lambda: len(forward.errors) == 1)


async def test_on_error_may_be_a_coroutine_function_and_may_raise(
    caplog: pytest.LogCaptureFixture,
) -> None:
    called = asyncio.Event()

    async def on_error(error: Exception) -> None:
        assert isinstance(error, APIError)
        called.set()
        raise RuntimeError("the hook is broken")

    async with (
        serving(echo, lambda request: refusal(404, "SESSION_NOT_FOUND")) as server,
        client(server) as streamspace,
    ):
        async with streamspace.sessions.ref(ID).forward_vnc(on_error=on_error) as forward:
            reader, writer = await asyncio.open_connection(forward.host, forward.port)
            await failure(reader, writer, b"RFB 003.008\n")
            await called.wait()
            await settled(lambda: forward.connections == 0)
    assert "on_error of forward_vnc failed" in caplog.text


def test_no_reason_is_sent_to_an_unknown_version_of_rfb() -> None:
    assert refusal_message(b"GET / HTTP/1", "no") == b""
    assert refusal_message(b"RFB 003.008\n", "n\u00f6") == b"\0\0\0\0\3n\xc3\xb6"
    assert refusal_message(b"RFB 004.001\n", "no") == b"\0\0\0\0\2no"
    assert refusal_message(b"RFB 003.005\n", "no") == b"\0\0\0\0\0\0\0\2no"

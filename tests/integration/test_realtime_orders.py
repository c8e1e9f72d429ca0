"""Tunnels, logs, forwards and agents that end in every order, over TCP and TLS, on each loop.

asyncio's TLS transports, aiohttp and uvloop differ in what becomes of a connection that is closed
twice, by both sides at once, or with something left to be sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket as sockets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from tests.integration.each_loop import on_each_loop
from tests.integration.realtime_plane import plane, ready
from tests.integration.realtime_server import (
    certified,
    client,
    others,
    serving,
    settled,
    trusting,
)
from tests.seeded import ADMIN_PASSWORD, SEED
from vcloud import (
    BearerAuth,
    ConfigurationError,
    Endpoint,
    RequestTimeout,
    RetryPolicy,
    TransportError,
)
from vcloud._core.websocket import socket as socket_module
from vcloud.emulator import Emulator
from vcloud.emulator.credentials import ADMIN
from vcloud.providers.streamspace import StreamSpace, VNCForward, VNCTunnel
from vcloud.providers.streamspace.realtime.relay import close_writer

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
    """Give up soon what does not answer."""
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
    http = streamspace._session.transport._session
    held = http is not None and http.connector is not None and bool(http.connector._acquired)
    return not held and not any("WebSocket" in task.get_name() for task in others())


# -- tunnels ---------------------------------------------------------------------------------------


async def leave_first(tunnel: VNCTunnel, peer: Peer) -> None:
    """The client leaves; the peer answers."""


async def leave_twice_at_once(tunnel: VNCTunnel, peer: Peer) -> None:
    await asyncio.gather(tunnel.aclose(), tunnel.aclose())


async def leave_while_reading(tunnel: VNCTunnel, peer: Peer) -> None:
    reading = asyncio.create_task(tunnel.read())
    await asyncio.sleep(0)
    await tunnel.aclose()
    assert await reading == b""


async def leave_while_writing(tunnel: VNCTunnel, peer: Peer) -> None:
    writing = asyncio.create_task(tunnel.write(PART * MUCH))
    await asyncio.sleep(0)
    await tunnel.aclose()
    with contextlib.suppress(TransportError):
        await writing


async def finish_first(tunnel: VNCTunnel, peer: Peer) -> None:
    await tunnel.write(PART * 8)
    await tunnel.finish()
    await peer.over.wait()
    assert (peer.received, peer.codes) == (8 * len(PART), [1000])


@pytest.mark.parametrize(
    "leave",
    [leave_first, leave_twice_at_once, leave_while_reading, leave_while_writing, finish_first],
    ids=lambda leave: leave.__name__,
)
@on_each_loop
async def test_a_tunnel_that_the_client_leaves(
    tls: bool, leave: Callable[[VNCTunnel, Peer], Awaitable[None]]
) -> None:
    for _ in range(2):
        peer = Peer()
        async with serving(peer.script, tls=tls) as server, client(server) as streamspace:
            async with streamspace.sessions.ref(ID).open_vnc() as tunnel:
                assert await tunnel.read() == b"hello"
                await leave(tunnel, peer)
            await peer.over.wait()
            assert peer.codes == [1000]
            await settled(lambda: whole(streamspace))


@pytest.mark.parametrize("reads", [True, False], ids=["read to the end", "unread"])
@pytest.mark.parametrize("end", ["closes", "closes_after_much", "aborts", "half_closes"])
@on_each_loop
async def test_a_tunnel_that_the_peer_ends(tls: bool, end: str, reads: bool) -> None:
    for _ in range(2):
        peer = Peer(end)
        async with serving(peer.script, tls=tls) as server, client(server) as streamspace:
            async with streamspace.sessions.ref(ID).open_vnc() as tunnel:
                peer.go.set()
                if reads and end.startswith("closes"):
                    assert await read_to_the_end(tunnel) == 5 + (
                        MUCH * len(PART) if end == "closes_after_much" else 0
                    )
                    assert tunnel.close_reason == "over"
                elif reads:
                    with pytest.raises(TransportError, match="without a close frame"):
                        await read_to_the_end(tunnel)
                elif end != "closes_after_much":
                    await settled(lambda: tunnel.close_code is not None)
            await peer.over.wait()
            if reads and end.startswith("closes"):
                assert peer.codes == [1000]
            await settled(lambda: whole(streamspace))


@on_each_loop
async def test_a_close_is_answered_behind_what_was_sent_before_it(tls: bool) -> None:
    peer = Peer("closes_unread")
    async with serving(peer.script, tls=tls) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).open_vnc() as tunnel:
            assert tunnel._socket is not None
            writing = asyncio.create_task(tunnel.write(PART * MUCH))
            await settled(lambda: tunnel._socket is not None and tunnel._socket._unsent() > 0)
            peer.go.set()
            await settled(lambda: tunnel.close_code == 1000)
        with contextlib.suppress(TransportError):
            await writing
        assert peer.closing is not None
        await peer.closing
        assert peer.codes == [1000]
        await settled(lambda: whole(streamspace))


@on_each_loop
async def test_both_sides_at_once(tls: bool) -> None:
    for turns in range(6):
        peer = Peer("closes")
        async with serving(peer.script, tls=tls) as server, client(server) as streamspace:
            async with streamspace.sessions.ref(ID).open_vnc():
                peer.go.set()
                for _ in range(turns):
                    await asyncio.sleep(0)
            await peer.over.wait()
            await settled(lambda: whole(streamspace))


@pytest.mark.parametrize("end", ["answers", "closes", "aborts", "hangs"])
@on_each_loop
async def test_a_client_that_is_closed_before_its_tunnel(
    tls: bool, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = Peer(end)
    with quick(monkeypatch):
        async with serving(peer.script, tls=tls) as server:
            streamspace = client(server)
            await streamspace.aopen()
            async with streamspace.sessions.ref(ID).open_vnc() as tunnel:
                assert await tunnel.read() == b"hello"
                peer.go.set() if end != "hangs" else None
                await streamspace.aclose()
                with contextlib.suppress(TransportError, ConfigurationError):
                    assert await tunnel.read() == b""
            peer.go.set()
            await peer.over.wait()


@pytest.mark.parametrize("turns", [0, 1, 2, 5, 20])
@pytest.mark.parametrize("end", ["answers", "hangs"])
@on_each_loop
async def test_leaving_is_cancelled_in_the_middle(
    tls: bool, end: str, turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = Peer(end)
    async with serving(peer.script, tls=tls) as server, client(server) as streamspace:
        tunnel = await streamspace.sessions.ref(ID).open_vnc().aopen()
        assert await tunnel.read() == b"hello"
        leaving = asyncio.create_task(tunnel.aclose())
        for _ in range(turns):
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait({leaving})
        with quick(monkeypatch):
            await tunnel.aclose()
        await settled(lambda: whole(streamspace))
        peer.go.set()
        await peer.over.wait()


@on_each_loop
async def test_a_peer_that_neither_reads_nor_answers_is_left_within_its_time(
    tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = Peer("hangs")
    async with serving(peer.script, tls=tls) as server, client(server) as streamspace:
        with quick(monkeypatch):
            async with streamspace.sessions.ref(ID).open_vnc() as tunnel:
                writing = asyncio.create_task(tunnel.write(PART * MUCH))
                await asyncio.sleep(0.05)
                assert not writing.done()
        with contextlib.suppress(TransportError):
            await writing
        await settled(lambda: whole(streamspace))
        peer.go.set()
        await peer.over.wait()


@on_each_loop
async def test_a_write_that_is_cancelled_cancels_none_that_comes_after(tls: bool) -> None:
    """aiohttp's pull request 6028: all that wait until the peer reads share one future."""
    peer = Peer("hangs")
    async with (
        serving(peer.script, tls=tls) as server,
        client(server) as streamspace,
        streamspace.sessions.ref(ID).open_vnc() as tunnel,
    ):
        sent = 0

        async def write(parts: int) -> None:
            nonlocal sent
            for _ in range(parts):
                # Counted first: what waits to be taken was sent, too.
                sent += 1
                await tunnel.write(PART)

        first = asyncio.create_task(write(MUCH * 4))
        before, still = -1, 0
        while still < 10:
            still = still + 1 if before == sent else 0
            before = sent
            await asyncio.sleep(0.02)
        # Meanwhile another one waits, and is not cancelled with it.
        second = asyncio.create_task(write(1))
        await asyncio.sleep(0)
        assert tunnel._socket is not None
        unsent = tunnel._socket._unsent()
        first.cancel()
        await asyncio.wait({first})
        for _ in range(5):
            # Nothing is written while what was left is not taken.
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await tunnel.write(PART)
        assert tunnel._socket._unsent() <= unsent
        peer.go.set()
        await second
        await write(2)
        await tunnel.finish()
        await peer.over.wait()
        assert peer.received == sent * len(PART)


@on_each_loop
async def test_the_private_parts_of_aiohttp_are_not_needed(
    tls: bool, aiohttp_parts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = Peer("hangs")

    async def script(request: web.Request, socket: web.WebSocketResponse) -> None:
        await peer.script(request, socket)

    async with serving(script, tls=tls) as server, client(server) as streamspace:
        tunnel = await streamspace.sessions.ref(ID).open_vnc().aopen()
        assert await tunnel.read() == b"hello"
        writing = asyncio.create_task(tunnel.write(PART * MUCH))
        await asyncio.sleep(0.2)
        writing.cancel()
        await asyncio.wait({writing})
        assert writing.cancelled()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await tunnel.write(b"x")
        peer.go.set()
        await tunnel.write(PART)
        await tunnel.finish()
        await peer.over.wait()
        assert peer.codes == [1000]
        assert peer.received % len(PART) == 0
        assert 2 * len(PART) <= peer.received < MUCH * len(PART)

        for end in ("closes", "aborts"):
            peer = Peer(end)
            async with streamspace.sessions.ref(ID).open_vnc() as other:
                peer.go.set()
                await closed(other)
            await peer.over.wait()
        peer = Peer()
        with quick(monkeypatch):
            tunnel = await streamspace.sessions.ref(ID).open_vnc().aopen()
            with pytest.warns(ResourceWarning, match="a VNC tunnel"):
                del tunnel
            await peer.over.wait()
        await settled(lambda: whole(streamspace))


# -- logs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["left", "closed", "aborted", "cancelled"])
@on_each_loop
async def test_a_log_that_ends(tls: bool, end: str) -> None:
    over = asyncio.Event()

    async def log(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_str("one\ntwo\n")
        try:
            if end == "closed":
                await socket.close(code=1000)
            elif end == "aborted":
                assert request.transport is not None
                request.transport.abort()
            else:
                await socket.receive()
        finally:
            over.set()

    for _ in range(2):
        over.clear()
        async with serving(log, tls=tls) as server, client(server, attempts=1) as streamspace:
            async with streamspace.sessions.ref(ID).logs(follow=True) as lines:
                assert [await anext(lines), await anext(lines)] == ["one", "two"]
                if end == "closed":
                    assert await anext(lines, None) is None
                elif end == "aborted":
                    with pytest.raises(TransportError, match="without a close frame"):
                        await anext(lines)
                elif end == "cancelled":
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.01):
                            await anext(lines)
            await over.wait()
            await settled(lambda: whole(streamspace))


# -- behind a proxy --------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def terminating(url: str) -> AsyncIterator[str]:
    """A proxy that ends TLS, and closes as soon as one side has, as nginx and Caddy do."""
    parts = urlsplit(url)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(parts.hostname, parts.port)
        await asyncio.gather(carry(reader, inner_writer), carry(inner_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=certified())
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def left_alone(forward: VNCForward) -> None:
    await settled(lambda: forward.connections == 0)


@on_each_loop
async def test_what_goes_over_websockets_behind_a_proxy_is_left_in_good_order(tls: bool) -> None:
    async with contextlib.AsyncExitStack() as stack:
        emulator = await stack.enter_async_context(Emulator(speed=300, seed=SEED))
        url = emulator.url
        if tls:
            url = await stack.enter_async_context(terminating(url))
        endpoint = Endpoint(
            f"{url}/api/v1",
            auth=BearerAuth.login(ADMIN, ADMIN_PASSWORD),
            ssl=trusting() if tls else None,
        )
        streamspace = await stack.enter_async_context(StreamSpace(endpoint))
        session = await streamspace.sessions.create(ADMIN, "firefox-browser")
        await session.wait_until("running", poll=0.005)
        for _ in range(5):
            async with session.open_vnc() as tunnel:
                assert await tunnel.read() == b"RFB 003.008\n"
            async with session.logs(follow=True, tail=1) as lines:
                await anext(lines)
            async with session.forward_vnc() as forward:
                reader, writer = await asyncio.open_connection(forward.host, forward.port)
                assert await reader.readexactly(12) == b"RFB 003.008\n"
                writer.close()
                await left_alone(forward)
                assert forward.errors == ()
        await settled(lambda: whole(streamspace))


# -- forwards --------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["viewer", "peer closes", "peer aborts", "forward", "client"])
@pytest.mark.parametrize("much", [False, True], ids=["little", "much"])
@on_each_loop
async def test_a_forward_that_ends(tls: bool, end: str, much: bool) -> None:
    go, over = asyncio.Event(), asyncio.Event()

    async def vnc(request: web.Request, socket: web.WebSocketResponse) -> None:
        try:
            await socket.send_bytes(b"hello")
            await go.wait()
            if much:
                for _ in range(8):
                    await socket.send_bytes(PART)
            if end == "peer closes":
                await socket.close()
            elif end == "peer aborts":
                assert request.transport is not None
                request.transport.abort()
            else:
                async for _ in socket:
                    pass
        finally:
            over.set()

    async with serving(vnc, tls=tls) as server:
        streamspace = client(server)
        await streamspace.aopen()
        async with streamspace.sessions.ref(ID).forward_vnc() as forward:
            reader, writer = await asyncio.open_connection(forward.host, forward.port)
            assert await reader.readexactly(5) == b"hello"
            if end == "viewer":
                writer.write(PART if much else b"x")
                writer.close()
            go.set()
            if end == "client":
                await streamspace.aclose()
            if end == "peer closes":
                assert len(await reader.read()) == (8 * len(PART) if much else 0)
            if end != "forward":
                await settled(lambda: forward.connections == 0)
            # A viewer that leaves before it has read everything resets its connection.
            broken = (TransportError, OSError) if end == "viewer" else TransportError
            assert all(isinstance(error, broken) for error in forward.errors)
        await over.wait()
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        await streamspace.aclose()


@on_each_loop
async def test_a_viewer_that_takes_the_last_bytes_just_before_it_is_let_go(tls: bool) -> None:
    """asyncio's transport does not bear to be aborted then."""
    received, read, over = 0, asyncio.Event(), asyncio.Event()

    async def viewer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await read.wait()
        while data := await reader.read(65536):
            received += len(data)
        writer.close()
        over.set()

    certificate, trust = (certified(), trusting()) if tls else (None, None)
    server = await asyncio.start_server(viewer, "127.0.0.1", 0, ssl=certificate)
    async with server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
        sent = 0
        while writer.transport.get_write_buffer_size() == 0:
            writer.write(PART)
            sent += len(PART)
        letting = asyncio.create_task(close_writer(writer, stalled=30.0))
        await asyncio.sleep(0)
        read.set()
        await letting
        await over.wait()
        assert received == sent


# -- agents ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["agent", "plane closes", "plane aborts", "cancelled"])
@on_each_loop
async def test_an_agent_that_ends_and_its_picture_with_it(tls: bool, end: str) -> None:
    async def vnc_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"RFB 003.008\n")
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    vnc = await asyncio.start_server(vnc_server, "127.0.0.1", 0)
    async with vnc, plane(tls=tls) as control:
        handler = ready()
        handler.address = vnc.sockets[0].getsockname()[:2]
        worker = control.agent(handler)
        running = asyncio.create_task(worker.run())
        await worker.wait_registered()
        ask = {"type": "vnc_proxy_request", "session_id": "s", "proxy_id": "p", "data": {}}
        await control.sockets[0].send_json(ask)
        await settled(lambda: any(said["type"] == "bytes" for said in control.said))
        if end == "plane closes":
            await control.proxied["p"].close()
            await control.sockets[0].close(code=1012, message=b"moving")
            await settled(lambda: control.registrations == 2)
            assert any("1012 (service restart): moving" in str(error) for error in worker.errors)
        elif end == "plane aborts":
            for socket in (control.proxied["p"], control.sockets[0]):
                transport: Any = socket._req.transport  # type: ignore[union-attr]
                transport.abort()
            await settled(lambda: control.registrations == 2)
        if end == "cancelled":
            running.cancel()
            await asyncio.wait({running})
        else:
            worker.stop()
            await running
        assert control.streamspace is not None
        await settled(lambda: whole(control.streamspace))  # type: ignore[arg-type]


# -- answers ---------------------------------------------------------------------------------------


@on_each_loop
async def test_a_large_answer_that_is_cancelled_or_late_leaves_the_client_whole(tls: bool) -> None:
    lines = ["x" * 1000] * 8000
    body = json.dumps({"session_id": ID, "logs": lines}).encode()
    stalls = asyncio.Event()

    def answer(request: web.Request) -> web.Response | None:
        if stalls.is_set():
            return None
        return web.Response(body=body, content_type="application/json")

    async def stall(request: web.Request) -> None:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        # Until the client has left.
        await asyncio.Event().wait()

    async def script(request: web.Request, socket: web.WebSocketResponse) -> None:
        raise AssertionError

    async with serving(script, answer, stall, tls=tls) as server:
        async with client(server, attempts=1) as streamspace:
            ref = streamspace.sessions.ref(ID)
            assert len(await ref.logs()) == len(lines)
            for turns in (5, 10, 20, 40):
                call = asyncio.create_task(ref.logs())
                for _ in range(turns):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.wait({call})
                await settled(lambda: whole(streamspace))
            stalls.set()
            hasty = streamspace.with_options(timeout=0.1, retry=RetryPolicy(attempts=1))
            with pytest.raises((RequestTimeout, TransportError)):
                await hasty.sessions.ref(ID).logs()
            stalls.clear()
            await settled(lambda: whole(streamspace))
            assert len(await ref.logs()) == len(lines)

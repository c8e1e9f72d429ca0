"""Logs, forwards and agents that end in every order, over TCP and TLS, on each loop.

See ``test_realtime_tunnel_ends``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from tests.integration.each_loop import on_each_loop
from tests.integration.realtime_peer import (
    ID,
    PART,
    whole,
)
from tests.integration.realtime_plane import plane, ready
from tests.integration.realtime_server import (
    certified,
    client,
    serving,
    settled,
    trusting,
)
from tests.seeded import ADMIN_PASSWORD, SEED
from vcloud import (
    BearerAuth,
    Endpoint,
    RequestTimeout,
    RetryPolicy,
    TransportError,
)
from vcloud.emulator import Emulator
from vcloud.emulator.credentials import ADMIN
from vcloud.providers.streamspace import StreamSpace, VNCForward
from vcloud.providers.streamspace.realtime.vnc_relay import close_writer

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
async def test_websockets_behind_a_proxy_are_closed_cleanly(tls: bool) -> None:
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


class VNCServer:
    """Greets, sends eight parts if there is ``much``, and ends as the test says."""

    def __init__(self, end: str, *, much: bool) -> None:
        self.end, self.much = end, much
        self.go, self.over = asyncio.Event(), asyncio.Event()

    async def script(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        try:
            await socket.send_bytes(b"hello")
            await self.go.wait()
            for _ in range(8 if self.much else 0):
                await socket.send_bytes(PART)
            if self.end == "peer closes":
                await socket.close()
            elif self.end == "peer aborts":
                assert request.transport is not None
                request.transport.abort()
            else:
                async for _ in socket:
                    pass
        finally:
            self.over.set()


@pytest.mark.parametrize("end", ["viewer", "peer closes", "peer aborts", "forward", "client"])
@pytest.mark.parametrize("much", [False, True], ids=["little", "much"])
@on_each_loop
async def test_a_forward_that_ends(tls: bool, end: str, much: bool) -> None:
    vnc = VNCServer(end, much=much)
    async with serving(vnc.script, tls=tls) as server:
        streamspace = client(server)
        await streamspace.aopen()
        async with streamspace.sessions.ref(ID).forward_vnc() as forward:
            reader, writer = await asyncio.open_connection(forward.host, forward.port)
            assert await reader.readexactly(5) == b"hello"
            if end == "viewer":
                writer.write(PART if much else b"x")
                writer.close()
            vnc.go.set()
            if end == "client":
                await streamspace.aclose()
            if end == "peer closes":
                assert len(await reader.read()) == (8 * len(PART) if much else 0)
            if end != "forward":
                await settled(lambda: forward.connections == 0)
            # A viewer that leaves before it has read everything resets its connection.
            broken = (TransportError, OSError) if end == "viewer" else TransportError
            assert all(isinstance(error, broken) for error in forward.errors)
        await vnc.over.wait()
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        await streamspace.aclose()


@on_each_loop
async def test_a_viewer_that_takes_the_last_bytes_just_before_the_timeout(tls: bool) -> None:
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
async def test_an_agent_that_ends_and_its_viewer_with_it(tls: bool, end: str) -> None:
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
            for path in ("/agent/vnc/p", "/agent/ws"):
                control.transport_of(path).abort()
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
async def test_a_large_answer_that_is_cancelled_or_late_leaves_nothing_held(tls: bool) -> None:
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

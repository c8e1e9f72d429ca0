"""VNC tunnels over real sockets, against a server that the test scripts."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import traceback
from collections.abc import AsyncIterator

import pytest
from aiohttp import WSMsgType, web

from tests.integration.realtime_server import (
    TOKEN,
    Script,
    client,
    echo,
    greet_and_leave,
    others,
    refusal,
    serving,
    settled,
)
from vcloud import (
    AuthenticationError,
    BearerAuth,
    ConfigurationError,
    ConflictError,
    ConnectError,
    DecodeError,
    Endpoint,
    LimitExceededError,
    NotFoundError,
    PermissionDeniedError,
    TransportError,
    VCloudError,
)
from vcloud._core.websocket import socket as socket_module
from vcloud.providers.streamspace import StreamSpace, VNCTunnel

ID = "770e8400-e29b-41d4-a716-446655440002"


async def test_bytes_go_both_ways_and_the_token_only_into_the_query() -> None:
    async with serving(echo) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).open_vnc() as tunnel:
            await tunnel.write(b"hello")
            assert await tunnel.read() == b"hello"
            big = bytes(range(256)) * 4096
            writing = asyncio.create_task(tunnel.write(big))
            got = b""
            while len(got) < len(big):
                got += await tunnel.read()
            await writing
            assert got == big
        assert await tunnel.read() == b""
        (request,) = server.requests
        assert (request.path, dict(request.query)) == (f"/vnc-viewer/{ID}", {"token": TOKEN})
        assert "Authorization" not in request.headers
        assert TOKEN not in repr(tunnel)


async def test_the_service_s_clean_close_is_the_end_of_the_bytes() -> None:
    async with serving(greet_and_leave) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).open_vnc() as tunnel:
            assert [chunk async for chunk in tunnel] == [b"RFB 003.008\n"]
            with pytest.raises(TransportError, match="closed"):
                await tunnel.write(b"late")


async def test_our_clean_close_reaches_the_service_with_code_1000() -> None:
    codes: list[int | None] = []

    async def listen(request: web.Request, socket: web.WebSocketResponse) -> None:
        async for _ in socket:
            pass
        codes.append(socket.close_code)

    async with serving(listen) as server, client(server) as streamspace:
        tunnel = await streamspace.sessions.ref(ID).open_vnc().aopen()
        reading = asyncio.create_task(tunnel.read())
        await asyncio.sleep(0)
        await tunnel.aclose()
        assert await reading == b""
        await tunnel.aclose()
        await settled(lambda: bool(codes))
    assert codes == [1000]


@pytest.mark.parametrize("how", ["abort", "1011"])
async def test_a_lost_tunnel_is_an_error_and_not_an_end(how: str) -> None:
    async def break_off(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.receive()
        if how == "abort":
            assert request.transport is not None
            request.transport.abort()
        else:
            await socket.close(code=1011)

    async with (
        serving(break_off) as server,
        client(server) as streamspace,
        streamspace.sessions.ref(ID).open_vnc() as tunnel,
    ):
        await tunnel.write(b"x")
        with pytest.raises(TransportError, match="1006|1011"):
            await tunnel.read()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "AUTH_TOKEN_EXPIRED", AuthenticationError),
        (403, "AUTH_INSUFFICIENT_PERMISSIONS", PermissionDeniedError),
        (404, "SESSION_NOT_FOUND", NotFoundError),
        (409, "SESSION_NOT_RUNNING", ConflictError),
    ],
)
async def test_a_refused_upgrade_is_a_typed_error_without_the_token(
    status: int, code: str, kind: type[VCloudError], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        serving(echo, lambda request: refusal(status, code)) as server,
        client(server) as streamspace,
    ):
        with pytest.raises(kind) as caught:
            await streamspace.sessions.ref(ID).open_vnc().aopen()
        assert getattr(caught.value, "code", None) == code
        assert getattr(caught.value, "url", None) == f"{server.url}/vnc-viewer/{ID}"
        text = "".join(traceback.format_exception(caught.value)) + caplog.text
        assert "hush" not in text


@pytest.mark.parametrize("answer", ["no websocket", "dropped", "refused", "redirect"])
async def test_no_failed_connection_shows_the_token(answer: str) -> None:
    def refuse(request: web.Request) -> web.Response | None:
        if answer == "dropped":
            assert request.transport is not None
            request.transport.abort()
        if answer == "redirect":
            return web.Response(status=302, headers={"Location": "/elsewhere"})
        return web.Response(status=101, headers={"Upgrade": "tea", "Connection": "upgrade"})

    async with serving(echo, refuse) as server:
        streamspace = client(server, attempts=1)
        if answer == "refused":
            nowhere = "http://127.0.0.1:1/api/v1"
            streamspace = StreamSpace(Endpoint(nowhere, auth=BearerAuth(TOKEN), deadline=0.05))
        async with streamspace:
            with pytest.raises(ConnectError if answer == "refused" else VCloudError) as caught:
                await streamspace.sessions.ref(ID).open_vnc().aopen()
        shown = "".join(traceback.format_exception(caught.value))
        assert "hush" not in shown
        assert "%2Ftoken" not in shown
        assert len(server.requests) <= 1


async def test_a_token_that_is_refused_is_renewed_once_by_a_login() -> None:
    tokens = iter(["stale", "fresh"])

    def refuse(request: web.Request) -> web.Response | None:
        if request.path.endswith("/auth/login"):
            return web.json_response({"token": next(tokens), "expires_at": None})
        return None if request.query.get("token") == "fresh" else refusal(401, "AUTH_TOKEN_EXPIRED")

    async with serving(echo, refuse) as server:
        endpoint = Endpoint(f"{server.url}/api/v1", auth=BearerAuth.login("admin", "password"))
        async with (
            StreamSpace(endpoint) as streamspace,
            streamspace.sessions.ref(ID).open_vnc() as tunnel,
        ):
            await tunnel.write(b"x")
            assert await tunnel.read() == b"x"


async def test_base64_text_is_read_and_answered_with_base64() -> None:
    heard: list[object] = []

    async def as_text(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_str(base64.b64encode(b"RFB").decode())
        heard.append((await socket.receive()).data)
        await socket.send_str("not base64!")
        await socket.receive()

    async with (
        serving(as_text) as server,
        client(server) as streamspace,
        streamspace.sessions.ref(ID).open_vnc() as tunnel,
    ):
        assert await tunnel.read() == b"RFB"
        await tunnel.write(b"\x00\xff")
        with pytest.raises(DecodeError, match="base64"):
            await tunnel.read()
    assert heard == ["AP8="]


async def test_a_slow_reader_slows_its_sender_and_nothing_is_lost() -> None:
    release = asyncio.Event()
    received = 0

    async def slow(request: web.Request, socket: web.WebSocketResponse) -> None:
        nonlocal received
        await release.wait()
        async for message in socket:
            received += len(message.data)

    part, parts = bytes(256 * 1024), 160
    sent = 0

    async with (
        serving(slow) as server,
        client(server) as streamspace,
        streamspace.sessions.ref(ID).open_vnc() as tunnel,
    ):

        async def send() -> None:
            nonlocal sent
            for _ in range(parts):
                await tunnel.write(part)
                sent += 1

        sending = asyncio.create_task(send())
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.01)
        if not sending.done():
            # This process holds one part and what the transport buffers; the kernel has the rest.
            assert tunnel.unsent <= 2 * len(part)
        assert sent < parts
        release.set()
        await sending
        await tunnel.aclose()
        await settled(lambda: received == parts * len(part))


async def test_a_service_that_sends_faster_than_we_read_has_to_wait() -> None:
    sent = 0

    async def flood(request: web.Request, socket: web.WebSocketResponse) -> None:
        nonlocal sent
        for _ in range(640):
            await socket.send_bytes(bytes(65536))
            sent += 1

    async with (
        serving(flood) as server,
        client(server) as streamspace,
        streamspace.sessions.ref(ID).open_vnc() as tunnel,
    ):
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.01)
        assert sent < 640
        assert sum([len(chunk) async for chunk in tunnel]) == 640 * 65536


async def test_a_message_larger_than_allowed_ends_the_tunnel() -> None:
    async def huge(request: web.Request, socket: web.WebSocketResponse) -> None:
        with contextlib.suppress(ConnectionError):
            await socket.send_bytes(bytes(5 * 1024**2))
        await socket.receive()

    async with (
        serving(huge) as server,
        client(server) as streamspace,
        streamspace.sessions.ref(ID).open_vnc() as tunnel,
    ):
        with pytest.raises(LimitExceededError, match="max_message"):
            await tunnel.read()


@contextlib.asynccontextmanager
async def reading(
    script: Script, *, heartbeat: float, autoping: bool = True
) -> AsyncIterator[tuple[VNCTunnel, asyncio.Task[bytes]]]:
    """A tunnel that pings as often as this, and a task that reads from it."""
    async with (
        serving(script, autoping=autoping) as server,
        client(server, heartbeat=heartbeat) as streamspace,
        streamspace.sessions.ref(ID).open_vnc() as tunnel,
    ):
        waiting = asyncio.create_task(tunnel.read())
        try:
            yield tunnel, waiting
        finally:
            await tunnel.aclose()
            await asyncio.wait({waiting})


@pytest.mark.usefixtures("aiohttp_parts")
async def test_a_peer_that_answers_no_ping_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_module, "CLOSE_TIMEOUT", 0.05)
    gone = asyncio.Event()

    async def deaf(request: web.Request, socket: web.WebSocketResponse) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()

    async with reading(deaf, heartbeat=0.01) as (_, waiting):
        with pytest.raises(TransportError, match="silent"):
            await waiting
        await gone.wait()


@pytest.mark.usefixtures("aiohttp_parts")
async def test_a_peer_that_answers_its_pings_is_kept() -> None:
    pings = 0

    async def answering(request: web.Request, socket: web.WebSocketResponse) -> None:
        nonlocal pings
        async for message in socket:
            if message.type is WSMsgType.PING:
                pings += 1
                await socket.pong(message.data)
            else:
                await socket.send_bytes(message.data)

    # Long enough for a machine that is busy with other things to answer in time.
    async with reading(answering, heartbeat=0.3, autoping=False) as (tunnel, waiting):
        await settled(lambda: pings > 1)
        assert not waiting.done()
        await tunnel.write(b"still there")
        assert await waiting == b"still there"


async def test_cancelling_an_opening_or_a_read_leaves_nothing_and_the_client_works_on() -> None:
    async with serving(echo) as server, client(server) as streamspace:
        ref = streamspace.sessions.ref(ID)
        for steps in range(12):
            opening = asyncio.create_task(ref.open_vnc().aopen())
            for _ in range(steps):
                await asyncio.sleep(0)
            opening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await (await opening).aclose()
        async with ref.open_vnc() as tunnel:
            reading = asyncio.create_task(tunnel.read())
            await asyncio.sleep(0.002)
            reading.cancel()
            await asyncio.wait({reading})
            await tunnel.write(b"after")
            assert await tunnel.read() == b"after"
    await settled(lambda: not others())


async def test_misuse_of_a_tunnel_is_an_error() -> None:
    async with serving(echo) as server, client(server) as streamspace:
        tunnel = streamspace.sessions.ref(ID).open_vnc()
        with pytest.raises(ConfigurationError, match="not open"):
            await tunnel.read()
        async with tunnel:
            with pytest.raises(ConfigurationError, match="once"):
                await tunnel.aopen()


async def test_a_tunnel_that_is_closed_while_it_connects_leaves_no_socket() -> None:
    asked, go_on, gone = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def before(request: web.Request) -> None:
        asked.set()
        await go_on.wait()

    async def wait_for_the_end(request: web.Request, socket: web.WebSocketResponse) -> None:
        async for _ in socket:
            pass
        gone.set()

    async with (
        serving(wait_for_the_end, before=before) as server,
        client(server) as streamspace,
    ):
        tunnel = streamspace.sessions.ref(ID).open_vnc()
        opening = asyncio.create_task(tunnel.aopen())
        await asked.wait()
        with pytest.raises(ConfigurationError, match="once"):
            await tunnel.aopen()
        await tunnel.aclose()
        go_on.set()
        with pytest.raises(TransportError, match="closed while"):
            await opening
        await gone.wait()

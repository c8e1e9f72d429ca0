"""Tunnels, forwards and logs over real sockets, against a server that the test scripts."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import traceback
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest
from aiohttp import WSMsgType, web

from tests.integration.realtime_server import (
    AUTH,
    TOKEN,
    Script,
    client,
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
    InvalidArgumentError,
    LimitExceededError,
    NotFoundError,
    PermissionDeniedError,
    Request,
    TransportError,
    VCloudError,
)
from vcloud._core.websocket import Socket
from vcloud._core.websocket import socket as socket_module
from vcloud.providers.streamspace import StreamSpace

ID = "770e8400-e29b-41d4-a716-446655440002"


async def echo(request: web.Request, socket: web.WebSocketResponse) -> None:
    async for message in socket:
        if message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
        else:
            await socket.send_str(message.data)


async def greet_and_leave(request: web.Request, socket: web.WebSocketResponse) -> None:
    await socket.send_bytes(b"RFB 003.008\n")


# -- tunnels -----------------------------------------------------------------------------------------------------------


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
async def test_no_failure_to_connect_tells_the_token(answer: str) -> None:
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
            streamspace = StreamSpace(Endpoint("http://127.0.0.1:1/api/v1", auth=BearerAuth(TOKEN)))
            streamspace = streamspace.with_options(deadline=0.05)
            streamspace._shares_transport = False
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


async def test_base64_text_is_understood_and_answered_in_kind() -> None:
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
        socket = tunnel._socket
        assert socket is not None
        if not sending.done():
            # What waits in this process is one part and the transport's own mark; the rest is the kernel's.
            assert socket._unsent() <= 2 * len(part)
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
async def listening(
    script: Script, *, heartbeat: float
) -> AsyncIterator[tuple[Socket, asyncio.Task[bytes | str | None]]]:
    """A socket that pings as often as this, and a task that receives from it."""
    async with serving(script) as server, client(server) as streamspace:
        session = streamspace._session
        token = await session.authenticate(Request("GET", "/"))
        wire = msgspec.structs.replace(session._wire, heartbeat=heartbeat)
        socket: Socket = await streamspace._transport.websocket(server.url, token, wire)
        waiting = asyncio.create_task(socket.receive())
        try:
            yield socket, waiting
        finally:
            await socket.close()
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

    async with listening(deaf, heartbeat=0.01) as (_, waiting):
        with pytest.raises(TransportError, match="silent"):
            await waiting
        await gone.wait()


@pytest.mark.usefixtures("aiohttp_parts")
async def test_a_peer_that_answers_its_pings_is_kept() -> None:
    pings = 0

    async def answering(request: web.Request, socket: web.WebSocketResponse) -> None:
        nonlocal pings
        # The reader is what counts them: aiohttp's own answer to a ping is nowhere to be seen.
        socket._autoping = False
        async for message in socket:
            if message.type is WSMsgType.PING:
                pings += 1
                await socket.pong(message.data)
            else:
                await socket.send_str(message.data)

    # Long enough for a machine that is busy with other things to answer in time.
    async with listening(answering, heartbeat=0.3) as (socket, waiting):
        await settled(lambda: pings > 1)
        assert not waiting.done()
        await socket.send_text("still there")
        assert await waiting == "still there"


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


async def test_a_tunnel_says_when_it_is_misused() -> None:
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


SESSION = {
    "id": ID,
    "name": "n",
    "user": "u",
    "template": "t",
    "platform": "docker",
    "agent_id": None,
    "state": "running",
    "resources": None,
    "created_at": "2025-11-22T10:45:00Z",
    "updated_at": None,
}


@pytest.mark.parametrize("named", ["/api/v1/vnc/x?quality=9", None, "wss://elsewhere.test/vnc"])
async def test_a_fetched_session_is_opened_where_the_service_says_but_never_elsewhere(
    named: str | None,
) -> None:
    def refuse(request: web.Request) -> web.Response | None:
        fetched = SESSION | {"status": {"phase": "Running", "message": "", "vnc_url": named}}
        return web.json_response(fetched) if request.path == f"/api/v1/sessions/{ID}" else None

    async with serving(echo, refuse) as server, client(server) as streamspace:
        session = await streamspace.sessions.get(ID)
        if named is not None and "elsewhere" in named:
            with pytest.raises(ConfigurationError, match="somewhere else than the API"):
                session.open_vnc()
            return
        async with session.open_vnc() as tunnel:
            await tunnel.write(b"x")
            assert await tunnel.read() == b"x"
        request = server.requests[-1]
        assert request.path == ("/api/v1/vnc/x" if named else f"/vnc-viewer/{ID}")
        assert dict(request.query) == ({"quality": "9"} if named else {}) | {"token": TOKEN}


async def test_a_websocket_of_a_session_that_was_handed_in_leaves_that_session_open() -> None:
    async with serving(echo) as server, aiohttp.ClientSession() as own:
        endpoint = Endpoint(f"{server.url}/api/v1", auth=BearerAuth(TOKEN))
        async with StreamSpace(endpoint, client_session=own) as streamspace:
            async with streamspace.sessions.ref(ID).open_vnc() as tunnel:
                await tunnel.write(b"x")
                assert await tunnel.read() == b"x"
        assert not own.closed
        assert own.connector is not None
        assert not own.connector.closed


# -- forwards ----------------------------------------------------------------------------------------------------------


async def test_many_viewers_share_a_port_and_each_has_a_tunnel_of_its_own() -> None:
    async with serving(echo) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).forward_vnc() as forward:
            assert forward.host == "127.0.0.1"
            viewers = [await asyncio.open_connection(forward.host, forward.port) for _ in range(5)]
            for number, (_, writer) in enumerate(viewers):
                writer.write(b"viewer %d" % number)
            for number, (reader, _) in enumerate(viewers):
                assert await reader.readexactly(8) == b"viewer %d" % number
            assert forward.connections == 5
            viewers[0][1].close()
            await settled(lambda: forward.connections == 4)
            viewers[1][1].write(b"go on")
            assert await viewers[1][0].readexactly(5) == b"go on"
        for reader, writer in viewers[1:]:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
        assert forward.errors == ()
        assert len(server.requests) == 5


async def test_a_refused_tunnel_ends_its_viewer_alone_and_is_remembered() -> None:
    async with (
        serving(echo, lambda request: refusal(409, "SESSION_NOT_RUNNING")) as server,
        client(server) as streamspace,
    ):
        async with streamspace.sessions.ref(ID).forward_vnc() as forward:
            for _ in range(2):
                reader, writer = await asyncio.open_connection(forward.host, forward.port)
                # It says its version, and then why there is no picture.
                assert await reader.readexactly(12) == b"RFB 003.008\n"
                writer.close()
            await settled(lambda: len(forward.errors) == 2)
            assert all(isinstance(error, ConflictError) for error in forward.errors)


async def test_what_the_service_said_last_still_reaches_the_viewer() -> None:
    async with serving(greet_and_leave) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).forward_vnc() as forward:
            reader, writer = await asyncio.open_connection(forward.host, forward.port)
            assert await reader.read() == b"RFB 003.008\n"
            writer.close()


async def test_a_forward_cancelled_at_any_step_leaves_no_task_and_no_port() -> None:
    async with serving(echo) as server, client(server) as streamspace:
        for steps in range(0, 40, 2):
            ports: list[int] = []

            async def use(ports: list[int] = ports) -> None:
                async with streamspace.sessions.ref(ID).forward_vnc() as forward:
                    ports.append(forward.port)
                    reader, writer = await asyncio.open_connection(forward.host, forward.port)
                    try:
                        while True:
                            writer.write(b"x")
                            await reader.readexactly(1)
                    finally:
                        writer.close()

            using = asyncio.create_task(use())
            for _ in range(steps):
                await asyncio.sleep(0)
            using.cancel()
            with pytest.raises(asyncio.CancelledError):
                await using
            for port in ports:
                with pytest.raises(OSError):
                    await asyncio.open_connection("127.0.0.1", port)
    await settled(lambda: not others())


@pytest.mark.parametrize(
    "arguments",
    [{"host": "0.0.0.0"}, {"host": "example.com"}, {"port": 70000}, {"port": -1}, {"on_error": 5}],
)
def test_a_forward_only_listens_on_this_machine_and_checks_its_arguments(
    arguments: dict[str, object],
) -> None:
    streamspace = StreamSpace(Endpoint("https://streamspace.test/api/v1", auth=BearerAuth(TOKEN)))
    with pytest.raises(InvalidArgumentError):
        streamspace.sessions.ref(ID).forward_vnc(**arguments)  # type: ignore[arg-type]


# -- logs --------------------------------------------------------------------------------------------------------------


async def test_logs_are_followed_to_the_end_of_the_session() -> None:
    async def lines(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_str("a\nb\n")
        await socket.send_str("c")

    async with serving(lines) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).logs(
            follow=True, tail=2, timestamps=False
        ) as following:
            assert [line async for line in following] == ["a", "b", "c"]
        (request,) = server.requests
        assert dict(request.query) == {"tail": "2", "follow": "true", "timestamps": "false"}
        assert (request.path, request.headers["Authorization"]) == (
            f"/api/v1/sessions/{ID}/logs",
            AUTH,
        )


@pytest.mark.parametrize("tail", [1, 3, 100])
async def test_after_a_drop_no_line_is_lost_or_given_twice(tail: int) -> None:
    log = [f"2025-11-22T10:45:{number:02d}Z line" for number in range(60)]
    written = 10

    async def dropping(request: web.Request, socket: web.WebSocketResponse) -> None:
        nonlocal written
        for line in log[max(0, written - int(request.query["tail"])) : written]:
            await socket.send_str(line)
        for _ in range(5):
            if written < len(log):
                await socket.send_str(log[written])
                written += 1
        if written < len(log):
            # Some more are written while nobody is connected.
            written += 3
            await socket.close(code=1012)

    async with serving(dropping) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).logs(follow=True, tail=tail) as following:
            assert [line async for line in following] == log[max(0, 10 - tail) :]
        assert len(server.requests) > 3


async def test_repeated_lines_are_recognised_however_long_the_service_pauses_among_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vcloud.providers.streamspace.realtime.logs.QUIET", 0.001)
    log = [f"2026-01-01T00:00:{n // 10:02}.{n % 10}Z line {n}" for n in range(303)]
    connections = 0

    async def pausing(request: web.Request, socket: web.WebSocketResponse) -> None:
        nonlocal connections
        connections += 1
        for number, line in enumerate(log[max(0, 300 - int(request.query["tail"])) : 300]):
            await socket.send_str(line)
            if connections == 2 and number in (0, 50, 299):
                # Many times what silence takes to decide anything.
                await asyncio.sleep(0.05)
        if connections == 1:
            await socket.close(code=1012)
            return
        for line in log[300:]:
            await socket.send_str(line)

    async with serving(pausing) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).logs(follow=True, tail=250) as following:
            assert [line async for line in following] == log[50:]


async def test_when_the_log_was_begun_anew_meanwhile_its_lines_are_given_after_a_short_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vcloud.providers.streamspace.realtime.logs.QUIET", 0.005)
    logs = [["old 1", "old 2"], ["new 1", "new 2"]]
    over = asyncio.Event()

    async def restarted(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_str("\n".join(logs.pop(0)))
        if logs:
            await socket.close(code=1001)
        await over.wait()

    async with serving(restarted) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).logs(follow=True) as following:
            assert [await anext(following) for _ in range(4)] == [
                "old 1",
                "old 2",
                "new 1",
                "new 2",
            ]
            over.set()
            assert [line async for line in following] == []


async def test_a_log_that_only_drops_ends_with_an_error_after_the_policy_s_attempts() -> None:
    async def drop(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.close(code=1011)

    async with serving(drop) as server, client(server, attempts=3) as streamspace:
        following = streamspace.sessions.ref(ID).logs(follow=True)
        with pytest.raises(TransportError, match="1011"):
            await anext(following)
        assert len(server.requests) == 3
        await following.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(following)


async def test_a_log_ends_at_a_message_that_is_too_large_and_does_not_ask_for_it_again() -> None:
    async def huge(request: web.Request, socket: web.WebSocketResponse) -> None:
        with contextlib.suppress(ConnectionError):
            await socket.send_bytes(bytes(5 * 1024**2))
        await socket.receive()

    async with serving(huge) as server, client(server, attempts=3) as streamspace:
        async with streamspace.sessions.ref(ID).logs(follow=True) as following:
            with pytest.raises(LimitExceededError, match=r"Endpoint\(max_message=") as caught:
                await anext(following)
            assert not caught.value.outcome_unknown
            with pytest.raises(StopAsyncIteration):
                await anext(following)
        assert len(server.requests) == 1


async def test_a_wait_for_a_line_can_be_given_up_and_taken_up_again() -> None:
    more = asyncio.Event()

    async def slowly(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_str("first")
        await more.wait()
        await socket.send_str("second")

    async with serving(slowly) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).logs(follow=True) as following:
            assert await anext(following) == "first"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await anext(following)
            more.set()
            assert [line async for line in following] == ["second"]
        assert len(server.requests) == 1


async def test_a_log_of_a_session_that_is_not_there_is_a_typed_error() -> None:
    async with (
        serving(echo, lambda request: refusal(404, "SESSION_NOT_FOUND")) as server,
        client(server) as streamspace,
    ):
        with pytest.raises(NotFoundError):
            await anext(streamspace.sessions.ref(ID).logs(follow=True))

"""WebSockets that are not read for a while: pings, back-pressure, closes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re

import pytest
from aiohttp import web

from tests.integration.each_loop import on_each_loop
from tests.integration.realtime_peer import ID, CountingPeer
from tests.integration.realtime_server import Server, client, serving, settled
from vcloud import ConfigurationError, RetryPolicy, TransportError, VCloud
from vcloud.emulator import Emulator

LIMIT = 1000
#: Seconds in which a ping would be answered that must not be.
UNANSWERED = 0.1


# -- pings -----------------------------------------------------------------------------------------


@on_each_loop
async def test_pings_are_answered_while_no_task_reads(tls: bool) -> None:
    peer = CountingPeer()
    async with (
        serving(peer.script, tls=tls, autoping=False) as server,
        client(server) as streamspace,
    ):
        async with streamspace.sessions.ref(ID).open_vnc():
            await peer.up.wait()
            for number in range(5):
                await peer.ping(b"%d" % number)
                await peer.answered(b"%d" % number)


@on_each_loop
async def test_pings_are_answered_until_more_than_max_message_bytes_wait_unread(tls: bool) -> None:
    peer = CountingPeer()
    async with (
        serving(peer.script, tls=tls, autoping=False) as server,
        client(server, max_message=LIMIT) as streamspace,
        streamspace.sessions.ref(ID).open_vnc() as tunnel,
    ):
        await peer.up.wait()
        assert peer.socket is not None
        for _ in range(LIMIT // 10):
            await peer.socket.send_bytes(bytes(10))
        await peer.ping(b"at the limit")
        await peer.answered(b"at the limit")
        await peer.socket.send_bytes(b"x")
        await peer.ping(b"beyond")
        await asyncio.sleep(UNANSWERED)
        assert b"beyond" not in peer.pongs
        got = len(await tunnel.read())
        await peer.answered(b"beyond")
        while got < LIMIT + 1:
            got += len(await tunnel.read())


@on_each_loop
async def test_endless_small_messages_do_not_accumulate(
    tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vcloud._core.websocket.receiver.MAX_MESSAGES", 100)
    peer = CountingPeer()
    async with (
        serving(peer.script, tls=tls, autoping=False) as server,
        client(server) as streamspace,
        streamspace.sessions.ref(ID).open_vnc() as tunnel,
    ):
        await peer.up.wait()
        assert peer.socket is not None
        for _ in range(101):
            await peer.socket.send_bytes(b"")
        await peer.ping(b"beyond")
        await asyncio.sleep(UNANSWERED)
        assert peer.pongs == []
        await peer.socket.send_bytes(b"end")
        assert await tunnel.read() == b"end"
        await peer.answered(b"beyond")


@on_each_loop
async def test_a_flood_of_pings_neither_delays_nor_fills_what_is_sent(tls: bool) -> None:
    peer = CountingPeer()
    async with (
        serving(peer.script, tls=tls, autoping=False) as server,
        client(server) as streamspace,
        streamspace.sessions.ref(ID).open_vnc() as tunnel,
    ):
        await peer.up.wait()
        assert peer.socket is not None
        for number in range(5000):
            await peer.ping(b"%d" % number)
        await peer.socket.send_bytes(b"after")
        assert await tunnel.read() == b"after"
        # The last one is answered (RFC 6455, 5.5.3).
        await peer.answered(b"4999")
        await tunnel.write(b"still there")
        await settled(lambda: peer.received == len(b"still there"))


@pytest.mark.parametrize("talks", ["the service", "the client", "nobody"])
@on_each_loop
async def test_either_direction_that_is_silent_gets_pings(tls: bool, talks: str) -> None:
    peer = CountingPeer()
    async with (
        serving(peer.script, tls=tls, autoping=False) as server,
        client(server, heartbeat=0.15) as streamspace,
        streamspace.sessions.ref(ID).open_vnc() as tunnel,
    ):
        await peer.up.wait()
        assert peer.socket is not None
        while peer.pings < 3:
            if talks == "the service":
                await peer.socket.send_bytes(b"x")
                assert await tunnel.read() == b"x"
            elif talks == "the client":
                await tunnel.write(b"x")
            await asyncio.sleep(0.002)


@on_each_loop
async def test_a_slow_message_does_not_count_as_silence(tls: bool) -> None:
    async def dribble(request: web.Request, socket: web.WebSocketResponse) -> None:
        assert request.transport is not None
        request.transport.write(b"\x82\x7e" + (400).to_bytes(2, "big"))
        for _ in range(40):
            request.transport.write(bytes(10))
            await asyncio.sleep(0.02)
        await socket.receive()

    async with (
        serving(dribble, tls=tls) as server,
        client(server, heartbeat=0.2) as streamspace,
        streamspace.sessions.ref(ID).open_vnc() as tunnel,
    ):
        assert await tunnel.read() == bytes(400)


@on_each_loop
async def test_a_peer_that_answers_no_ping_is_noticed_while_no_task_reads(tls: bool) -> None:
    gone = asyncio.Event()

    async def deaf(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"last words")
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()

    async with (
        serving(deaf, tls=tls) as server,
        client(server, heartbeat=0.05) as streamspace,
        streamspace.sessions.ref(ID).open_vnc() as tunnel,
    ):
        await gone.wait()
        assert await tunnel.read() == b"last words"
        with pytest.raises(TransportError, match=r"silent: no ping was answered within 0\.05 s"):
            await tunnel.read()
        with pytest.raises(TransportError, match=r"1006 .*without a close frame.*no ping was"):
            await tunnel.write(b"x")


@on_each_loop
async def test_a_peer_that_waits_until_this_side_reads_is_not_given_up(tls: bool) -> None:
    peer = CountingPeer()
    async with (
        serving(peer.script, tls=tls, autoping=False) as server,
        client(server, heartbeat=0.1, max_message=LIMIT) as streamspace,
        streamspace.sessions.ref(ID).open_vnc() as tunnel,
    ):
        await peer.up.wait()
        assert peer.socket is not None
        await peer.socket.send_bytes(bytes(LIMIT))
        await peer.socket.send_bytes(bytes(LIMIT))
        # Many times the heartbeat.
        await settled(lambda: peer.pings > 5)
        assert len(await tunnel.read()) == LIMIT
        assert len(await tunnel.read()) == LIMIT
        await peer.ping(b"alive")
        await peer.answered(b"alive")


async def test_idle_tunnels_logs_and_agents_of_the_emulator_live_on_pings() -> None:
    async with Emulator(speed=300) as emulator:
        endpoint = emulator.endpoints()["streamspace"]
        endpoint = endpoint.__class__(
            endpoint.base_url, auth=endpoint.auth, heartbeat=0.3, retry=RetryPolicy(attempts=1)
        )
        async with VCloud(streamspace=endpoint) as cloud:
            session = await cloud.streamspace.sessions.create("admin", "firefox-browser")
            await session.wait_until("running", poll=0.005)
            async with session.open_vnc() as tunnel, session.logs(follow=True, tail=1) as lines:
                await anext(lines)
                await asyncio.sleep(1.2)
                assert await tunnel.read() == b"RFB 003.008\n"
                await tunnel.write(b"RFB 003.008\n")
                assert await tunnel.read()


# -- closes ----------------------------------------------------------------------------------------


@on_each_loop
async def test_a_close_is_noticed_and_answered_while_no_task_reads(tls: bool) -> None:
    codes: list[int | None] = []

    async def expire(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"one")
        await socket.send_bytes(b"two")
        # Returns when it is answered.
        await socket.close(code=4401, message=b"the token has expired")
        codes.append(socket.close_code)

    async with (
        serving(expire, tls=tls) as server,
        client(server) as streamspace,
        streamspace.sessions.ref(ID).open_vnc() as tunnel,
    ):
        await settled(lambda: codes == [1000])
        assert (tunnel.close_code, tunnel.close_reason) == (4401, "the token has expired")
        with pytest.raises(TransportError, match="closed: code 4401: the token has expired"):
            await tunnel.write(b"x")
        assert [await tunnel.read(), await tunnel.read()] == [b"one", b"two"]
        with pytest.raises(TransportError, match="code 4401: the token has expired"):
            await tunnel.read()


@on_each_loop
async def test_a_write_on_a_lost_connection_names_the_reason(tls: bool) -> None:
    async def vanish(request: web.Request, socket: web.WebSocketResponse) -> None:
        assert request.transport is not None
        request.transport.abort()

    async with (
        serving(vanish, tls=tls) as server,
        client(server) as streamspace,
        streamspace.sessions.ref(ID).open_vnc() as tunnel,
    ):
        await settled(lambda: tunnel.close_code == 1006)
        with pytest.raises(TransportError, match="1006.*without a close frame"):
            await tunnel.write(b"x")
        with pytest.raises(TransportError, match="1006.*without a close frame"):
            await tunnel.read()


async def test_a_second_task_that_reads_gets_an_error() -> None:
    peer = CountingPeer()
    async with (
        serving(peer.script, autoping=False) as server,
        client(server) as streamspace,
        streamspace.sessions.ref(ID).open_vnc() as tunnel,
    ):
        reading = asyncio.create_task(tunnel.read())
        await peer.up.wait()
        await asyncio.sleep(0)
        with pytest.raises(ConfigurationError, match="another task"):
            await tunnel.read()
        assert peer.socket is not None
        await peer.socket.send_bytes(b"for the first")
        assert await reading == b"for the first"


async def test_an_upgrade_may_be_answered_with_keep_alive_beside_it() -> None:
    """The field is a list that contains "upgrade" (RFC 6455, 4.1)."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)
        assert key is not None
        digest = hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        lines = [
            b"HTTP/1.1 101 Switching Protocols",
            b"Upgrade: websocket",
            b"Connection: keep-alive, Upgrade",
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest),
        ]
        writer.write(b"\r\n".join([*lines, b"", b""]) + b"\x82\x05hello\x88\x02\x03\xe8")
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        async with client(Server(url)) as streamspace:
            async with streamspace.sessions.ref(ID).open_vnc() as tunnel:
                assert [await tunnel.read(), await tunnel.read()] == [b"hello", b""]

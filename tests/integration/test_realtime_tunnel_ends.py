"""Tunnels that end in every order, over TCP and TLS, on each loop.

asyncio's TLS transports, aiohttp and uvloop differ in what happens to a connection that is closed
twice, by both sides at once, or with something left to be sent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from tests.integration.each_loop import on_each_loop
from tests.integration.realtime_peer import (
    ID,
    MUCH,
    PART,
    Peer,
    closed,
    quick,
    read_to_the_end,
    whole,
)
from tests.integration.realtime_server import (
    client,
    serving,
    settled,
)
from vcloud import (
    ConfigurationError,
    TransportError,
)
from vcloud.providers.streamspace import VNCTunnel


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
            writing = asyncio.create_task(tunnel.write(PART * MUCH))
            await settled(lambda: tunnel.unsent > 0)
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
        unsent = tunnel.unsent
        first.cancel()
        await asyncio.wait({first})
        for _ in range(5):
            # Nothing is written while what was left is not taken.
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await tunnel.write(PART)
        assert tunnel.unsent <= unsent
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

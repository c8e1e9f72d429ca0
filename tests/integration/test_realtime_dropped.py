"""Tunnels to which no reference is left."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import warnings
import weakref
from typing import Any

import pytest

from tests.integration.each_loop import on_each_loop
from tests.integration.realtime_peer import ID, CountingPeer
from tests.integration.realtime_server import client, others, serving, settled
from vcloud.providers.streamspace import VNCTunnel

LIMIT = 1000


async def left_reading(tunnel: VNCTunnel, peer: CountingPeer) -> None:
    reading = asyncio.create_task(tunnel.read())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait({reading})


async def left_unread(tunnel: VNCTunnel, peer: CountingPeer) -> None:
    assert peer.socket is not None
    await peer.socket.send_bytes(b"x")
    await peer.ping(b"read")
    await peer.answered(b"read")


async def left_beyond_the_limit(tunnel: VNCTunnel, peer: CountingPeer) -> None:
    assert peer.socket is not None
    for _ in range(3):
        await peer.socket.send_bytes(bytes(LIMIT))
    await asyncio.sleep(0.01)


async def left_sending(tunnel: VNCTunnel, peer: CountingPeer) -> None:
    assert peer.request is not None
    transport = peer.request.transport
    assert transport is not None
    transport.pause_reading()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            while True:
                await tunnel.write(bytes(256 * 1024))
    transport.resume_reading()


async def left_idle(tunnel: VNCTunnel, peer: CountingPeer) -> None:
    pass


@pytest.mark.parametrize(
    "leave",
    [left_idle, left_reading, left_unread, left_beyond_the_limit, left_sending],
    ids=lambda leave: leave.__name__,
)
@on_each_loop
async def test_a_tunnel_without_references_is_collected_and_its_connection_ends(
    tls: bool, leave: Any
) -> None:
    peer = CountingPeer()
    async with (
        serving(peer.script, tls=tls, autoping=False) as server,
        client(server, max_message=LIMIT) as streamspace,
    ):
        tunnel = await streamspace.sessions.ref(ID).open_vnc().aopen()
        await peer.up.wait()
        await leave(tunnel, peer)
        dropped = weakref.ref(tunnel)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del tunnel
            # A task keeps the cancellation that it got until it waits again, and with it the
            # frames.
            await asyncio.sleep(0)
            gc.collect()
        assert "a VNC tunnel that was opened at" in str(caught.pop().message)
        assert dropped() is None
        await peer.over.wait()
        await settled(lambda: not any("WebSocket" in task.get_name() for task in others()))

"""A tunnel over which nothing is sent for longer than a gateway waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from tests.gateways.clients import behind
from tests.gateways.programs import PROGRAMS, Gateway
from tests.gateways.setups import IDLE, Setup
from vcloud import TransportError, VCloud
from vcloud._core.transport import Transport
from vcloud.emulator import Emulator
from vcloud.providers.streamspace import VNCTunnel

#: What the service says first, and waits for.
GREETING: Final = b"RFB 003.008\n"
THREE_MINUTES: Final = 180.0


Act = Callable[[VNCTunnel], Awaitable[object]]
AtAll = Callable[[Setup, Act], Awaitable[list[object]]]


def ping_every(seconds: float, patch: pytest.MonkeyPatch) -> None:
    """Let tunnels ping as often as this, which no Endpoint can say yet."""
    real = Transport.websocket
    patch.setattr(
        Transport,
        "websocket",
        lambda self, url, headers, wire: real(self, url, headers, wire, heartbeat=seconds),
    )


async def opened(cloud: VCloud, emulator: Emulator) -> VNCTunnel:
    """A tunnel to a session of its own, after the service's first words."""
    id = emulator.run(lambda: emulator.streamspace.add_session().id)
    tunnel = await cloud.streamspace.sessions.ref(id).open_vnc().aopen()
    assert await tunnel.read() == GREETING
    return tunnel


async def idle(tunnel: VNCTunnel, seconds: float) -> bytes:
    """Wait for the service all the time, which says nothing; then go on, and get its answer."""
    reading = asyncio.ensure_future(tunnel.read())
    await asyncio.sleep(seconds)
    assert not reading.done()
    await tunnel.write(GREETING)
    return await reading


@pytest.fixture
def at_all(started: Callable[[str], Gateway], emulator: Emulator) -> AtAll:
    """A function that does the same with a tunnel behind each gateway at once."""

    async def at_all(setup: Setup, act: Act) -> list[object]:
        urls = [started(name).urls[setup] for name in PROGRAMS]

        async def one(url: str) -> object:
            async with behind(emulator, url, only=("streamspace",)) as cloud:
                tunnel = await opened(cloud, emulator)
                try:
                    return await act(tunnel)
                finally:
                    await tunnel.aclose()

        return await asyncio.gather(*map(one, urls))

    return at_all


async def test_pings_keep_a_tunnel_alive_that_is_idle_for_longer_than_a_gateway_waits(
    at_all: AtAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A ping goes out after up to twice that.
    ping_every(IDLE / 4, monkeypatch)
    answers = await at_all(Setup.HASTY, lambda tunnel: idle(tunnel, 2 * IDLE + 0.5))
    assert all(answers)


async def test_without_pings_a_gateway_ends_an_idle_tunnel(
    at_all: AtAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    ping_every(100.0, monkeypatch)

    async def ends(tunnel: VNCTunnel) -> None:
        with pytest.raises(TransportError):
            await tunnel.read()

    await at_all(Setup.HASTY, ends)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_tunnel_is_alive_after_three_idle_minutes_with_the_default_timeouts(
    at_all: AtAll,
) -> None:
    answers = await at_all(Setup.PLAIN, lambda tunnel: idle(tunnel, THREE_MINUTES))
    assert all(answers)

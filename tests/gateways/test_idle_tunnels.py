"""A tunnel over which nothing is sent for longer than a gateway waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import pytest

from tests.gateways.clients import behind
from tests.gateways.programs import PROGRAMS, Gateway
from tests.gateways.setups import IDLE, Setup
from vcloud import TransportError, VCloud
from vcloud.emulator import Emulator
from vcloud.providers.streamspace import VNCTunnel

#: What the service says first, and waits for.
GREETING: Final = b"RFB 003.008\n"
THREE_MINUTES: Final = 180.0


Act = Callable[[VNCTunnel], Awaitable[object]]
AtAll = Callable[..., Awaitable[list[object]]]


async def opened(cloud: VCloud, emulator: Emulator) -> VNCTunnel:
    """A tunnel to a session of its own, after the service's first words."""
    id = emulator.run(lambda: emulator.streamspace.add_session().id)
    tunnel = await cloud.streamspace.sessions.ref(id).open_vnc().aopen()
    assert await tunnel.read() == GREETING
    return tunnel


async def idle(tunnel: VNCTunnel, seconds: float, *, reading: bool) -> bytes:
    """Say nothing, as the service does; then go on, and get its answer.

    Args:
        tunnel: one that was just opened.
        seconds: for how long.
        reading: whether somebody waits for the service all the time.
    """
    waiting = asyncio.ensure_future(tunnel.read()) if reading else None
    await asyncio.sleep(seconds)
    assert waiting is None or not waiting.done()
    await tunnel.write(GREETING)
    return await (waiting or tunnel.read())


@pytest.fixture
def at_all(started: Callable[[str], Gateway], emulator: Emulator) -> AtAll:
    """A function that does the same with a tunnel behind each gateway at once."""

    async def at_all(setup: Setup, *acts: Act, **options: Any) -> list[object]:
        urls = [started(name).urls[setup] for name in PROGRAMS]

        async def one(url: str, act: Act) -> object:
            async with behind(emulator, url, only=("streamspace",), **options) as cloud:
                tunnel = await opened(cloud, emulator)
                try:
                    return await act(tunnel)
                finally:
                    await tunnel.aclose()

        return await asyncio.gather(*(one(url, act) for url in urls for act in acts))

    return at_all


def both(seconds: float) -> list[Act]:
    return [partial(idle, seconds=seconds, reading=reading) for reading in (True, False)]


async def test_pings_keep_a_tunnel_alive_that_is_idle_for_longer_than_a_gateway_waits(
    at_all: AtAll,
) -> None:
    assert all(await at_all(Setup.HASTY, *both(2 * IDLE + 0.5), heartbeat=IDLE / 4))


async def test_without_pings_a_gateway_ends_an_idle_tunnel(at_all: AtAll) -> None:
    async def ends(tunnel: VNCTunnel) -> None:
        with pytest.raises(TransportError):
            await tunnel.read()

    await at_all(Setup.HASTY, ends, heartbeat=100)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_tunnel_is_alive_after_three_idle_minutes_with_the_default_timeouts(
    at_all: AtAll,
) -> None:
    assert all(await at_all(Setup.PLAIN, *both(THREE_MINUTES)))

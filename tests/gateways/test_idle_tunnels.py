"""A tunnel that is idle for longer than the timeouts of gateways."""

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

#: The first bytes of the service, and of the viewer.
GREETING: Final = b"RFB 003.008\n"
THREE_MINUTES: Final = 180.0


Act = Callable[[VNCTunnel], Awaitable[object]]
AtAll = Callable[..., Awaitable[list[object]]]


async def opened(cloud: VCloud, emulator: Emulator) -> VNCTunnel:
    """A tunnel to a new session, after the service's first bytes."""
    id = emulator.run(lambda: emulator.streamspace.add_session().id)
    tunnel = await cloud.streamspace.sessions.ref(id).open_vnc().aopen()
    assert await tunnel.read() == GREETING
    return tunnel


async def idle(tunnel: VNCTunnel, seconds: float, *, reading: bool) -> bytes:
    """Send nothing for a while, as the service does; then write, and return its answer.

    Args:
        tunnel: one that was just opened.
        seconds: the idle time.
        reading: whether a task reads meanwhile.
    """
    waiting = asyncio.ensure_future(tunnel.read()) if reading else None
    await asyncio.sleep(seconds)
    assert waiting is None or not waiting.done()
    await tunnel.write(GREETING)
    return await (waiting or tunnel.read())


@pytest.fixture
def at_all(started: Callable[[str], Gateway], emulator: Emulator) -> AtAll:
    """A function that does the same with a tunnel behind each gateway, concurrently."""

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


async def test_pings_keep_a_tunnel_open_that_is_idle_for_longer_than_a_gateways_timeout(
    at_all: AtAll,
) -> None:
    assert all(await at_all(Setup.SHORT_TIMEOUTS, *both(2 * IDLE + 0.5), heartbeat=IDLE / 4))


async def test_without_pings_a_gateway_ends_an_idle_tunnel(at_all: AtAll) -> None:
    async def ends(tunnel: VNCTunnel) -> None:
        with pytest.raises(TransportError):
            await tunnel.read()

    await at_all(Setup.SHORT_TIMEOUTS, ends, heartbeat=100)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_tunnel_is_open_after_three_idle_minutes_with_the_default_timeouts(
    at_all: AtAll,
) -> None:
    assert all(await at_all(Setup.PLAIN, *both(THREE_MINUTES)))

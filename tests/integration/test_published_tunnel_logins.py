"""Logins that a published installation ends, and tunnels: an upgrade's 401 has no body there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.emulator.realtime_raw import until
from tests.integration.published_desktops import GREETING, World, desktops, read_exactly
from tests.unit.virtual_time import virtual
from vcloud import BearerAuth, Endpoint
from vcloud.emulator import Fault
from vcloud.providers.streamspace import SessionRef, SessionStoppedError, StreamSpace


def end_logins(world: World) -> None:
    """As a change of any session does, on an installation with Redis."""
    world.emulator.published_streamspace.tokens.revoke_all()


def logins(world: World, way: str = "login") -> int:
    return sum(call.path.endswith(f"/auth/{way}") for call in world.emulator.calls)


def refused_upgrades(world: World) -> int:
    return sum("/vnc/" in call.path and call.status == 401 for call in world.emulator.calls)


@asynccontextmanager
async def viewed(world: World, way: str) -> AsyncIterator[SessionRef]:
    """A running session of a client that has a login of its own, or was given a token."""
    name = (await world.running()).id
    endpoint = world.emulator.endpoints()["streamspace"]
    if way == "refresh":
        assert endpoint.base_url is not None
        token = (await world.streamspace.login()).token
        endpoint = Endpoint(endpoint.base_url, auth=BearerAuth(token))
    async with StreamSpace(endpoint) as client:
        await client.sessions.get(name)
        yield client.sessions.ref(name)


@pytest.mark.parametrize("way", ["login", "refresh"])
def test_one_that_ended_before_a_tunnel_is_renewed_unseen(tmp_path: Path, way: str) -> None:
    @virtual
    async def run() -> None:
        async with desktops(tmp_path) as world, viewed(world, way) as session:
            before = logins(world, way)
            for ended in range(1, 4):
                end_logins(world)
                async with session.open_vnc() as tunnel:
                    assert await tunnel.read() == GREETING
                    await tunnel.write(GREETING + b"typed")
                    assert await read_exactly(tunnel, 5) == b"typed"
                assert (refused_upgrades(world), logins(world, way)) == (ended, before + ended)
            assert (world.panics, world.errors) == (0, [])

    run()


@pytest.mark.parametrize("way", ["login", "refresh"])
def test_one_that_ended_before_a_viewer_connects_to_a_port(tmp_path: Path, way: str) -> None:
    @virtual
    async def run() -> None:
        async with (
            desktops(tmp_path) as world,
            viewed(world, way) as session,
            session.forward_vnc(anyone=True) as forward,
        ):
            before = logins(world, way)
            for ended in range(1, 4):
                end_logins(world)
                reader, writer = await asyncio.open_connection(forward.host, forward.port)
                assert await reader.readexactly(12) == GREETING
                writer.write(GREETING + b"hello")
                assert await reader.readexactly(5) == b"hello"
                writer.close()
                await until(lambda: forward.connections == 0)
                assert (refused_upgrades(world), logins(world, way)) == (ended, before + ended)
            assert forward.errors == ()
            assert world.panics == 0

    run()


@virtual
async def test_one_that_ended_while_a_tunnel_is_open_does_not_end_it(tmp_path: Path) -> None:
    """The question for the session's state is the tunnel's next request."""
    async with desktops(tmp_path) as world:
        session = await world.running()
        async with session.open_vnc() as tunnel:
            await tunnel.read()
            await tunnel.write(GREETING)
            reading = asyncio.create_task(tunnel.read())
            end_logins(world)
            await asyncio.sleep(70)
            assert logins(world) == 2
            assert not reading.done()
            world.emulator.published_streamspace.sessions[session.id].state = "hibernated"
            end_logins(world)
            with pytest.raises(SessionStoppedError, match="hibernated"):
                await reading
            assert logins(world) == 3


@virtual
async def test_those_that_end_one_after_another_are_all_renewed(tmp_path: Path) -> None:
    """Each change ends all logins, that of the upgrade among them, and may do so at any time."""
    async with desktops(tmp_path) as world, viewed(world, "login") as session:
        before = logins(world)
        world.emulator.faults.add("GET */vnc/*", Fault.reply(401, b""), times=4)
        async with session.open_vnc() as tunnel:
            assert await tunnel.read() == GREETING
        assert (refused_upgrades(world), logins(world)) == (4, before + 4)


@virtual
async def test_one_that_ends_while_a_tunnel_waits_for_the_agent(tmp_path: Path) -> None:
    async with desktops(tmp_path) as world:
        session = await world.running()
        away = world.emulator.faults.add("GET */vnc/*", Fault.other_replica(), times=None)
        opening = asyncio.create_task(session.open_vnc(first_bytes=60).aopen())
        await asyncio.sleep(3)
        end_logins(world)
        away.remove()
        tunnel = await opening
        assert await tunnel.read() == GREETING
        await tunnel.aclose()
        assert (refused_upgrades(world), logins(world)) == (1, 2)

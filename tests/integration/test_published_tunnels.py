"""Tunnels of a published installation, with our agent behind it, in virtual time."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from pathlib import Path

import aiohttp
import pytest

from tests.emulator.realtime_raw import transport_of, until
from tests.integration.published_desktops import (
    GREETING,
    PICTURE,
    desktops,
    read_exactly,
)
from tests.unit.virtual_time import now, virtual
from vcloud import ConflictError, DecodeError, InvalidArgumentError, TransportError
from vcloud.providers.streamspace import SessionState, SessionStoppedError


@virtual
async def test_five_viewers_one_after_another(tmp_path: Path) -> None:
    async with desktops(tmp_path) as world:
        session = await world.running()
        for viewer in range(5):
            async with session.open_vnc() as tunnel:
                assert await tunnel.read() == GREETING
                await tunnel.write(GREETING)
                await tunnel.write(b"typed by %d" % viewer)
                assert await read_exactly(tunnel, 10) == b"typed by %d" % viewer
        assert (world.panics, world.errors) == (0, [])


@virtual
async def test_a_port_for_viewers_one_after_another(tmp_path: Path) -> None:
    async with desktops(tmp_path) as world:
        session = await world.running()
        async with session.forward_vnc(anyone=True) as forward:
            for pause in (0, 7, 1):
                reader, writer = await asyncio.open_connection(forward.host, forward.port)
                assert await reader.readexactly(12) == GREETING
                writer.write(GREETING + b"hello")
                assert await reader.readexactly(5) == b"hello"
                writer.close()
                await asyncio.sleep(pause)
            await until(lambda: forward.connections == 0)
            assert forward.errors == ()
        assert world.panics == 0


BLOCK = hashlib.sha256(b"picture").digest() * 512
WHOLE = (BLOCK * (PICTURE // len(BLOCK) + 1))[:PICTURE]


async def draw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A desktop of 3840 by 2160 pixels."""
    writer.write(GREETING)
    assert await reader.readexactly(12) == GREETING
    for start in range(0, PICTURE, len(BLOCK)):
        writer.write(BLOCK[: PICTURE - start])
        await writer.drain()
    await reader.read()


@pytest.mark.parametrize("pause", [0, 3])
def test_a_whole_picture_of_3840_by_2160_arrives(tmp_path: Path, pause: float) -> None:
    @virtual
    async def run() -> None:
        async with desktops(tmp_path, draw) as world:
            session = await world.running()
            async with session.open_vnc() as tunnel:
                assert await tunnel.read() == GREETING
                await tunnel.write(GREETING)
                await asyncio.sleep(pause)
                assert await read_exactly(tunnel, PICTURE) == WHOLE
            assert world.panics == 0

    run()


@virtual
async def test_a_whole_picture_for_a_viewer_that_takes_nothing_for_3_seconds(
    tmp_path: Path,
) -> None:
    """Not ours, which reads on. The server's queue holds 256 messages, and more are dropped."""
    async with desktops(tmp_path, draw) as world:
        session = await world.running()
        async with aiohttp.ClientSession() as http, world.viewer(http, session) as socket:
            assert base64.b64decode(await socket.receive_str()) == GREETING
            await socket.send_str(base64.b64encode(GREETING).decode())
            transport = transport_of(socket)
            transport.pause_reading()
            await asyncio.sleep(3)
            transport.resume_reading()
            found = bytearray()
            while len(found) < PICTURE:
                found += base64.b64decode(await socket.receive_str(timeout=30))
            assert found == WHOLE
        assert world.panics == 0


@virtual
async def test_a_viewer_is_told_that_its_session_was_stopped(tmp_path: Path) -> None:
    async with desktops(tmp_path) as world:
        session = await world.running()
        async with session.open_vnc() as tunnel:
            await tunnel.read()
            await tunnel.write(GREETING)
            began = now()
            await session.terminate()
            with pytest.raises(
                SessionStoppedError, match=r"no longer runs: it is terminat"
            ) as told:
                await tunnel.read()
            assert told.value.session_id == session.id
            assert told.value.state in (SessionState.TERMINATING, SessionState.TERMINATED)
            with pytest.raises(TransportError):
                await tunnel.write(b"late")
            assert now() - began < 95
        assert world.panics == 0


@virtual
@pytest.mark.parametrize("action", ["terminate", "hibernate"])
async def test_a_desktop_that_a_command_ends_is_no_error(action: str, tmp_path: Path) -> None:
    async with desktops(tmp_path) as world:
        session = await world.running()
        world.desktops.closes = True
        async with session.open_vnc() as tunnel:
            await tunnel.read()
            await tunnel.write(GREETING)
            connections = world.desktops.connections
            await getattr(session, action)()
            with pytest.raises(SessionStoppedError, match="no longer runs"):
                await tunnel.read()
        await until(lambda: world.state(session) in ("terminated", "hibernated"))
        await asyncio.sleep(60)
        # It was not connected again while the command went on, nor after it.
        assert (world.desktops.connections, world.errors, world.panics) == (connections, [], 0)


@virtual
async def test_a_session_that_goes_on_is_connected_anew(tmp_path: Path) -> None:
    async with desktops(tmp_path) as world:
        session = await world.running()
        world.desktops.closes = world.desktops.fails = True
        await session.hibernate()
        await until(lambda: world.state(session) == "hibernating")
        await until(lambda: world.state(session) == "running")
        async with session.open_vnc() as tunnel:
            assert await tunnel.read() == GREETING
        assert (world.errors, world.panics) == ([], 0)


@virtual
async def test_a_viewer_is_told_although_no_agent_says_anything(tmp_path: Path) -> None:
    async with desktops(tmp_path) as world:
        session = await world.running()
        async with session.open_vnc() as tunnel:
            await tunnel.read()
            world.agent.stop()
            await until(lambda: not world.emulator.published_streamspace.connected("agent-1"))
            began = now()
            world.emulator.published_streamspace.sessions[session.id].state = "hibernated"
            with pytest.raises(SessionStoppedError, match="hibernated"):
                await tunnel.read()
            assert 55 <= now() - began <= 95


@virtual
async def test_a_silent_session_that_runs_keeps_its_tunnel(tmp_path: Path) -> None:
    async with desktops(tmp_path) as world:
        session = await world.running()
        async with session.open_vnc() as tunnel:
            await tunnel.read()
            await tunnel.write(GREETING)
            reading = asyncio.create_task(tunnel.read())
            await asyncio.sleep(600)
            assert not reading.done()
            # The server's own pings would make this end its process.
            await tunnel.write(b"still here")
            assert await reading == b"still here"
        assert world.panics == 0


@virtual
async def test_a_busy_viewer_for_minutes_does_not_end_the_server(tmp_path: Path) -> None:
    async with desktops(tmp_path) as world:
        session = await world.running()
        async with session.open_vnc() as tunnel:
            await tunnel.read()
            await tunnel.write(GREETING)
            began = now()
            while now() < began + 240:
                await tunnel.write(b"x" * 1000)
                assert await read_exactly(tunnel, 1000) == b"x" * 1000
                await asyncio.sleep(0.2)
        assert world.panics == 0


@virtual
async def test_a_second_viewer_takes_over(tmp_path: Path) -> None:
    async with desktops(tmp_path) as world:
        session = await world.running()
        async with session.open_vnc() as first:
            await first.read()
            await first.write(GREETING)
            reading = asyncio.create_task(read_exactly(first, 100))
            async with session.open_vnc() as second:
                assert await second.read() == GREETING
                await second.write(GREETING + b"mine")
                assert await second.read() == b"mine"
                with pytest.raises(TransportError, match="another viewer of the session"):
                    await reading
        assert world.panics == 0


@virtual
async def test_a_desktop_that_is_gone_ends_its_viewer_and_not_the_server(tmp_path: Path) -> None:
    async with desktops(tmp_path) as world:
        session = await world.running()
        async with session.open_vnc() as tunnel:
            await tunnel.read()
            await tunnel.write(GREETING + b"hi")
            assert await tunnel.read() == b"hi"
            for writer in list(world.desktops.open):
                writer.transport.abort()
            with pytest.raises(TransportError, match="the desktop closed its connection"):
                await tunnel.read()
        # It is connected anew, for the next viewer.
        async with session.open_vnc() as tunnel:
            assert await tunnel.read() == GREETING
        assert world.panics == 0


@virtual
async def test_a_desktop_that_closes_before_any_viewer_greets_once(tmp_path: Path) -> None:
    async with desktops(tmp_path) as world:
        session = await world.running()
        await asyncio.sleep(1)
        for writer in list(world.desktops.open):
            writer.transport.abort()
        await until(lambda: world.desktops.connections == 2)
        await asyncio.sleep(1)
        async with session.open_vnc() as tunnel:
            assert await tunnel.read() == GREETING
            await tunnel.write(GREETING + b"once")
            assert await tunnel.read() == b"once"


@virtual
async def test_a_viewer_before_the_desktop_is_up_waits_for_it(tmp_path: Path) -> None:
    async with desktops(tmp_path) as world:
        path = world.desktops.path
        world.desktops.path = path.with_name("not-yet")
        made = await world.streamspace.sessions.create("admin", "firefox-browser")
        session = world.streamspace.sessions.ref(made.id)
        await until(lambda: world.state(session) == "running")
        opening = asyncio.create_task(session.open_vnc().aopen())
        await asyncio.sleep(3)
        world.desktops.path = path
        tunnel = await opening
        assert await tunnel.read() == GREETING
        await tunnel.aclose()


@virtual
async def test_no_byte_within_the_bound_is_an_error_that_says_what_is_known(
    tmp_path: Path,
) -> None:
    async with desktops(tmp_path) as world:
        session = await world.running()
        world.desktops.path = tmp_path / "gone"
        async with session.open_vnc() as tunnel:
            await tunnel.read()
        began = now()
        with pytest.raises(TransportError, match=r"within 20 s.*it accepted the viewer"):
            await session.open_vnc(first_bytes=20).aopen()
        assert now() - began == pytest.approx(20, abs=2)
        assert world.panics == 0


@virtual
async def test_an_agent_that_is_away_is_waited_for(tmp_path: Path) -> None:
    async with desktops(tmp_path) as world:
        session = await world.running()
        world.drop_agent()
        async with session.open_vnc() as tunnel:
            assert await tunnel.read() == GREETING


@virtual
async def test_what_an_agent_that_reconnects_had_open_is_opened_anew(tmp_path: Path) -> None:
    async with desktops(tmp_path) as world:
        session = await world.running()
        await until(lambda: world.desktops.connections == 1)
        world.drop_agent()
        await until(lambda: world.desktops.connections == 2)
        async with session.open_vnc() as tunnel:
            assert await tunnel.read() == GREETING
            await tunnel.write(GREETING + b"again")
            assert await tunnel.read() == b"again"


@virtual
async def test_a_session_that_does_not_run_is_refused(tmp_path: Path) -> None:
    async with desktops(tmp_path) as world:
        session = await world.running()
        await session.terminate()
        await until(lambda: world.state(session) == "terminated")
        with pytest.raises(ConflictError, match="not running"):
            await session.open_vnc().aopen()
        with pytest.raises(InvalidArgumentError, match="first_bytes"):
            session.open_vnc(first_bytes=0)
        assert not world.desktops.open


@virtual
async def test_a_viewer_that_sends_no_base64_is_ended(tmp_path: Path) -> None:
    async with desktops(tmp_path) as world:
        session = await world.running()
        async with session.open_vnc() as tunnel:
            await tunnel.read()
            await tunnel.write(GREETING)
            await asyncio.sleep(0.1)
            world.tell_agent("vnc_data", session, data="\x03\x00 raw bytes")
            with pytest.raises(TransportError, match="not base64"):
                await tunnel.read()
        (error,) = world.errors
        assert isinstance(error, DecodeError)
        assert session.id in str(error)
        assert world.panics == 0


@virtual
async def test_what_is_said_of_unknown_sessions_opens_nothing(tmp_path: Path) -> None:
    async with desktops(tmp_path) as world:
        session = world.streamspace.sessions.ref("nobody-s")
        world.tell_agent("vnc_data", session, data="UkZC")
        world.tell_agent("vnc_close", session, reason="client_disconnect")
        await asyncio.sleep(1)
        assert (world.desktops.connections, world.errors) == (0, [])

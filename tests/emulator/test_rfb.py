"""The picture that built-in agents show: RFB over the viewer's WebSocket, spoken by hand."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from tests.emulator.realtime_raw import World, until
from vcloud.emulator import Clock, Emulator
from vcloud.emulator.streamspace.control.rfb import (
    BACKGROUND,
    HEIGHT,
    POINTER,
    PRESSED,
    WHOLE,
    WIDTH,
    Area,
    CutText,
    KeyEvent,
    PixelFormat,
    PointerEvent,
)

LITTLE = PixelFormat()


@define
class Viewer:
    socket: aiohttp.ClientWebSocketResponse
    buffer: bytearray = field(factory=bytearray)

    async def read(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self.buffer += await self.socket.receive_bytes()
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    async def unpack(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(form, await self.read(struct.calcsize(form)))

    async def send(self, form: str, *values: int) -> None:
        await self.socket.send_bytes(struct.pack(form, *values))

    async def greet(self, version: bytes = b"003.008") -> tuple[int, int, bytes, bytes]:
        assert await self.read(12) == b"RFB 003.008\n"
        await self.socket.send_bytes(b"RFB " + version + b"\n")
        if version == b"003.003":
            assert await self.unpack(">I") == (1,)
        else:
            assert await self.read(2) == b"\x01\x01"
            await self.socket.send_bytes(b"\x01")
            if version == b"003.008":
                assert await self.unpack(">I") == (0,)
        await self.socket.send_bytes(b"\x01")
        width, height, format, size = await self.unpack(">HH16sI")
        return width, height, format, await self.read(size)

    async def ask(self, *, incremental: bool, area: Area = WHOLE) -> None:
        await self.send(">BBHHHH", 3, incremental, area.x, area.y, area.width, area.height)

    async def update(self, size: int = 4) -> list[tuple[Area, bytes]]:
        kind, count = await self.unpack(">BxH")
        assert kind == 0
        found = []
        for _ in range(count):
            x, y, width, height, encoding = await self.unpack(">HHHHi")
            assert encoding == 0
            found.append((Area(x, y, width, height), await self.read(width * height * size)))
        return found

    async def frame(self) -> bytes:
        await self.ask(incremental=False)
        [(area, pixels)] = await self.update()
        assert area == WHOLE
        return pixels


def at(pixels: bytes, x: int, y: int) -> bytes:
    return pixels[(y * WIDTH + x) * 4 :][:4]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with (
        Emulator(clock=Clock.stopped(), rate_limits=False) as emu,
        aiohttp.ClientSession() as http,
    ):
        yield World(emu, http)


@pytest.mark.parametrize("version", [b"003.003", b"003.007", b"003.008"])
async def test_viewer_of_any_version_gets_the_whole_screen(world: World, version: bytes) -> None:
    session = world.emu.streamspace.add_session()
    async with world.viewer(session.id) as socket:
        viewer = Viewer(socket)
        assert await viewer.greet(version) == (
            WIDTH,
            HEIGHT,
            LITTLE.written(),
            session.name.encode(),
        )
        pixels = await viewer.frame()
        assert at(pixels, 0, 0) == LITTLE.pixel(BACKGROUND)
        assert at(pixels, WIDTH // 2, HEIGHT // 2) == LITTLE.pixel(POINTER)


async def test_events_of_the_viewer_are_recorded_and_move_the_pointer(
    world: World,
) -> None:
    session = world.emu.streamspace.add_session()
    async with world.viewer(session.id) as socket:
        viewer = Viewer(socket)
        await viewer.greet()
        await viewer.frame()
        await viewer.ask(incremental=True)
        await viewer.send(">BxH2i", 2, 2, 0, -223)
        await viewer.send(">BBxxI", 4, 1, 0x61)
        await viewer.send(">BBHH", 5, 1, 100, 50)
        update = await viewer.update()
        assert {area for area, _ in update} == {
            Area(WIDTH // 2 - 8, HEIGHT // 2 - 8, 16, 16),
            Area(92, 42, 16, 16),
        }
        assert {pixels[:4] for _, pixels in update} == {
            LITTLE.pixel(BACKGROUND),
            LITTLE.pixel(PRESSED),
        }
        await viewer.send(">BxxxI2s", 6, 2, b"hi")  # type: ignore[arg-type]
        screen = world.emu.streamspace.screen(session.id)
        await until(lambda: len(screen.events) == 3)
        assert list(screen.events) == [
            KeyEvent(0x61, True),
            PointerEvent(100, 50, 1),
            CutText("hi"),
        ]
        assert at(await viewer.frame(), 100, 50) == LITTLE.pixel(PRESSED)


async def test_viewers_of_one_session_see_each_other(world: World) -> None:
    session = world.emu.streamspace.add_session()
    async with world.viewer(session.id) as one, world.viewer(session.id) as two:
        first, second = Viewer(one), Viewer(two)
        for viewer in (first, second):
            await viewer.greet()
            await viewer.frame()
        await second.ask(incremental=True, area=Area(0, 0, 20, 20))
        await first.send(">BBHH", 5, 0, 3, 3)
        assert await second.update() == [(Area(0, 0, 11, 11), LITTLE.pixel(POINTER) * 121)]
        # The areas that it did not ask for are still to be sent.
        await second.ask(incremental=True)
        [(area, _)] = await second.update()
        assert area == Area(WIDTH // 2 - 8, HEIGHT // 2 - 8, 16, 16)


async def test_pixels_have_the_format_that_the_viewer_asks_for(world: World) -> None:
    wanted = PixelFormat(16, True, (31, 63, 31), (11, 5, 0))
    session = world.emu.streamspace.add_session()
    async with world.viewer(session.id) as socket:
        viewer = Viewer(socket)
        await viewer.greet()
        await socket.send_bytes(b"\0\0\0\0" + wanted.written())
        await viewer.ask(incremental=False, area=Area(0, 0, 2, 1))
        assert await viewer.update(2) == [(Area(0, 0, 2, 1), wanted.pixel(BACKGROUND) * 2)]
        assert wanted.pixel((255, 255, 255)) == b"\xff\xff"


@pytest.mark.parametrize(
    "message", [b"\x63", b"\0\0\0\0" + bytes(16), b"\x06\0\0\0\xff\xff\xff\xff"]
)
async def test_viewer_that_breaks_the_protocol_is_closed(world: World, message: bytes) -> None:
    async with world.viewer(world.emu.streamspace.add_session().id) as socket:
        viewer = Viewer(socket)
        await viewer.greet()
        await socket.send_bytes(message)
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE


async def test_session_with_a_viewer_is_not_idle(world: World) -> None:
    session = world.emu.streamspace.add_session(idle_timeout="30m")
    async with world.viewer(session.id) as socket:
        await Viewer(socket).greet()
        world.emu.clock.advance(3600)
        assert world.state(session.id) == "running"
    await until(lambda: not session.viewers)
    world.emu.clock.advance(1799)
    assert world.state(session.id) == "running"
    world.emu.clock.advance(1)
    assert world.state(session.id) == "hibernated"


areas = st.builds(Area, st.integers(0, 9), st.integers(0, 9), st.integers(1, 9), st.integers(1, 9))


def points(*found: Area) -> list[tuple[int, int]]:
    return [
        (x, y) for a in found for x in range(a.x, a.x + a.width) for y in range(a.y, a.y + a.height)
    ]


@given(areas, areas)
def test_areas_are_split_without_losing_or_repeating_a_pixel(one: Area, other: Area) -> None:
    both = one.within(other)
    parts = [*one.without(other), *([both] if both is not None else [])]
    assert sorted(points(*parts)) == sorted(points(one))
    assert set(points(*parts[: len(parts) - (both is not None)])).isdisjoint(points(other))

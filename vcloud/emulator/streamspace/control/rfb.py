"""A small VNC server (RFB 3.3 to 3.8, RFC 6143) for the sessions of built-in agents.

The screen is a plain colour with a square where the pointer is. The square changes its colour while
a button is held. The screen is sent in raw encoding, which every viewer understands, in the
true-colour format that the viewer asks for.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from typing import Final

from attrs import define, field, frozen

from vcloud.emulator.net.websockets import Notifier, Stream
from vcloud.emulator.tasks import first_completed

WIDTH: Final = 1024
HEIGHT: Final = 768
SQUARE: Final = 16
"""The pointer's side, in pixels."""
BACKGROUND: Final = (0x30, 0x50, 0x70)
POINTER: Final = (0xFF, 0xFF, 0xFF)
PRESSED: Final = (0xFF, 0x60, 0x20)
EVENTS: Final = 10_000
"""Maximum events that a screen keeps."""
MAX_TEXT: Final = 1024**2
CHUNK: Final = 64 * 1024
"""Approximate bytes of pixels in one message."""

_FORMAT: Final = struct.Struct(">BBBBHHHBBBxxx")
_RECTANGLE: Final = struct.Struct(">HHHH")

Colour = tuple[int, int, int]


class RfbError(Exception):
    """A viewer broke the protocol, or asks for something that is not served."""


@frozen
class KeyEvent:
    """A key went down or up; `keysym` is its number in X11."""

    keysym: int
    down: bool


@frozen
class PointerEvent:
    """The pointer's position and the held buttons, a bit for each, from the left one on."""

    x: int
    y: int
    buttons: int


@frozen
class CutText:
    """A viewer's clipboard."""

    text: str


Event = KeyEvent | PointerEvent | CutText


@frozen
class Area:
    """A rectangle of the screen."""

    x: int
    y: int
    width: int
    height: int

    def within(self, other: Area) -> Area | None:
        """The intersection of both; None if it is empty."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        width = min(self.x + self.width, other.x + other.width) - x
        height = min(self.y + self.height, other.y + other.height) - y
        return Area(x, y, width, height) if width > 0 and height > 0 else None

    def without(self, other: Area) -> Iterator[Area]:
        """The parts of this that are not in the other."""
        both = self.within(other)
        if both is None:
            yield self
            return
        bottom, right = both.y + both.height, both.x + both.width
        parts = (
            (self.x, self.y, self.width, both.y - self.y),
            (self.x, bottom, self.width, self.y + self.height - bottom),
            (self.x, both.y, both.x - self.x, both.height),
            (right, both.y, self.x + self.width - right, both.height),
        )
        yield from (Area(*part) for part in parts if part[2] > 0 and part[3] > 0)


WHOLE: Final = Area(0, 0, WIDTH, HEIGHT)


class Screen:
    """A desktop that its viewers share."""

    def __init__(self, name: str) -> None:
        """Begin with the pointer in the middle."""
        self.name: str = name
        self.events: deque[Event] = deque(maxlen=EVENTS)
        """The events that it received, oldest first."""
        self.pointer: PointerEvent = PointerEvent(WIDTH // 2, HEIGHT // 2, 0)
        self.changes: Notifier = Notifier()
        """Notifies when the screen changes, or a viewer asks for it."""

    def take(self, event: Event) -> None:
        """Take an event of a viewer."""
        self.events.append(event)
        if isinstance(event, PointerEvent) and event != self.pointer:
            self.pointer = event
            self.changes.notify()


@frozen
class PixelFormat:
    """The format of pixels that a viewer asks for."""

    bits: int = 32
    big_endian: bool = False
    maxima: Colour = (255, 255, 255)
    shifts: Colour = (16, 8, 0)

    @classmethod
    def read(cls, raw: bytes) -> PixelFormat:
        """Read 16 bytes; refuse everything but true colour."""
        bits, _, big_endian, true_colour, *rest = _FORMAT.unpack(raw)
        maxima, shifts = (rest[0], rest[1], rest[2]), (rest[3], rest[4], rest[5])
        if bits not in {8, 16, 32} or not true_colour or max(shifts) >= bits:
            raise RfbError("only true colour with 8, 16 or 32 bits is served")
        return cls(bits, bool(big_endian), maxima, shifts)

    def written(self) -> bytes:
        """The format as 16 bytes."""
        return _FORMAT.pack(self.bits, 24, self.big_endian, 1, *self.maxima, *self.shifts)

    def pixel(self, colour: Colour) -> bytes:
        """One pixel as bytes."""
        parts = zip(colour, self.maxima, self.shifts, strict=True)
        value = sum((level * top // 255) << shift for level, top, shift in parts) % (1 << self.bits)
        return value.to_bytes(self.bits // 8, "big" if self.big_endian else "little")


def square(pointer: PointerEvent) -> Area | None:
    """Where the pointer is drawn; None if that is not on the screen."""
    return Area(pointer.x - SQUARE // 2, pointer.y - SQUARE // 2, SQUARE, SQUARE).within(WHOLE)


def rows(area: Area, pointer: PointerEvent, format: PixelFormat) -> Iterator[bytes]:
    """The pixels of an area, row by row."""
    ground = format.pixel(BACKGROUND)
    empty = ground * area.width
    drawn = square(pointer)
    seen = drawn.within(area) if drawn is not None else None
    if seen is None:
        yield from (empty for _ in range(area.height))
        return
    left = ground * (seen.x - area.x)
    right = ground * (area.x + area.width - seen.x - seen.width)
    marked = left + format.pixel(PRESSED if pointer.buttons else POINTER) * seen.width + right
    for y in range(area.y, area.y + area.height):
        yield marked if seen.y <= y < seen.y + seen.height else empty


def chunks(area: Area, pointer: PointerEvent, format: PixelFormat) -> Iterator[bytes]:
    """One raw rectangle, in parts of about `CHUNK` bytes."""
    waiting = bytearray(
        _RECTANGLE.pack(area.x, area.y, area.width, area.height) + struct.pack(">i", 0)
    )
    for row in rows(area, pointer, format):
        waiting += row
        if len(waiting) >= CHUNK:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


@define(eq=False)
class _Viewer:
    """One viewer: the area that it asks for, and the areas that it has not received yet."""

    stream: Stream
    screen: Screen
    format: PixelFormat = field(factory=PixelFormat)
    wanted: Area | None = None
    stale: list[Area] = field(factory=lambda: [WHOLE])
    drawn: PointerEvent = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.drawn = self.screen.pointer

    def ask(self, area: Area | None, *, incremental: bool) -> None:
        """Keep a request, in place of an earlier one."""
        self.wanted = area
        if area is not None and not incremental:
            self.stale = [rest for old in self.stale for rest in old.without(area)] + [area]

    def due(self) -> list[Area]:
        """The areas to send now, which then count as sent."""
        if self.drawn != self.screen.pointer:
            for place in (square(self.drawn), square(self.screen.pointer)):
                if place is not None:
                    self.stale = [rest for old in self.stale for rest in old.without(place)] + [
                        place
                    ]
            self.drawn = self.screen.pointer
        if self.wanted is None:
            if len(self.stale) > 32:
                # Bounded for a viewer that never asks.
                self.stale = [WHOLE]
            return []
        wanted = self.wanted
        found = [seen for old in self.stale if (seen := old.within(wanted)) is not None]
        if found:
            self.stale = [rest for old in self.stale for rest in old.without(wanted)]
            self.wanted = None
        return found


async def serve(stream: Stream, screen: Screen) -> None:
    """Serve one viewer until it leaves, or breaks the protocol."""
    viewer = _Viewer(stream, screen)
    try:
        await _greet(stream, screen.name)
        await first_completed(_listen(viewer), _paint(viewer))
    except (EOFError, RfbError):
        return


async def _greet(stream: Stream, name: str) -> None:
    await stream.write(b"RFB 003.008\n")
    version = await stream.exactly(12)
    if not (version.startswith(b"RFB 003.") and version[8:11].isdigit()):
        raise RfbError("not a viewer")
    minor = int(version[8:11])
    if minor >= 7:
        # One type of security, which is None.
        await stream.write(b"\x01\x01")
        if await stream.exactly(1) != b"\x01":
            raise RfbError("only security None is served")
        if minor >= 8:
            await stream.write(struct.pack(">I", 0))
    else:
        await stream.write(struct.pack(">I", 1))
    # The shared flag is ignored: the desktop is always shared.
    await stream.exactly(1)
    title = name.encode()
    await stream.write(
        struct.pack(">HH", WIDTH, HEIGHT)
        + PixelFormat().written()
        + struct.pack(">I", len(title))
        + title
    )


async def _listen(viewer: _Viewer) -> None:
    stream, screen = viewer.stream, viewer.screen
    while True:
        match (await stream.exactly(1))[0]:
            case 0:
                viewer.format = PixelFormat.read((await stream.exactly(19))[3:])
            case 2:
                # The list of encodings is ignored, because every viewer understands raw.
                (count,) = struct.unpack(">xH", await stream.exactly(3))
                await stream.exactly(4 * count)
            case 3:
                incremental, *area = struct.unpack(">BHHHH", await stream.exactly(9))
                viewer.ask(Area(*area).within(WHOLE), incremental=bool(incremental))
                screen.changes.notify()
            case 4:
                down, keysym = struct.unpack(">BxxI", await stream.exactly(7))
                screen.take(KeyEvent(keysym, bool(down)))
            case 5:
                buttons, x, y = struct.unpack(">BHH", await stream.exactly(5))
                screen.take(PointerEvent(x, y, buttons))
            case 6:
                (size,) = struct.unpack(">xxxI", await stream.exactly(7))
                if size > MAX_TEXT:
                    raise RfbError("a clipboard of more than a megabyte")
                screen.take(CutText((await stream.exactly(size)).decode("latin-1")))
            case unknown:
                raise RfbError(f"no message has the number {unknown}")


async def _paint(viewer: _Viewer) -> None:
    while True:
        areas = viewer.due()
        if not areas:
            await viewer.screen.changes.wait()
            continue
        pointer, format = viewer.drawn, viewer.format
        await viewer.stream.write(struct.pack(">BxH", 0, len(areas)))
        for area in areas:
            for chunk in chunks(area, pointer, format):
                await viewer.stream.write(chunk)

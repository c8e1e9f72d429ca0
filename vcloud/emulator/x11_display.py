"""A connection to an X server: just the requests that a screen, a mouse and a keyboard take, spoken on its socket.

Input goes in by the XTEST extension, as if a hand had made it. Nothing but the server itself is needed for this, and no
thread and no process for each key.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Self

from attrs import frozen

KEY_PRESS: Final = 2
KEY_RELEASE: Final = 3
BUTTON_PRESS: Final = 4
BUTTON_RELEASE: Final = 5
MOTION: Final = 6

_GET_INPUT_FOCUS: Final = 43
_QUERY_POINTER: Final = 38
_GET_IMAGE: Final = 73
_QUERY_EXTENSION: Final = 98
_CHANGE_KEYBOARD_MAPPING: Final = 100
_GET_KEYBOARD_MAPPING: Final = 101
_FAKE_INPUT: Final = 2
_FULL_PIXMAP: Final = 2
_ALL_PLANES: Final = 0xFFFFFFFF
_ERROR, _REPLY, _GENERIC_EVENT = 0, 1, 35
_HEADER: Final = 32


class DisplayError(Exception):
    """The X server refused a request, or the connection to it is gone."""


class Pointer(NamedTuple):
    """Where the pointer is, and the window of the root under it (the root itself where there is none)."""

    x: int
    y: int
    window: int


@frozen(kw_only=True)
class Screen:
    """What the server says when a connection is made."""

    root: int
    width: int
    height: int
    min_keycode: int
    max_keycode: int


def hello(cookie: bytes) -> bytes:
    """The first bytes on a connection: little-endian, version 11, and the cookie."""
    name = b"MIT-MAGIC-COOKIE-1"
    return (
        struct.pack("<BxHHHHxx", ord("l"), 11, 0, len(name), len(cookie))
        + _padded(name)
        + _padded(cookie)
    )


def read_screen(success: int, body: bytes) -> Screen:
    """The server's answer to `hello`: its first byte, and all after its first 8.

    Raises:
        DisplayError: it refuses, as with a wrong cookie.
    """
    if success != 1:
        raise DisplayError("the X server refuses the connection")
    vendor, formats = struct.unpack_from("<16xHxxxB", body)[0], body[21]
    at = 32 + (vendor + 3) // 4 * 4 + formats * 8
    root, width, height = struct.unpack_from("<I16xHH", body, at)
    return Screen(root=root, width=width, height=height, min_keycode=body[26], max_keycode=body[27])


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _request(opcode: int, detail: int = 0, body: bytes = b"") -> bytes:
    return struct.pack("<BBH", opcode, detail, 1 + len(body) // 4) + body


class Display:
    """A connection. Its methods may be called by several tasks at once; each raises `DisplayError` once it is gone."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, screen: Screen
    ) -> None:
        """Use `connect` instead."""
        self.screen = screen
        self._reader = reader
        self._writer = writer
        self._sequence = 0
        self._waiting: deque[tuple[int, asyncio.Future[bytes]]] = deque()
        self._xtest = 0
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, path: str, cookie: bytes) -> Self:
        """Connect to the server at this socket, with the cookie that it asks for."""
        try:
            reader, writer = await asyncio.open_unix_connection(path)
        except OSError as error:
            raise DisplayError(f"no X server at {path}: {error}") from None
        try:
            writer.write(hello(cookie))
            head = await reader.readexactly(8)
            body = await reader.readexactly(struct.unpack_from("<6xH", head)[0] * 4)
            display = cls(reader, writer, read_screen(head[0], body))
        except BaseException as error:
            writer.close()
            if isinstance(error, OSError | EOFError):
                raise DisplayError("the X server went away") from None
            raise
        try:
            display._xtest = await display._extension(b"XTEST")
        except BaseException:
            await display.aclose()
            raise
        return display

    async def aclose(self) -> None:
        """Hang up."""
        self._reading.cancel()
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading

    async def fake(self, events: Iterable[tuple[int, int]]) -> None:
        """Enter events, pairs of a kind and of a keycode or button; return when the server has them."""
        self._send(*(self._input(kind, detail, 0, 0) for kind, detail in events))
        await self.sync()

    async def motion(self, x: int, y: int) -> None:
        """Put the pointer somewhere; the server stops it at the edge of the screen."""
        x, y = max(0, min(x, self.screen.width - 1)), max(0, min(y, self.screen.height - 1))
        self._send(self._input(MOTION, 0, x, y))
        await self.sync()

    async def sync(self) -> None:
        """Wait until the server has done everything that was sent before."""
        await self._ask(_request(_GET_INPUT_FOCUS))

    async def pointer(self) -> Pointer:
        """Return where the pointer is."""
        reply = await self._ask(_request(_QUERY_POINTER, 0, struct.pack("<I", self.screen.root)))
        root, child, x, y = struct.unpack_from("<8xIIhh", reply)
        return Pointer(x, y, child or root)

    async def pixels(self) -> bytes:
        """Return the screen, row by row, four bytes for each pixel: blue, green, red and one without a meaning."""
        area = struct.pack(
            "<IhhHHI", self.screen.root, 0, 0, self.screen.width, self.screen.height, _ALL_PLANES
        )
        reply = await self._ask(_request(_GET_IMAGE, _FULL_PIXMAP, area))
        return reply[_HEADER:]

    async def keyboard(self) -> list[tuple[int, ...]]:
        """Return the symbols of each keycode, from the lowest keycode on."""
        first, last = self.screen.min_keycode, self.screen.max_keycode
        reply = await self._ask(
            _request(_GET_KEYBOARD_MAPPING, 0, struct.pack("<BBxx", first, last - first + 1))
        )
        per = reply[1]
        symbols = struct.unpack_from(f"<{per * (last - first + 1)}I", reply, _HEADER)
        return [symbols[at : at + per] for at in range(0, len(symbols), per)]

    async def bind(self, keycode: int, symbols: Sequence[int]) -> None:
        """Give a keycode these symbols."""
        body = struct.pack(f"<BBxx{len(symbols)}I", keycode, len(symbols), *symbols)
        self._send(_request(_CHANGE_KEYBOARD_MAPPING, 1, body))
        await self.sync()

    async def _extension(self, name: bytes) -> int:
        reply = await self._ask(
            _request(_QUERY_EXTENSION, 0, struct.pack("<Hxx", len(name)) + _padded(name))
        )
        if not reply[8]:
            raise DisplayError(f"the X server has no {name.decode()} extension")
        return reply[9]

    def _input(self, kind: int, detail: int, x: int, y: int) -> bytes:
        return _request(
            self._xtest,
            _FAKE_INPUT,
            struct.pack("<BBxxII8xhh8x", kind, detail, 0, self.screen.root, x, y),
        )

    def _send(self, *requests: bytes) -> None:
        if self._reading.done():
            raise DisplayError("the X server is gone")
        self._sequence += len(requests)
        self._writer.writelines(requests)

    async def _ask(self, request: bytes) -> bytes:
        self._send(request)
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._sequence & 0xFFFF, reply))
        # An error of a request that nobody waits for ends the wait of the one after it: it is part of the same action.
        return await reply

    async def _read(self) -> None:
        try:
            while True:
                head = await self._reader.readexactly(_HEADER)
                kind = head[0] & 0x7F
                more = (
                    struct.unpack_from("<4xI", head)[0] * 4
                    if kind in (_REPLY, _GENERIC_EVENT)
                    else 0
                )
                self._answer(kind, head + (await self._reader.readexactly(more) if more else b""))
        except (OSError, EOFError):
            pass
        finally:
            for _, reply in self._waiting:
                if not reply.done():
                    reply.set_exception(DisplayError("the X server is gone"))
            self._waiting.clear()

    def _answer(self, kind: int, packet: bytes) -> None:
        if kind not in (_ERROR, _REPLY) or not self._waiting:
            return
        sequence: int = struct.unpack_from("<2xH", packet)[0]
        expected, reply = self._waiting[0]
        if kind == _REPLY or sequence == expected:
            self._waiting.popleft()
        # Whoever waited may have been cancelled.
        if reply.done():
            return
        if kind == _ERROR:
            reply.set_exception(
                DisplayError(f"the X server refuses request {packet[10]}: error {packet[1]}")
            )
        else:
            reply.set_result(packet)

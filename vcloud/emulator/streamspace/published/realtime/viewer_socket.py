"""A viewer's socket as the server's WebSocket library uses it, with its deadlines."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import WSMessage, WSMsgType

from vcloud.emulator.net.websockets import Socket, cut

READ: Final = 120.0
"""Seconds in which a viewer must say something, pongs included."""
WRITE: Final = 10.0
"""Seconds that a ping or pong allows itself, and every later write."""


class ServerPanicError(Exception):
    """What the server does here ends its whole process."""


class ViewerSocket:
    """Reads and writes one viewer's socket.

    A ping, or the answer to one, sets a deadline for writing, which then holds for all that is
    written later. So what is written more than 10 s after the last ping fails, and the viewer's own
    pings are what moves the deadline on. Before the first ping there is no deadline.
    """

    def __init__(self, socket: Socket) -> None:
        """Use a socket that does not answer pings by itself."""
        self.reading: bool = True
        """Whether what the viewer sends is still read."""
        self.over: asyncio.Event = asyncio.Event()
        """Set when the connection has ended."""
        self._socket = socket
        self._transport = socket.transport
        self._clock = asyncio.get_running_loop().time
        self._read_by = self._clock() + READ
        self._write_by: float | None = None
        self._writing = self._broken = self._lost = False

    async def read(self) -> str | None:
        """The next message as text; None once there is no more."""
        while (frame := await self._receive()) is not None:
            if frame.type is WSMsgType.TEXT:
                self._read_by = self._clock() + READ
                return str(frame.data)
            if frame.type is WSMsgType.BINARY:
                self._read_by = self._clock() + READ
                # It becomes a text of the agent's messages, and is none.
                return bytes(frame.data).decode("utf-8", "replace")
            self._read_by = self._clock() + READ
            if frame.type is WSMsgType.PING:
                await self._control(WSMsgType.PONG, bytes(frame.data))
        self.reading = False
        return None

    async def _receive(self) -> WSMessage | None:
        left = self._read_by - self._clock()
        try:
            frame = await self._socket.receive(timeout=max(left, 0.001))
        except TimeoutError:
            return None
        if frame.type in {WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG}:
            return frame
        # Nothing can be written after a close frame.
        self._broken = frame.type is WSMsgType.CLOSE or self._broken
        self._lost = True
        self.over.set()
        return None

    async def write(self, text: str) -> bool:
        """Write a message; whether that succeeded. It waits while the viewer is slow."""
        if self._broken or self._is_late():
            self._broken = True
            return False
        if self._lost:
            # The first write succeeds: nobody has answered it yet.
            self._broken = True
            return True
        self._writing = True
        try:
            async with asyncio.timeout_at(self._write_by):
                await self._socket.send_str(text)
        except ConnectionError:
            # What is read has ended as well, though that may not have been noticed yet.
            self.reading, self._broken = False, True
        except TimeoutError:
            self._broken = True
        finally:
            self._writing = False
        return not self._broken

    async def ping(self) -> bool:
        """Ping the viewer; whether that could be written."""
        return await self._control(WSMsgType.PING, b"")

    def close(self) -> None:
        """End the connection without a close frame."""
        self._broken = True
        self.over.set()
        cut(self._transport)

    def _is_late(self) -> bool:
        return self._write_by is not None and self._clock() >= self._write_by

    async def _control(self, kind: WSMsgType, data: bytes) -> bool:
        if self._writing:
            # The library finds two writers at once.
            raise ServerPanicError
        self._write_by = self._clock() + WRITE
        if self._broken or not self.reading:
            return False
        try:
            await self._socket.send_frame(data, kind)
        except ConnectionError:
            self._broken = True
        return not self._broken

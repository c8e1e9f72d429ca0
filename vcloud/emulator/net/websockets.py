"""WebSockets of the emulator: upgrading, pumping with back-pressure, and ending everything in time."""

from __future__ import annotations

import asyncio
import binascii
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

from aiohttp import WSMessage, WSMsgType, web
from aiohttp.web_protocol import RequestHandler
from attrs import define, field, frozen

from vcloud.emulator.net.connection import Connection
from vcloud.emulator.tasks import cancel_and_wait

MAX_MESSAGE = 4 * 1024**2
"""The longest message that is read, in bytes."""
CLOSING = 1.0
"""Real seconds that a peer gets to answer a close when the emulator ends."""
STALLED = 30.0
"""Real seconds in which a peer must take something of what was sent to it, or answer a close."""
LOOK = 0.01
"""Real seconds between two looks at what a peer has taken."""
MAX_REASON = 123
"""Bytes of a close frame's reason (RFC 6455, 5.5)."""

NORMAL, GOING_AWAY, PROTOCOL_ERROR, NOT_ACCEPTABLE = 1000, 1001, 1002, 1003
POLICY, INTERNAL = 1008, 1011
"""Close codes of RFC 6455."""

_QUIET = frozenset({NORMAL, GOING_AWAY, 1005})


@frozen
class Close:
    """How a WebSocket is closed: a code of RFC 6455, and why, for a person."""

    code: int = NORMAL
    reason: str = ""

    @property
    def message(self) -> bytes:
        """Return the reason as a close frame can hold it: UTF-8, cut between two characters."""
        cut = self.reason.encode("utf-8", "replace")[:MAX_REASON]
        return cut.decode("utf-8", "ignore").encode()


ENDING = Close(GOING_AWAY, "the emulator ends")
LOST = Close(GOING_AWAY, "the connection was lost")

Use = Callable[[web.WebSocketResponse], Awaitable[Close]]


def wants_socket(request: web.BaseRequest) -> bool:
    """Return whether the client asks for a WebSocket, in a way that can be granted."""
    # With all that it offers: aiohttp warns of offers that are not taken, and here none is.
    return web.WebSocketResponse(protocols=offered(request)).can_prepare(request).ok


def offered(request: web.BaseRequest) -> list[str]:
    """Return the subprotocols that a client offers, its favourite first (RFC 6455, 11.3.4)."""
    named = ",".join(request.headers.getall("Sec-WebSocket-Protocol", [])).split(",")
    return [one.strip() for one in named if one.strip()]


class Socket(web.WebSocketResponse):
    """A WebSocket that tells its peer what was wrong with its frames."""

    def __init__(self, protocol: RequestHandler, subprotocols: Sequence[str] = ()) -> None:
        """Serve one connection, and speak the first of these subprotocols that is offered."""
        # Frames of pictures hardly shrink, and compressing them would take the loop's time.
        super().__init__(
            max_msg_size=MAX_MESSAGE, timeout=STALLED, compress=False, protocols=subprotocols
        )
        self._protocol = protocol

    @property
    def violation(self) -> str:
        """Return what is wrong with the client's frames, "" if nothing is."""
        return self._protocol.violation if isinstance(self._protocol, Connection) else ""

    async def close(self, *, code: int = NORMAL, message: bytes = b"", drain: bool = True) -> bool:
        """Close it. aiohttp itself does so for invalid frames, and gives no reason."""
        reason = message or (self.violation.encode() if code == PROTOCOL_ERROR else b"")
        return await super().close(code=code, message=reason, drain=drain)


class Live:
    """The WebSockets that are open, so that all of them can be ended."""

    def __init__(self) -> None:
        """Begin with none."""
        self._tasks: set[asyncio.Task[Close]] = set()
        self._gone = Pulse()
        self._ending = asyncio.Event()

    async def serve(
        self,
        request: web.BaseRequest,
        headers: dict[str, str],
        use: Use,
        *,
        subprotocols: Sequence[str] = (),
    ) -> web.StreamResponse:
        """Upgrade, let `use` have the socket, and close it as `use` returns.

        The first of `subprotocols` that the client offers is agreed on; without one, none is.
        """
        known = [one for one in offered(request) if one in subprotocols]
        socket = Socket(request.protocol, known)
        socket.headers.update(headers)
        if known:
            # aiohttp looks at the first header of that name only.
            socket.headers["Sec-WebSocket-Protocol"] = known[0]
        await socket.prepare(request)
        # A task of its own: aiohttp's belongs to the connection, and cancelling that is aiohttp's business.
        task = asyncio.create_task(_use(socket, use))
        self._tasks.add(task)
        close = ENDING
        try:
            await asyncio.wait({task})
            close = ENDING if task.cancelled() else task.result()
        finally:
            try:
                await cancel_and_wait(task)
                await self._shut(request, socket, close)
            finally:
                self._tasks.discard(task)
                self._gone.beat()
        return socket

    async def aclose(self) -> None:
        """End all of them; may be called again."""
        self._ending.set()
        await cancel_and_wait(*self._tasks)
        # The handlers that wait for them still have their sockets to close.
        while self._tasks:
            await self._gone.wait()

    async def _shut(
        self, request: web.BaseRequest, socket: web.WebSocketResponse, close: Close
    ) -> None:
        """Close it, and wait until the peer has taken all that was sent; not long when all of them end."""
        transport = request.transport
        # A task of its own: after a send that was cancelled, aiohttp's close may say that it was cancelled, too.
        closing = asyncio.create_task(socket.close(code=close.code, message=close.message))
        taking = asyncio.create_task(_taken(closing, transport))
        ending = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait({taking, ending}, return_when=asyncio.FIRST_COMPLETED)
            # Nobody who does not read what was sent may hold up the end.
            await asyncio.wait({taking}, timeout=CLOSING)
        finally:
            await cancel_and_wait(closing, taking, ending)
            if transport is not None and transport.get_write_buffer_size():
                transport.abort()


async def _use(socket: web.WebSocketResponse, use: Use) -> Close:
    try:
        return await use(socket)
    except ConnectionError:
        return LOST


async def _taken(closing: asyncio.Task[bool], transport: asyncio.Transport | None) -> None:
    """Wait until the close is answered and nothing is left to be sent, or the peer takes nothing any more."""
    now = asyncio.get_running_loop().time
    ends, before = now() + STALLED, 0
    while now() < ends:
        left = 0 if transport is None else transport.get_write_buffer_size()
        if closing.done() and not left:
            return
        if left < before:
            ends = now() + STALLED
        before = left
        if closing.done():
            await asyncio.sleep(LOOK)
        else:
            await asyncio.wait({closing}, timeout=LOOK if left else STALLED)


class Pulse:
    """Wakes whoever waits for a change."""

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._waiting: set[asyncio.Future[None]] = set()

    def beat(self) -> None:
        """Wake everybody."""
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, within: float | None = None) -> None:
        """Wait for the next beat, or so many real seconds."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await asyncio.wait({waiter}, timeout=within)
        finally:
            self._waiting.discard(waiter)
            waiter.cancel()


class Bytes(Protocol):
    """Bytes both ways."""

    async def read(self) -> bytes:
        """Return what came next, b"" when nothing will any more."""
        ...

    async def write(self, data: bytes) -> None:
        """Send, and wait for as long as the other side is slow."""
        ...


class Stream:
    """Bytes both ways, read by count instead of as they come."""

    def __init__(self, source: Bytes) -> None:
        """Read and write `source`."""
        self._source = source
        self._buffer = bytearray()

    async def exactly(self, count: int) -> bytes:
        """Return so many bytes; raise EOFError if they do not come any more."""
        while len(self._buffer) < count:
            chunk = await self._source.read()
            if not chunk:
                raise EOFError
            self._buffer += chunk
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def write(self, data: bytes) -> None:
        """Send, and wait for as long as the other side is slow."""
        await self._source.write(data)


@define(eq=False)
class Channel:
    """A WebSocket as bytes both ways: in binary frames, or as the published server has them, base64 in text frames.

    What comes is understood either way.
    """

    socket: web.WebSocketResponse
    peer: str = "the peer"
    """Who is at the other end, for reasons."""
    base64: bool = False
    close: Close = field(factory=Close, init=False)
    """What to close the other side with, once this one has ended."""

    async def read(self) -> bytes:
        """Return what came next, b"" when nothing will any more."""
        while True:
            message = await self.socket.receive()
            if message.type is WSMsgType.BINARY:
                data = bytes(message.data)
            elif message.type is WSMsgType.TEXT:
                try:
                    data = b64decode(message.data, validate=True)
                except (binascii.Error, ValueError):
                    self.close = Close(
                        NOT_ACCEPTABLE, f"{self.peer} sent a text that is not base64"
                    )
                    return b""
            else:
                self.close = self._ended(message)
                return b""
            # An empty frame is no end.
            if data:
                return data

    def _ended(self, message: WSMessage) -> Close:
        # By the message and not by the socket's code: aiohttp makes that 1006 when the peer, which
        # has said that it closes, is gone before it can be answered.
        if message.type is WSMsgType.CLOSE:
            code, reason = message.data or 1005, message.extra or ""
            if code in _QUIET:
                return Close(NORMAL, reason)
            return Close(INTERNAL, reason or f"{self.peer} closed with code {code}")
        if message.type is WSMsgType.ERROR:
            unmasked = self.socket.violation if isinstance(self.socket, Socket) else ""
            return Close(INTERNAL, f"{self.peer} broke the protocol: {unmasked or message.data}")
        return Close(INTERNAL, f"the connection of {self.peer} was lost")

    async def write(self, data: bytes) -> None:
        """Send, and wait for as long as the other side is slow."""
        if self.base64:
            await self.socket.send_str(b64encode(data).decode())
        else:
            await self.socket.send_bytes(data)


async def pump(source: Bytes, sink: Bytes) -> None:
    """Carry everything from one to the other; one message at a time, so that a slow sink slows its source."""
    while data := await source.read():
        await sink.write(data)


async def drain(socket: web.WebSocketResponse) -> None:
    """Read and forget until the other side closes: pings are answered, and its close is noticed."""
    with suppress(ConnectionError):
        while (await socket.receive()).type in {WSMsgType.TEXT, WSMsgType.BINARY}:
            pass

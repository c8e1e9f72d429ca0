"""WebSockets of the emulator: upgrading, copying with back-pressure, and closing in time."""

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
"""Maximum bytes of a message that is read."""
CLOSING = 1.0
"""Real seconds that a peer gets to answer a close when the emulator closes."""
STALLED = 30.0
"""Real seconds within which a peer must take some of what was sent, or answer a close."""
POLL = 0.01
"""Polling interval in real seconds, for what a peer has taken."""
MAX_REASON = 123
"""Maximum bytes of a close frame's reason (RFC 6455, 5.5)."""

NORMAL, GOING_AWAY, PROTOCOL_ERROR, NOT_ACCEPTABLE = 1000, 1001, 1002, 1003
POLICY, INTERNAL = 1008, 1011
"""Close codes of RFC 6455."""
ABNORMAL = 1006
"""The code of a connection that ends without a close frame (RFC 6455, 7.4.1): none is sent."""

_QUIET = frozenset({NORMAL, GOING_AWAY, 1005})


@frozen
class Close:
    """How a WebSocket is closed: a code of RFC 6455, and why, for a person."""

    code: int = NORMAL
    reason: str = ""

    @property
    def message(self) -> bytes:
        """The reason as a close frame can hold it: UTF-8, cut between two characters."""
        cut = self.reason.encode("utf-8", "replace")[:MAX_REASON]
        return cut.decode("utf-8", "ignore").encode()


ENDING = Close(GOING_AWAY, "the emulator ends")
LOST = Close(GOING_AWAY, "the connection was lost")

Use = Callable[[web.WebSocketResponse], Awaitable[Close]]


def wants_socket(request: web.BaseRequest) -> bool:
    """Whether the client asks for a WebSocket, in a way that can be granted."""
    # With every offered subprotocol, because aiohttp warns of offers that are not taken.
    return web.WebSocketResponse(protocols=offered(request)).can_prepare(request).ok


def offered(request: web.BaseRequest) -> list[str]:
    """The subprotocols that a client offers, in its order of preference (RFC 6455, 11.3.4)."""
    named = ",".join(request.headers.getall("Sec-WebSocket-Protocol", [])).split(",")
    return [one.strip() for one in named if one.strip()]


class Socket(web.WebSocketResponse):
    """A WebSocket that reports to its peer what was wrong with the peer's frames."""

    def __init__(
        self,
        protocol: RequestHandler,
        subprotocols: Sequence[str] = (),
        *,
        max_message: int = MAX_MESSAGE,
        autoping: bool = True,
    ) -> None:
        """Serve one connection, with the first of these subprotocols that is offered.

        Without `autoping`, pings are not answered, and `receive` returns them and pongs.
        """
        # Frames of pictures hardly shrink, and compressing them would block the loop.
        super().__init__(
            max_msg_size=max_message,
            timeout=STALLED,
            compress=False,
            protocols=subprotocols,
            autoping=autoping,
        )
        self._protocol = protocol

    @property
    def transport(self) -> asyncio.BaseTransport | None:
        """The connection; None once it is lost."""
        return self._protocol.transport

    @property
    def violation(self) -> str:
        """What is wrong with the client's frames; "" if nothing is."""
        return self._protocol.violation if isinstance(self._protocol, Connection) else ""

    async def close(self, *, code: int = NORMAL, message: bytes = b"", drain: bool = True) -> bool:
        """Close it, with a reason for invalid frames, which aiohttp closes without one."""
        reason = message or (self.violation.encode() if code == PROTOCOL_ERROR else b"")
        return await super().close(code=code, message=reason, drain=drain)


class OpenWebSockets:
    """The open WebSockets, so that all of them can be closed."""

    def __init__(self) -> None:
        """Begin with none."""
        self._tasks: set[asyncio.Task[Close]] = set()
        self._gone = Notifier()
        self._ending = asyncio.Event()

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self._tasks)

    async def serve(
        self,
        request: web.BaseRequest,
        headers: dict[str, str],
        use: Use,
        *,
        subprotocols: Sequence[str] = (),
        max_message: int = MAX_MESSAGE,
        autoping: bool = True,
    ) -> web.StreamResponse:
        """Upgrade, give `use` the socket, and close it as `use` returns.

        The first of `subprotocols` that the client offers is chosen; without one, none is.
        """
        known = [one for one in offered(request) if one in subprotocols]
        socket = Socket(request.protocol, known, max_message=max_message, autoping=autoping)
        socket.headers.update(headers)
        if known:
            # aiohttp reads only the first header of that name.
            socket.headers["Sec-WebSocket-Protocol"] = known[0]
        await socket.prepare(request)
        # A separate task: aiohttp's belongs to the connection, and only aiohttp may cancel it.
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
                self._gone.notify()
        return socket

    async def aclose(self) -> None:
        """Close all of them; may be called again."""
        self._ending.set()
        await cancel_and_wait(*self._tasks)
        # The handlers that wait for these tasks still have to close their sockets.
        while self._tasks:
            await self._gone.wait()

    async def _shut(
        self, request: web.BaseRequest, socket: web.WebSocketResponse, close: Close
    ) -> None:
        """Close it, and wait until the peer has taken what was sent; not long when all close."""
        transport = request.transport
        if close.code == ABNORMAL:
            cut(transport)
            return
        # A separate task: after a cancelled send, aiohttp's close may raise CancelledError too.
        closing = asyncio.create_task(socket.close(code=close.code, message=close.message))
        taking = asyncio.create_task(_taken(closing, transport))
        ending = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait({taking, ending}, return_when=asyncio.FIRST_COMPLETED)
            # A peer that does not read must not delay closing.
            await asyncio.wait({taking}, timeout=CLOSING)
        finally:
            await cancel_and_wait(closing, taking, ending)
            if transport is not None and transport.get_write_buffer_size():
                transport.abort()


def cut(transport: asyncio.BaseTransport | None) -> None:
    """End a connection without a close frame; what a slow peer has not taken yet is lost."""
    if not isinstance(transport, asyncio.WriteTransport):
        return
    if transport.get_write_buffer_size():
        transport.abort()
    else:
        transport.close()


async def _use(socket: web.WebSocketResponse, use: Use) -> Close:
    try:
        return await use(socket)
    except ConnectionError:
        return LOST


async def _taken(closing: asyncio.Task[bool], transport: asyncio.Transport | None) -> None:
    """Wait until the close is answered and everything is sent, or the peer stops taking."""
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
            await asyncio.sleep(POLL)
        else:
            await asyncio.wait({closing}, timeout=POLL if left else STALLED)


class Notifier:
    """Wakes the tasks that wait for a change."""

    def __init__(self) -> None:
        """Begin with no waiter."""
        self._waiting: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        """Wake all of them."""
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, within: float | None = None) -> None:
        """Wait for the next `notify`, or for so many real seconds."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await asyncio.wait({waiter}, timeout=within)
        finally:
            self._waiting.discard(waiter)
            waiter.cancel()


class Bytes(Protocol):
    """A connection that reads and writes bytes."""

    async def read(self) -> bytes:
        """The next bytes, b"" at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Send, and wait while the other side is slow."""
        ...


class Stream:
    """A connection whose bytes are read by count."""

    def __init__(self, source: Bytes) -> None:
        """Read and write `source`."""
        self._source = source
        self._buffer = bytearray()

    async def exactly(self, count: int) -> bytes:
        """The next `count` bytes.

        Raises:
            EOFError: the connection ended before.
        """
        while len(self._buffer) < count:
            chunk = await self._source.read()
            if not chunk:
                raise EOFError
            self._buffer += chunk
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def write(self, data: bytes) -> None:
        """Send, and wait while the other side is slow."""
        await self._source.write(data)


@define(eq=False)
class Channel:
    """A WebSocket that carries bytes.

    It sends binary frames, or base64 in text frames, as the published server does. It reads both.
    """

    socket: web.WebSocketResponse
    peer: str = "the peer"
    """The name of the other end, for the reasons of closes."""
    base64: bool = False
    close: Close = field(factory=Close, init=False)
    """How to close the other side, once this one has ended."""

    async def read(self) -> bytes:
        """The next bytes, b"" at the end."""
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
            # An empty frame is not the end.
            if data:
                return data

    def _ended(self, message: WSMessage) -> Close:
        # By the message and not by the socket's code: aiohttp makes that 1006 when a peer that has
        # sent its close disconnects before it can be answered.
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
        """Send, and wait while the other side is slow."""
        if self.base64:
            await self.socket.send_str(b64encode(data).decode())
        else:
            await self.socket.send_bytes(data)


async def pump(source: Bytes, sink: Bytes) -> None:
    """Copy everything, one message at a time, so that a slow sink slows its source."""
    while data := await source.read():
        await sink.write(data)


async def drain(socket: web.WebSocketResponse) -> None:
    """Read and drop messages until the other side closes; this answers pings and closes."""
    with suppress(ConnectionError):
        while (await socket.receive()).type in {WSMsgType.TEXT, WSMsgType.BINARY}:
            pass

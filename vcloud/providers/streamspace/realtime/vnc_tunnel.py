"""The bytes of a session's VNC server through one WebSocket."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol, Self

from vcloud._core.redaction.secretive import Secretive
from vcloud._core.unclosed import calling_line, warn_left_open
from vcloud._core.websocket import GOING_AWAY, NO_STATUS, NORMAL
from vcloud.errors import ConfigurationError, DecodeError, TransportError

__all__ = ["CHUNK_SIZE", "VNCSocket", "VNCTunnel"]

#: Bytes of one message. Larger data is sent in parts, because servers limit the size of a message.
CHUNK_SIZE: Final = 256 * 1024


class VNCSocket(Protocol):
    """What a tunnel needs of its WebSocket: what ``vcloud._core.websocket.Socket`` has."""

    @property
    def close_code(self) -> int | None:
        """The close code; None while it is open."""
        ...

    @property
    def close_reason(self) -> str:
        """The peer's reason for closing."""
        ...

    @property
    def ending(self) -> str:
        """How it was closed, for an error message."""
        ...

    async def receive(self) -> bytes | str | None:
        """The next message; None when it is closed."""
        ...

    async def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Send these bytes."""
        ...

    async def send_text(self, text: str) -> None:
        """Send one text message."""
        ...

    async def close(self, code: int = ..., reason: str = ...) -> None:
        """Close it."""
        ...

    async def finish(self) -> None:
        """Close it when the peer has taken everything."""
        ...

    def unsent(self) -> int:
        """Bytes that wait to be sent in this process."""
        ...

    def abandon(self) -> bool:
        """Drop the connection; return whether it was open."""
        ...


class VNCTunnel(Secretive, AsyncIterator[bytes]):
    """The bytes of a VNC server, both ways: ``async with session.open_vnc() as tunnel``.

    One task may read while another writes. A write waits while the other side is slow. The
    boundaries of messages have no meaning.

    While no task reads, pings are answered and a close is noticed (:attr:`close_code`), as long as
    at most ``max_message`` bytes of the :class:`~vcloud.Endpoint` and 65 536 messages are unread.
    Beyond that, reading pauses: the other side has to wait, and so do its pings. When either
    direction has been silent for ``heartbeat`` seconds of the Endpoint, a ping is sent, so that
    proxies keep the connection. If nothing arrives for as long again, the connection is lost.

    Close it with ``async with`` or :meth:`aclose`. Closing the client closes it too. A tunnel
    without references is closed without a close frame, and a ResourceWarning names the line that
    called ``open_vnc``.

    A published installation has base64 in text messages instead of binary ones, both ways. It tells
    a viewer nothing when a session stops: after 60 seconds without a byte, and every 30 from then,
    a task that reads asks for the session's state. On any other installation this side sends base64
    after the first such message.

    ``session.open_vnc()`` makes it; its constructor is not for users.

    Args:
        connect: opens the WebSocket.
    """

    def __init__(self, connect: Callable[[], Awaitable[VNCSocket]]) -> None:
        self._connect = connect
        self._socket: VNCSocket | None = None
        self._closed = self._opening = False
        self._as_text = False
        self._where = calling_line()

    def __del__(self) -> None:
        socket = getattr(self, "_socket", None)
        if socket is not None and socket.abandon():
            warn_left_open("a VNC tunnel", self._where)

    async def aopen(self) -> Self:
        """Open without ``async with``. You must call :meth:`aclose` then.

        Raises:
            AuthenticationError: the token is not accepted.
            PermissionDeniedError: it is another user's session, and you are not an administrator.
            NotFoundError: there is no such session.
            ConflictError: the session is not running.
            ConfigurationError: it was opened or closed before, or the client is closed.
            TransportError: the connection failed, or the tunnel was closed meanwhile; on a
                published installation also when no byte came within ``first_bytes``.
            StreamingProtocolError: the session is not VNC, on a published installation.
        """
        if self._socket is not None or self._closed or self._opening:
            raise ConfigurationError("a tunnel is opened once: call open_vnc() again for another")
        self._opening = True
        try:
            socket = await self._connect()
        finally:
            self._opening = False
        if self._closed:
            await socket.close()
            raise TransportError("the tunnel was closed while it was opened")
        self._socket = socket
        return self

    @property
    def opened(self) -> bool:
        """Whether it was opened; closing it does not change that."""
        return self._socket is not None

    @property
    def close_code(self) -> int | None:
        """The close code of RFC 6455; None while the tunnel is open.

        It is known as soon as the service closes, also while no task reads. 1006: the connection
        ended without a close frame.
        """
        return None if self._socket is None else self._socket.close_code

    @property
    def close_reason(self) -> str:
        """The reason in the service's close frame; empty without one."""
        return "" if self._socket is None else self._socket.close_reason

    @property
    def unsent(self) -> int:
        """How many written bytes wait to be sent in this process; 0 where that is unknown."""
        return 0 if self._socket is None else self._socket.unsent()

    async def read(self) -> bytes:
        """Read the bytes of the next message, at least one; ``b""`` at the end.

        Raises:
            ConfigurationError: another task is reading.
            TransportError: the connection was lost, or the service closed it with an error.
            SessionStoppedError: a TransportError: the session no longer runs; on a published
                installation, which does not close the tunnel then.
            DecodeError: a text message is not base64.
        """
        socket = self._opened_socket()
        while (message := await socket.receive()) is not None:
            data = self._decoded(message) if isinstance(message, str) else message
            if data:
                return data
        if self._closed or socket.close_code in (NORMAL, GOING_AWAY, NO_STATUS):
            return b""
        raise TransportError(f"the tunnel was closed with {socket.ending}")

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send these bytes, and return when there is room for more.

        Raises:
            TransportError: the tunnel is closed, or the connection was lost.
        """
        socket = self._opened_socket()
        view = memoryview(data).cast("B")
        for start in range(0, len(view), CHUNK_SIZE):
            part = view[start : start + CHUNK_SIZE]
            if self._as_text:
                await socket.send_text(base64.b64encode(part).decode("ascii"))
            else:
                await socket.send_bytes(part)

    async def aclose(self, code: int = NORMAL, reason: str = "") -> None:
        """Close it. May be called twice, and while another task reads, which then gets ``b""``.

        Args:
            code: the close code of RFC 6455.
            reason: for the other side; at most 123 bytes of it are sent.
        """
        self._closed = True
        if self._socket is not None:
            await self._socket.close(code, reason)

    async def finish(self) -> None:
        """Close it when the other side has taken everything that was written.

        The other side may read slowly. :meth:`aclose` gives up after two seconds and drops what is
        left.
        """
        self._closed = True
        if self._socket is not None:
            await self._socket.finish()

    async def __aenter__(self) -> Self:
        """Open."""
        return await self.aopen()

    async def __aexit__(self, *details: object) -> None:
        """Close."""
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if data := await self.read():
            return data
        raise StopAsyncIteration

    def _opened_socket(self) -> VNCSocket:
        if self._socket is None:
            raise ConfigurationError(
                "the tunnel is not open: use `async with`, or call `await tunnel.aopen()` first"
            )
        return self._socket

    def _decoded(self, text: str) -> bytes:
        try:
            data = base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            raise DecodeError("a text message in the tunnel is not base64") from None
        self._as_text = True
        return data

"""A session's picture: the bytes of its VNC server through a WebSocket."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self

from vcloud._core.redaction.secretive import Secretive
from vcloud._core.unclosed import calling_line, warn_left_open
from vcloud._core.websocket import GOING_AWAY, NO_STATUS, NORMAL, Socket
from vcloud.errors import ConfigurationError, DecodeError, TransportError
from vcloud.providers.streamspace.realtime.relay import PART

__all__ = ["VNCTunnel"]


class VNCTunnel(Secretive, AsyncIterator[bytes]):
    """The bytes of a VNC server, both ways: ``async with session.open_vnc() as tunnel``.

    One task may read while another writes. Writing waits while the other side is slow. How the
    bytes were cut into messages means nothing.

    While nobody reads, pings are answered and a close is noticed (:attr:`close_code`), as long as
    at most ``max_message`` bytes of the :class:`~vcloud.Endpoint` and 65 536 messages wait unread.
    Beyond that reading pauses until some are read: then the other side has to wait, and its pings
    too. When either direction has been silent for ``heartbeat`` seconds of the Endpoint, a ping
    goes out, so that proxies keep the connection. When the other side then says nothing for as long
    again, the connection is lost.

    Close it with ``async with`` or :meth:`aclose`. Closing the client closes it too. One that
    nobody holds any more is closed as well, without a close frame, and a ResourceWarning names the
    line that called ``open_vnc``.

    The published server sends base64 in text messages instead of binary ones (from its source). Once it did, what is
    written goes out in the same form.

    Args:
        connect: opens the WebSocket.
    """

    def __init__(self, connect: Callable[[], Awaitable[Socket]]) -> None:
        self._connect = connect
        self._socket: Socket | None = None
        self._closed = self._opening = False
        self._as_text = False
        self._where = calling_line()

    def __del__(self) -> None:
        socket = getattr(self, "_socket", None)
        if socket is not None and socket.abandon():
            warn_left_open("a VNC tunnel", self._where)

    async def aopen(self) -> Self:
        """Open without ``async with``; then :meth:`aclose` is yours to call.

        Raises:
            AuthenticationError: the token is not accepted.
            PermissionDeniedError: it is another user's session, and you are no administrator.
            NotFoundError: there is no such session.
            ConflictError: it is not running.
            ConfigurationError: it was opened or closed before, or the client is closed.
            TransportError: no connection, or it was closed meanwhile.
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
        """Why it is closed, as RFC 6455 numbers it; None while it is open.

        It is known as soon as the service closes, also while nobody reads. 1006: the connection
        ended without a close frame.
        """
        return None if self._socket is None else self._socket.close_code

    @property
    def close_reason(self) -> str:
        """What the service said when it closed the tunnel; empty when it said nothing."""
        return "" if self._socket is None else self._socket.close_reason

    async def read(self) -> bytes:
        """The next bytes, as many as came together, at least one; ``b""`` at the end.

        Raises:
            ConfigurationError: another task is reading.
            TransportError: the connection was lost, or the service closed it because something is wrong.
            DecodeError: a text message that is not base64.
        """
        socket = self._opened()
        while (message := await socket.receive()) is not None:
            data = self._decoded(message) if isinstance(message, str) else message
            if data:
                return data
        if self._closed or socket.close_code in (NORMAL, GOING_AWAY, NO_STATUS):
            return b""
        raise TransportError(f"the tunnel was closed with {socket.ending}")

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send these bytes; returns when there is room for more.

        Raises:
            TransportError: the tunnel is closed, or the connection was lost.
        """
        socket = self._opened()
        view = memoryview(data).cast("B")
        for start in range(0, len(view), PART):
            part = view[start : start + PART]
            if self._as_text:
                await socket.send_text(base64.b64encode(part).decode("ascii"))
            else:
                await socket.send_bytes(part)

    async def aclose(self, code: int = NORMAL, reason: str = "") -> None:
        """Close it. May be called twice, and while another task reads: that one gets ``b""``.

        Args:
            code: of RFC 6455.
            reason: for the other side; at most 123 bytes of it are sent.
        """
        self._closed = True
        if self._socket is not None:
            await self._socket.close(code, reason)

    async def finish(self) -> None:
        """Close it once the other side has taken all that was written, however slowly it reads.

        :meth:`aclose` gives up after two seconds, and drops what is left by then.
        """
        self._closed = True
        if self._socket is not None:
            await self._socket.finish()

    async def __aenter__(self) -> Self:
        """Open."""
        return await self.aopen()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if data := await self.read():
            return data
        raise StopAsyncIteration

    def _opened(self) -> Socket:
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

"""A session's picture: the bytes of its VNC server through a WebSocket, and a local port that viewers understand."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_address
from types import TracebackType
from typing import Final, Self
from weakref import WeakSet

from vcloud._core.cleanup import WITHIN, Opened, abort, end
from vcloud._core.observe import Hook, call_hook
from vcloud._core.secret import Secretive
from vcloud._core.websocket import GOING_AWAY, NO_STATUS, NORMAL, Socket
from vcloud.errors import ConfigurationError, DecodeError, InvalidArgumentError, TransportError
from vcloud.providers.streamspace.admission import Admission
from vcloud.providers.streamspace.relay import PART, Relayed, let_go, relay, tell_why

__all__ = ["VNCForward", "VNCTunnel"]

LOG: Final = logging.getLogger("vcloud.streamspace")
#: How many errors of a forward's connections are kept.
KEPT_ERRORS: Final = 16


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

    Close it with ``async with`` or :meth:`aclose`. Closing the client closes it too. One that is
    dropped without is ended, too, but the other side is not told why.

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


class VNCForward:
    """A local TCP port whose every connection is a tunnel to one session: ``async with session.forward_vnc() as forward``.

    Any VNC viewer can be pointed at it. An error of one connection ends that connection alone;
    leaving the block ends all. A viewer that gets no picture is told why, as RFB 3.8 does it (RFC
    6143, 7.1.2), unless the VNC server has said more than its version to it.

    Programs of this process's user and of root are let in. Every other user of the machine is hung
    up on before a byte is passed on, and so is a connection that is gone by the time its row is
    looked for in the kernel's table of sockets. On a system without that table (macOS, Windows)
    every user of the machine is let in, and one WARNING says so.

    At most 256 connections may be without a word from their viewer; more are hung up on. So is a
    viewer that has said nothing for two minutes.

    Args:
        open_tunnel: makes the tunnel of one connection.
        host: a loopback address.
        port: which; 0 takes a free one.
        on_error: is called with what ended a connection that did not end well.
        anyone: let in every user of this machine.
        known_to: what the client ends when it closes.

    Raises:
        InvalidArgumentError: ``host`` is no loopback address, ``port`` no port, ``on_error`` no
            function, or ``anyone`` no bool.
    """

    def __init__(
        self,
        open_tunnel: Callable[[], VNCTunnel],
        *,
        host: str,
        port: int,
        on_error: Hook[Exception] | None = None,
        anyone: bool = False,
        known_to: WeakSet[Opened],
    ) -> None:
        if type(port) is not int or not 0 <= port <= 65535:
            raise InvalidArgumentError(f"port must be from 0 to 65535, not {port!r}")
        if on_error is not None and not callable(on_error):
            raise InvalidArgumentError(f"on_error must be a function, not {on_error!r}")
        if type(anyone) is not bool:
            raise InvalidArgumentError(f"anyone must be True or False, not {anyone!r}")
        self._host = _loopback(host)
        self._port = port
        self._open_tunnel = open_tunnel
        self._on_error = on_error
        self._admission = Admission(anyone=anyone)
        self._known_to = known_to
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._errors: deque[Exception] = deque(maxlen=KEPT_ERRORS)

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return self._host

    @property
    def port(self) -> int:
        """The port that it listens on; the one asked for before it is entered."""
        return self._port

    @property
    def connections(self) -> int:
        """How many viewers are connected now."""
        return len(self._connections)

    @property
    def errors(self) -> tuple[Exception, ...]:
        """What ended connections that did not end well, the last one at the end; the older ones are forgotten."""
        return tuple(self._errors)

    @property
    def refused(self) -> int:
        """How many connections were hung up on: other users', gone ones, too many silent ones.

        They are no :attr:`errors`, so that nobody else can fill those. The first one is a WARNING
        in the log.
        """
        return self._admission.refused

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        if self._server is not None:
            raise ConfigurationError(
                "this forward is in use already: call forward_vnc() again for another"
            )
        # Not serving at first: start_server has no point between binding and returning at which it could be cancelled.
        self._server = await asyncio.start_server(
            self._connected, self._host, self._port, limit=PART, start_serving=False
        )
        try:
            self._port = self._server.sockets[0].getsockname()[1]
            self._admission.listen(self._port)
            await self._server.start_serving()
            self._known_to.add(self)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening, and end all connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Stop listening, and end all connections. May be called twice."""
        self._known_to.discard(self)
        server, self._server = self._server, None
        try:
            if server is not None:
                await _close(server)
        finally:
            await end(set(self._connections))

    def make_urgent(self) -> None:
        """See :class:`~vcloud._core.cleanup.Opened`."""

    async def end_with_client(self) -> None:
        """See :class:`~vcloud._core.cleanup.Opened`."""
        await self.aclose()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:
            abort(writer.transport)
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        # A task that is cancelled before its first step does nothing, not even closing.
        task.add_done_callback(lambda task: abort(writer.transport))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        WITHIN.set(self)
        task = asyncio.current_task()
        assert task is not None
        relayed = Relayed()
        try:
            if self._admission.take(relayed, task.cancel) and await self._admission.lets_in(writer):
                await self._relay(reader, writer, relayed)
        except Exception as error:  # noqa: BLE001 - one connection's trouble is nobody else's, and is kept to be looked at
            await self._failed(error.with_traceback(None), reader, writer, relayed)
        finally:
            self._admission.forget(relayed)
            await let_go(writer)

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, relayed: Relayed
    ) -> None:
        tunnel = self._open_tunnel()
        try:
            await tunnel.aopen()
            await relay(tunnel, reader, writer, relayed)
        finally:
            with contextlib.suppress(TransportError):
                await tunnel.aclose()

    async def _failed(
        self,
        error: Exception,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        relayed: Relayed,
    ) -> None:
        self._errors.append(error)
        # Beside each other, because a viewer may take its time, and so may a hook.
        telling = [tell_why(error, reader, writer, relayed)]
        if self._on_error is not None:
            telling.append(self._tell_owner(self._on_error, error))
        await asyncio.gather(*telling)

    async def _tell_owner(self, hook: Hook[Exception], error: Exception) -> None:
        await call_hook(hook, error, "on_error of forward_vnc", LOG)


async def _close(server: asyncio.Server) -> None:
    """Close a server, but not before it has handed over what it accepted: asyncio would lose such a connection unclosed."""
    try:
        # Loops without readers (Windows) accept in another way.
        with contextlib.suppress(NotImplementedError):
            for listener in server.sockets:
                asyncio.get_running_loop().remove_reader(listener.fileno())
        for _ in range(2):
            await asyncio.sleep(0)
    finally:
        server.close()


def _loopback(host: str) -> str:
    name = "127.0.0.1" if host == "localhost" else host
    try:
        if ip_address(name).is_loopback:
            return name
    except ValueError:
        pass
    raise InvalidArgumentError(
        f"host must be a loopback address such as 127.0.0.1, not {host!r}: whoever connects is let in"
    )

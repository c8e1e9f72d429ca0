"""A listening socket and its connections: serving, refusing, and noticing lost clients."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from vcloud.emulator.net.connection import Connection, new_request
from vcloud.emulator.tasks import cancel_and_wait

SHUTDOWN = 0.1
"""Seconds that requests in flight get to finish when the listener closes."""
BACKLOG = 128
TLS_SHUTDOWN = 1.0
"""Seconds that a client may take to answer the end of TLS."""

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Listener(web.Server):
    """A web server with its socket. It belongs to the event loop in which it was made."""

    def __init__(self, answer: Answer, *, tls: ssl.SSLContext | None = None) -> None:
        """Answer each request with `answer`; with `tls`, over TLS."""
        super().__init__(answer, request_factory=new_request)
        self._servers: list[asyncio.Server] = []
        self._held: list[socket.socket] = []
        self._leaving: dict[Any, asyncio.Future[None]] = {}
        self._recoveries: set[asyncio.Task[None]] = set()
        self._refusals = 0
        self._changing = asyncio.Lock()
        self._tls: dict[str, Any] = {}
        if tls is not None:
            self._tls = {"ssl": tls, "ssl_shutdown_timeout": TLS_SHUTDOWN}

    def __call__(self) -> Connection:
        """Serve a new connection."""
        return Connection(self, on_eof=self._client_left)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that it belongs to."""
        return self._loop

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses on which it accepts connections; none while it refuses, or is closed."""
        sockets = [sock for server in self._servers for sock in server.sockets]
        return tuple(sock.getsockname()[0] for sock in sockets)

    @property
    def unsent(self) -> int:
        """How many bytes its clients have not taken yet."""
        transports = list(self._connections.values())
        return sum(one.get_write_buffer_size() for one in transports if not one.is_closing())

    async def listen(self, host: str, port: int) -> int:
        """Listen on this port, or on a free one for 0, and return it."""
        server = await asyncio.get_running_loop().create_server(
            self, host, port, backlog=BACKLOG, **self._tls
        )
        self._servers.append(server)
        found: int = server.sockets[0].getsockname()[1]
        return found

    async def refuse(self, *, spare: asyncio.BaseTransport | None = None) -> None:
        """Reset every connection but `spare`, and refuse new ones.

        Refusals nest: the listener accepts again after as many calls of `accept`.
        """
        async with self._changing:
            self._refusals += 1
            await self._stop_listening()
        for transport in list(self._connections.values()):
            if transport is not spare:
                reset(transport)

    async def _stop_listening(self) -> None:
        loop = asyncio.get_running_loop()
        # Accepted connections are handed over first: asyncio would lose them without closing them.
        # Loops without readers (Windows) accept in another way.
        with contextlib.suppress(NotImplementedError):
            for server in self._servers:
                for sock in server.sockets:
                    loop.remove_reader(sock.fileno())
        for _ in range(2):
            await asyncio.sleep(0)
        for server in self._servers:
            bound = [(sock.family, sock.getsockname()) for sock in server.sockets]
            server.close()
            # A socket that is bound but does not listen refuses connections, and keeps the port.
            self._held += [_bound(family, name) for family, name in bound]
        self._servers.clear()

    async def accept(self) -> None:
        """End a refusal."""
        async with self._changing:
            self._refusals -= 1
            held = [] if self._refusals else self._held
            while held:
                server = await asyncio.get_running_loop().create_server(
                    self, sock=held[-1], backlog=BACKLOG, **self._tls
                )
                held.pop()
                self._servers.append(server)

    async def refuse_for(
        self, seconds: float, *, spare: asyncio.BaseTransport | None = None
    ) -> None:
        """Refuse, and accept again after so many seconds. Returns as soon as it refuses."""
        await self.refuse(spare=spare)
        task = asyncio.create_task(self._recover(seconds))
        self._recoveries.add(task)
        task.add_done_callback(self._recoveries.discard)

    async def _recover(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.accept()

    async def stays(self, request: web.BaseRequest, seconds: float | None) -> bool:
        """Wait so many seconds, or without end for None; whether the client is still there.

        Returns at once when the client has disconnected. A client that has closed its sending side
        counts as disconnected, because the two look the same.
        """
        protocol = request.protocol
        if (
            request.transport is None
            or request.transport.is_closing()
            or (isinstance(protocol, Connection) and protocol.half_closed)
        ):
            return False
        left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._leaving[protocol] = left
        try:
            await asyncio.wait({left}, timeout=seconds)
            return not left.done()
        finally:
            del self._leaving[protocol]
            left.cancel()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Drop a lost connection, and wake the tasks that wait for its end."""
        super().connection_lost(handler, exc)
        self._client_left(handler)

    def _client_left(self, handler: RequestHandler) -> None:
        left = self._leaving.get(handler)
        if left is not None and not left.done():
            left.set_result(None)

    async def aclose(self) -> None:
        """Stop listening. Idle connections end at once, those with a request in flight soon."""
        await cancel_and_wait(*self._recoveries)
        for server in self._servers:
            server.close()
        self._servers.clear()
        for sock in self._held:
            sock.close()
        self._held.clear()
        # Connections that were accepted already are handed over first.
        await asyncio.sleep(0)
        self.pre_shutdown()
        over_tls = list(self._connections.values()) if self._tls else []
        await self.shutdown(SHUTDOWN)
        for transport in over_tls:
            # It has sent its close, and would wait for the client's.
            transport.abort()
        if over_tls:
            await asyncio.sleep(0)


class Refusing:
    """A time in which a listener refuses connections.

    `async with` in any event loop; `with` in any thread but the listener's own.
    """

    def __init__(self, listener: Listener) -> None:
        """Prepare; the listener still accepts."""
        self._listener = listener
        self._loop = listener.loop

    async def __aenter__(self) -> None:
        """Begin to refuse."""
        await self._in_loop(self._listener.refuse)

    async def __aexit__(self, *details: object) -> None:
        """Accept again."""
        await self._in_loop(self._listener.accept)

    def __enter__(self) -> None:
        """Begin to refuse."""
        if running_loop() is self._loop:
            msg = "in the emulator's own event loop this is an `async with`"
            raise RuntimeError(msg)
        asyncio.run_coroutine_threadsafe(self._listener.refuse(), self._loop).result()

    def __exit__(self, *details: object) -> None:
        """Accept again."""
        if not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._listener.accept(), self._loop).result()

    async def _in_loop(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if running_loop() is self._loop:
            await work()
        elif not self._loop.is_closed():
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), self._loop))


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread, None if none does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def reset(transport: asyncio.BaseTransport | None) -> None:
    """Close a connection with a TCP reset."""
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():
        # With a linger time of 0, close() sends RST instead of FIN.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # A cast, because uvloop's transport for TLS is not an asyncio.Transport.
    cast("asyncio.Transport", transport).abort()


def _bound(family: int, name: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            # As asyncio does: connections that have just ended must not block the port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(name)
    except BaseException:
        sock.close()
        raise
    return sock

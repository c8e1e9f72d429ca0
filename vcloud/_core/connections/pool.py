"""The connection pool of our own sessions: aiohttp's, with checks of the connections it keeps.

It overrides ``_create_connection``, which aiohttp keeps private. The other private parts are in
:mod:`vcloud._core.connections.aiohttp_compat`, each with a fallback.
:mod:`vcloud._core.connections.kept_connections` has the age of a connection and the check of its
socket.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from vcloud._core.cleanup import CALLER
from vcloud._core.connections.aiohttp_compat import connections_in_use, make_connections_by
from vcloud._core.connections.failures import (
    NotConnectedError,
    NotSentError,
    UnsolicitedDataError,
    describe_missing,
)
from vcloud._core.connections.kept_connections import PooledConnections, is_stale
from vcloud._core.connections.resolver import Names
from vcloud._core.connections.sending import refuse_overdue, refuse_unsolicited
from vcloud._core.connections.unsent import mark_unsent
from vcloud._core.request import IDEMPOTENT
from vcloud._core.timing.attempt_timeout import about_to_write
from vcloud._core.timing.clock import monotonic, wall
from vcloud._core.timing.timeouts import timeout as time_limit


class Pool(aiohttp.TCPConnector):
    """A pool that resolves names itself, and can end connections that are still closing.

    Its ``sock_connect`` limits everything before a request can be written: the lookup of the name,
    the connection, TLS, and the answer of a proxy.

    A TLS connection is closed only when the peer has answered the close. aiohttp closes a
    connection in the background after its last answer, and drops its reference at once. If the
    event loop ends before the peer answers, asyncio reports an unclosed transport.

    It keeps no connection forever, and none that the peer has closed: see
    :class:`~vcloud._core.connections.kept_connections.PooledConnections`.

    Args:
        clock: monotonic seconds.
        wall: Unix seconds.
        options: aiohttp's.
    """

    def __init__(
        self,
        clock: Callable[[], float] = monotonic,
        wall: Callable[[], float] = wall,
        **options: Any,
    ) -> None:
        #: The connections that are kept or in use.
        self.pooled = PooledConnections(_is_idle, clock, wall)
        # A connector does not close a resolver that it was given.
        self._names = Names()
        super().__init__(resolver=self._names, **options)
        #: The transport of each TLS connection, until that is lost.
        self._transports: dict[asyncio.Future[None], asyncio.Transport] = {}

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        try:
            async with time_limit(timeout.sock_connect):
                handler = await _unless_given_up(
                    super()._create_connection(req, traces, _NO_TIME_LIMIT)
                )
        except TimeoutError:
            raise NotConnectedError(self._awaited(req)) from None
        except asyncio.CancelledError as stopped:
            task = asyncio.current_task()
            if self.closed and task is not None and not task.cancelling():
                # The call was not cancelled: aiohttp cancels lookups when the pool is closed.
                raise NotSentError from None
            mark_unsent(stopped, self._awaited(req))
            raise
        try:
            refuse_overdue()
        except NotSentError:
            handler.abort()
            raise
        about_to_write()
        # The handler drops its reference as soon as it closes the transport.
        transport = handler.transport
        if transport is None or transport.get_extra_info("sslcontext") is None:
            return handler
        # Only over TLS. Its exception is retrieved because asyncio would report it.
        if (lost := handler.closed) is not None:
            self._transports[lost] = transport
            lost.add_done_callback(functools.partial(_forget, self._transports))
        return handler

    def _awaited(self, req: aiohttp.ClientRequest) -> str:
        """What is missing for a connection that was not made."""
        asked = (req.proxy or req.url).raw_host
        return describe_missing(
            req, unresolved=asked if asked and self._names.is_looking_up(asked) else None
        )

    # Not a coroutine function, which would be one more coroutine for each request.
    def connect(  # pyright: ignore[reportIncompatibleMethodOverride] - it is awaited all the same
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Coroutine[Any, Any, Connection]:
        """A connection from the pool, or a new one.

        A request that must not be repeated never gets a connection that the peer has closed,
        because its outcome would then be unknown. The method shows which requests these are, so a
        POST that may be repeated is checked too. The check takes 3 us of some 170 for a call.
        Reading two clocks costs each request another 0.3 us.
        """
        self.pooled.check()
        if req.method in IDEMPOTENT:
            return super().connect(req, traces, timeout)
        return self._connect_alive(req, traces, timeout)

    async def _connect_alive(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        # Each pass takes one out of the pool; one that was just made is not checked.
        while True:
            connection = await super().connect(req, traces, timeout)
            handler, transport = connection.protocol, connection.transport
            if handler is None or transport is None or not _was_kept(handler):
                return connection
            if not is_stale(transport, answered=True):
                return connection
            handler.abort()
            connection.close()

    def drop_idle(self, origin: URL | None = None) -> None:
        """Drop idle connections, because one of them had been dropped or a descriptor is needed.

        A load balancer or router that has dropped one connection to a host has dropped all of them.

        Args:
            origin: scheme, host and port of those to drop; None: all.
        """
        self.pooled.drop_idle(origin)

    async def finish(self) -> None:
        """End at once the connections that are still closing. No request may be in flight."""
        left = dict(self._transports)
        for transport in left.values():
            transport.abort()
        if left:
            await asyncio.wait(left)


#: Replaces aiohttp's own timers, which ignore what has arrived.
_NO_TIME_LIMIT: Final = aiohttp.ClientTimeout(total=None)


async def _unless_given_up(connecting: Coroutine[Any, Any, ResponseHandler]) -> ResponseHandler:
    """Connect, but not for a call that is cancelled: what was not sent is not sent afterwards.

    Raises:
        NotSentError: it was cancelled.
    """
    caller = CALLER.get()
    if caller is None:
        return await connecting
    made = await caller.unless_urgent(connecting, drop=ResponseHandler.abort)
    if made is None or caller.urgent:
        if made is not None:
            made.abort()
        raise NotSentError
    return made


def _forget(
    transports: dict[asyncio.Future[None], asyncio.Transport], lost: asyncio.Future[None]
) -> None:
    transports.pop(lost, None)
    # Whatever uses the connection reports its end, so asyncio must not.
    if not lost.cancelled():
        lost.exception()


def pool(clock: Callable[[], float] = monotonic, wall: Callable[[], float] = wall) -> Pool:
    """A pool that never hands out a connection on which the peer has sent unsolicited data.

    aiohttp takes data that came while a connection was idle (a load balancer's 408, or a second
    answer) for the answer to the next request. From then on each request gets the answer of another
    one.

    The pool does not limit its connections: admission limits the requests of each provider.

    Args:
        clock: monotonic seconds.
        wall: Unix seconds.
    """
    made = _Pool(clock, wall, limit=0)
    in_use = connections_in_use(made)
    if in_use is not None:
        make = functools.partial(_Handler, asyncio.get_running_loop(), in_use)
        if make_connections_by(made, make):
            return made
    return _PublicPool(clock, wall, limit=0)


class _Pool(Pool):
    """A pool whose connections detect unsolicited data themselves.

    It costs one more Python call for each piece of data: with it a call took 1.21 times as long as
    with bare aiohttp, without it 1.15 (``python -m tests.benchmarks.call_path --alone``, noisy).
    """

    async def _create_connection(
        self, req: aiohttp.ClientRequest, *args: Any, **options: Any
    ) -> ResponseHandler:
        handler = await super()._create_connection(req, *args, **options)
        if handler.should_close:
            handler.abort()
            raise UnsolicitedDataError
        self.pooled.add(handler, req.url.origin())
        return handler


def _was_kept(handler: ResponseHandler) -> bool:
    """Whether a connection that was just taken has carried a request before."""
    return handler.used if isinstance(handler, _Handler) else _is_idle(handler)


def _is_idle(handler: ResponseHandler) -> bool:
    """Whether a connection is kept, and carries no request."""
    if isinstance(handler, _Handler):
        return handler.used and handler not in handler.in_use
    transport = handler.transport
    return transport is not None and isinstance(transport.get_protocol(), _Idle)


class _Handler(ResponseHandler):
    """A connection that closes at the first byte that arrives while it is not in use.

    asyncio and uvloop close it themselves when the peer closes.

    Args:
        loop: the event loop.
        in_use: the pool's connections that are handed out.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, in_use: set[ResponseHandler]) -> None:
        super().__init__(loop)
        self.in_use = in_use
        #: Whether it has carried an answer. While it is being made it is not in use either, and a
        #: proxy may answer then.
        self.used = False

    def data_received(self, data: bytes) -> None:
        if self in self.in_use:
            self.used = True
        elif self.used and data:
            # Dropped, because closing over TLS would wait for the peer.
            self.abort()
            return
        super().data_received(data)


class _PublicPool(Pool):
    """The same without private parts: idle connections have another protocol.

    It costs 5 us more for a call.
    """

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            handler, transport = connection.protocol, connection.transport
            if handler is None or transport is None:
                return connection
            idle = transport.get_protocol()
            if not isinstance(idle, _Idle):
                refuse_unsolicited(connection)
                self.pooled.add(handler, req.url.origin())
                idle = _Idle(handler)
            elif connection.closed:
                # It was lost while a trace of the session was awaited.
                connection.close()
                continue
            else:
                transport.set_protocol(handler)
            connection.add_callback(idle.begin)
            return connection


class _Idle(asyncio.Protocol):
    """The protocol of an idle connection: the first byte closes it.

    Args:
        handler: aiohttp's protocol, which is used during a request.
    """

    def __init__(self, handler: ResponseHandler) -> None:
        self._handler = handler

    def begin(self) -> None:
        """Replace the handler, now that the answer is complete."""
        transport = self._handler.transport
        if transport is not None and not self._handler.should_close:
            transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 - any data
        self._handler.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._handler.connection_lost(exc)

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._handler.resume_writing()

"""The pool of our own sessions: aiohttp's, which also looks after the connections that it keeps.

It overrides methods that aiohttp keeps private, so it belongs to the few modules that import
aiohttp. How to do without each of these parts is said in :mod:`vcloud._core.connections.aiohttp_compat`. What
needs no aiohttp, the ages and the look into a socket, is in :mod:`vcloud._core.connections.kept_connections`.
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
from vcloud._core.connections.aiohttp_compat import private, refuse_overdue, refuse_unasked
from vcloud._core.connections.kept_connections import PooledConnections, is_stale
from vcloud._core.connections.resolver import Names
from vcloud._core.connections.unsent import mark_unsent
from vcloud._core.failures import GivenUpError, UnaskedError, UnconnectedError, awaited_words
from vcloud._core.request import IDEMPOTENT
from vcloud._core.timing.attempt_timeout import about_to_write
from vcloud._core.timing.clock import monotonic, wall
from vcloud._core.timing.timeouts import timeout as time_limit


class Pool(aiohttp.TCPConnector):
    """A pool that can end the connections that it has closed already, and resolves names itself.

    Its ``sock_connect`` is for all that comes before a request can be written: the name, the
    connection, TLS, and a proxy's consent.

    Closing one over TLS takes until the peer agrees. aiohttp closes a connection in the background
    after an answer that was the last one on it, and then knows it no more. Where the event loop
    ends before the peer agrees, asyncio reports an unclosed transport.

    What it keeps it also looks after: see :class:`~vcloud._core.connections.kept_connections.PooledConnections`.

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
        self._pooled = PooledConnections(_is_idle, clock, wall)
        # Kept here too, because a connector does not close a resolver that it was given.
        self._names = Names()
        super().__init__(resolver=self._names, **options)
        #: What carries each connection over TLS, until it is lost.
        self._carriers: dict[asyncio.Future[None], asyncio.Transport] = {}

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        try:
            async with time_limit(timeout.sock_connect):
                handler = await _unless_given_up(
                    super()._create_connection(req, traces, _NO_TIME_LIMIT)
                )
        except TimeoutError:
            raise UnconnectedError(self._awaited(req)) from None
        except asyncio.CancelledError as stopped:
            task = asyncio.current_task()
            if self.closed and task is not None and not task.cancelling():
                # Nobody cancelled the call: aiohttp cancels lookups when it is closed.
                raise GivenUpError from None
            mark_unsent(stopped, self._awaited(req))
            raise
        try:
            refuse_overdue()
        except GivenUpError:
            handler.abort()
            raise
        about_to_write()
        # The handler forgets its transport as soon as it closes it.
        transport = handler.transport
        if transport is None or transport.get_extra_info("sslcontext") is None:
            return handler
        # Over TLS alone: asyncio reports one that fails and that nobody looks at.
        if (lost := handler.closed) is not None:
            self._carriers[lost] = transport
            lost.add_done_callback(functools.partial(_forget, self._carriers))
        return handler

    def _awaited(self, req: aiohttp.ClientRequest) -> str:
        """What a connection that did not come about was waiting for."""
        asked = (req.proxy or req.url).raw_host
        return awaited_words(req, unresolved=asked if asked and self._names.asks(asked) else None)

    # No coroutine function of its own, which would be one more for each request.
    def connect(  # pyright: ignore[reportIncompatibleMethodOverride] - it is awaited all the same
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Coroutine[Any, Any, Connection]:
        """A connection from the pool, or a new one.

        Not one that the peer has left, if the request must not be repeated: what was written into
        that might have been carried out, for all we know. Its method says so, and the POST that may
        be repeated pays for the look too. The look takes 3 us of some 170 for a call, and what all
        requests pay (two clocks are read) 0.3 us.
        """
        self._pooled.look_after()
        if req.method in IDEMPOTENT:
            return super().connect(req, traces, timeout)
        return self._connect_alive(req, traces, timeout)

    async def _connect_alive(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        # Each turn takes one out of the pool, and one that was just made is not looked at.
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
        """Drop idle connections, because one of them has died or a descriptor is needed.

        A load balancer or a router that forgot one to a host has forgotten them all.

        Args:
            origin: scheme, host and port of those to drop; None: all.
        """
        self._pooled.drop_idle(origin)

    async def finish(self) -> None:
        """End at once what is still closing. Nothing may be under way."""
        left = dict(self._carriers)
        for transport in left.values():
            transport.abort()
        if left:
            await asyncio.wait(left)


#: Instead of aiohttp's own timers, which know nothing of what has arrived.
_NO_TIME_LIMIT: Final = aiohttp.ClientTimeout(total=None)


async def _unless_given_up(connecting: Coroutine[Any, Any, ResponseHandler]) -> ResponseHandler:
    """Connect, but not for a call that is cancelled: what was not sent is not sent afterwards.

    Raises:
        GivenUpError: it was cancelled.
    """
    caller = CALLER.get()
    if caller is None:
        return await connecting
    made = await caller.unless_urgent(connecting, drop=ResponseHandler.abort)
    if made is None or caller.urgent:
        if made is not None:
            made.abort()
        raise GivenUpError
    return made


def _forget(
    carriers: dict[asyncio.Future[None], asyncio.Transport], lost: asyncio.Future[None]
) -> None:
    carriers.pop(lost, None)
    # Whoever uses a connection is told of its end in another way.
    if not lost.cancelled():
        lost.exception()


def pool(clock: Callable[[], float] = monotonic, wall: Callable[[], float] = wall) -> Pool:
    """A pool that never hands out a connection on which the peer said something unasked.

    aiohttp takes whatever came while a connection was idle (a load balancer's 408, an answer too
    many) for the answer to the next request, and from then on every answer is the wrong one.

    Admission is ours, with one limit for each provider, so it has none.

    Args:
        clock: monotonic seconds.
        wall: Unix seconds.
    """
    made = _Pool(clock, wall, limit=0)
    in_use, factory = private(made, "_acquired"), private(made, "_factory")
    if isinstance(in_use, set) and factory is not None:
        making: Any = functools.partial(_Handler, asyncio.get_running_loop(), in_use)
        made._factory = making
        return made
    return _PublicPool(clock, wall, limit=0)


class _Pool(Pool):
    """Connections that notice by themselves what comes unasked.

    It costs one more Python call for each piece that arrives: with it a call took 1.21 times what
    bare aiohttp takes, without it 1.15 (``python -m tests.benchmarks.call_path --alone``, noisy).
    """

    async def _create_connection(
        self, req: aiohttp.ClientRequest, *args: Any, **options: Any
    ) -> ResponseHandler:
        handler = await super()._create_connection(req, *args, **options)
        if handler.should_close:
            handler.abort()
            raise UnaskedError
        self._pooled.add(handler, req.url.origin())
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
    """A connection that closes at the first byte that comes while it is not in use.

    At the end of what the peer says, asyncio and uvloop close it themselves.

    Args:
        loop: the event loop.
        in_use: the pool's connections that are handed out.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, in_use: set[ResponseHandler]) -> None:
        super().__init__(loop)
        self.in_use = in_use
        #: Whether it has carried an answer. One that is being made is not in use either: a proxy
        #: may have to answer first.
        self.used = False

    def data_received(self, data: bytes) -> None:
        if self in self.in_use:
            self.used = True
        elif self.used and data:
            # At once: over TLS, a polite close would wait for the peer.
            self.abort()
            return
        super().data_received(data)


class _PublicPool(Pool):
    """The same without private parts: what is idle has another protocol. 5 us more for a call."""

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
                refuse_unasked(connection)
                self._pooled.add(handler, req.url.origin())
                idle = _Idle(handler)
            elif connection.closed:
                # It ended while a trace of the session was awaited.
                connection.close()
                continue
            else:
                transport.set_protocol(handler)
            connection.add_callback(idle.begin)
            return connection


class _Idle(asyncio.Protocol):
    """The protocol of an idle connection: the first byte closes it.

    Args:
        handler: aiohttp's protocol, which has its place during a request.
    """

    def __init__(self, handler: ResponseHandler) -> None:
        self._handler = handler

    def begin(self) -> None:
        """Take the handler's place, now that the answer is complete."""
        transport = self._handler.transport
        if transport is not None and not self._handler.should_close:
            transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 - whatever it is
        self._handler.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._handler.connection_lost(exc)

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._handler.resume_writing()

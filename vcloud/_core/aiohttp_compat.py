"""Private parts of aiohttp that vcloud uses, each with a public way to fall back on.

aiohttp may rename what it keeps private in any release. No other module touches it, and the tests
run with each of these parts present and absent.

| what | why | without it |
|---|---|---|
| ``ClientSession._request`` | a twentieth of a call faster than ``request`` | ``request`` |
| ``ClientSession._retry_connection`` | aiohttp must not send twice | a middleware, per request |
| ``ClientWebSocketResponse._response`` | its connection, see below | ``close``, up to 2 s |
| ``ResponseHandler.transport`` | to abort a connection that hangs | as above |
| ``ResponseHandler.closed`` | when the last byte was sent, over TLS too | as above |
| ``ResponseHandler._data_received_cb`` | a part of a message is a sign of life | a whole one is |
| ``ClientSession._loop`` | a session of another loop is refused | its deprecated public name |
| ``BaseConnector._closed`` | a forked child must not close its parent's sockets | they are kept open |
| ``BaseConnector._acquired``, ``_factory`` | idle connections that notice what comes | ``connect`` |

The figure of the first row: ``python -m tests.benchmarks.call_path``, single object, 1.15 with it
and 1.20 without.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import socket
import warnings
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_middlewares import ClientHandlerType, ClientMiddlewareType
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from multidict import CIMultiDictProxy

from vcloud._core.cleanup import abort
from vcloud._core.endpoint import is_localhost
from vcloud._core.fault_words import DroppedError, UnaskedError, fault_words
from vcloud._core.patience import about_to_write
from vcloud.errors import ConfigurationError

#: What aiohttp raises when the request did not reach the service.
NEVER_SENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    aiohttp.ClientHttpProxyError,
    UnaskedError,
)


class Pool(aiohttp.TCPConnector):
    """A pool that can end the connections that it has closed already, and resolves ``localhost``.

    Closing one over TLS takes until the peer agrees. aiohttp closes a connection in the background
    after an answer that was the last one on it, and then knows it no more. Where the event loop
    ends before the peer agrees, asyncio reports an unclosed transport.
    """

    def __init__(self, **options: Any) -> None:
        # Kept here too, because a connector does not close a resolver that it was given.
        self._names = _Names()
        super().__init__(resolver=self._names, **options)
        #: What carries each connection over TLS, until it is lost.
        self._carriers: dict[asyncio.Future[None], asyncio.Transport] = {}

    async def _create_connection(self, *args: Any, **options: Any) -> ResponseHandler:
        handler = await super()._create_connection(*args, **options)
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

    async def finish(self) -> None:
        """End at once what is still closing. Nothing may be under way."""
        await self._names.close()
        left = dict(self._carriers)
        for transport in left.values():
            transport.abort()
        if left:
            await asyncio.wait(left)


def _forget(
    carriers: dict[asyncio.Future[None], asyncio.Transport], lost: asyncio.Future[None]
) -> None:
    carriers.pop(lost, None)
    # Whoever uses a connection is told of its end in another way.
    if not lost.cancelled():
        lost.exception()


class _Names(AbstractResolver):
    """Resolves ``localhost`` and the names below it to loopback, and the others as aiohttp does.

    Plain http is permitted to those names, so nobody may say that they are another machine: neither
    DNS nor a file (RFC 6761, 6.3).
    """

    def __init__(self) -> None:
        self._others = aiohttp.DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if not is_localhost(host):
            return await self._others.resolve(host, port, family)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=kind,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, address in _LOOPBACK
            if family in (kind, socket.AF_UNSPEC)
        ]

    async def close(self) -> None:
        await self._others.close()


#: The one that most servers listen on first. aiohttp tries the other when it is refused, or after
#: 250 ms (RFC 8305).
_LOOPBACK: Final = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


def pool() -> Pool:
    """A pool that never hands out a connection on which the peer said something unasked.

    aiohttp takes whatever came while a connection was idle (a load balancer's 408, an answer too
    many) for the answer to the next request, and from then on every answer is the wrong one.

    Admission is ours, with one limit for each provider, so it has none.
    """
    made = _Pool(limit=0)
    in_use, factory = _private(made, "_acquired"), _private(made, "_factory")
    if isinstance(in_use, set) and factory is not None:
        making: Any = functools.partial(_Handler, asyncio.get_running_loop(), in_use)
        made._factory = making
        return made
    return _PublicPool(limit=0)


class _Pool(Pool):
    """Connections that notice by themselves what comes unasked.

    It costs one more Python call for each piece that arrives: with it a call took 1.21 times what
    bare aiohttp takes, without it 1.15 (``python -m tests.benchmarks.call_path --alone``, noisy).
    """

    async def _create_connection(self, *args: Any, **options: Any) -> ResponseHandler:
        handler = await super()._create_connection(*args, **options)
        if handler.should_close:
            handler.abort()
            raise UnaskedError
        return handler


class _Handler(ResponseHandler):
    """A connection that closes at the first byte that comes while it is not in use.

    At the end of what the peer says, asyncio and uvloop close it themselves.

    Args:
        loop: the event loop.
        in_use: the pool's connections that are handed out.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, in_use: set[ResponseHandler]) -> None:
        super().__init__(loop)
        self._in_use = in_use
        # One that is being made is not in use either: a proxy may have to answer first.
        self._used = False

    def data_received(self, data: bytes) -> None:
        if self in self._in_use:
            self._used = True
        elif self._used and data:
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


def refuse_unasked(connection: Connection) -> None:
    """Close a connection on which a whole answer, or more, came unasked.

    Raises:
        UnaskedError: it was closed.
    """
    if connection.protocol is not None and connection.protocol.should_close:
        connection.close()
        raise UnaskedError


async def send_once(
    request: aiohttp.ClientRequest, handler: ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending one request twice, by an exception that it does not know.

    aiohttp sends an idempotent request again by itself when the connection from its pool is dead,
    with the same headers and so with the same nonce. Whether to repeat is for our retry policy.

    The pool of a user's session is the user's: here a connection on which an answer came unasked
    is refused when the request is about to be sent. A part of an answer is not seen.

    Raises:
        DroppedError: the connection broke.
        UnaskedError: the connection was refused, and nothing was sent.
    """
    send = request.send

    async def send_on(connection: Connection) -> aiohttp.ClientResponse:
        refuse_unasked(connection)
        about_to_write()
        return await send(connection)

    # For this request alone.
    request.send = send_on  # type: ignore[method-assign, assignment]
    try:
        return await handler(request)
    except NEVER_SENT:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise DroppedError(fault_words(error)) from None


def middlewares_against_resending(
    session: aiohttp.ClientSession, *, own: bool
) -> Sequence[ClientMiddlewareType]:
    """Keep a session from sending twice by itself.

    Args:
        session: the session.
        own: vcloud made it and may change it. The switch that aiohttp's own test client uses then
            costs nothing; a user's session is left as it is.

    Returns:
        The middlewares that each request of this session needs for it.
    """
    if not own or _private(session, "_retry_connection") is None:
        return (send_once,)
    session._retry_connection = False
    return ()


def sender(session: aiohttp.ClientSession, *, own: bool) -> Callable[..., Awaitable[Any]]:
    """The method that sends a request: the private one, unless somebody replaced the public one.

    Mocks replace either ``ClientSession.request`` or, as aioresponses does, what it calls. A
    user's session may have a ``request`` of its own.

    Args:
        session: the session.
        own: vcloud made it.
    """
    if own and aiohttp.ClientSession.request is _REQUEST:
        return session._request
    return functools.partial(_by_public_request, session)


async def _by_public_request(
    session: aiohttp.ClientSession, *args: Any, **options: Any
) -> aiohttp.ClientResponse:
    """Send by ``session.request``, which may be a coroutine function or a double.

    Raises:
        ConfigurationError: it returned no response of aiohttp's.
    """
    answer: object = session.request(*args, **options)
    if inspect.isawaitable(answer):
        answer = await answer
    elif enter := getattr(type(answer), "__aenter__", None):
        answer = await enter(answer)
    if not isinstance(answer, aiohttp.ClientResponse):
        raise ConfigurationError(
            "the request method of the aiohttp session was replaced by one that returns "
            f"a {type(answer).__name__}: let it return an aiohttp.ClientResponse, as aioresponses "
            "does, or test against vcloud.emulator"
        )
    return answer


class WebSocketConnection:
    """What carries a WebSocket, as far as this aiohttp lets it be seen.

    Args:
        opened: the WebSocket, which was just opened.
    """

    def __init__(self, opened: aiohttp.ClientWebSocketResponse) -> None:
        # Kept, because aiohttp forgets its connection when it closes it.
        self._response: aiohttp.ClientResponse | None = _private(opened, "_response")
        connection = getattr(self._response, "connection", None)
        self._protocol: Any = getattr(connection, "protocol", None)
        #: None where it is unknown.
        self.transport: asyncio.Transport | None = getattr(self._protocol, "transport", None)
        #: Done when the connection is no more, and nothing of it is left to be sent; None where
        #: that is unknown.
        self.lost: asyncio.Future[None] | None = _private(self._protocol, "closed")
        if self.lost is not None:
            self.lost.add_done_callback(_looked_at)

    def unsent(self) -> int:
        """Bytes that wait to be sent in this process; 0 where that is unknown.

        asyncio's TLS does not count the last ones that it has encrypted (up to 64 KiB and a bit),
        and forgets what it knows when a connection is closed that the peer has closed before.
        """
        try:
            return 0 if self.transport is None else self.transport.get_write_buffer_size()
        except AttributeError:
            return 0

    def is_closing(self) -> bool | None:
        """Whether nothing can be sent any more; None where that is unknown."""
        return None if self.transport is None else self.transport.is_closing()

    def abort(self) -> None:
        """Drop the connection with all that was not sent, at once."""
        if self.transport is not None:
            abort(self.transport)
        if self._response is not None:
            # Otherwise its connector counts it until this is collected.
            self._response.close()

    def on_data(self, callback: Callable[[], None] | None) -> bool:
        """Call this whenever bytes arrive, or no more with None; return whether that works."""
        works = hasattr(self._protocol, "_data_received_cb")
        if works:
            self._protocol._data_received_cb = callback
        return works


def _looked_at(lost: asyncio.Future[None]) -> None:
    # A connection that breaks is told of by what reads from it.
    if not lost.cancelled():
        lost.exception()


class QuietResponse(aiohttp.ClientResponse):
    """An answer whose repr shows neither address nor headers.

    aiohttp and asyncio print it: as what was never closed, and in asyncio's debug mode as the
    argument of a slow callback. An address may have a token in it, and so may a header.
    """

    def __repr__(self) -> str:
        return f"<ClientResponse({self.url.host}) [{self.status}]>"


class UpgradeResponse(QuietResponse):
    """The answer to an upgrade, with a ``Connection`` header that aiohttp understands.

    It is a list that holds "upgrade" (RFC 6455, 4.1). aiohttp wants it to hold nothing else.
    """

    @property
    def headers(  # pyright: ignore[reportIncompatibleVariableOverride]
        self,
    ) -> CIMultiDictProxy[str]:
        """As they came, but for ``Connection: keep-alive, Upgrade``."""
        headers = super().headers
        values = headers.getall("Connection", ())
        tokens = {token.strip().lower() for value in values for token in value.split(",")}
        if self.status != 101 or "upgrade" not in tokens:
            return headers
        understood = headers.copy()
        understood["Connection"] = "upgrade"
        return CIMultiDictProxy(understood)


def loop_of(session: aiohttp.ClientSession) -> asyncio.AbstractEventLoop | None:
    """The event loop that a session was made in; None if unknown."""
    loop: asyncio.AbstractEventLoop | None = _private(session, "_loop")
    if loop is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            loop = getattr(session, "loop", None)
    return loop


def leave_to_parent(session: aiohttp.ClientSession) -> None:
    """Let go of a session in a forked child without touching the parent's connections.

    Closing would take the parent's sockets out of the epoll that both processes share, and end its
    TLS connections.
    """
    if session.connector is not None:
        if _private(session.connector, "_closed") is not None:
            session.connector._closed = True
        else:
            # Neither closed nor collected, because collecting closes it.
            _KEPT.append(session.connector)
        session.detach()


#: Connectors of a parent process, where aiohttp offers no way to forget them.
_KEPT: Final[list[aiohttp.BaseConnector]] = []


def _private(owner: object, name: str) -> Any:
    """A private attribute, or None where this aiohttp has none."""
    return getattr(owner, name, None)


def _unreplaced_request() -> object:
    """``ClientSession.request``, if it is aiohttp's own and the private method exists; else None."""
    method = aiohttp.ClientSession.request
    code = getattr(method, "__code__", None)
    genuine = code is not None and code.co_filename == aiohttp.client.__file__
    return method if genuine and hasattr(aiohttp.ClientSession, "_request") else None


_REQUEST: Final = _unreplaced_request()

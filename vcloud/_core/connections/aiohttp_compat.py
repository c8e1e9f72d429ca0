"""Private parts of aiohttp that vcloud uses, each with a public way to fall back on.

aiohttp may rename what it keeps private in any release. Only this module and
:mod:`vcloud._core.connections.pool` touch it, and the tests run with each of these parts present and absent.

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
| ``BaseConnector._available_connections`` | whether a user's pool is full | aiohttp's own timer |

The figure of the first row: ``python -m tests.benchmarks.call_path``, single object, 1.15 with it
and 1.20 without.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import warnings
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import aiohttp
from aiohttp.client_middlewares import ClientHandlerType, ClientMiddlewareType
from aiohttp.connector import Connection
from multidict import CIMultiDictProxy

from vcloud._core.cleanup import CALLER
from vcloud._core.connections.kept_connections import is_stale
from vcloud._core.connections.unsent import mark_unsent
from vcloud._core.failures import (
    DroppedError,
    GivenUpError,
    StaleError,
    UnaskedError,
    UnconnectedError,
    awaited_words,
    fault_words,
)
from vcloud._core.outcome import ATTEMPT_COUNT
from vcloud._core.request import IDEMPOTENT
from vcloud._core.tasks import abort
from vcloud._core.timing.attempt_timeout import AttemptTimeouts, about_to_write
from vcloud.errors import ConfigurationError, VCloudError

#: In the signatures of clients, which import nothing of aiohttp.
ClientSession = aiohttp.ClientSession

#: What aiohttp raises when the request did not reach the service.
NEVER_SENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    aiohttp.ClientHttpProxyError,
    UnaskedError,
    StaleError,
    UnconnectedError,
    GivenUpError,
)


def _refuse_given_up(connection: Connection) -> None:
    """Send nothing for a call that was cancelled while a user's session connected.

    Raises:
        GivenUpError: it was; the connection is the pool's again.
    """
    if (caller := CALLER.get()) is not None and caller.urgent:
        connection.release()
        raise GivenUpError


def refuse_overdue() -> None:
    """Send nothing for an item of a bulk run whose time is up, if nothing of it was sent before.

    If the loop stood still until then, it first reads what has arrived. A connection that comes
    about meanwhile would carry a request for whose answer nobody waits.

    Raises:
        GivenUpError: the run must begin nothing more.
    """
    count = ATTEMPT_COUNT.get()
    if count is None or count.guard is None or count.attempts - count.harmless > 1:
        return
    try:
        count.guard()
    except VCloudError:
        raise GivenUpError from None


def refuse_unasked(connection: Connection) -> None:
    """Close a connection on which a whole answer, or more, came unasked.

    Raises:
        UnaskedError: it was closed.
    """
    if connection.protocol is not None and connection.protocol.should_close:
        connection.close()
        raise UnaskedError


def refuse_stale(request: aiohttp.ClientRequest, connection: Connection) -> None:
    """Close a connection that the peer has left, if the request must not be repeated.

    Raises:
        StaleError: it was closed.
    """
    transport = connection.transport
    if request.method in IDEMPOTENT or transport is None:
        return
    if is_stale(transport, answered=False):
        connection.close()
        raise StaleError


def nothing_written(error: BaseException) -> bool:
    """Whether aiohttp found a connection closed before it wrote anything of a request into it.

    Before Python 3.12 it writes a request with a body in the next turn of the event loop, in which
    the peer's end may be read first. Head and body are one write, which is done or not done at all.
    aiohttp says so in these words alone; in others the outcome stays unknown.
    """
    found = error.__cause__ or error
    return isinstance(found, aiohttp.ClientConnectionResetError) and found.args == _NOT_WRITTEN


_NOT_WRITTEN: Final = ("Cannot write to closing transport",)


async def send_once(
    request: aiohttp.ClientRequest,
    handler: ClientHandlerType,
    *,
    patience: AttemptTimeouts | None = None,
) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending one request twice, by an exception that it does not know.

    aiohttp sends an idempotent request again by itself when the connection from its pool is dead,
    with the same headers and so with the same nonce. Whether to repeat is for our retry policy.

    The pool of a user's session is the user's: here a connection on which an answer came unasked,
    or which the peer has left, is refused when the request is about to be sent. Only this one is
    closed. A part of an answer that was read is not seen.

    Args:
        request: what to send.
        handler: what sends it.
        patience: for all that comes before it can be written; None: what aiohttp has.

    Raises:
        DroppedError: the connection broke.
        UnaskedError, StaleError: the connection was refused, and nothing was sent.
        GivenUpError: the call was cancelled meanwhile, and nothing was sent.
        UnconnectedError: there was none in time, and nothing was sent.
    """
    send = request.send
    turn = None if patience is None else patience.begin()
    written = False

    async def send_on(connection: Connection) -> aiohttp.ClientResponse:
        nonlocal written, turn
        _refuse_given_up(connection)
        refuse_overdue()
        refuse_unasked(connection)
        refuse_stale(request, connection)
        if patience is not None and turn is not None:
            patience.end(turn)
            turn = None
        written = True
        about_to_write()
        return await send(connection)

    # For this request alone.
    request.send = send_on  # type: ignore[method-assign, assignment]
    try:
        return await handler(request)
    except NEVER_SENT:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        if nothing_written(error):
            raise StaleError from None
        raise DroppedError(fault_words(error)) from None
    except asyncio.CancelledError as stopped:
        if turn is not None and turn.only_late():
            raise UnconnectedError(awaited_words(request)) from None
        if not written:
            mark_unsent(stopped, awaited_words(request))
        raise
    finally:
        if patience is not None and turn is not None:
            patience.end(turn)


def bounded_connecting(
    session: aiohttp.ClientSession, patience: AttemptTimeouts | None
) -> Sequence[ClientMiddlewareType]:
    """:func:`send_once`, with a bound for connecting, for a request of a user's session.

    Where the user's pool is full, the request waits for one of its connections first, which is no
    connecting: then the bound is aiohttp's own alone, of each connection that it makes.

    Args:
        session: the user's.
        patience: for all that comes before a request can be written; None: what aiohttp has.
    """

    async def once(
        request: aiohttp.ClientRequest, handler: ClientHandlerType
    ) -> aiohttp.ClientResponse:
        free = private(session.connector, "_available_connections")
        known = free is not None and free(request.connection_key) > 0
        return await send_once(request, handler, patience=patience if known else None)

    return (once,)


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
    if not own or private(session, "_retry_connection") is None:
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
        self._response: aiohttp.ClientResponse | None = private(opened, "_response")
        connection = getattr(self._response, "connection", None)
        self._protocol: Any = getattr(connection, "protocol", None)
        #: None where it is unknown.
        self.transport: asyncio.Transport | None = getattr(self._protocol, "transport", None)
        #: Done when the connection is no more, and nothing of it is left to be sent; None where
        #: that is unknown.
        self.lost: asyncio.Future[None] | None = private(self._protocol, "closed")
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
    loop: asyncio.AbstractEventLoop | None = private(session, "_loop")
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
        if private(session.connector, "_closed") is not None:
            session.connector._closed = True
        else:
            # Neither closed nor collected, because collecting closes it.
            _KEPT.append(session.connector)
        session.detach()


#: Connectors of a parent process, where aiohttp offers no way to forget them.
_KEPT: Final[list[aiohttp.BaseConnector]] = []


def private(owner: object, name: str) -> Any:
    """A private attribute, or None where this aiohttp has none."""
    return getattr(owner, name, None)


def _unreplaced_request() -> object:
    """``ClientSession.request``, if it is aiohttp's own and the private method exists; else None."""
    method = aiohttp.ClientSession.request
    code = getattr(method, "__code__", None)
    genuine = code is not None and code.co_filename == aiohttp.client.__file__
    return method if genuine and hasattr(aiohttp.ClientSession, "_request") else None


_REQUEST: Final = _unreplaced_request()

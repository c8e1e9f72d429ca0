"""Private parts of aiohttp that vcloud uses, each with a public fallback.

aiohttp may rename private parts in any release. Only this module uses them, and
:mod:`vcloud._core.connections.pool` overrides one method. The tests run with each of these parts
present and absent.

| what | why | without it |
|---|---|---|
| ``ClientSession._request`` | a twentieth of a call faster than ``request`` | ``request`` |
| ``ClientSession._retry_connection`` | aiohttp must not send twice | a middleware, per request |
| ``ClientWebSocketResponse._response`` | its connection, see below | ``close``, up to 2 s |
| ``ResponseHandler.transport`` | to abort a connection that hangs | as above |
| ``ResponseHandler.closed`` | when the last byte was sent, over TLS too | as above |
| ``ResponseHandler._data_received_cb`` | a part of a message is a sign of life | a whole one is |
| ``ClientSession._loop`` | a session of another loop is refused | its old public name |
| ``BaseConnector._closed`` | a forked child must not close its parent's sockets | they stay open |
| ``BaseConnector._acquired``, ``_factory`` | idle ones notice unsolicited data | ``connect`` |
| ``BaseConnector._available_connections`` | whether a user's pool is full | aiohttp's own timer |

The figure of the first row: ``python -m tests.benchmarks.call_path``, single object, 1.15 with it
and 1.20 without.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

from vcloud._core.tasks import abort
from vcloud.errors import ConfigurationError

#: For the signatures of clients, whose modules do not import aiohttp.
ClientSession = aiohttp.ClientSession


def sender(session: aiohttp.ClientSession, *, own: bool) -> Callable[..., Awaitable[Any]]:
    """The method that sends a request: the private one, unless the public one was replaced.

    Mocks replace either ``ClientSession.request`` or, as aioresponses does, the private method
    that it calls. A user's session may have its own ``request``.

    Args:
        session: the session.
        own: vcloud made it.
    """
    if own and aiohttp.ClientSession.request is _REQUEST:
        return session._request  # noqa: SLF001 - see the table
    return functools.partial(_by_public_request, session)


async def _by_public_request(
    session: aiohttp.ClientSession, *args: Any, **options: Any
) -> aiohttp.ClientResponse:
    """Send by ``session.request``, which may be a coroutine function or a test double.

    Raises:
        ConfigurationError: it returned something other than an aiohttp response.
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


def outdated_mock(error: TypeError) -> ConfigurationError | None:
    """What to do about a mock that cannot make this aiohttp's answers; None for other errors.

    aioresponses up to 0.7.9, the newest, omits an argument that aiohttp requires since 3.14
    (pnuckowski/aioresponses#289).
    """
    if "stream_writer" not in str(error):
        return None
    return ConfigurationError(
        f"the mock cannot make answers of aiohttp {aiohttp.__version__}: for aioresponses, write "
        "`from vcloud.testing.aioresponses import aioresponses`, or test against vcloud.emulator"
    )


class WebSocketConnection:
    """The connection below a WebSocket, as far as this aiohttp shows it.

    Args:
        opened: the WebSocket, which was just opened.
    """

    def __init__(self, opened: aiohttp.ClientWebSocketResponse) -> None:
        # Kept here, because aiohttp drops its reference when it closes the connection.
        self._response: aiohttp.ClientResponse | None = private(opened, "_response")
        connection = getattr(self._response, "connection", None)
        self._protocol: Any = getattr(connection, "protocol", None)
        #: None where it is unknown.
        self.transport: asyncio.Transport | None = getattr(self._protocol, "transport", None)
        #: Done when the connection is lost, and no data is left to be sent; None where that is
        #: unknown.
        self.lost: asyncio.Future[None] | None = private(self._protocol, "closed")
        if self.lost is not None:
            self.lost.add_done_callback(_retrieve_exception)

    def unsent(self) -> int:
        """Bytes that this process has not sent yet; 0 where that is unknown.

        asyncio's TLS does not count the last ones that it has encrypted (a little over 64 KiB at
        most), and forgets the number when it closes a connection that the peer has closed before.
        """
        try:
            return 0 if self.transport is None else self.transport.get_write_buffer_size()
        except AttributeError:
            return 0

    def is_closing(self) -> bool | None:
        """Whether nothing can be sent any more; None where that is unknown."""
        return None if self.transport is None else self.transport.is_closing()

    def abort(self) -> None:
        """Drop the connection at once, with the data that was not sent."""
        if self.transport is not None:
            abort(self.transport)
        if self._response is not None:
            # Otherwise the connector counts the connection until this is garbage-collected.
            self._response.close()

    def on_data(self, callback: Callable[[], None] | None) -> bool:
        """Call this whenever bytes arrive; None: stop calling. Return whether that works."""
        works = hasattr(self._protocol, "_data_received_cb")
        if works:
            self._protocol._data_received_cb = callback  # noqa: SLF001 - see the table
        return works


def _retrieve_exception(lost: asyncio.Future[None]) -> None:
    # Whatever reads from the connection reports it, so asyncio must not.
    if not lost.cancelled():
        lost.exception()


def loop_of(session: aiohttp.ClientSession) -> asyncio.AbstractEventLoop | None:
    """The event loop that a session was made in; None if unknown."""
    loop: asyncio.AbstractEventLoop | None = private(session, "_loop")
    if loop is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            loop = getattr(session, "loop", None)
    return loop


def leave_to_parent(session: aiohttp.ClientSession) -> None:
    """Give up a session in a forked child, without touching the parent's connections.

    Closing it would remove the parent's sockets from the epoll that both processes share, and end
    the parent's TLS connections.
    """
    if session.connector is not None:
        if private(session.connector, "_closed") is not None:
            session.connector._closed = True  # noqa: SLF001 - see the table
        else:
            # Kept forever, because garbage collection would close it.
            _KEPT.append(session.connector)
        session.detach()


#: Connectors of a parent process, where aiohttp has no way to mark them as closed.
_KEPT: Final[list[aiohttp.BaseConnector]] = []


def switch_off_resending(session: aiohttp.ClientSession) -> bool:
    """Keep a session from automatically sending a request again; return whether that works.

    aiohttp's own test client uses the same switch.
    """
    if private(session, "_retry_connection") is None:
        return False
    session._retry_connection = False  # noqa: SLF001 - see the table
    return True


def has_free_connection(session: aiohttp.ClientSession, request: aiohttp.ClientRequest) -> bool:
    """Whether a pool is known to have a connection for a request, or room for a new one."""
    available = private(session.connector, "_available_connections")
    return available is not None and available(request.connection_key) > 0


def connections_in_use(connector: aiohttp.BaseConnector) -> set[ResponseHandler] | None:
    """The connections that carry a request now, kept up to date; None where that is unknown."""
    in_use = private(connector, "_acquired")
    return in_use if isinstance(in_use, set) else None


def make_connections_by(
    connector: aiohttp.BaseConnector, make: Callable[[], ResponseHandler]
) -> bool:
    """Make a connector create its connections' protocols by this; return whether that works."""
    if private(connector, "_factory") is None:
        return False
    connector._factory = make  # type: ignore[assignment]  # noqa: SLF001 - see the table
    return True


def private(owner: object, name: str) -> Any:
    """A private attribute; None where this aiohttp has no such attribute."""
    return getattr(owner, name, None)


def _unreplaced_request() -> object:
    """``ClientSession.request`` if it is aiohttp's own and the private method exists; else None."""
    method = aiohttp.ClientSession.request
    code = getattr(method, "__code__", None)
    genuine = code is not None and code.co_filename == aiohttp.client.__file__
    return method if genuine and hasattr(aiohttp.ClientSession, "_request") else None


_REQUEST: Final = _unreplaced_request()

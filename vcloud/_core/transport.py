"""The only module that talks aiohttp: bytes in, bytes out, and aiohttp's exceptions translated at this one boundary."""

from __future__ import annotations

import asyncio
import contextlib
import os
import urllib.request
import warnings
from collections.abc import Coroutine, Mapping, Sequence
from ssl import SSLContext
from typing import Any, Final
from weakref import WeakSet

import aiohttp
import msgspec
from aiohttp.client_middlewares import ClientHandlerType, ClientMiddlewareType
from yarl import URL

from vcloud import __version__
from vcloud._core.endpoint import check_proxy, is_loopback
from vcloud._core.patience import Patience
from vcloud._core.request import Response
from vcloud.errors import (
    ConfigurationError,
    ConnectError,
    DecodeError,
    RequestTimeout,
    TransportError,
    VCloudError,
)

_NEVER_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    aiohttp.ClientHttpProxyError,
)


class _DroppedError(Exception):
    """A kept-alive connection turned out to be dead."""


_DROPPED = (_DroppedError, aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)


async def _once(
    request: aiohttp.ClientRequest, handler: ClientHandlerType
) -> aiohttp.ClientResponse:
    # aiohttp would send an idempotent request again by itself, with the same nonce, when the connection it took from
    # the pool is dead. An exception that it does not know leaves that decision to our retry policy.
    try:
        return await handler(request)
    except _NEVER_SENT:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _DroppedError(str(error) or type(error).__name__) from error


_MIDDLEWARES = (_once,)


def _never_again(session: aiohttp.ClientSession) -> Sequence[ClientMiddlewareType]:
    """Keep a session of ours from sending twice by itself, and say what its requests need for that.

    The switch that aiohttp's own test client uses costs nothing; the middleware does the same wherever it is missing, and for
    a session that is not ours to change.
    """
    if not hasattr(session, "_retry_connection"):
        return _MIDDLEWARES
    session._retry_connection = False
    return ()


#: A WebSocket's upgrade that is refused says why in a few lines.
MAX_REFUSAL: Final = 64 * 1024
#: Seconds of silence after which a peer is asked whether it is still there.
HEARTBEAT: Final = 30.0
#: Seconds that saying goodbye may take, to a peer that does not listen.
GOODBYE: Final = 2.0
#: Close codes of RFC 6455: done, no reason given, and lost without a goodbye.
NORMAL, NO_STATUS, ABNORMAL = 1000, 1005, 1006


class RefusedError(Exception):
    """The service answered a WebSocket's upgrade with something else. What that means, the provider's dialect says."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"the upgrade was answered with {response.status}")
        self.response = response


async def _upgrade(
    request: aiohttp.ClientRequest, handler: ClientHandlerType
) -> aiohttp.ClientResponse:
    # aiohttp throws the body of a refusal away, and with it the service's reason; and it would follow a redirect.
    answer = await _once(request, handler)
    if answer.status != 101:
        raise RefusedError(
            Response(answer.status, answer.headers, await _body(answer, MAX_REFUSAL))
        )
    return answer


class Wire(msgspec.Struct, frozen=True):
    """How one provider is reached: the parts that only the transport understands."""

    timeout: aiohttp.ClientTimeout
    #: Of each attempt.
    patience: Patience
    extra: Mapping[str, Any]
    #: Bytes of an answer's body, decompressed.
    max_response: int
    #: Bytes of a WebSocket's message.
    max_message: int

    @classmethod
    def of(
        cls,
        *,
        base_url: str,
        timeout: float,
        connect_timeout: float,
        ssl: SSLContext | bool,
        proxy: str | None,
        max_response: int,
        max_message: int,
    ) -> Wire:
        """Resolve what can be resolved once: asking the environment for proxies on every request triples its cost."""
        extra: dict[str, Any] = {}
        if ssl is not True:
            extra["ssl"] = ssl
        found = _proxy_from_environment(base_url) if proxy == "environment" else proxy
        if found:
            extra["proxy"] = found
        # The whole attempt's clock is ours.
        clock = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout)
        return cls(clock, Patience(timeout), extra, max_response, max_message)

    def __repr__(self) -> str:
        # A proxy's address may hold a password.
        return f"Wire(timeout={self.patience.seconds:g})"

    def within(self, seconds: float) -> Wire:
        """The same, with less time for the attempt."""
        return Wire(
            self.timeout, Patience(seconds), self.extra, self.max_response, self.max_message
        )


def _proxy_from_environment(base_url: str) -> str | None:
    url = URL(base_url)
    # This machine is not reached by way of another, which could read what goes there over plain http.
    if url.host is None or is_loopback(url.host) or urllib.request.proxy_bypass(url.host):
        return None
    found = urllib.request.getproxies().get(url.scheme)
    if found:
        check_proxy(found, f"the environment's {url.scheme.upper()}_PROXY")
    return found


class Transport:
    """One aiohttp session, made in the loop that first needs it and shared by all adapters.

    Args:
        client_session: a session of the user's own. It is used as it is, and never closed here.
    """

    def __init__(self, client_session: aiohttp.ClientSession | None = None) -> None:
        if client_session is not None and not isinstance(client_session, aiohttp.ClientSession):
            raise ConfigurationError(
                f"client_session must be an aiohttp.ClientSession, not {type(client_session).__name__}"
            )
        self._given = client_session
        self._session: aiohttp.ClientSession | None = None
        self._upgrading: aiohttp.ClientSession | None = None
        self._middlewares: Sequence[ClientMiddlewareType] = _MIDDLEWARES
        self._loop: asyncio.AbstractEventLoop | None = None
        self._state = "not open"

    def __del__(self) -> None:
        session = getattr(self, "_session", None)
        if session is not None and session is not self._given and not session.closed:
            warnings.warn(
                "a vcloud client was never closed: use `async with`, or await its aclose()",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    def open(self) -> None:
        """Allow requests. The socket work begins with the first one."""
        if self._state in ("closed", "forked"):
            raise ConfigurationError(
                "this client is closed and cannot be opened again: make a new one"
            )
        self._state = "open"

    async def aclose(self) -> None:
        """Close the connections. A second call does nothing."""
        self._state = "closed"
        session, self._session = self._session, None
        upgrading, self._upgrading = self._upgrading, None
        try:
            if upgrading is not None:
                await upgrading.close()
        finally:
            if session is not None and session is not self._given:
                await session.close()

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, wire: Wire
    ) -> Response:
        """Send once and read the whole answer.

        Raises:
            ConfigurationError: it was closed meanwhile.
            ConnectError: the request never reached the service.
            RequestTimeout: no complete answer in time.
            TransportError: the connection broke before the answer was complete.
            DecodeError: a success with more than ``wire.max_response`` bytes.
        """
        session = self._session or self._begin()
        turn = wire.patience.begin()
        try:
            # What request() itself calls, and all mocks replace. Its wrapping costs a twentieth of the call; but a session of the
            # user's own may have a request() of its own.
            send = session._request if self._given is None else session.request
            answer = await send(
                method,
                URL(
                    url, encoded=True
                ),  # what was signed is what is sent: nothing may be quoted again
                data=body,
                headers=headers,
                timeout=wire.timeout,
                allow_redirects=False,  # a signature is for one path, and a credential for one host
                raise_for_status=False,  # a session of the user's own may say otherwise
                middlewares=self._middlewares,
                **wire.extra,
            )
            content = answer.content
            if content.is_eof() and content.total_bytes <= wire.max_response:
                # All of it came with the head, as a rule, and then aiohttp has let go of the connection already.
                return Response(answer.status, answer.headers, content.read_nowait())
            # Reading to the end releases the connection, and a read that fails or is cancelled closes it.
            return Response(answer.status, answer.headers, await _body(answer, wire.max_response))
        except (aiohttp.ClientError, _DroppedError, OSError, ValueError, RuntimeError) as error:
            failure = _translated(error, wire, closed=session.closed)
        except asyncio.CancelledError:
            if not turn.only_late():
                raise
            failure = _translated(TimeoutError(), wire, closed=False)
        finally:
            wire.patience.end(turn)
        # Outside of the handler, because aiohttp's own exceptions may carry the request with its credentials.
        raise failure

    async def websocket(
        self,
        url: str,
        headers: Mapping[str, str],
        wire: Wire,
        *,
        heartbeat: float = HEARTBEAT,
        protocols: Sequence[str] = (),
    ) -> Socket:
        """Open a WebSocket. The query of ``url`` may hold a token: it enters no text.

        Args:
            url: where, with ``http`` or ``https``.
            headers: those of the upgrade.
            wire: how the provider is reached; its timeout is for the upgrade alone. A message larger than its
                ``max_message`` closes the connection.
            heartbeat: seconds of silence, while somebody waits for a message, after which the peer is pinged; after as
                long again it is taken for dead.
            protocols: subprotocols to offer.

        Raises:
            RefusedError: the service answered something else than an upgrade.
            ConfigurationError: it was closed meanwhile.
            ConnectError: the request never reached the service.
            RequestTimeout: no answer in time.
            TransportError: the connection broke, or what came back is no WebSocket.
        """
        session = self._session or self._begin()
        if self._upgrading is None:
            # A session that shares the connections, because ws_connect takes no middlewares of its own.
            self._upgrading = aiohttp.ClientSession(
                connector=session.connector,
                connector_owner=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=session.headers,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=wire.timeout.sock_connect),
                middlewares=(_upgrade,),
            )
            # Instrumentations of aiohttp add theirs to every session, and record URLs with tokens.
            self._upgrading.trace_configs.clear()
        try:
            async with asyncio.timeout(wire.patience.seconds):
                opened = await self._upgrading.ws_connect(
                    URL(url, encoded=True),
                    headers=headers,
                    max_msg_size=wire.max_message
                    + 1,  # aiohttp's is the first size that is refused
                    protocols=protocols,
                    autoping=False,
                    timeout=aiohttp.ClientWSTimeout(ws_close=GOODBYE),  # pyright: ignore[reportCallIssue] - it cannot see through aiohttp's attr.s
                    **wire.extra,
                )
            return Socket(opened, heartbeat)
        except RefusedError:
            raise
        except (aiohttp.ClientError, _DroppedError, OSError, ValueError, RuntimeError) as error:
            failure = _translated(error, wire, closed=session.closed or self._upgrading is None)
        # Outside of the handlers: aiohttp's exceptions know the URL with its token, and a chained one is printed.
        raise failure

    def check(self) -> None:
        """Refuse, before anything is sent or waited for, what cannot work.

        Raises:
            ConfigurationError: not open, closed, or in another event loop than the one it was first used in.
        """
        if self._session is None or self._loop is not asyncio.get_running_loop():
            self._begin()

    def _begin(self) -> aiohttp.ClientSession:
        if self._state != "open":
            raise ConfigurationError(_UNUSABLE[self._state])
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop:
            raise ConfigurationError(
                "this client belongs to another event loop: make one client per loop"
            )
        if self._given is not None and _loop_of(self._given) not in (None, loop):
            raise ConfigurationError(
                "the client_session was made in another event loop: "
                "make it in the loop that uses this client"
            )
        self._loop = loop
        self._session = self._given or aiohttp.ClientSession(
            # Admission is ours, with one limit per provider, so the connector has none.
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"vcloud-sdk/{__version__} {aiohttp.http.SERVER_SOFTWARE}"},
        )
        if self._given is None:
            self._middlewares = _never_again(self._session)
        _IN_USE.add(self)
        return self._session

    def _forked(self) -> None:
        """Never touch, in a forked process, the connections that belong to the other one."""
        self._state = "forked"
        session, self._session, self._upgrading = self._session, None, None
        if session is not None and session is not self._given and session.connector is not None:
            # Closing would take the other process's sockets out of the epoll that both have, and say goodbye over its TLS.
            session.connector._closed = True
            session.detach()


def _loop_of(session: aiohttp.ClientSession) -> asyncio.AbstractEventLoop | None:
    """The event loop of a session, if aiohttp says. Its public ``loop`` is deprecated."""
    return getattr(session, "_loop", None)


_UNUSABLE: Final = {
    "not open": "this client is not open: use `async with`, or call `await client.aopen()` first",
    "closed": "this client is closed: make a new one",
    "forked": "this client was opened before the process forked, and its connections are the other process's: make a new one",
}

#: Those that have, or had, connections.
_IN_USE: Final[WeakSet[Transport]] = WeakSet()


def _after_fork() -> None:
    for transport in _IN_USE:
        transport._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Socket:
    """An open WebSocket. One task may receive while another sends.

    Sending waits while the peer is slow, and who does not receive slows the peer: neither side's data piles up here.

    Args:
        opened: aiohttp's.
        heartbeat: seconds; see :meth:`Transport.websocket`.
    """

    def __init__(self, opened: aiohttp.ClientWebSocketResponse, heartbeat: float) -> None:
        connection = opened._response.connection
        self._opened = opened
        self._transport = None if connection is None else connection.transport
        self._heartbeat = heartbeat
        self._receiving = self._heard = self._pinged = self._silent = False
        self._ping: asyncio.Task[None] | None = None
        self._ticker = asyncio.get_running_loop().call_later(heartbeat, self._tick)
        self._close_code: int | None = None

    @property
    def close_code(self) -> int | None:
        """Why it was closed, as RFC 6455 numbers it; None while it is open, 1006 when it was lost without a goodbye."""
        return self._close_code

    async def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Send one binary message.

        Raises:
            TransportError: the connection is gone.
        """
        await self._send(self._opened.send_bytes(data))  # type: ignore[arg-type]

    async def send_text(self, text: str) -> None:
        """Send one text message.

        Raises:
            TransportError: the connection is gone.
        """
        await self._send(self._opened.send_str(text))

    async def receive(self) -> bytes | str | None:
        """The next message; None when it is closed, and then :attr:`close_code` says why.

        A peer that is silent for long is pinged, but only while somebody waits here: one that we keep from sending is
        not dead.

        Raises:
            TransportError: the peer broke the protocol, sent too large a message, or is silent.
        """
        while self._close_code is None:
            self._receiving = True
            try:
                message = await self._opened.receive()
            finally:
                self._receiving = False
            self._heard = True
            match message.type:
                case aiohttp.WSMsgType.BINARY | aiohttp.WSMsgType.TEXT:
                    return message.data  # type: ignore[no-any-return]
                case aiohttp.WSMsgType.PING:
                    with contextlib.suppress(aiohttp.ClientError, OSError):
                        await self._opened.pong(message.data)
                case aiohttp.WSMsgType.PONG:
                    pass
                case aiohttp.WSMsgType.CLOSE:
                    self._over(message.data or NO_STATUS)
                case aiohttp.WSMsgType.ERROR:
                    self._over(self._opened.close_code or ABNORMAL)
                    raise TransportError(f"the WebSocket broke: {_words(message.data)}")
                case _:
                    self._over(ABNORMAL)
                    if self._silent:
                        raise TransportError(
                            f"the peer was silent for {2 * self._heartbeat:g} s, and answered no ping"
                        )
        return None

    async def close(self, code: int = NORMAL) -> None:
        """Say goodbye, for a short while, and let go. May be called twice, and while another task receives."""
        self._over(code)
        try:
            async with asyncio.timeout(GOODBYE):
                await self._opened.close(code=code)
                # A closing transport stays until it has sent what it holds.
                while self._unsent():  # noqa: ASYNC110 - aiohttp has no event for it
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pass
        finally:
            if self._transport is not None and (self._unsent() or not self._transport.is_closing()):
                self._transport.abort()
        if self._ping is not None:
            await asyncio.wait({self._ping})

    def _unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    async def _send(self, sending: Coroutine[Any, Any, None]) -> None:
        try:
            await sending
        except (aiohttp.ClientError, OSError) as error:
            raise TransportError(f"the WebSocket is closed: {_words(error)}") from error

    def _over(self, code: int) -> None:
        if self._close_code is None:
            self._close_code = code
        self._ticker.cancel()
        if self._ping is not None:
            self._ping.cancel()

    def _tick(self) -> None:
        if self._transport is None or self._transport.is_closing():
            # Whoever forgot to close it must not be kept alive by a timer.
            return
        if self._heard or not self._receiving:
            self._pinged = False
        elif not self._pinged:
            self._pinged = True
            self._ping = asyncio.get_running_loop().create_task(self._ask())
        else:
            self._silent = True
            self._transport.abort()
            return
        self._heard = False
        self._ticker = asyncio.get_running_loop().call_later(self._heartbeat, self._tick)

    async def _ask(self) -> None:
        # What keeps a ping from being sent is what receiving reports.
        with contextlib.suppress(aiohttp.ClientError, OSError):
            await self._opened.ping()


async def _body(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, decompressed. A refusal that is larger than ``limit`` is cut there: its status says what it is.

    Raises:
        DecodeError: a success that is larger.
    """
    content = answer.content
    refused = answer.status >= 300
    declared = 0 if refused or "Content-Encoding" in answer.headers else answer.content_length or 0
    body = bytearray()
    try:
        # Part by part, because for one who reads all at once aiohttp inflates a bomb whole.
        while max(declared, len(body)) <= limit:
            part = await content.readany()
            if not part:
                return (
                    bytes(body) + await answer.read()
                )  # which is empty, and releases the connection
            body += part
    except BaseException:
        answer.close()
        raise
    # What is still to come is not worth waiting for.
    answer.close()
    if refused:
        return bytes(body[:limit])
    raise DecodeError(
        f"the answer ({answer.status}) is larger than the {limit} bytes that max_response of the Endpoint allows"
    )


_TRUST: Final = "; if an authority of your own vouches for it, give Endpoint(ssl=...) a context that trusts that"


def _translated(error: Exception, wire: Wire, *, closed: bool) -> Exception:
    """Ours for aiohttp's."""
    made: VCloudError
    if isinstance(error, _NEVER_SENT):
        hint = _TRUST if isinstance(error, aiohttp.ClientConnectorCertificateError) else ""
        made = ConnectError(f"cannot reach it: {_words(error)}{hint}")
    elif isinstance(error, TimeoutError):
        made = RequestTimeout(f"no complete answer within {wire.patience.seconds:g} s")
    elif isinstance(error, _DROPPED):
        made = TransportError(f"the connection was dropped: {_words(error)}")
    elif closed:
        made = ConfigurationError("the aiohttp session was closed, so vcloud can no longer use it")
    elif isinstance(error, aiohttp.ClientError | OSError):
        made = TransportError(f"the exchange broke: {_words(error)}")
    elif isinstance(error, ValueError):
        made = ConfigurationError(f"aiohttp refuses to send this: {_words(error)}")
    else:
        return error
    return made


def _words(error: BaseException) -> str:
    if isinstance(error, aiohttp.InvalidURL):
        return "not a valid address"
    if isinstance(error, aiohttp.ClientResponseError):
        # Its text has the whole URL, and a URL may hold a token.
        return error.message or type(error).__name__
    return str(error) or type(error).__name__

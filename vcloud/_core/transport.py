"""The module that sends with aiohttp: bytes in, bytes out, and aiohttp's exceptions translated at this one boundary."""

from __future__ import annotations

import asyncio
import os
import urllib.request
import warnings
from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from errno import EADDRNOTAVAIL
from ssl import SSLContext
from typing import Any, Final
from weakref import WeakSet

import aiohttp
import msgspec
from aiohttp.client_middlewares import ClientHandlerType, ClientMiddlewareType
from yarl import URL

from vcloud import __version__
from vcloud._core.cleanup import CLEANUP
from vcloud._core.connections.aiohttp_compat import leave_to_parent, loop_of, sender
from vcloud._core.connections.failures import (
    DroppedConnectionError,
    StaleConnectionError,
    describe_failure,
)
from vcloud._core.connections.pool import Pool, pool
from vcloud._core.connections.responses import RedactedResponse, UpgradeResponse
from vcloud._core.connections.sending import (
    NEVER_SENT,
    bounded_connecting,
    middlewares_against_resending,
    nothing_written,
    send_once,
)
from vcloud._core.connections.unsent import unsent
from vcloud._core.endpoint import HEARTBEAT, check_proxy, is_loopback
from vcloud._core.process_limits import (
    DESCRIPTOR_HOLDERS,
    OwnLimitError,
    Shortage,
    close_idle_descriptors,
    is_port_shortage,
    limit_reached,
)
from vcloud._core.redaction.secretive import Credentials, concealing
from vcloud._core.request import MAX_REFUSAL, Response
from vcloud._core.timing.attempt_timeout import CURRENT_TIMEOUT, AttemptTimeouts
from vcloud._core.timing.timeouts import timeout
from vcloud._core.websocket import RefusedError, Socket, refusal_headers
from vcloud.errors import (
    ConfigurationError,
    ConnectError,
    ConnectTimeout,
    LimitExceededError,
    RequestTimeout,
    TransportError,
    VCloudError,
)

_DROPPED = (DroppedConnectionError, aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)


#: How patiently the upgrade that is sent here connects; None: as long as it may take in all.
_CONNECTING: Final[ContextVar[AttemptTimeouts | None]] = ContextVar(
    "vcloud_connecting", default=None
)


async def _upgrade(
    request: aiohttp.ClientRequest, handler: ClientHandlerType
) -> aiohttp.ClientResponse:
    # aiohttp throws the body of a refusal away, and with it the service's reason; and it would follow a redirect.
    answer = await send_once(request, handler, connecting=_CONNECTING.get())
    if answer.status != 101:
        headers = refusal_headers(answer)
        body, cut = await _beginning(answer, MAX_REFUSAL)
        raise RefusedError(Response(answer.status, headers, body, cut))
    return answer


class TransportOptions(msgspec.Struct, frozen=True):
    """How one provider is reached: the parts that only the transport understands."""

    #: Of what is left to aiohttp: connecting, in its pool's own time.
    timeout: aiohttp.ClientTimeout
    #: Of each attempt.
    patience: AttemptTimeouts
    #: Of all that comes before the request can be written; None: as long as the attempt may take.
    connecting: AttemptTimeouts | None
    #: Seconds for that, as they were chosen.
    connect_timeout: float
    extra: Mapping[str, Any]
    #: Bytes of a success's body, decompressed. A refusal is read to :data:`MAX_REFUSAL` at most.
    max_response: int
    #: Bytes of a WebSocket's message.
    max_message: int
    #: Seconds; see :class:`Socket`.
    heartbeat: float = HEARTBEAT
    #: What proves to a proxy who sends, where it is sent with the request itself.
    proxy_headers: Mapping[str, str] = Credentials()

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
        heartbeat: float = HEARTBEAT,
    ) -> TransportOptions:
        """Resolve what can be resolved once: asking the environment for proxies on every request triples its cost."""
        extra: dict[str, Any] = {}
        if ssl is not True:
            extra["ssl"] = ssl
        found = _proxy_from_environment(base_url) if proxy == "environment" else proxy
        proxy_headers = Credentials()
        if found:
            address, credentials = _without_user(found)
            extra["proxy"] = address
            if credentials and URL(base_url).scheme == "https":
                extra["proxy_headers"] = credentials
            elif credentials:
                # Of a proxied plain request there is one head, which the proxy reads.
                proxy_headers = credentials
        return cls(
            *_clocks(timeout, connect_timeout),
            connect_timeout,
            extra,
            max_response,
            max_message,
            heartbeat,
            proxy_headers,
        )

    def __repr__(self) -> str:
        # A proxy's address may hold a password.
        return f"Wire(timeout={self.patience.seconds:g})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # rich would show each field.
        return [("timeout", self.patience.seconds)]

    def within(self, seconds: float) -> TransportOptions:
        """The same, with less time for the attempt."""
        if self.connecting is not None and seconds > self.connect_timeout:
            return msgspec.structs.replace(self, patience=AttemptTimeouts(seconds))
        clock, patience, connecting = _clocks(seconds, self.connect_timeout)
        return msgspec.structs.replace(
            self, timeout=clock, patience=patience, connecting=connecting
        )


def _clocks(
    timeout: float, connect_timeout: float
) -> tuple[aiohttp.ClientTimeout, AttemptTimeouts, AttemptTimeouts | None]:
    """The clocks of an attempt: aiohttp's, the whole attempt's, and that of its connection."""
    if connect_timeout >= timeout:
        # One clock suffices: whether a connection came about is known without another.
        return _NO_CLOCK, AttemptTimeouts(timeout), None
    clock = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout)
    return clock, AttemptTimeouts(timeout), AttemptTimeouts(connect_timeout)


#: The whole attempt's clock is ours.
_NO_CLOCK: Final = aiohttp.ClientTimeout(total=None)


@concealing
def _without_user(proxy: str) -> tuple[str, Credentials]:
    """A proxy's address without its user and password, and those as a header.

    aiohttp keeps a proxy's address in the key of a connection, and prints that with a connection
    that was never closed.
    """
    url = URL(proxy)
    if url.raw_user is None and url.raw_password is None:
        return proxy, Credentials()
    both = f"{url.user or ''}:{url.password or ''}"
    # RFC 7617 leaves the encoding open; aiohttp's is Latin-1, as long as that has the characters.
    encoded = both.encode("latin-1" if max(both) <= "\xff" else "utf-8")
    credentials = Credentials({"Proxy-Authorization": f"Basic {b64encode(encoded).decode()}"})
    return str(url.with_user(None)), credentials


@concealing
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

    #: Calls that wait until this process may open a connection again. Doubles that make no
    #: connection, and call no constructor of this class, have this one, in which nobody waits.
    shortage: Shortage = Shortage()

    def __init__(self, client_session: aiohttp.ClientSession | None = None) -> None:
        if client_session is not None and not isinstance(client_session, aiohttp.ClientSession):
            raise ConfigurationError(
                f"client_session must be an aiohttp.ClientSession, not {type(client_session).__name__}"
            )
        self._given = client_session
        self._session: aiohttp.ClientSession | None = None
        self._upgrading: aiohttp.ClientSession | None = None
        self._middlewares: Sequence[ClientMiddlewareType] = ()
        self._options: Mapping[str, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._state = "not open"
        self.shortage = Shortage()
        #: The closing, once it began.
        self.closing: asyncio.Task[None] | None = None

    def __del__(self) -> None:
        session = getattr(self, "_session", None)
        # Not "and open": where all of it is collected at once, aiohttp may have closed it before.
        if session is not None and session is not self._given:
            warnings.warn(
                "a vcloud client was never closed: use `async with`, or await its aclose()",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    def open(self) -> None:
        """Allow requests. The socket work begins with the first one."""
        if self._state in ("closing", "closed", "forked"):
            raise ConfigurationError(
                "this client is closed and cannot be opened again: make a new one"
            )
        self._state = "open"

    def refuse(self) -> None:
        """Send nothing more, but for what a cleanup sends."""
        if self._state in ("not open", "open"):
            self._state = "closing"
            self.shortage.wake_all()

    def close_idle_descriptors(self) -> None:
        """Close the idle connections of a pool of our own: something lacks file descriptors."""
        pool = None if self._session is None else self._session.connector
        if isinstance(pool, Pool) and self.runs_here():
            pool.drop_idle()

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
                pool = session.connector
                await session.close()
                if isinstance(pool, Pool):
                    await pool.finish()

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        wire: TransportOptions,
    ) -> Response:
        """Send once and read the whole answer, or of a long refusal the beginning.

        Raises:
            ConfigurationError: it was closed meanwhile.
            ConnectError: the request never reached the service.
            RequestTimeout: no complete answer in time.
            TransportError: the connection broke before the answer was complete.
            LimitExceededError: a success with more than ``wire.max_response`` bytes.
        """
        session = self._session_in_use()
        if wire.proxy_headers:
            headers = Credentials({**headers, **wire.proxy_headers})
        short = False
        turn = wire.patience.begin()
        CURRENT_TIMEOUT.set((wire.patience, turn))
        try:
            answer = await sender(session, own=self._given is None)(
                method,
                URL(
                    url, encoded=True
                ),  # what was signed is what is sent: nothing may be quoted again
                data=body,
                headers=headers,
                timeout=wire.timeout,
                allow_redirects=False,  # a signature is for one path, and a credential for one host
                raise_for_status=False,  # a session of the user's own may say otherwise
                middlewares=self._middlewares
                if self._given is None
                else bounded_connecting(session, wire.connecting),
                **self._options,
                **wire.extra,
            )
            content, limit = answer.content, wire.max_response
            refused = not 200 <= answer.status < 300
            if refused and limit > MAX_REFUSAL:
                limit = MAX_REFUSAL
            if content.is_eof() and content.total_bytes <= limit:
                # All of it came with the head, as a rule, and then aiohttp has let go of the connection already.
                return Response(answer.status, answer.headers, content.read_nowait())
            turn.body = content
            # Reading to the end releases the connection, and a read that fails or is cancelled closes it.
            body, cut = await _beginning(answer, limit)
            if cut and not refused:
                body = b""  # a frame of the error's
                raise _too_large(answer.status, limit)
            return Response(answer.status, answer.headers, body, cut)
        except (
            aiohttp.ClientError,
            DroppedConnectionError,
            OSError,
            ValueError,
            RuntimeError,
        ) as error:
            if self._loop is not None and self._loop.is_closed():
                # This coroutine is being closed with its loop, and aiohttp hid that.
                raise GeneratorExit from None
            failure = self._translated(error, wire, closed=session.closed)
            short = isinstance(failure, OwnLimitError)
        except asyncio.CancelledError as stopped:
            if not turn.timed_out():
                raise
            failure = _late(wire, unsent(stopped))
        finally:
            # No reset, which fails where this is closed with its loop, in another context.
            CURRENT_TIMEOUT.set(None)
            wire.patience.end(turn)
            if self.shortage.waiting and not short:
                # What this held may be the next one's.
                self.shortage.wake()
        _drop_idle_after(failure, session, url)
        # Outside of the handler, because aiohttp's own exceptions may carry the request with its credentials.
        raise failure

    async def websocket(
        self,
        url: str,
        headers: Mapping[str, str],
        wire: TransportOptions,
        *,
        protocols: Sequence[str] = (),
    ) -> Socket:
        """Open a WebSocket. The query of ``url`` may hold a token: it enters no text.

        Args:
            url: where, with ``http`` or ``https``.
            headers: those of the upgrade.
            wire: how the provider is reached; its timeout is for the upgrade alone. A message
                larger than its ``max_message`` closes the connection, and as many bytes may wait to
                be received. Its ``heartbeat`` is the silence in either direction after which the
                peer is pinged; after as long again without a word it is taken for dead.
            protocols: subprotocols to offer.

        Raises:
            RefusedError: the service answered something else than an upgrade.
            ConfigurationError: it was closed meanwhile.
            ConnectError: the request never reached the service.
            RequestTimeout: no answer in time.
            TransportError: the connection broke, or what came back is no WebSocket.
        """
        session = self._session_in_use()
        if self._upgrading is None:
            # A session that shares the connections, because ws_connect takes no middlewares of its own.
            self._upgrading = aiohttp.ClientSession(
                connector=session.connector,
                connector_owner=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=session.headers,
                timeout=_NO_CLOCK,
                middlewares=(_upgrade,),
                response_class=UpgradeResponse,
            )
            # Instrumentations of aiohttp add theirs to every session, and record URLs with tokens.
            self._upgrading.trace_configs.clear()
        if wire.proxy_headers:
            headers = Credentials({**headers, **wire.proxy_headers})
        # Left as it is afterwards: only an upgrade looks, and the next one says its own.
        _CONNECTING.set(wire.connecting)
        try:
            async with timeout(wire.patience.seconds):
                opened = await self._upgrading.ws_connect(
                    URL(url, encoded=True),
                    headers=headers,
                    max_msg_size=wire.max_message
                    + 1,  # aiohttp's is the first size that is refused
                    protocols=protocols,
                    autoping=False,
                    # Closing is the Socket's own: aiohttp's time limit would cut what is unsent.
                    autoclose=False,
                    timeout=aiohttp.ClientWSTimeout(ws_close=None),  # pyright: ignore[reportCallIssue] - it cannot see through aiohttp's attr.s
                    **wire.extra,
                )
            return Socket(opened, wire.heartbeat, wire.max_message)
        except RefusedError:
            raise
        except (
            aiohttp.ClientError,
            DroppedConnectionError,
            OSError,
            ValueError,
            RuntimeError,
        ) as error:
            failure = self._translated(
                error, wire, closed=session.closed or self._upgrading is None
            )
        _drop_idle_after(failure, session, url)
        # Outside of the handlers: aiohttp's exceptions know the URL with its token, and a chained one is printed.
        raise failure

    def _translated(self, error: Exception, wire: TransportOptions, *, closed: bool) -> Exception:
        """Ours for aiohttp's."""
        if isinstance(error, aiohttp.ClientConnectorError):
            number = limit_reached(error.os_error)
            if number == EADDRNOTAVAIL and not is_port_shortage(error.host):
                number = None
            if number is not None:
                self.shortage.failed(number)
                # Those to other hosts are of no use to whoever waits.
                close_idle_descriptors()
                return OwnLimitError.of(number)
        return _translated(error, wire, closed=closed)

    def check(self) -> None:
        """Refuse, before anything is sent or waited for, what cannot work.

        Raises:
            ConfigurationError: not open, closed, or in another event loop than the one it was first used in.
        """
        if (
            self._session is None
            or self._state != "open"
            or self._loop is not asyncio.get_running_loop()
        ):
            self._begin()

    def runs_here(self) -> bool:
        """Whether the event loop in which it was used is the one that runs this."""
        try:
            return self._loop is asyncio.get_running_loop()
        except RuntimeError:
            return False

    def _session_in_use(self) -> aiohttp.ClientSession:
        if self._session is None or self._state != "open":
            return self._begin()
        return self._session

    def _begin(self) -> aiohttp.ClientSession:
        if self._state != "open" and not (self._state == "closing" and CLEANUP.get() is not None):
            raise ConfigurationError(_UNUSABLE[self._state])
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop:
            raise ConfigurationError(
                "this client belongs to another event loop: make one client per loop"
            )
        if self._given is not None and loop_of(self._given) not in (None, loop):
            raise ConfigurationError(
                "the client_session was made in another event loop: "
                "make it in the loop that uses this client"
            )
        if self._session is not None:
            return self._session
        self._loop = loop
        self._session = self._given or aiohttp.ClientSession(
            connector=pool(),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"vcloud-sdk/{__version__} {aiohttp.http.SERVER_SOFTWARE}"},
            response_class=RedactedResponse,
            **_NO_CONTENT_TYPE,
        )
        own = self._given is None
        self._middlewares = middlewares_against_resending(self._session, own=own)
        # A session of the user's own is not changed, so each request says it.
        self._options = {} if own else _NO_CONTENT_TYPE
        _IN_USE.add(self)
        DESCRIPTOR_HOLDERS.add(self)
        return self._session

    def _forked(self) -> None:
        """Never touch, in a forked process, the connections that belong to the other one."""
        self._state = "forked"
        session, self._session, self._upgrading = self._session, None, None
        if session is not None and session is not self._given:
            leave_to_parent(session)


#: Why a client that was closed sends nothing.
CLOSED: Final = "this client is closed: make a new one"

_UNUSABLE: Final = {
    "not open": "this client is not open: use `async with`, or call `await client.aopen()` first",
    "closing": CLOSED,
    "closed": CLOSED,
    "forked": "this client was opened before the process forked, and its connections are the other process's: make a new one",
}

#: aiohttp would call the missing body of a POST "application/octet-stream"; Vagon's own client sends
#: no content type with an empty body. Bodies of ours always come with theirs.
_NO_CONTENT_TYPE: Final[Mapping[str, Any]] = {"skip_auto_headers": ("Content-Type",)}

#: Those that have, or had, connections.
_IN_USE: Final[WeakSet[Transport]] = WeakSet()


def _after_fork() -> None:
    for transport in _IN_USE:
        transport._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


async def _beginning(answer: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    """The body, decompressed, or the first ``limit`` bytes of it; whether there is more."""
    content = answer.content
    body = bytearray()
    # What is said to be too long is not read at all, where nobody wants its beginning.
    ok = 200 <= answer.status < 300 and "Content-Encoding" not in answer.headers
    declared = answer.content_length or 0 if ok else 0
    try:
        # Part by part, because for one who reads all at once aiohttp inflates a bomb whole.
        while max(declared, len(body)) <= limit:
            part = await content.readany()
            if not part:
                # The read returns nothing, and releases the connection.
                return bytes(body) + await answer.read(), False
            body += part
    except BaseException:
        answer.close()
        raise
    # What is still to come is not worth waiting for, and half an answer is on the connection.
    answer.close()
    return bytes(body[:limit]), True


def _too_large(status: int, limit: int) -> LimitExceededError:
    return LimitExceededError(
        f"the answer ({status}) is larger than the {limit} bytes that max_response of the "
        "Endpoint allows; give Endpoint(max_response=...) more, or ask for less at a time"
    )


def _drop_idle_after(failure: Exception, session: aiohttp.ClientSession, url: str) -> None:
    """Let repeats use fresh connections, where one to this host ended without an answer.

    The connections of a session of the user's own are the user's.
    """
    sent = isinstance(failure, TransportError) and not isinstance(failure, ConnectError)
    if sent and isinstance(session.connector, Pool):
        session.connector.drop_idle(URL(url, encoded=True).origin())


_TRUST: Final = "; if an authority of your own vouches for it, give Endpoint(ssl=...) a context that trusts that"


def _translated(error: Exception, wire: TransportOptions, *, closed: bool) -> Exception:
    """Ours for aiohttp's."""
    made: VCloudError
    if isinstance(error, NEVER_SENT):
        hint = _TRUST if isinstance(error, aiohttp.ClientConnectorCertificateError) else ""
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return _unconnected(
                describe_failure(error), wire.connect_timeout, "connect_timeout of the Endpoint"
            )
        made = ConnectError(f"cannot reach it: {describe_failure(error)}{hint}")
    elif nothing_written(error):
        made = ConnectError(f"cannot reach it: {StaleConnectionError()}")
    elif isinstance(error, TimeoutError):
        return _late(wire, unsent(error))
    elif isinstance(error, _DROPPED):
        made = TransportError(f"the connection was dropped: {describe_failure(error)}")
    elif closed:
        made = ConfigurationError("the aiohttp session was closed, so vcloud can no longer use it")
    elif isinstance(error, aiohttp.ClientError | OSError):
        made = TransportError(f"the exchange broke: {describe_failure(error)}")
    elif isinstance(error, ValueError):
        made = ConfigurationError(
            "aiohttp refuses this exchange: a header or an address holds what HTTP cannot carry"
        )
    else:
        return error
    return made


def _late(wire: TransportOptions, awaited: str | None) -> RequestTimeout:
    """The error of an attempt whose time ran out.

    Args:
        wire: how it was sent.
        awaited: what did not come about, if nothing was sent.
    """
    seconds = wire.patience.seconds
    if awaited is None:
        return RequestTimeout(f"no complete answer within {seconds:g} s")
    return _unconnected(awaited, seconds, "all the time that the attempt had")


def _unconnected(awaited: str, seconds: float, bound: str) -> ConnectTimeout:
    return ConnectTimeout(
        f"cannot reach it: {awaited} within {seconds:.4g} s, {bound}; nothing was sent"
    )

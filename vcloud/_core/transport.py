"""The only module that talks aiohttp: bytes in, bytes out, and aiohttp's exceptions translated at this one boundary."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Mapping
from ssl import SSLContext
from typing import Any

import aiohttp
from aiohttp.client_middlewares import ClientHandlerType
from attrs import frozen
from yarl import URL

from vcloud import __version__
from vcloud._core.request import Response
from vcloud.errors import ConfigurationError, ConnectError, RequestTimeout, TransportError, VCloudError

_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL, aiohttp.ClientHttpProxyError)


class _DroppedError(Exception):
    """A kept-alive connection turned out to be dead."""


async def _once(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
    # aiohttp would send an idempotent request again by itself, with the same nonce, when the connection it took from
    # the pool is dead. An exception that it does not know leaves that decision to our retry policy.
    try:
        return await handler(request)
    except _NEVER_SENT:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _DroppedError(str(error) or type(error).__name__) from error


_MIDDLEWARES = (_once,)


@frozen
class Wire:
    """How one provider is reached: the parts that only the transport understands."""

    timeout: aiohttp.ClientTimeout
    extra: Mapping[str, Any]

    @classmethod
    def of(cls, *, base_url: str, timeout: float, connect_timeout: float, ssl: SSLContext | bool, proxy: str | None) -> Wire:
        """Resolve what can be resolved once: asking the environment for proxies on every request triples its cost."""
        extra: dict[str, Any] = {}
        if ssl is not True:
            extra["ssl"] = ssl
        found = _proxy_from_environment(base_url) if proxy == "environment" else proxy
        if found:
            extra["proxy"] = found
        return cls(aiohttp.ClientTimeout(total=timeout, sock_connect=connect_timeout), extra)

    def within(self, seconds: float) -> Wire:
        """The same, with less time for the attempt."""
        return Wire(aiohttp.ClientTimeout(total=seconds, sock_connect=self.timeout.sock_connect), self.extra)


def _proxy_from_environment(base_url: str) -> str | None:
    url = URL(base_url)
    if url.host is None or urllib.request.proxy_bypass(url.host):
        return None
    return urllib.request.getproxies().get(url.scheme)


class Transport:
    """One aiohttp session, made in the loop that first needs it and shared by all adapters.

    Args:
        client_session: a session of the user's own. It is used as it is, and never closed here.
    """

    def __init__(self, client_session: aiohttp.ClientSession | None = None) -> None:
        if client_session is not None and not isinstance(client_session, aiohttp.ClientSession):
            raise ConfigurationError(f"client_session must be an aiohttp.ClientSession, not {type(client_session).__name__}")
        self._given = client_session
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._state = "not open"

    def open(self) -> None:
        """Allow requests. The socket work begins with the first one."""
        if self._state == "closed":
            raise ConfigurationError("this client is closed and cannot be opened again: make a new one")
        self._state = "open"

    async def aclose(self) -> None:
        """Close the connections. A second call does nothing."""
        self._state = "closed"
        session, self._session = self._session, None
        if session is not None and session is not self._given:
            await session.close()

    async def exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, wire: Wire) -> Response:
        """Send once and read the whole answer.

        Raises:
            ConfigurationError: it was closed meanwhile.
            ConnectError: the request never reached the service.
            RequestTimeout: no complete answer in time.
            TransportError: the connection broke before the answer was complete.
        """
        session = self._session or self._begin()
        try:
            answer = await session.request(
                method,
                URL(url, encoded=True),  # what was signed is what is sent: nothing may be quoted again
                data=body,
                headers=headers,
                timeout=wire.timeout,
                allow_redirects=False,  # a signature is for one path, and a credential for one host
                raise_for_status=False,  # a session of the user's own may say otherwise
                middlewares=_MIDDLEWARES,
                **wire.extra,
            )
            # Reading to the end releases the connection, and a read that fails or is cancelled closes it.
            return Response(answer.status, answer.headers, await answer.read())
        except (aiohttp.ClientError, _DroppedError, OSError, ValueError, RuntimeError) as error:
            failure = _translated(error, wire, closed=session.closed)
        # Outside of the handler, because aiohttp's own exceptions may carry the request with its credentials.
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
            raise ConfigurationError(
                "this client is closed: make a new one"
                if self._state == "closed"
                else "this client is not open: use `async with`, or call `await client.aopen()` first"
            )
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop:
            raise ConfigurationError("this client belongs to another event loop: make one client per loop")
        self._loop = loop
        self._session = self._given or aiohttp.ClientSession(
            # Admission is ours, with one limit per provider, so the connector has none.
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"vcloud-sdk/{__version__} {aiohttp.http.SERVER_SOFTWARE}"},
        )
        return self._session


def _translated(error: Exception, wire: Wire, *, closed: bool) -> Exception:
    """Ours for aiohttp's."""
    made: VCloudError
    if isinstance(error, _NEVER_SENT):
        made = ConnectError(f"cannot reach it: {_words(error)}")
    elif isinstance(error, TimeoutError):
        made = RequestTimeout(f"no complete answer within {wire.timeout.total:g} s")
    elif isinstance(error, _DroppedError):
        made = TransportError(f"the connection was dropped: {error}")
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
    return str(error) or type(error).__name__

"""Sends with aiohttp: bytes in, bytes out. aiohttp's errors are translated here."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final
from weakref import WeakSet

import aiohttp
from aiohttp.client_middlewares import ClientMiddlewareType
from yarl import URL

from vcloud._core.cleanup import CLEANUP
from vcloud._core.connections.aiohttp_compat import (
    leave_to_parent,
    loop_of,
    outdated_mock,
    sender,
)
from vcloud._core.connections.bodies import read_answer
from vcloud._core.connections.options import TransportOptions
from vcloud._core.connections.pool import Pool, pool
from vcloud._core.connections.refused import RefusedError
from vcloud._core.connections.responses import RedactedResponse
from vcloud._core.connections.sending import bounded_connecting, middlewares_against_resending
from vcloud._core.connections.translation import (
    FOREIGN,
    drop_idle_after,
    own_limit,
    timed_out,
    translated,
)
from vcloud._core.connections.unsent import unsent
from vcloud._core.connections.upgrades import CONNECT_TIMEOUTS, upgrading_session
from vcloud._core.process_limits import (
    DESCRIPTOR_HOLDERS,
    OwnLimitError,
    Shortage,
    close_idle_descriptors,
)
from vcloud._core.redaction.secretive import Credentials
from vcloud._core.request import SAFE, Response
from vcloud._core.timing.attempt_timeout import set_current
from vcloud._core.timing.timeouts import timeout
from vcloud._core.version import __version__
from vcloud._core.websocket import Socket
from vcloud.errors import ConfigurationError


class Transport:
    """One aiohttp session, made in the loop that first needs it and shared by all adapters.

    Args:
        client_session: a session of the user's own. It is used as it is, and never closed here.
    """

    #: Calls that wait until this process may open a connection again. Test doubles that do not call
    #: this class's constructor use this one, in which no call waits.
    shortage: Shortage = Shortage()

    def __init__(self, client_session: aiohttp.ClientSession | None = None) -> None:
        if client_session is not None and not isinstance(client_session, aiohttp.ClientSession):
            raise ConfigurationError(
                "client_session must be an aiohttp.ClientSession, not "
                f"{type(client_session).__name__}"
            )
        self._given = client_session
        #: What requests are sent with; None before the first one, and once it is closed.
        self.aiohttp_session: aiohttp.ClientSession | None = None
        self._upgrading: aiohttp.ClientSession | None = None
        self._middlewares: Sequence[ClientMiddlewareType] = ()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._state = "not open"
        self.shortage = Shortage()
        #: The closing, once it began.
        self.closing: asyncio.Task[None] | None = None

    def __del__(self) -> None:
        session = getattr(self, "aiohttp_session", None)
        # Not "and open": if all of it is collected at once, aiohttp may have closed it before.
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
        """Send nothing more, except for cleanups."""
        if self._state in ("not open", "open"):
            self._state = "closing"
            self.shortage.wake_all()

    def close_idle_descriptors(self) -> None:
        """Close the idle connections of our own pool: the process lacks file descriptors."""
        pool = None if self.aiohttp_session is None else self.aiohttp_session.connector
        if isinstance(pool, Pool) and self.runs_here():
            pool.drop_idle()

    async def aclose(self) -> None:
        """Close the connections. A second call does nothing."""
        self._state = "closed"
        session, self.aiohttp_session = self.aiohttp_session, None
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
        options: TransportOptions,
    ) -> Response:
        """Send once, and read the whole answer, or the beginning of a long refusal.

        Raises:
            ConfigurationError: the client was closed meanwhile.
            ConnectError: the request never reached the service.
            RequestTimeout: no complete answer in time.
            TransportError: the connection broke before the answer was complete.
            LimitExceededError: a success with more than ``options.max_response`` bytes.
        """
        session = (self._state == "open" and self.aiohttp_session) or self.start_session()
        short = False
        attempt = options.attempt_timeouts.begin()
        current = set_current(options.attempt_timeouts, attempt)
        try:
            answer = await self._request(session, method, url, headers, body, options)
            content, limit = answer.content, options.max_response
            if content.is_eof() and content.total_bytes <= limit and 200 <= answer.status < 300:
                # The usual case: all of it came with the head, and aiohttp has released the
                # connection already.
                return Response(answer.status, answer.headers, content.read_nowait())
            attempt.body = content
            return await read_answer(answer, limit)
        except FOREIGN as error:
            failure = self._failure(error, options, session)
            short = isinstance(failure, OwnLimitError)
        except TypeError as error:
            if (mocked := outdated_mock(error)) is None:
                raise
            failure = mocked
        except asyncio.CancelledError as stopped:
            if not attempt.timed_out():
                raise
            failure = timed_out(options, unsent(stopped))
        finally:
            current.attempt = None
            options.attempt_timeouts.end(attempt)
            if self.shortage.waiting and not short:
                # The next call may now use what this one held.
                self.shortage.wake()
        drop_idle_after(failure, session, url)
        # Outside of the handlers: aiohttp's errors may hold the request with its credentials.
        raise failure

    # Not a coroutine function: its own coroutine would be one more for each request.
    def _request(  # noqa: PLR0917 - keywords cost on every call
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        options: TransportOptions,
    ) -> Awaitable[aiohttp.ClientResponse]:
        """Send, and wait for the head of the answer."""
        own = self._given is None
        if options.proxy_headers:
            headers = Credentials({**headers, **options.proxy_headers})
        guards = self._middlewares if own else bounded_connecting(session, options.connect_timeouts)
        return sender(session, own=own)(
            method,
            # The signed URL must be sent unchanged, so it must not be quoted again.
            URL(url, encoded=True),
            data=body,
            headers=headers,
            timeout=options.timeout,
            middlewares=guards,
            **(_EACH_REQUEST if body is not None or method in SAFE else _WITHOUT_CONTENT_TYPE),
            **options.extra,
        )

    async def websocket(
        self,
        url: str,
        headers: Mapping[str, str],
        options: TransportOptions,
        *,
        protocols: Sequence[str] = (),
    ) -> Socket:
        """Open a WebSocket. The query of ``url`` may hold a token: it enters no text.

        Args:
            url: where, with ``http`` or ``https``.
            headers: those of the upgrade.
            options: how the provider is reached. Their timeout is for the upgrade alone. A message
                larger than ``max_message`` closes the connection, and as many bytes may wait to be
                received. After ``heartbeat`` seconds of silence in either direction the peer is
                pinged; after as long again the connection is closed.
            protocols: subprotocols to offer.

        Raises:
            RefusedError: the service answered something other than an upgrade.
            ConfigurationError: the client was closed meanwhile.
            ConnectError: the request never reached the service.
            RequestTimeout: no answer in time.
            TransportError: the connection broke, or what came back is no WebSocket.
        """
        session = (self._state == "open" and self.aiohttp_session) or self.start_session()
        if self._upgrading is None:
            self._upgrading = upgrading_session(session)
        if options.proxy_headers:
            headers = Credentials({**headers, **options.proxy_headers})
        # Not reset: only an upgrade reads it, and each sets its own.
        CONNECT_TIMEOUTS.set(options.connect_timeouts)
        try:
            async with timeout(options.attempt_timeouts.seconds):
                opened = await self._upgrading.ws_connect(
                    URL(url, encoded=True),
                    headers=headers,
                    # aiohttp's is the first size that it refuses.
                    max_msg_size=options.max_message + 1,
                    protocols=protocols,
                    autoping=False,
                    # The Socket closes by itself: aiohttp's time limit would cut what is unsent.
                    autoclose=False,
                    timeout=aiohttp.ClientWSTimeout(ws_close=None),  # pyright: ignore[reportCallIssue] - it cannot see through aiohttp's attr.s
                    **options.extra,
                )
            return Socket(opened, options.heartbeat, options.max_message)
        except RefusedError:
            raise
        except FOREIGN as error:
            failure = self._failure(error, options, session, upgrade=True)
        drop_idle_after(failure, session, url)
        # Outside of the handlers: aiohttp's errors hold the URL with its token, and a chained one
        # is printed.
        raise failure

    def _failure(
        self,
        error: Exception,
        options: TransportOptions,
        session: aiohttp.ClientSession,
        *,
        upgrade: bool = False,
    ) -> Exception:
        """Our error for aiohttp's."""
        if not upgrade and self._loop is not None and self._loop.is_closed():
            # The coroutine is being closed with its loop, and aiohttp hid that.
            raise GeneratorExit from None
        if (number := own_limit(error)) is not None:
            self.shortage.failed(number)
            # The idle connections to other hosts are of no use to the calls that wait.
            close_idle_descriptors()
            return OwnLimitError.of(number)
        closed = session.closed or (upgrade and self._upgrading is None)
        return translated(error, options, closed=closed)

    def check(self) -> None:
        """Fail before anything is sent or waited for if the client cannot be used.

        Raises:
            ConfigurationError: the client is not open, was closed, or belongs to another event
                loop: the one in which it was first used.
        """
        if (
            self.aiohttp_session is None
            or self._state != "open"
            or self._loop is not asyncio.get_running_loop()
        ):
            self.start_session()

    def runs_here(self) -> bool:
        """Whether the event loop in which it was used is the one that runs this."""
        try:
            return self._loop is asyncio.get_running_loop()
        except RuntimeError:
            return False

    def start_session(self) -> aiohttp.ClientSession:
        """Make the aiohttp session in the running loop, unless it is there.

        Raises:
            ConfigurationError: see :meth:`check`.
        """
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
        if self.aiohttp_session is not None:
            return self.aiohttp_session
        self._loop = loop
        self.aiohttp_session = self._given or aiohttp.ClientSession(
            connector=pool(),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"vcloud-sdk/{__version__} {aiohttp.http.SERVER_SOFTWARE}"},
            response_class=RedactedResponse,
        )
        own = self._given is None
        self._middlewares = middlewares_against_resending(self.aiohttp_session, own=own)
        _IN_USE.add(self)
        DESCRIPTOR_HOLDERS.add(self)
        return self.aiohttp_session

    def forked(self) -> None:
        """Give up the connections in a forked process: they belong to the parent."""
        self._state = "forked"
        session, self.aiohttp_session, self._upgrading = self.aiohttp_session, None, None
        if session is not None and session is not self._given:
            leave_to_parent(session)


#: Why a client that was closed sends nothing.
CLOSED: Final = "this client is closed: make a new one"

_UNUSABLE: Final = {
    "not open": "this client is not open: use `async with`, or call `await client.aopen()` first",
    "closing": CLOSED,
    "closed": CLOSED,
    "forked": "this client was opened before the process forked, and its connections are the other "
    "process's: make a new one",
}

_EACH_REQUEST: Final[Mapping[str, Any]] = {
    # A signature is for one path, and a credential for one host.
    "allow_redirects": False,
    # A user's session may have other settings.
    "raise_for_status": False,
}
#: aiohttp would send "application/octet-stream" for a POST without a body. Vagon's own client sends
#: no content type with an empty body. A request with a body sets its own, and a GET has none: there
#: this option would cost 20 000 of the 460 000 instructions of a call, because aiohttp then copies
#: the headers (``python -m tests.benchmarks.profile --instructions``).
_WITHOUT_CONTENT_TYPE: Final[Mapping[str, Any]] = {
    **_EACH_REQUEST,
    "skip_auto_headers": ("Content-Type",),
}

#: Those that have, or had, connections.
_IN_USE: Final[WeakSet[Transport]] = WeakSet()


def _after_fork() -> None:
    for transport in _IN_USE:
        transport.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

"""The methods of a session's handle that go over WebSockets: its VNC stream and its log."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, overload

from vcloud._core.arguments import positive_integer, positive_seconds
from vcloud._core.decoding.shape import Shape, required
from vcloud._core.hooks import Hook
from vcloud._core.links import fault_of_link, refused_link
from vcloud._core.request import Request
from vcloud._core.resource import Handle
from vcloud._core.session import Session
from vcloud._core.websocket import Socket
from vcloud.errors.text import word
from vcloud.providers.streamspace.installation import (
    calls,
    calls_or_none,
    known_dialect,
)
from vcloud.providers.streamspace.models import SessionLogs
from vcloud.providers.streamspace.realtime.log_stream import LogStream
from vcloud.providers.streamspace.realtime.vnc_forward import VNCForward
from vcloud.providers.streamspace.realtime.vnc_tunnel import VNCSocket, VNCTunnel
from vcloud.providers.streamspace.realtime.vnc_url import checked_url

__all__ = ["LogCalls", "RealtimeSessionRef", "VNCCalls"]

LOG_LINES: Final[Shape[SessionLogs, tuple[str, ...]]] = Shape(
    SessionLogs, lambda wire, session, body: tuple(required(wire.logs, body, "logs"))
)


class VNCCalls(Protocol):
    """What each dialect has a function for, for a session's VNC stream.

    ``named`` is the address that the service named for the stream; None: it named none.
    """

    def url(self, session: Session, id: str, named: str | None, /) -> str:
        """The WebSocket address of the stream, not checked."""
        ...

    async def connect(
        self, session: Session, id: str, named: str | None, first_bytes: float, /
    ) -> VNCSocket:
        """The WebSocket of a tunnel, opened."""
        ...

    async def connect_url(self, session: Session, id: str, named: str | None, /) -> str:
        """The address with the token, for a browser."""
        ...


class LogCalls(Protocol):
    """What each dialect has a function for, for a session's log."""

    def request(
        self, session: Session, id: str, /, *, tail: int, follow: bool, timestamps: bool
    ) -> Request:
        """The request for the lines, or for the WebSocket that they come over."""
        ...


class RealtimeSessionRef(Handle):
    """The part of :class:`SessionRef` that goes over WebSockets."""

    __slots__: tuple[str, ...] = ()

    if TYPE_CHECKING:
        id: str

        def _path(self, rest: str = "") -> str: ...

    @overload
    def logs(
        self, *, follow: Literal[False] = False, tail: int = 100, timestamps: bool = True
    ) -> Coroutine[Any, Any, tuple[str, ...]]: ...

    @overload
    def logs(
        self, *, follow: Literal[True], tail: int = 100, timestamps: bool = True
    ) -> LogStream: ...

    def logs(
        self, *, follow: bool = False, tail: int = 100, timestamps: bool = True
    ) -> Coroutine[Any, Any, tuple[str, ...]] | LogStream:
        """The last lines of the container's log; with ``follow``, the new ones as they come.

        ``GET /sessions/{session_id}/logs``, with ``follow`` as the upgrade to a WebSocket.

        ::

            for line in await session.logs(tail=20):
                print(printable(line))  # vcloud.printable: a program there wrote it

            async with session.logs(follow=True) as lines:
                async for line in lines:
                    print(printable(line))

        Args:
            follow: continue until the session ends; see :class:`LogStream`.
            tail: how many existing lines to begin with, at least one.
            timestamps: whether each line begins with its time.

        Raises:
            InvalidArgumentError: ``tail`` is below one.
            NotFoundError: there is no such session.
            CapacityError: its agent is offline.
            UnsupportedError: (at the first await or iteration) the published server has no logs;
                nothing was sent.
        """
        positive_integer(tail, "tail")
        session, id = self._session, self.id

        async def request(lines: int) -> Request:
            by: LogCalls = (await calls(session)).logs
            return by.request(session, id, tail=lines, follow=follow, timestamps=timestamps)

        async def read() -> tuple[str, ...]:
            return await session.fetch(await request(tail), LOG_LINES)

        async def connect(lines: int) -> Socket:
            return await session.connect(await request(lines))

        if not follow:
            return read()
        return LogStream(connect, tail=tail, retry=session.retry, entropy=session.entropy)

    def open_vnc(self, *, first_bytes: timedelta | float = 30) -> VNCTunnel:
        """The bytes of the session's VNC server, both ways.

        ``GET /vnc-viewer/{session_id}``, as the upgrade to a WebSocket; on a published
        installation ``GET /vnc/{session_id}``.

        ::

            async with session.open_vnc() as tunnel:
                greeting = await tunnel.read()

        Entering it (or :meth:`VNCTunnel.aopen`) sends the request: with the token in the query, as
        the document says, and on a published installation, which writes queries into its log, in
        the header.

        A published installation accepts a viewer and then tells it nothing, so entering waits for
        the desktop's first bytes. After 5 seconds it sends an empty message: the agents of this SDK
        take it as a viewer that waits. If the session's agent is away, or the connection is closed
        before the first byte, it connects again within the same time. A session has one viewer
        there: a new one ends the connection of the one before it.

        Args:
            first_bytes: within how long the desktop's first bytes must come on a published
                installation, counted from its first answer; seconds or timedelta. A documented
                one says by itself when a tunnel fails, so there it changes nothing.

        Raises:
            InvalidArgumentError: ``first_bytes`` is not above 0.
            ConfigurationError: the client has no token, or the service named another host.
            AuthenticationError: the token is not accepted; like all that follow, raised when the
                tunnel is opened.
            PermissionDeniedError: it is another user's session, and you are not an administrator
                (on a published installation administrators are refused too).
            NotFoundError: there is no such session.
            ConflictError: the session is not running.
            StreamingProtocolError: the session shows its desktop as a page, not by VNC; on a
                published installation. :meth:`connect_url` gives the page's address.
            TransportError: no byte came in time; the text says what is known.
        """
        bound = positive_seconds(first_bytes, "first_bytes")
        known = calls_or_none(self._session)
        if known is None or known.name == "documented":
            checked_url(self._session, self.id, self._named_vnc_url)

        async def connect() -> VNCSocket:
            by: VNCCalls = (await calls(self._session)).vnc
            # No variable holds the address: it may be a secret, and tracebacks have variables.
            return await by.connect(self._session, self.id, self._named_vnc_url, bound)

        return VNCTunnel(connect)

    def forward_vnc(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        on_error: Hook[Exception] | None = None,
        anyone: bool = False,
        first_bytes: timedelta | float = 30,
    ) -> VNCForward:
        """A local port for any VNC viewer; each connection to it has its own tunnel.

        ::

            async with session.forward_vnc() as forward:
                print(f"vncviewer {forward.host}::{forward.port}")
                await asyncio.Event().wait()

        A connection opens its tunnel as :meth:`open_vnc` does.

        Args:
            port: the port; 0 takes a free one.
            host: a loopback address of this machine.
            on_error: is called, and awaited if it returns an awaitable, with each error that ended
                a connection. The viewer is shown the reason too, as far as its protocol allows.
            anyone: accept every user of this machine. Any program that connects controls the
                session. Without it only programs of this process's user and of root are accepted,
                by the kernel's table of sockets. Systems without such a table (macOS, Windows)
                accept every user all the same, and one WARNING says so.
            first_bytes: as for :meth:`open_vnc`, for each connection.

        Raises:
            InvalidArgumentError: ``host`` is not a loopback address, ``port`` is not a port,
                ``anyone`` is not a bool, or ``first_bytes`` is not above 0.
            OSError: the port is in use; raised when it is entered.
        """
        bound = positive_seconds(first_bytes, "first_bytes")
        return VNCForward(
            lambda: self.open_vnc(first_bytes=bound),
            host=host,
            port=port,
            on_error=on_error,
            anyone=anyone,
            opened=self._session.opened,
        )

    @property
    def vnc_url(self) -> str:
        """The WebSocket address of the session's VNC stream, without the token.

        It is beside the API, not below it: for ``https://HOST/prefix/api/v1`` below
        ``wss://HOST/prefix``. On a published installation it is below the API.

        Raises:
            ConfigurationError: it is not known yet which of the two this installation is:
                ``await streamspace.recognise()`` first.
        """
        known_dialect(self._session, "vnc_url")
        found = calls_or_none(self._session)
        assert found is not None
        by: VNCCalls = found.vnc
        address = by.url(self._session, self.id, self._named_vnc_url)
        fault = fault_of_link(address, allow_http=self._session.allow_http)
        if fault is None:
            return address
        # The path may be a secret: no frame of the error's traceback holds it.
        del address
        raise refused_link(f"vnc_url for session {word(self.id)}", fault)

    @property
    def _named_vnc_url(self) -> str | None:
        """The address that the service named; None: it named none."""
        return None

    async def connect_url(self) -> str:
        """An address with the token, for a browser. If the client has no token yet, it obtains one.

        For a documented installation it is :attr:`vnc_url` with the token. On a published one it is
        the page of a session that is not VNC, ``/http/{session_id}/``; the session is asked for
        its protocol (``GET /sessions/{session_id}``). Its filter refuses some tokens in an address:
        such a token is renewed first.

        Anyone who has this address can use the session, and everything else that the token opens:
        treat it as a secret.

        Raises:
            ConfigurationError: the client has no token, or the service named another host, which
                must not see it.
            StreamingProtocolError: the session of a published installation is VNC: use
                :meth:`forward_vnc`.
            NotFoundError: there is no such session; on a published installation.
        """
        by: VNCCalls = (await calls(self._session)).vnc
        return await by.connect_url(self._session, self.id, self._named_vnc_url)

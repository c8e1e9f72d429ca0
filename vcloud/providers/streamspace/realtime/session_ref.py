"""The methods of a session's handle that go over WebSockets: its VNC stream and its log."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, overload
from urllib.parse import quote, urlsplit

from vcloud._core.arguments import positive_integer
from vcloud._core.decoding.shape import Shape, required
from vcloud._core.hooks import Hook
from vcloud._core.links import fault_of_link, refused_link
from vcloud._core.request import Request
from vcloud._core.resource import Handle
from vcloud._core.session import Session
from vcloud._core.websocket import Socket
from vcloud.errors import ConfigurationError, DecodeError
from vcloud.errors.text import word
from vcloud.providers.streamspace.installation import calls
from vcloud.providers.streamspace.models import SessionLogs
from vcloud.providers.streamspace.realtime.log_stream import LogStream
from vcloud.providers.streamspace.realtime.vnc_forward import VNCForward
from vcloud.providers.streamspace.realtime.vnc_tunnel import VNCTunnel
from vcloud.providers.streamspace.realtime.vnc_url import documented_path, is_safe_to_open
from vcloud.providers.streamspace.tokens import bearer

__all__ = ["LogCalls", "RealtimeSessionRef"]

LOG_LINES: Final[Shape[SessionLogs, tuple[str, ...]]] = Shape(
    SessionLogs, lambda wire, session, body: tuple(required(wire.logs, body, "logs"))
)


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

    def open_vnc(self) -> VNCTunnel:
        """The bytes of the session's VNC server, both ways.

        ``GET /vnc-viewer/{session_id}``, as the upgrade to a WebSocket.

        ::

            async with session.open_vnc() as tunnel:
                greeting = await tunnel.read()

        Entering it (or :meth:`VNCTunnel.aopen`) sends the request, with the token in the query, as
        the document says.

        Raises:
            ConfigurationError: the client has no token, or the service named another host.
            AuthenticationError: the token is not accepted; like all that follow, raised when the
                tunnel is opened.
            PermissionDeniedError: it is another user's session, and you are not an administrator.
            NotFoundError: there is no such session.
            ConflictError: the session is not running.
        """
        path, _, parameters = self._own_vnc_url().removeprefix(self._root).partition("?")
        # A path that the service named may be a secret, so errors and logs show this instead.
        label = "" if path == documented_path(self.id) else "/vnc-viewer/{session_id}"
        request = Request("GET", path, parameters, sensitive=True, label=label)
        session = self._session
        return VNCTunnel(lambda: session.connect(request, root=True, token_query="token"))  # noqa: S106 - a parameter's name

    def forward_vnc(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        on_error: Hook[Exception] | None = None,
        anyone: bool = False,
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

        Raises:
            InvalidArgumentError: ``host`` is not a loopback address, ``port`` is not a port, or
                ``anyone`` is not a bool.
            OSError: the port is in use; raised when it is entered.
        """
        return VNCForward(
            self.open_vnc,
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
        ``wss://HOST/prefix``.
        """
        address = self._vnc_address()
        fault = fault_of_link(address, allow_http=self._session.allow_http)
        if fault is None:
            return address
        # The path may be a secret: no frame of the error's traceback holds it.
        del address
        raise refused_link(f"vnc_url for session {word(self.id)}", fault)

    def _vnc_address(self) -> str:
        """:attr:`vnc_url` before it is checked."""
        return f"{self._root}{documented_path(self.id)}"

    async def connect_url(self) -> str:
        """:attr:`vnc_url` with the token. If the client has no token yet, it obtains one.

        Anyone who has this address can use the session, and everything else that the token opens:
        treat it as a secret.

        Raises:
            ConfigurationError: the client has no token, or the service named another host, which
                must not see it.
        """
        url = self._own_vnc_url()
        token = quote(await bearer(self._session), safe="")
        return f"{url}{'&' if urlsplit(url).query else '?'}token={token}"

    def _own_vnc_url(self) -> str:
        """The address of the VNC stream, if the token may be sent to it."""
        url = self._vnc_address()
        if not url.startswith(f"{self._root}/"):
            del url
            raise ConfigurationError(
                f"session {word(self.id)}: the service named a VNC address on another host, and the"
                f" token is only sent to {self._root}"
            )
        if not is_safe_to_open(url, self.id):
            del url
            raise DecodeError(
                f"session {word(self.id)}: the VNC address that the service named is not valid"
            )
        return url

    @property
    def _root(self) -> str:
        return self._session.root_url.replace("http", "ws", 1)

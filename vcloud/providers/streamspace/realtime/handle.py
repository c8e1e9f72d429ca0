"""What a session does while one looks on: its picture, and its log as it is written."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Literal, overload
from urllib.parse import quote, unquote, urlsplit

from vcloud._core.arguments import positive_integer
from vcloud._core.decoding.shape import Shape, required
from vcloud._core.hooks import Hook
from vcloud._core.links import fault_of_link, refused_link
from vcloud._core.request import Request, path_segment, query
from vcloud._core.resource import Handle
from vcloud._core.websocket import Socket
from vcloud.errors import ConfigurationError, DecodeError
from vcloud.errors.text import word
from vcloud.providers.streamspace.models import SessionLogs
from vcloud.providers.streamspace.realtime.forward import VNCForward
from vcloud.providers.streamspace.realtime.logs import LogStream
from vcloud.providers.streamspace.realtime.vnc import VNCTunnel
from vcloud.providers.streamspace.wire import bearer

__all__ = ["Realtime"]

LOGS: Shape[SessionLogs, tuple[str, ...]] = Shape(
    SessionLogs, lambda wire, session, body: tuple(required(wire.logs, body, "logs"))
)


class Realtime(Handle):
    """The part of a session's handle that goes over WebSockets."""

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
        """The last lines that its container wrote, and with ``follow`` those that it still writes.

        ``GET /sessions/{session_id}/logs``, with ``follow`` as the upgrade to a WebSocket.

        ::

            for line in await session.logs(tail=20):
                print(printable(line))  # vcloud.printable: a program there wrote it

            async with session.logs(follow=True) as lines:
                async for line in lines:
                    print(printable(line))

        Args:
            follow: go on until the session is over; see :class:`LogStream`.
            tail: how many lines that are there already, at least one.
            timestamps: whether each line begins with its time.

        Raises:
            InvalidArgumentError: ``tail`` below one.
            NotFoundError: there is no such session.
            CapacityError: its agent is offline.
        """
        positive_integer(tail, "tail")
        if not follow:
            return self._session.fetch(
                self._log_request(tail=tail, follow=False, timestamps=timestamps), LOGS
            )
        session = self._session

        async def connect(lines: int) -> Socket:
            return await session.connect(
                self._log_request(tail=lines, follow=True, timestamps=timestamps)
            )

        return LogStream(connect, tail=tail, retry=session.retry, entropy=session.entropy)

    def open_vnc(self) -> VNCTunnel:
        """Its picture and its input: the bytes of its VNC server, both ways.  ``GET /vnc-viewer/{session_id}`` (WebSocket)

        ::

            async with session.open_vnc() as tunnel:
                greeting = await tunnel.read()

        Entering it (or :meth:`VNCTunnel.aopen`) sends the request, with the token in the query as the document says.

        Raises:
            ConfigurationError: there is no token to send, or the service named an address on another host.
            AuthenticationError: the token is not accepted; raised when it is opened, like all that follow.
            PermissionDeniedError: it is another user's session, and you are no administrator.
            NotFoundError: there is no such session.
            ConflictError: it is not running.
        """
        path, _, parameters = self._own_vnc_url().removeprefix(self._root).partition("?")
        # A path that the service named may open the picture by itself, so texts have this instead.
        own = path == f"/vnc-viewer/{path_segment(self.id)}"
        label = "" if own else "/vnc-viewer/{session_id}"
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
        """A local port for any VNC viewer; each of its connections is a tunnel of its own, see :meth:`open_vnc`.

        ::

            async with session.forward_vnc() as forward:
                print(f"vncviewer {forward.host}::{forward.port}")
                await asyncio.Event().wait()

        Args:
            port: which; 0 takes a free one.
            host: an address of this machine's own, a loopback one.
            on_error: is called, and awaited if it returns an awaitable, with the error of each connection that did not
                end well. The viewer is told the reason too, as far as its protocol allows.
            anyone: let in every user of this machine. Whoever is let in controls the session.
                Without it only programs of this process's user and of root are, by the kernel's
                table of sockets; systems that have no such table (macOS, Windows) let everybody in
                all the same, and one WARNING says so.

        Raises:
            InvalidArgumentError: ``host`` is no loopback address, ``port`` no port, or ``anyone``
                no bool.
            OSError: the port is taken; raised when it is entered.
        """
        return VNCForward(
            self.open_vnc,
            host=host,
            port=port,
            on_error=on_error,
            anyone=anyone,
            known_to=self._session.opened,
        )

    @property
    def vnc_url(self) -> str:
        """Where its picture is served while it runs: a WebSocket, without the token that opens it.

        It is beside the API, not below it: for ``https://HOST/prefix/api/v1`` below
        ``wss://HOST/prefix``.
        """
        address = self._vnc_address()
        fault = fault_of_link(address, allow_http=self._session.allow_http)
        if fault is None:
            return address
        # Its path may open the picture: no frame of the error has it.
        del address
        raise refused_link(f"vnc_url for session {word(self.id)}", fault)

    def _vnc_address(self) -> str:
        """:attr:`vnc_url` before it is checked."""
        return f"{self._root}/vnc-viewer/{path_segment(self.id)}"

    async def connect_url(self) -> str:
        """:attr:`vnc_url` with the token that opens it, which is obtained first if there is none.

        Whoever has it can use the session, and everything else that the token opens: treat it as a secret.

        Raises:
            ConfigurationError: the client has no token to give, or the service named an address on another host, which
                is not to see it.
        """
        url = self._own_vnc_url()
        token = quote(await bearer(self._session), safe="")
        return f"{url}{'&' if urlsplit(url).query else '?'}token={token}"

    def _own_vnc_url(self) -> str:
        url = self._vnc_address()
        if not url.startswith(f"{self._root}/"):
            del url
            raise ConfigurationError(
                f"session {word(self.id)}: its picture is somewhere else than the API, and the token "
                f"is only for {self._root}"
            )
        steps = unquote(url.partition("?")[0]).split("/")
        if (
            not (url.isascii() and url.isprintable())
            or set(url) & set(' #"<>\\')
            # A proxy would follow them to another path than the one that was checked. An id is one
            # step, as in every other path.
            or (
                {".", ".."} & set(steps)
                and not url.endswith(f"/vnc-viewer/{path_segment(self.id)}")
            )
        ):
            del url, steps
            raise DecodeError(
                f"session {word(self.id)}: where the service says that its picture is, is no address"
            )
        return url

    @property
    def _root(self) -> str:
        return self._session.root_url.replace("http", "ws", 1)

    def _log_request(self, *, tail: int, follow: bool, timestamps: bool) -> Request:
        # With follow=true the service answers with a WebSocket, so false is always said.
        parameters = query({"tail": tail, "follow": follow, "timestamps": timestamps})
        return Request("GET", self._path("/logs"), parameters)


def below(root: str, named: str) -> str:
    """The whole address of a picture that a service behind a path prefix names.

    Args:
        root: where the installation begins, such as ``wss://host/prefix``.
        named: a path, or a whole URL. One on another host is returned as it is.
    """
    if named.startswith(("http://", "https://")):
        named = named.replace("http", "ws", 1)
    parts = urlsplit(root)
    host = f"{parts.scheme}://{parts.netloc}"
    if "://" in named and not named.startswith(f"{host}/"):
        return named
    path = "/" + named.removeprefix(host).lstrip("/")
    return f"{host}{path}" if path.startswith(f"{parts.path}/") else f"{root}{path}"

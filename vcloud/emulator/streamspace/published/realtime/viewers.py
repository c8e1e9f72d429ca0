"""Where people see desktops: ``/vnc/{name}``, and ``/http/{name}/`` for web pages."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from vcloud.emulator.net.websockets import Close, Socket
from vcloud.emulator.streamspace.published.api import (
    PublishedRequest,
    Reply,
    Route,
    TableEntry,
    Upgrade,
)
from vcloud.emulator.streamspace.published.realtime.relay import Relay
from vcloud.emulator.streamspace.published.realtime.server import (
    ENDED,
    NO_UPGRADE,
    RealtimeServer,
    Sockets,
)
from vcloud.emulator.streamspace.published.realtime.viewer_socket import ViewerSocket
from vcloud.emulator.streamspace.published.refusals import PublishedError
from vcloud.emulator.streamspace.published.state import Session

UNLIMITED: Final = 0
"""A viewer's message may have any size."""
WEB: Final = frozenset({"selkies", "guacamole", "kasm"})
"""The protocols that are web pages, and no VNC."""
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")
DEPTH: Final = 8
"""How many parts the path of a proxied page may have."""


class Viewers:
    """The viewers of sessions."""

    def __init__(self, server: RealtimeServer) -> None:
        """Serve the sessions of this server."""
        self._server = server
        self._space = server.space

    def routes(self) -> tuple[TableEntry, ...]:
        """Method, path and route of each operation."""
        page = Route(handler=self._page, token_in_query=True)
        below = ("".join(f"/{{p{part}}}" for part in range(depth)) for depth in range(DEPTH))
        paths = ("/http/{name}/", *(f"/http/{{name}}{rest}" for rest in below))
        return (
            ("GET", "/vnc/{name}", Route(handler=self._view, token_in_query=True)),
            *((method, path, page) for path in paths for method in METHODS),
        )

    def _view(self, request: PublishedRequest) -> Reply | Upgrade:
        session = self._theirs(request)
        _require_running(session)
        self._require_agent(session)
        if not self._space.connected(session.agent_id):
            raise PublishedError(503, f"Agent {session.agent_id} is not connected")
        if session.protocol in WEB:
            return self._web_session(session)
        if not request.upgrade:
            return NO_UPGRADE

        async def use(socket: web.WebSocketResponse) -> Close:
            if isinstance(socket, Socket):
                relay = Relay(self._server, session.name, session.agent_id, ViewerSocket(socket))
                await self._server.view(relay)
            return ENDED

        sockets = Sockets(self._space.live, max_message=UNLIMITED, autoping=False)
        return Upgrade(sockets, use)

    def _web_session(self, session: Session) -> Reply:
        url = session.phase_at(self._space.clock.now()).url
        if not url:
            return Reply(
                202,
                {
                    "error": "Session URL not yet available",
                    "message": "The agent is still starting the session. "
                    "Please wait and try again.",
                    "protocol": session.protocol,
                    "retry_after": 5,
                    "session_id": session.name,
                },
            )
        return Reply(
            200,
            {
                "message": "Access this session via the provided URL",
                "path": session.path,
                "port": session.port,
                "protocol": session.protocol,
                "session_id": session.name,
                "type": "http_session",
                "url": url,
            },
        )

    def _page(self, request: PublishedRequest) -> Reply:
        """Refuse a page of a session: here is no service behind it."""
        session = self._theirs(request)
        if session.protocol not in WEB:
            raise PublishedError(
                400,
                f"Session uses protocol '{session.protocol}', not HTTP-based "
                "(use /vnc endpoint instead)",
            )
        _require_running(session)
        self._require_agent(session)
        self._server.note_activity(session.name)
        host = f"{session.name}.{session.namespace}.svc.cluster.local"
        text = f'{{"error": "Proxy error", "message": "dial tcp: lookup {host}: no such host"}}'
        return Reply(502, text.encode(), content_type="text/plain; charset=utf-8")

    def _theirs(self, request: PublishedRequest) -> Session:
        """The session in the path, which must be the user's own; administrators see no others."""
        session = self._space.session(request.params["name"])
        if session is None:
            raise PublishedError(404, "Session not found")
        if session.user != request.user.id:
            raise PublishedError(403, "Access denied")
        return session

    def _require_agent(self, session: Session) -> None:
        if not session.agent_id:
            raise PublishedError(503, "Session has no agent assigned")


def _require_running(session: Session) -> None:
    if session.state != "running":
        raise PublishedError(409, f"Session is not running (state: {session.state})")

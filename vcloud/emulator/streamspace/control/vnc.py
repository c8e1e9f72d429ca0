"""Viewers of sessions: their admission, and the connection to their session's agent."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from aiohttp import web

from vcloud.emulator.net.query import Query
from vcloud.emulator.net.routing import NoRouteError, Routes, WrongMethodError
from vcloud.emulator.net.websockets import LOST, Channel, Close, Stream, Use, pump, wants_socket
from vcloud.emulator.streamspace.arguments import StreamSpaceError, ambiguous
from vcloud.emulator.streamspace.control import rfb
from vcloud.emulator.streamspace.control.fleet import Fleet
from vcloud.emulator.streamspace.control.links import Proxy
from vcloud.emulator.streamspace.control.plane import ControlPlane
from vcloud.emulator.streamspace.state import Session
from vcloud.emulator.tasks import first_completed

POLL = 0.2
"""Polling interval in real seconds, for sessions that end by simulated time."""


def worse(first: Close, second: Close) -> Close:
    """The close with the higher code; of equal ones, the one with a reason."""
    return max(first, second, key=lambda close: (close.code, bool(close.reason)))


class Viewers:
    """``GET /vnc-viewer/{session_id}?token=JWT`` at the host's root.

    A viewer is refused before the upgrade, in the documented form. Two codes are this project's
    own, where the document names none: SESSION_NOT_RUNNING (409), and VNC_PROXY_FAILED (503) when
    the agent opens no VNC connection. When a session stops running, its viewers are closed.

    A viewer may offer the subprotocol ``binary``, as noVNC and websockify do, or ``base64``, as
    their older versions do. The one that matches the frames sent here is chosen, because browsers
    refuse a server that chooses none of those they offer.
    """

    prefix: str = "/vnc-viewer"

    def __init__(self, fleet: Fleet, control: ControlPlane) -> None:
        """Serve the sessions of `fleet`."""
        self.base64: bool = False
        """Whether to send base64 in text frames, as the published server does."""
        self._fleet = fleet
        self._control = control
        self._screens: dict[str, rfb.Screen] = {}
        self._routes: Routes[str] = Routes(self.prefix)
        self._routes.add("GET", "/{session_id}", "view")

    def screen(self, session_id: str) -> rfb.Screen:
        """A built-in agent's screen of a session."""
        session = self._fleet.sessions[session_id]
        return self._screens.setdefault(session_id, rfb.Screen(session.name))

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:  # noqa: ARG002 - an upgrade has none
        """Answer a viewer's upgrade. No rate limit counts these requests."""
        headers = self._fleet.new_headers()
        try:
            session = self._admit(request)
            return await (self._relay if session.remote else self._show)(request, session, headers)
        except StreamSpaceError as error:
            return self._fleet.refuse(error, headers)

    def _admit(self, request: web.BaseRequest) -> Session:
        path = request.raw_path.partition("?")[0]
        token = Query(request.query, ambiguous).get("token")
        if not token:
            raise StreamSpaceError("AUTH_TOKEN_MISSING", "Parameter 'token' missing")
        user = self._fleet.user_of(token)
        try:
            id_ = self._routes.find(request.method, path).params["session_id"]
        except (NoRouteError, WrongMethodError):
            raise StreamSpaceError("NOT_FOUND", f"Nothing at {request.method} {path}") from None
        session = self._fleet.sessions.get(id_)
        if session is None:
            raise StreamSpaceError("SESSION_NOT_FOUND", f"No session with ID '{id_}' exists")
        if not self._fleet.may_see(user, session):
            raise StreamSpaceError(
                "AUTH_INSUFFICIENT_PERMISSIONS",
                "User lacks required permissions: the session is another user's",
            )
        state = session.state_at(self._fleet.clock.now())
        if state != "running":
            raise StreamSpaceError("SESSION_NOT_RUNNING", f"Session '{id_}' is {state}")
        self._fleet.connected_agent_of(session)
        if not wants_socket(request):
            raise StreamSpaceError("INVALID_PARAMETER", f"{path} needs a WebSocket upgrade")
        return session

    async def _show(
        self, request: web.BaseRequest, session: Session, headers: dict[str, str]
    ) -> web.StreamResponse:
        screen = self.screen(session.id)

        async def use(socket: web.WebSocketResponse) -> Close:
            viewer = Channel(socket, "the viewer", self.base64)
            return await self._view(session, viewer, rfb.serve(Stream(viewer), screen))

        return await self._serve(request, headers, use)

    async def _relay(
        self, request: web.BaseRequest, session: Session, headers: dict[str, str]
    ) -> web.StreamResponse:
        proxy = self._control.request_vnc(session)
        try:
            agent = await self._arrival(proxy)

            async def use(socket: web.WebSocketResponse) -> Close:
                viewer = Channel(socket, "the viewer", self.base64)
                close = await self._view(
                    session, viewer, first_completed(pump(viewer, agent), pump(agent, viewer))
                )
                # Each side is closed as the other one ended.
                close, agent.close = worse(close, agent.close), worse(close, viewer.close)
                return close

            return await self._serve(request, headers, use)
        finally:
            self._control.close_vnc(proxy)

    async def _serve(
        self, request: web.BaseRequest, headers: dict[str, str], use: Use
    ) -> web.StreamResponse:
        spoken = "base64" if self.base64 else "binary"
        return await self._fleet.live.serve(request, headers, use, subprotocols=[spoken])

    async def _arrival(self, proxy: Proxy) -> Channel:
        try:
            async with asyncio.timeout(self._control.vnc_timeout):
                arrived = await proxy.arrived
        except TimeoutError:
            message = f"Agent '{proxy.session.agent_id}' did not open the VNC connection in time"
            raise StreamSpaceError("VNC_PROXY_FAILED", message) from None
        if isinstance(arrived, StreamSpaceError):
            raise arrived
        return arrived

    async def _view(
        self, session: Session, viewer: Channel, work: Coroutine[Any, Any, None]
    ) -> Close:
        clock = self._fleet.clock
        session.open_viewer(clock.now())
        self._fleet.changes.notify()
        try:
            await first_completed(work, self._while_running(session))
        except ConnectionError:
            return LOST
        finally:
            session.close_viewer(clock.now())
            self._fleet.changes.notify()
        state = session.state_at(clock.now())
        if viewer.close == Close() and state != "running":
            return Close(reason=f"the session is {state}")
        return viewer.close

    async def _while_running(self, session: Session) -> None:
        while session.state_at(self._fleet.clock.now()) == "running":
            await self._fleet.changes.wait(POLL)

"""The VNC connections that agents open: which viewer waits for which agent's connection."""

from __future__ import annotations

import asyncio

from aiohttp import web

from vcloud.emulator.net.websockets import Channel, Close
from vcloud.emulator.streamspace.arguments import Json, StreamSpaceError
from vcloud.emulator.streamspace.control.fleet import Fleet
from vcloud.emulator.streamspace.control.links import Link, Proxy
from vcloud.emulator.streamspace.control.messages import vnc_proxy_request
from vcloud.emulator.streamspace.state import Session


class VNCConnections:
    """``GET /agent/vnc/{proxy_id}``: an agent's connection for a viewer.

    The control plane requests it on the agent's socket. The agent opens the address and sends the
    VNC bytes of the session, or reports ``vnc_proxy_error``.
    """

    def __init__(self, fleet: Fleet) -> None:
        """Begin with no requests."""
        self._fleet = fleet
        self._proxies: dict[str, Proxy] = {}

    def request(self, link: Link, session: Session) -> Proxy:
        """Ask an agent for a VNC connection to a session; `close` must follow."""
        future: asyncio.Future[Channel | StreamSpaceError] = (
            asyncio.get_running_loop().create_future()
        )
        proxy = Proxy(self._fleet.new_token("proxy"), session, future)
        self._proxies[proxy.id] = proxy
        link.send(vnc_proxy_request(proxy.id, session))
        return proxy

    def close(self, proxy: Proxy) -> None:
        """End a connection, or the wait for it."""
        self._proxies.pop(proxy.id, None)
        proxy.over.set()
        proxy.arrived.cancel()

    def failed(self, link: Link, message: Json) -> None:
        """Take an agent's report that it cannot reach the VNC server."""
        proxy = self._proxies.get(str(message.get("proxy_id")))
        if (
            proxy is not None
            and proxy.session.agent_id == link.agent_id
            and not proxy.arrived.done()
        ):
            error = str(message.get("error") or "the agent cannot reach the VNC server")
            proxy.arrived.set_result(StreamSpaceError("VNC_PROXY_FAILED", error))

    def lost(self, agent_id: str, error: StreamSpaceError) -> None:
        """Refuse the viewers that wait for an agent whose socket is closed."""
        for proxy in self._proxies.values():
            if proxy.session.agent_id == agent_id and not proxy.arrived.done():
                proxy.arrived.set_result(error)

    async def serve(
        self, request: web.BaseRequest, proxy_id: str, headers: dict[str, str]
    ) -> web.StreamResponse:
        """Connect an agent with the viewer that waits for it."""
        proxy = self._proxies.get(proxy_id)
        if proxy is None or proxy.taken or proxy.arrived.done():
            raise StreamSpaceError("NOT_FOUND", "No viewer waits for this")
        proxy.taken = True

        async def use(socket: web.WebSocketResponse) -> Close:
            channel = Channel(socket, "the agent")
            if not proxy.arrived.done():
                proxy.arrived.set_result(channel)
            # The viewer's side copies the bytes, and sets how this one is closed.
            await proxy.over.wait()
            return channel.close

        return await self._fleet.live.serve(request, headers, use)

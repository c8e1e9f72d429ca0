"""``GET /agents/connect``: the sockets of agents."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import WSMsgType, web

from vcloud.emulator.net.websockets import Close
from vcloud.emulator.streamspace.published.api import (
    PublishedRequest,
    Reply,
    Route,
    TableEntry,
    Upgrade,
)
from vcloud.emulator.streamspace.published.realtime.connections import CHECK, SILENCE, Connection
from vcloud.emulator.streamspace.published.realtime.envelope import read
from vcloud.emulator.streamspace.published.realtime.server import (
    ENDED,
    NO_UPGRADE,
    RealtimeServer,
    Sockets,
)
from vcloud.emulator.streamspace.published.refusals import PublishedError
from vcloud.emulator.tasks import first_completed

LARGEST: Final = 512 * 1024
"""Bytes of a message; a larger one ends the connection with 1009."""
PING: Final = 54.0
"""Seconds between the server's pings of an agent."""
PONG: Final = 60.0
"""Seconds in which a ping, or the answer to one, must come."""
VNC: Final = frozenset({"vnc_ready", "vnc_data", "vnc_error"})


class AgentSockets:
    """The sockets on which agents are told what to do, and say what they did.

    An agent answers pings within 60 s, and sends a heartbeat at least every 45 s; otherwise its
    connection ends. No connection ends with a close frame.
    """

    def __init__(self, server: RealtimeServer) -> None:
        """Serve the agents of this server."""
        self._server = server
        self._space = server.space

    def routes(self) -> tuple[TableEntry, ...]:
        """Method, path and route of each operation."""
        return (("GET", "/agents/connect", Route(handler=self._connect, agent=True)),)

    def _connect(self, request: PublishedRequest) -> Reply | Upgrade:
        # The key is checked for the agent of the query, if there is one.
        agent_id = request.query.get("agent_id")
        if not agent_id:
            raise PublishedError(
                400, "Missing agent_id", details="agent_id query parameter is required"
            )
        if agent_id not in self._space.agents:
            raise PublishedError(
                404,
                "Agent not found",
                details="Agent must register before connecting via WebSocket",
                agentId=agent_id,
            )
        if not request.upgrade:
            return NO_UPGRADE

        async def use(socket: web.WebSocketResponse) -> Close:
            return await self._serve(agent_id, socket)

        sockets = Sockets(self._space.live, max_message=LARGEST + 1, autoping=False)
        return Upgrade(sockets, use)

    async def _serve(self, agent_id: str, socket: web.WebSocketResponse) -> Close:
        server, process = self._server, self._server.process
        connection = Connection(agent_id, server.now())
        server.hub.register(connection)
        self._space.agents[agent_id].remote = True
        try:
            await first_completed(
                self._receive(connection, socket),
                _send(connection, socket),
                _ping(socket),
                self._watch(connection),
                connection.over.wait(),
                process.wait(),
            )
        finally:
            # By the agent's id: a newer connection of the agent ends with this one.
            if not process.is_set():
                server.hub.unregister(agent_id)
        return ENDED

    async def _receive(self, connection: Connection, socket: web.WebSocketResponse) -> None:
        now = self._server.now
        pong_by = now() + PONG
        while True:
            try:
                frame = await socket.receive(timeout=max(pong_by - now(), 0.001))
            except TimeoutError:
                return
            if frame.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
                self._take(connection, frame.data)
            elif frame.type in {WSMsgType.PING, WSMsgType.PONG}:
                pong_by = now() + PONG
                if frame.type is WSMsgType.PING:
                    await socket.pong(frame.data)
            else:
                return

    def _take(self, connection: Connection, data: str | bytes) -> None:
        found = read(data)
        if found is None:
            return
        if found.type in VNC:
            connection.incoming.put(found)
        else:
            self._server.take(connection.agent_id, found)

    async def _watch(self, connection: Connection) -> None:
        """End a connection without heartbeats."""
        while True:
            left = connection.heard + SILENCE - self._server.now()
            if left <= 0:
                return
            self._space.repeat_stops(connection.agent_id)
            await asyncio.sleep(min(left, CHECK))


async def _send(connection: Connection, socket: web.WebSocketResponse) -> None:
    """Send what is queued; what waits already goes into the same message, on lines of its own."""
    while True:
        first = await connection.outgoing.take()
        await socket.send_str("\n".join((first, *connection.outgoing.take_all())))


async def _ping(socket: web.WebSocketResponse) -> None:
    while True:
        await asyncio.sleep(PING)
        await socket.ping()

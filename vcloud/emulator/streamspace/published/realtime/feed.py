"""``GET /ws/sessions``: the list of sessions, every three seconds."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

from aiohttp import WSMsgType, web

from vcloud.emulator.net.websockets import Close
from vcloud.emulator.streamspace.published.api import (
    PublishedRequest,
    Reply,
    Route,
    TableEntry,
    Upgrade,
)
from vcloud.emulator.streamspace.published.realtime.connections import DroppingQueue
from vcloud.emulator.streamspace.published.realtime.envelope import written
from vcloud.emulator.streamspace.published.realtime.server import (
    ENDED,
    NO_UPGRADE,
    RealtimeServer,
    Sockets,
)
from vcloud.emulator.streamspace.published.state import Session
from vcloud.emulator.tasks import first_completed

INTERVAL: Final = 3.0
"""Seconds between two messages."""
PING: Final = 30.0
"""Seconds between the server's pings."""
SILENCE: Final = 60.0
"""Seconds in which a client must say something, pongs included."""
ORGANIZATION: Final = "default-org"

_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_UNITS: Final = (3600, 60, 1)


class Feed:
    """The clients that get the list of all sessions, but for those that have been terminated.

    All of them get the same message at the same time. One that has 256 unread is dropped.
    """

    def __init__(self, server: RealtimeServer) -> None:
        """Serve the sessions of this server."""
        self.interval: float = INTERVAL
        """Real seconds between two messages."""
        self._server = server
        self._space = server.space
        self._clients: dict[DroppingQueue[str], asyncio.Event] = {}
        self._ticking: asyncio.Task[None] | None = None

    def routes(self) -> tuple[TableEntry, ...]:
        """Method, path and route of the operation."""
        return (("GET", "/ws/sessions", Route(handler=self._follow)),)

    def _follow(self, request: PublishedRequest) -> Reply | Upgrade:
        if not request.upgrade:
            return NO_UPGRADE
        return Upgrade(Sockets(self._space.live, autoping=False), self._serve)

    async def _serve(self, socket: web.WebSocketResponse) -> Close:
        queue, full = DroppingQueue[str](), asyncio.Event()
        self._clients[queue] = full
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._tick())
        try:
            await first_completed(
                self._receive(socket),
                _send(queue, socket),
                _ping(socket),
                full.wait(),
                self._server.process.wait(),
            )
        finally:
            del self._clients[queue]
            if not self._clients and self._ticking is not None:
                self._ticking.cancel()
                self._ticking = None
        return ENDED

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self.interval)
            text = written(self.message())
            for queue, full in tuple(self._clients.items()):
                if not queue.put(text):
                    full.set()

    async def _receive(self, socket: web.WebSocketResponse) -> None:
        """Read what a client says, which means nothing, until it leaves or is silent."""
        said = {WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG}
        try:
            while (frame := await socket.receive(timeout=SILENCE)).type in said:
                if frame.type is WSMsgType.PING:
                    await socket.pong(frame.data)
        except TimeoutError:
            return

    def message(self) -> dict[str, Any]:
        """What is sent now."""
        now = self._space.clock.now()
        found = [one for one in self._space.sessions.values() if one.state_at(now) != "terminated"]
        found.sort(key=lambda one: (one.created_at, one.number), reverse=True)
        return {
            "count": len(found),
            "org_id": ORGANIZATION,
            "sessions": [self._entry(one, now) for one in found],
            "timestamp": self._seconds(now),
            "type": "sessions_update",
        }

    def _entry(self, session: Session, now: float) -> dict[str, Any]:
        phase = session.phase_at(now)
        entry = {
            "activeConnections": session.active_connections(now),
            "agent_id": session.agent_id,
            "createdAt": self._seconds(session.created_at),
            "name": session.name,
            "namespace": session.namespace,
            "platform": session.platform,
            "resources": dict(session.resources),
            "state": phase.state,
            "status": {
                "phase": phase.state[:1].upper() + phase.state[1:],
                "podName": phase.pod_name,
                "url": phase.url,
            },
            "template": session.template,
            "user": session.user,
        }
        if phase.activity is not None:
            entry["lastActivity"] = self._seconds(phase.activity)
            entry |= _idleness(session.idle_timeout, now - phase.activity)
        return dict(sorted(entry.items()))

    def _seconds(self, at: float) -> str:
        return self._space.clock.iso(at, "seconds")


def _idleness(timeout: str, idle: float) -> dict[str, Any]:
    """For how long a session was not used, if it has a timeout that can be read."""
    found = _DURATION.fullmatch(timeout) if timeout else None
    if found is None:
        return {}
    threshold = sum(
        int(part or 0) * unit for part, unit in zip(found.groups(), _UNITS, strict=True)
    )
    if not threshold:
        return {}
    return {
        "idleDuration": int(idle),
        "idleThreshold": threshold,
        "isActive": idle < threshold,
        "isIdle": idle >= threshold,
    }


async def _send(queue: DroppingQueue[str], socket: web.WebSocketResponse) -> None:
    """Send what is queued; what waits already goes into the same message, on lines of its own."""
    while True:
        first = await queue.take()
        await socket.send_str("\n".join((first, *queue.take_all())))


async def _ping(socket: web.WebSocketResponse) -> None:
    while True:
        await asyncio.sleep(PING)
        await socket.ping()

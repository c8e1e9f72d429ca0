"""The relay between a viewer and an agent's socket, with everything that goes wrong in it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import msgspec

from vcloud.emulator.streamspace.published.realtime.connections import Connection, Hub
from vcloud.emulator.streamspace.published.realtime.envelope import AgentMessage, SessionData
from vcloud.emulator.streamspace.published.realtime.stops import Stops
from vcloud.emulator.streamspace.published.realtime.viewer_socket import (
    ServerPanicError,
    ViewerSocket,
)
from vcloud.emulator.tasks import cancel_and_wait

PING: Final = 54.0
"""Seconds between the server's pings of a viewer."""
ACTIVITY: Final = 30.0
"""Seconds between two notes that a session is viewed."""

_numbers: Final = itertools.count(1)
_session_data: Final = msgspec.json.Decoder(SessionData)


class Viewed(Protocol):
    """What a relay tells its server."""

    hub: Hub

    def tell(self, agent_id: str, kind: str, payload: Any) -> bool:
        """Send a message to whichever connection of an agent counts now."""
        ...

    def note_activity(self, session_id: str) -> None:
        """Note that a session is viewed."""

    def viewer_left(self, relay: Relay) -> None:
        """Note that a relay has ended."""


class Relay:
    """Copies between a viewer and the connection that its agent had when the viewer came.

    What the agent sends comes from one queue for all its viewers: each takes what it finds there,
    and drops what is another session's. What is left in it when a viewer leaves is given to the
    next one. A viewer that leaves is noticed if the relay has waited for longest (`Stops`): if the
    agent has not woken it before. Otherwise it takes what comes, and ends when it can no longer
    write.

    When it ends while the viewer's socket is still read (an error that the agent reports, or a late
    write), the server's process ends, and with it every connection.
    """

    def __init__(
        self, server: Viewed, session_id: str, agent_id: str, viewer: ViewerSocket
    ) -> None:
        """Relay for one viewer; `run` does it."""
        self.id: str = f"viewer-{next(_numbers)}"
        self.session_id: str = session_id
        self.agent_id: str = agent_id
        self.viewer: ViewerSocket = viewer
        self._server = server
        self._stops = Stops()

    async def run(self, connection: Connection | None) -> None:
        """Relay until the end, which comes at once if the agent has just left.

        Raises:
            ServerPanicError: the server's process ends.
        """
        if connection is None:
            self._end()
            return
        # In the order in which the server's own begin to wait.
        relaying = asyncio.create_task(self._relay(connection))
        await asyncio.sleep(0)
        others = (
            asyncio.create_task(self._every(ACTIVITY, self._note)),
            asyncio.create_task(self._every(PING, self._ping)),
            asyncio.create_task(self._read()),
        )
        try:
            await self._until_done(relaying, others)
        finally:
            await cancel_and_wait(relaying, *others)
        if self.viewer.reading:
            raise ServerPanicError
        self._end()

    async def _until_done(
        self, relaying: asyncio.Task[None], others: tuple[asyncio.Task[None], ...]
    ) -> None:
        """Wait for the relay, or for a failure of the others."""
        running = {relaying, *others}
        while not relaying.done():
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    def _end(self) -> None:
        self.viewer.close()
        self._server.viewer_left(self)
        self._server.tell(
            self.agent_id,
            "vnc_close",
            {"sessionId": self.session_id, "reason": "client_disconnect"},
        )

    async def _relay(self, connection: Connection) -> None:
        """Give the viewer what the agent sends it."""
        while True:
            found = connection.incoming.take_now() or await self._next(connection)
            if found is None or not await self._give(found):
                return

    async def _next(self, connection: Connection) -> AgentMessage | None:
        """The agent's next message; None for the signal to end."""
        stop = self._stops.wait()
        taking = asyncio.create_task(connection.incoming.take())
        try:
            await asyncio.wait({stop, taking}, return_when=asyncio.FIRST_COMPLETED)
            if stop.done():
                return None
            found: AgentMessage = taking.result()
            return found
        finally:
            self._stops.leave(stop)
            await cancel_and_wait(*(task for task in (taking,) if not task.done()))

    async def _give(self, found: AgentMessage) -> bool:
        """Give the viewer a message if it is its; whether to go on."""
        if found.type == "vnc_ready":
            return True
        try:
            payload = _session_data.decode(found.payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return True
        if payload.session_id != self.session_id:
            return True
        return found.type == "vnc_data" and await self.viewer.write(payload.data)

    async def _read(self) -> None:
        """Give the agent what the viewer sends."""
        while (text := await self.viewer.read()) is not None:
            data = {"sessionId": self.session_id, "data": text}
            if not self._server.tell(self.agent_id, "vnc_data", data):
                self.viewer.reading = False
                break
        self._stops.give()

    async def _every(self, seconds: float, act: Callable[[], Awaitable[bool]]) -> None:
        """Do something at this interval, until the signal or a failure, which gives the signal."""
        now = asyncio.get_running_loop().time
        due = now() + seconds
        while True:
            stop = self._stops.wait()
            try:
                await asyncio.wait({stop}, timeout=due - now())
                if stop.done():
                    return
            finally:
                self._stops.leave(stop)
            due += seconds
            if not await act():
                self._stops.give()
                return

    async def _note(self) -> bool:
        self._server.note_activity(self.session_id)
        return True

    async def _ping(self) -> bool:
        return await self.viewer.ping()

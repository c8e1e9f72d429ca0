"""The sockets of the published StreamSpace: agents, viewers, and the feed of sessions."""

from __future__ import annotations

from vcloud.emulator.streamspace.published.api import TableEntry
from vcloud.emulator.streamspace.published.realtime.agents import AgentSockets
from vcloud.emulator.streamspace.published.realtime.feed import Feed
from vcloud.emulator.streamspace.published.realtime.server import RealtimeServer
from vcloud.emulator.streamspace.published.realtime.viewers import Viewers
from vcloud.emulator.streamspace.published.space import Space


class Realtime:
    """What is served over sockets."""

    def __init__(self, space: Space) -> None:
        """Serve the agents and sessions of `space`."""
        self.server: RealtimeServer = RealtimeServer(space)
        """The connections, with what goes wrong in them."""
        self.feed: Feed = Feed(self.server)
        """``GET /ws/sessions``."""
        self._parts = (AgentSockets(self.server), Viewers(self.server), self.feed)

    def routes(self) -> tuple[TableEntry, ...]:
        """Method, path and route of each operation."""
        return tuple(entry for part in self._parts for entry in part.routes())

    async def aclose(self) -> None:
        """End what goes on; may be called again."""
        await self.server.aclose()

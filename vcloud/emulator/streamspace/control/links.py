"""What the control plane keeps of its agents' connections: who is there, what they were told, who waits for them."""

from __future__ import annotations

import asyncio

from attrs import define, field

from vcloud.emulator.net.websockets import GOING_AWAY, Channel, Close
from vcloud.emulator.streamspace.arguments import Json, StreamSpaceError
from vcloud.emulator.streamspace.state import Session

OUTBOX = 1000
"""Messages that may wait for an agent; one that does not read so many is gone."""

DONE = Close(GOING_AWAY, "the control plane is done with this connection")


@define(eq=False)
class Link:
    """One agent's socket."""

    agent_id: str
    platform: str
    region: str | None
    heard: float
    outbox: asyncio.Queue[Json] = field(factory=lambda: asyncio.Queue(OUTBOX))
    over: asyncio.Event = field(factory=asyncio.Event)
    """Set when the control plane is done with it."""
    close: Close = DONE
    """What to close it with then."""

    def end(self, reason: str) -> None:
        """Be done with it."""
        self.close = Close(GOING_AWAY, reason)
        self.over.set()


@define(eq=False)
class Command:
    """Something an agent was told and has not answered yet."""

    message: Json
    kind: str
    agent_id: str
    session: Session
    timer: asyncio.TimerHandle
    acknowledged: bool = False


@define(eq=False)
class Proxy:
    """A viewer that waits for its session's agent, and then has it."""

    id: str
    session: Session
    arrived: asyncio.Future[Channel | StreamSpaceError]
    over: asyncio.Event = field(factory=asyncio.Event)
    taken: bool = False

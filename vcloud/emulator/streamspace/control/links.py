"""The connections of agents: open sockets, unanswered commands, and viewers that wait."""

from __future__ import annotations

import asyncio

from attrs import define, field

from vcloud.emulator.net.websockets import GOING_AWAY, Channel, Close
from vcloud.emulator.streamspace.arguments import Json, StreamSpaceError
from vcloud.emulator.streamspace.state import Session

OUTBOX = 1000
"""Maximum messages that wait for an agent; the connection of a slower one is closed."""

DONE = Close(GOING_AWAY, "the control plane is done with this connection")


@define(eq=False)
class Link:
    """One agent's socket."""

    agent_id: str
    platform: str
    region: str | None
    heard: float
    """When the last heartbeat came."""
    outbox: asyncio.Queue[Json] = field(factory=lambda: asyncio.Queue(OUTBOX))
    over: asyncio.Event = field(factory=asyncio.Event)
    """Set when the control plane is done with it."""
    close: Close = DONE
    """How it is closed then."""

    def send(self, message: Json) -> None:
        """Queue a message; the connection ends when too many are unread."""
        try:
            self.outbox.put_nowait(message)
        except asyncio.QueueFull:
            self.end(f"the agent left {OUTBOX} messages unread")

    def end(self, reason: str) -> None:
        """Have the connection closed."""
        self.close = Close(GOING_AWAY, reason)
        self.over.set()


@define(eq=False)
class Command:
    """A command that an agent has not answered yet."""

    message: Json
    kind: str
    agent_id: str
    session: Session
    timer: asyncio.TimerHandle
    acknowledged: bool = False

    @property
    def id(self) -> str:
        """The command's id."""
        return str(self.message["command_id"])


@define(eq=False)
class Proxy:
    """A viewer that waits for its session's agent, and is then connected with it."""

    id: str
    session: Session
    arrived: asyncio.Future[Channel | StreamSpaceError]
    over: asyncio.Event = field(factory=asyncio.Event)
    taken: bool = False

"""The connections of agents: a queue of 256 messages each way, and which one counts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Final, Generic, Protocol, TypeVar

from attrs import define, field

T = TypeVar("T")

QUEUE: Final = 256
"""Messages that wait in one direction of an agent's socket. What comes then is dropped."""
SILENCE: Final = 45.0
"""Seconds without a heartbeat after which a connection is ended."""
CHECK: Final = 10.0
"""Seconds between two looks for silent connections."""


class DroppingQueue(Generic[T]):
    """A queue that drops what comes while it is full."""

    def __init__(self) -> None:
        """Begin with an empty queue."""
        self.dropped: int = 0
        """How many messages were dropped."""
        self._queue: asyncio.Queue[T] = asyncio.Queue(QUEUE)

    def __len__(self) -> int:
        """How many messages wait."""
        return self._queue.qsize()

    def put(self, item: T) -> bool:
        """Add a message; whether there was room for it."""
        if self._queue.full():
            self.dropped += 1
            return False
        self._queue.put_nowait(item)
        return True

    def take_now(self) -> T | None:
        """The next message; None if none waits."""
        return None if self._queue.empty() else self._queue.get_nowait()

    def take_all(self) -> Iterator[T]:
        """Everything that waits."""
        while not self._queue.empty():
            yield self._queue.get_nowait()

    async def take(self) -> T:
        """The next message, once there is one. Who waits for longest gets it."""
        return await self._queue.get()


@define(eq=False)
class Connection:
    """One socket of an agent, or the built-in agent."""

    agent_id: str
    heard: float
    """When the last heartbeat came, by the loop's clock."""
    outgoing: DroppingQueue[str] = field(factory=DroppingQueue)
    """Messages for the agent."""
    incoming: DroppingQueue[Any] = field(factory=DroppingQueue)
    """The agent's VNC messages, for the viewers of all its sessions."""
    over: asyncio.Event = field(factory=asyncio.Event)
    """Set when the server has ended it."""


class Registry(Protocol):
    """What keeps the agents' states."""

    def agent_connected(self, agent_id: str) -> None:
        """Note that an agent is online."""

    def agent_left(self, agent_id: str) -> None:
        """Note that an agent is offline."""


class Hub:
    """Which connection of each agent counts.

    A connection's end is noted by the agent's id, and so ends whichever connection of that agent
    counts. That is why a second connection is ended too: it ends the first one, whose end ends it.
    """

    def __init__(self, registry: Registry) -> None:
        """Begin without connections."""
        self._registry = registry
        self._connections: dict[str, Connection] = {}

    def get(self, agent_id: str) -> Connection | None:
        """The connection of an agent that counts; None if it is not connected."""
        return self._connections.get(agent_id)

    def register(self, connection: Connection) -> None:
        """Have this connection count from now on, and end the one that did."""
        before = self._connections.get(connection.agent_id)
        if before is not None:
            before.over.set()
        self._connections[connection.agent_id] = connection
        self._registry.agent_connected(connection.agent_id)

    def unregister(self, agent_id: str) -> None:
        """End the connection of an agent that counts, if there is one."""
        connection = self._connections.pop(agent_id, None)
        if connection is not None:
            connection.over.set()
            self._registry.agent_left(agent_id)

    def send(self, agent_id: str, text: str) -> bool:
        """Send an agent a message; whether it is connected and its queue has room."""
        connection = self._connections.get(agent_id)
        return connection is not None and connection.outgoing.put(text)

    def forget(self) -> None:
        """Drop all connections, as the end of the server does. The agents' states stay."""
        for connection in self._connections.values():
            connection.over.set()
        self._connections.clear()

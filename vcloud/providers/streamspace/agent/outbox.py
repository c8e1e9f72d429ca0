"""What an agent has to say, until it is said."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, NamedTuple

from vcloud._core.websocket import Socket
from vcloud.providers.streamspace.messages import Heartbeat, Message, encode_message

__all__ = ["Outbox"]

#: How many messages wait to be sent: a control plane that is away for days must not make the agent grow.
UNSENT: Final = 4096


class _Unsent(NamedTuple):
    text: str
    is_heartbeat: bool


class Outbox:
    """The messages that wait to be sent, over one connection or the next."""

    def __init__(self) -> None:
        self._unsent: deque[_Unsent] = deque(maxlen=UNSENT)
        self._something = asyncio.Event()
        self._nothing = asyncio.Event()

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._unsent)

    def say(self, message: Message) -> None:
        """Send it when there is a connection.

        Raises:
            InvalidArgumentError: it cannot be written as JSON. Nothing is sent of it.
        """
        # Written here, where who says it can still say something else.
        self._unsent.append(_Unsent(encode_message(message), isinstance(message, Heartbeat)))
        self._nothing.clear()
        self._something.set()

    def beat(self, heartbeat: Heartbeat) -> None:
        """Send a heartbeat; one that waits to be sent says enough."""
        if not any(message.is_heartbeat for message in self._unsent):
            self.say(heartbeat)

    def forget_heartbeats(self) -> None:
        """To say on the next connection that one was alive before would be worse than nothing."""
        self._unsent = deque(
            (message for message in self._unsent if not message.is_heartbeat), UNSENT
        )

    async def send_all(self, socket: Socket) -> None:
        """Send what waits, and then what comes.

        Raises:
            TransportError: the connection is lost. What was not sent waits for the next one.
        """
        while True:
            while self._unsent:
                message = self._unsent[0]
                await socket.send_text(message.text)
                # The bound may have dropped it meanwhile.
                if self._unsent and self._unsent[0] is message:
                    self._unsent.popleft()
            self._nothing.set()
            self._something.clear()
            await self._something.wait()

    async def wait_empty(self) -> None:
        """Wait until all is sent."""
        await self._nothing.wait()

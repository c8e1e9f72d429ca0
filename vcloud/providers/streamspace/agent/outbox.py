"""What an agent has to say, until it is said."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, NamedTuple

from vcloud._core.websocket import Socket
from vcloud.errors import InvalidArgumentError
from vcloud.providers.streamspace.agent.messages import Heartbeat, Message, encode_message

__all__ = ["Outbox"]

#: How many messages wait to be sent: a control plane that is away for days must not make the agent grow.
MAX_UNSENT: Final = 4096
#: Characters of these messages; of some 200 each, the number above comes first.
MAX_UNSENT_SIZE: Final = 16 * 1024 * 1024
#: Characters of one message, of four bytes at most: the published server ends the connection at a
#: message above 512 KiB.
MAX_MESSAGE: Final = 128 * 1024


class _Unsent(NamedTuple):
    text: str
    is_heartbeat: bool


class Outbox:
    """The messages that wait to be sent, over one connection or the next."""

    def __init__(self) -> None:
        self._unsent: deque[_Unsent] = deque()
        self._size = 0
        self._something = asyncio.Event()
        self._nothing = asyncio.Event()

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._unsent)

    def say(self, message: Message) -> str:
        """Send it when there is a connection.

        Returns:
            its JSON.

        Raises:
            InvalidArgumentError: it cannot be written as JSON, or is too long. Nothing is sent.
        """
        # Written here, where who says it can still say something else.
        text = encode_message(message)
        if len(text) > MAX_MESSAGE:
            raise InvalidArgumentError(
                f"a {type(message).__name__} of {len(text)} characters is longer than the "
                f"{MAX_MESSAGE} that are sent"
            )
        self._append(_Unsent(text, isinstance(message, Heartbeat)))
        return text

    def say_again(self, text: str) -> None:
        """Send what :meth:`say` returned once more."""
        self._append(_Unsent(text, is_heartbeat=False))

    def beat(self, heartbeat: Heartbeat) -> None:
        """Send a heartbeat; one that waits to be sent says enough."""
        if not any(message.is_heartbeat for message in self._unsent):
            self.say(heartbeat)

    def forget_heartbeats(self) -> None:
        """To say on the next connection that one was alive before would be worse than nothing."""
        self._unsent = deque(message for message in self._unsent if not message.is_heartbeat)
        self._size = sum(len(message.text) for message in self._unsent)

    def _append(self, message: _Unsent) -> None:
        self._unsent.append(message)
        self._size += len(message.text)
        # The oldest go first: a command whose answer is lost is sent again, and answered again.
        while len(self._unsent) > MAX_UNSENT or self._size > MAX_UNSENT_SIZE:
            self._drop_first()
        self._nothing.clear()
        self._something.set()

    def _drop_first(self) -> None:
        self._size -= len(self._unsent.popleft().text)

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
                    self._drop_first()
            self._nothing.set()
            self._something.clear()
            await self._something.wait()

    async def wait_empty(self) -> None:
        """Wait until all is sent."""
        await self._nothing.wait()

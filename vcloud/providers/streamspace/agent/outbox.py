"""The messages that an agent has not sent yet, across connections."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from vcloud.errors import InvalidArgumentError
from vcloud.providers.streamspace.agent.link import Send
from vcloud.providers.streamspace.agent.messages import Heartbeat, Message

__all__ = ["Outbox"]

#: How many messages wait to be sent. The control plane may be away for days, and the agent's memory
#: must not grow for as long.
MAX_UNSENT: Final = 4096
#: Characters of these messages. Most have some 200, so that the number above is reached first.
MAX_UNSENT_SIZE: Final = 16 * 1024 * 1024
#: Characters of one message, of four bytes at most: the published server ends the connection at a
#: message above 512 KiB.
MAX_MESSAGE: Final = 128 * 1024


class _Queued(NamedTuple):
    text: str
    is_heartbeat: bool


class Outbox:
    """A bounded queue of messages, sent over one connection or the next.

    What is put before :meth:`write_with` is kept as it is until then.
    """

    def __init__(self) -> None:
        self._encode: Callable[[Message], str] | None = None
        self._early: deque[Message] = deque(maxlen=MAX_UNSENT)
        self._queue: deque[_Queued] = deque()
        self._size = 0
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    def __len__(self) -> int:
        """How many messages wait to be sent."""
        return len(self._queue) + len(self._early)

    @property
    def size(self) -> int:
        """Characters of these messages."""
        return self._size

    def write_with(self, encode: Callable[[Message], str]) -> None:
        """Write messages as the installation has them, also those that were put before."""
        self._encode = encode
        while self._early:
            self.put(self._early.popleft())

    def put(self, message: Message) -> str:
        """Queue a message.

        Returns:
            its text; empty before :meth:`write_with`.

        Raises:
            InvalidArgumentError: it cannot be written as JSON, or is too long. It is not queued.
        """
        # Encoded here, where the caller can still send something else instead.
        if self._encode is None:
            self._early.append(message)
            return ""
        text = self._encode(message)
        if len(text) > MAX_MESSAGE:
            raise InvalidArgumentError(
                f"a {type(message).__name__} of {len(text)} characters is longer than the "
                f"{MAX_MESSAGE} that are sent"
            )
        self._append(_Queued(text, isinstance(message, Heartbeat)))
        return text

    def put_text(self, text: str) -> None:
        """Queue a text that :meth:`put` returned, once more."""
        self._append(_Queued(text, is_heartbeat=False))

    def put_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Queue a heartbeat, unless one waits already."""
        if not any(message.is_heartbeat for message in self._queue):
            self.put(heartbeat)

    def drop_heartbeats(self) -> None:
        """Drop heartbeats: one of an earlier connection would be wrong on the next."""
        self._queue = deque(message for message in self._queue if not message.is_heartbeat)
        self._size = sum(len(message.text) for message in self._queue)

    def _append(self, message: _Queued) -> None:
        self._queue.append(message)
        self._size += len(message.text)
        # The oldest are dropped: a command whose result is lost is sent again, and answered again.
        while len(self._queue) > MAX_UNSENT or self._size > MAX_UNSENT_SIZE:
            self._drop_first()
        self._emptied.clear()
        self._filled.set()

    def _drop_first(self) -> None:
        self._size -= len(self._queue.popleft().text)

    async def send_all(self, send: Send) -> None:
        """Send the messages that wait, and then each new one.

        Raises:
            TransportError: the connection is lost. Unsent messages wait for the next one.
        """
        while True:
            while self._queue:
                message = self._queue[0]
                await send(message.text)
                # The bound may have dropped it meanwhile.
                if self._queue and self._queue[0] is message:
                    self._drop_first()
            self._emptied.set()
            self._filled.clear()
            await self._filled.wait()

    async def wait_empty(self) -> None:
        """Wait until everything was sent."""
        await self._emptied.wait()

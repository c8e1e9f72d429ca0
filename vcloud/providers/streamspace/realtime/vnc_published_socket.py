"""The published server's side of a tunnel: base64 in text messages, and no word about an end.

The server tells a viewer nothing when its session stops or its agent goes away: the connection
stays open. So a silent tunnel asks for the session's state (:class:`PublishedVNCSocket`).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Coroutine
from contextlib import suppress
from copy import copy
from typing import Any, Final

from vcloud._core.tasks import first_completed
from vcloud._core.timing.timeouts import timeout, timeout_at
from vcloud._core.websocket import ABNORMAL, NORMAL, Socket
from vcloud.errors import DecodeError, TransportError
from vcloud.errors.text import printable, shortened
from vcloud.providers.streamspace.realtime.vnc_errors import SessionStoppedError
from vcloud.providers.streamspace.realtime.vnc_published_pings import CarefulPings

__all__ = ["GONE", "MAX_UNREAD", "PublishedVNCSocket", "decoded", "encoded"]

#: Characters of messages that may be unread: two pictures of 3840 by 2160 pixels. A viewer that
#: makes the server wait for longer ends the server's whole process, so it is ended first.
MAX_UNREAD: Final = 96 * 1024 * 1024
#: What an agent writes instead of base64 before the reason when the desktop is gone. The message
#: that the server has for it, vnc_error, ends the server's whole process while a viewer is there.
GONE: Final = "!"
#: Characters of such a reason.
MAX_REASON: Final = 1000
#: Seconds without a byte after which the session is asked for its state.
FIRST_QUESTION: Final = 60.0
#: Seconds between two such questions.
NEXT_QUESTION: Final = 30.0
#: Seconds for the question why an agent ended a tunnel.
REASON_TIMEOUT: Final = 5.0
#: The first message of a VNC server (RFC 6143, 7.1.1), up to its digits.
GREETING: Final = b"RFB "
GREETING_LENGTH: Final = 12


def encoded(data: bytes | bytearray | memoryview) -> str:
    """These bytes as base64."""
    return base64.b64encode(data).decode("ascii")


def decoded(message: bytes | str) -> bytes:
    """The bytes of one message, which may be none.

    Each message is whole: the server passes on what an agent or a viewer sent as one message, and
    does not cut it. One that was cut cannot be told from one that lost its end.

    Raises:
        DecodeError: it is not base64, or was cut.
    """
    if isinstance(message, bytes):
        return message
    try:
        return base64.b64decode(message, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise DecodeError(
        "a text message in the tunnel is not base64, or not all of it: each message must be whole"
    )


class PublishedVNCSocket:
    """A WebSocket of the published server, as a tunnel uses it. One task may receive.

    Args:
        socket: the WebSocket.
        pings: when it pings.
        first: the VNC server's first message, which was received already.
        ask: is called when nothing came for long; it raises :class:`SessionStoppedError`.
        viewer: an object that lives as long as this tunnel.
    """

    def __init__(
        self,
        socket: Socket,
        pings: CarefulPings,
        first: bytes,
        ask: Callable[[], Coroutine[Any, Any, None]],
        viewer: object,
    ) -> None:
        self._socket = socket
        self._pings = pings
        self._first = self._greeting = first
        self._ask = ask
        self._viewer = viewer
        self._stopped: SessionStoppedError | None = None
        self._loop = asyncio.get_running_loop()
        self._question_at = self._loop.time() + FIRST_QUESTION

    def abandon(self) -> bool:
        """As :meth:`Socket.abandon`."""
        return self._socket.abandon()

    @property
    def close_code(self) -> int | None:
        """As :attr:`Socket.close_code`."""
        return self._socket.close_code

    @property
    def close_reason(self) -> str:
        """As :attr:`Socket.close_reason`."""
        return self._socket.close_reason

    @property
    def ending(self) -> str:
        """As :attr:`Socket.ending`, with what an end without a close frame may mean here."""
        if self.close_code == ABNORMAL:
            return (
                f"{self._socket.ending}; another viewer of the session may have taken over, or the "
                "session ended"
            )
        return self._socket.ending

    def unsent(self) -> int:
        """As :meth:`Socket.unsent`."""
        return self._socket.unsent()

    async def receive(self) -> bytes | None:
        """The next bytes, at least one; None when it is closed.

        Raises:
            SessionStoppedError: the session no longer runs.
            DecodeError: a message is not base64.
            TransportError: the connection broke, or the agent began a new connection to the
                desktop in the middle of this one.
        """
        if self._first:
            first, self._first = self._first, b""
            return first
        while self._socket.unread or await self._wait():
            message = await self._socket.receive()
            if message is None:
                break
            if isinstance(message, str) and message.startswith(GONE):
                await self._end(message)
            if data := decoded(message):
                self._question_at = self._loop.time() + FIRST_QUESTION
                if len(data) == GREETING_LENGTH and data == self._greeting:
                    raise TransportError(
                        "the agent began a new connection to the desktop, and a viewer cannot "
                        "continue with it: open another tunnel"
                    )
                return data
        return None

    async def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """As :meth:`Socket.send_bytes`, as base64."""
        if self._pings.wanted(now := self._loop.time()):
            # A viewer asks for an update after the one before, so the server sends nothing now.
            self._pings.pinged(now)
            await self._socket.ping()
        await self._socket.send_text(encoded(data))

    async def send_text(self, text: str) -> None:
        """As :meth:`Socket.send_text`."""
        await self._socket.send_text(text)

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """As :meth:`Socket.close`."""
        await self._socket.close(code, reason)

    async def finish(self) -> None:
        """As :meth:`Socket.finish`."""
        await self._socket.finish()

    async def _end(self, message: str) -> None:
        """End because the desktop is gone, as its agent says.

        Raises:
            SessionStoppedError: its session no longer runs.
            TransportError: it does.
        """
        try:
            with suppress(TimeoutError):
                async with timeout(REASON_TIMEOUT):
                    await self._ask()
        finally:
            await self.close()
        reason = printable(shortened(message.removeprefix(GONE), MAX_REASON))
        raise TransportError(f"the session's agent ended the tunnel: {reason}")

    async def _wait(self) -> bool:
        """Wait for a message; False when it is closed. In long silence, ask for the state."""
        if self._stopped is not None:
            # A copy, because a raised error keeps the frames that it passed.
            raise copy(self._stopped)
        while True:
            try:
                async with timeout_at(self._question_at):
                    return await self._socket.wait()
            except TimeoutError:
                pass
            try:
                # A message that comes meanwhile is not kept waiting. If it has no bytes, the
                # question is put again.
                await first_completed(self._question(), self._socket.wait())
            except SessionStoppedError as error:
                self._stopped = copy(error)
                await self.close()
                raise

    async def _question(self) -> None:
        await self._ask()
        self._question_at = self._loop.time() + NEXT_QUESTION

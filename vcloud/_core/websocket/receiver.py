"""Reads a WebSocket in the background: messages, pings, and the peer's close."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Final

import aiohttp

from vcloud._core.connections.aiohttp_compat import WebSocketConnection
from vcloud._core.connections.failures import describe_failure
from vcloud._core.timing.timeouts import call_when_due, timeout
from vcloud._core.websocket.closing import ABNORMAL, NO_STATUS, UNEXPECTED
from vcloud._core.websocket.heartbeat import Heartbeat
from vcloud.errors import ConfigurationError, LimitExceededError, TransportError, VCloudError

#: Seconds for answering a close, and for closing where the peer does not answer.
CLOSE_TIMEOUT: Final = 2.0
#: The most messages that may be unread: a small one takes more memory than its bytes.
MAX_MESSAGES: Final = 65536
#: Frames that are read before other tasks run. The system may deliver 100 000 pings at once, which
#: are not counted as messages.
FRAMES_PER_TURN: Final = 1000


class Receiver:
    """Reads a WebSocket in the background, answers pings, and pings a silent peer.

    Args:
        opened: aiohttp's WebSocket.
        connection: the connection below it.
        heartbeat: seconds of silence until a ping.
        max_unread: bytes of messages that may be unread; then reading pauses.
    """

    def __init__(
        self,
        opened: aiohttp.ClientWebSocketResponse,
        connection: WebSocketConnection,
        heartbeat: float,
        max_unread: int,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.messages: deque[bytes | str] = deque()
        #: The close code; None while it is open.
        self.code: int | None = None
        #: The peer's reason, and what else is known of the end.
        self.reason = self.cause = ""
        #: Held while something is sent.
        self.sending = asyncio.Lock()
        #: Redacts the secrets of the upgrade in the peer's reason.
        self.redact: Callable[[str], str] = str
        self._opened = opened
        self._connection = connection
        self._max_unread = max_unread
        #: Whether reading pauses when so much is unread; otherwise the WebSocket is closed.
        self._pauses = True
        self._unread = self._written = 0
        self._failure: VCloudError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._ping_due = False
        self._pong_due: bytes | None = None
        self._control: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._heartbeat = Heartbeat(heartbeat, self.loop.time())
        self._counts_bytes = connection.on_data(self._received)
        # A loop that was blocked reads what has arrived before this timer runs.
        self._timer = call_when_due(self.loop, self._heartbeat.due, self._tick)
        self.task = self.loop.create_task(self._run(), name="vcloud WebSocket")

    # -- for the socket --------------------------------------------------------------------------

    async def wait(self) -> bool:
        """Wait for a message; False when the WebSocket is closed and no message is left.

        Raises:
            ConfigurationError: another task waits.
            VCloudError: why it broke; raised once.
        """
        while not self.messages:
            if self.code is not None:
                failure, self._failure = self._failure, None
                if failure is not None:
                    raise failure
                return False
            if self._waiter is not None:
                raise ConfigurationError(
                    "another task is receiving from this WebSocket; only one may at a time"
                )
            self._waiter = self.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return True

    def pop(self) -> bytes | str:
        """The first unread message."""
        message = self.messages.popleft()
        self._unread -= len(message)
        if self._room is not None and self._has_room():
            # While reading was paused, nothing could be received.
            self._received()
            _wake(self._room)
        return message

    def sent(self, size: int) -> None:
        """About so many bytes were sent: a frame adds a header, and a character has up to four."""
        self._written += size
        self._heartbeat.sent = self.loop.time()

    def read_on(self, heartbeat: Heartbeat, max_unread: int) -> None:
        """Ping as this says, and close rather than pause when more is unread."""
        self._heartbeat, self._max_unread, self._pauses = heartbeat, max_unread, False
        self._reschedule()

    def close(self, code: int) -> None:
        """This side closes, and receives nothing more."""
        self._end(code)
        self._failure = None
        self.messages.clear()

    def abandon(self) -> None:
        """The socket was garbage-collected: drop the connection."""
        self.close(ABNORMAL)
        self._drop()

    async def wait_for_end(self, *, within: float) -> None:
        """Wait for the close code for so many seconds; return at once where reading is paused."""
        if self.code is None and self._room is None:
            with contextlib.suppress(TimeoutError):
                async with timeout(within):
                    await asyncio.wait({self.task})

    def helpers(self) -> set[asyncio.Task[None] | None]:
        """Tasks that must not be left running."""
        return {self._control, self._closing}

    # -- reading ---------------------------------------------------------------------------------

    async def _run(self) -> None:
        types = aiohttp.WSMsgType
        binary, text = types.BINARY, types.TEXT
        frames = 0
        try:
            while self.code is None:
                if not self._has_room():
                    await self._wait_for_room()
                    continue
                frames += 1
                if frames > FRAMES_PER_TURN:
                    frames = 0
                    await asyncio.sleep(0)
                message = await self._opened.receive()
                if not self._counts_bytes:
                    self._received()
                if message.type is binary or message.type is text:
                    if self.code is None:
                        self.messages.append(message.data)
                        self._unread += len(message.data)
                        _wake(self._waiter)
                elif message.type is types.CLOSE:
                    self._end(message.data or NO_STATUS, self.redact(message.extra or ""))
                    await self._answer_close()
                else:
                    self._handle(message)
        except asyncio.CancelledError:
            # The loop ends, so nothing else will close the WebSocket.
            self._connection.abort()
            raise
        except Exception as error:  # noqa: BLE001 - whoever receives must get any error
            self._end(
                ABNORMAL, failure=TransportError(f"the WebSocket broke: {describe_failure(error)}")
            )
        finally:
            self._end(ABNORMAL)

    def _handle(self, message: aiohttp.WSMessage) -> None:
        match message.type:
            case aiohttp.WSMsgType.PING:
                self._heartbeat.peer_pinged(self.loop.time())
                self._reschedule()
                # Only the last ping is answered: a peer may ping faster than it reads (RFC 6455,
                # 5.5.3).
                self._pong_due = message.data
                self._send_control()
            case aiohttp.WSMsgType.PONG:
                pass
            case aiohttp.WSMsgType.ERROR:
                code = self._opened.close_code or ABNORMAL
                self._end(code, failure=_broken(message.data))
            case _:
                self._end(ABNORMAL)

    def _has_room(self) -> bool:
        return self._unread <= self._max_unread and len(self.messages) <= MAX_MESSAGES

    async def _wait_for_room(self) -> None:
        if not self._pauses:
            unread = f"{self._unread} bytes in {len(self.messages)} messages"
            reason = f"{unread} were not read, and this peer fails when it has to wait"
            self._end(UNEXPECTED, failure=LimitExceededError(f"the WebSocket was closed: {reason}"))
            self._closing = self.loop.create_task(self._close_slowly())
            return
        self._room = self.loop.create_future()
        try:
            await self._room
        finally:
            self._room = None

    async def _answer_close(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with timeout(CLOSE_TIMEOUT):
                await self._opened.close()

    def _end(self, code: int, reason: str = "", failure: VCloudError | None = None) -> None:
        if self.code is None:
            self.code, self.reason, self._failure = code, reason, failure
        self._timer.cancel()
        self._connection.on_data(None)
        _wake(self._waiter)
        _wake(self._room)

    # -- pings -----------------------------------------------------------------------------------

    def _received(self) -> None:
        self._heartbeat.received(self.loop.time())

    def _tick(self) -> None:
        if self._connection.is_closing():
            return  # only unread messages are left
        unsent = self._connection.unsent()
        verdict = self._heartbeat.check(
            self.loop.time(),
            reading=self._room is None,
            taken=self._written - unsent if unsent else None,
        )
        if verdict == "lost":
            self.cause = f"no ping was answered within {self._heartbeat.interval:g} s"
            self._end(ABNORMAL, failure=TransportError(f"the peer is silent: {self.cause}"))
            self._drop()
            return
        if verdict == "ping":
            self._ping_due = True
            self._send_control()
        self._timer = call_when_due(self.loop, self._heartbeat.due, self._tick)

    def _reschedule(self) -> None:
        """Look again at once at when a ping is due."""
        if self.code is None:
            self._timer.cancel()
            self._timer = call_when_due(self.loop, self.loop.time(), self._tick)

    def _send_control(self) -> None:
        if self._control is None or self._control.done():
            self._control = self.loop.create_task(self._send_controls())

    async def _send_controls(self) -> None:
        # If they cannot be sent, receiving reports why.
        with contextlib.suppress(aiohttp.ClientError, OSError):
            async with self.sending:
                while self.code is None:
                    if self._pong_due is not None:
                        data, self._pong_due = self._pong_due, None
                        await self._opened.pong(data)
                    elif self._ping_due:
                        self._ping_due = False
                        await self._opened.ping()
                    else:
                        break
                    self._heartbeat.sent = self.loop.time()

    def _drop(self) -> None:
        """Drop the connection, which also ends the task that reads."""
        if self._connection.transport is not None:
            self._connection.abort()
        else:
            self._closing = self.loop.create_task(self._close_slowly())

    async def _close_slowly(self) -> None:
        # The peer does not answer, and aiohttp would wait forever.
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with timeout(CLOSE_TIMEOUT):
                await self._opened.close(code=UNEXPECTED)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _broken(error: object) -> VCloudError:
    if getattr(error, "code", None) == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
        return LimitExceededError(
            "a message is larger than max_message of the Endpoint, and the connection was closed; "
            "to accept it, raise Endpoint(max_message=...)"
        )
    return TransportError(f"the WebSocket broke: {describe_failure(error)}")

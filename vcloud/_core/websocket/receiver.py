"""What reads a WebSocket in the background, answers pings, and keeps the peer awake."""

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

#: Seconds that answering a close may take, and closing where no answer is to be expected.
ANSWER: Final = 2.0
#: How many messages may wait to be received: small ones take more than their bytes.
MAX_MESSAGES: Final = 65536
#: Frames that are read in a row before other tasks get their turn: the system may hand over 100 000
#: pings at once, which no bound on messages counts.
IN_A_ROW: Final = 1000


class Receiver:
    """Reads a WebSocket in the background, answers pings, and keeps the peer awake.

    Args:
        opened: aiohttp's.
        connection: below it.
        heartbeat: seconds.
        max_unread: bytes.
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
        #: How it ended; None while it is open.
        self.code: int | None = None
        #: What the peer said of it, and what is known besides.
        self.reason = self.cause = ""
        #: One sends at a time.
        self.sending = asyncio.Lock()
        #: Takes the secrets of the upgrade out of what the peer says.
        self.redact: Callable[[str], str] = str
        self._opened = opened
        self._connection = connection
        self._max_unread = max_unread
        self._unread = self._written = 0
        self._failure: VCloudError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._ping_due = False
        self._pong_due: bytes | None = None
        self._control: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._heartbeat = Heartbeat(heartbeat, self.loop.time())
        self._counts_bytes = connection.on_data(self._heard)
        # What has arrived is read before it ticks, also where the loop could not run for a while.
        self._timer = call_when_due(self.loop, self._heartbeat.due, self._tick)
        self.task = self.loop.create_task(self._run(), name="vcloud WebSocket")

    # -- for the socket --------------------------------------------------------------------------

    async def wait(self) -> bool:
        """Wait for a message; False when it is closed and none is left.

        Raises:
            ConfigurationError: another task waits.
            VCloudError: what it broke with, once.
        """
        while not self.messages:
            if self.code is not None:
                failure, self._failure = self._failure, None
                if failure is not None:
                    raise failure
                return False
            if self._waiter is not None:
                raise ConfigurationError(
                    "another task is receiving from this WebSocket: one may at a time"
                )
            self._waiter = self.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return True

    def pop(self) -> bytes | str:
        """The first message that waits."""
        message = self.messages.popleft()
        self._unread -= len(message)
        if self._room is not None and self._has_room():
            # Until now nobody listened.
            self._heard()
            _wake(self._room)
        return message

    def sent(self, size: int) -> None:
        """So many bytes were sent, or some more: a frame has a header, a character up to four."""
        self._written += size
        self._heartbeat.sent = self.loop.time()

    def close(self, code: int) -> None:
        """This side closes: nothing is received any more."""
        self._end(code)
        self._failure = None
        self.messages.clear()

    def abandon(self) -> None:
        """Nobody refers to the socket any more."""
        self.close(ABNORMAL)
        self._drop()

    async def over(self, *, within: float) -> None:
        """Wait until the end is known, unless that takes longer or nothing is read."""
        if self.code is None and self._room is None:
            with contextlib.suppress(TimeoutError):
                async with timeout(within):
                    await asyncio.wait({self.task})

    def helpers(self) -> set[asyncio.Task[None] | None]:
        """Tasks that must not be left."""
        return {self._control, self._leaving}

    # -- reading ---------------------------------------------------------------------------------

    async def _run(self) -> None:
        types = aiohttp.WSMsgType
        binary, text = types.BINARY, types.TEXT
        in_a_row = 0
        try:
            while self.code is None:
                if not self._has_room():
                    await self._room_made()
                    continue
                in_a_row += 1
                if in_a_row > IN_A_ROW:
                    in_a_row = 0
                    await asyncio.sleep(0)
                message = await self._opened.receive()
                if not self._counts_bytes:
                    self._heard()
                if message.type is binary or message.type is text:
                    if self.code is None:
                        self.messages.append(message.data)
                        self._unread += len(message.data)
                        _wake(self._waiter)
                elif message.type is types.CLOSE:
                    self._end(message.data or NO_STATUS, self.redact(message.extra or ""))
                    await self._answer_close()
                else:
                    self._take(message)
        except asyncio.CancelledError:
            # The loop ends, and nobody will close it.
            self._connection.abort()
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, who receives must hear of it
            self._end(
                ABNORMAL, failure=TransportError(f"the WebSocket broke: {describe_failure(error)}")
            )
        finally:
            self._end(ABNORMAL)

    def _take(self, message: aiohttp.WSMessage) -> None:
        match message.type:
            case aiohttp.WSMsgType.PING:
                # The last one is answered: a peer may ping faster than it reads (RFC 6455, 5.5.3).
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

    async def _room_made(self) -> None:
        self._room = self.loop.create_future()
        try:
            await self._room
        finally:
            self._room = None

    async def _answer_close(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with timeout(ANSWER):
                await self._opened.close()

    def _end(self, code: int, reason: str = "", failure: VCloudError | None = None) -> None:
        if self.code is None:
            self.code, self.reason, self._failure = code, reason, failure
        self._timer.cancel()
        self._connection.on_data(None)
        _wake(self._waiter)
        _wake(self._room)

    # -- pings -----------------------------------------------------------------------------------

    def _heard(self) -> None:
        self._heartbeat.heard(self.loop.time())

    def _tick(self) -> None:
        if self._connection.is_closing():
            # What is left is to be received.
            return
        unsent = self._connection.unsent()
        verdict = self._heartbeat.look(
            self.loop.time(),
            reading=self._room is None,
            taken=self._written - unsent if unsent else None,
        )
        if verdict == "lost":
            self.cause = f"no ping was answered within {self._heartbeat.interval:g} s"
            self._end(ABNORMAL, failure=TransportError(f"the peer was silent: {self.cause}"))
            self._drop()
            return
        if verdict == "ping":
            self._ping_due = True
            self._send_control()
        self._timer = call_when_due(self.loop, self._heartbeat.due, self._tick)

    def _send_control(self) -> None:
        if self._control is None or self._control.done():
            self._control = self.loop.create_task(self._send_controls())

    async def _send_controls(self) -> None:
        # What keeps them from being sent is what receiving reports.
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
        """Drop the connection, which wakes whoever reads."""
        if self._connection.transport is not None:
            self._connection.abort()
        else:
            self._leaving = self.loop.create_task(self._leave())

    async def _leave(self) -> None:
        # The peer answers nothing, so aiohttp would wait for it without end.
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with timeout(ANSWER):
                await self._opened.close(code=UNEXPECTED)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _broken(error: object) -> VCloudError:
    if getattr(error, "code", None) == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
        return LimitExceededError(
            "a message is larger than max_message of the Endpoint allows, and the "
            "connection was closed; give Endpoint(max_message=...) more"
        )
    return TransportError(f"the WebSocket broke: {describe_failure(error)}")

"""An open WebSocket: messages both ways, and its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp

from vcloud._core.connections.aiohttp_compat import WebSocketConnection
from vcloud._core.connections.failures import describe_failure
from vcloud._core.tasks import cancel_and_wait
from vcloud._core.timing.timeouts import GRACE, timeout
from vcloud._core.websocket.closing import (
    ABNORMAL,
    NO_STATUS,
    NORMAL,
    close_message,
    describe_close,
)
from vcloud._core.websocket.heartbeat import Heartbeat
from vcloud._core.websocket.receiver import Receiver
from vcloud.errors import TransportError

#: Seconds for closing, where the peer does not answer.
CLOSE_TIMEOUT: Final = 2.0
#: Seconds in which a slow peer must accept some bytes, where all that was sent must arrive.
STALL_TIMEOUT: Final = 60.0
#: Seconds between two checks of what is left to be sent.
DRAIN_CHECK_INTERVAL: Final = 0.01
#: Bytes that every loop buffers without making the sender wait (asyncio and uvloop make it wait
#: above 64 KiB, until 16 KiB are left).
ALWAYS_BUFFERED: Final = 16 * 1024


class Socket:
    """An open WebSocket. One task may receive while another sends.

    It is read in the background. So it answers pings and notices a close even while no task
    receives, as long as at most ``max_unread`` bytes are unread. Beyond that, reading pauses until
    some are received, which slows the peer. Sending waits while the peer is slow.

    The peer is pinged as soon as either direction has been silent for ``heartbeat`` seconds. If it
    then sends nothing for as long again while this side reads, the connection is closed.

    A socket without references is closed without a close frame.

    Args:
        opened: the WebSocket of aiohttp, which must neither close automatically nor have a time
        limit for closing.
        heartbeat: seconds; see :attr:`Endpoint.heartbeat`.
        max_unread: bytes.
    """

    def __init__(
        self, opened: aiohttp.ClientWebSocketResponse, heartbeat: float, max_unread: int
    ) -> None:
        self._opened = opened
        self._connection = WebSocketConnection(opened)
        # It has no reference to this socket, so the socket can be garbage-collected.
        self._receiver = Receiver(opened, self._connection, heartbeat, max_unread)
        #: Whether a send was cancelled before the peer had accepted all of it.
        self._interrupted = False
        #: A send in a separate task; see _send_in_task.
        self._send_task: asyncio.Future[None] | None = None
        self._closing: asyncio.Task[bool] | None = None

    def __del__(self) -> None:
        self.abandon()

    def abandon(self) -> bool:
        """Drop the connection, because there is no reference left; return whether it was open.

        It may be called in another thread, and after the loop has ended.
        """
        receiver = getattr(self, "_receiver", None)
        if receiver is None or receiver.task.done():
            return False
        open_until_now = receiver.code is None
        try:
            receiver.loop.call_soon_threadsafe(receiver.abandon)
        except RuntimeError:
            return False
        return open_until_now

    def redact(self, redact: Callable[[str], str]) -> None:
        """Redact the peer's reason, which may echo a credential, by this function."""
        self._receiver.redact = redact

    @property
    def close_code(self) -> int | None:
        """The close code of RFC 6455; None while it is open.

        It is 1006 when the connection ended without a close frame.
        """
        return self._receiver.code

    @property
    def close_reason(self) -> str:
        """The peer's reason for closing; empty when it gave none, or has not closed."""
        return self._receiver.reason

    @property
    def ending(self) -> str:
        """How it was closed, for an error message."""
        receiver = self._receiver
        return describe_close(receiver.code or NO_STATUS, receiver.reason or receiver.cause)

    @property
    def unread(self) -> bool:
        """Whether a message can be received without waiting."""
        return bool(self._receiver.messages)

    async def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Send one binary message.

        If it is cancelled while it waits for earlier messages, nothing is sent; later, all of it.

        Raises:
            TransportError: the connection is closed.
        """
        await self._send(self._opened.send_bytes, data, len(data))

    async def send_text(self, text: str) -> None:
        """Send one text message, as :meth:`send_bytes` does.

        Raises:
            TransportError: the connection is closed.
        """
        await self._send(self._opened.send_str, text, len(text))

    async def ping(self) -> None:
        """Send a ping now.

        Raises:
            TransportError: the connection is closed.
        """
        await self._send(self._opened.ping, b"", 0)

    def read_on(self, heartbeat: Heartbeat, max_unread: int) -> None:
        """For a peer that fails when it has to wait: never pause reading.

        Args:
            heartbeat: when to ping, instead of the Endpoint's.
            max_unread: bytes; the WebSocket is closed when more are unread.
        """
        self._receiver.read_on(heartbeat, max_unread)

    async def receive(self) -> bytes | str | None:
        """The next message; None when it is closed (see :attr:`close_code`).

        Messages that the peer sent before it closed come first. A cancelled wait loses none.

        Raises:
            ConfigurationError: another task is receiving.
            LimitExceededError: a message is larger than ``max_message``; the connection is closed.
            TransportError: the peer violated the protocol, or is silent.
        """
        receiver = self._receiver
        if receiver.messages or await receiver.wait():
            return receiver.pop()
        return None

    async def wait(self) -> bool:
        """Wait for a message, and leave it unread; False when it is closed and none is left.

        Raises:
            VCloudError: as for :meth:`receive`.
        """
        return await self._receiver.wait()

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close it, within two seconds. It may be called twice, and while another task receives.

        Unread messages are dropped.

        Args:
            code: of RFC 6455.
            reason: for the peer; at most 123 bytes of it are sent.
        """
        await self._close(code, reason, within=CLOSE_TIMEOUT, renewed=False)

    async def finish(self, code: int = NORMAL, reason: str = "") -> None:
        """Close it as :meth:`close` does, but wait until the peer has accepted all that was sent.

        A peer may be slow, or not read for a while. The connection is dropped when the peer
        accepted nothing for :data:`STALL_TIMEOUT` seconds. Cancelling this drops what it has not
        accepted.
        """
        await self._close(code, reason, within=STALL_TIMEOUT, renewed=True)

    async def _close(self, code: int, reason: str, *, within: float, renewed: bool) -> None:
        receiver = self._receiver
        receiver.close(code)
        if self._closing is None:
            # A task, because aiohttp's close has no time limit here.
            self._closing = asyncio.create_task(
                self._opened.close(code=code, message=close_message(reason))
            )
        try:
            await self._drain(self._closing, within=within, renewed=renewed)
        finally:
            # First, because it wakes those that wait until the peer accepts bytes.
            self._connection.abort()
            tasks = {self._closing, receiver.task, self._send_task, *receiver.helpers()}
            await cancel_and_wait(task for task in tasks if isinstance(task, asyncio.Task))

    async def _drain(self, closing: asyncio.Task[bool], *, within: float, renewed: bool) -> None:
        """Wait until the close is answered and nothing is left to be sent, or the time is over.

        Time in which the loop could not run does not count.

        Args:
            closing: aiohttp's close.
            within: seconds.
            renewed: whether they begin anew when the peer accepts bytes.
        """
        now = asyncio.get_running_loop().time
        left, before = within, self.unsent()
        lost = self._connection.lost
        # aiohttp has no event for a transport that has sent all its data.
        while left > 0 and not self._is_closed(closing):
            waits = {task for task in (closing, lost) if task is not None and not task.done()}
            pause = min(left, DRAIN_CHECK_INTERVAL) if self.unsent() or not waits else left
            since = now()
            if waits:
                with contextlib.suppress(TimeoutError):
                    async with timeout(pause):
                        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(pause)
            unsent = self.unsent()
            left = (
                within if renewed and unsent < before else left - counted_time(now() - since, pause)
            )
            before = unsent

    def _is_closed(self, closing: asyncio.Task[bool]) -> bool:
        """Whether the peer has accepted all that was sent, or the connection is lost."""
        lost = self._connection.lost
        if lost is not None and lost.done():
            return True
        if not closing.done():
            return False
        # aiohttp's close returned True if it closed, and has the peer's code if that answered.
        answered = (
            not closing.cancelled()
            and closing.exception() is None
            and closing.result()
            and self._opened.close_code not in (None, ABNORMAL)
        )
        return answered or (lost is None and not self.unsent())

    @property
    def _transport(self) -> asyncio.Transport | None:
        return self._connection.transport

    def unsent(self) -> int:
        """Bytes that wait to be sent in this process; 0 where that is unknown."""
        return self._connection.unsent()

    async def _send(
        self,
        send: Callable[[Any], Awaitable[None]],
        data: bytes | bytearray | memoryview | str,
        size: int,
    ) -> None:
        receiver = self._receiver
        async with receiver.sending:
            await self._wait_for_room()
            if receiver.code is not None:
                raise TransportError(f"the WebSocket is closed: {self.ending}")
            try:
                if self._transport is not None:
                    await self._send_in_caller(send(data))
                else:
                    await self._send_in_task(send(data))
            except (aiohttp.ClientError, OSError) as error:
                failure = describe_failure(error)
            else:
                receiver.sent(size)
                return
            # Outside of the handler, because aiohttp's error may quote the address with its token.
            # Meanwhile the receiver reads how the connection ended.
            await receiver.wait_for_end(within=CLOSE_TIMEOUT)
            why = failure if self.close_code is None else self.ending
            raise TransportError(f"the WebSocket is closed: {why}")

    async def _wait_for_room(self) -> None:
        """Wait until the peer has accepted what was left by a send that was cancelled.

        A sender that is cancelled again and again must not fill the buffers. Besides, aiohttp has
        one future for all that wait for the peer: once it was cancelled with one of them, it
        cancels later ones too (aiohttp's pull request 6028).
        """
        if self._send_task is not None:
            await asyncio.wait({self._send_task})
        # aiohttp has no event for this except that future.
        while (  # noqa: ASYNC110
            self._interrupted
            and self.unsent() > ALWAYS_BUFFERED
            and not self._connection.is_closing()
        ):
            await asyncio.sleep(DRAIN_CHECK_INTERVAL)
        self._interrupted = False

    async def _send_in_caller(self, sending: Awaitable[None]) -> None:
        try:
            await sending
        except asyncio.CancelledError:
            self._interrupted = True
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # aiohttp's own close was cancelled while both were waiting for the peer.
            raise TransportError(f"the WebSocket is closed: {self.ending}") from None

    async def _send_in_task(self, sending: Awaitable[None]) -> None:
        """Send in a separate task, which is not cancelled with the caller.

        It is for versions of aiohttp that do not show how much is left to be sent.
        """
        task = self._send_task = asyncio.ensure_future(sending)
        task.add_done_callback(_retrieve_exception)
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()
        elif self.close_code is not None:
            raise TransportError(f"the WebSocket is closed: {self.ending}")


def counted_time(passed: float, pause: float) -> float:
    """The seconds of a pause that count: at most its planned length, and a little more.

    A pause that took longer was prolonged by a loop that could not run.

    Args:
        passed: seconds that it took.
        pause: planned seconds. A busy loop is late by some tenths of a second.
    """
    return min(passed, pause + GRACE)


def _retrieve_exception(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()

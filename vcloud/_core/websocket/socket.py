"""A WebSocket that is open: messages both ways, and its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp

from vcloud._core.connections.aiohttp_compat import WebSocketConnection
from vcloud._core.failures import fault_words
from vcloud._core.tasks import cancel_and_wait
from vcloud._core.timing.timeouts import GRACE, timeout
from vcloud._core.websocket.closing import (
    ABNORMAL,
    NO_STATUS,
    NORMAL,
    close_message,
    describe_close,
)
from vcloud._core.websocket.receiver import Receiver
from vcloud.errors import TransportError

#: Seconds that closing may take, when the peer does not answer.
GOODBYE: Final = 2.0
#: Seconds in which a peer must take something of what was sent, when all of it is to arrive.
STALLED: Final = 60.0
#: Seconds between two looks at what is left to be sent.
LOOK: Final = 0.01
#: Bytes that every loop takes without making the sender wait (asyncio and uvloop let it go on at
#: 16 KiB and hold it up at 64).
ROOM: Final = 16 * 1024


class Socket:
    """An open WebSocket. One task may receive while another sends.

    It is read in the background: pings are answered and a close is noticed while nobody receives,
    as long as at most ``max_unread`` bytes wait to be received. Beyond that reading pauses until
    some of them are taken, and so the peer has to wait. Sending waits while the peer is slow.

    The peer is pinged as soon as either direction has been silent for ``heartbeat`` seconds, and
    given up when it then says nothing for as long again while this side reads.

    A socket that nobody refers to any more is closed without a close frame.

    Args:
        opened: aiohttp's; its own close neither happens by itself nor has a time limit.
        heartbeat: seconds; see :attr:`Endpoint.heartbeat`.
        max_unread: bytes.
    """

    def __init__(
        self, opened: aiohttp.ClientWebSocketResponse, heartbeat: float, max_unread: int
    ) -> None:
        self._opened = opened
        self._connection = WebSocketConnection(opened)
        # Knows nothing of this socket, so that it does not keep it alive.
        self._receiver = Receiver(opened, self._connection, heartbeat, max_unread)
        #: A send was cancelled before the peer had taken it; here, or in a task of its own.
        self._cut = False
        self._apart: asyncio.Future[None] | None = None
        self._closing: asyncio.Task[bool] | None = None

    def __del__(self) -> None:
        self.abandon()

    def abandon(self) -> bool:
        """Nobody refers to it any more: drop the connection; return whether it was open.

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
        """Pass what the peer says when it closes through this: it may repeat a credential."""
        self._receiver.redact = redact

    @property
    def close_code(self) -> int | None:
        """Why it was closed, as RFC 6455 numbers it; None while it is open.

        1006 when the connection ended without a close frame.
        """
        return self._receiver.code

    @property
    def close_reason(self) -> str:
        """What the peer said when it closed; empty when it said nothing, or has not closed."""
        return self._receiver.reason

    @property
    def ending(self) -> str:
        """How it was closed, in words for an error."""
        receiver = self._receiver
        return describe_close(receiver.code or NO_STATUS, receiver.reason or receiver.cause)

    async def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Send one binary message.

        Cancelled while it waits for those before it, nothing was sent; later, all of it.

        Raises:
            TransportError: the connection is gone.
        """
        await self._send(self._opened.send_bytes, data, len(data))

    async def send_text(self, text: str) -> None:
        """Send one text message, as :meth:`send_bytes` does.

        Raises:
            TransportError: the connection is gone.
        """
        await self._send(self._opened.send_str, text, len(text))

    async def receive(self) -> bytes | str | None:
        """The next message; None when it is closed: :attr:`close_code` and :attr:`close_reason`.

        What the peer sent before it closed comes first. A wait that is cancelled loses nothing.

        Raises:
            ConfigurationError: another task is receiving.
            LimitExceededError: a message is larger than ``max_message``; the connection is closed.
            TransportError: the peer broke the protocol, or is silent.
        """
        receiver = self._receiver
        if receiver.messages or await receiver.wait():
            return receiver.pop()
        return None

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close it, within two seconds. May be called twice, and while another task receives.

        What was not received yet is dropped.

        Args:
            code: of RFC 6455.
            reason: for the peer; at most 123 bytes of it are sent.
        """
        await self._close(code, reason, within=GOODBYE, renewed=False)

    async def finish(self, code: int = NORMAL, reason: str = "") -> None:
        """Close it as :meth:`close` does, but wait until the peer has taken all that was sent.

        A peer may be slow, or not read for a while: it is given up when it took nothing for
        :data:`STALLED` seconds. Cancelling this drops what it has not taken.
        """
        await self._close(code, reason, within=STALLED, renewed=True)

    async def _close(self, code: int, reason: str, *, within: float, renewed: bool) -> None:
        receiver = self._receiver
        receiver.close(code)
        if self._closing is None:
            # A task, because aiohttp's close has no time limit of its own here.
            self._closing = asyncio.create_task(
                self._opened.close(code=code, message=close_message(reason))
            )
        try:
            await self._taken(self._closing, within=within, renewed=renewed)
        finally:
            # First, because it wakes those that wait until the peer takes something.
            self._connection.abort()
            tasks = {self._closing, receiver.task, self._apart, *receiver.helpers()}
            await cancel_and_wait(task for task in tasks if isinstance(task, asyncio.Task))

    async def _taken(self, closing: asyncio.Task[bool], *, within: float, renewed: bool) -> None:
        """Wait until the close is answered and nothing is left to be sent, or time is up.

        Time in which the loop could not run does not count.
        """
        now = asyncio.get_running_loop().time
        left, before = within, self.unsent()
        lost = self._connection.lost
        # aiohttp has no event for a transport that has sent what it holds.
        while left > 0 and not self._is_closed(closing):
            waits = {task for task in (closing, lost) if task is not None and not task.done()}
            pause = min(left, LOOK) if self.unsent() or not waits else left
            since = now()
            if waits:
                with contextlib.suppress(TimeoutError):
                    async with timeout(pause):
                        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(pause)
            unsent = self.unsent()
            left = within if renewed and unsent < before else left - run_time(now() - since, pause)
            before = unsent

    def _is_closed(self, closing: asyncio.Task[bool]) -> bool:
        """Whether the peer has all that was sent, or the connection is no more."""
        lost = self._connection.lost
        if lost is not None and lost.done():
            return True
        if not closing.done():
            return False
        # aiohttp returns True when it closed, with the peer's code when that answered.
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
            await self._before_taken()
            if receiver.code is not None:
                raise TransportError(f"the WebSocket is closed: {self.ending}")
            try:
                if self._transport is not None:
                    await self._send_here(send(data))
                else:
                    await self._send_apart(send(data))
            except (aiohttp.ClientError, OSError) as error:
                fault = fault_words(error)
            else:
                receiver.sent(size)
                return
            # Outside of the handler: what aiohttp raises may quote the address with its token.
            # What the connection ended with is read meanwhile.
            await receiver.over(within=GOODBYE)
            why = fault if self.close_code is None else self.ending
            raise TransportError(f"the WebSocket is closed: {why}")

    async def _before_taken(self) -> None:
        """Wait until the peer has taken what was left by a send that was cancelled.

        A sender that is cancelled again and again must not fill the buffers. And aiohttp keeps one
        future for all that wait until the peer takes something: once it was cancelled with one of
        them, it cancels those that come after (aiohttp's pull request 6028).
        """
        if self._apart is not None:
            await asyncio.wait({self._apart})
        # aiohttp has no event for it but that future.
        while (  # noqa: ASYNC110
            self._cut and self.unsent() > ROOM and not self._connection.is_closing()
        ):
            await asyncio.sleep(LOOK)
        self._cut = False

    async def _send_here(self, sending: Awaitable[None]) -> None:
        try:
            await sending
        except asyncio.CancelledError:
            self._cut = True
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # aiohttp's own close was cancelled while both waited for the peer.
            raise TransportError(f"the WebSocket is closed: {self.ending}") from None

    async def _send_apart(self, sending: Awaitable[None]) -> None:
        """Send in a task of its own, which a cancellation leaves alone.

        For an aiohttp that does not let it be seen how much is left to be sent.
        """
        apart = self._apart = asyncio.ensure_future(sending)
        apart.add_done_callback(_looked_at)
        await asyncio.wait({apart})
        if not apart.cancelled():
            apart.result()
        elif self.close_code is not None:
            raise TransportError(f"the WebSocket is closed: {self.ending}")


def run_time(passed: float, pause: float) -> float:
    """Of the seconds that a pause took, those in which the loop ran, as far as they show.

    Args:
        passed: how long it took.
        pause: how long it was to be. A loop that is busy is late by some tenths of a second.
    """
    return min(passed, pause + GRACE)


def _looked_at(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()

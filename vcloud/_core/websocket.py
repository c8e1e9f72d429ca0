"""A WebSocket that is open: messages both ways, pings, and its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import aiohttp

from vcloud._core.aiohttp_compat import WebSocketConnection
from vcloud._core.cleanup import end
from vcloud._core.close_codes import (
    ABNORMAL,
    MAX_REASON,
    NO_STATUS,
    NORMAL,
    UNEXPECTED,
    close_message,
    describe_close,
    printable,
)
from vcloud._core.heartbeat import Heartbeat
from vcloud._core.request import Response
from vcloud.errors import ConfigurationError, LimitExceededError, TransportError, VCloudError

__all__ = [
    "ABNORMAL",
    "MAX_REASON",
    "NORMAL",
    "NO_STATUS",
    "UNEXPECTED",
    "RefusedError",
    "Socket",
    "close_message",
    "describe_close",
    "printable",
]

#: A WebSocket's upgrade that is refused says why in a few lines.
MAX_REFUSAL: Final = 64 * 1024
#: Seconds that closing may take, when the peer does not answer.
GOODBYE: Final = 2.0
#: Seconds in which a peer must take something of what was sent, when all of it is to arrive.
STALLED: Final = 60.0
#: Seconds between two looks at what is left to be sent.
LOOK: Final = 0.01
#: Bytes that every loop takes without making the sender wait (asyncio and uvloop let it go on at
#: 16 KiB and hold it up at 64).
ROOM: Final = 16 * 1024
#: What a message takes beside its bytes: empty ones must not pile up without end either.
OVERHEAD: Final = 128


class RefusedError(Exception):
    """The service answered a WebSocket's upgrade with something else.

    The provider's dialect says what that means.
    """

    def __init__(self, response: Response) -> None:
        super().__init__(f"the upgrade was answered with {response.status}")
        self.response = response


def refusal_headers(answer: aiohttp.ClientResponse) -> Mapping[str, str]:
    """The headers of a refused upgrade without those that announce the budget of REST requests.

    Upgrades do not draw on that budget, so it must not hold up the next one. A 429 keeps them: the
    service then says that it limits upgrades, and until when.
    """
    if answer.status == 429:
        return answer.headers
    headers = answer.headers.copy()
    for name in [name for name in headers if name.lower().startswith("x-ratelimit-")]:
        headers.popall(name, None)
    return headers


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
        max_unread: bytes; each message counts 128 more than it has.
    """

    def __init__(
        self, opened: aiohttp.ClientWebSocketResponse, heartbeat: float, max_unread: int
    ) -> None:
        self._opened = opened
        self._connection = WebSocketConnection(opened)
        # Knows nothing of this socket, so that it does not keep it alive.
        self._receiver = _Receiver(opened, self._connection, heartbeat, max_unread)
        self._sending: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[bool] | None = None

    def __del__(self) -> None:
        receiver = getattr(self, "_receiver", None)
        # It may be collected in another thread, and after its loop.
        if receiver is not None and not receiver.task.done():
            with contextlib.suppress(RuntimeError):
                receiver.loop.call_soon_threadsafe(receiver.abandon)

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
        await self._send(self._opened.send_str, text, 4 * len(text))

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
            tasks = {self._closing, receiver.task, self._sending, *receiver.helpers()}
            try:
                await end(task for task in tasks if task is not None)
            finally:
                self._connection.abort()

    async def _taken(self, closing: asyncio.Task[bool], *, within: float, renewed: bool) -> None:
        """Wait until the close is answered and nothing is left to be sent, or time is up."""
        now = asyncio.get_running_loop().time
        ends, before = now() + within, self._unsent()
        lost = self._connection.lost
        # aiohttp has no event for a transport that has sent what it holds.
        while (left := ends - now()) > 0 and not self._is_closed(closing):
            waits = {task for task in (closing, lost) if task is not None and not task.done()}
            pause = LOOK if self._unsent() or not waits else left
            if waits:
                first = asyncio.FIRST_COMPLETED
                await asyncio.wait(waits, timeout=min(left, pause), return_when=first)
            else:
                await asyncio.sleep(pause)
            unsent = self._unsent()
            if renewed and unsent < before:
                ends = now() + within
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
        return answered or (lost is None and not self._unsent())

    @property
    def _transport(self) -> asyncio.Transport | None:
        return self._connection.transport

    def _unsent(self) -> int:
        return self._connection.unsent()

    async def _send(
        self,
        send: Callable[[Any], Awaitable[None]],
        data: bytes | bytearray | memoryview | str,
        size: int,
    ) -> None:
        # One at a time, and nothing is written while one waits: a sender that is cancelled again
        # and again must not fill the buffers.
        while (before := self._sending) is not None and not before.done():
            await asyncio.wait({before})
        receiver = self._receiver
        if receiver.code is not None:
            raise TransportError(f"the WebSocket is closed: {self.ending}")
        try:
            if self._transport is not None and self._unsent() + size <= ROOM:
                await send(data)
            else:
                await self._send_apart(send, data)
        except (aiohttp.ClientError, OSError) as error:
            # What the connection ended with is read meanwhile.
            await receiver.over(within=GOODBYE)
            words = _words(error) if self.close_code is None else self.ending
            raise TransportError(f"the WebSocket is closed: {words}") from error
        receiver.sent(size)

    async def _send_apart(self, send: Callable[[Any], Awaitable[None]], data: Any) -> None:
        """Send in a task of its own, which a cancellation of this one leaves alone.

        aiohttp keeps one future for all that wait until the peer has taken something, and awaits
        it as it is: who is cancelled there cancels the others, and those that come after
        (aiohttp's pull request 6028).
        """
        sending = self._sending = asyncio.ensure_future(send(data))
        sending.add_done_callback(_looked_at)
        await asyncio.wait({sending})
        if not sending.cancelled():
            sending.result()
        elif self._receiver.code is not None:
            raise TransportError(f"the WebSocket is closed: {self.ending}")


class _Receiver:
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
        self._timer = self.loop.call_at(self._heartbeat.due, self._tick)
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
        self._unread -= len(message) + OVERHEAD
        if self._room is not None and self._unread <= self._max_unread:
            # Until now nobody listened.
            self._heard()
            _wake(self._room)
        return message

    def sent(self, size: int) -> None:
        """So many bytes were sent."""
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
            await asyncio.wait({self.task}, timeout=within)

    def helpers(self) -> set[asyncio.Task[None] | None]:
        """Tasks that must not be left."""
        return {self._control, self._leaving}

    # -- reading ---------------------------------------------------------------------------------

    async def _run(self) -> None:
        types = aiohttp.WSMsgType
        binary, text = types.BINARY, types.TEXT
        try:
            while self.code is None:
                if self._unread > self._max_unread:
                    await self._room_made()
                    continue
                message = await self._opened.receive()
                if not self._counts_bytes:
                    self._heard()
                if message.type is binary or message.type is text:
                    if self.code is None:
                        self.messages.append(message.data)
                        self._unread += len(message.data) + OVERHEAD
                        _wake(self._waiter)
                elif message.type is types.CLOSE:
                    self._end(message.data or NO_STATUS, printable(message.extra or ""))
                    await self._answer_close()
                else:
                    self._take(message)
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            self._end(ABNORMAL, failure=TransportError(f"the WebSocket broke: {_words(error)}"))
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

    async def _room_made(self) -> None:
        self._room = self.loop.create_future()
        try:
            await self._room
        finally:
            self._room = None

    async def _answer_close(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE):
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
            self.cause = f"the peer answered no ping within {self._heartbeat.interval:g} s"
            self._end(ABNORMAL, failure=TransportError(f"the peer was silent: {self.cause[9:]}"))
            self._drop()
            return
        if verdict == "ping":
            self._ping_due = True
            self._send_control()
        self._timer = self.loop.call_at(self._heartbeat.due, self._tick)

    def _send_control(self) -> None:
        if self._control is None or self._control.done():
            self._control = self.loop.create_task(self._send_controls())

    async def _send_controls(self) -> None:
        # What keeps them from being sent is what receiving reports.
        with contextlib.suppress(aiohttp.ClientError, OSError):
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
            async with asyncio.timeout(GOODBYE):
                await self._opened.close(code=UNEXPECTED)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _looked_at(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()


def _broken(error: object) -> VCloudError:
    if getattr(error, "code", None) == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
        return LimitExceededError(
            "a message is larger than max_message of the Endpoint allows, and the "
            "connection was closed; give Endpoint(max_message=...) more"
        )
    return TransportError(f"the WebSocket broke: {_words(error)}")


def _words(error: object) -> str:
    return str(error) or type(error).__name__

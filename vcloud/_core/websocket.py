"""A WebSocket that is open: messages both ways, pings, and its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from typing import Any, Final

import aiohttp

from vcloud._core.aiohttp_compat import websocket_transport
from vcloud._core.cleanup import end
from vcloud._core.request import Response
from vcloud.errors import LimitExceededError, TransportError

#: A WebSocket's upgrade that is refused says why in a few lines.
MAX_REFUSAL: Final = 64 * 1024
#: Seconds of silence after which a peer is asked whether it is still there.
HEARTBEAT: Final = 30.0
#: Seconds that closing may take, when the peer does not answer.
GOODBYE: Final = 2.0
#: Seconds in which a peer must take something of what was sent, when all of it is to arrive.
STALLED: Final = 60.0
#: Seconds between two looks at what is left to be sent.
LOOK: Final = 0.01
#: Close codes of RFC 6455: done, no reason given, and lost without a close frame.
NORMAL, NO_STATUS, ABNORMAL = 1000, 1005, 1006
#: Something went wrong on this side.
UNEXPECTED: Final = 1011
#: Bytes of a close frame's reason (RFC 6455, 5.5).
MAX_REASON: Final = 123
#: What the codes mean (RFC 6455, 7.4.1, and IANA's registry).
_MEANINGS: Final[Mapping[int, str]] = {
    1000: "closed normally",
    1001: "going away",
    1002: "protocol error",
    1003: "unacceptable data",
    1005: "no reason given",
    1006: "the connection was lost without a close frame",
    1007: "invalid data",
    1008: "policy violation",
    1009: "message too big",
    1011: "unexpected condition",
    1012: "service restart",
    1013: "try again later",
    1014: "bad gateway",
}


def describe_close(code: int, reason: str = "") -> str:
    """How a WebSocket was closed, in words: the code, what it means, and what the peer said."""
    meaning = f" ({_MEANINGS[code]})" if code in _MEANINGS else ""
    return f"code {code}{meaning}" + (f": {reason}" if reason else "")


def printable(text: str) -> str:
    """A text from outside on one line, without characters that a terminal would obey."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def close_message(reason: str) -> bytes:
    """A reason as a close frame can hold it: UTF-8, cut between two characters."""
    return reason.encode("utf-8", "replace")[:MAX_REASON].decode("utf-8", "ignore").encode()


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

    Sending waits while the peer is slow, and who does not receive slows the peer: neither side's data piles up here.

    Args:
        opened: aiohttp's; its own close neither happens by itself nor has a time limit.
        heartbeat: seconds; see :meth:`Transport.websocket`.
    """

    def __init__(self, opened: aiohttp.ClientWebSocketResponse, heartbeat: float) -> None:
        self._opened = opened
        self._transport = websocket_transport(opened)
        self._heartbeat = heartbeat
        self._receiving = self._heard = self._pinged = self._silent = False
        self._ping: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._ticker = asyncio.get_running_loop().call_later(heartbeat, self._tick)
        self._close_code: int | None = None
        self._close_reason = ""

    @property
    def close_code(self) -> int | None:
        """Why it was closed, as RFC 6455 numbers it; None while it is open.

        1006 when it was lost without a close frame.
        """
        return self._close_code

    @property
    def close_reason(self) -> str:
        """What the peer said when it closed; empty when it said nothing, or has not closed."""
        return self._close_reason

    @property
    def ending(self) -> str:
        """How it was closed, in words for an error."""
        return describe_close(self._close_code or NO_STATUS, self._close_reason)

    async def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Send one binary message.

        Raises:
            TransportError: the connection is gone.
        """
        await self._send(self._opened.send_bytes(data))  # type: ignore[arg-type]

    async def send_text(self, text: str) -> None:
        """Send one text message.

        Raises:
            TransportError: the connection is gone.
        """
        await self._send(self._opened.send_str(text))

    async def receive(self) -> bytes | str | None:
        """The next message; None when it is closed: :attr:`close_code` and :attr:`close_reason`.

        A peer that is silent for long is pinged, but only while somebody waits here: one that we keep from sending is
        not dead.

        Raises:
            LimitExceededError: a message is larger than ``max_message``; the connection is closed.
            TransportError: the peer broke the protocol, or is silent.
        """
        while self._close_code is None:
            self._receiving = True
            try:
                message = await self._opened.receive()
            finally:
                self._receiving = False
            self._heard = True
            match message.type:
                case aiohttp.WSMsgType.BINARY | aiohttp.WSMsgType.TEXT:
                    return message.data  # type: ignore[no-any-return]
                case aiohttp.WSMsgType.PING:
                    with contextlib.suppress(aiohttp.ClientError, OSError):
                        await self._opened.pong(message.data)
                case aiohttp.WSMsgType.PONG:
                    pass
                case aiohttp.WSMsgType.CLOSE:
                    self._over(message.data or NO_STATUS, printable(message.extra or ""))
                    await self._answer_close()
                case aiohttp.WSMsgType.ERROR:
                    self._over(self._opened.close_code or ABNORMAL)
                    if getattr(message.data, "code", None) == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
                        raise LimitExceededError(
                            "a message is larger than max_message of the Endpoint allows, and the "
                            "connection was closed; give Endpoint(max_message=...) more"
                        )
                    raise TransportError(f"the WebSocket broke: {_words(message.data)}")
                case _:
                    self._over(ABNORMAL)
                    if self._silent:
                        raise TransportError(
                            f"the peer was silent for {2 * self._heartbeat:g} s, and answered no ping"
                        )
        return None

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close it, within two seconds. May be called twice, and while another task receives.

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
        self._over(code)
        # A task, because aiohttp's close has no time limit of its own here.
        closing = asyncio.create_task(self._opened.close(code=code, message=close_message(reason)))
        try:
            await self._taken(closing, within=within, renewed=renewed)
        finally:
            try:
                await end({closing} if self._leaving is None else {closing, self._leaving})
            finally:
                if self._transport is not None and (
                    self._unsent() or not self._transport.is_closing()
                ):
                    self._transport.abort()
        if self._ping is not None:
            await asyncio.wait({self._ping})

    async def _taken(self, closing: asyncio.Task[bool], *, within: float, renewed: bool) -> None:
        """Wait until the close is answered and nothing is left to be sent, or time is up."""
        now = asyncio.get_running_loop().time
        ends, before = now() + within, self._unsent()
        # aiohttp has no event for a transport that has sent what it holds.
        while (left := ends - now()) > 0:
            if closing.done():
                if not self._unsent():
                    return
                await asyncio.sleep(LOOK)
            else:
                await asyncio.wait({closing}, timeout=min(left, LOOK if self._unsent() else left))
            unsent = self._unsent()
            if renewed and unsent < before:
                ends = now() + within
            before = unsent

    async def _answer_close(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE):
                await self._opened.close()

    def _unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    async def _send(self, sending: Coroutine[Any, Any, None]) -> None:
        try:
            await sending
        except (aiohttp.ClientError, OSError) as error:
            raise TransportError(f"the WebSocket is closed: {_words(error)}") from error

    def _over(self, code: int, reason: str = "") -> None:
        if self._close_code is None:
            self._close_code, self._close_reason = code, reason
        self._ticker.cancel()
        if self._ping is not None:
            self._ping.cancel()

    def _tick(self) -> None:
        if self._is_gone():
            # Whoever forgot to close it must not be kept alive by a timer.
            return
        if self._heard or not self._receiving:
            self._pinged = False
        elif not self._pinged:
            self._pinged = True
            self._ping = asyncio.get_running_loop().create_task(self._ask())
        else:
            self._silent = True
            if self._transport is not None:
                self._transport.abort()
            else:
                self._leaving = asyncio.get_running_loop().create_task(self._leave())
            return
        self._heard = False
        self._ticker = asyncio.get_running_loop().call_later(self._heartbeat, self._tick)

    def _is_gone(self) -> bool:
        if self._transport is not None:
            return self._transport.is_closing()
        return self._opened.closed or self._opened.get_extra_info("socket") is None

    async def _leave(self) -> None:
        # Wakes whoever receives. The peer answers nothing, so aiohttp would wait for it without end.
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with asyncio.timeout(GOODBYE):
                await self._opened.close(code=UNEXPECTED)

    async def _ask(self) -> None:
        # What keeps a ping from being sent is what receiving reports.
        with contextlib.suppress(aiohttp.ClientError, OSError):
            await self._opened.ping()


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__

"""A WebSocket that is open: messages both ways, pings, and its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Final

import aiohttp

from vcloud._core.request import Response
from vcloud.errors import TransportError

#: A WebSocket's upgrade that is refused says why in a few lines.
MAX_REFUSAL: Final = 64 * 1024
#: Seconds of silence after which a peer is asked whether it is still there.
HEARTBEAT: Final = 30.0
#: Seconds that saying goodbye may take, to a peer that does not listen.
GOODBYE: Final = 2.0
#: Close codes of RFC 6455: done, no reason given, and lost without a goodbye.
NORMAL, NO_STATUS, ABNORMAL = 1000, 1005, 1006


class RefusedError(Exception):
    """The service answered a WebSocket's upgrade with something else. What that means, the provider's dialect says."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"the upgrade was answered with {response.status}")
        self.response = response


class Socket:
    """An open WebSocket. One task may receive while another sends.

    Sending waits while the peer is slow, and who does not receive slows the peer: neither side's data piles up here.

    Args:
        opened: aiohttp's.
        heartbeat: seconds; see :meth:`Transport.websocket`.
    """

    def __init__(self, opened: aiohttp.ClientWebSocketResponse, heartbeat: float) -> None:
        connection = opened._response.connection
        self._opened = opened
        self._transport = None if connection is None else connection.transport
        self._heartbeat = heartbeat
        self._receiving = self._heard = self._pinged = self._silent = False
        self._ping: asyncio.Task[None] | None = None
        self._ticker = asyncio.get_running_loop().call_later(heartbeat, self._tick)
        self._close_code: int | None = None

    @property
    def close_code(self) -> int | None:
        """Why it was closed, as RFC 6455 numbers it; None while it is open, 1006 when it was lost without a goodbye."""
        return self._close_code

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
        """The next message; None when it is closed, and then :attr:`close_code` says why.

        A peer that is silent for long is pinged, but only while somebody waits here: one that we keep from sending is
        not dead.

        Raises:
            TransportError: the peer broke the protocol, sent too large a message, or is silent.
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
                    self._over(message.data or NO_STATUS)
                case aiohttp.WSMsgType.ERROR:
                    self._over(self._opened.close_code or ABNORMAL)
                    raise TransportError(f"the WebSocket broke: {_words(message.data)}")
                case _:
                    self._over(ABNORMAL)
                    if self._silent:
                        raise TransportError(
                            f"the peer was silent for {2 * self._heartbeat:g} s, and answered no ping"
                        )
        return None

    async def close(self, code: int = NORMAL) -> None:
        """Say goodbye, for a short while, and let go. May be called twice, and while another task receives."""
        self._over(code)
        try:
            async with asyncio.timeout(GOODBYE):
                await self._opened.close(code=code)
                # A closing transport stays until it has sent what it holds.
                while self._unsent():  # noqa: ASYNC110 - aiohttp has no event for it
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pass
        finally:
            if self._transport is not None and (self._unsent() or not self._transport.is_closing()):
                self._transport.abort()
        if self._ping is not None:
            await asyncio.wait({self._ping})

    def _unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    async def _send(self, sending: Coroutine[Any, Any, None]) -> None:
        try:
            await sending
        except (aiohttp.ClientError, OSError) as error:
            raise TransportError(f"the WebSocket is closed: {_words(error)}") from error

    def _over(self, code: int) -> None:
        if self._close_code is None:
            self._close_code = code
        self._ticker.cancel()
        if self._ping is not None:
            self._ping.cancel()

    def _tick(self) -> None:
        if self._transport is None or self._transport.is_closing():
            # Whoever forgot to close it must not be kept alive by a timer.
            return
        if self._heard or not self._receiving:
            self._pinged = False
        elif not self._pinged:
            self._pinged = True
            self._ping = asyncio.get_running_loop().create_task(self._ask())
        else:
            self._silent = True
            self._transport.abort()
            return
        self._heard = False
        self._ticker = asyncio.get_running_loop().call_later(self._heartbeat, self._tick)

    async def _ask(self) -> None:
        # What keeps a ping from being sent is what receiving reports.
        with contextlib.suppress(aiohttp.ClientError, OSError):
            await self._opened.ping()


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__

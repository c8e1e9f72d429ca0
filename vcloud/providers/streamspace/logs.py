"""A session's log as it is written, over a connection that may drop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Final, Self

from vcloud._core.retry import RetryPolicy
from vcloud._core.websocket import NO_STATUS, NORMAL, Socket
from vcloud.errors import LimitExceededError, TransportError
from vcloud.providers.streamspace.overlap import Lines, Overlap, remembered

__all__ = ["LogStream"]

#: How many of the lines that were given out are remembered, to recognise them after a drop.
REMEMBERED: Final = 200
#: How many lines more than the remembered ones are asked for after a drop: what may have been written meanwhile.
MISSED: Final = 1000
#: Seconds of silence after which the lines that the service repeats are taken to be all there.
QUIET: Final = 1.0
#: Characters that are held at most until it is clear which lines are new: the 1200 lines that are
#: asked for, of 16 KiB each, which is where Docker and Kubernetes break a line.
MAX_HELD: Final = 20 * 1024 * 1024
#: Lines in a row that are looked at, or given out, before other tasks get their turn: a message of
#: 4 MiB may have two million.
IN_A_ROW: Final = 2000


class _Held:
    """The messages since a connection was made anew, until it is clear which lines are new.

    Args:
        previous: what stands for the lines that were given out.
        asked: how many lines the service was asked for.
    """

    def __init__(self, previous: list[str | bytes], asked: int) -> None:
        self._overlap = Overlap(previous)
        self._asked = asked
        self._messages: list[bytes | str] = []
        self._size = 0
        #: The lines of the last message that were not looked at.
        self._left: Lines | None = None
        #: How many lines were looked at.
        self.count = 0

    @property
    def decided(self) -> bool:
        """Whether it is clear which lines are new, or there is no room to wait for more."""
        return self._overlap.whole or (
            self._left is None and (self.count >= self._asked or self._size > MAX_HELD)
        )

    def take(self, message: bytes | str) -> None:
        """Hold one more message. None may be left to be looked at."""
        self._messages.append(message)
        self._size += len(message)
        self._left = Lines(message)

    def look(self) -> bool:
        """Look at some lines of the last message; False when none were left."""
        if self._left is None:
            return False
        looked = self._overlap.feed(self._left, IN_A_ROW)
        self.count += looked
        if looked < IN_A_ROW and not self._overlap.whole:
            self._left = None
        return True

    def new(self) -> list[Lines]:
        """What comes after the lines that were given out."""
        overlap, found = self._overlap, []
        if overlap.whole:
            return [] if self._left is None else [self._left]
        known = overlap.begun()
        for message in self._messages:
            lines = Lines(message)
            while known and next(lines, None) is not None:
                known -= 1
            found.append(lines)
        return found


class LogStream(AsyncIterator[str]):
    """The lines of a session's log, those that are there and those that are still written.

    Iterating connects. It ends when the service says that the session is over. A connection that drops is made anew
    with growing pauses; the service is then asked for its last lines again, and those that were given out are left
    out. How far that goes lies with the service: after a long drop, lines older than the 1000 last ones are lost, and
    in a log of equal lines without times no one can tell which of them are new.

    A line is data and comes as it was written: it may be as long as a message, and hold characters
    that act on a terminal. Of what was given out only the last 200 lines are remembered, long ones
    by a digest.

    Close it with ``async with`` or :meth:`aclose`. One task may iterate; a wait for a line that is
    cancelled can be taken up again. Between two lines the connection is read on, up to
    ``max_message`` bytes of the :class:`~vcloud.Endpoint` and 65 536 messages: pings are answered,
    and a service that writes more has to wait. A ping goes out as soon as either direction has been
    silent for ``heartbeat`` seconds of the Endpoint.

    Raises (while iterating):
        ConfigurationError: the client is closed, or another task iterates.
        LimitExceededError: a message is larger than ``max_message`` of the Endpoint. It ends the
            stream.
        APIError: the service refuses, at first or when the connection is made anew.
        TransportError: it dropped as often in a row as the endpoint's :class:`~vcloud.RetryPolicy` allows, without a
            new line.

    Args:
        connect: opens the connection, asking for so many lines.
        tail: how many lines to begin with.
        retry: how often and how patiently to connect again.
        entropy: a number in 0..1, for jitter.
    """

    def __init__(
        self,
        connect: Callable[[int], Awaitable[Socket]],
        *,
        tail: int,
        retry: RetryPolicy,
        entropy: Callable[[], float],
    ) -> None:
        self._connect = connect
        self._tail = tail
        self._retry = retry
        self._entropy = entropy
        #: What stands for the lines that were given out last.
        self._given: deque[str | bytes] = deque(maxlen=REMEMBERED)
        #: Messages whose lines can be given out.
        self._ready: deque[Lines] = deque()
        self._in_a_row = 0
        #: The lines since the connection was made anew, until it is clear which of them are new.
        self._held: _Held | None = None
        self._socket: Socket | None = None
        self._drops = 0
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        self._in_a_row += 1
        if self._in_a_row > IN_A_ROW:
            # Before a line is taken, so that a cancellation loses none.
            self._in_a_row = 0
            await asyncio.sleep(0)
        while (line := self._next_ready()) is None:
            if self._over:
                raise StopAsyncIteration
            await self._advance()
        self._drops = 0
        self._given.append(remembered(line))
        return line

    def _next_ready(self) -> str | None:
        while self._ready:
            if (line := next(self._ready[0], None)) is not None:
                return line
            self._ready.popleft()
        return None

    async def aclose(self) -> None:
        """Close the connection; what was not read yet is dropped. May be called twice."""
        self._over = True
        self._ready.clear()
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _advance(self) -> None:
        """One step: connect, look at some of the lines that are held, or take one message."""
        if self._socket is None:
            if self._drops:
                await asyncio.sleep(self._retry.backoff(self._drops, self._entropy()))
            asked = len(self._given) + MISSED if self._given else self._tail
            self._held = _Held(list(self._given), asked) if self._given else None
            self._socket = await self._connect(asked)
            return
        if self._held is not None and self._held.look():
            if self._held.decided:
                self._release()
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(
                QUIET if self._held is not None and self._held.count else None
            ):
                message = await self._socket.receive()
        except TimeoutError:
            self._release()
            return
        except LimitExceededError:
            # Another connection would bring the same message.
            self._over = True
            await self._let_go()
            raise
        except TransportError as error:
            await self._dropped(error)
            return
        if message is not None:
            self._take(message)
        elif self._socket.close_code in (NORMAL, NO_STATUS):
            self._release()
            self._over = True
            await self._let_go()
        else:
            await self._dropped(
                TransportError(f"the log's connection was closed with {self._socket.ending}")
            )

    def _take(self, message: bytes | str) -> None:
        self._in_a_row = 0
        if self._held is None:
            self._ready.append(Lines(message))
        else:
            self._held.take(message)

    def _release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._ready.extend(held.new())

    async def _dropped(self, error: TransportError) -> None:
        # What is held was not recognised yet; the next connection brings it again.
        self._drops += 1
        await self._let_go()
        if self._drops >= self._retry.attempts:
            self._over = True
            raise error

    async def _let_go(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

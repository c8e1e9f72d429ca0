"""A session's log as it is written, over a connection that may drop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Final, Self

from vcloud._core.retry import RetryPolicy
from vcloud._core.timing.timeouts import timeout_at
from vcloud._core.unclosed import calling_line, warn_left_open
from vcloud._core.websocket import NO_STATUS, NORMAL, Socket
from vcloud.errors import LimitExceededError, TransportError
from vcloud.providers.streamspace.realtime.overlap import Lines
from vcloud.providers.streamspace.realtime.replay import Memory, Replay

__all__ = ["LogStream"]

#: Seconds of silence after which the lines that the service repeats are taken to be all there, where
#: neither their text nor their times tell. A lost packet is sent again within four, at the fourth
#: try (RFC 6298: 0.2, 0.4, 0.8 and 1.6 s after the one before, as Linux does it).
QUIET: Final = 5.0
#: Characters that are held at most until it is clear which lines are new: the 1200 lines that are
#: asked for, of 16 KiB each, which is where Docker and Kubernetes break a line.
MAX_HELD: Final = 20 * 1024 * 1024
#: Lines in a row that are looked at, or given out, before other tasks get their turn: a message of
#: 4 MiB may have two million.
IN_A_ROW: Final = 2000


class LogStream(AsyncIterator[str]):
    """The lines of a session's log, those that are there and those that are still written.

    Iterating connects. It ends when the service says that the session is over. A connection that drops is made anew
    with growing pauses; the service is then asked for its last lines again, and those that were given out are left
    out. How far that goes lies with the service: after a long drop, lines older than the 1000 last ones are lost, and
    in a log of equal lines without times no one can tell which of them are new.

    Lines that come again are recognised by their text, however late they come. Give
    ``timestamps=True`` (the default) where a service may pause: a time tells as well that a line is
    older, and was left out by ``tail``, or that it is new. Without times, lines that are not known
    are given out after five seconds of silence.

    A line is data and comes as it was written: it may be as long as a message, and hold characters
    that act on a terminal. Of what was given out only the last 1200 lines are remembered, long ones
    by a digest.

    Close it with ``async with`` or :meth:`aclose`. One that nobody holds any more, left by
    ``break`` say, is closed as well, and a ResourceWarning names the line that called ``logs``. A
    task that waits for a line holds it. One task may iterate; a wait for a line that is
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
        #: The lines that were given out last.
        self._given = Memory()
        #: Messages whose lines can be given out.
        self._ready: deque[Lines] = deque()
        self._in_a_row = 0
        #: The lines since the connection was made anew, until it is clear which of them are new.
        self._held: Replay | None = None
        #: When it is no longer waited for lines that go on with those that were given out, by the
        #: loop's clock; None: whatever comes next is waited for.
        self._quiet_at: float | None = None
        self._socket: Socket | None = None
        self._drops = 0
        self._over = False
        self._where = calling_line()

    def __del__(self) -> None:
        socket = getattr(self, "_socket", None)
        if socket is not None and socket.abandon():
            warn_left_open("a log", self._where)

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
        self._given.add(line)
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
            asked = self._given.asked if self._given else self._tail
            self._held = Replay(self._given.copy(), asked) if self._given else None
            self._quiet_at = None
            self._socket = await self._connect(asked)
            return
        if self._held is not None and self._held.look(IN_A_ROW):
            self._decide(self._held)
            await asyncio.sleep(0)
            return
        try:
            async with timeout_at(self._quiet_at if self._held is not None else None):
                message = await self._socket.receive()
        except TimeoutError:
            self._quiet_at = None
            if self._held is not None and self._held.may_be_over:
                self._release(self._held.resume())
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

    def _decide(self, held: Replay) -> None:
        """Give out what is new, as soon as that is clear."""
        if held.decided or held.size > MAX_HELD:
            self._release(None)
        elif held.gives_at_once:
            self._release(held.resume())
        elif self._quiet_at is None or held.progresses:
            self._quiet_at = asyncio.get_running_loop().time() + QUIET

    def _release(self, then: Replay | None = None) -> None:
        """Give out what is new.

        Args:
            then: what goes on looking for lines that were given out.
        """
        held, self._held = self._held, then
        if held is None:
            return
        self._ready.extend(held.new())
        if held.whole:
            # Lines that were taken for new, and are older, may be remembered behind them.
            self._given = held.memory
        elif not held.found and not held.resumed:
            # What is given out next does not follow them.
            self._given.clear()

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

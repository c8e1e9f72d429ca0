"""A session's log as it is written, over a connection that may drop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Self

from vcloud._core.retry import RetryPolicy
from vcloud._core.timing.timeouts import timeout_at
from vcloud._core.unclosed import calling_line, warn_left_open
from vcloud._core.websocket import NO_STATUS, NORMAL, Socket
from vcloud.errors import LimitExceededError, TransportError
from vcloud.providers.streamspace.realtime.log_overlap import Lines
from vcloud.providers.streamspace.realtime.log_replay import RecentLines, Replay

__all__ = ["LogStream"]

#: Seconds of silence after which all repeated lines are taken to have come, where neither their
#: text nor their times tell. A lost packet is sent again within four seconds, at the fourth try
#: (RFC 6298: 0.2, 0.4, 0.8 and 1.6 s after the one before, as Linux does it).
QUIET_PERIOD: Final = 5.0
#: Characters that are held at most until it is clear which lines are new: the 1200 lines that are
#: requested, of 16 KiB each, which is where Docker and Kubernetes break a line.
MAX_BUFFERED: Final = 20 * 1024 * 1024
#: Lines that are scanned, or returned, in a row before other tasks run: a message of 4 MiB may have
#: two million.
LINES_PER_TURN: Final = 2000


class LogStream(AsyncIterator[str]):
    """The lines of a session's log: the existing ones, and the new ones as they are written.

    Iterating connects. It ends when the service says that the session is over. After a drop it
    reconnects with growing pauses, asks the service for its last lines again, and leaves out those
    that were returned before. This has limits: after a long drop, lines older than the last 1000
    are lost, and in a log of equal lines without times no client can tell which lines are new.

    Repeated lines are recognised by their text, however late they come. Give ``timestamps=True``
    (the default) if a service may pause: the time also shows whether a line is new, or older and
    left out by ``tail``. Without times, unknown lines are returned after five seconds of silence.

    A line is data and comes as it was written: it may be as long as a message, and hold characters
    that act on a terminal. Only the last 1200 returned lines are remembered, long ones by a digest.

    Close it with ``async with`` or :meth:`aclose`. A stream without references (after a ``break``,
    for example) is closed as well, and a ResourceWarning names the line that called ``logs``. A
    task that waits for a line keeps a reference. One task may iterate at a time. A wait for a line
    may be cancelled and repeated; no line is lost. Between two lines the connection is read on, up
    to ``max_message`` bytes of the :class:`~vcloud.Endpoint` and 65 536 messages: pings are
    answered, and a service that writes more has to wait. A ping is sent as soon as either direction
    has been silent for ``heartbeat`` seconds of the Endpoint.

    Raises (while iterating):
        ConfigurationError: the client is closed, or another task iterates.
        LimitExceededError: a message is larger than ``max_message`` of the Endpoint. It ends the
            stream.
        APIError: the service refuses the connection, the first one or a later one.
        TransportError: it dropped as often in a row as the :class:`~vcloud.RetryPolicy` of the
            endpoint allows, without a new line.

    ``session.logs(follow=True)`` makes it; its constructor is not for users.

    Args:
        connect: opens the connection, and requests so many lines.
        tail: how many lines to begin with.
        retry: how often to reconnect, and with which pauses.
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
        #: The lines that were returned last.
        self._recent = RecentLines()
        #: Messages whose lines can be returned.
        self._ready: deque[Lines] = deque()
        self._in_a_row = 0
        #: The messages since the last reconnection, until it is clear which of their lines are new.
        self._replay: Replay | None = None
        #: When silence decides, by the loop's clock; None: it does not, however long it is.
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
        if self._in_a_row > LINES_PER_TURN:
            # Before a line is taken, so that a cancellation loses none.
            self._in_a_row = 0
            await asyncio.sleep(0)
        while (line := self._next_ready()) is None:
            if self._over:
                raise StopAsyncIteration
            await self._advance()
        self._drops = 0
        self._recent.add(line)
        return line

    def _next_ready(self) -> str | None:
        while self._ready:
            if (line := next(self._ready[0], None)) is not None:
                return line
            self._ready.popleft()
        return None

    async def aclose(self) -> None:
        """Close the connection, and drop what was not read yet. May be called twice."""
        self._over = True
        self._ready.clear()
        await self._disconnect()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *details: object) -> None:
        await self.aclose()

    async def _advance(self) -> None:
        """Do one step: connect, scan some of the held lines, or take one message."""
        if self._socket is None:
            self._socket = await self._reconnect()
        elif self._replay is not None and self._replay.scan(LINES_PER_TURN):
            self._decide(self._replay)
            await asyncio.sleep(0)
        else:
            await self._receive(self._socket)

    async def _reconnect(self) -> Socket:
        if self._drops:
            await asyncio.sleep(self._retry.backoff(self._drops, self._entropy()))
        requested = self._recent.lines_to_request if self._recent else self._tail
        self._replay = Replay(self._recent.copy(), requested) if self._recent else None
        self._quiet_at = None
        return await self._connect(requested)

    async def _receive(self, socket: Socket) -> None:
        try:
            async with timeout_at(self._quiet_at if self._replay is not None else None):
                message = await socket.receive()
        except TimeoutError:
            self._quiet_at = None
            if self._replay is not None and self._replay.may_be_over:
                self._release(self._replay.resume())
            return
        except LimitExceededError:
            # Another connection would bring the same message.
            self._over = True
            await self._disconnect()
            raise
        except TransportError as error:
            await self._dropped(error)
            return
        if message is not None:
            self._take(message)
        elif socket.close_code in (NORMAL, NO_STATUS):
            self._release()
            self._over = True
            await self._disconnect()
        else:
            await self._dropped(
                TransportError(f"the log's connection was closed with {socket.ending}")
            )

    def _take(self, message: bytes | str) -> None:
        self._in_a_row = 0
        if self._replay is None:
            self._ready.append(Lines(message))
        else:
            self._replay.add(message)

    def _decide(self, replay: Replay) -> None:
        """Release the new lines as soon as it is clear which ones they are."""
        if replay.decided or replay.size > MAX_BUFFERED:
            self._release(None)
        elif replay.releases_at_once:
            self._release(replay.resume())
        elif self._quiet_at is None or replay.continues_known:
            self._quiet_at = asyncio.get_running_loop().time() + QUIET_PERIOD

    def _release(self, then: Replay | None = None) -> None:
        """Release the new lines.

        Args:
            then: the replay that looks for known lines among those that follow.
        """
        replay, self._replay = self._replay, then
        if replay is None:
            return
        self._ready.extend(replay.new_lines())
        if replay.complete:
            # Older lines that were taken for new ones may be remembered behind the known ones.
            self._recent = replay.recent
        elif not replay.has_known_lines and not replay.resumed:
            # The next line does not follow the remembered ones.
            self._recent.clear()

    async def _dropped(self, error: TransportError) -> None:
        # The next connection brings the held lines again.
        self._drops += 1
        await self._disconnect()
        if self._drops >= self._retry.attempts:
            self._over = True
            raise error

    async def _disconnect(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

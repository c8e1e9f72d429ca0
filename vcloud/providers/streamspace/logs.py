"""A session's log as it is written, over a connection that may drop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Final, Self

from vcloud._core.retry import RetryPolicy
from vcloud._core.websocket import NO_STATUS, NORMAL, Socket
from vcloud.errors import LimitExceededError, TransportError

__all__ = ["LogStream"]

#: How many of the lines that were given out are remembered, to recognise them after a drop.
REMEMBERED: Final = 200
#: How many lines more than the remembered ones are asked for after a drop: what may have been written meanwhile.
MISSED: Final = 1000
#: Seconds of silence after which the lines that the service repeats are taken to be all there.
QUIET: Final = 1.0


def split(message: bytes | str) -> list[str]:
    """The lines of one message: one or more, with or without an end to the last."""
    text = message.decode("utf-8", "replace") if isinstance(message, bytes) else message
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []


def seen_whole(previous: Sequence[str], fresh: Sequence[str]) -> int | None:
    """Where in ``fresh`` the first occurrence of all ``previous`` lines ends; None when they are not there."""
    count = len(previous)
    if not count:
        return 0
    last = previous[-1]
    for end in range(count, len(fresh) + 1):
        if fresh[end - 1] == last and all(
            fresh[end - count + at] == previous[at] for at in range(count)
        ):
            return end
    return None


def unseen(previous: Sequence[str], fresh: Sequence[str]) -> list[str]:
    """The lines of ``fresh`` that come after ``previous``, both being the ends of one log at two times.

    The longest overlap decides: either all ``previous`` lines stand somewhere in ``fresh``, or their end is its
    beginning. Where a log repeats itself so that several places fit, a line is rather given twice than lost.
    """
    end = seen_whole(previous, fresh)
    if end is None:
        shortest = max(0, len(previous) - len(fresh))
        start = next(
            at
            for at in range(shortest, len(previous) + 1)
            if list(previous[at:]) == list(fresh[: len(previous) - at])
        )
        end = len(previous) - start
    return list(fresh[end:])


class LogStream(AsyncIterator[str]):
    """The lines of a session's log, those that are there and those that are still written.

    Iterating connects. It ends when the service says that the session is over. A connection that drops is made anew
    with growing pauses; the service is then asked for its last lines again, and those that were given out are left
    out. How far that goes lies with the service: after a long drop, lines older than the 1000 last ones are lost, and
    in a log of equal lines without times no one can tell which of them are new.

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
        self._given: deque[str] = deque(maxlen=REMEMBERED)
        self._ready: deque[str] = deque()
        #: The lines since the connection was made anew, until it is clear which of them are new.
        self._held: list[str] | None = None
        self._asked = tail
        self._socket: Socket | None = None
        self._drops = 0
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while not self._ready:
            if self._over:
                raise StopAsyncIteration
            await self._advance()
        self._drops = 0
        line = self._ready.popleft()
        self._given.append(line)
        return line

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
        """One step: connect, or take one message."""
        if self._socket is None:
            if self._drops:
                await asyncio.sleep(self._retry.backoff(self._drops, self._entropy()))
            self._held = [] if self._given else None
            self._asked = len(self._given) + MISSED if self._given else self._tail
            self._socket = await self._connect(self._asked)
            return
        try:
            async with asyncio.timeout(QUIET if self._held else None):
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
            self._take(split(message))
        elif self._socket.close_code in (NORMAL, NO_STATUS):
            self._release()
            self._over = True
            await self._let_go()
        else:
            await self._dropped(
                TransportError(f"the log's connection was closed with {self._socket.ending}")
            )

    def _take(self, lines: list[str]) -> None:
        if self._held is None:
            self._ready.extend(lines)
            return
        self._held.extend(lines)
        if len(self._held) >= self._asked or seen_whole(tuple(self._given), self._held) is not None:
            self._release()

    def _release(self) -> None:
        held, self._held = self._held, None
        if held:
            self._ready.extend(unseen(tuple(self._given), held))

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

"""One session's desktop, relayed over the agent's own socket.

The server does not say that a viewer came, and the viewer waits for the desktop's first bytes. So
the desktop is connected before: its greeting waits in the server's queue. It says neither, in half
of the cases, that a viewer left: what serves that viewer goes on, and takes what the next one
needs, until it fails to write.

::

    connecting   until the desktop accepts; tried again with growing pauses
    waiting      its greeting is sent; the first bytes from a viewer begin the use
    in use       after 5 s without a byte an empty message, and another a second later: they end
                 what still serves a viewer that left, and a viewer that is there ignores them
    anew         the viewer left, or another one waits: back to connecting
    gone         the desktop closed its connection: a viewer is told, then back to connecting
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol

from vcloud._core.tasks import first_completed
from vcloud._core.timing.timeouts import timeout, timeout_at
from vcloud.errors import TransportError
from vcloud.providers.streamspace.agent.published.vnc_batches import Pace
from vcloud.providers.streamspace.realtime.vnc_relay import close_writer

__all__ = ["Desktop", "DesktopError", "Outlet"]

#: Seconds after its greeting in which a desktop is not connected anew: what asks for it may have
#: crossed the greeting.
SETTLING: Final = 1.0
#: Seconds without a message in use after which an empty one is sent, and before the second one.
QUIET: Final = 5.0
SECOND_EMPTY: Final = 1.0
#: Seconds between the empty messages for a viewer that waits, and in which what served the one
#: before it says that it ended.
FLUSH: Final = 0.3
#: Seconds before a desktop that cannot be reached is tried again, and the most; each pause doubles.
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
#: Seconds for which a desktop that cannot be reached is one that has just started.
STARTING: Final = 30.0
#: Bytes from a viewer that wait for the desktop.
MAX_WAITING: Final = 16 * 1024 * 1024
#: The first bytes of a viewer, as of a VNC server (RFC 6143, 7.1.1).
VERSION: Final = b"RFB "

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class DesktopError(Exception):
    """The desktop cannot be used. The text is for the viewer.

    Args:
        reason: for a person.
        error: what the agent's owner gets.
    """

    reason: str
    error: Exception

    def __init__(self, reason: str, error: Exception) -> None:
        super().__init__(reason)
        self.reason = reason
        self.error = error


class Outlet(Protocol):
    """Sends one session's messages to the server."""

    @property
    def capacity(self) -> int:
        """How many bytes one message holds."""
        ...

    async def data(self, data: bytes) -> None:
        """Send these bytes; none make an empty message."""
        ...

    async def error(self, reason: str) -> None:
        """Say that the desktop is gone, which ends the viewer."""
        ...


class Desktop:
    """One session's connection to its desktop, made anew for each viewer.

    Args:
        connect: connects to the desktop; it raises a DesktopError.
        outlet: sends the session's messages.
        on_error: is called with what went wrong.
        lasting: whether the session is known to run; otherwise the first failure is the end.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Streams]],
        outlet: Outlet,
        on_error: Callable[[Exception], None],
        *,
        lasting: bool,
    ) -> None:
        self._connect = connect
        self._outlet = outlet
        self._on_error = on_error
        self._lasting = lasting
        self._loop = asyncio.get_running_loop()
        #: Bytes of the viewer that wait for the desktop.
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._came = asyncio.Event()
        #: Set to connect anew.
        self._anew = asyncio.Event()
        #: Whether a viewer said that it waits for its first bytes.
        self._viewer_waits = False
        #: Set when a viewer has answered on this connection.
        self._used = asyncio.Event()
        #: Why this connection cannot go on.
        self._failure: DesktopError | None = None
        self._failed = asyncio.Event()
        #: Not set while a command that may end the desktop is carried out.
        self._steady = asyncio.Event()
        self._steady.set()
        self._pace = Pace()
        #: When bytes were last sent, and set when some are.
        self._said_at = self._loop.time()
        self._said = asyncio.Event()
        self._greeted_at: float | None = None
        #: What was sent before any viewer answered. When the desktop closes its connection then, it
        #: still waits in the server's queue, and must not come twice.
        self._queued = b""

    @property
    def in_use(self) -> bool:
        """Whether a viewer has answered on this connection."""
        return self._used.is_set()

    # -- what the server says ---------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take bytes of a viewer."""
        if not self.in_use:
            if data[: len(VERSION)] != VERSION[: len(data)]:
                # From the viewer before: the desktop would take it for a wrong version.
                return
            # What asked for another connection had crossed the greeting.
            self._viewer_waits = False
            self._anew.clear()
            self._used.set()
        self._pace.answered()
        self._waiting.append(data)
        self._size += len(data)
        self._came.set()
        if self._size > MAX_WAITING:
            unread = TransportError(f"a desktop left {self._size} bytes of its viewer unread")
            self.fail(DesktopError("the desktop does not read what its viewer sends", unread))

    def viewer_waits(self) -> None:
        """Note that a viewer which got no bytes made itself known."""
        self._viewer_waits = True
        self._anew.set()

    def viewer_left(self) -> None:
        """Note that a viewer left."""
        self._anew.set()

    def may_end(self) -> None:
        """Note that a command is carried out which may end the desktop: that is no error then."""
        self._steady.clear()

    def goes_on(self) -> None:
        """Note that the session runs after that command."""
        self._steady.set()

    def fail(self, failure: DesktopError) -> None:
        """End this connection, and its viewer, for this reason."""
        self._failure = failure
        self._failed.set()

    # -- the connections --------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect and relay until this is cancelled, or the first failure if it is not lasting.

        Raises:
            TransportError: the agent's own connection was lost.
        """
        pause, since = FIRST_PAUSE, self._loop.time()
        while True:
            self._reset()
            try:
                await self._connect_and_relay()
            except DesktopError as failure:
                starting = self._lasting and self._loop.time() - since < STARTING
                is_watched = self._viewer_waits or self.in_use or not self._lasting
                expected = not self._steady.is_set()
                if not expected and (is_watched or not starting):
                    self._on_error(failure.error)
                if is_watched:
                    await self._outlet.error(failure.reason)
                    self._viewer_waits = False
                    self._used.clear()
                    self._queued = b""
                if not self._lasting:
                    return
                if expected:
                    await self._steady.wait()
                    continue
                with suppress(TimeoutError):
                    async with timeout(pause):
                        await self._anew.wait()
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                pause, since = FIRST_PAUSE, self._loop.time()

    def _reset(self) -> None:
        for event in (self._anew, self._used, self._failed, self._came):
            event.clear()
        self._waiting.clear()
        self._size = 0
        self._pace = Pace()
        self._greeted_at = self._failure = None

    async def _connect_and_relay(self) -> None:
        """Return to connect anew; a DesktopError says that the desktop is gone."""
        reader, writer = await self._connect()
        self._lasting = True
        try:
            await first_completed(
                self._to_server(reader),
                self._to_desktop(writer),
                self._end_dead_viewers(),
                self._wait_for_anew(),
                self._wait_for_failure(),
            )
        finally:
            await close_writer(writer)

    async def _wait_for_failure(self) -> None:
        await self._failed.wait()
        assert self._failure is not None
        raise self._failure

    async def _wait_for_anew(self) -> None:
        """Return when the desktop is to be connected anew."""
        while True:
            await self._anew.wait()
            if not self._anew.is_set():
                continue
            self._anew.clear()
            if not self.in_use and self._greeted_at is not None:
                # The greeting may be on its way to the viewer that asked for it.
                with suppress(TimeoutError):
                    async with timeout_at(self._greeted_at + SETTLING):
                        await self._used.wait()
                if self.in_use:
                    self._viewer_waits = False
                    continue
            if self._viewer_waits:
                await self._flush()
            self._queued = b""
            return

    async def _flush(self) -> None:
        """End what still serves a viewer that left, because it would take the greeting."""
        for _ in range(2):
            await self._send(b"")
            await asyncio.sleep(FLUSH)

    async def _end_dead_viewers(self) -> None:
        """In each silence of a desktop in use, two empty messages.

        What still serves a viewer that left ends by them, and then the server says so. Not more of
        them: each is a send to a viewer that may not take care of the server's time limits.
        """
        while True:
            await self._used.wait()
            self._said.clear()
            said_at = self._said_at
            for seconds in (QUIET, QUIET + SECOND_EMPTY):
                await asyncio.sleep(max(0.0, said_at + seconds - self._loop.time()))
                if self._said_at != said_at:
                    break
                await self._send(b"")
            else:
                await self._said.wait()

    # -- the bytes --------------------------------------------------------------------------------

    async def _to_desktop(self, writer: asyncio.StreamWriter) -> None:
        while True:
            while self._waiting:
                data = self._waiting.popleft()
                self._size -= len(data)
                try:
                    writer.write(data)
                    await writer.drain()
                except OSError as error:
                    raise _gone(error) from None
            self._came.clear()
            await self._came.wait()

    async def _to_server(self, reader: asyncio.StreamReader) -> None:
        try:
            if (first := await self._batch(reader)) != self._queued:
                await self._send(first)
            self._greeted_at = self._loop.time()
            while data := await self._batch(reader):
                await self._send(data)
        except OSError as error:
            raise _gone(error) from None
        raise _gone(TransportError("the desktop closed its connection"))

    async def _batch(self, reader: asyncio.StreamReader) -> bytes:
        """The bytes of one message; empty at the end."""
        most = self._outlet.capacity
        found = bytearray(await reader.read(most))
        if found and (delay := self._pace.delay):
            with suppress(TimeoutError):
                async with timeout(delay):
                    while len(found) < most and (more := await reader.read(most - len(found))):
                        found += more
        return bytes(found)

    async def _send(self, data: bytes) -> None:
        if data and not self.in_use:
            self._greeted_at = self._greeted_at or self._loop.time()
            self._queued += data
        await self._outlet.data(data)
        if data:
            self._said_at = self._loop.time()
            self._said.set()
            self._pace.sent()


def _gone(error: Exception) -> DesktopError:
    return DesktopError("the desktop closed its connection", error)

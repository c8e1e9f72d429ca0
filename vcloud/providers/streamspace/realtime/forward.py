"""A local port for VNC viewers, whose connections are tunnels to one session."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from ipaddress import ip_address
from types import TracebackType
from typing import Final, Self
from weakref import WeakSet, ref

from vcloud._core.cleanup import WITHIN, Opened
from vcloud._core.hooks import Hook, call_hook
from vcloud._core.tasks import abort, cancel_and_wait
from vcloud._core.unclosed import calling_line, warn_left_open
from vcloud.errors import ConfigurationError, InvalidArgumentError, TransportError
from vcloud.providers.streamspace.realtime.relay import PART, Relayed, close_writer, relay, tell_why
from vcloud.providers.streamspace.realtime.viewer_admission import Admission
from vcloud.providers.streamspace.realtime.vnc import VNCTunnel

__all__ = ["VNCForward"]

LOG: Final = logging.getLogger("vcloud.streamspace")
#: How many errors of a forward's connections are kept.
KEPT_ERRORS: Final = 16


class VNCForward:
    """A local TCP port whose every connection is a tunnel to one session.

    Use it as ``async with session.forward_vnc() as forward``.

    Any VNC viewer can be pointed at it. An error of one connection ends that connection alone;
    leaving the block ends all. A viewer that gets no picture is told why, as RFB 3.8 does it (RFC
    6143, 7.1.2), unless the VNC server has said more than its version to it.

    Programs of this process's user and of root are let in. Every other user of the machine is hung
    up on before a byte is passed on, and so is a connection that is gone by the time its row is
    looked for in the kernel's table of sockets. On a system without that table (macOS, Windows)
    every user of the machine is let in, and one WARNING says so.

    One that nobody holds any more closes, with its viewers: nobody else could close it. A
    ResourceWarning names the line that called ``forward_vnc``. An ``async with`` block holds it.

    At most 256 connections may be without a word from their viewer; more are hung up on. So is a
    viewer that has said nothing for two minutes.

    Args:
        open_tunnel: makes the tunnel of one connection.
        host: a loopback address.
        port: which; 0 takes a free one.
        on_error: is called with what ended a connection that did not end well.
        anyone: let in every user of this machine.
        known_to: what the client ends when it closes.

    Raises:
        InvalidArgumentError: ``host`` is no loopback address, ``port`` no port, ``on_error`` no
            function, or ``anyone`` no bool.
    """

    def __init__(
        self,
        open_tunnel: Callable[[], VNCTunnel],
        *,
        host: str,
        port: int,
        on_error: Hook[Exception] | None = None,
        anyone: bool = False,
        known_to: WeakSet[Opened],
    ) -> None:
        if type(port) is not int or not 0 <= port <= 65535:
            raise InvalidArgumentError(f"port must be from 0 to 65535, not {port!r}")
        if on_error is not None and not callable(on_error):
            raise InvalidArgumentError(f"on_error must be a function, not {on_error!r}")
        if type(anyone) is not bool:
            raise InvalidArgumentError(f"anyone must be True or False, not {anyone!r}")
        self._host = _loopback(host)
        self._port = port
        # Held here alone: what it refers to may refer to this.
        self._on_error = on_error
        self._listener = _Listener(open_tunnel, Admission(anyone=anyone), known_to, ref(self))
        self._where = calling_line()

    def __del__(self) -> None:
        # Not made whole where an argument was refused.
        listener = getattr(self, "_listener", None)
        if listener is not None and listener.abandon():
            warn_left_open("a VNC forward", self._where)

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return self._host

    @property
    def port(self) -> int:
        """The port that it listens on; the one asked for before it is entered."""
        return self._port

    @property
    def connections(self) -> int:
        """How many viewers are connected now."""
        return len(self._listener.connections)

    @property
    def errors(self) -> tuple[Exception, ...]:
        """What ended connections that did not end well, the last at the end; older ones are forgotten."""
        return tuple(self._listener.errors)

    @property
    def refused(self) -> int:
        """How many connections were hung up on: other users', gone ones, too many silent ones.

        They are no :attr:`errors`, so that nobody else can fill those. The first one is a WARNING
        in the log.
        """
        return self._listener.admission.refused

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        self._port = await self._listener.listen(self._host, self._port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening, and end all connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Stop listening, and end all connections. May be called twice."""
        await self._listener.aclose()


class _Listener:
    """What listens for a forward. It does not hold the forward, because the event loop holds this.

    Args:
        open_tunnel: makes the tunnel of one connection.
        admission: who is let in.
        known_to: what the client ends when it closes.
        forward: whose it is.
    """

    def __init__(
        self,
        open_tunnel: Callable[[], VNCTunnel],
        admission: Admission,
        known_to: WeakSet[Opened],
        forward: ref[VNCForward],
    ) -> None:
        self.admission = admission
        #: The viewers that are connected.
        self.connections: set[asyncio.Task[None]] = set()
        self.errors: deque[Exception] = deque(maxlen=KEPT_ERRORS)
        self._open_tunnel = open_tunnel
        self._known_to = known_to
        self._forward = forward
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def listen(self, host: str, port: int) -> int:
        """Listen.

        Returns:
            the port.
        """
        if self._server is not None:
            raise ConfigurationError(
                "this forward is in use already: call forward_vnc() again for another"
            )
        self._loop = asyncio.get_running_loop()
        # Not serving at first: start_server has no point between binding and returning at which it
        # could be cancelled.
        self._server = await asyncio.start_server(
            self._connected, host, port, limit=PART, start_serving=False
        )
        try:
            port = self._server.sockets[0].getsockname()[1]
            self.admission.listen(port)
            await self._server.start_serving()
            self._known_to.add(self)
        except BaseException:
            await self.aclose()
            raise
        return port

    def abandon(self) -> bool:
        """Nobody holds the forward any more: close it; return whether it was open.

        It may be called in another thread, and after the loop has ended.
        """
        if self._server is None or self._loop is None:
            return False
        try:
            self._loop.call_soon_threadsafe(self._abandoned)
        except RuntimeError:
            return False
        return True

    def _abandoned(self) -> None:
        # In callbacks: the end of asyncio.run cancels a task before its first step.
        self._known_to.discard(self)
        server, self._server = self._server, None
        if server is not None:
            _stop_accepting(server)
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, server.close)
        for task in self.connections:
            task.cancel()

    async def aclose(self) -> None:
        """Stop listening, and end all connections. May be called twice."""
        self._known_to.discard(self)
        server, self._server = self._server, None
        try:
            if server is not None:
                await _close(server)
        finally:
            await cancel_and_wait(set(self.connections))

    def make_urgent(self) -> None:
        """See :class:`~vcloud._core.cleanup.Opened`."""

    async def end_with_client(self) -> None:
        """See :class:`~vcloud._core.cleanup.Opened`."""
        await self.aclose()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:
            abort(writer.transport)
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self.connections.add(task)
        task.add_done_callback(self.connections.discard)
        # A task that is cancelled before its first step does nothing, not even closing.
        task.add_done_callback(lambda task: abort(writer.transport))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        WITHIN.set(self)
        task = asyncio.current_task()
        assert task is not None
        relayed = Relayed()
        try:
            if self.admission.take(relayed, task.cancel) and await self.admission.lets_in(writer):
                await self._relay(reader, writer, relayed)
        except Exception as error:  # noqa: BLE001 - one connection's trouble is nobody else's
            await self._failed(error.with_traceback(None), reader, writer, relayed)
        finally:
            self.admission.forget(relayed)
            await close_writer(writer)

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, relayed: Relayed
    ) -> None:
        tunnel = self._open_tunnel()
        try:
            await tunnel.aopen()
            await relay(tunnel, reader, writer, relayed)
        finally:
            with contextlib.suppress(TransportError):
                await tunnel.aclose()

    async def _failed(
        self,
        error: Exception,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        relayed: Relayed,
    ) -> None:
        self.errors.append(error)
        # Beside each other, because a viewer may take its time, and so may a hook.
        telling = [tell_why(error, reader, writer, relayed)]
        forward = self._forward()
        if forward is not None and forward._on_error is not None:
            telling.append(self._tell_owner(forward._on_error, error))
        del forward
        await asyncio.gather(*telling)

    async def _tell_owner(self, hook: Hook[Exception], error: Exception) -> None:
        await call_hook(hook, error, "on_error of forward_vnc", LOG)


def _stop_accepting(server: asyncio.Server) -> None:
    # Loops without readers (Windows) accept in another way.
    with contextlib.suppress(NotImplementedError):
        for listener in server.sockets:
            asyncio.get_running_loop().remove_reader(listener.fileno())


async def _close(server: asyncio.Server) -> None:
    """Close a server, but first let it hand over what it accepted: asyncio would never close that."""
    try:
        _stop_accepting(server)
        for _ in range(2):
            await asyncio.sleep(0)
    finally:
        server.close()


def _loopback(host: str) -> str:
    name = "127.0.0.1" if host == "localhost" else host
    try:
        if ip_address(name).is_loopback:
            return name
    except ValueError:
        pass
    raise InvalidArgumentError(
        f"host must be a loopback address such as 127.0.0.1, not {host!r}: whoever connects is let in"
    )

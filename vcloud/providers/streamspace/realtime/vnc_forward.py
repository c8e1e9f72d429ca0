"""A local port for VNC viewers; each connection to it is relayed to its own tunnel."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final, Self
from weakref import WeakSet, ref

from vcloud._core.cleanup import WITHIN, Opened
from vcloud._core.hooks import Hook, call_hook
from vcloud._core.tasks import abort, cancel_and_wait
from vcloud._core.unclosed import calling_line, warn_left_open
from vcloud.errors import ConfigurationError, InvalidArgumentError, TransportError
from vcloud.providers.streamspace.realtime.vnc_admission import ViewerAdmission
from vcloud.providers.streamspace.realtime.vnc_relay import (
    RelayProgress,
    close_writer,
    refuse_viewer,
    relay,
)
from vcloud.providers.streamspace.realtime.vnc_tunnel import CHUNK_SIZE, VNCTunnel

__all__ = ["VNCForward"]

LOG: Final = logging.getLogger("vcloud.streamspace")
#: How many errors of a forward's connections are kept.
KEPT_ERRORS: Final = 16


class VNCForward:
    """A local TCP port; each connection to it has its own tunnel to one session.

    Use it as ``async with session.forward_vnc() as forward``, and point any VNC viewer at it.

    An error of one connection ends that connection only; leaving the block ends all of them. A
    viewer that gets no picture is shown the reason, as RFB 3.8 does it (RFC 6143, 7.1.2), unless
    the VNC server has already sent more than its version.

    Programs of this process's user and of root can connect. Every other user of the machine is
    disconnected before a byte is passed on, and so is a connection that has ended by the time its
    row is looked up in the kernel's table of sockets. Where there is no such table (macOS,
    Windows) every user of the machine can connect, and one WARNING says so.

    A forward without references is closed, with its viewers, and a ResourceWarning names the line
    that called ``forward_vnc``. An ``async with`` block keeps a reference.

    At most 256 connections whose viewer has not sent anything may be open; more are disconnected.
    So is a viewer that has sent nothing for two minutes.

    ``session.forward_vnc()`` makes it; its constructor is not for users.

    Args:
        open_tunnel: makes the tunnel of one connection.
        host: a loopback address.
        port: the port; 0 takes a free one.
        on_error: is called with each error that ended a connection.
        anyone: accept every user of this machine.
        opened: what the client ends when it closes; the forward adds itself.

    Raises:
        InvalidArgumentError: ``host`` is not a loopback address, ``port`` is not a port,
            ``on_error`` is not a function, or ``anyone`` is not a bool.
    """

    def __init__(
        self,
        open_tunnel: Callable[[], VNCTunnel],
        *,
        host: str,
        port: int,
        on_error: Hook[Exception] | None = None,
        anyone: bool = False,
        opened: WeakSet[Opened],
    ) -> None:
        if type(port) is not int or not 0 <= port <= 65535:
            raise InvalidArgumentError(f"port must be from 0 to 65535, not {port!r}")
        if on_error is not None and not callable(on_error):
            raise InvalidArgumentError(f"on_error must be a function, not {on_error!r}")
        if type(anyone) is not bool:
            raise InvalidArgumentError(f"anyone must be True or False, not {anyone!r}")
        self._host = _loopback(host)
        self._port = port
        # Only the forward has a strong reference: the function may refer to the forward.
        self._on_error = _ErrorHook(on_error)
        self._listener = _Listener(
            open_tunnel, ViewerAdmission(anyone=anyone), opened, ref(self._on_error)
        )
        self._where = calling_line()

    def __del__(self) -> None:
        # There is no listener when an argument was refused.
        listener = getattr(self, "_listener", None)
        if listener is not None and listener.abandon():
            warn_left_open("a VNC forward", self._where)

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return self._host

    @property
    def port(self) -> int:
        """The port that it listens on; before it is entered, the one asked for."""
        return self._port

    @property
    def connections(self) -> int:
        """How many viewers are connected now."""
        return len(self._listener.connections)

    @property
    def errors(self) -> tuple[Exception, ...]:
        """The last 16 errors that ended connections, the newest at the end."""
        return tuple(self._listener.errors)

    @property
    def refused(self) -> int:
        """How many connections were refused: other users', ended ones, too many silent ones.

        They are not in :attr:`errors`, so that other users cannot fill it. The first one is logged
        as a WARNING.
        """
        return self._listener.admission.refused

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            OSError: the port is in use.
        """
        self._port = await self._listener.listen(self._host, self._port)
        return self

    async def __aexit__(self, *details: object) -> None:
        """Stop listening, and end all connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Stop listening, and end all connections. May be called twice."""
        await self._listener.aclose()


class _ErrorHook:
    """The owner's function, held by the forward and referred to weakly by its listener."""

    __slots__ = ("__weakref__", "call")

    def __init__(self, call: Hook[Exception] | None) -> None:
        self.call: Hook[Exception] | None = call


class _Listener:
    """Listens for a forward. It does not hold the forward, because the event loop holds this.

    ``session.forward_vnc()`` makes it; its constructor is not for users.

    Args:
        open_tunnel: makes the tunnel of one connection.
        admission: decides which connections are accepted.
        opened: what the client ends when it closes.
        on_error: the owner's function; it exists as long as the forward.
    """

    def __init__(
        self,
        open_tunnel: Callable[[], VNCTunnel],
        admission: ViewerAdmission,
        opened: WeakSet[Opened],
        on_error: ref[_ErrorHook],
    ) -> None:
        self.admission: ViewerAdmission = admission
        #: The viewers that are connected.
        self.connections: set[asyncio.Task[None]] = set()
        self.errors: deque[Exception] = deque(maxlen=KEPT_ERRORS)
        self._open_tunnel = open_tunnel
        self._opened = opened
        self._on_error = on_error
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
        # Not serving at first: start_server cannot be cancelled between binding and returning.
        self._server = await asyncio.start_server(
            self._connected, host, port, limit=CHUNK_SIZE, start_serving=False
        )
        try:
            port = self._server.sockets[0].getsockname()[1]
            self.admission.start(port)
            await self._server.start_serving()
            self._opened.add(self)
        except BaseException:
            await self.aclose()
            raise
        return port

    def abandon(self) -> bool:
        """Close it because no reference to the forward is left; return whether it was open.

        May be called in another thread, and after the loop has ended.
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
        self._opened.discard(self)
        server, self._server = self._server, None
        if server is not None:
            _stop_accepting(server)
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, server.close)
        for task in self.connections:
            task.cancel()

    async def aclose(self) -> None:
        """Stop listening, and end all connections. May be called twice."""
        self._opened.discard(self)
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
        # A task that is cancelled before its first step does nothing, so it cannot close this.
        task.add_done_callback(lambda task: abort(writer.transport))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        WITHIN.set(self)
        task = asyncio.current_task()
        assert task is not None
        progress = RelayProgress()
        admission = self.admission
        try:
            if admission.reserve(progress, task.cancel) and await admission.is_allowed(writer):
                await self._relay(reader, writer, progress)
        except Exception as error:  # noqa: BLE001 - an error of one connection ends that one only
            await self._failed(error.with_traceback(None), reader, writer, progress)
        finally:
            admission.release(progress)
            await close_writer(writer)

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, progress: RelayProgress
    ) -> None:
        tunnel = self._open_tunnel()
        try:
            await tunnel.aopen()
            await relay(tunnel, reader, writer, progress)
        finally:
            with contextlib.suppress(TransportError):
                await tunnel.aclose()

    async def _failed(
        self,
        error: Exception,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        progress: RelayProgress,
    ) -> None:
        self.errors.append(error)
        # Concurrently, because a viewer may be slow, and so may a hook.
        reports = [refuse_viewer(error, reader, writer, progress)]
        hook = self._on_error()
        if hook is not None and hook.call is not None:
            reports.append(self._call_hook(hook.call, error))
        del hook
        await asyncio.gather(*reports)

    async def _call_hook(self, hook: Hook[Exception], error: Exception) -> None:
        await call_hook(hook, error, "on_error of forward_vnc", LOG)


def _stop_accepting(server: asyncio.Server) -> None:
    # Loops without readers (Windows) accept in another way.
    with contextlib.suppress(NotImplementedError):
        for listener in server.sockets:
            asyncio.get_running_loop().remove_reader(listener.fileno())


async def _close(server: asyncio.Server) -> None:
    """Close a server after it has passed on all connections that it accepted."""
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
        f"host must be a loopback address such as 127.0.0.1, not {host!r}:"
        " anyone who connects can use the session"
    )

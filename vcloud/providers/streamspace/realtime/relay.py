"""Carrying the bytes of a picture between a tunnel and a TCP connection, until one of them ends."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from attrs import define

from vcloud._core.tasks import abort, cancel_and_wait
from vcloud._core.timing.timeouts import timeout
from vcloud._core.websocket import DRAIN_CHECK_INTERVAL, STALL_TIMEOUT, UNEXPECTED, counted_time
from vcloud.errors import APIError
from vcloud.errors.text import printable
from vcloud.providers.streamspace.realtime.rfb import GREETING, VERSION_LENGTH, refusal

if TYPE_CHECKING:
    from vcloud.providers.streamspace.realtime.vnc import VNCTunnel

#: Bytes of one message at most: what is larger is sent in parts, because servers bound their messages.
PART: Final = 256 * 1024
#: Seconds that a peer gets to take what was already read for it, when the other side did not end well.
FLUSH: Final = 2.0
#: Seconds that a viewer gets to name its version, when it is to be told why there is no picture.
VERSION_TIMEOUT: Final = 10.0


@define
class Relayed:
    """How far a relay has come: whether a viewer can still be told why it gets no picture."""

    #: Bytes from the VNC server to the viewer.
    inward: int = 0
    #: The first bytes from the viewer, as many as a version has.
    version: bytes = b""


async def relay(
    tunnel: VNCTunnel,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    relayed: Relayed | None = None,
    *,
    broken: str = "",
) -> None:
    """Carry bytes both ways between a tunnel and a TCP connection until one of them ends.

    Neither side is read faster than the other takes it. A half-closed TCP connection ends it, because a WebSocket has no
    halves. When one side ends well, the other gets all that is left before it is closed, however slowly it reads. The
    tunnel is closed in any case; the TCP connection is for the caller to close.

    Args:
        tunnel: an open one.
        reader: of the TCP connection.
        writer: of the TCP connection.
        relayed: is kept up to date.
        broken: what the other side is told when the TCP connection breaks; empty for a viewer's, because viewers
            often just leave.

    Raises:
        TransportError: the tunnel was lost.
        OSError: the TCP connection was.
    """
    relayed = relayed or Relayed()
    outward = asyncio.create_task(_outward(tunnel, reader, relayed))
    inward = asyncio.create_task(_inward(tunnel, writer, relayed))
    try:
        await asyncio.wait({outward, inward}, return_when=asyncio.FIRST_COMPLETED)
        # The tunnel's own end says more than a write that failed because of it.
        for task in (inward, outward):
            if task.done():
                task.result()
        if inward.done():
            await close_writer(writer, stalled=STALL_TIMEOUT)
        else:
            await tunnel.finish()
    except OSError:
        if broken:
            await tunnel.aclose(UNEXPECTED, broken)
        raise
    finally:
        try:
            await cancel_and_wait({outward, inward})
        finally:
            await tunnel.aclose()


async def _outward(tunnel: VNCTunnel, reader: asyncio.StreamReader, relayed: Relayed) -> None:
    while data := await reader.read(PART):
        if (missing := VERSION_LENGTH - len(relayed.version)) > 0:
            relayed.version += data[:missing]
        await tunnel.write(data)


async def _inward(tunnel: VNCTunnel, writer: asyncio.StreamWriter, relayed: Relayed) -> None:
    while data := await tunnel.read():
        relayed.inward += len(data)
        writer.write(data)
        await writer.drain()


async def close_writer(writer: asyncio.StreamWriter, *, stalled: float | None = None) -> None:
    """Close a TCP connection: what was written goes out if the peer takes it soon.

    Args:
        writer: the connection's.
        stalled: seconds in which the peer must take something; None: two seconds for all of it.
    """
    writer.close()
    try:
        if stalled is not None:
            await _taken(writer, stalled)
        async with timeout(FLUSH):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        # OSError holds TimeoutError; named because that is the case that counts.
        pass
    finally:
        abort(writer.transport)


async def _taken(writer: asyncio.StreamWriter, stalled: float) -> None:
    """Wait until the peer has taken what was written, or takes nothing any more."""
    now = asyncio.get_running_loop().time
    patience, before = stalled, writer.transport.get_write_buffer_size()
    while before and patience > 0:
        since = now()
        await asyncio.sleep(DRAIN_CHECK_INTERVAL)
        left = writer.transport.get_write_buffer_size()
        patience = (
            stalled
            if left < before
            else patience - counted_time(now() - since, DRAIN_CHECK_INTERVAL)
        )
        before = left


async def tell_why(
    error: Exception,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    relayed: Relayed,
) -> None:
    """Refuse the viewer with a reason, if what it heard until now leaves room for one."""
    if relayed.inward not in (0, VERSION_LENGTH):
        return
    version = relayed.version
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
        async with timeout(VERSION_TIMEOUT):
            if not relayed.inward:
                writer.write(GREETING)
            version += await reader.readexactly(VERSION_LENGTH - len(version))
            writer.write(refusal(version, _reason(error)))
            await writer.drain()


def _reason(error: Exception) -> str:
    """What a person in front of a viewer is told; the owner's error says more."""
    if isinstance(error, APIError):
        code = f" ({error.code})" if error.code else ""
        return printable(f"StreamSpace refused the connection: {error.message}{code}")
    return printable(f"No connection to StreamSpace: {error}")

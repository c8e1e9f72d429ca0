"""Carries the bytes of a VNC session between a tunnel and a TCP connection, until one of them ends.

This is where each byte of a VNC frame passes: a viewer's connection to ``forward_vnc`` and an
agent's connection to its VNC server are relayed by the same function.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from attrs import define

from vcloud._core.tasks import abort, cancel_and_wait
from vcloud._core.timing.timeouts import timeout
from vcloud._core.websocket import DRAIN_CHECK_INTERVAL, STALL_TIMEOUT, UNEXPECTED, counted_time
from vcloud.errors import APIError
from vcloud.errors.text import printable
from vcloud.providers.streamspace.realtime.vnc_refusal import (
    GREETING,
    VERSION_LENGTH,
    refusal_message,
)
from vcloud.providers.streamspace.realtime.vnc_tunnel import CHUNK_SIZE, VNCTunnel

#: Seconds that a peer gets to take what was already read for it, when the other side failed.
FLUSH_TIMEOUT: Final = 2.0
#: Seconds that a viewer gets to send its version, when it is to be shown an error.
VERSION_TIMEOUT: Final = 10.0


@define
class RelayProgress:
    """How far a relay has come. It decides whether a viewer can still be shown an error."""

    #: Bytes from the VNC server to the viewer.
    bytes_to_viewer: int = 0
    #: The first bytes from the viewer, up to the length of a version.
    version: bytes = b""


async def relay(
    tunnel: VNCTunnel,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    progress: RelayProgress | None = None,
    *,
    lost_reason: str = "",
) -> None:
    """Carry bytes both ways between a tunnel and a TCP connection until one of them ends.

    Neither side is read faster than the other takes it. A half-closed TCP connection ends the
    relay, because a WebSocket has no halves. When one side ends well, the other gets all that is
    left before it is closed, however slowly it reads. The tunnel is closed in any case; the caller
    closes the TCP connection.

    Args:
        tunnel: an open one.
        reader: of the TCP connection.
        writer: of the TCP connection.
        progress: is kept up to date.
        lost_reason: the close reason that the tunnel gets when the TCP connection breaks. Empty
            for a viewer's connection: viewers often leave without closing it.

    Raises:
        TransportError: the tunnel was lost.
        OSError: the TCP connection was lost.
    """
    progress = progress or RelayProgress()
    to_tunnel = asyncio.create_task(_copy_to_tunnel(tunnel, reader, progress))
    to_tcp = asyncio.create_task(_copy_to_tcp(tunnel, writer, progress))
    try:
        await asyncio.wait({to_tunnel, to_tcp}, return_when=asyncio.FIRST_COMPLETED)
        # The tunnel's own end says more than a write that failed because of it.
        for task in (to_tcp, to_tunnel):
            if task.done():
                task.result()
        if to_tcp.done():
            await close_writer(writer, stalled=STALL_TIMEOUT)
        else:
            await tunnel.finish()
    except OSError:
        if lost_reason:
            await tunnel.aclose(UNEXPECTED, lost_reason)
        raise
    finally:
        try:
            await cancel_and_wait({to_tunnel, to_tcp})
        finally:
            await tunnel.aclose()


async def _copy_to_tunnel(
    tunnel: VNCTunnel, reader: asyncio.StreamReader, progress: RelayProgress
) -> None:
    while data := await reader.read(CHUNK_SIZE):
        if (missing := VERSION_LENGTH - len(progress.version)) > 0:
            progress.version += data[:missing]
        await tunnel.write(data)


async def _copy_to_tcp(
    tunnel: VNCTunnel, writer: asyncio.StreamWriter, progress: RelayProgress
) -> None:
    while data := await tunnel.read():
        progress.bytes_to_viewer += len(data)
        writer.write(data)
        await writer.drain()


async def close_writer(writer: asyncio.StreamWriter, *, stalled: float | None = None) -> None:
    """Close a TCP connection; what was written is sent if the peer takes it in time.

    Args:
        writer: of the connection.
        stalled: give up when the peer takes nothing for so many seconds; None: when it has not
            taken everything within two seconds.
    """
    writer.close()
    try:
        if stalled is not None:
            await _wait_sent(writer, stalled)
        async with timeout(FLUSH_TIMEOUT):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        # OSError includes TimeoutError; named because that is the case that counts.
        pass
    finally:
        abort(writer.transport)


async def _wait_sent(writer: asyncio.StreamWriter, stalled: float) -> None:
    """Wait until the peer has taken what was written, or takes nothing for ``stalled`` seconds."""
    now = asyncio.get_running_loop().time
    remaining, before = stalled, writer.transport.get_write_buffer_size()
    while before and remaining > 0:
        since = now()
        await asyncio.sleep(DRAIN_CHECK_INTERVAL)
        unsent = writer.transport.get_write_buffer_size()
        passed = counted_time(now() - since, DRAIN_CHECK_INTERVAL)
        remaining = stalled if unsent < before else remaining - passed
        before = unsent


async def refuse_viewer(
    error: Exception,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    progress: RelayProgress,
) -> None:
    """Show the viewer why it gets no picture, if the protocol still allows it."""
    if progress.bytes_to_viewer not in (0, VERSION_LENGTH):
        return
    version = progress.version
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
        async with timeout(VERSION_TIMEOUT):
            if not progress.bytes_to_viewer:
                writer.write(GREETING)
            version += await reader.readexactly(VERSION_LENGTH - len(version))
            writer.write(refusal_message(version, _reason(error)))
            await writer.drain()


def _reason(error: Exception) -> str:
    """The reason for a person in front of a viewer; the error that the owner gets says more."""
    if isinstance(error, APIError):
        code = f" ({error.code})" if error.code else ""
        return printable(f"StreamSpace refused the connection: {error.message}{code}")
    return printable(f"No connection to StreamSpace: {error}")

"""A TCP port for the VNC server of a real desktop, for programs without unix sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

from vcloud.emulator.tasks import cancel_and_wait, first_completed
from vcloud.emulator.x11.socket_table import LocalPeers

LOOPBACK: Final = "127.0.0.1"
_PART: Final = 64 * 1024
MOST_CONNECTIONS: Final = 256
"""Maximum connections at once, including those that are still being checked.

Other users can open any number, and a process has 1024 descriptors by default.
"""


class VNCPort:
    """A loopback port that forwards to a unix socket, for programs of this user and of root only.

    Every user of a machine can connect to such a port. A connection of another user is closed
    before it receives a byte. So is one that has ended by the time it is looked up in the kernel's
    table, and one beyond `MOST_CONNECTIONS`.
    """

    def __init__(self, path: Path) -> None:
        """Forward to this socket."""
        self._path = path
        self._server: asyncio.Server | None = None
        self._peers: LocalPeers | None = None
        self._connections: set[asyncio.Task[Any]] = set()

    async def start(self) -> tuple[str, int]:
        """Listen; the host and port."""
        server = await asyncio.start_server(self._serve, LOOPBACK, 0, start_serving=False)
        self._server = server
        host, port = server.sockets[0].getsockname()
        self._peers = LocalPeers(port)
        await server.start_serving()
        return host, port

    async def aclose(self) -> None:
        """Close the port and its connections."""
        if self._server is not None:
            self._server.close()
        await cancel_and_wait(*self._connections)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "the server runs this as a task"
        if len(self._connections) >= MOST_CONNECTIONS:
            writer.close()
            return
        self._connections.add(task)
        try:
            if self._peers is not None and await self._peers.are_ours(writer):
                from_vnc, to_vnc = await asyncio.open_unix_connection(self._path)
                try:
                    await first_completed(_copy(reader, to_vnc), _copy(from_vnc, writer))
                finally:
                    to_vnc.close()
        except (OSError, asyncio.CancelledError):
            # The desktop ended, or either side closed. Nothing awaits the server's task.
            pass
        finally:
            writer.close()
            self._connections.discard(task)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while part := await source.read(_PART):
        sink.write(part)
        # One part at a time, so that a slow reader slows its sender.
        await sink.drain()

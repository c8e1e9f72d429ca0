"""A TCP port for the VNC server of a real desktop, for programs that know no unix sockets; for this user's alone."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, Final

from vcloud._core.cleanup import end, race

LOOPBACK: Final = "127.0.0.1"
_PART: Final = 64 * 1024


def owner_of(port: int, table: str) -> int | None:
    """The user whose socket has this port of 127.0.0.1, from the text of /proc/net/tcp; None if there is none."""
    wanted = f"0100007F:{port:04X}"
    for row in table.splitlines()[1:]:
        columns = row.split()
        if columns[1] == wanted:
            return int(columns[7])
    return None


class VNCPort:
    """A loopback port that leads to a unix socket. Every user of a machine can connect to such a port; others are hung up on."""

    def __init__(self, path: Path) -> None:
        """Lead to this socket."""
        self._path = path
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[Any]] = set()

    async def start(self) -> tuple[str, int]:
        """Listen; returns host and port."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        host, port = self._server.sockets[0].getsockname()
        return host, port

    async def aclose(self) -> None:
        """Close the port and its connections."""
        if self._server is not None:
            self._server.close()
        await end(self._connections)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "the server runs this as a task"
        self._connections.add(task)
        try:
            port = writer.get_extra_info("peername")[1]
            table = await asyncio.to_thread(Path("/proc/net/tcp").read_text)
            if owner_of(port, table) == os.getuid():
                from_vnc, to_vnc = await asyncio.open_unix_connection(self._path)
                try:
                    await race(_copy(reader, to_vnc), _copy(from_vnc, writer))
                finally:
                    to_vnc.close()
        except (OSError, asyncio.CancelledError):
            # The desktop ended, or either side hung up; the server's own task has nobody to tell.
            pass
        finally:
            writer.close()
            self._connections.discard(task)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while part := await source.read(_PART):
        sink.write(part)
        # One part at a time, so that a slow reader slows its sender.
        await sink.drain()

"""Connects an agent to the VNC server of a session, at the address that its handler returned."""

from __future__ import annotations

import asyncio
import os
from pathlib import PurePath
from typing import Final

from vcloud.providers.streamspace.agent.handler import VNCAddress
from vcloud.providers.streamspace.realtime.vnc_tunnel import CHUNK_SIZE

__all__ = ["connect_to_vnc_server"]

_EXPECTED: Final = "vnc_address must return (host, port) or the absolute path of a Unix socket"


async def connect_to_vnc_server(
    address: VNCAddress,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a VNC server.

    Args:
        address: what :meth:`~vcloud.providers.streamspace.AgentHandler.vnc_address` returned.

    Raises:
        TypeError: it is of another type.
        ValueError: it is a path that is not absolute, or there are no Unix sockets here (Windows).
        OSError: the connection failed.
    """
    if isinstance(address, (str, os.PathLike)):
        path: object = os.fspath(address)
        # A relative one is more likely a host's name, or "host:port", than a socket's path.
        if not isinstance(path, str) or not PurePath(path).is_absolute():
            raise ValueError(f"{_EXPECTED}, not {path!r}")
        if not hasattr(asyncio, "open_unix_connection"):
            raise ValueError("vnc_address returned a path, and this system has no Unix sockets")
        return await asyncio.open_unix_connection(path, limit=CHUNK_SIZE)
    try:
        host, port = address
    except (TypeError, ValueError):
        raise TypeError(f"{_EXPECTED}, not {address!r}") from None
    return await asyncio.open_connection(host, port, limit=CHUNK_SIZE)

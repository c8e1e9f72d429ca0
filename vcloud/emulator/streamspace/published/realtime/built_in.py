"""The VNC servers of the built-in agent's sessions."""

from __future__ import annotations

import asyncio
import binascii
from base64 import b64decode, b64encode
from typing import Final

import msgspec
from attrs import define, field

from vcloud.emulator.net.websockets import Stream
from vcloud.emulator.streamspace.control import rfb
from vcloud.emulator.streamspace.published.realtime.connections import QUEUE, Connection, Hub
from vcloud.emulator.streamspace.published.realtime.envelope import AgentMessage, SessionData
from vcloud.emulator.tasks import cancel_and_wait, first_completed

CHUNK: Final = 300_000
"""Bytes of one message; with base64, it stays below what the server takes."""
POLL: Final = 0.01
"""Polling interval in real seconds while the queue is full."""

_message: Final = msgspec.json.Decoder(AgentMessage)
_data: Final = msgspec.json.Decoder(SessionData)


@define(eq=False)
class _Tunnel:
    """The connection to one session's VNC server."""

    connection: Connection
    name: str
    received: asyncio.Queue[bytes] = field(factory=asyncio.Queue)

    async def read(self) -> bytes:
        """The next bytes of the viewer."""
        return await self.received.get()

    async def write(self, data: bytes) -> None:
        """Send the viewer bytes. Nothing of them is dropped: this agent sees the server's queue."""
        for start in range(0, len(data), CHUNK):
            part = b64encode(data[start : start + CHUNK]).decode()
            await self._put(vnc_data(self.name, part))

    async def _put(self, found: AgentMessage) -> None:
        queue = self.connection.incoming
        while True:
            if len(queue) < QUEUE:
                queue.put(found)
                return
            await asyncio.sleep(POLL)


class BuiltInAgent:
    """The built-in agent's side of the VNC connections of its sessions.

    It sees the viewers come, so each finds a new connection to the VNC server.
    """

    def __init__(self, hub: Hub, agent_id: str, now: float) -> None:
        """Connect, and serve until the connection is ended."""
        self.connection: Connection = Connection(agent_id, now)
        hub.register(self.connection)
        self._tunnels: dict[str, asyncio.Task[None]] = {}
        self._streams: dict[str, _Tunnel] = {}
        self._task = asyncio.create_task(self._serve())

    def open(self, name: str, screen: rfb.Screen) -> None:
        """Open a connection to a session's VNC server for a viewer that is to come."""
        self._close(name)
        kept = [one for one in self.connection.incoming.take_all() if _session(one) != name]
        for one in kept:
            self.connection.incoming.put(one)
        tunnel = self._streams[name] = _Tunnel(self.connection, name)
        self._tunnels[name] = asyncio.create_task(rfb.serve(Stream(tunnel), screen))

    async def aclose(self) -> None:
        """End it."""
        self.connection.over.set()
        await cancel_and_wait(self._task, *self._tunnels.values())

    async def _serve(self) -> None:
        try:
            await first_completed(self._listen(), self.connection.over.wait())
        finally:
            for name in tuple(self._tunnels):
                self._close(name)

    async def _listen(self) -> None:
        """Give the VNC servers what viewers send."""
        while True:
            found = _message.decode(await self.connection.outgoing.take())
            if found.type == "vnc_data":
                self._take(_data.decode(found.payload))
            elif found.type == "vnc_close":
                self._close(_data.decode(found.payload).session_id)

    def _take(self, given: SessionData) -> None:
        tunnel = self._streams.get(given.session_id)
        if tunnel is None:
            return
        try:
            data = b64decode(given.data, validate=True)
        except (binascii.Error, ValueError):
            # No VNC server could make anything of it.
            return
        if data:
            tunnel.received.put_nowait(data)

    def _close(self, name: str) -> None:
        self._streams.pop(name, None)
        task = self._tunnels.pop(name, None)
        if task is not None:
            task.cancel()


def vnc_data(name: str, data: str) -> AgentMessage:
    """A message for a session's viewer."""
    payload = msgspec.json.encode(SessionData(name, data))
    return AgentMessage("vnc_data", None, msgspec.Raw(payload))


def _session(found: AgentMessage) -> str:
    try:
        return _data.decode(found.payload).session_id
    except msgspec.DecodeError:
        return ""

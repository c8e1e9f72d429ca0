"""An agent with scripted desktops, at an emulated published server, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
from attrs import define, field

from tests.emulator.realtime_raw import until
from vcloud.emulator import Emulator
from vcloud.providers.streamspace import (
    AgentWorker,
    CommandFailed,
    HibernateSession,
    SessionRef,
    SessionResult,
    StartSession,
    StopSession,
    StreamSpace,
    VNCProxyRequest,
    WakeSession,
)

GREETING = b"RFB 003.008\n"
#: A picture of 3840 by 2160 pixels of four bytes, with the head of its message.
PICTURE = 3840 * 2160 * 4 + 16

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Greet a viewer, and send back what it sends."""
    writer.write(GREETING)
    assert await reader.readexactly(len(GREETING)) == GREETING
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


@define
class Desktops:
    """The desktops of an agent's sessions: each connection runs the same script.

    Attributes:
        path: the socket of all of them.
        script: what each does.
        connections: how many there were.
        open: those that are open.
        closes: whether a stop or a hibernation closes them, a second before it is done.
        fails: whether it fails then.
    """

    path: Path
    script: Script = echo
    connections: int = 0
    open: set[asyncio.StreamWriter] = field(factory=set)
    closes: bool = False
    fails: bool = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self.script(reader, writer)
        finally:
            self.open.discard(writer)
            writer.transport.abort()

    async def start_session(self, command: StartSession) -> SessionResult:
        return SessionResult(pod_name="pod-1", vnc_port=5900)

    async def hibernate_session(self, command: HibernateSession) -> None:
        await self._end()

    async def wake_session(self, command: WakeSession) -> None:
        pass

    async def stop_session(self, command: StopSession) -> None:
        await self._end()

    async def _end(self) -> None:
        if self.closes:
            for writer in self.open:
                writer.transport.abort()
            await asyncio.sleep(1)
        if self.fails:
            raise CommandFailed("SESSION_HIBERNATION_FAILED", "it cannot be ended")

    async def vnc_address(self, request: VNCProxyRequest) -> Path:
        return self.path


@define
class World:
    """An emulated server, a client of its administrator, and an agent.

    Attributes:
        errors: those that the agent reported.
    """

    emulator: Emulator
    streamspace: StreamSpace
    agent: AgentWorker
    desktops: Desktops
    errors: list[Exception]

    @property
    def panics(self) -> int:
        """How often the server's process ended."""
        return self.emulator.published_streamspace.realtime.server.panics

    async def running(self) -> SessionRef:
        """A session whose desktop the agent has connected."""
        before = self.desktops.connections
        made = await self.streamspace.sessions.create("admin", "firefox-browser")
        session = self.streamspace.sessions.ref(made.id)
        await until(lambda: self.state(session) == "running" and self.desktops.connections > before)
        return session

    def viewer(self, http: aiohttp.ClientSession, session: SessionRef) -> Any:
        """Another program that views a session."""
        service = self.emulator.published_streamspace
        token = service.tokens.issue(service.users[service.admin])[0]
        return http.ws_connect(
            f"{self.emulator.url}/api/v1/vnc/{session.id}",
            headers={"Authorization": f"Bearer {token}"},
            max_msg_size=0,
        )

    def drop_agent(self) -> None:
        """End the agent's connection, as the server does."""
        self.emulator.published_streamspace.realtime.server.hub.unregister("agent-1")

    def tell_agent(self, kind: str, session: SessionRef, **more: str) -> None:
        """Send the agent a message about a session's viewer."""
        server = self.emulator.published_streamspace.realtime.server
        assert server.tell("agent-1", kind, {"sessionId": session.id, **more})

    def state(self, session: SessionRef) -> str:
        return str(self.emulator.published_streamspace.sessions[session.id].state)


@asynccontextmanager
async def desktops(folder: Path, script: Script = echo) -> AsyncIterator[World]:
    """An agent at an emulated server, and its desktops."""
    found = Desktops(folder / "vnc", script)
    errors: list[Exception] = []
    listening = await asyncio.start_unix_server(found.serve, found.path)
    async with (
        listening,
        Emulator(streamspace="published", rate_limits=False) as emulator,
        StreamSpace(emulator.endpoints()["streamspace"]) as streamspace,
    ):

        async def approve(*details: Any) -> None:
            await streamspace.agents.ref("agent-1").approve()

        agent = streamspace.serve_agent(
            "agent-1",
            platform="kubernetes",
            handler=found,
            api_key=emulator.published_streamspace.bootstrap_key,
            on_pending=approve,
            on_error=errors.append,
        )
        async with agent:
            yield World(emulator, streamspace, agent, found, errors)
        for writer in found.open:
            writer.transport.abort()


async def read_exactly(tunnel: Any, size: int) -> bytes:
    """So many bytes of a tunnel."""
    found = bytearray()
    while len(found) < size and (data := await tunnel.read()):
        found += data
    return bytes(found)

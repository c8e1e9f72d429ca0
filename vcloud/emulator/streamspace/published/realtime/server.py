"""What the sockets of the published StreamSpace share: connections, viewers, and their end."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from aiohttp import web
from attrs import field, frozen

from vcloud.emulator.net.websockets import (
    ABNORMAL,
    MAX_MESSAGE,
    Close,
    OpenWebSockets,
    Use,
)
from vcloud.emulator.streamspace.control.rfb import Screen
from vcloud.emulator.streamspace.published import times
from vcloud.emulator.streamspace.published.api import Reply
from vcloud.emulator.streamspace.published.realtime.built_in import BuiltInAgent
from vcloud.emulator.streamspace.published.realtime.connections import Hub
from vcloud.emulator.streamspace.published.realtime.envelope import (
    AgentMessage,
    Heartbeat,
    Status,
    message,
)
from vcloud.emulator.streamspace.published.realtime.relay import Relay
from vcloud.emulator.streamspace.published.realtime.viewer_socket import ServerPanicError
from vcloud.emulator.streamspace.published.space import Space
from vcloud.emulator.streamspace.published.state import Command, Session
from vcloud.emulator.tasks import cancel_and_wait, first_completed

ENDED: Final = Close(ABNORMAL)
"""Every socket here ends without a close frame."""
NO_UPGRADE: Final = Reply(
    400,
    b"Bad Request\n",
    content_type="text/plain; charset=utf-8",
    headers={"Sec-WebSocket-Version": "13"},
)
"""The answer to a request for a socket that asks for no upgrade."""

_heartbeat: Final = msgspec.json.Decoder(Heartbeat)
_status: Final = msgspec.json.Decoder(Status)


@frozen
class Sockets:
    """How a socket is opened: as `OpenWebSockets.serve`, without headers of its own."""

    live: OpenWebSockets
    max_message: int = field(default=MAX_MESSAGE, kw_only=True)
    autoping: bool = field(default=True, kw_only=True)

    async def serve(
        self, request: web.BaseRequest, headers: Mapping[str, str], use: Use
    ) -> web.StreamResponse:
        """Upgrade. The server's library answers an upgrade without the headers of other answers."""
        del headers
        return await self.live.serve(
            request, {}, use, max_message=self.max_message, autoping=self.autoping
        )


class RealtimeServer:
    """The connections of one server process.

    What is lost with the process is here. `restart` ends every connection, without a close frame,
    and forgets what was queued.
    """

    def __init__(self, space: Space) -> None:
        """Serve the agents and sessions of `space`."""
        self.hub: Hub = Hub(self)
        self.panics: int = 0
        """How often the process ended because of a mistake of its own, and was started again."""
        self.space: Space = space
        self._relays: dict[str, Relay] = {}
        self._built_in: dict[str, BuiltInAgent] = {}
        self._screens: dict[str, Screen] = {}
        self._relaying: dict[asyncio.Task[None], Relay] = {}
        self.process: asyncio.Event = asyncio.Event()
        """Set when the process has ended; another one has taken its place by then."""

    def now(self) -> float:
        """The time by which sockets are measured: real seconds, as agents and viewers have."""
        return asyncio.get_running_loop().time()

    def restart(self) -> None:
        """End the process and start it again: every socket ends, and agents connect anew."""
        self.process.set()
        self.process = asyncio.Event()
        self.hub.forget()
        self._relays.clear()
        self._built_in.clear()
        for task in self._relaying:
            task.cancel()

    def panic(self) -> None:
        """End the process because of a mistake of its own; it is started again."""
        self.panics += 1
        self.restart()

    async def aclose(self) -> None:
        """End what goes on; may be called again."""
        agents = tuple(self._built_in.values())
        self.restart()
        await cancel_and_wait(*self._relaying)
        for agent in agents:
            await agent.aclose()

    # -- agents ------------------------------------------------------------------------------------

    def connected(self, agent_id: str) -> bool:
        """Whether an agent has a connection."""
        return self.hub.get(agent_id) is not None

    def send(self, command: Command) -> None:
        """Send an agent a command; what has no connection or room is lost."""
        payload = {
            "commandId": command.command_id,
            "action": command.action,
            "payload": dict(sorted((command.payload or {}).items())),
        }
        self.tell(command.agent_id, "command", payload)

    def tell(self, agent_id: str, kind: str, payload: Any) -> bool:
        """Send a message to whichever connection of an agent counts now."""
        clock = self.space.clock
        return self.hub.send(agent_id, message(kind, times.exact(clock.now(), clock), payload))

    def agent_connected(self, agent_id: str) -> None:
        """Note that an agent is online."""
        self._note_heartbeat(agent_id)

    def agent_left(self, agent_id: str) -> None:
        """Note that an agent is offline."""
        agent = self.space.agents.get(agent_id)
        if agent is not None:
            agent.status, agent.updated_at = "offline", self.space.clock.now()

    def take(self, agent_id: str, found: AgentMessage) -> None:
        """Take a message of an agent that is about itself, a command or a session.

        `ack`, `complete` and `failed` change nothing: a column is missing in this build, so that
        every command stays pending in the database.
        """
        try:
            if found.type == "heartbeat":
                self._heartbeat(agent_id, _heartbeat.decode(found.payload))
            elif found.type == "status":
                self._status(_status.decode(found.payload))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return

    def _heartbeat(self, agent_id: str, heartbeat: Heartbeat) -> None:
        connection = self.hub.get(agent_id)
        if connection is not None:
            connection.heard = self.now()
            self._note_heartbeat(agent_id)
        agent = self.space.agents.get(agent_id)
        if heartbeat.capacity is not None and agent is not None:
            agent.capacity = heartbeat.capacity.stored()

    def _note_heartbeat(self, agent_id: str) -> None:
        agent = self.space.agents.get(agent_id)
        if agent is not None:
            agent.status = "online"
            agent.last_heartbeat = agent.updated_at = self.space.clock.now()

    def _status(self, status: Status) -> None:
        """Put a session into the state that an agent reports, whichever agent it is."""
        pod_name = (status.platform_metadata or {}).get("podName")
        self.space.report(
            status.session_id,
            status.state,
            ready=status.vnc_ready and status.vnc_port > 0,
            pod_name=pod_name if isinstance(pod_name, str) else "",
        )

    # -- viewers -----------------------------------------------------------------------------------

    def screen(self, name: str) -> Screen:
        """The built-in agent's screen of a session."""
        return self._screens.setdefault(name, Screen(self.space.sessions[name].name))

    def _open_built_in(self, session: Session) -> None:
        """Have the built-in agent open a connection to the VNC server for a viewer that is here."""
        agent = self.space.agents.get(session.agent_id)
        if agent is None or agent.remote:
            return
        found = self._built_in.get(session.agent_id)
        if found is None or found.connection.over.is_set():
            found = BuiltInAgent(self.hub, session.agent_id, self.now())
            self._built_in[session.agent_id] = found
        for task, relay in tuple(self._relaying.items()):
            if relay.session_id == session.name:
                relay.viewer.close()
                self.viewer_left(relay)
                task.cancel()
        found.open(session.name, self.screen(session.name))

    async def view(self, relay: Relay) -> None:
        """Relay for a viewer until it leaves, or the server ends its connection.

        The relay may go on without its viewer.
        """
        before = self._relays.pop(relay.session_id, None)
        if before is not None:
            before.viewer.close()
        session = self.space.sessions[relay.session_id]
        self._open_built_in(session)
        self._relays[relay.session_id] = relay
        session.connections[relay.id] = math.inf
        session.connected_at = self.space.clock.now()
        self.note_activity(relay.session_id)
        task = asyncio.create_task(self._relay(relay))
        self._relaying[task] = relay
        task.add_done_callback(self._relaying.pop)
        await first_completed(relay.viewer.over.wait(), self.process.wait())

    async def _relay(self, relay: Relay) -> None:
        connection = self.hub.get(relay.agent_id)
        try:
            await relay.run(connection)
        except ServerPanicError:
            self.panic()

    def note_activity(self, session_id: str) -> None:
        """Note that a session is viewed."""
        session = self.space.sessions.get(session_id)
        if session is not None:
            session.touch(self.space.clock.now())

    def viewer_left(self, relay: Relay) -> None:
        """Note that a relay has ended. A newer viewer of the session is forgotten with it."""
        self._relays.pop(relay.session_id, None)
        session = self.space.sessions.get(relay.session_id)
        if session is not None:
            session.connections.pop(relay.id, None)

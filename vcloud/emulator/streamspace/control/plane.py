"""The control plane: agents connect to it, register, send heartbeats and receive commands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import WSMsgType, web

from vcloud.emulator.clock import monotonic
from vcloud.emulator.net.query import Query
from vcloud.emulator.net.routing import Found, NoRouteError, Routes, WrongMethodError
from vcloud.emulator.net.websockets import (
    GOING_AWAY,
    NOT_ACCEPTABLE,
    POLICY,
    Close,
    wants_socket,
)
from vcloud.emulator.streamspace.arguments import Json, StreamSpaceError, ambiguous
from vcloud.emulator.streamspace.catalog import PLATFORMS
from vcloud.emulator.streamspace.control.commands import Commands
from vcloud.emulator.streamspace.control.fleet import Fleet
from vcloud.emulator.streamspace.control.links import Command, Link, Proxy
from vcloud.emulator.streamspace.control.messages import (
    BinaryMessageError,
    Capacity,
    MessageError,
    read_current_sessions,
    read_messages,
    read_metadata,
    register_ack,
)
from vcloud.emulator.streamspace.control.vnc_connections import VNCConnections
from vcloud.emulator.streamspace.state import ENDED, Agent, Session
from vcloud.emulator.tasks import first_completed

MISSED = 3
"""Heartbeats that an agent may miss."""
POLL = 0.2
"""Maximum polling interval for an agent's heartbeats and idle sessions, in real seconds."""


Endpoint = Callable[[web.BaseRequest, str, dict[str, str]], Awaitable[web.StreamResponse]]


class ControlPlane:
    """``GET /agent/ws`` and ``GET /agent/vnc/{proxy_id}``, both at the host's root.

    The document names no authentication for agents. A token that is sent must be valid; one is
    required with `token_required`, which is set where real desktops are served.

    The document does not say how the VNC bytes of a session reach the control plane either. Here,
    the agent opens the second address, and sends binary frames. It sends ``vnc_proxy_error``
    (with ``proxy_id`` and ``error``) if it cannot reach the VNC server. Both are this project's
    own. So is ``status`` (with ``session_id``, ``state``, which must be ``failed``, and
    ``message``): an agent reports with it that a session ended without a command. The published
    server has a message of that name (from its source).

    An agent is offline when its socket is closed or three heartbeats are missing. Its sessions stay
    in their states, and their ``status.message`` says so. A command that it has not answered is
    sent again when it is back, and fails in the end. A failed start or stop makes the session
    ``failed``. After a failed hibernation it keeps running, after a failed wake it stays
    hibernated. While agents hibernate or wake a session, its state is ``hibernating`` or ``waking``
    (from the published server's source).
    """

    prefix: str = "/agent"

    def __init__(self, fleet: Fleet) -> None:
        """Serve the agents of `fleet`."""
        self.heartbeat_interval: float = 10.0
        """The interval for agents, in real seconds, because agents are separate programs."""
        self.vnc_timeout: float = 10.0
        """How long an agent may take to open a VNC connection, in real seconds."""
        self.token_required: bool = False
        """Whether agents without a token are refused."""
        self._fleet = fleet
        self._links: dict[str, Link] = {}
        self._commands = Commands(fleet, self._links)
        self._vnc_connections = VNCConnections(fleet)
        self._routes: Routes[Endpoint] = Routes(self.prefix)
        self._routes.add("GET", "/ws", self._serve_agent)
        self._routes.add("GET", "/vnc/{proxy_id}", self._vnc_connections.serve)

    @property
    def command_timeout(self) -> float:
        """How long an agent may take for a command, in real seconds."""
        return self._commands.timeout

    @command_timeout.setter
    def command_timeout(self, seconds: float) -> None:
        self._commands.timeout = seconds

    @property
    def commands(self) -> dict[str, Command]:
        """The commands that agents have not answered yet, by their ids."""
        return self._commands.unanswered

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:  # noqa: ARG002 - an upgrade has none
        """Answer an agent's upgrade. No rate limit counts these requests."""
        headers = self._fleet.new_headers()
        path = request.raw_path.partition("?")[0]
        try:
            found = self._admit(request, path)
            return await found.handler(request, found.params.get("proxy_id", ""), headers)
        except (NoRouteError, WrongMethodError):
            return self._fleet.refuse(
                StreamSpaceError("NOT_FOUND", f"Nothing at {request.method} {path}"), headers
            )
        except StreamSpaceError as error:
            return self._fleet.refuse(error, headers)

    def _admit(self, request: web.BaseRequest, path: str) -> Found[Endpoint]:
        found = self._routes.find(request.method, path)
        if (authorization := request.headers.get("Authorization")) is not None:
            self._fleet.user_of(authorization.partition(" ")[2])
        elif self.token_required:
            raise StreamSpaceError("AUTH_TOKEN_MISSING", "Authorization header missing")
        if not wants_socket(request):
            raise StreamSpaceError("INVALID_PARAMETER", f"{path} needs a WebSocket upgrade")
        return found

    def connected(self, agent_id: str) -> bool:
        """Whether this agent has an open socket, and is registered."""
        return agent_id in self._links

    def disconnect(self, agent_id: str, reason: str) -> None:
        """Close a connected agent's socket, as when its connection is lost."""
        self._links[agent_id].end(reason)

    def forget(self) -> None:
        """Drop all commands and their timers."""
        self._commands.forget()

    def start(self, session: Session) -> None:
        """Have a new session started by its agent."""
        self._commands.start(session)

    def move(self, session: Session, state: str) -> None:
        """Have a session hibernated, woken or stopped by its agent."""
        self._commands.move(session, state)

    def stop(self, session: Session, *, graceful: bool) -> None:
        """Have a session stopped by its agent, whatever its state."""
        self._commands.stop(session, graceful=graceful)

    def request_vnc(self, session: Session) -> Proxy:
        """Ask a session's agent for a VNC connection; `close_vnc` must follow."""
        link = self._links.get(session.agent_id)
        if link is None:
            raise _offline(session.agent_id)
        return self._vnc_connections.request(link, session)

    def close_vnc(self, proxy: Proxy) -> None:
        """End a VNC connection, or the wait for it."""
        self._vnc_connections.close(proxy)

    # -- an agent's socket -------------------------------------------------------------------------

    async def _serve_agent(
        self, request: web.BaseRequest, _: str, headers: dict[str, str]
    ) -> web.StreamResponse:
        link = _read_link(Query(request.query, ambiguous))

        async def use(socket: web.WebSocketResponse) -> Close:
            try:
                await first_completed(
                    self._receive(link, socket),
                    self._send(link, socket),
                    self._watch(link),
                    link.over.wait(),
                )
            except BinaryMessageError as error:
                return Close(NOT_ACCEPTABLE, str(error))
            except MessageError as error:
                return Close(POLICY, str(error))
            finally:
                self._lost(link)
            return Close(reason="the agent left") if socket.closed else link.close

        return await self._fleet.live.serve(request, headers, use)

    async def _receive(self, link: Link, socket: web.WebSocketResponse) -> None:
        while (frame := await socket.receive()).type in {WSMsgType.TEXT, WSMsgType.BINARY}:
            if frame.type is WSMsgType.BINARY:
                raise BinaryMessageError("messages are JSON in text frames, not in binary ones")
            for message in read_messages(frame.data):
                self._handle(link, message)

    async def _send(self, link: Link, socket: web.WebSocketResponse) -> None:
        while True:
            await socket.send_str(msgspec.json.encode(await link.outbox.get()).decode())

    async def _watch(self, link: Link) -> None:
        while (left := link.heard + MISSED * self.heartbeat_interval - monotonic()) > 0:
            await asyncio.sleep(min(left, POLL))
            if self._links.get(link.agent_id) is link:
                self._hibernate_idle(link.agent_id)
        link.close = Close(GOING_AWAY, f"{MISSED} heartbeats are missing")

    def _hibernate_idle(self, agent_id: str) -> None:
        now = self._fleet.clock.now()
        for session in self._sessions(agent_id):
            if session.is_idle(now):
                self.move(session, "hibernated")

    def _handle(self, link: Link, message: Json) -> None:
        kind = message.get("type")
        if message.get("agent_id", link.agent_id) != link.agent_id:
            raise MessageError("the message is another agent's")
        if kind == "register":
            self._register(link, message)
            return
        if self._links.get(link.agent_id) is not link:
            raise MessageError("an agent registers first")
        match kind:
            case "heartbeat":
                self._heartbeat(link, message)
            case "command_ack":
                self._commands.acknowledged(link, message)
            case "command_result":
                self._commands.result(link, message)
            case "vnc_proxy_error":
                self._vnc_connections.failed(link, message)
            case "status":
                self._session_failed(link, message)
        # Other types are ignored: later versions may add some.

    def _register(self, link: Link, message: Json) -> None:
        if message.get("platform", link.platform) != link.platform:
            raise MessageError("the platform is another than the address says")
        capacity, metadata = Capacity.read(message.get("capacity")), read_metadata(message)
        before = self._links.get(link.agent_id)
        if before is not None and before is not link:
            # The same agent on a new connection: the program no longer uses the old one.
            before.end("the agent has connected again")
        agent = self._fleet.registered(link)
        _set_capacity(agent, capacity)
        agent.metadata = metadata
        region = message.get("region")
        agent.platform = link.platform
        agent.region = region if isinstance(region, str) and region else link.region
        if agent.status == "offline":
            agent.status = "draining" if agent.drained else "online"
        agent.remote, agent.drained = True, False
        agent.websocket_conn_id = f"conn-{self._fleet.random.randbytes(4).hex()}"
        agent.connected_at = agent.updated_at = agent.last_heartbeat = self._fleet.clock.now()
        link.heard = monotonic()
        link.send(register_ack(link.agent_id, self.heartbeat_interval))
        if before is link:
            return
        self._links[link.agent_id] = link
        for session in self._sessions(link.agent_id):
            session.message = None
        self._commands.send_again(link)

    def _heartbeat(self, link: Link, message: Json) -> None:
        agent = self._fleet.agents[link.agent_id]
        count = read_current_sessions(message)
        link.heard, agent.last_heartbeat = monotonic(), self._fleet.clock.now()
        if count is not None:
            # Sessions that only the agent knows count towards its capacity as well.
            agent.other_sessions = max(0, count - len(self._fleet.busy(agent)))

    def _session_failed(self, link: Link, message: Json) -> None:
        """Take an agent's report that a session ended without a command."""
        session = self._fleet.sessions.get(str(message.get("session_id")))
        if (
            message.get("state") != "failed"
            or session is None
            or session not in self._sessions(link.agent_id)
        ):
            return
        why = message.get("message")
        text = why if isinstance(why, str) and why else "The agent lost the session"
        session.enter(self._fleet.clock.now(), "failed", text)
        self._fleet.changes.notify()

    def _lost(self, link: Link) -> None:
        if self._links.get(link.agent_id) is not link:
            return
        del self._links[link.agent_id]
        agent, now = self._fleet.agents[link.agent_id], self._fleet.clock.now()
        agent.drained = agent.status == "draining"
        agent.status, agent.updated_at, agent.other_sessions = "offline", now, 0
        for session in self._sessions(link.agent_id):
            session.message = f"Agent '{link.agent_id}' is offline"
            session.write(now, session.message)
        self._vnc_connections.lost(link.agent_id, _offline(link.agent_id))
        self._fleet.changes.notify()

    def _sessions(self, agent_id: str) -> list[Session]:
        now = self._fleet.clock.now()
        return [
            one
            for one in self._fleet.sessions.values()
            if one.remote and one.agent_id == agent_id and one.state_at(now) not in ENDED
        ]


def _read_link(query: Query) -> Link:
    agent_id, platform = query.get("agent_id", ""), query.get("platform", "")
    if not agent_id.strip():
        raise StreamSpaceError(
            "INVALID_PARAMETER", "Parameter 'agent_id' is required", {"agent_id": "is required"}
        )
    if platform not in PLATFORMS:
        raise StreamSpaceError(
            "INVALID_PARAMETER",
            f"Parameter 'platform' must be one of {', '.join(PLATFORMS)}",
            {"platform": platform},
        )
    return Link(agent_id, platform, query.get("region") or None, monotonic())


def _set_capacity(agent: Agent, capacity: Capacity) -> None:
    agent.max_cpu, agent.max_memory = capacity.max_cpu, capacity.max_memory
    agent.max_sessions, agent.other_sessions = capacity.max_sessions, 0


def _offline(agent_id: str) -> StreamSpaceError:
    return StreamSpaceError("AGENT_OFFLINE", f"Agent '{agent_id}' is offline")

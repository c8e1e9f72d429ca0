"""The control plane: agents connect to it, are watched, and are told what to do."""

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
    Channel,
    Close,
    wants_socket,
)
from vcloud.emulator.streamspace.arguments import Json, StreamSpaceError, ambiguous
from vcloud.emulator.streamspace.catalog import PLATFORMS
from vcloud.emulator.streamspace.control.commands import (
    BinaryMessageError,
    Capacity,
    MessageError,
    command,
    name_data,
    read_current_sessions,
    read_messages,
    read_metadata,
    register_ack,
    start_data,
    stop_data,
    vnc_proxy_request,
)
from vcloud.emulator.streamspace.control.fleet import Fleet
from vcloud.emulator.streamspace.control.links import OUTBOX, Command, Link, Proxy
from vcloud.emulator.streamspace.control.outcomes import complete, fail
from vcloud.emulator.streamspace.state import ENDED, Session
from vcloud.emulator.tasks import first_completed

MISSED = 3
"""Heartbeats that an agent may miss."""
LOOK = 0.2
"""Real seconds between two looks at an agent, at most."""


Endpoint = Callable[[web.BaseRequest, str, dict[str, str]], Awaitable[web.StreamResponse]]


class ControlPlane:
    """``GET /agent/ws`` and ``GET /agent/vnc/{proxy_id}``, both at the host's root.

    The document names no authentication for agents: a token that is sent must be good, and none will do unless
    `token_required`, which is set where real desktops are served. Nor does it say how the
    bytes of a picture reach the control plane: here, the agent opens the second address, and sends them in binary frames. It says
    ``vnc_proxy_error`` (with ``proxy_id`` and ``error``) if it cannot reach the VNC server. Both are this project's own. So is
    ``status`` (with ``session_id``, ``state``, which must be ``failed``, and ``message``), by which an agent says that a session is
    over though no command ended it; the published server has a message of that name (from its source).

    An agent is offline when its socket is closed or three heartbeats are missing. Its sessions stay in their states, and their
    ``status.message`` says so; a command that it has not answered is sent again when it is back. One that stays unanswered fails.
    A failed start or stop makes the session ``failed``; after a failed hibernation it runs on, after a failed wake it sleeps on.
    While agents hibernate or wake a session, its state is ``hibernating`` or ``waking`` (from the published server's source).
    """

    prefix = "/agent"

    def __init__(self, fleet: Fleet) -> None:
        """Serve the agents of `fleet`."""
        self.heartbeat_interval = 10.0
        """What agents are told, in real seconds: they are programs of their own, and do not live in simulated time."""
        self.command_timeout = 60.0
        """How long an agent may take for a command, in real seconds."""
        self.vnc_timeout = 10.0
        """How long an agent may take to open a session's picture, in real seconds."""
        self.token_required = False
        """Whether agents without a token are refused."""
        self.commands: dict[str, Command] = {}
        """What was not answered yet."""
        self._fleet = fleet
        self._links: dict[str, Link] = {}
        self._proxies: dict[str, Proxy] = {}
        self._routes: Routes[Endpoint] = Routes(self.prefix)
        self._routes.add("GET", "/ws", self._serve_agent)
        self._routes.add("GET", "/vnc/{proxy_id}", self._serve_picture)

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:  # noqa: ARG002 - an upgrade has none
        """Answer an agent's upgrade; these requests are not counted by any rate limit."""
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
        """Return whether this agent has a socket open, and is registered."""
        return agent_id in self._links

    def forget(self) -> None:
        """Wait for no answer any more."""
        for waiting in self.commands.values():
            waiting.timer.cancel()
        self.commands.clear()

    # -- what agents are told ---------------------------------------------------------------------------------------

    def start(self, session: Session) -> None:
        """Have a new session started by its agent."""
        self._tell(
            session, "start_session", start_data(session, self._fleet.templates[session.template])
        )

    def move(self, session: Session, state: str) -> None:
        """Have a session hibernated, woken or stopped by its agent."""
        now = self._fleet.clock.now()
        if state == "hibernated":
            session.enter(now, "hibernating")
            self._tell(session, "hibernate_session", name_data(session))
        elif state == "running":
            session.enter(now, "waking")
            self._tell(session, "wake_session", name_data(session))
        else:
            session.enter(now, "terminating")
            self.stop(session, graceful=True)

    def stop(self, session: Session, *, graceful: bool) -> None:
        """Have a session stopped by its agent, whatever its state; one that is offline is told when it is back."""
        self._tell(session, "stop_session", stop_data(session, graceful=graceful))

    def request_vnc(self, session: Session) -> Proxy:
        """Ask a session's agent for its picture; `close_vnc` must follow."""
        proxy = Proxy(self._token("proxy"), session, asyncio.get_running_loop().create_future())
        link = self._links.get(session.agent_id)
        if link is None:
            raise StreamSpaceError("AGENT_OFFLINE", f"Agent '{session.agent_id}' is offline")
        self._proxies[proxy.id] = proxy
        self._send(link, vnc_proxy_request(proxy.id, session))
        return proxy

    def close_vnc(self, proxy: Proxy) -> None:
        """Be done with a picture."""
        self._proxies.pop(proxy.id, None)
        proxy.over.set()
        proxy.arrived.cancel()

    def _tell(self, session: Session, kind: str, data: Json) -> None:
        id_ = self._token("cmd")
        message = command(id_, kind, session.id, data)
        timer = asyncio.get_running_loop().call_later(self.command_timeout, self._give_up, id_)
        self.commands[id_] = Command(message, kind, session.agent_id, session, timer)
        link = self._links.get(session.agent_id)
        if link is not None:
            self._send(link, message)

    def _send(self, link: Link, message: Json) -> None:
        try:
            link.outbox.put_nowait(message)
        except asyncio.QueueFull:
            link.end(f"the agent left {OUTBOX} messages unread")

    def _token(self, what: str) -> str:
        return f"{what}-{self._fleet.random.randbytes(12).hex()}"

    # -- what agents answer -----------------------------------------------------------------------------------------

    def _give_up(self, command_id: str) -> None:
        given = self.commands.pop(command_id)
        self._failed(
            given,
            f"{given.kind} was not answered within {self.command_timeout:g} s",
            "COMMAND_TIMEOUT",
        )
        if given.kind == "start_session":
            # It may have come up all the same, and nobody would ever end it.
            self.stop(given.session, graceful=False)
        self._fleet.pulse.beat()

    def _result(self, link: Link, message: Json) -> None:
        given = self.commands.get(str(message.get("command_id")))
        # Answered already, given up, or somebody else's.
        if given is None or given.agent_id != link.agent_id:
            return
        status = message.get("status")
        if status not in {"completed", "failed"}:
            raise MessageError("a command_result is completed or failed")
        del self.commands[given.message["command_id"]]
        given.timer.cancel()
        if status == "completed":
            self._completed(given, message.get("result"))
        else:
            self._failed(
                given,
                str(message.get("error") or f"{given.kind} failed"),
                message.get("error_code"),
            )
        self._fleet.pulse.beat()

    def _completed(self, given: Command, result: object) -> None:
        session, now = given.session, self._fleet.clock.now()
        if complete(session, given.kind, result, now, self._fleet.clock.offset):
            self.move(session, "hibernated")

    def _failed(self, given: Command, error: str, code: object) -> None:
        why = f"{error} ({code})" if code else error
        fail(given.session, given.kind, why, self._fleet.clock.now())

    def _report(self, link: Link, message: Json) -> None:
        """Take an agent's word that a session is over, which nobody had asked for."""
        session = self._fleet.sessions.get(str(message.get("session_id")))
        if (
            message.get("state") != "failed"
            or session is None
            or session not in self._sessions(link.agent_id)
        ):
            return
        why = message.get("message")
        session.enter(
            self._fleet.clock.now(),
            "failed",
            why if isinstance(why, str) and why else "The agent lost the session",
        )
        self._fleet.pulse.beat()

    # -- an agent's socket ------------------------------------------------------------------------------------------

    async def _serve_agent(
        self, request: web.BaseRequest, _: str, headers: dict[str, str]
    ) -> web.StreamResponse:
        query = Query(request.query, ambiguous)
        agent_id, platform = query.get("agent_id", ""), query.get("platform", "")
        if not agent_id.strip():
            raise StreamSpaceError(
                "INVALID_PARAMETER", "Parameter 'agent_id' is required", {"agent_id": "is required"}
            )
        if platform not in PLATFORMS:
            known = ", ".join(PLATFORMS)
            raise StreamSpaceError(
                "INVALID_PARAMETER",
                f"Parameter 'platform' must be one of {known}",
                {"platform": platform},
            )
        link = Link(agent_id, platform, query.get("region") or None, monotonic())

        async def use(socket: web.WebSocketResponse) -> Close:
            try:
                await first_completed(
                    self._hear(link, socket),
                    self._speak(link, socket),
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

    async def _hear(self, link: Link, socket: web.WebSocketResponse) -> None:
        while (frame := await socket.receive()).type in {WSMsgType.TEXT, WSMsgType.BINARY}:
            if frame.type is WSMsgType.BINARY:
                raise BinaryMessageError("messages are JSON in text frames, not in binary ones")
            for message in read_messages(frame.data):
                self._take(link, message)

    async def _speak(self, link: Link, socket: web.WebSocketResponse) -> None:
        while True:
            await socket.send_str(msgspec.json.encode(await link.outbox.get()).decode())

    async def _watch(self, link: Link) -> None:
        while (left := link.heard + MISSED * self.heartbeat_interval - monotonic()) > 0:
            await asyncio.sleep(min(left, LOOK))
            if self._links.get(link.agent_id) is link:
                self._rest(link.agent_id)
        link.close = Close(GOING_AWAY, f"{MISSED} heartbeats are missing")

    def _rest(self, agent_id: str) -> None:
        now = self._fleet.clock.now()
        for session in self._sessions(agent_id):
            if session.idle(now):
                self.move(session, "hibernated")

    def _take(self, link: Link, message: Json) -> None:
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
                given = self.commands.get(str(message.get("command_id")))
                if given is not None and given.agent_id == link.agent_id:
                    given.acknowledged = True
            case "command_result":
                self._result(link, message)
            case "vnc_proxy_error":
                self._no_picture(link, message)
            case "status":
                self._report(link, message)
        # Whatever else there may come to be is for a later version of this.

    def _register(self, link: Link, message: Json) -> None:
        if message.get("platform", link.platform) != link.platform:
            raise MessageError("the platform is another than the address says")
        capacity, metadata = Capacity.read(message.get("capacity")), read_metadata(message)
        before = self._links.get(link.agent_id)
        if before is not None and before is not link:
            # The same agent on a new connection: nobody is behind the old one.
            before.end("the agent has connected again")
        agent, now = self._fleet.registered(link), self._fleet.clock.now()
        agent.max_cpu, agent.max_memory, agent.max_sessions = (
            capacity.max_cpu,
            capacity.max_memory,
            capacity.max_sessions,
        )
        agent.metadata, agent.other_sessions = metadata, 0
        region = message.get("region")
        agent.platform, agent.region = (
            link.platform,
            region if isinstance(region, str) and region else link.region,
        )
        if agent.status == "offline":
            agent.status = "draining" if agent.drained else "online"
        agent.remote, agent.drained, agent.websocket_conn_id = (
            True,
            False,
            f"conn-{self._fleet.random.randbytes(4).hex()}",
        )
        agent.connected_at = agent.updated_at = agent.last_heartbeat = now
        link.heard = monotonic()
        if before is link:
            self._send(link, register_ack(link.agent_id, self.heartbeat_interval))
            return
        self._links[link.agent_id] = link
        self._send(link, register_ack(link.agent_id, self.heartbeat_interval))
        for session in self._sessions(link.agent_id):
            session.message = None
        for given in self.commands.values():
            if given.agent_id == link.agent_id:
                self._send(link, given.message)

    def _heartbeat(self, link: Link, message: Json) -> None:
        agent = self._fleet.agents[link.agent_id]
        count = read_current_sessions(message)
        link.heard, agent.last_heartbeat = monotonic(), self._fleet.clock.now()
        if count is not None:
            # What it has beyond the sessions known here takes room as well.
            agent.other_sessions = max(0, count - len(self._fleet.busy(agent)))

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
        gone = StreamSpaceError("AGENT_OFFLINE", f"Agent '{link.agent_id}' is offline")
        for proxy in self._proxies.values():
            if proxy.session.agent_id == link.agent_id and not proxy.arrived.done():
                proxy.arrived.set_result(gone)
        self._fleet.pulse.beat()

    def _sessions(self, agent_id: str) -> list[Session]:
        now = self._fleet.clock.now()
        return [
            one
            for one in self._fleet.sessions.values()
            if one.remote and one.agent_id == agent_id and one.state(now) not in ENDED
        ]

    # -- an agent's picture of a session ----------------------------------------------------------------------------

    def _no_picture(self, link: Link, message: Json) -> None:
        proxy = self._proxies.get(str(message.get("proxy_id")))
        if (
            proxy is not None
            and proxy.session.agent_id == link.agent_id
            and not proxy.arrived.done()
        ):
            error = str(message.get("error") or "the agent cannot reach the VNC server")
            proxy.arrived.set_result(StreamSpaceError("VNC_PROXY_FAILED", error))

    async def _serve_picture(
        self, request: web.BaseRequest, proxy_id: str, headers: dict[str, str]
    ) -> web.StreamResponse:
        proxy = self._proxies.get(proxy_id)
        if proxy is None or proxy.taken or proxy.arrived.done():
            raise StreamSpaceError("NOT_FOUND", "No viewer waits for this")
        proxy.taken = True

        async def use(socket: web.WebSocketResponse) -> Close:
            channel = Channel(socket, "the agent")
            if not proxy.arrived.done():
                proxy.arrived.set_result(channel)
            # The viewer's side does the work, and says how it ended.
            await proxy.over.wait()
            return channel.close

        return await self._fleet.live.serve(request, headers, use)

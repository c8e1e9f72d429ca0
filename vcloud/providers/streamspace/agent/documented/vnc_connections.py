"""Relays viewers to the VNC servers of an agent's sessions: a WebSocket for each viewer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

from vcloud._core.request import Request, path_segment
from vcloud._core.session import Session
from vcloud._core.tasks import cancel_and_wait
from vcloud._core.timing.timeouts import timeout
from vcloud._core.websocket import Socket
from vcloud.errors import AuthenticationError, VCloudError
from vcloud.errors.text import shortened
from vcloud.providers.streamspace.agent.handler import AgentHandler, CommandFailed, text_of
from vcloud.providers.streamspace.agent.link import Send
from vcloud.providers.streamspace.agent.messages import (
    Message,
    SessionReport,
    UnreadableMessage,
    VNCProxyError,
    VNCProxyRequest,
)
from vcloud.providers.streamspace.agent.outbox import Outbox
from vcloud.providers.streamspace.agent.parsing import readable_id
from vcloud.providers.streamspace.agent.vnc_server import connect_to_vnc_server
from vcloud.providers.streamspace.realtime.vnc_relay import close_writer, relay
from vcloud.providers.streamspace.realtime.vnc_tunnel import VNCTunnel

__all__ = ["VNCConnections"]

#: Seconds in which a VNC server has to accept a connection.
CONNECT_TIMEOUT: Final = 30.0
#: How many viewers are connected at once. Each takes two sockets, and a process may open 1024 by
#: default.
MAX_CONNECTIONS: Final = 400
#: How many of them to the same session: half, so that one session cannot take those of all others.
MAX_PER_SESSION: Final = 200
#: Characters of a reason that are sent.
MAX_REASON: Final = 4096
_UNREACHABLE: Final = "the VNC server cannot be reached"


class VNCConnections:
    """Connects viewers with the VNC servers of an agent's sessions.

    At most as many WebSockets as the endpoint's ``concurrency`` are being opened at once. They take
    none of the client's own slots: viewers that use the same client hold those while they wait for
    the agent.

    Args:
        session: the agent's.
        handler: knows where the VNC servers are.
        outbox: takes the refusals.
        on_error: is called with each error of a connection.
        on_token_refused: is called with the error that ends the agent.
    """

    def __init__(
        self,
        session: Session,
        handler: AgentHandler,
        outbox: Outbox,
        on_error: Callable[[Exception], None],
        on_token_refused: Callable[[AuthenticationError], None],
    ) -> None:
        self._session = session
        self._handler = handler
        self._outbox = outbox
        self._on_error = on_error
        self._on_token_refused = on_token_refused
        self._opening = asyncio.Semaphore(session.concurrency)
        self._tasks: set[asyncio.Task[None]] = set()
        self._per_session: Counter[str] = Counter()

    def receive(self, message: Message) -> None:
        """Connect the viewer that a message is about, or answer why it cannot be read."""
        match message:
            case VNCProxyRequest():
                self.open(message)
            case UnreadableMessage() if message.raw.get("type") == "vnc_proxy_request":
                if (proxy_id := readable_id(message.raw, "proxy_id")) is not None:
                    session_id = readable_id(message.raw, "session_id")
                    self.refuse(proxy_id, session_id, str(message))

    def connected(self, send: Send) -> None:
        """Nothing: each viewer has a connection of its own."""

    def disconnected(self) -> None:
        """Nothing: viewers stay."""

    def session_ending(self, session_id: str) -> None:
        """Nothing: its viewers' connections end with the desktop."""

    def session_changed(self, report: SessionReport) -> None:
        """Nothing: the control plane says when a viewer comes."""

    def open(self, request: VNCProxyRequest) -> None:
        """Connect a viewer, and relay it until one side ends. One beyond the limits is refused."""
        session_id = request.session_id
        if (count := self._per_session[session_id]) >= MAX_PER_SESSION:
            reason = f"the session has {count} viewers, and the agent takes no more of it"
            self.refuse(request.proxy_id, session_id, reason)
            return
        if len(self._tasks) >= MAX_CONNECTIONS:
            reason = f"the agent has {MAX_CONNECTIONS} viewers, and takes no more"
            self.refuse(request.proxy_id, session_id, reason)
            return
        self._per_session[session_id] += 1
        task = asyncio.create_task(self._connect_and_relay(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda task: self._ended(session_id))

    def refuse(self, proxy_id: str, session_id: str | None, reason: str) -> None:
        """Answer why a viewer is not connected."""
        # A handler may have put another object in the place of its failure's message.
        error = shortened(text_of(reason), MAX_REASON)
        self._outbox.put(VNCProxyError(proxy_id=proxy_id, session_id=session_id, error=error))

    async def cancel(self) -> None:
        """End all connections."""
        await cancel_and_wait(set(self._tasks))

    def _ended(self, session_id: str) -> None:
        self._per_session[session_id] -= 1
        if not self._per_session[session_id]:
            del self._per_session[session_id]

    async def _connect_and_relay(self, request: VNCProxyRequest) -> None:
        try:
            path = f"/agent/vnc/{path_segment(request.proxy_id, 'proxy_id')}"
            async with timeout(CONNECT_TIMEOUT):
                address = await self._handler.vnc_address(request)
                reader, writer = await connect_to_vnc_server(address)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # This task was not cancelled, but one that the handler awaited.
            raised = RuntimeError(f"vnc_address raised {type(error).__name__}")
            self._fail(request, raised, _UNREACHABLE)
            return
        except Exception as error:  # noqa: BLE001 - the text of a user's exception is not sent
            reason = error.message if isinstance(error, CommandFailed) else ""
            self._fail(request, error, reason or _UNREACHABLE)
            return
        try:
            await self._relay(request, path, reader, writer)
        finally:
            await close_writer(writer)

    async def _relay(
        self,
        request: VNCProxyRequest,
        path: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        tunnel = VNCTunnel(lambda: self._connect(path))
        lost = "the connection of the VNC server was lost"
        try:
            await tunnel.aopen()
            await relay(tunnel, reader, writer, lost_reason=lost)
        except (VCloudError, OSError) as error:
            if tunnel.opened:
                self._on_error(error.with_traceback(None))
            else:
                self._fail(request, error, "the agent cannot open the tunnel")
            if isinstance(error, AuthenticationError):
                self._on_token_refused(error)

    async def _connect(self, path: str) -> Socket:
        async with self._opening:
            return await self._session.connect(Request("GET", path, slot=False), root=True)

    def _fail(self, request: VNCProxyRequest, error: Exception, reason: str) -> None:
        self._on_error(error.with_traceback(None))
        self.refuse(request.proxy_id, request.session_id, reason)

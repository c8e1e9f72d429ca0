"""One connection of an agent after the other: registering, heartbeats, and what the control plane says."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

from vcloud._core.request import Request, query
from vcloud._core.retry import RetryPolicy
from vcloud._core.session import Session
from vcloud._core.tasks import first_completed
from vcloud._core.timing.timeouts import timeout
from vcloud._core.websocket import Socket
from vcloud.errors import (
    AuthenticationError,
    ConfigurationError,
    DecodeError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RequestTimeout,
    TransportError,
    VCloudError,
)
from vcloud.errors.text import printable, shortened
from vcloud.providers.streamspace.agent.commands import Commands
from vcloud.providers.streamspace.agent.frames import each_message, readable_id
from vcloud.providers.streamspace.agent.hooks import Reporter
from vcloud.providers.streamspace.agent.messages import (
    Command,
    Heartbeat,
    Message,
    Register,
    RegisterAck,
    UnknownMessage,
    UnreadableMessage,
    VNCProxyRequest,
    encode_message,
)
from vcloud.providers.streamspace.agent.outbox import Outbox
from vcloud.providers.streamspace.agent.pictures import Pictures
from vcloud.providers.streamspace.agent.reconcile import assigned_sessions
from vcloud.providers.streamspace.models import AgentCapacity

__all__ = ["HOPELESS", "AgentRejectedError", "Connection"]

#: Seconds between heartbeats when the control plane does not say: what the document shows.
INTERVAL: Final = 10.0
#: The shortest interval between heartbeats, in seconds, whatever the control plane asks for.
MIN_INTERVAL: Final = 1.0
#: The longest, in seconds: the published server ends a connection after 45 without one, and its
#: own agents say one every 30 by default (both from its source).
MAX_INTERVAL: Final = 30.0
#: Seconds that commands wait for the list of assigned sessions, and as many for ``on_registered``.
HOLD: Final = 30.0
#: Seconds in which the control plane has to answer a registration.
PATIENCE: Final = 30.0
#: Messages that are taken in a row before other tasks get their turn; one counts as so many more
#: as it has times so many characters.
IN_A_ROW: Final = 64
MESSAGE_SIZE: Final = 4096


class AgentRejectedError(VCloudError):
    """The control plane answered the registration with ``rejected``: it does not want this agent."""


#: Coming again does not help against these.
HOPELESS: Final = (
    AgentRejectedError,
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
)


class Connection:
    """The socket between an agent and its control plane.

    Args:
        client: the client's session, for requests.
        session: the agent's, for its sockets.
        register: what the agent says of itself.
        outbox: what it has to say.
        commands: carries out what it is told.
        pictures: delivers what viewers ask for.
        reporter: hears of it.
        retry: how patiently the assigned sessions are asked for again.

    Raises:
        InvalidArgumentError: ``register`` holds what JSON or an address cannot.
    """

    def __init__(
        self,
        client: Session,
        session: Session,
        register: Register,
        *,
        outbox: Outbox,
        commands: Commands,
        pictures: Pictures,
        reporter: Reporter,
        retry: RetryPolicy,
    ) -> None:
        self._client = client
        self._session = session
        self._register = register
        # Once and now, because an error here is its owner's. On a connection it would end the agent,
        # or keep it connecting for ever.
        self._introduction = encode_message(register)
        self._query = query(
            {
                "agent_id": register.agent_id,
                "platform": register.platform,
                "region": register.region,
            }
        )
        self._outbox = outbox
        self._commands = commands
        self._pictures = pictures
        self._reporter = reporter
        self._retry = retry
        self._interval = INTERVAL
        self._in_a_row = 0
        #: Set while the control plane knows the agent.
        self.registered = asyncio.Event()
        #: For how many seconds it did on the last connection; None: not at all.
        self.registered_for: float | None = None
        self._registered_at = 0.0

    async def run(self) -> None:
        """Connect, register, and stay until the connection is lost, which is an error."""
        self.registered_for = None
        # Viewers that use the same client may hold all slots, and wait for this agent.
        request = Request("GET", "/agent/ws", self._query, slot=False)
        socket = await self._session.connect(request, root=True)
        try:
            await self._introduce(socket)
            self._reporter.registered(self._interval)
            works = [self._listen(socket), self._outbox.send_all(socket), self._beat()]
            if self._reporter.reconciles:
                works.append(self._reconcile())
            await first_completed(*works)
        finally:
            if self.registered.is_set():
                self.registered_for = self._session.clock() - self._registered_at
            self.registered.clear()
            self._commands.may_run.set()
            self._outbox.forget_heartbeats()
            await socket.close()

    async def _introduce(self, socket: Socket) -> None:
        await socket.send_text(self._introduction)
        try:
            async with timeout(PATIENCE):
                while not self.registered.is_set():
                    await self._hear(socket)
        except TimeoutError:
            raise RequestTimeout(
                f"the control plane did not answer the registration within {PATIENCE:g} s"
            ) from None

    async def _listen(self, socket: Socket) -> None:
        while True:
            await self._hear(socket)

    async def _hear(self, socket: Socket) -> None:
        frame = await socket.receive()
        if frame is None:
            raise TransportError(f"the agent's socket was closed with {socket.ending}")
        text = frame if isinstance(frame, str) else frame.decode("utf-8", "replace")
        for message, size in each_message(text):
            self._take(message, size)
            self._in_a_row += 1 + size // MESSAGE_SIZE
            if self._in_a_row >= IN_A_ROW:
                # A frame, and what waits behind it, may hold any number of them.
                self._in_a_row = 0
                await asyncio.sleep(0)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            now = datetime.fromtimestamp(self._session.now(), UTC)
            capacity = AgentCapacity(current_sessions=len(self._commands.sessions))
            self._outbox.beat(
                Heartbeat(agent_id=self._register.agent_id, timestamp=now, capacity=capacity)
            )

    async def _reconcile(self) -> None:
        """Tell the owner what the control plane believes to run here; ask until it says so."""
        failures = 0
        while True:
            self._commands.may_run.clear()
            found = None
            try:
                async with timeout(HOLD):
                    found = await assigned_sessions(self._client, self._register.agent_id)
                # Cancelled when it takes longer: beside commands, it could take a session that one
                # of them starts for an orphan.
                async with timeout(HOLD):
                    await self._reporter.assigned(found)
                break
            except TimeoutError:
                late = (
                    "the sessions were not read"
                    if found is None
                    else "on_registered did not return"
                )
                self._reporter.trouble(RequestTimeout(f"{late} within {HOLD:g} s; commands go on"))
                if found is not None:
                    break
            except VCloudError as error:
                self._reporter.trouble(error)
                if isinstance(error, HOPELESS):
                    break
            finally:
                self._commands.may_run.set()
            failures += 1
            await asyncio.sleep(self._retry.backoff(failures, self._session.entropy()))
        # The connection goes on.
        await asyncio.Event().wait()

    # -- what it is told -----------------------------------------------------------------------------------------------

    def _take(self, message: Message, size: int) -> None:
        match message:
            case RegisterAck():
                self._acknowledged(message)
            case Command():
                self._commands.take(message, size)
            case VNCProxyRequest():
                self._pictures.deliver(message)
            case UnreadableMessage():
                self._unreadable(message)
            case UnknownMessage() if message.name == "command":
                if (command_id := readable_id(message.raw, "command_id")) is not None:
                    reason = "this agent does not know such a command"
                    self._commands.refuse(command_id, "UNKNOWN_COMMAND", reason)
            case _:
                # What a newer control plane says besides must not end an older agent.
                pass

    def _acknowledged(self, message: RegisterAck) -> None:
        if message.status == "rejected":
            raise AgentRejectedError(f"the control plane rejected agent {self._register.agent_id}")
        if message.status != "registered":
            status = printable(shortened(self._session.hide(message.status), 80))
            raise VCloudError(f"the control plane did not register the agent: {status}")
        interval = message.heartbeat_interval
        seconds = interval.total_seconds() if interval else 0.0
        bounded = min(max(seconds, MIN_INTERVAL), MAX_INTERVAL)
        self._interval = bounded if seconds > 0 else INTERVAL
        if not self.registered.is_set():
            self._registered_at = self._session.clock()
            if self._reporter.reconciles:
                # At once, because commands may come in the same frame.
                self._commands.may_run.clear()
        self.registered.set()

    def _unreadable(self, message: UnreadableMessage) -> None:
        """Whoever waits for an answer to it gets one."""
        error = DecodeError(f"from the control plane: {message}")
        if message.raw.get("type") == "register_ack" and not self.registered.is_set():
            raise error
        self._reporter.trouble(error)
        match message.raw.get("type"):
            case "command":
                if (command_id := readable_id(message.raw, "command_id")) is not None:
                    self._commands.refuse(command_id, "VALIDATION_FAILED", str(message))
            case "vnc_proxy_request":
                if (proxy_id := readable_id(message.raw, "proxy_id")) is not None:
                    session_id = readable_id(message.raw, "session_id")
                    self._pictures.refuse(proxy_id, session_id, str(message))

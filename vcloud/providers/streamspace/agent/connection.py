"""An agent's connections to its control plane, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from vcloud._core.retry import RetryPolicy
from vcloud._core.session import Session
from vcloud._core.tasks import first_completed
from vcloud._core.timing.timeouts import timeout
from vcloud._core.websocket import Socket
from vcloud.errors import DecodeError, RequestTimeout, TransportError, VCloudError
from vcloud.errors.text import printable, shortened
from vcloud.providers.streamspace.agent.commands import CommandRunner
from vcloud.providers.streamspace.agent.ending import PERMANENT_ERRORS, AgentRejectedError
from vcloud.providers.streamspace.agent.hooks import Reporter
from vcloud.providers.streamspace.agent.link import Link, Viewers
from vcloud.providers.streamspace.agent.messages import (
    Command,
    Heartbeat,
    Message,
    RegisterAck,
    UnknownMessage,
    UnreadableMessage,
)
from vcloud.providers.streamspace.agent.outbox import Outbox
from vcloud.providers.streamspace.agent.parsing import readable_id
from vcloud.providers.streamspace.models import AgentCapacity, AgentSession

__all__ = ["AgentConnection"]

#: Seconds between heartbeats when the control plane does not say: what the document shows.
HEARTBEAT_INTERVAL: Final = 10.0
#: The shortest interval between heartbeats, in seconds, whatever the control plane asks for.
MIN_HEARTBEAT_INTERVAL: Final = 1.0
#: The longest, in seconds: the published server ends a connection after 45 without one, and its own
#: agents send one every 30 by default (both from its source).
MAX_HEARTBEAT_INTERVAL: Final = 30.0
#: Seconds that commands wait for the list of assigned sessions, and as many for ``on_registered``.
RECONCILE_TIMEOUT: Final = 30.0
#: Seconds in which a heartbeat is sent, before a request says that the agent takes no new sessions.
DRAINING_TIMEOUT: Final = 5.0
#: Seconds in which the control plane has to answer a registration.
REGISTER_TIMEOUT: Final = 30.0
#: Messages that are handled in a row before other tasks run. A long message counts as one more for
#: each so many characters.
MESSAGES_PER_TURN: Final = 64
CHARACTERS_PER_MESSAGE: Final = 4096


class AgentConnection:
    """The WebSocket between an agent and its control plane.

    Args:
        session: the agent's, for the time.
        agent_id: its name.
        link: how it talks to the control plane.
        viewers: connects viewers.
        registered: is set while the agent is registered.
        outbox: the messages to send.
        commands: carries out commands.
        reporter: reports what happens.
        retry: the pauses between two requests for the assigned sessions.
    """

    def __init__(
        self,
        session: Session,
        agent_id: str,
        *,
        link: Link,
        viewers: Viewers,
        registered: asyncio.Event,
        outbox: Outbox,
        commands: CommandRunner,
        reporter: Reporter,
        retry: RetryPolicy,
    ) -> None:
        self._session = session
        self._agent_id = agent_id
        self._link = link
        self._viewers = viewers
        self._reconciles = reporter.reconciles and link.lists_sessions
        self._outbox = outbox
        self._commands = commands
        self._reporter = reporter
        self._retry = retry
        self._interval = HEARTBEAT_INTERVAL
        self._in_a_row = 0
        self._sending = asyncio.Lock()
        #: Set when a heartbeat is to be sent at once.
        self._heartbeat_due = asyncio.Event()
        self.registered: asyncio.Event = registered
        #: Seconds for which it was registered on the last connection; None: it was not.
        self.registered_for: float | None = None
        self._registered_at = 0.0

    async def run(self) -> None:
        """Connect, register, and stay until the connection is lost, which raises an error."""
        self.registered_for = None
        socket = await self._link.connect()

        async def send(text: str) -> None:
            # Viewers may send besides the outbox.
            async with self._sending:
                await socket.send_text(text)

        try:
            await self._register(socket)
            self._reporter.registered(self._interval)
            self._viewers.connected(send)
            loops = [
                self._receive_all(socket),
                self._outbox.send_all(send),
                self._send_heartbeats(),
            ]
            if self._reconciles:
                loops.append(self._reconcile())
            else:
                self._commands.report_all()
            await first_completed(*loops)
        finally:
            self._viewers.disconnected()
            if self.registered.is_set():
                self.registered_for = self._session.clock() - self._registered_at
            self.registered.clear()
            self._commands.may_run.set()
            self._outbox.drop_heartbeats()
            try:
                # Before the socket ends: a "draining" after it would stay for ever.
                await self._link.finish_requests()
            finally:
                await socket.close()

    @property
    def short_lived(self) -> float:
        """See :class:`~vcloud.providers.streamspace.agent.link.Link`."""
        return self._link.short_lived

    def drain(self) -> None:
        """Say at once that the agent takes no new sessions, where that needs a request."""
        if self._link.says_draining:
            self._heartbeat_due.set()

    async def _register(self, socket: Socket) -> None:
        if self._link.registration is None:
            self._now_registered()
            return
        await socket.send_text(self._link.registration)
        try:
            async with timeout(REGISTER_TIMEOUT):
                while not self.registered.is_set():
                    await self._receive_frame(socket)
        except TimeoutError:
            raise RequestTimeout(
                f"the control plane did not answer the registration within {REGISTER_TIMEOUT:g} s"
            ) from None

    async def _receive_all(self, socket: Socket) -> None:
        while True:
            await self._receive_frame(socket)

    async def _receive_frame(self, socket: Socket) -> None:
        frame = await socket.receive()
        if frame is None:
            raise TransportError(f"the agent's socket was closed with {socket.ending}")
        text = frame if isinstance(frame, str) else frame.decode("utf-8", "replace")
        for message, size in self._link.decode(text):
            self._handle(message, size)
            self._in_a_row += 1 + size // CHARACTERS_PER_MESSAGE
            if self._in_a_row >= MESSAGES_PER_TURN:
                # This frame, and those that wait behind it, may hold any number of messages.
                self._in_a_row = 0
                await asyncio.sleep(0)

    async def _send_heartbeats(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with timeout(self._interval):
                    await self._heartbeat_due.wait()
            self._heartbeat_due.clear()
            now = datetime.fromtimestamp(self._session.now(), UTC)
            capacity = AgentCapacity(current_sessions=len(self._commands.sessions))
            self._outbox.put_heartbeat(
                Heartbeat(agent_id=self._agent_id, timestamp=now, capacity=capacity)
            )
            if self._commands.draining and self._link.says_draining:
                await self._say_draining()

    async def _say_draining(self) -> None:
        with suppress(TimeoutError):
            async with timeout(DRAINING_TIMEOUT):
                # After the heartbeat, which says "online".
                await self._outbox.wait_empty()
        try:
            await self._link.say_draining(len(self._commands.sessions))
        except VCloudError as error:
            self._reporter.error(error)

    # -- the sessions that the control plane has on this agent -----------------------------------

    async def _reconcile(self) -> None:
        """Report the assigned sessions once; request them until the control plane answers."""
        failures = 0
        while not await self._report_assigned():
            failures += 1
            await asyncio.sleep(self._retry.backoff(failures, self._session.entropy()))
        self._commands.report_all()
        # When the first of the connection's loops returns, the connection ends.
        await asyncio.Event().wait()

    async def _report_assigned(self) -> bool:
        """Report the assigned sessions, while commands wait; return whether to leave it at that."""
        self._commands.may_run.clear()
        found: Sequence[AgentSession] | None = None
        try:
            async with timeout(RECONCILE_TIMEOUT):
                found = await self._link.assigned(self._commands.known_sessions())
            # Cancelled when it takes longer: while commands run, the hook could mistake a session
            # that one of them starts for an orphan.
            async with timeout(RECONCILE_TIMEOUT):
                await self._reporter.assigned(found)
        except TimeoutError:
            late = "the sessions were not read" if found is None else "on_registered did not return"
            self._reporter.error(
                RequestTimeout(f"{late} within {RECONCILE_TIMEOUT:g} s; commands continue")
            )
            return found is not None
        except VCloudError as error:
            self._reporter.error(error)
            return isinstance(error, PERMANENT_ERRORS)
        finally:
            self._commands.may_run.set()
        return True

    # -- messages --------------------------------------------------------------------------------

    def _handle(self, message: Message, size: int) -> None:
        match message:
            case RegisterAck():
                self._acknowledged(message)
            case Command():
                self._commands.receive(message, size)
            case UnreadableMessage():
                self._unreadable(message)
            case UnknownMessage() if message.name == "command":
                if (command_id := readable_id(message.raw, "command_id")) is not None:
                    reason = "this agent does not know such a command"
                    self._commands.refuse(command_id, "UNKNOWN_COMMAND", reason)
            case _:
                # Or nobody's: a newer control plane may send other messages to an older agent.
                self._viewers.receive(message)

    def _acknowledged(self, message: RegisterAck) -> None:
        if message.status == "rejected":
            raise AgentRejectedError(f"the control plane rejected agent {self._agent_id}")
        if message.status != "registered":
            status = printable(shortened(self._session.hide(message.status), 80))
            raise VCloudError(f"the control plane did not register the agent: {status}")
        interval = message.heartbeat_interval
        seconds = interval.total_seconds() if interval else 0.0
        bounded = min(max(seconds, MIN_HEARTBEAT_INTERVAL), MAX_HEARTBEAT_INTERVAL)
        self._interval = bounded if seconds > 0 else HEARTBEAT_INTERVAL
        self._now_registered()

    def _now_registered(self) -> None:
        if not self.registered.is_set():
            self._registered_at = self._session.clock()
            if self._reconciles:
                # At once, because commands may come in the same frame.
                self._commands.may_run.clear()
        self.registered.set()

    def _unreadable(self, message: UnreadableMessage) -> None:
        """Report it, and answer it if the control plane waits for an answer."""
        error = DecodeError(f"from the control plane: {message}")
        if message.raw.get("type") == "register_ack" and not self.registered.is_set():
            raise error
        self._reporter.error(error)
        if message.raw.get("type") != "command":
            self._viewers.receive(message)
        elif (command_id := readable_id(message.raw, "command_id")) is not None:
            session_id = readable_id(message.raw, "session_id")
            self._commands.refuse(command_id, "VALIDATION_FAILED", str(message), session_id)

"""The agent's side of StreamSpace: what runs the sessions that the control plane asks for."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Coroutine
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

import attrs

from vcloud._core.cleanup import end, race
from vcloud._core.request import Request, query, segment
from vcloud._core.retry import RetryPolicy
from vcloud._core.secret import Secretive
from vcloud._core.session import Session
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
from vcloud.providers.streamspace.handler import AgentHandler, CommandFailed, carry_out
from vcloud.providers.streamspace.messages import (
    Command,
    CommandAck,
    CommandResult,
    CommandStatus,
    Heartbeat,
    Message,
    Register,
    RegisterAck,
    SessionResult,
    StartSession,
    UnknownMessage,
    VNCProxyError,
    VNCProxyRequest,
    WakeSession,
    decode_message,
    encode_message,
)
from vcloud.providers.streamspace.models import AgentCapacity
from vcloud.providers.streamspace.relay import PART, let_go, relay
from vcloud.providers.streamspace.vnc import VNCTunnel

__all__ = ["AgentWorker"]

#: Seconds between heartbeats when the control plane does not say: what the document shows.
INTERVAL: Final = 10.0
#: Seconds in which the control plane has to answer a registration, a VNC server a connection.
PATIENCE: Final = 30.0
#: Seconds that the last results get to go out when the agent stops.
FLUSH: Final = 1.0
#: How many results are remembered for commands that come again, how many wait to be sent, how many errors are kept.
REMEMBERED, UNSENT, KEPT_ERRORS = 1024, 4096, 16
#: Coming again does not help against these.
_HOPELESS: Final = (AuthenticationError, PermissionDeniedError, NotFoundError, InvalidRequestError)


class AgentWorker(Secretive):
    """An agent: ``async with client.serve_agent(...) as worker``, or ``await client.serve_agent(...).run()``.

    It connects (``GET /agent/ws``, a WebSocket at the host's root), registers, sends heartbeats as often as it is told,
    acknowledges each command at once, runs it in the handler, and answers what became of it. A command that comes
    twice runs once and is answered again. When the connection drops, commands go on; it is made anew with growing
    pauses, for as long as it takes, and what they came to is sent then.

    The document names no authentication for this socket; the client's token is sent as for everything else. It does not
    say either how a session's picture travels between agent and control plane. Here (our decision) the agent answers a
    ``vnc_proxy_request`` by opening ``GET /agent/vnc/{proxy_id}``, a second WebSocket at the host's root that carries
    the bytes of the VNC server in binary messages; if it cannot reach the server, it says ``vnc_proxy_error``.

    Args:
        session: the client's.
        register: what it says of itself.
        handler: what it does.
        grace: seconds that commands under way get to finish when it stops.
        retry: how patiently it connects again; ``attempts`` does not count.
    """

    def __init__(
        self,
        session: Session,
        register: Register,
        handler: AgentHandler,
        *,
        grace: float,
        retry: RetryPolicy,
    ) -> None:
        # Trying again is decided here, where there is no limit to it.
        self._session = session.with_options(retry=attrs.evolve(retry, attempts=1))
        self._register = register
        self._handler = handler
        self._grace = grace
        self._retry = retry
        self._draining = False
        self._stopping = asyncio.Event()
        self._registered = asyncio.Event()
        self._interval = INTERVAL
        self._sessions: set[str] = set()
        self._open: set[str] = set()
        self._answers: OrderedDict[str, CommandResult] = OrderedDict()
        self._commands: set[asyncio.Task[None]] = set()
        self._proxies: set[asyncio.Task[None]] = set()
        # Bounded, because a control plane that is away for days must not make the agent grow.
        self._unsent: deque[Message] = deque(maxlen=UNSENT)
        self._something = asyncio.Event()
        self._nothing = asyncio.Event()
        self._errors: deque[Exception] = deque(maxlen=KEPT_ERRORS)
        self._over = asyncio.Event()
        self._started = False
        self._running: asyncio.Task[None] | None = None

    # -- what its owner sees -------------------------------------------------------------------------------------------

    @property
    def agent_id(self) -> str:
        """The name that it registers with."""
        return self._register.agent_id

    @property
    def registered(self) -> bool:
        """Whether the control plane knows it now."""
        return self._registered.is_set()

    @property
    def draining(self) -> bool:
        """Whether it refuses new sessions."""
        return self._draining

    @property
    def sessions(self) -> frozenset[str]:
        """The ids of the sessions that it started or woke, and neither hibernated nor stopped."""
        return frozenset(self._sessions)

    @property
    def errors(self) -> tuple[Exception, ...]:
        """What went wrong and was coped with: lost connections, handlers that raised. The last at the end; bounded."""
        return tuple(self._errors)

    def drain(self) -> None:
        """Start no more sessions: what asks for one fails with ``AGENT_DRAINING``. Everything else goes on."""
        self._draining = True

    def stop(self) -> None:
        """Let :meth:`run` come to its end: no new commands, those under way get the grace time."""
        self._draining = True
        self._stopping.set()

    async def wait_registered(self) -> None:
        """Wait until the control plane knows it.

        Raises:
            ConfigurationError: it has ended, and the control plane never did; :meth:`run` says why.
        """
        await race(self._registered.wait(), self._over.wait())
        if not self._registered.is_set():
            raise ConfigurationError("this agent has ended: its run() says why")

    async def run(self) -> None:
        """Be an agent until :meth:`stop` is called. Cancelling it ends everything at once, without the grace time.

        Raises:
            AuthenticationError: the control plane does not accept the token.
            PermissionDeniedError: this user may not be an agent.
            NotFoundError: the control plane has no such socket.
            InvalidRequestError: it does not accept what the agent says of itself.
            ConfigurationError: it ran already, or the client is closed.
        """
        if self._started:
            raise ConfigurationError("an agent runs once: call serve_agent() again for another")
        self._started = True
        link = asyncio.create_task(self._stay_linked())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({link, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if link.done():
                link.result()
            await self._finish(link)
        finally:
            self._over.set()
            await end({link, stopping, *self._commands, *self._proxies})

    async def __aenter__(self) -> Self:
        """Run in the background; returns when the control plane knows it. Raises what :meth:`run` raises."""
        running = self._running = asyncio.create_task(self.run())
        registered = asyncio.create_task(self._registered.wait())
        try:
            await asyncio.wait({running, registered}, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            await end({running})
            raise
        finally:
            await end({registered})
        if running.done():
            running.result()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, with the grace time unless the block was cancelled."""
        running = self._running
        assert running is not None
        self.stop()
        try:
            if not isinstance(error, asyncio.CancelledError):
                await asyncio.wait({running})
        finally:
            if not running.done():
                await end({running})
        if error is None:
            running.result()
        elif not running.cancelled():
            # The block's own error counts; this one must not be reported as one that nobody looked at.
            running.exception()

    async def _finish(self, link: asyncio.Task[None]) -> None:
        if self._commands:
            await asyncio.wait(self._commands, timeout=self._grace)
        await end(set(self._commands))
        # A command without an answer would be awaited for ever.
        for command_id in sorted(self._open):
            self._fail(command_id, "AGENT_OFFLINE", "the agent stopped before it was done")
        await end(set(self._proxies))
        if self._unsent and not link.done():
            flushed = asyncio.create_task(self._nothing.wait())
            try:
                await asyncio.wait(
                    {flushed, link}, timeout=FLUSH, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                await end({flushed})

    # -- the connection ------------------------------------------------------------------------------------------------

    async def _stay_linked(self) -> None:
        failures = 0
        parameters = {
            "agent_id": self.agent_id,
            "platform": self._register.platform,
            "region": self._register.region,
        }
        request = Request("GET", "/agent/ws", query(parameters))
        while True:
            known = False
            try:
                socket = await self._session.connect(request, root=True)
                try:
                    await self._introduce(socket)
                    known = True
                    await race(self._listen(socket), self._speak(socket), self._beat())
                finally:
                    self._registered.clear()
                    self._forget_heartbeats()
                    await socket.close()
            except (*_HOPELESS, ConfigurationError):
                raise
            except VCloudError as error:
                self._errors.append(error.with_traceback(None))
            failures = 1 if known else failures + 1
            await asyncio.sleep(self._retry.backoff(failures, self._session.entropy()))

    async def _introduce(self, socket: Socket) -> None:
        await socket.send_text(encode_message(self._register))
        try:
            async with asyncio.timeout(PATIENCE):
                while not self._registered.is_set():
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
            raise TransportError(f"the agent's socket was closed with code {socket.close_code}")
        try:
            messages = decode_message(
                frame if isinstance(frame, str) else frame.decode("utf-8", "replace")
            )
        except DecodeError as error:
            # One message that makes no sense is no reason to leave the others unheard.
            self._errors.append(error)
            return
        for message in messages:
            self._take(message)

    async def _speak(self, socket: Socket) -> None:
        while True:
            while self._unsent:
                message = self._unsent[0]
                await socket.send_text(encode_message(message))
                # What could not be sent stays for the next connection. The bound may have dropped it meanwhile.
                if self._unsent and self._unsent[0] is message:
                    self._unsent.popleft()
            self._nothing.set()
            self._something.clear()
            await self._something.wait()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            # One that waits to be sent says enough.
            if not any(isinstance(message, Heartbeat) for message in self._unsent):
                now = datetime.fromtimestamp(self._session.now(), UTC)
                capacity = AgentCapacity(current_sessions=len(self._sessions))
                self._say(Heartbeat(agent_id=self.agent_id, timestamp=now, capacity=capacity))

    def _forget_heartbeats(self) -> None:
        """To say now that one was alive then would be worse than nothing."""
        self._unsent = deque(
            (message for message in self._unsent if not isinstance(message, Heartbeat)), UNSENT
        )

    def _say(self, message: Message) -> None:
        self._unsent.append(message)
        self._nothing.clear()
        self._something.set()

    # -- what it is told -----------------------------------------------------------------------------------------------

    def _take(self, message: Message) -> None:
        match message:
            case RegisterAck() if message.status != "registered":
                raise VCloudError(f"the control plane did not register the agent: {message.status}")
            case RegisterAck():
                seconds = (
                    message.heartbeat_interval.total_seconds()
                    if message.heartbeat_interval
                    else 0.0
                )
                self._interval = seconds if seconds > 0 else INTERVAL
                self._registered.set()
            case Command():
                self._command(message.command_id, message)
            case VNCProxyRequest():
                self._spawn(self._proxies, self._proxy(message))
            case UnknownMessage() if message.name == "command" and isinstance(
                message.raw.get("command_id"), str
            ):
                self._command(message.raw["command_id"], None)
            case _:
                # What a newer control plane says besides must not end an older agent.
                pass

    def _command(self, command_id: str, command: Command | None) -> None:
        self._say(CommandAck(command_id=command_id, agent_id=self.agent_id))
        if command_id in self._open:
            return
        if (answer := self._answers.get(command_id)) is not None:
            self._say(answer)
        elif command is None:
            self._fail(command_id, "UNKNOWN_COMMAND", "this agent does not know such a command")
        elif self._stopping.is_set() or (self._draining and isinstance(command, StartSession)):
            self._fail(command_id, "AGENT_DRAINING", "the agent takes no new sessions")
        else:
            self._open.add(command_id)
            self._spawn(self._commands, self._carry_out(command))

    async def _carry_out(self, command: Command) -> None:
        try:
            result = await carry_out(self._handler, command)
        except CommandFailed as failure:
            self._fail(command.command_id, failure.code, failure.message)
        except Exception as error:  # noqa: BLE001 - the handler is the user's; its words and lines are not for the wire
            self._errors.append(error)
            self._fail(
                command.command_id,
                "INTERNAL_ERROR",
                f"the agent's handler raised {type(error).__name__}",
            )
        else:
            self._count(command)
            self._answer(
                CommandResult(
                    command_id=command.command_id,
                    agent_id=self.agent_id,
                    status=CommandStatus.COMPLETED,
                    result=attrs.evolve(result or SessionResult(), session_id=command.session_id),
                )
            )

    def _count(self, command: Command) -> None:
        if isinstance(command, StartSession | WakeSession):
            self._sessions.add(command.session_id)
        else:
            self._sessions.discard(command.session_id)

    def _fail(self, command_id: str, code: str, reason: str) -> None:
        self._answer(
            CommandResult(
                command_id=command_id,
                agent_id=self.agent_id,
                status=CommandStatus.FAILED,
                error=reason,
                error_code=code,
            )
        )

    def _answer(self, result: CommandResult) -> None:
        self._open.discard(result.command_id)
        self._answers[result.command_id] = result
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        self._say(result)

    async def _proxy(self, request: VNCProxyRequest) -> None:
        try:
            path = f"/agent/vnc/{segment(request.proxy_id, 'proxy_id')}"
            async with asyncio.timeout(PATIENCE):
                host, port = await self._handler.vnc_address(request)
                reader, writer = await asyncio.open_connection(host, port, limit=PART)
        except Exception as error:  # noqa: BLE001 - as for a command
            self._no_picture(request, error, "the VNC server cannot be reached")
            return
        tunnel = VNCTunnel(lambda: self._session.connect(Request("GET", path), root=True))
        try:
            await tunnel.aopen()
            await relay(tunnel, reader, writer)
        except (VCloudError, OSError) as error:
            if tunnel.opened:
                self._errors.append(error.with_traceback(None))
            else:
                self._no_picture(request, error, "the agent cannot open the tunnel")
        finally:
            await let_go(writer)

    def _no_picture(self, request: VNCProxyRequest, error: Exception, reason: str) -> None:
        self._errors.append(error)
        self._say(
            VNCProxyError(proxy_id=request.proxy_id, session_id=request.session_id, error=reason)
        )

    def _spawn(self, tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

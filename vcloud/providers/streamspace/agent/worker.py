"""The agent's side of StreamSpace: runs the sessions that the control plane asks for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final, Self

import attrs

from vcloud._core.cleanup import WITHIN, left_behind
from vcloud._core.redaction.secretive import Secretive
from vcloud._core.session import Session
from vcloud._core.tasks import cancel_and_wait, first_completed
from vcloud._core.timing.running_time import timeout_running
from vcloud.errors import (
    AuthenticationError,
    ConfigurationError,
    RequestTimeout,
)
from vcloud.providers.streamspace.agent.choosing import LinkOptions
from vcloud.providers.streamspace.agent.commands import CommandRunner
from vcloud.providers.streamspace.agent.connections import Connections
from vcloud.providers.streamspace.agent.ending import PERMANENT_ERRORS
from vcloud.providers.streamspace.agent.handler import AgentHandler
from vcloud.providers.streamspace.agent.hooks import AgentHooks, Reporter
from vcloud.providers.streamspace.agent.messages import (
    Register,
)
from vcloud.providers.streamspace.agent.options import AgentOptions
from vcloud.providers.streamspace.agent.outbox import Outbox
from vcloud.providers.streamspace.agent.writing import encode_message
from vcloud.providers.streamspace.models import AgentSession

__all__ = ["AgentWorker"]

#: Seconds in which the last results are sent when the agent stops.
FLUSH_TIMEOUT: Final = 1.0


class AgentWorker(Secretive):
    """An agent: ``async with client.serve_agent(...) as worker``, or ``await worker.run()``.

    It connects (``GET /agent/ws``, a WebSocket beside the API: see :attr:`Session.vnc_url`),
    registers, and sends heartbeats as often as the control plane asks. It acknowledges each command
    at once, runs it in the handler, and sends its result. A command that comes twice runs once and
    is answered twice; one that lacks a field is answered with the name of that field. When the
    connection drops, commands continue, and their results are sent over the next connection. The
    pauses between connections grow until one has lasted for a minute, so that two agents of one
    name do not displace each other at full speed; the log says once that there seem to be two.

    It keeps to the ``max_sessions`` of its capacity: a start or a wake beyond that is answered as
    ``failed`` with ``AGENT_CAPACITY_EXCEEDED``, and the handler is not called. A session counts
    from the moment that its start or wake is accepted, until it is stopped or hibernated; sessions
    from before this process do not count. Besides, at most 1024 commands of each kind are in flight
    at once (or ``max_sessions``, if that is more); more get the same answer. The README lists all
    bounds.

    The document names no authentication for this socket; the client's token is sent as for
    everything else. It does not say either how the bytes of a VNC session travel between agent and
    control plane. Here (a decision of vcloud) the agent answers a ``vnc_proxy_request`` by
    opening ``GET /agent/vnc/{proxy_id}``, a second WebSocket beside the API that carries the bytes
    of the VNC server in binary messages. If it cannot reach the server, it sends
    ``vnc_proxy_error``.

    On a published server (``POST /agents/register``, ``GET /agents/connect``) an administrator
    approves a new agent first. Each change of a session's state is reported, and the last one of
    each session after a reconnection. A connection that ends within 5 seconds is made again at
    once, because there the first one after a drop ends both; three in a row are a
    :class:`DuplicateAgentError`. The bytes of VNC go over the agent's own socket.

    The log ``vcloud.streamspace.agent`` has an INFO record when it is registered, WARNING for
    errors after which it continues, and ERROR when it ends with an error or one of its hooks
    raised.

    Closing the client stops it as :meth:`stop` does. If it has not ended within ``cleanup_timeout``
    of the :class:`~vcloud.Endpoint`, the closing raises a :class:`~vcloud.CleanupError` that names
    it.

    ``StreamSpace.serve_agent()`` makes it; its constructor is not for users.

    Args:
        session: the client's.
        register: what it sends about itself.
        handler: carries out its commands.
        options: the user's.
        hooks: the user's functions.
    """

    def __init__(
        self,
        session: Session,
        register: Register,
        handler: AgentHandler,
        *,
        options: AgentOptions,
        hooks: AgentHooks,
    ) -> None:
        # Now, so that the user gets the error. On a connection it would end the agent, or make it
        # reconnect forever.
        encode_message(register)
        # One attempt: the worker itself tries again, without a limit.
        self._session = session.with_options(retry=attrs.evolve(options.retry, attempts=1))
        self._register = register
        self._options = options
        self._stopping = asyncio.Event()
        self._outbox = Outbox()
        self._reporter = Reporter(register.agent_id, hooks)
        self._commands = CommandRunner(register, handler, self._outbox, self._reporter.error)
        self._registered = asyncio.Event()
        parts = LinkOptions(
            client=session,
            session=self._session,
            register=register,
            key=options.key,
            remembers=options.remember is not None,
            approval_timeout=options.approval_timeout,
            handler=handler,
            outbox=self._outbox,
            reporter=self._reporter,
            on_token_refused=self._token_refused,
        )
        self._connections = Connections(
            parts, options, commands=self._commands, registered=self._registered
        )
        #: Set when it has ended, before its tasks are cancelled; and after it.
        self._over = asyncio.Event()
        self._ended = asyncio.Event()
        self._refused: asyncio.Future[None] | None = None
        self._running: asyncio.Task[None] | None = None
        self._started = False

    @property
    def agent_id(self) -> str:
        """The name that it registers with."""
        return self._register.agent_id

    @property
    def registered(self) -> bool:
        """Whether it is registered now."""
        return self._registered.is_set()

    @property
    def draining(self) -> bool:
        """Whether it refuses new sessions."""
        return self._commands.draining

    @property
    def sessions(self) -> frozenset[str]:
        """The ids of the sessions that it started or woke, and neither hibernated nor stopped."""
        return frozenset(self._commands.sessions)

    @property
    def errors(self) -> tuple[Exception, ...]:
        """The last 16 errors after which it continued, the newest at the end.

        Lost connections are among them, and what handlers raised.
        """
        return tuple(self._reporter.errors)

    @property
    def unsent(self) -> int:
        """How many messages wait to be sent to the control plane; at most 4096."""
        return len(self._outbox)

    def drain(self) -> None:
        """Start no more sessions: their commands fail with ``AGENT_DRAINING``.

        A published server is told so, too, by ``POST /agents/{agent_id}/heartbeat``: now, and after
        each heartbeat, because those say that the agent is online.
        """
        self._commands.draining = True
        self._connections.drain()

    def stop(self) -> None:
        """End :meth:`run`: take no new commands, and give those in flight the grace time."""
        self._commands.draining = self._commands.stopping = True
        self._connections.drain()
        self._stopping.set()

    def report_failed(self, session_id: AgentSession | str, reason: str) -> None:
        """Report that a session has ended although no command ended it.

        For a desktop that ended by itself, and for a session that ``on_registered`` names and that
        does not exist here. The document has no message for it; a control plane that does not know
        this one (``status``, vcloud's own, after the published server's) ignores it. In
        that case use ``client.sessions.ref(session_id).delete(force=True)``.

        Args:
            session_id: the session as ``on_registered`` has it, or its id.
            reason: for people; it becomes the session's ``status.message``.

        Raises:
            InvalidArgumentError: ``session_id`` is not an id, or ``reason`` is not a string: give
                ``str(error)``.
        """
        self._commands.report_failed(session_id, reason)

    async def wait_registered(self) -> None:
        """Wait until it is registered.

        Raises:
            ConfigurationError: it has ended before; :meth:`run` raises the reason.
        """
        await first_completed(self._registered.wait(), self._over.wait())
        if not self._registered.is_set():
            raise ConfigurationError("this agent has ended: its run() raises the reason")

    async def run(self) -> None:
        """Run the agent until :meth:`stop` is called.

        Cancelling it ends everything at once, without the grace time. At a published server a
        request of the agent's own that is in flight gets up to 5 seconds for its answer.

        Raises:
            AuthenticationError: the control plane does not accept the token.
            PermissionDeniedError: this user may not be an agent.
            NotFoundError: the control plane has no such socket.
            InvalidRequestError: it does not accept what the agent sends about itself.
            AgentRejectedError: it answered the registration with ``rejected``.
            ApprovalTimeoutError: no administrator approved it within ``approval_timeout``.
            DuplicateAgentError: on a published server, another process seems to use its name.
            UnsupportedError: it has a key, and the installation is a documented one; or the
                published server's filter refuses its name.
            ConfigurationError: it ran already, the client is closed, a published server needs its
                key, or the file of ``remember`` cannot be used.
        """
        if self._started:
            raise ConfigurationError("an agent runs once: call serve_agent() again for another")
        self._started = True
        # The client stops it when it closes.
        self._session.opened.add(self)
        within = WITHIN.set(self)
        refused = self._refused = asyncio.get_running_loop().create_future()
        connecting = asyncio.create_task(self._connections.run())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({connecting, stopping, refused}, return_when=asyncio.FIRST_COMPLETED)
            for ended in (refused, connecting):
                if ended.done():
                    ended.result()
            await self._finish(connecting)
        except PERMANENT_ERRORS as error:
            self._reporter.ended(error)
            raise
        finally:
            self._over.set()
            if not refused.cancel() and not refused.cancelled():
                # Retrieved, so that asyncio does not report it as never retrieved.
                refused.exception()
            await cancel_and_wait({connecting, stopping})
            await self._commands.cancel()
            await self._connections.end_viewers()
            await self._reporter.cancel()
            await self._connections.aclose()
            self._session.opened.discard(self)
            with suppress(ValueError):  # collected with its loop, in another context
                WITHIN.reset(within)
            self._ended.set()

    def make_urgent(self) -> None:
        """See :class:`~vcloud._core.cleanup.Opened`."""
        self.stop()

    async def end_with_client(self) -> None:
        """See :class:`~vcloud._core.cleanup.Opened`."""
        bound = self._session.cleanup_timeout
        with suppress(TimeoutError):
            async with timeout_running(bound):
                await self._ended.wait()
                return
        what = f"agent {self.agent_id} had not stopped after {bound:g} s, and loses its client"
        why = RequestTimeout("its commands took longer")
        raise left_behind(self._session.log, "streamspace", what, ids=[self.agent_id], why=why)

    async def __aenter__(self) -> Self:
        """Run in the background; return when it is registered. Raises what :meth:`run` raises."""
        running = self._running = asyncio.create_task(self.run())
        registered = asyncio.create_task(self._registered.wait())
        try:
            await asyncio.wait({running, registered}, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            await cancel_and_wait({running})
            raise
        finally:
            await cancel_and_wait({registered})
        if running.done():
            running.result()
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Stop, with the grace time unless the block was cancelled."""
        running = self._running
        assert running is not None
        self.stop()
        try:
            if not isinstance(error, asyncio.CancelledError):
                await asyncio.wait({running})
        finally:
            if not running.done():
                await cancel_and_wait({running})
        if error is None:
            running.result()
        elif not running.cancelled():
            # The block's own error is raised; this one is retrieved, so that asyncio does not
            # report it as never retrieved.
            running.exception()

    async def _finish(self, connecting: asyncio.Task[None]) -> None:
        await self._commands.finish(self._options.grace)
        await self._reporter.finish(self._options.grace)
        await self._connections.end_viewers()
        if self._outbox and not connecting.done():
            flushed = asyncio.create_task(self._outbox.wait_empty())
            try:
                with suppress(TimeoutError):
                    async with timeout_running(FLUSH_TIMEOUT):
                        await asyncio.wait(
                            {flushed, connecting}, return_when=asyncio.FIRST_COMPLETED
                        )
            finally:
                await cancel_and_wait({flushed})

    def _token_refused(self, error: AuthenticationError) -> None:
        """End the agent: its own socket would be refused next."""
        if self._refused is not None and not self._refused.done():
            self._refused.set_exception(error)

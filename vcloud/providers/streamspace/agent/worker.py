"""The agent's side of StreamSpace: what runs the sessions that the control plane asks for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import attrs

from vcloud._core.cleanup import WITHIN, left_behind
from vcloud._core.redaction.secretive import Secretive
from vcloud._core.retry import RetryPolicy
from vcloud._core.session import Session
from vcloud._core.tasks import cancel_and_wait, first_completed
from vcloud._core.timing.running_time import timeout_running
from vcloud.errors import (
    AuthenticationError,
    ConfigurationError,
    RequestTimeout,
    VCloudError,
)
from vcloud.providers.streamspace.agent.commands import Commands
from vcloud.providers.streamspace.agent.connection import HOPELESS, Connection
from vcloud.providers.streamspace.agent.handler import AgentHandler
from vcloud.providers.streamspace.agent.hooks import AgentHooks, Reporter
from vcloud.providers.streamspace.agent.messages import Register
from vcloud.providers.streamspace.agent.outbox import Outbox
from vcloud.providers.streamspace.agent.pictures import Pictures
from vcloud.providers.streamspace.agent.streak import DISPLACED, Streak

__all__ = ["AgentWorker"]

#: Seconds that the last results get to go out when the agent stops.
FLUSH: Final = 1.0


class AgentWorker(Secretive):
    """An agent: ``async with client.serve_agent(...) as worker``, or ``await client.serve_agent(...).run()``.

    It connects (``GET /agent/ws``, a WebSocket beside the API: see :attr:`Session.vnc_url`),
    registers, sends heartbeats as often as it is told, acknowledges each command at once, runs it
    in the handler, and answers what became of it. A command that comes twice runs once and is
    answered again; one that lacks something is answered with what it lacks. When the connection
    drops, commands go on; it is made anew with growing pauses, for as long as it takes, and what
    they came to is sent then. The pauses go on growing until a connection has lasted for a minute,
    so that two agents of one name do not displace each other for ever at full speed; the log says
    once that there seem to be two.

    It keeps to the ``max_sessions`` of its capacity: a start or a wake of one session more is
    answered as ``failed`` with ``AGENT_CAPACITY_EXCEEDED``, and the handler does not hear of it. A
    session counts from the moment that its start or wake is accepted, until it is stopped or
    hibernated; of sessions from before this process it knows nothing. Besides, at most 1024
    commands of each kind are under way at once (or ``max_sessions``, if that is more); what exceeds
    that gets the same answer. The README lists all bounds.

    The document names no authentication for this socket; the client's token is sent as for everything else. It does not
    say either how a session's picture travels between agent and control plane. Here (our decision) the agent answers a
    ``vnc_proxy_request`` by opening ``GET /agent/vnc/{proxy_id}``, a second WebSocket beside the API that carries
    the bytes of the VNC server in binary messages; if it cannot reach the server, it says ``vnc_proxy_error``.

    What happens to it stands in the log ``vcloud.streamspace.agent``: INFO when it is registered,
    WARNING for what it copes with, ERROR when it ends with an error or one of its hooks raised.

    Closing the client stops it as :meth:`stop` does. If it has not ended within ``cleanup_timeout``
    of the :class:`~vcloud.Endpoint`, the closing raises a :class:`~vcloud.CleanupError` that names
    it.

    Args:
        session: the client's.
        register: what it says of itself.
        handler: what it does.
        grace: seconds that commands under way get to finish when it stops.
        retry: how patiently it connects again; ``attempts`` does not count.
        hooks: what is told of its connection.
    """

    def __init__(
        self,
        session: Session,
        register: Register,
        handler: AgentHandler,
        *,
        grace: float,
        retry: RetryPolicy,
        hooks: AgentHooks,
    ) -> None:
        # Trying again is decided here, where there is no limit to it.
        self._session = session.with_options(retry=attrs.evolve(retry, attempts=1))
        self._register = register
        self._grace = grace
        self._retry = retry
        self._stopping = asyncio.Event()
        self._outbox = Outbox()
        self._reporter = Reporter(register.agent_id, hooks)
        trouble = self._reporter.trouble
        most = register.capacity.max_sessions if register.capacity is not None else None
        self._commands = Commands(register.agent_id, handler, self._outbox, trouble, most)
        self._pictures = Pictures(
            self._session, handler, self._outbox, trouble, self._token_refused
        )
        self._connection = Connection(
            session,
            self._session,
            register,
            outbox=self._outbox,
            commands=self._commands,
            pictures=self._pictures,
            reporter=self._reporter,
            retry=retry,
        )
        self._over = asyncio.Event()
        self._ended = asyncio.Event()
        self._refused: asyncio.Future[None] | None = None
        self._running: asyncio.Task[None] | None = None
        self._started = False

    # -- what its owner sees -------------------------------------------------------------------------------------------

    @property
    def agent_id(self) -> str:
        """The name that it registers with."""
        return self._register.agent_id

    @property
    def registered(self) -> bool:
        """Whether the control plane knows it now."""
        return self._connection.registered.is_set()

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
        """What went wrong and was coped with: lost connections, handlers that raised. The last at the end; bounded."""
        return tuple(self._reporter.errors)

    def drain(self) -> None:
        """Start no more sessions: what asks for one fails with ``AGENT_DRAINING``. Everything else goes on."""
        self._commands.draining = True

    def stop(self) -> None:
        """Let :meth:`run` come to its end: no new commands, those under way get the grace time."""
        self._commands.draining = self._commands.stopping = True
        self._stopping.set()

    def report_failed(self, session_id: str, reason: str) -> None:
        """Say that a session is over though no command ended it: nobody is behind it any more.

        For a desktop that ended by itself, and for a session that ``on_registered`` names and that is not here. The
        document has no message for it; a control plane that does not know this one (``status``, our decision after the
        published server's) ignores it. Then ``client.sessions.ref(session_id).delete(force=True)`` is left.

        Args:
            session_id: which.
            reason: for people; it becomes the session's ``status.message``.

        Raises:
            InvalidArgumentError: ``session_id`` is no id, or ``reason`` is no text: give ``str(error)``.
        """
        self._commands.report_failed(session_id, reason)

    async def wait_registered(self) -> None:
        """Wait until the control plane knows it.

        Raises:
            ConfigurationError: it has ended, and the control plane never did; :meth:`run` says why.
        """
        await first_completed(self._connection.registered.wait(), self._over.wait())
        if not self._connection.registered.is_set():
            raise ConfigurationError("this agent has ended: its run() says why")

    async def run(self) -> None:
        """Be an agent until :meth:`stop` is called. Cancelling it ends everything at once, without the grace time.

        Raises:
            AuthenticationError: the control plane does not accept the token.
            PermissionDeniedError: this user may not be an agent.
            NotFoundError: the control plane has no such socket.
            InvalidRequestError: it does not accept what the agent says of itself.
            AgentRejectedError: it answered the registration with ``rejected``.
            ConfigurationError: it ran already, or the client is closed.
        """
        if self._started:
            raise ConfigurationError("an agent runs once: call serve_agent() again for another")
        self._started = True
        # The client stops it when it closes.
        self._session.opened.add(self)
        within = WITHIN.set(self)
        refused = self._refused = asyncio.get_running_loop().create_future()
        link = asyncio.create_task(self._stay_linked())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({link, stopping, refused}, return_when=asyncio.FIRST_COMPLETED)
            for ended in (refused, link):
                if ended.done():
                    ended.result()
            await self._finish(link)
        except HOPELESS as error:
            self._reporter.ended(error)
            raise
        finally:
            self._over.set()
            if not refused.cancel() and not refused.cancelled():
                # Looked at, so that asyncio does not report it as lost.
                refused.exception()
            await cancel_and_wait({link, stopping})
            await self._commands.cancel()
            await self._pictures.cancel()
            await self._reporter.cancel()
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
        """Run in the background; returns when the control plane knows it. Raises what :meth:`run` raises."""
        running = self._running = asyncio.create_task(self.run())
        registered = asyncio.create_task(self._connection.registered.wait())
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
                await cancel_and_wait({running})
        if error is None:
            running.result()
        elif not running.cancelled():
            # The block's own error counts; this one must not be reported as one that nobody looked at.
            running.exception()

    async def _finish(self, link: asyncio.Task[None]) -> None:
        await self._commands.finish(self._grace)
        await self._reporter.finish(self._grace)
        await self._pictures.cancel()
        if self._outbox and not link.done():
            flushed = asyncio.create_task(self._outbox.wait_empty())
            try:
                with suppress(TimeoutError):
                    async with timeout_running(FLUSH):
                        await asyncio.wait({flushed, link}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await cancel_and_wait({flushed})

    # -- the connection ------------------------------------------------------------------------------------------------

    async def _stay_linked(self) -> None:
        streak = Streak(self._retry)
        while True:
            try:
                await self._connection.run()
            except HOPELESS:
                raise
            except VCloudError as error:
                registered = self._connection.registered_for
                displaced = streak.lost(registered)
                pause = streak.pause(self._session.entropy())
                self._reporter.lost(error, pause, known=registered is not None)
                if displaced:
                    self._reporter.displaced(DISPLACED, streak.lasted)
                await asyncio.sleep(pause)

    def _token_refused(self, error: AuthenticationError) -> None:
        """A picture's socket says what the agent's own would say next."""
        if self._refused is not None and not self._refused.done():
            self._refused.set_exception(error)

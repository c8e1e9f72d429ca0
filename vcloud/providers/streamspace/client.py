"""StreamSpace: sessions of containerised applications, and the agents that run them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack, overload

from vcloud._core.dialect import Dialect
from vcloud._core.hooks import Hook
from vcloud._core.instances import Instance
from vcloud._core.paging.pager import Pager
from vcloud._core.redaction.secretive import concealing
from vcloud._core.retry import RetryPolicy
from vcloud.providers.dialect import checked_dialect, dialect_of_environment
from vcloud.providers.streamspace.agent.handler import AgentHandler, check_handler
from vcloud.providers.streamspace.agent.hooks import AgentHooks
from vcloud.providers.streamspace.agent.options import agent_options
from vcloud.providers.streamspace.agent.registration import registration
from vcloud.providers.streamspace.agent.worker import AgentWorker
from vcloud.providers.streamspace.agents import Agents
from vcloud.providers.streamspace.calls import DialectName
from vcloud.providers.streamspace.dialects.tables import DOCUMENTED, PUBLISHED
from vcloud.providers.streamspace.errors import DIALECT
from vcloud.providers.streamspace.installation import (
    Installation,
    calls,
    calls_or_none,
    installation,
)
from vcloud.providers.streamspace.logins import LoginClient
from vcloud.providers.streamspace.models import (
    AgentCapacity,
    AgentSession,
    Platform,
    SessionState,
)
from vcloud.providers.streamspace.no_auth import NoAuth
from vcloud.providers.streamspace.session import Session as StreamSpaceSession
from vcloud.providers.streamspace.sessions import SessionRef, Sessions
from vcloud.providers.streamspace.templates import Templates
from vcloud.providers.streamspace.users import Users
from vcloud.providers.variables import STREAMSPACE

if TYPE_CHECKING:
    from vcloud._core.auth import Auth
    from vcloud._core.connections.aiohttp_compat import ClientSession
    from vcloud._core.endpoint import Endpoint
    from vcloud._core.endpoint_options import EndpointOptions
    from vcloud._core.environment import Variables
    from vcloud._core.session import Session

__all__ = ["StreamSpace"]


class StreamSpace(LoginClient):
    """The StreamSpace v2.0 API, with a token from :class:`~vcloud.BearerAuth`.

    It has no default address: give ``StreamSpace("https://HOST/api/v1", auth=...)``. Its other
    arguments are those of each provider's client, and ``dialect``. A client that only serves an
    agent of a published server needs no ``auth``; see :meth:`serve_agent`.

    StreamSpace's published server answers differently from its API document. The client serves
    both, and recognises which one it has; see :attr:`dialect`. Each method says what it does on
    either.

    The service limits requests: 5 logins, 10 new sessions and 100 others in a minute. The client
    reads from the answers how many are left, and waits instead of exceeding a limit.

    Args:
        dialect: ``"documented"``: the installation answers as the API document says;
            ``"published"``: as the published server does; None: it is recognised.

    Attributes:
        agents: the machines that run sessions.
        sessions: the running applications.
        templates: the applications that sessions can run.
        users: the users who can log in; for administrators.
    """

    _dialect: ClassVar[Dialect] = DIALECT
    _variables: ClassVar[Variables] = STREAMSPACE
    _instance_handle = SessionRef
    _own_arguments = ("dialect",)
    _without_auth: ClassVar[Auth | None] = NoAuth()

    agents: Agents
    sessions: Sessions
    templates: Templates
    users: Users

    @overload
    def __init__(
        self,
        endpoint: Endpoint,
        /,
        *,
        dialect: DialectName | None = None,
        client_session: ClientSession | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        *,
        endpoint: Endpoint,
        dialect: DialectName | None = None,
        client_session: ClientSession | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        base_url: str | None = None,
        *,
        auth: Auth = ...,
        dialect: DialectName | None = None,
        client_session: ClientSession | None = None,
        **options: Unpack[EndpointOptions],
    ) -> None: ...
    @concealing
    def __init__(self, *given: Any, dialect: Any = None, **options: Any) -> None:
        told = checked_dialect(dialect, "dialect")
        super().__init__(*given, **options)
        self._take(dialect=told)

    @classmethod
    @concealing
    def from_env(  # pyright: ignore[reportIncompatibleMethodOverride] - no option has this name
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        dialect: DialectName | None = None,
        client_session: ClientSession | None = None,
        **options: Unpack[EndpointOptions],
    ) -> Self:
        """A client with the address and the credentials of the environment.

        :meth:`VCloud.from_env` lists the variables.

        Args:
            environ: the variables; those of the process when left out.
            dialect: as for the class; it goes before ``VCLOUD_STREAMSPACE_DIALECT``.
            client_session: as for the class.
            options: as for the class.

        Raises:
            ConfigurationError: a variable is missing, or a value is invalid.
        """
        made = super().from_env(environ, client_session=client_session, **options)
        made._take(dialect=dialect_of_environment(environ, dialect, "dialect"))  # noqa: SLF001 - of this class
        return made

    def _take(self, **own: Any) -> None:
        dialect: DialectName | None = own.get("dialect")
        if dialect is not None:
            installation(self._session).tell(dialect)

    def _attach(self, session: Session) -> None:
        super()._attach(session)
        if session.installation is None:
            Installation(DOCUMENTED, PUBLISHED).attach(session)
        self.agents = Agents(session)
        self.sessions = Sessions(session)
        self.templates = Templates(session)
        self.users = Users(session)

    @property
    def dialect(self) -> DialectName | None:
        """How the installation answers; None: it is not known yet.

        ``"documented"`` is as StreamSpace's API document says, ``"published"`` as its published
        server does. It is what ``dialect=`` said; otherwise it is recognised before the first
        request that depends on it.
        """
        return found.name if (found := calls_or_none(self._session)) else None

    async def recognise(self) -> DialectName:
        """Find out now how the installation answers; see :attr:`dialect`.

        A client that logs in logs in, because the answer shows it. Otherwise, or where that does
        not show it, ``GET /version`` beside the API is asked, and then ``GET /auth/setup/status``;
        both without credentials. If it is known, nothing is sent.

        Raises:
            UnrecognisedError: the installation could not be asked.
            ConfigurationError: the base URL lacks ``/api/v1``; or ``dialect=`` is wrong.
            AuthenticationError: wrong user name or password.
        """
        return (await calls(self._session)).name

    def instances(self) -> Pager[Instance]:
        """Every session that has not ended, as an :class:`~vcloud.Instance`.  ``GET /sessions``"""
        return self.sessions.list(limit=100).map(_unless_ended)

    async def _ping(self, session: Session) -> None:
        await (await calls(session)).logins.ping(session)

    @concealing
    def serve_agent(
        self,
        agent_id: str | int,
        *,
        platform: Platform | str,
        handler: AgentHandler,
        region: str | None = None,
        capacity: AgentCapacity | None = None,
        metadata: Mapping[str, Any] | None = None,
        grace: timedelta | float = 30,
        retry: RetryPolicy | None = None,
        api_key: str | None = None,
        remember: str | os.PathLike[str] | None = None,
        approval_timeout: timedelta | float | None = None,
        on_registered: Hook[Sequence[AgentSession]] | None = None,
        on_lost: Hook[Exception] | None = None,
        on_error: Hook[Exception] | None = None,
        on_pending: Hook[str] | None = None,
    ) -> AgentWorker:
        """Run an agent, which runs sessions for the control plane.  ``GET /agent/ws`` (WebSocket)

        On a published server: ``POST /agents/register``, then ``GET /agents/connect`` (WebSocket).

        ::

            agent = streamspace.serve_agent("docker-01", platform="docker", handler=MyHandler())
            await agent.run()

        or, to do something else meanwhile, ``async with agent``; leaving the block stops it.

        Nothing is sent before it is entered or run.

        The same handler serves both kinds of installation. A published server knows an agent by
        its key, so a client without ``auth`` is enough to serve one. There a session's state
        changes by the agent's reports only: the worker reports each change, a start that failed as
        ``failed``, and after each registration the last state of every session, because commands
        made while the agent was away are lost. A session that was deleted meanwhile is then shown
        as running, and must be deleted again.

        The four hooks may be functions or coroutine functions. What they raise is logged, and the
        agent continues.

        Args:
            agent_id: the name to register with.
            platform: what it runs sessions on. A published server gives sessions only to agents of
                its own platform, which is ``kubernetes`` unless its operator set another. A WARNING
                says so for others.
            handler: carries the commands out.
            region: its region.
            capacity: how much it can take. Starts and wakes beyond ``max_sessions`` are answered
                as ``failed`` with ``AGENT_CAPACITY_EXCEEDED``. The other numbers are for the
                control plane, which places sessions.
            metadata: other properties of the agent; the keys depend on the platform.
            grace: how long commands in flight get to finish when it stops; seconds or timedelta.
                Time in which the event loop could not run does not count.
            retry: the pauses before it connects again (``base``, ``cap``); it tries without a
                limit. None: as the endpoint says.
            api_key: for a published server: the agent's own key, or the installation's bootstrap
                key; 64 hexadecimal digits. It is a secret. It is used throughout; the server goes
                on accepting the bootstrap key. Without it, a client certificate
                (``Endpoint(ssl=)``) may do instead.
            remember: a file in which the agent keeps the ids of the commands that it carried out,
                and the last state of each session. A command that is sent again to a restarted
                agent is then answered, and not repeated; one that was in flight when the process
                was killed has failed. The file is made for its owner alone, and serves one process.
                While it cannot be written (a full disk), ``on_error`` is called once, and commands
                continue. None: only this process is remembered.
            approval_timeout: how long to wait until an administrator of a published server approves
                a new agent; seconds or timedelta. None: without a limit.
            on_registered: is called after each registration, so after each reconnection too, with
                the sessions that the control plane has on this agent and that are not over (``GET
                /agents/{agent_id}``, one request). Any other session of the agent is an orphan:
                stop it, because nothing else will. Report a running session that the agent does not
                have with :meth:`AgentWorker.report_failed`.
                Until it returns, commands are acknowledged and wait, for 30 seconds at most; then
                it is cancelled, ``on_error`` is called, and commands continue. (While commands
                run, it could take a session that one of them starts for an orphan.) If the
                sessions cannot be read, ``on_error`` is called, commands continue, and they are
                requested again; not after a 403 or 404. It is cancelled when the connection is
                lost. No path of a published server lists an agent's sessions: there it is called
                with ``remember`` only (a WARNING says so), with the sessions that this agent has
                started since the file was made.
            on_lost: is called with the error when the connection of a registered agent is lost;
                the agent connects again by itself.
            on_error: is called with every error after which the agent continues, lost connections
                included: those that :attr:`AgentWorker.errors` keeps and the log has. While 64
                calls of hooks have not returned, it is not called.
            on_pending: is called with the ``agent_id`` each time that a published server answers
                that an administrator has to approve the agent; the agent asks again after 120
                seconds, and does not connect before. See ``AgentRef.approve``.

        Raises:
            InvalidArgumentError: an empty name, an unknown platform, a handler that lacks a
                method, a hook that is not a function, a grace time below zero, a ``max_sessions``
                below zero, a key that is none, or metadata, region or capacity that JSON cannot
                hold.
        """
        register = registration(
            agent_id, platform, region=region, capacity=capacity, metadata=metadata
        )
        check_handler(handler)
        hooks = AgentHooks(
            on_registered=on_registered, on_lost=on_lost, on_error=on_error, on_pending=on_pending
        )
        return AgentWorker(
            self._session,
            register,
            handler,
            options=agent_options(
                grace, retry or self._session.retry, api_key, remember, approval_timeout
            ),
            hooks=hooks,
        )


def _unless_ended(session: StreamSpaceSession) -> Instance | None:
    """A session as an instance; None if it has terminated."""
    return None if session.state == SessionState.TERMINATED else session.as_instance()

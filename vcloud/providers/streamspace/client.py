"""StreamSpace: sessions of containerised applications, and the agents that run them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from vcloud._core.arguments import text
from vcloud._core.client import Client
from vcloud._core.decoding.shape import Shape, plain
from vcloud._core.dialect import Dialect
from vcloud._core.hooks import Hook
from vcloud._core.instances import Instance
from vcloud._core.paging.pager import Pager
from vcloud._core.redaction.secretive import concealing
from vcloud._core.request import Request, query
from vcloud._core.retry import RetryPolicy
from vcloud.auth import BearerAuth
from vcloud.auth.bearer import login_request
from vcloud.errors import ConfigurationError, VCloudError
from vcloud.providers.streamspace.agent.handler import AgentHandler, check_handler
from vcloud.providers.streamspace.agent.hooks import AgentHooks
from vcloud.providers.streamspace.agent.options import agent_options
from vcloud.providers.streamspace.agent.registration import registration
from vcloud.providers.streamspace.agent.worker import AgentWorker
from vcloud.providers.streamspace.agents import Agents
from vcloud.providers.streamspace.calls import Calls, DialectName
from vcloud.providers.streamspace.dialects.documented import sessions as documented_sessions
from vcloud.providers.streamspace.dialects.documented import vnc as documented_vnc
from vcloud.providers.streamspace.dialects.published import sessions as published_sessions
from vcloud.providers.streamspace.dialects.published import vnc as published_vnc
from vcloud.providers.streamspace.errors import DIALECT
from vcloud.providers.streamspace.installation import Installation, calls, calls_or_none
from vcloud.providers.streamspace.models import (
    AgentCapacity,
    AgentSession,
    Login,
    LogoutAnswer,
    Platform,
    SessionState,
)
from vcloud.providers.streamspace.realtime.session_ref import VNCCalls
from vcloud.providers.streamspace.session import Session as StreamSpaceSession
from vcloud.providers.streamspace.session import SessionCalls
from vcloud.providers.streamspace.sessions import SessionRef, Sessions
from vcloud.providers.streamspace.templates import TEMPLATES, Templates
from vcloud.providers.streamspace.tokens import renew
from vcloud.providers.streamspace.users import Users
from vcloud.providers.variables import STREAMSPACE

if TYPE_CHECKING:
    from vcloud._core.environment import Variables
    from vcloud._core.session import Session

__all__ = ["StreamSpace"]

#: Any user may read the templates.
_PING: Final = Request("GET", "/templates", query({"page": 1, "limit": 1}), slot=False)


def _calls(name: DialectName, *, sessions: SessionCalls, vnc: VNCCalls) -> Calls:
    return Calls(name=name, sessions=sessions, vnc=vnc)


DOCUMENTED: Final = _calls("documented", sessions=documented_sessions, vnc=documented_vnc)
PUBLISHED: Final = _calls("published", sessions=published_sessions, vnc=published_vnc)
LOGIN: Final = plain(Login)
LOGOUT: Shape[LogoutAnswer, None] = Shape(LogoutAnswer, lambda wire, session, body: None)


class StreamSpace(Client):
    """The StreamSpace v2.0 API, with a token from :class:`~vcloud.BearerAuth`.

    It has no default address: give ``StreamSpace("https://HOST/api/v1", auth=...)``.

    The service limits requests: 5 logins, 10 new sessions and 100 others in a minute. The client
    reads from the answers how many are left, and waits instead of exceeding a limit.

    Attributes:
        agents: the machines that run sessions.
        sessions: the running applications.
        templates: the applications that sessions can run.
        users: the users who can log in; for administrators.
    """

    _dialect: ClassVar[Dialect] = DIALECT
    _variables: ClassVar[Variables] = STREAMSPACE
    _instance_handle = SessionRef
    #: The dialect that the user gave; None: none.
    _told: DialectName | None = None

    agents: Agents
    sessions: Sessions
    templates: Templates
    users: Users

    def _attach(self, session: Session) -> None:
        super()._attach(session)
        if session.installation is None:
            Installation(DOCUMENTED, PUBLISHED, self._told).attach(session)
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
        await session.fetch(_PING, TEMPLATES)

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
                lost. No path of a published server lists an agent's sessions: there it gets those
                that this agent itself started, with the states that it reported, also those of an
                earlier process with ``remember``.
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
            on_registered=on_registered,
            on_lost=on_lost,
            on_error=on_error,
            on_pending=on_pending,
        )
        return AgentWorker(
            self._session,
            register,
            handler,
            options=agent_options(
                grace=grace,
                retry=retry or self._session.retry,
                api_key=api_key,
                remember=remember,
                approval_timeout=approval_timeout,
            ),
            hooks=hooks,
        )

    @concealing
    async def login(self, username: str | None = None, password: str | None = None) -> Login:
        """Log in now, and use the new token from now on.  ``POST /auth/login``

        Optional: a client made with ``BearerAuth.login(username, password)`` logs in by itself when
        it needs a token.

        Args:
            username: the user to log in as; left out, the one that the client was made with.
            password: the password. Both are kept, to log in again when the token ends.

        Raises:
            InvalidArgumentError: one without the other, or an empty one.
            ConfigurationError: no user was given, here or when the client was made.
            AuthenticationError: wrong user name or password. Without arguments, also for 30
                seconds after the service said so; then nothing is sent.
            RateLimitError: there were five logins in a minute, and the next one is allowed too late
                to wait for it.
        """
        given = username is not None or password is not None
        request = (
            login_request(text(username or "", "username"), text(password or "", "password"))
            if given
            else self._bearer.credentials
        )
        if request is None:
            raise ConfigurationError(
                "there is no user to log in as: give username and password, or make the client with"
                " BearerAuth.login"
            )
        login = await self._fetch_login(request)
        self._bearer.adopt(
            login.token, login.expires_at, now=self._session.now(), credentials=request
        )
        self._session.credentials_changed()
        await self._bearer.share(now=self._session.now())
        return login

    async def _fetch_login(self, request: Request) -> Login:
        """Log in; with the client's own credentials only if they were not just refused."""
        own = self._session.auth
        if not isinstance(own, BearerAuth) or request is not own.credentials:
            return await self._session.fetch(request, LOGIN)
        own.check_login()
        try:
            return await self._session.fetch(request, LOGIN)
        except VCloudError as error:
            own.note_failed_login(error)
            raise

    async def logout(self) -> None:
        """End the token, at the service and here.  ``POST /auth/logout``

        The next request of a client that has a password logs in again. Without a token nothing is
        sent.

        Raises:
            AuthenticationError: a token that was given without a password has ended already.
        """
        if not self._bearer.has_token:
            return
        await self._session.fetch(Request("POST", "/auth/logout"), LOGOUT)
        self._bearer.forget()
        await self._bearer.share(now=self._session.now())

    async def refresh_token(self) -> Login:
        """Exchange the token for one that ends later, without a password.  ``POST /auth/refresh``

        The path is not in the API document, which says to log in again. The published server has it
        (from its source), and answers as it does to a login.

        Raises:
            AuthenticationError: the token has ended.
            NotFoundError: the server has only the documented paths.
        """
        return await renew(self._session)

    @property
    def _bearer(self) -> BearerAuth:
        auth = self._session.auth
        if not isinstance(auth, BearerAuth):
            raise ConfigurationError(
                f"login and logout need a client made with BearerAuth, not {type(auth).__name__}"
            )
        return auth


def _unless_ended(session: StreamSpaceSession) -> Instance | None:
    """A session as an instance; None if it has terminated."""
    return None if session.state == SessionState.TERMINATED else session.as_instance()

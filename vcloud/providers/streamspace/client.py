"""StreamSpace: sessions of containerised applications, and the agents that run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from vcloud._core.arguments import identifier, member, number_from_zero, seconds_from_zero, text
from vcloud._core.client import Client
from vcloud._core.decoding.shape import Shape, plain
from vcloud._core.hooks import Hook
from vcloud._core.instances import Instance
from vcloud._core.paging.pager import Pager
from vcloud._core.redaction.secretive import concealing
from vcloud._core.request import Request, json_body
from vcloud._core.retry import RetryPolicy
from vcloud.auth import BearerAuth
from vcloud.auth.bearer import login_request
from vcloud.errors import ConfigurationError, InvalidArgumentError, VCloudError
from vcloud.providers.streamspace.agent.handler import AgentHandler
from vcloud.providers.streamspace.agent.hooks import AgentHooks
from vcloud.providers.streamspace.agent.messages import Register
from vcloud.providers.streamspace.agent.worker import AgentWorker
from vcloud.providers.streamspace.agents import Agents
from vcloud.providers.streamspace.errors import DIALECT
from vcloud.providers.streamspace.models import (
    AgentCapacity,
    AgentSession,
    Login,
    LogoutAnswer,
    Platform,
)
from vcloud.providers.streamspace.sessions import Sessions, view
from vcloud.providers.streamspace.templates import Templates
from vcloud.providers.streamspace.users import Users
from vcloud.providers.streamspace.wire import bearer

if TYPE_CHECKING:
    from vcloud._core.session import Session

__all__ = ["StreamSpace"]

#: What a handler must have.
_HANDLES: Final = (
    "start_session",
    "hibernate_session",
    "wake_session",
    "stop_session",
    "vnc_address",
)

LOGIN: Final = plain(Login)
LOGOUT: Shape[LogoutAnswer, None] = Shape(LogoutAnswer, lambda wire, session, body: None)


class StreamSpace(Client):
    """The StreamSpace v2.0 API, with a token from :class:`~vcloud.BearerAuth`.

    It has no address of its own: give ``Endpoint("https://HOST/api/v1", auth=...)``.

    The service counts requests: 5 logins, 10 new sessions and 100 others in a minute. The client knows from the answers
    how many are left, and waits rather than run into the limit.

    Attributes:
        agents: what runs the sessions.
        sessions: the running applications.
        templates: what sessions can run.
        users: who may log in; for administrators.
    """

    dialect = DIALECT

    agents: Agents
    sessions: Sessions
    templates: Templates
    users: Users

    def _attach(self, session: Session) -> None:
        super()._attach(session)
        self.agents = Agents(session)
        self.sessions = Sessions(session)
        self.templates = Templates(session)
        self.users = Users(session)

    def instances(self) -> Pager[Instance]:
        """Every session that is not over, in the view that all providers share.  ``GET /sessions``"""
        return self.sessions.list(limit=100).map(view)

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
        on_registered: Hook[Sequence[AgentSession]] | None = None,
        on_lost: Hook[Exception] | None = None,
        on_error: Hook[Exception] | None = None,
    ) -> AgentWorker:
        """Be an agent: run sessions for the control plane.  ``GET /agent/ws`` (WebSocket)

        ::

            await streamspace.serve_agent("docker-host-01", platform="docker", handler=MyHandler()).run()

        or, to do something else meanwhile, ``async with``; leaving the block stops it.

        Nothing is sent before it is entered or run.

        Args:
            agent_id: the name to register with.
            platform: what it runs sessions on.
            handler: what carries the commands out.
            region: where it is.
            capacity: how much it can take. It keeps to ``max_sessions``: what exceeds that is answered as ``failed`` with
                ``AGENT_CAPACITY_EXCEEDED``. The other numbers are for the control plane, which places sessions.
            metadata: what else it says of itself; other keys for each platform.
            grace: how long commands under way get to finish when it stops; seconds or timedelta. Time
                in which the event loop could not run does not count.
            retry: how long it waits before it connects again (``base``, ``cap``); there is no limit to how often. None:
                as the endpoint says.
            on_registered: is called after each registration, so after each reconnection too, with the sessions that the
                control plane has on this agent and that are not over (``GET /agents/{agent_id}``, one request). What the
                agent has beyond them is an orphan, which nobody will stop; a running one that it has not is for
                :meth:`AgentWorker.report_failed`. Until it returns, commands are acknowledged and wait,
                for 30 seconds at most: then it is cancelled, because beside commands it could take a session that one
                of them starts for an orphan, ``on_error`` is told, and commands go on. If the sessions
                cannot be read, ``on_error`` is told why, commands go on, and it is tried again; not after a 403 or 404. It
                is cancelled when the connection is lost.
            on_lost: is called with the error when the connection of a registered agent is lost; it connects again by itself.
            on_error: is called with everything that goes wrong and that the agent copes with, lost connections included:
                what :attr:`AgentWorker.errors` keeps and the log says. While 64 calls of hooks have not returned, it is
                not called.
                All three may be functions or coroutine functions; what they raise is logged and harms nobody.

        Raises:
            InvalidArgumentError: an empty name, another platform, a handler that lacks a method, a hook that is no function,
                a grace time below zero, a ``max_sessions`` below zero, or metadata, region or capacity that JSON cannot hold.
        """
        if not isinstance(capacity, AgentCapacity | None):
            raise InvalidArgumentError(
                f"capacity must be an AgentCapacity, not {type(capacity).__name__}"
            )
        if capacity is not None and capacity.max_sessions is not None:
            number_from_zero(capacity.max_sessions, "max_sessions")
        register = Register(
            agent_id=text(identifier(agent_id, "agent_id"), "agent_id"),
            platform=member(platform, Platform, "platform"),
            region=region,
            capacity=capacity,
            metadata=None if metadata is None else dict(metadata),
        )
        missing = [name for name in _HANDLES if not callable(getattr(handler, name, None))]
        if missing:
            raise InvalidArgumentError(
                f"handler must be an AgentHandler; {type(handler).__name__} has no {', '.join(missing)}"
            )
        hooks = AgentHooks(on_registered=on_registered, on_lost=on_lost, on_error=on_error)
        return AgentWorker(
            self._session,
            register,
            handler,
            grace=seconds_from_zero(grace, "grace"),
            retry=retry or self._session.retry,
            hooks=hooks,
        )

    @concealing
    async def login(self, username: str | None = None, password: str | None = None) -> Login:
        """Log in now, and use this token from now on.  ``POST /auth/login``

        There is no need to: a client made with ``BearerAuth.login(username, password)`` logs in by itself when it must.

        Args:
            username: who to log in as; left out, whoever the client was made with.
            password: the password. Both are kept, to log in again with when the token ends.

        Raises:
            InvalidArgumentError: one without the other, or an empty one.
            ConfigurationError: nobody to log in as was given, here or when the client was made.
            AuthenticationError: wrong user name or password. Without arguments, also for 30 seconds
                after the service said so, and then nothing is sent.
            RateLimitError: five logins in a minute, and the next is too far off to wait for.
        """
        given = username is not None or password is not None
        request = (
            login_request(text(username or "", "username"), text(password or "", "password"))
            if given
            else self._bearer.credentials
        )
        if request is None:
            raise ConfigurationError(
                "nobody to log in as: give username and password, or make the client with BearerAuth.login"
            )
        login = await self._fetch_login(request)
        self._bearer.adopt(
            login.token, login.expires_at, now=self._session.now(), credentials=request
        )
        self._session.credentials_changed()
        return login

    async def _fetch_login(self, request: Request) -> Login:
        """Log in; with the client's own credentials only if they were not refused just now."""
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
        """Make the token worthless, at the service and here.  ``POST /auth/logout``

        A client that knows a password logs in again when it is used again. Without a token nothing is sent.

        Raises:
            AuthenticationError: a token that was given as it is has ended already.
        """
        if not self._bearer.has_token:
            return
        await self._session.fetch(Request("POST", "/auth/logout"), LOGOUT)
        self._bearer.forget()

    async def refresh_token(self) -> Login:
        """Exchange the token for one that lasts longer, without a password.  ``POST /auth/refresh``

        The path is not in the API document, which says to log in again; the published server has it (from its
        source), and answers in the same form as for a login.

        Raises:
            AuthenticationError: the token has ended.
            NotFoundError: the server only knows the document.
        """
        login = await self._session.fetch(_refresh_request(await bearer(self._session)), LOGIN)
        self._bearer.adopt(login.token, login.expires_at, now=self._session.now())
        self._session.credentials_changed()
        return login

    @property
    def _bearer(self) -> BearerAuth:
        auth = self._session.auth
        if not isinstance(auth, BearerAuth):
            raise ConfigurationError(
                f"logging in and out is for clients made with BearerAuth, not {type(auth).__name__}"
            )
        return auth


def _refresh_request(token: str) -> Request:
    return Request(
        "POST",
        "/auth/refresh",
        body=json_body({"token": token}),
        sensitive=True,
        authenticated=False,
    )

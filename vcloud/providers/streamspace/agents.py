"""Agents: the machines that run sessions. The handle, the fetched agent, the collection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Protocol

from attrs import field, frozen

from vcloud._core.arguments import identifier, member, optional_member, text
from vcloud._core.decoding.absent import often_absent
from vcloud._core.decoding.models import ListOf, MappingOf, NullAsEmpty, none_when_absent
from vcloud._core.decoding.shape import plain
from vcloud._core.paging.pager import Pager
from vcloud._core.resource import Collection, Handle, bind
from vcloud._core.scalars import Id, Instant, Seconds
from vcloud._core.session import Session
from vcloud.errors import InvalidArgumentError
from vcloud.providers.streamspace.agent_models import (
    AgentAction,
    AgentCommand,
    AgentKey,
    ApprovalStatus,
)
from vcloud.providers.streamspace.calls import Calls
from vcloud.providers.streamspace.installation import calls
from vcloud.providers.streamspace.models import (
    AgentCapacity,
    AgentSession,
    AgentStats,
    AgentStatus,
    AgentUpdate,
    Platform,
)
from vcloud.providers.streamspace.spelling import WireModel
from vcloud.providers.streamspace.wire import (
    Listing,
    PagedList,
    WholeList,
    listing,
    resource,
    resources,
)

__all__ = ["Agent", "AgentCalls", "AgentRef", "Agents"]

#: Characters of a session's id in a command; the published server takes no more.
MAX_SESSION: Final = 100


@frozen(kw_only=True)
class AgentRef(Handle, WireModel):
    """An agent by its ``agent_id``, the name that it registered with.

    It has a method for each action on the agent; no request is needed to make it.
    """

    _absent: ClassVar[Mapping[str, str]] = {
        "disable": "did you mean drain?",
        "enable": 'write set_status("online")',
        "new_key": "did you mean generate_key or rotate_key?",
        "online": 'write set_status("online")',
        "pause": "did you mean drain?",
        "undrain": 'write set_status("online")',
    }

    agent_id: str

    async def refresh(self) -> Agent:
        """Fetch the agent as it is now.

        ``GET /agents/{agent_id}``; on the published server ``GET /admin/agents/{agentId}``, for
        administrators.

        Raises:
            NotFoundError: there is no such agent.
            PermissionDeniedError: you are not an administrator, on the published server.
        """
        by: AgentCalls = (await calls(self._session)).agents
        return await by.fetch(self._session, self.agent_id)

    async def set_status(self, status: AgentStatus | str) -> AgentUpdate:
        """Say whether the agent takes new sessions.  ``PATCH /agents/{agent_id}``

        Args:
            status: ``online`` or ``draining``; the service itself sets ``offline`` when an agent
                disconnects.

        Raises:
            InvalidArgumentError: there is no such status.
            NotFoundError: there is no such agent.
            InvalidRequestError: the service does not know the status, or does not allow to set it.
            PermissionDeniedError: you are not an administrator.
            UnsupportedError: the published server has no way to do it; nothing was sent.
        """
        wanted = member(status, AgentStatus, "status")
        by: AgentCalls = (await calls(self._session)).agents
        return await by.set_status(self._session, self.agent_id, wanted)

    async def drain(self) -> AgentUpdate:
        """Give the agent no new sessions; running ones continue.  ``PATCH /agents/{agent_id}``

        Raises:
            NotFoundError: there is no such agent.
            PermissionDeniedError: you are not an administrator.
            UnsupportedError: the published server has no way to do it; nothing was sent.
        """
        return await self.set_status(AgentStatus.DRAINING)

    async def approve(self) -> AgentKey:
        """Let an agent in that registered with the bootstrap key, and make its own key.

        ``POST /admin/agents/{agentId}/approve``. Only the published server has this, like the five
        methods that follow; all are for administrators, and none is sent twice.

        Returns:
            the agent's key, which the server shows this once; give it to ``serve_agent(api_key=)``.

        Raises:
            NotFoundError: there is no such agent, or it is not pending: it was approved or rejected
                before.
            PermissionDeniedError: you are not an administrator.
            TransportError: with ``outcome_unknown``, when the answer was lost, and the key with it:
                :meth:`generate_key` makes another.
            UnsupportedError: the installation answers as the API document says, which has no way to
                do it; nothing was sent.
        """
        by: AgentCalls = (await calls(self._session)).agents
        return await by.approve(self._session, self.agent_id)

    async def reject(self) -> None:
        """Refuse an agent that registered with the bootstrap key.

        ``POST /admin/agents/{agentId}/reject``. Its registrations are refused from now on. The
        bootstrap key goes on to let it connect, as the server's source says. It raises what
        :meth:`approve` does.
        """
        by: AgentCalls = (await calls(self._session)).agents
        await by.reject(self._session, self.agent_id)

    async def generate_key(self) -> AgentKey:
        """Make a key for the agent; one that it had is valid no more.

        ``POST /admin/agents/{agentId}/generate-key``

        Raises:
            NotFoundError: there is no such agent.
            TransportError: with ``outcome_unknown``, when the answer was lost: make another.
            UnsupportedError: as for :meth:`approve`; PermissionDeniedError likewise.
        """
        by: AgentCalls = (await calls(self._session)).agents
        return await by.new_key(self._session, self.agent_id, rotated=False)

    async def rotate_key(self) -> AgentKey:
        """Replace the agent's key.  ``POST /admin/agents/{agentId}/rotate-key``

        It does what :meth:`generate_key` does and raises the same; the server's log says that the
        key was rotated.
        """
        by: AgentCalls = (await calls(self._session)).agents
        return await by.new_key(self._session, self.agent_id, rotated=True)

    async def command(
        self,
        action: AgentAction | str,
        session: str | None = None,
        *,
        payload: Mapping[str, Any] | None = None,
    ) -> AgentCommand:
        """Send the agent a command, past the sessions.  ``POST /admin/agents/{agentId}/command``

        For repairs: the server passes it on, and changes no session. An agent needs what it acts on
        in the payload.

        Args:
            action: what to do.
            session: the id of the session that the command is kept under.
            payload: what the agent gets with the action, plain JSON: ``sessionId`` and
                ``namespace``, and for a start all that a start has.

        Raises:
            InvalidArgumentError: an action, a session or a payload that is none; at most 100
                characters name a session.
            NotFoundError: there is no such agent.
            CapacityError: it is not connected; the server keeps no command for it.
            PermissionDeniedError: you are not an administrator.
            TransportError: with ``outcome_unknown``, when the answer was lost.
            UnsupportedError: as for :meth:`approve`.
        """
        wanted = member(action, AgentAction, "action")
        if session is not None and len(text(session, "session")) > MAX_SESSION:
            raise InvalidArgumentError(f"session has more than {MAX_SESSION} characters")
        if not isinstance(payload, Mapping | None):
            raise InvalidArgumentError(f"payload must be a mapping, not {payload!r:.200}")
        by: AgentCalls = (await calls(self._session)).agents
        return await by.command(
            self._session, self.agent_id, wanted, session_id=session, payload=payload
        )

    async def delete(self) -> None:
        """Remove the agent from the server's list.  ``DELETE /admin/agents/{agentId}``

        Its connection, if it has one, goes on until it ends.

        Raises:
            NotFoundError: there is no such agent.
            ConflictError: sessions refer to it; terminated ones do so, too.
            PermissionDeniedError: you are not an administrator.
            UnsupportedError: as for :meth:`approve`.
        """
        by: AgentCalls = (await calls(self._session)).agents
        await by.delete(self._session, self.agent_id)


@often_absent("uptime_seconds", "sessions", "approval_status", "approved_at", "approved_by")
@frozen(kw_only=True, field_transformer=none_when_absent)
class Agent(NullAsEmpty, AgentRef):
    """An agent as it was when it was fetched.

    The published server has no ``uptime_seconds`` and ``sessions``, but alone has the last three.

    Attributes:
        id: its UUID. Requests take ``agent_id`` instead.
        agent_id: the name that it registered with.
        platform: what it runs sessions on.
        region: its region.
        status: whether it takes new sessions.
        capacity: how much it can take, and has taken.
        metadata: other properties of the agent; the keys depend on the platform.
        websocket_conn_id: the id of its connection; None without a connection.
        last_heartbeat: the time of its last heartbeat; None without one.
        uptime_seconds: how long it has been up; None in a list.
        sessions: the sessions on it; empty in a list.
        created_at: when it first registered.
        updated_at: when it last changed.
        approval_status: whether an administrator has let it in; None but in a list.
        approved_at: when that was decided; None while it is pending.
        approved_by: the id of the user who decided; None while it is pending.
    """

    id: Id | None
    platform: Platform | None
    region: str | None
    status: AgentStatus | None
    capacity: AgentCapacity | None
    metadata: MappingOf[Any] = field(factory=dict, hash=False)
    websocket_conn_id: str | None
    last_heartbeat: Instant | None
    uptime_seconds: Seconds | None = None
    sessions: ListOf[AgentSession] = ()
    created_at: Instant | None
    updated_at: Instant | None
    approval_status: ApprovalStatus | None = None
    approved_at: Instant | None = None
    approved_by: str | None = None


@frozen(kw_only=True, eq=False, repr=False)
class AgentList(Listing):
    """``GET /agents``."""

    key: ClassVar[str] = "agents"

    agents: list[Agent] | None = None
    items: list[Agent] | None = None


AGENT = resource(Agent)
AGENTS = resources(AgentList, Agent)
AGENT_UPDATE = plain(AgentUpdate)
AGENT_STATS = plain(AgentStats)


class Agents(Collection):
    """The registered agents."""

    _absent: ClassVar[Mapping[str, str]] = {
        "create": "an agent registers itself: streamspace.serve_agent() runs one",
        "register": "an agent registers itself: streamspace.serve_agent() runs one",
        "statistics": "did you mean stats?",
    }

    def list(
        self,
        *,
        platform: Platform | str | None = None,
        status: AgentStatus | str | None = None,
        region: str | None = None,
        page: int | None = None,
        limit: int | None = None,
    ) -> Pager[Agent]:
        """List the agents that match all given filters.

        ``GET /agents``; on the published server ``GET /admin/agents``, for administrators. It sends
        all agents in one answer; there ``limit`` is the size of what :meth:`Pager.pages` yields.

        Args:
            platform: agents on this platform.
            status: agents with this status.
            region: agents in this region.
            page: the page to begin with; the first is 1. The published server has no pages.
            limit: agents per page, at most 100; the service's default is 20.

        Raises:
            InvalidArgumentError: a page or limit out of bounds, or an unknown platform or status.
            InvalidRequestError: the service does not know a value.
            PermissionDeniedError: you are not an administrator, on the published server.
            UnsupportedError: (at the first await or iteration) ``page``, or a value that the filter
                of the published server refuses; nothing was sent.
        """
        session = self._session
        filters = {
            "platform": optional_member(platform, Platform, "platform"),
            "status": optional_member(status, AgentStatus, "status"),
            "region": region,
        }

        def wanted(known: Calls) -> PagedList[Agent] | WholeList[Agent]:
            by: AgentCalls = known.agents
            return by.listed(session, filters)

        return listing(session, wanted, page=page, limit=limit)

    async def get(self, agent_id: AgentRef | str | int) -> Agent:
        """Fetch one agent, with its uptime and sessions: see :meth:`AgentRef.refresh`.

        Raises:
            NotFoundError: there is no such agent.
            PermissionDeniedError: you are not an administrator, on the published server.
        """
        return await self.ref(agent_id).refresh()

    def ref(self, agent_id: AgentRef | str | int) -> AgentRef:
        """A handle to act through, without asking the service.

        Raises:
            InvalidArgumentError: what is given cannot be an id.
        """
        known = identifier(agent_id, "agent_id", AgentRef, "agent_id")
        return bind(AgentRef(agent_id=known), self._session)

    async def stats(self) -> AgentStats:
        """Fetch the statistics of all agents.  ``GET /agents/stats``

        Raises:
            UnsupportedError: the published server has no way to do it; nothing was sent.
        """
        by: AgentCalls = (await calls(self._session)).agents
        return await by.stats(self._session)


class AgentCalls(Protocol):
    """What each dialect has a function for: the calls of :class:`Agents` and its handles."""

    async def fetch(self, session: Session, agent_id: str, /) -> Agent:
        """The agent as it is now."""
        ...

    def listed(
        self, session: Session, filters: Mapping[str, str | None], /
    ) -> PagedList[Agent] | WholeList[Agent]:
        """What to ask for the list of these agents."""
        ...

    async def set_status(self, session: Session, agent_id: str, status: str, /) -> AgentUpdate:
        """Say whether the agent takes new sessions."""
        ...

    async def stats(self, session: Session, /) -> AgentStats:
        """The statistics of all agents."""
        ...

    async def approve(self, session: Session, agent_id: str, /) -> AgentKey:
        """Let a pending agent in."""
        ...

    async def reject(self, session: Session, agent_id: str, /) -> None:
        """Refuse a pending agent."""
        ...

    async def new_key(self, session: Session, agent_id: str, /, *, rotated: bool) -> AgentKey:
        """Make another key."""
        ...

    async def command(
        self,
        session: Session,
        agent_id: str,
        action: str,
        /,
        *,
        session_id: str | None,
        payload: Mapping[str, Any] | None,
    ) -> AgentCommand:
        """Send the agent a command."""
        ...

    async def delete(self, session: Session, agent_id: str, /) -> None:
        """Remove an agent."""
        ...

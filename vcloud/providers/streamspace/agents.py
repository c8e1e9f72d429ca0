"""Agents: the machines that run sessions. The handle, the fetched agent, the collection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import field, frozen

from vcloud._core.arguments import identifier, member, optional_member
from vcloud._core.decoding.models import ListOf, MappingOf, NullAsEmpty, none_when_absent
from vcloud._core.decoding.shape import plain
from vcloud._core.paging.pager import Pager
from vcloud._core.request import Request, json_body, path_segment
from vcloud._core.resource import Collection, Handle, bind
from vcloud._core.scalars import Id, Instant, Seconds
from vcloud.providers.streamspace.models import (
    AgentCapacity,
    AgentSession,
    AgentStats,
    AgentStatus,
    AgentUpdate,
    Platform,
)
from vcloud.providers.streamspace.spelling import WireModel
from vcloud.providers.streamspace.wire import Listing, PagedList, listing, resource, resources

__all__ = ["Agent", "AgentRef", "Agents"]


@frozen(kw_only=True)
class AgentRef(Handle, WireModel):
    """An agent by its ``agent_id``, the name that it registered with.

    It has a method for each action on the agent; no request is needed to make it.
    """

    _absent: ClassVar[Mapping[str, str]] = {
        "disable": "did you mean drain?",
        "enable": 'write set_status("online")',
        "online": 'write set_status("online")',
        "pause": "did you mean drain?",
        "undrain": 'write set_status("online")',
    }

    agent_id: str

    async def refresh(self) -> Agent:
        """Fetch the agent as it is now.  ``GET /agents/{agent_id}``

        Raises:
            NotFoundError: there is no such agent.
        """
        return await self._session.fetch(Request("GET", self._path), AGENT)

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
        """
        body = json_body({"status": member(status, AgentStatus, "status")})
        return await self._session.fetch(Request("PATCH", self._path, body=body), AGENT_UPDATE)

    async def drain(self) -> AgentUpdate:
        """Give the agent no new sessions; running ones continue.  ``PATCH /agents/{agent_id}``

        Raises:
            NotFoundError: there is no such agent.
            PermissionDeniedError: you are not an administrator.
        """
        return await self.set_status(AgentStatus.DRAINING)

    @property
    def _path(self) -> str:
        return f"/agents/{path_segment(self.agent_id, 'agent_id')}"


@frozen(kw_only=True, field_transformer=none_when_absent)
class Agent(NullAsEmpty, AgentRef):
    """An agent as it was when it was fetched.

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
        """List the agents that match all given filters.  ``GET /agents``

        Args:
            platform: agents on this platform.
            status: agents with this status.
            region: agents in this region.
            page: the page to begin with; the first is 1.
            limit: agents per page, at most 100; the service's default is 20.

        Raises:
            InvalidArgumentError: a page or limit out of bounds, or an unknown platform or status.
            InvalidRequestError: the service does not know a value.
        """
        filters = {
            "platform": optional_member(platform, Platform, "platform"),
            "status": optional_member(status, AgentStatus, "status"),
            "region": region,
        }
        wanted = PagedList("/agents", AGENTS, filters)
        return listing(self._session, lambda _: wanted, page=page, limit=limit)

    async def get(self, agent_id: AgentRef | str | int) -> Agent:
        """Fetch one agent, with its uptime and sessions.  ``GET /agents/{agent_id}``

        Raises:
            NotFoundError: there is no such agent.
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
        """Fetch the statistics of all agents.  ``GET /agents/stats``"""
        return await self._session.fetch(Request("GET", "/agents/stats"), AGENT_STATS)

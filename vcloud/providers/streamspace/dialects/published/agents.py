"""Agents, as the published server reads and answers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, NoReturn

import msgspec
from msgspec import UnsetType

from vcloud._core.decoding.shape import Shape, plain
from vcloud._core.decoding.spelled import Spelled, spelled, spells
from vcloud._core.request import Request, drop_none, json_body
from vcloud._core.resources import Opened
from vcloud._core.scalars import Id, Instant, Integer
from vcloud._core.session import Session
from vcloud.providers.streamspace.agent_models import AgentAction, AgentCommand, AgentKey
from vcloud.providers.streamspace.agents import Agent, AgentList
from vcloud.providers.streamspace.dialects.published.answer import Answer, foreign
from vcloud.providers.streamspace.dialects.published.paths import segment
from vcloud.providers.streamspace.models import AgentCapacity, AgentStatus, Platform
from vcloud.providers.streamspace.refusals import check_query_value, unsupported
from vcloud.providers.streamspace.wire import Listing, WholeList, resource, resources


@spells(AgentCapacity)
class CapacityAnswer(Spelled, rename="camel", kw_only=True):
    """How much an agent can take, as it said."""

    optional: ClassVar = frozenset({"storage"})

    max_sessions: Integer | None = None
    cpu: str | None = None
    memory: str | None = None
    storage: str | None = None


@spells(Agent)
class AgentAnswer(Answer, rename="camel", kw_only=True):
    """An agent."""

    optional: ClassVar = frozenset(
        {
            "region",
            "capacity",
            "last_heartbeat",
            "websocket_conn_id",
            "metadata",
            "approved_at",
            "approved_by",
        }
    )

    id: Id
    agent_id: str
    platform: Platform | None = None
    region: str | None = None
    status: AgentStatus | None = None
    capacity: CapacityAnswer | None = None
    last_heartbeat: Instant | None = None
    websocket_conn_id: str | None = msgspec.field(default=None, name="websocketId")
    metadata: dict[str, Any] | None = None
    approval: str | None = msgspec.field(default=None, name="approvalStatus")
    approved_at: Instant | None = None
    approved_by: str | None = None
    created_at: Instant | None = None
    updated_at: Instant | None = None

    @property
    def approval_status(self) -> str | None:
        """It is empty in the answer for a single agent."""
        return self.approval or None


@spells(AgentList)
class AgentsAnswer(Answer, kw_only=True):
    """``GET /admin/agents``."""

    item_fields: ClassVar = ("agents",)

    agents: list[AgentAnswer] | None = None
    total: Integer | None = None
    documented: msgspec.Raw | UnsetType = foreign("pagination")


AGENT: Final = resource(spelled(Agent, AgentAnswer))
AGENTS: Final[Shape[Listing, Opened[Agent]]] = resources(spelled(AgentList, AgentsAnswer), Agent)


@spells(AgentKey)
class KeyAnswer(Spelled, rename="camel", kw_only=True):
    """The answer to an approval or a new key. What it says besides is for people."""

    optional: ClassVar = frozenset({"created_at"})
    unread: ClassVar = frozenset({"message", "warning", "usage", "rotated"})

    agent_id: str
    api_key: str
    created_at: Instant | None = None


@spells(AgentCommand)
class SentCommand(Spelled, rename="camel", kw_only=True):
    """``POST /admin/agents/{agentId}/command``"""

    optional: ClassVar = frozenset({"kept_under"})
    unread: ClassVar = frozenset(
        {"payload", "errorMessage", "sentAt", "acknowledgedAt", "completedAt"}
    )

    id: Id
    command_id: str
    agent_id: str | None = None
    kept_under: str | None = msgspec.field(default=None, name="sessionId")
    action: AgentAction | None = None
    status: str | None = None
    created_at: Instant | None = None

    @property
    def session_id(self) -> str | None:
        """It is empty without a session."""
        return self.kept_under or None


class DoneAnswer(Spelled, rename="camel", kw_only=True):
    """The answer to a change that says no more than that it was made."""

    message: str
    agent_id: str


KEY: Final = plain(spelled(AgentKey, KeyAnswer))
SENT: Final = plain(spelled(AgentCommand, SentCommand))
DONE: Final[Shape[DoneAnswer, None]] = Shape(DoneAnswer, lambda wire, session, body: None)


async def fetch(session: Session, agent_id: str) -> Agent:
    """``GET /admin/agents/{agentId}``"""
    return await session.fetch(Request("GET", _path(session, agent_id)), AGENT)


def listed(session: Session, filters: Mapping[str, str | None]) -> WholeList[Agent]:
    """``GET /admin/agents``"""
    for name, value in filters.items():
        if value:
            check_query_value(
                session, value, name, f"leave it out, and compare each agent's {name}"
            )
    # An empty value is none to the server.
    given = {name: value or None for name, value in filters.items()}
    return WholeList("/admin/agents", AGENTS, given)


async def set_status(session: Session, agent_id: str, status: str) -> NoReturn:  # noqa: ARG001
    """There is no path for it: an agent says so itself."""
    raise unsupported(
        session,
        "way to set an agent's status",
        "the agent's own program says so, as AgentWorker.drain() does",
    )


async def stats(session: Session) -> NoReturn:
    """There is no path for it."""
    raise unsupported(session, "statistics of its agents", "count what agents.list() yields")


async def approve(session: Session, agent_id: str) -> AgentKey:
    """``POST /admin/agents/{agentId}/approve``"""
    return await session.fetch(_keys(session, agent_id, "approve"), KEY)


async def reject(session: Session, agent_id: str) -> None:
    """``POST /admin/agents/{agentId}/reject``"""
    await session.fetch(Request("POST", _path(session, agent_id, "/reject")), DONE)


async def new_key(session: Session, agent_id: str, *, rotated: bool) -> AgentKey:
    """``POST /admin/agents/{agentId}/generate-key`` or ``/rotate-key``"""
    return await session.fetch(
        _keys(session, agent_id, "rotate-key" if rotated else "generate-key"), KEY
    )


async def command(
    session: Session,
    agent_id: str,
    action: str,
    *,
    session_id: str | None,
    payload: Mapping[str, Any] | None,
) -> AgentCommand:
    """``POST /admin/agents/{agentId}/command``"""
    body = drop_none(
        action=action, sessionId=session_id, payload=None if payload is None else dict(payload)
    )
    request = Request("POST", _path(session, agent_id, "/command"), body=json_body(body))
    return await session.fetch(request, SENT)


async def delete(session: Session, agent_id: str) -> None:
    """``DELETE /admin/agents/{agentId}``"""
    await session.fetch(Request("DELETE", _path(session, agent_id)), DONE)


def _keys(session: Session, agent_id: str, what: str) -> Request:
    """A request whose answer is a secret."""
    return Request("POST", _path(session, agent_id, f"/{what}"), sensitive=True)


def _path(session: Session, agent_id: str, rest: str = "") -> str:
    instead = "list() has it, and no other call reaches an id with / or .."
    return f"/admin/agents/{segment(session, agent_id, 'agent', instead)}{rest}"

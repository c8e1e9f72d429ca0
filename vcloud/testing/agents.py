"""Factories for the agents of StreamSpace, as clients see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypedDict, Unpack

from vcloud.providers.streamspace import (
    Agent,
    AgentAction,
    AgentCapacity,
    AgentCommand,
    AgentKey,
    AgentSession,
    AgentStats,
    AgentStatus,
    AgentUpdate,
    ApprovalStatus,
    Platform,
    SessionState,
    Utilization,
)
from vcloud.testing.building import EARLIER, NOW, checked, filled, new_number, new_uuid
from vcloud.testing.streamspace import AGENT, HOUR, TEMPLATE, USER


class AgentFields(TypedDict, total=False):
    """The fields of :func:`make_agent`."""

    agent_id: str
    id: str | None
    platform: Platform | str | None
    region: str | None
    status: AgentStatus | str | None
    capacity: AgentCapacity | None
    metadata: Mapping[str, Any]
    websocket_conn_id: str | None
    last_heartbeat: datetime | str | None
    uptime_seconds: timedelta | float | None
    sessions: Sequence[AgentSession]
    created_at: datetime | str | None
    updated_at: datetime | str | None
    approval_status: ApprovalStatus | str | None
    approved_at: datetime | str | None
    approved_by: str | None


def make_agent(**fields: Unpack[AgentFields]) -> Agent:
    """An agent as ``get`` returns it: one that takes new sessions, and has none.

    One that is ``offline`` has no connection.
    """
    given = checked("make_agent", AgentFields, fields)
    number = new_number("agent")
    status = given.setdefault("status", AgentStatus.ONLINE)
    online = status != AgentStatus.OFFLINE
    values = filled(
        given,
        agent_id=f"{AGENT}-{number + 1}" if number else AGENT,
        id=lambda: new_uuid("agent id", "550e8400"),
        platform=Platform.KUBERNETES,
        region="us-east-1",
        capacity=make_agent_capacity,
        metadata=lambda: {"cluster_name": "prod-k8s-cluster", "agent_version": "v2.0-beta.1"},
        websocket_conn_id=f"conn-{number:06d}" if online else None,
        last_heartbeat=NOW if online else NOW - HOUR,
        uptime_seconds=24 * HOUR if online else timedelta(),
        created_at=EARLIER,
        updated_at=NOW,
        approval_status=None,
        approved_at=None,
        approved_by=None,
    )
    return Agent(**values)


class AgentCapacityFields(TypedDict, total=False):
    """The fields of :func:`make_agent_capacity`."""

    max_cpu: float | None
    max_memory: float | None
    max_sessions: int | None
    current_sessions: int | None
    cpu: str | None
    memory: str | None
    storage: str | None


def make_agent_capacity(**fields: Unpack[AgentCapacityFields]) -> AgentCapacity:
    """How much an agent can take, with nothing on it, as the API document says it."""
    given = checked("make_agent_capacity", AgentCapacityFields, fields)
    values = filled(
        given,
        max_cpu=100.0,
        max_memory=256.0,
        max_sessions=100,
        current_sessions=0,
        cpu=None,
        memory=None,
        storage=None,
    )
    return AgentCapacity(**values)


class AgentKeyFields(TypedDict, total=False):
    """The fields of :func:`make_agent_key`."""

    agent_id: str
    api_key: str
    created_at: datetime | str | None


def make_agent_key(**fields: Unpack[AgentKeyFields]) -> AgentKey:
    """The key of an agent; one that no service takes."""
    given = checked("make_agent_key", AgentKeyFields, fields)
    return AgentKey(**filled(given, agent_id=AGENT, api_key="ab" * 32, created_at=NOW))


class AgentCommandFields(TypedDict, total=False):
    """The fields of :func:`make_agent_command`."""

    id: str | None
    command_id: str
    agent_id: str | None
    session_id: str | None
    action: AgentAction | str | None
    status: str | None
    created_at: datetime | str | None


def make_agent_command(**fields: Unpack[AgentCommandFields]) -> AgentCommand:
    """A command that an agent gets: to stop a session."""
    given = checked("make_agent_command", AgentCommandFields, fields)
    id = given.setdefault("id", new_uuid("command", "bb0e8400"))
    values = filled(
        given,
        command_id=f"cmd-{id}",
        agent_id=AGENT,
        session_id=f"{USER}-{TEMPLATE}-0000",
        action=AgentAction.STOP_SESSION,
        status="pending",
        created_at=NOW,
    )
    return AgentCommand(**values)


class AgentSessionFields(TypedDict, total=False):
    """The fields of :func:`make_agent_session`."""

    id: str | None
    name: str | None
    user: str | None
    template: str | None
    state: SessionState | str | None


def make_agent_session(**fields: Unpack[AgentSessionFields]) -> AgentSession:
    """A running session in the list of its agent."""
    given = checked("make_agent_session", AgentSessionFields, fields)
    values = filled(
        given,
        id=lambda: new_uuid("session", "770e8400"),
        name=f"{USER}-{TEMPLATE}-0000",
        user=USER,
        template=TEMPLATE,
        state=SessionState.RUNNING,
    )
    return AgentSession(**values)


class AgentUpdateFields(TypedDict, total=False):
    """The fields of :func:`make_agent_update`."""

    id: str | None
    agent_id: str
    status: AgentStatus | str
    updated_at: datetime | str | None


def make_agent_update(**fields: Unpack[AgentUpdateFields]) -> AgentUpdate:
    """The answer to a change of an agent's status: it drains."""
    given = checked("make_agent_update", AgentUpdateFields, fields)
    values = filled(
        given,
        id=lambda: new_uuid("agent id", "550e8400"),
        agent_id=AGENT,
        status=AgentStatus.DRAINING,
        updated_at=NOW,
    )
    return AgentUpdate(**values)


class AgentStatsFields(TypedDict, total=False):
    """The fields of :func:`make_agent_stats`."""

    total_agents: int
    online_agents: int | None
    offline_agents: int | None
    draining_agents: int | None
    by_platform: Mapping[str, int | None]
    total_capacity: AgentCapacity | None
    utilization: Utilization | None


def make_agent_stats(**fields: Unpack[AgentStatsFields]) -> AgentStats:
    """The statistics of two agents that have no sessions."""
    given = checked("make_agent_stats", AgentStatsFields, fields)
    values = filled(
        given,
        total_agents=2,
        online_agents=2,
        offline_agents=0,
        draining_agents=0,
        by_platform=lambda: {"kubernetes": 1, "docker": 1},
        total_capacity=AgentCapacity(max_sessions=150, current_sessions=0),
        utilization=make_utilization,
    )
    return AgentStats(**values)


class UtilizationFields(TypedDict, total=False):
    """The fields of :func:`make_utilization`."""

    percentage: float | None
    sessions_available: int | None


def make_utilization(**fields: Unpack[UtilizationFields]) -> Utilization:
    """The load of agents that have no sessions."""
    given = checked("make_utilization", UtilizationFields, fields)
    return Utilization(**filled(given, percentage=0.0, sessions_available=150))

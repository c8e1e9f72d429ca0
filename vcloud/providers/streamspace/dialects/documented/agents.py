"""Agents, as the API document says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from vcloud._core.request import Request, json_body, path_segment
from vcloud._core.session import Session
from vcloud.providers.streamspace.agents import AGENT, AGENT_STATS, AGENT_UPDATE, AGENTS, Agent
from vcloud.providers.streamspace.models import AgentStats, AgentUpdate
from vcloud.providers.streamspace.refusals import unsupported
from vcloud.providers.streamspace.wire import PagedList

_BY_TOKEN: Final = "its agents connect with your token and need no approval"  # noqa: S105 - words
_BY_SESSION: Final = "its sessions have methods for what an agent does"


async def fetch(session: Session, agent_id: str) -> Agent:
    """``GET /agents/{agent_id}``"""
    return await session.fetch(Request("GET", _path(agent_id)), AGENT)


def listed(
    session: Session,  # noqa: ARG001 - the signature of both dialects
    filters: Mapping[str, str | None],
) -> PagedList[Agent]:
    """``GET /agents``"""
    return PagedList("/agents", AGENTS, filters)


async def set_status(session: Session, agent_id: str, status: str) -> AgentUpdate:
    """``PATCH /agents/{agent_id}``"""
    request = Request("PATCH", _path(agent_id), body=json_body({"status": status}))
    return await session.fetch(request, AGENT_UPDATE)


async def stats(session: Session) -> AgentStats:
    """``GET /agents/stats``"""
    return await session.fetch(Request("GET", "/agents/stats"), AGENT_STATS)


async def approve(session: Session, agent_id: str) -> NoReturn:  # noqa: ARG001 - both dialects'
    """The document has no path for it."""
    raise unsupported(session, "approve() for agents", _BY_TOKEN)


async def reject(session: Session, agent_id: str) -> NoReturn:  # noqa: ARG001 - both dialects'
    """The document has no path for it."""
    raise unsupported(session, "reject() for agents", _BY_TOKEN)


async def new_key(session: Session, agent_id: str, *, rotated: bool) -> NoReturn:  # noqa: ARG001
    """The document has no path for it."""
    name = "rotate_key" if rotated else "generate_key"
    raise unsupported(session, f"{name}() for agents", _BY_TOKEN)


async def command(
    session: Session,
    agent_id: str,  # noqa: ARG001 - the signature of both dialects
    action: str,  # noqa: ARG001
    *,
    session_id: str | None,  # noqa: ARG001
    payload: Mapping[str, Any] | None,  # noqa: ARG001
) -> NoReturn:
    """The document has no path for it."""
    raise unsupported(session, "command() for agents", _BY_SESSION)


async def delete(session: Session, agent_id: str) -> NoReturn:  # noqa: ARG001 - both dialects'
    """The document has no path for it."""
    raise unsupported(session, "delete() for agents", "drain() it, and stop its program")


def _path(agent_id: str) -> str:
    return f"/agents/{path_segment(agent_id, 'agent_id')}"

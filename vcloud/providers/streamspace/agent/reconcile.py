"""What the control plane believes to run on an agent, for agents that compare it with what they have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vcloud._core.session import Session
from vcloud.errors import DecodeError
from vcloud.providers.streamspace.agents import Agents
from vcloud.providers.streamspace.models import AgentSession, SessionState

__all__ = ["assigned_sessions"]

_OVER: Final = frozenset({SessionState.TERMINATED, SessionState.FAILED})


async def assigned_sessions(session: Session, agent_id: str) -> Sequence[AgentSession]:
    """The sessions that are on this agent and not over.  ``GET /agents/{agent_id}``

    Raises:
        DecodeError: the answer does not say. That it says nothing must not pass for none: an agent
            may end what it has beyond these.
        VCloudError: as for any request.
    """
    agent = await Agents(session).get(agent_id)
    if agent.raw.get("sessions") is None:
        raise DecodeError(f"GET /agents/{agent_id} does not say which sessions are on the agent")
    return tuple(one for one in agent.sessions if one.state not in _OVER)

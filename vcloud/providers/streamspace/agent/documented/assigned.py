"""The sessions that the control plane has on an agent, for agents that compare them with theirs."""

from __future__ import annotations

from collections.abc import Sequence

from vcloud._core.session import Session
from vcloud.errors import DecodeError
from vcloud.providers.streamspace.agents import Agents
from vcloud.providers.streamspace.models import TERMINAL_STATES, AgentSession

__all__ = ["assigned_sessions"]


async def assigned_sessions(session: Session, agent_id: str) -> Sequence[AgentSession]:
    """The sessions on this agent that are not over.  ``GET /agents/{agent_id}``

    Raises:
        DecodeError: the answer has no sessions. It must not count as an empty list: an agent may
            end whatever it has beyond these.
        VCloudError: as for any request.
    """
    agent = await Agents(session).get(agent_id)
    if agent.raw.get("sessions") is None:
        raise DecodeError(f"GET /agents/{agent_id} does not say which sessions are on the agent")
    return tuple(one for one in agent.sessions if one.state not in TERMINAL_STATES)

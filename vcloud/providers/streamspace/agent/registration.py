"""What an agent sends about itself when it registers, from the arguments of ``serve_agent``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vcloud._core.arguments import identifier, member, number_from_zero, text
from vcloud._core.request import query
from vcloud.errors import InvalidArgumentError
from vcloud.providers.streamspace.agent.messages import Register
from vcloud.providers.streamspace.agent.writing import encode_message
from vcloud.providers.streamspace.models import AgentCapacity, Platform

__all__ = ["registration"]


def registration(
    agent_id: str | int,
    platform: Platform | str,
    *,
    region: str | None,
    capacity: AgentCapacity | None,
    metadata: Mapping[str, Any] | None,
) -> Register:
    """The message that registers an agent.

    Raises:
        InvalidArgumentError: an empty name, an unknown platform, an invalid capacity, or a value
            that JSON or an address cannot hold.
    """
    if not isinstance(capacity, AgentCapacity | None):
        raise InvalidArgumentError(
            f"capacity must be an AgentCapacity, not {type(capacity).__name__}"
        )
    if capacity is not None and capacity.max_sessions is not None:
        number_from_zero(capacity.max_sessions, "max_sessions")
    made = Register(
        agent_id=text(identifier(agent_id, "agent_id"), "agent_id"),
        platform=member(platform, Platform, "platform"),
        region=region,
        capacity=capacity,
        metadata=None if metadata is None else dict(metadata),
    )
    # What cannot be sent is refused here, not when the agent connects.
    query({"region": made.region})
    encode_message(made)
    return made

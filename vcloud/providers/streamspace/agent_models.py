"""What only the published server says of agents: their approval, their keys, commands to them."""

from __future__ import annotations

from attrs import field, frozen

from vcloud._core.decoding.models import none_when_absent
from vcloud._core.redaction.secretive import Secretive
from vcloud._core.scalars import Id, Instant, OpenEnum
from vcloud.providers.streamspace.spelling import WireModel

__all__ = ["AgentAction", "AgentCommand", "AgentKey", "ApprovalStatus"]


class ApprovalStatus(OpenEnum):
    """Whether an administrator of a published server has let an agent in."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


class AgentAction(OpenEnum):
    """What a command tells an agent to do."""

    START_SESSION = "start_session"
    STOP_SESSION = "stop_session"
    HIBERNATE_SESSION = "hibernate_session"
    WAKE_SESSION = "wake_session"


@frozen(kw_only=True, field_transformer=none_when_absent)
class AgentKey(WireModel, Secretive):
    """The key of an agent. It is a secret: no repr shows it, and it cannot be pickled.

    Attributes:
        agent_id: the agent.
        api_key: the key, 64 hexadecimal digits. The server does not show it again.
        created_at: when it was made; None when the service does not say.
    """

    agent_id: str
    api_key: str = field(repr=False)
    created_at: Instant | None = None


@frozen(kw_only=True, field_transformer=none_when_absent)
class AgentCommand(WireModel):
    """A command that the published server has passed on to an agent.

    Attributes:
        id: its UUID in the server's list.
        command_id: the id that the agent gets.
        agent_id: the agent.
        session_id: the session that it is kept under; None without one.
        action: what to do.
        status: ``pending``. In the builds that were seen it stays so.
        created_at: when it was made.
    """

    id: Id | None
    command_id: str
    agent_id: str | None
    session_id: str | None = None
    action: AgentAction | None
    status: str | None
    created_at: Instant | None

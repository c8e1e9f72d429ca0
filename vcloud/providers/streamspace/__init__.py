"""StreamSpace: the client, its resources and what they are made of.

Collections and handles come from a client; their constructors are not for users.
"""

from __future__ import annotations

from vcloud.providers.streamspace.agent.ending import (
    AgentRejectedError,
    ApprovalTimeoutError,
    DuplicateAgentError,
)
from vcloud.providers.streamspace.agent.handler import AgentHandler, CommandFailed, VNCAddress
from vcloud.providers.streamspace.agent.messages import (
    Command,
    CommandData,
    HibernateSession,
    SessionResult,
    StartData,
    StartSession,
    StopData,
    StopSession,
    VNCPort,
    VNCProxyData,
    VNCProxyRequest,
    WakeSession,
)
from vcloud.providers.streamspace.agent.worker import AgentWorker
from vcloud.providers.streamspace.agent_models import (
    AgentAction,
    AgentCommand,
    AgentKey,
    ApprovalStatus,
)
from vcloud.providers.streamspace.agents import Agent, AgentRef, Agents
from vcloud.providers.streamspace.client import StreamSpace
from vcloud.providers.streamspace.errors import (
    InvalidTransitionError,
    StreamSpaceCode,
    UnrecognisedError,
)
from vcloud.providers.streamspace.models import (
    AgentCapacity,
    AgentSession,
    AgentStats,
    AgentStatus,
    AgentUpdate,
    Login,
    LoginUser,
    Platform,
    Resources,
    SessionSort,
    SessionState,
    SessionStatus,
    SessionUpdate,
    SortOrder,
    StreamingProtocol,
    TemplateResources,
    TemplateVNC,
    UserQuota,
    UserRole,
    Utilization,
)
from vcloud.providers.streamspace.realtime.log_stream import LogStream
from vcloud.providers.streamspace.realtime.vnc_errors import (
    SessionStoppedError,
    StreamingProtocolError,
)
from vcloud.providers.streamspace.realtime.vnc_forward import VNCForward
from vcloud.providers.streamspace.realtime.vnc_tunnel import VNCTunnel
from vcloud.providers.streamspace.session import Session, SessionRef
from vcloud.providers.streamspace.sessions import Sessions
from vcloud.providers.streamspace.templates import Template, TemplateRef, Templates
from vcloud.providers.streamspace.users import User, Users

__all__ = [
    "Agent",
    "AgentAction",
    "AgentCapacity",
    "AgentCommand",
    "AgentHandler",
    "AgentKey",
    "AgentRef",
    "AgentRejectedError",
    "AgentSession",
    "AgentStats",
    "AgentStatus",
    "AgentUpdate",
    "AgentWorker",
    "Agents",
    "ApprovalStatus",
    "ApprovalTimeoutError",
    "Command",
    "CommandData",
    "CommandFailed",
    "DuplicateAgentError",
    "HibernateSession",
    "InvalidTransitionError",
    "LogStream",
    "Login",
    "LoginUser",
    "Platform",
    "Resources",
    "Session",
    "SessionRef",
    "SessionResult",
    "SessionSort",
    "SessionState",
    "SessionStatus",
    "SessionStoppedError",
    "SessionUpdate",
    "Sessions",
    "SortOrder",
    "StartData",
    "StartSession",
    "StopData",
    "StopSession",
    "StreamSpace",
    "StreamSpaceCode",
    "StreamingProtocol",
    "StreamingProtocolError",
    "Template",
    "TemplateRef",
    "TemplateResources",
    "TemplateVNC",
    "Templates",
    "UnrecognisedError",
    "User",
    "UserQuota",
    "UserRole",
    "Users",
    "Utilization",
    "VNCAddress",
    "VNCForward",
    "VNCPort",
    "VNCProxyData",
    "VNCProxyRequest",
    "VNCTunnel",
    "WakeSession",
]

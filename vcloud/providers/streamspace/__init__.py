"""StreamSpace: the client, its resources and what they are made of."""

from __future__ import annotations

from vcloud.providers.streamspace.agents import Agent, AgentRef, Agents
from vcloud.providers.streamspace.client import StreamSpace
from vcloud.providers.streamspace.errors import InvalidTransitionError, StreamSpaceCode
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
    TemplateResources,
    TemplateVNC,
    UserRole,
    Utilization,
)
from vcloud.providers.streamspace.sessions import Session, SessionRef, Sessions
from vcloud.providers.streamspace.templates import Template, TemplateRef, Templates
from vcloud.providers.streamspace.users import User, Users

__all__ = [
    "Agent",
    "AgentCapacity",
    "AgentRef",
    "AgentSession",
    "AgentStats",
    "AgentStatus",
    "AgentUpdate",
    "Agents",
    "InvalidTransitionError",
    "Login",
    "LoginUser",
    "Platform",
    "Resources",
    "Session",
    "SessionRef",
    "SessionSort",
    "SessionState",
    "SessionStatus",
    "SessionUpdate",
    "Sessions",
    "SortOrder",
    "StreamSpace",
    "StreamSpaceCode",
    "Template",
    "TemplateRef",
    "TemplateResources",
    "TemplateVNC",
    "Templates",
    "User",
    "UserRole",
    "Users",
    "Utilization",
]

"""The functions of both dialects, checked against what the collections and handles call."""

from __future__ import annotations

from typing import Final

from vcloud.providers.streamspace.agents import AgentCalls
from vcloud.providers.streamspace.calls import Calls, DialectName
from vcloud.providers.streamspace.dialects import documented, published
from vcloud.providers.streamspace.logins import LoginCalls
from vcloud.providers.streamspace.session import SessionCalls
from vcloud.providers.streamspace.templates import TemplateCalls
from vcloud.providers.streamspace.users import UserCalls

__all__ = ["DOCUMENTED", "PUBLISHED"]


def _calls(
    name: DialectName,
    *,
    sessions: SessionCalls,
    templates: TemplateCalls,
    users: UserCalls,
    agents: AgentCalls,
    logins: LoginCalls,
) -> Calls:
    return Calls(
        name=name, sessions=sessions, templates=templates, users=users, agents=agents, logins=logins
    )


DOCUMENTED: Final = _calls(
    "documented",
    sessions=documented.sessions,
    templates=documented.templates,
    users=documented.users,
    agents=documented.agents,
    logins=documented.logins,
)
PUBLISHED: Final = _calls(
    "published",
    sessions=published.sessions,
    templates=published.templates,
    users=published.users,
    agents=published.agents,
    logins=published.logins,
)

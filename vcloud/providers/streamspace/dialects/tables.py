"""The functions of both dialects, checked against what the collections and handles call."""

from __future__ import annotations

from typing import Final, NamedTuple

from vcloud.providers.streamspace.agents import AgentCalls
from vcloud.providers.streamspace.calls import Calls, DialectName
from vcloud.providers.streamspace.dialects import documented, published
from vcloud.providers.streamspace.logins import LoginCalls
from vcloud.providers.streamspace.realtime.session_ref import LogCalls, VNCCalls
from vcloud.providers.streamspace.session import SessionCalls
from vcloud.providers.streamspace.templates import TemplateCalls
from vcloud.providers.streamspace.users import UserCalls

__all__ = ["DOCUMENTED", "PUBLISHED"]


class _Checked(NamedTuple):
    """The fields of :class:`Calls`, with their types."""

    sessions: SessionCalls
    templates: TemplateCalls
    users: UserCalls
    agents: AgentCalls
    logs: LogCalls
    vnc: VNCCalls
    logins: LoginCalls


def _calls(name: DialectName, functions: _Checked) -> Calls:
    return Calls(name=name, **functions._asdict())


DOCUMENTED: Final = _calls(
    "documented",
    _Checked(
        sessions=documented.sessions,
        templates=documented.templates,
        users=documented.users,
        agents=documented.agents,
        logs=documented.logs,
        vnc=documented.vnc,
        logins=documented.logins,
    ),
)
PUBLISHED: Final = _calls(
    "published",
    _Checked(
        sessions=published.sessions,
        templates=published.templates,
        users=published.users,
        agents=published.agents,
        logs=published.logs,
        vnc=published.vnc,
        logins=published.logins,
    ),
)

"""The functions of one dialect: what each installation has a way for.

A call is a public method of a collection or a handle; a function in ``dialects/documented/``; and
one in ``dialects/published/``. The protocols beside the handles (``SessionCalls``) name these
functions. A module of plain functions is such an object.
"""

from __future__ import annotations

from typing import Any

import msgspec

from vcloud.providers.dialect import DialectName

__all__ = ["Calls", "DialectName"]


class Calls(msgspec.Struct, frozen=True, kw_only=True):
    """The functions of one dialect.

    The fields have no types here, because the functions make handles, and the modules of the
    handles import this one. ``dialects/tables.py`` checks them.

    Attributes:
        name: the dialect's.
        sessions: its functions for sessions, a ``SessionCalls``.
        templates: those for templates, a ``TemplateCalls``.
        users: those for users, a ``UserCalls``.
        agents: those for agents, an ``AgentCalls``.
        logs: those for a session's log, a ``LogCalls``.
        vnc: those for its VNC stream, a ``VNCCalls``.
        logins: those of the client itself, a ``LoginCalls``.
    """

    name: DialectName
    sessions: Any
    templates: Any
    users: Any
    agents: Any
    logs: Any
    vnc: Any
    logins: Any

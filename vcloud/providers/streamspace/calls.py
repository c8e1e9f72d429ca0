"""The functions of one dialect: what each installation has a way for.

A call is a public method of a collection or a handle; a function in ``dialects/documented/``; and
one in ``dialects/published/``. The protocols beside the handles (``SessionCalls``) name these
functions. A module of plain functions is such an object.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = ["Calls", "DialectName"]

DialectName = Literal["documented", "published"]


class Calls(msgspec.Struct, frozen=True, kw_only=True):
    """The functions of one dialect.

    The fields have no types here, because the functions make handles, and the modules of the
    handles import this one. ``client.py`` checks them.

    Attributes:
        name: the dialect's.
        sessions: its functions for sessions, a ``SessionCalls``.
        vnc: those for a session's VNC stream, a ``VNCCalls``.
    """

    name: DialectName
    sessions: Any
    vnc: Any

"""What each dialect has a function for. A module with these functions is such an object.

The collections and the handles know these protocols only, so the functions can make handles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from vcloud._core.session import Session

if TYPE_CHECKING:
    from vcloud.providers.streamspace.sessions import Session as StreamSpaceSession

__all__ = ["Calls", "DialectName", "SessionCalls"]

DialectName = Literal["documented", "published"]


class SessionCalls(Protocol):
    """The calls of :class:`Sessions` and of its handles."""

    async def fetch(self, session: Session, id: str, /) -> StreamSpaceSession:
        """The session as it is now."""
        ...


class Calls(msgspec.Struct, frozen=True):
    """The functions of one dialect.

    Attributes:
        name: the dialect's.
        sessions: its functions for sessions.
    """

    name: DialectName
    sessions: SessionCalls

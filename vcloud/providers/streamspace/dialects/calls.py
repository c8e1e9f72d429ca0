"""What each dialect has a function for. A module with these functions is such an object.

The collections and the handles know these protocols only, so the functions can make handles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from vcloud._core.session import Session

if TYPE_CHECKING:
    from vcloud.providers.streamspace.models import SessionUpdate
    from vcloud.providers.streamspace.realtime.vnc_tunnel import VNCSocket
    from vcloud.providers.streamspace.session import Session as StreamSpaceSession
    from vcloud.providers.streamspace.session_requests import NewSession, SessionFilters
    from vcloud.providers.streamspace.wire import PagedList, WholeList

__all__ = ["Calls", "DialectName", "SessionCalls", "VNCCalls"]

DialectName = Literal["documented", "published"]


class SessionCalls(Protocol):
    """The calls of :class:`Sessions` and of its handles."""

    async def fetch(self, session: Session, id: str, /) -> StreamSpaceSession:
        """The session as it is now."""
        ...

    async def find(self, session: Session, name: str, /) -> StreamSpaceSession | None:
        """The session with this name, or None."""
        ...

    async def create(self, session: Session, wanted: NewSession, /) -> StreamSpaceSession:
        """Create a session."""
        ...

    def listed(
        self, session: Session, filters: SessionFilters, /
    ) -> PagedList[StreamSpaceSession] | WholeList[StreamSpaceSession]:
        """What to ask for the list of these sessions."""
        ...

    async def hibernate(self, session: Session, id: str, /) -> SessionUpdate:
        """Hibernate a session."""
        ...

    async def wake(self, session: Session, id: str, /) -> SessionUpdate:
        """Wake a session."""
        ...

    async def terminate(self, session: Session, id: str, /) -> SessionUpdate:
        """End a session gracefully."""
        ...

    async def force_terminate(self, session: Session, id: str, /) -> SessionUpdate:
        """End a session at once."""
        ...

    async def delete(self, session: Session, id: str, /, *, force: bool) -> None:
        """End a session, in any state."""
        ...

    async def set_tags(
        self, session: Session, id: str, tags: tuple[str, ...], /
    ) -> tuple[str, ...]:
        """Replace a session's tags."""
        ...


class VNCCalls(Protocol):
    """What a session's handle does for its VNC stream.

    ``named`` is the address that the service named for the stream; None: it named none.
    """

    def url(self, session: Session, id: str, named: str | None, /) -> str:
        """The WebSocket address of the stream, not checked."""
        ...

    async def connect(
        self, session: Session, id: str, named: str | None, first_bytes: float, /
    ) -> VNCSocket:
        """The WebSocket of a tunnel, opened."""
        ...

    async def connect_url(self, session: Session, id: str, named: str | None, /) -> str:
        """The address with the token, for a browser."""
        ...


class Calls(msgspec.Struct, frozen=True):
    """The functions of one dialect.

    Attributes:
        name: the dialect's.
        sessions: its functions for sessions.
        vnc: those for a session's VNC stream.
    """

    name: DialectName
    sessions: SessionCalls
    vnc: VNCCalls

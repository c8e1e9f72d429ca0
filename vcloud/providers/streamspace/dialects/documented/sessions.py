"""Sessions, as the API document says."""

from __future__ import annotations

from vcloud._core.request import Request, path_segment
from vcloud._core.session import Session
from vcloud.providers.streamspace.sessions import SESSION
from vcloud.providers.streamspace.sessions import Session as StreamSpaceSession


async def fetch(session: Session, id: str) -> StreamSpaceSession:
    """``GET /sessions/{session_id}``"""
    return await session.fetch(Request("GET", f"/sessions/{path_segment(id)}"), SESSION)

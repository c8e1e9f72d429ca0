"""What a client does by itself, as the API document says."""

from __future__ import annotations

from typing import Final

from vcloud._core.request import Request, query
from vcloud._core.session import Session
from vcloud.providers.streamspace.logins import LOGOUT
from vcloud.providers.streamspace.templates import TEMPLATES

#: Any user may read the templates.
_PING: Final = Request("GET", "/templates", query({"page": 1, "limit": 1}), slot=False)


async def ping(session: Session) -> None:
    """``GET /templates``"""
    await session.fetch(_PING, TEMPLATES)


async def logout(session: Session) -> None:
    """``POST /auth/logout``"""
    await session.fetch(Request("POST", "/auth/logout"), LOGOUT)

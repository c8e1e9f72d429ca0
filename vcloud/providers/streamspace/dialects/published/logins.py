"""What a client does by itself, as the published server reads and answers it."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from vcloud._core.decoding.shape import plain
from vcloud._core.request import Request
from vcloud._core.session import Session
from vcloud.auth import BearerAuth
from vcloud.providers.streamspace.logins import LOGOUT


@frozen(kw_only=True)
class _Me:
    """``GET /users/me``: as much of it as shows that the service itself answers."""

    username: str


#: Its lists come whole, and from a cache.
_PING: Final = Request("GET", "/users/me", slot=False)
_ME: Final = plain(_Me)
_STAYS: Final = (
    "%s: the server does not end the token at a logout: it is forgotten here, and valid %s"
)


async def ping(session: Session) -> None:
    """``GET /users/me``"""
    await session.fetch(_PING, _ME)


async def logout(session: Session) -> None:
    """``POST /auth/logout``, which does not end the token."""
    await session.fetch(Request("POST", "/auth/logout"), LOGOUT)
    ends = session.auth.expires_at if isinstance(session.auth, BearerAuth) else None
    until = "for as long as the server says" if ends is None else f"until {ends.isoformat()}"
    session.log.info(_STAYS, session.base_url, until)

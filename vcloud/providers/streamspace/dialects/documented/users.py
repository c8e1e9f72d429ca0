"""Users, as the API document says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from vcloud._core.redaction.secretive import concealing
from vcloud._core.request import Request, json_body
from vcloud._core.session import Session
from vcloud.providers.streamspace.refusals import unsupported
from vcloud.providers.streamspace.users import USER, USERS, User
from vcloud.providers.streamspace.wire import PagedList


def listed(
    session: Session,  # noqa: ARG001 - the signature of both dialects
    role: str | None,
) -> PagedList[User]:
    """``GET /users``"""
    return PagedList("/users", USERS, {"role": role})


async def me(session: Session) -> NoReturn:
    """The document has no path for it."""
    raise unsupported(session, "users.me()", "login() returns the user who logged in")


@concealing
async def create(session: Session, fields: Mapping[str, Any], *, full_name: str | None) -> User:
    """``POST /users``"""
    if full_name is not None:
        raise unsupported(session, "full_name= for users.create()", "leave it out")
    request = Request("POST", "/users", body=json_body(fields), sensitive=True)
    return await session.fetch(request, USER)

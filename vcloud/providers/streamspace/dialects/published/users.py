"""Users, as the published server reads and answers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vcloud._core.redaction.secretive import concealing
from vcloud._core.request import Request, json_body
from vcloud._core.session import Session
from vcloud.providers.streamspace.dialects.published.models import USER, USERS
from vcloud.providers.streamspace.refusals import check_query_value
from vcloud.providers.streamspace.users import User
from vcloud.providers.streamspace.wire import WholeList

_ME: Final = Request("GET", "/users/me")


def listed(session: Session, role: str | None) -> WholeList[User]:
    """``GET /users``"""
    if role is not None:
        check_query_value(session, role, "role", "leave it out, and compare each user's role")
    return WholeList("/users", USERS, {"role": role})


async def me(session: Session) -> User:
    """``GET /users/me``"""
    return await session.fetch(_ME, USER)


@concealing
async def create(session: Session, fields: Mapping[str, Any], *, full_name: str | None) -> User:
    """``POST /users``"""
    body = json_body({**fields, "fullName": full_name or fields["username"]})
    return await session.fetch(Request("POST", "/users", body=body, sensitive=True), USER)

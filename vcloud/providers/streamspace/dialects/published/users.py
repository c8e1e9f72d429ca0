"""Users, as the published server reads and answers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import msgspec
from msgspec import UnsetType

from vcloud._core.decoding.shape import Shape
from vcloud._core.decoding.spelled import Spelled, spelled, spells
from vcloud._core.redaction.secretive import concealing
from vcloud._core.request import Request, json_body
from vcloud._core.resources import Opened
from vcloud._core.scalars import Id, Instant, Integer
from vcloud._core.session import Session
from vcloud.providers.streamspace.dialects.published.answer import Answer, foreign
from vcloud.providers.streamspace.models import UserQuota, UserRole
from vcloud.providers.streamspace.refusals import check_query_value
from vcloud.providers.streamspace.users import User, UserList
from vcloud.providers.streamspace.wire import Listing, WholeList, resource, resources


@spells(UserQuota)
class QuotaAnswer(Spelled, rename="camel", kw_only=True):
    """The ``quota`` of a user."""

    unread: ClassVar = frozenset({"userId", "username", "createdAt", "updatedAt"})

    max_sessions: Integer | None = None
    max_cpu: str | None = None
    max_memory: str | None = None
    max_storage: str | None = None
    used_sessions: Integer | None = None
    used_cpu: str | None = None
    used_memory: str | None = None
    used_storage: str | None = None


@spells(User)
class UserAnswer(Answer, rename="camel", kw_only=True):
    """A user. ``GET /users/me`` adds the quota and the groups."""

    optional: ClassVar = frozenset({"last_login", "quota", "groups"})
    unread: ClassVar = frozenset({"orgId", "orgRole"})

    id: Id
    username: str | None = None
    email: str | None = None
    full_name: str | None = None
    role: UserRole | None = None
    provider: str | None = None
    active: bool | None = None
    created_at: Instant | None = None
    updated_at: Instant | None = None
    last_login: Instant | None = None
    quota: QuotaAnswer | None = None
    groups: tuple[str, ...] | None = None
    documented: msgspec.Raw | UnsetType = foreign("created_at")


@spells(UserList)
class UsersAnswer(Answer, kw_only=True):
    """``GET /users``."""

    item_fields: ClassVar = ("users",)

    users: list[UserAnswer] | None = None
    total: Integer | None = None
    documented: msgspec.Raw | UnsetType = foreign("pagination")


USER: Final = resource(spelled(User, UserAnswer))
USERS: Final[Shape[Listing, Opened[User]]] = resources(spelled(UserList, UsersAnswer), User)

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

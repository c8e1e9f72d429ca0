"""Users: who can log in. For administrators only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from attrs import frozen

from vcloud._core.arguments import member, optional_member, text
from vcloud._core.decoding.models import none_when_absent
from vcloud._core.paging.pager import Pager
from vcloud._core.redaction.secretive import concealing
from vcloud._core.request import Request, json_body
from vcloud._core.resource import Collection, Handle
from vcloud._core.scalars import Id, Instant
from vcloud.providers.streamspace.models import UserRole
from vcloud.providers.streamspace.spelling import WireModel
from vcloud.providers.streamspace.wire import Listing, PagedList, listing, resource, resources

__all__ = ["User", "Users"]


@frozen(kw_only=True, field_transformer=none_when_absent)
class User(Handle, WireModel):
    """A user as it was when it was fetched. The service has no action on a user.

    Attributes:
        id: the user's UUID.
        username: the name to log in with.
        email: the email address.
        role: the user's role.
        active: whether the user can log in; None when the service does not say.
        created_at: when it was created.
        last_login: the time of the last login; None without one, or when the service does not say.
    """

    id: Id
    username: str | None
    email: str | None
    role: UserRole | None
    active: bool | None
    created_at: Instant | None
    last_login: Instant | None = None


@frozen(kw_only=True, eq=False, repr=False)
class UserList(Listing):
    """``GET /users``."""

    key: ClassVar[str] = "users"

    users: list[User] | None = None
    items: list[User] | None = None


USER = resource(User)
USERS = resources(UserList, User)


class Users(Collection):
    """The users."""

    _absent: ClassVar[Mapping[str, str]] = {
        "get": "the API fetches no single user: list() has them",
        "ref": "the API fetches no single user: list() has them",
    }

    def list(
        self,
        *,
        role: UserRole | str | None = None,
        page: int | None = None,
        limit: int | None = None,
    ) -> Pager[User]:
        """List the users that match the filter.  ``GET /users``

        Args:
            role: users with this role.
            page: the page to begin with; the first is 1.
            limit: users per page; the service's default is 20. The document names no maximum.

        Raises:
            InvalidArgumentError: a page or limit out of bounds, or an unknown role.
            InvalidRequestError: the service does not know the role.
            PermissionDeniedError: you are not an administrator.
        """
        wanted = PagedList("/users", USERS, {"role": optional_member(role, UserRole, "role")})
        return listing(self._session, lambda _: wanted, page=page, limit=limit, maximum=None)

    @concealing
    async def create(
        self, username: str, email: str, password: str, *, role: UserRole | str = UserRole.USER
    ) -> User:
        """Create a user; the request is never sent twice.  ``POST /users``

        Args:
            username: the name to log in with.
            email: the email address.
            password: the password; it is hidden in errors, logs and reprs.
            role: the user's role.

        Raises:
            InvalidArgumentError: one of them is empty, or the role is unknown.
            InvalidRequestError: the service does not accept a value.
            ConflictError: there is a user of that name.
            PermissionDeniedError: you are not an administrator.
            TransportError: with ``outcome_unknown``, when the answer was lost: the user may exist.
        """
        return await self._session.fetch(_create_request(username, email, password, role), USER)


def _create_request(username: str, email: str, password: str, role: UserRole | str) -> Request:
    body = {
        "username": text(username, "username"),
        "email": text(email, "email"),
        "password": text(password, "password"),
        "role": member(role, UserRole, "role"),
    }
    return Request("POST", "/users", body=json_body(body), sensitive=True)

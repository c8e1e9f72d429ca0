"""Users: who can log in. For administrators only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from attrs import frozen

from vcloud._core.arguments import member, optional_member, text
from vcloud._core.decoding.absent import often_absent
from vcloud._core.decoding.models import ListOf, NullAsEmpty, none_when_absent
from vcloud._core.paging.pager import Pager
from vcloud._core.redaction.secretive import concealing
from vcloud._core.resource import Collection, Handle
from vcloud._core.scalars import Id, Instant
from vcloud._core.session import Session
from vcloud.providers.streamspace.calls import Calls
from vcloud.providers.streamspace.installation import calls
from vcloud.providers.streamspace.models import UserQuota, UserRole
from vcloud.providers.streamspace.spelling import WireModel
from vcloud.providers.streamspace.wire import (
    Listing,
    PagedList,
    WholeList,
    listing,
    resource,
    resources,
)

__all__ = ["User", "UserCalls", "Users"]


@often_absent("full_name", "provider", "updated_at", "quota", "groups")
@frozen(kw_only=True, field_transformer=none_when_absent)
class User(NullAsEmpty, Handle, WireModel):
    """A user as it was when it was fetched. The service has no action on a user.

    Only the published server has the last five fields.

    Attributes:
        id: the user's UUID.
        username: the name to log in with.
        email: the email address.
        role: the user's role.
        active: whether the user can log in; None when the service does not say.
        created_at: when it was created.
        last_login: the time of the last login; None without one, or when the service does not say.
        full_name: the user's name for people.
        provider: who vouches for the user: ``local``, ``saml`` or ``oidc``.
        updated_at: when it last changed.
        quota: what the sessions may take together; None but from :meth:`Users.me`.
        groups: the ids of the user's groups; empty but from :meth:`Users.me`.
    """

    id: Id
    username: str | None
    email: str | None
    role: UserRole | None
    active: bool | None
    created_at: Instant | None
    last_login: Instant | None = None
    full_name: str | None = None
    provider: str | None = None
    updated_at: Instant | None = None
    quota: UserQuota | None = None
    groups: ListOf[str] = ()


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
        "current": "did you mean me?",
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

        The published server sends all of them in one answer; there ``limit`` is the size of what
        :meth:`Pager.pages` yields.

        Args:
            role: users with this role.
            page: the page to begin with; the first is 1. The published server has no pages.
            limit: users per page; the service's default is 20. The document names no maximum.

        Raises:
            InvalidArgumentError: a page or limit out of bounds, or an unknown role.
            InvalidRequestError: the service does not know the role.
            PermissionDeniedError: you are not an administrator.
            UnsupportedError: (at the first await or iteration) ``page``, or a role that the filter
                of the published server refuses; nothing was sent.
        """
        session, given = self._session, optional_member(role, UserRole, "role")

        def wanted(known: Calls) -> PagedList[User] | WholeList[User]:
            by: UserCalls = known.users
            return by.listed(session, given)

        return listing(session, wanted, page=page, limit=limit, maximum=None)

    async def me(self) -> User:
        """Fetch the user who is logged in, with quota and groups.  ``GET /users/me``

        Only the published server has this. The quota is what the server keeps for the user; when a
        session is created it enforces another one, 5 sessions with 4 cores and 8 GiB together,
        whatever this says.

        Raises:
            UnsupportedError: the installation answers as the API document says, which has no way to
                do it; nothing was sent.
        """
        by: UserCalls = (await calls(self._session)).users
        return await by.me(self._session)

    @concealing
    async def create(
        self,
        username: str,
        email: str,
        password: str,
        *,
        role: UserRole | str = UserRole.USER,
        full_name: str | None = None,
    ) -> User:
        """Create a user; the request is never sent twice.  ``POST /users``

        Args:
            username: the name to log in with.
            email: the email address.
            password: the password; it is hidden in errors, logs and reprs.
            role: the user's role.
            full_name: the user's name for people; None: the username. Only the published server has
                it, and requires it.

        Raises:
            InvalidArgumentError: one of them is empty, or the role is unknown.
            InvalidRequestError: the service does not accept a value.
            ConflictError: there is a user of that name, or with that email address.
            PermissionDeniedError: you are not an administrator.
            TransportError: with ``outcome_unknown``, when the answer was lost: the user may exist.
            UnsupportedError: ``full_name``, and the installation answers as the API document says;
                nothing was sent.
        """
        fields = {
            "username": text(username, "username"),
            "email": text(email, "email"),
            "password": text(password, "password"),
            "role": member(role, UserRole, "role"),
        }
        named = None if full_name is None else text(full_name, "full_name")
        by: UserCalls = (await calls(self._session)).users
        return await by.create(self._session, fields, full_name=named)


class UserCalls(Protocol):
    """What each dialect has a function for: the calls of :class:`Users`."""

    def listed(self, session: Session, role: str | None, /) -> PagedList[User] | WholeList[User]:
        """What to ask for the list of these users."""
        ...

    async def me(self, session: Session, /) -> User:
        """The user who is logged in."""
        ...

    async def create(
        self, session: Session, fields: Mapping[str, Any], /, *, full_name: str | None
    ) -> User:
        """Create a user of these fields."""
        ...

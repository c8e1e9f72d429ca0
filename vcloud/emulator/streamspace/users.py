"""Who may use the service: logging in and out, and its users."""

from __future__ import annotations

import hmac

from vcloud.emulator.streamspace.api import Route, StreamSpaceRequest, TableEntry
from vcloud.emulator.streamspace.arguments import (
    Json,
    StreamSpaceError,
    invalid,
    one_of,
    paginate,
    query_choice,
    required,
)
from vcloud.emulator.streamspace.catalog import ROLES
from vcloud.emulator.streamspace.control.fleet import Fleet
from vcloud.emulator.streamspace.state import User
from vcloud.emulator.streamspace.views import login_view, new_user_view, user_view


class Users:
    """``/auth`` and ``/users``."""

    def __init__(self, fleet: Fleet) -> None:
        """Serve the users of `fleet`."""
        self._fleet = fleet

    def routes(self) -> tuple[TableEntry, ...]:
        """Method, path and route of each operation."""
        return (
            ("POST", "/auth/login", Route(self._login, bucket="login", public=True)),
            ("POST", "/auth/refresh", Route(self._refresh, public=True)),
            ("POST", "/auth/logout", Route(self._logout)),
            ("GET", "/users", Route(self._list_users)),
            ("POST", "/users", Route(self._create_user, 201)),
        )

    def _login(self, request: StreamSpaceRequest) -> Json:
        body = request.json()
        username, password = required(body, "username"), required(body, "password")
        user = self._fleet.users.get(username)
        expected = "" if user is None else user.password
        right = hmac.compare_digest(
            password.encode(errors="replace"), expected.encode(errors="replace")
        )
        if user is None or not user.active or not right:
            raise StreamSpaceError("AUTH_INVALID_CREDENTIALS", "Invalid username or password")
        user.last_login = self._fleet.clock.now()
        return login_view(*self._token(user), self._fleet.clock)

    def _refresh(self, request: StreamSpaceRequest) -> Json:
        # Not in the document, but on the published server.
        return login_view(
            *self._token(self._fleet.user_of(required(request.json(), "token"))), self._fleet.clock
        )

    def _token(self, user: User) -> tuple[str, User, float]:
        token, ends = self._fleet.tokens.issue(user)
        return token, user, ends

    def _logout(self, request: StreamSpaceRequest) -> Json:
        self._fleet.tokens.revoke(request.token)
        return {"message": "Logout successful"}

    def _list_users(self, request: StreamSpaceRequest) -> Json:
        request.require_admin()
        role = query_choice(request.query, "role", ROLES)
        found = [
            user_view(user, self._fleet.clock)
            for user in self._fleet.users.values()
            if role in (None, user.role)
        ]
        page, where = paginate(found, request.query, maximum=None)
        return {"users": page, "pagination": where}

    def _create_user(self, request: StreamSpaceRequest) -> Json:
        request.require_admin()
        body = request.json()
        username, email, password = (
            required(body, name) for name in ("username", "email", "password")
        )
        role = one_of(body, "role", ROLES, "user")
        if "@" not in email:
            raise invalid("email", "must be an address")
        if username in self._fleet.users:
            raise StreamSpaceError("USER_ALREADY_EXISTS", f"A user named '{username}' exists")
        return new_user_view(
            self._fleet.add_user(username, password, email=email, role=role), self._fleet.clock
        )

"""The logins of the published StreamSpace."""

from __future__ import annotations

import hmac

from vcloud.emulator.streamspace.published.api import PublishedRequest, Route, TableEntry
from vcloud.emulator.streamspace.published.reading import BodyError, Field, read
from vcloud.emulator.streamspace.published.refusals import Json, PublishedError
from vcloud.emulator.streamspace.published.space import Space
from vcloud.emulator.streamspace.published.views import login_view, user_view, whole_user_view

_LOGIN = (
    Field(name="username", go="Username", required=True),
    Field(name="password", go="Password", required=True),
)
_REFRESH = (Field(name="token", go="Token", required=True),)


class Logins:
    """``/auth``."""

    def __init__(self, space: Space) -> None:
        """Let the users of `space` in."""
        self._space = space

    def routes(self) -> tuple[TableEntry, ...]:
        """Method, path and route of each operation."""
        return (
            ("POST", "/auth/login", Route(handler=self._login, public=True)),
            ("POST", "/auth/refresh", Route(handler=self._refresh, public=True)),
            ("POST", "/auth/logout", Route(handler=self._logout, public=True)),
            ("GET", "/auth/setup/status", Route(handler=self._setup_status, public=True)),
        )

    def _login(self, request: PublishedRequest) -> Json:
        try:
            body = read(request.content, "models.LoginRequest", _LOGIN)
        except BodyError as error:
            raise PublishedError(400, "Invalid request body") from error
        space = self._space
        user = space.user_named(body["username"])
        expected = "" if user is None else user.password
        right = hmac.compare_digest(
            body["password"].encode(errors="replace"), expected.encode(errors="replace")
        )
        if user is None or not right or not user.active or space.without_database:
            raise PublishedError(401, "Invalid credentials")
        view = user_view(user, space.clock)
        user.last_login = user.updated_at = space.clock.now()
        return login_view(*space.tokens.issue(user), view)

    def _refresh(self, request: PublishedRequest) -> Json:
        try:
            body = read(request.content, "auth.RefreshTokenRequest", _REFRESH)
        except BodyError as error:
            raise PublishedError(400, "Invalid request", message=str(error)) from error
        space = self._space
        # It looks at the signature and the end only, so that it renews an ended login.
        user = space.user_with_id(space.tokens.owner_to_refresh(body["token"]))
        if user is None or space.without_database:
            raise PublishedError(500, "Failed to get user data")
        return login_view(*space.tokens.issue(user), whole_user_view(user, space.clock))

    def _logout(self, _: PublishedRequest) -> Json:
        # The token stays valid.
        return {"message": "Logged out successfully"}

    def _setup_status(self, _: PublishedRequest) -> Json:
        return {
            "setupRequired": False,
            "adminExists": True,
            "hasPassword": True,
            "message": "Setup wizard disabled - admin account is already configured",
        }

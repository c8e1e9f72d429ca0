"""The users of the published StreamSpace."""

from __future__ import annotations

import re
from typing import Final

from vcloud.emulator.streamspace.published.api import PublishedRequest, Route, TableEntry
from vcloud.emulator.streamspace.published.catalog import PROVIDERS, ROLES
from vcloud.emulator.streamspace.published.reading import BodyError, Field, read
from vcloud.emulator.streamspace.published.refusals import Json, PublishedError
from vcloud.emulator.streamspace.published.space import Space
from vcloud.emulator.streamspace.published.state import User
from vcloud.emulator.streamspace.published.views import (
    new_user_view,
    quota_view,
    user_view,
    whole_user_view,
)

_NEW: Final = (
    Field(name="username", go="Username", required=True),
    Field(name="email", go="Email", required=True, email=True),
    Field(name="fullName", go="FullName", required=True),
    Field(name="password", go="Password"),
    Field(name="role", go="Role"),
    Field(name="provider", go="Provider"),
)
_CHANGE: Final = (
    Field(name="email", go="Email"),
    Field(name="fullName", go="FullName"),
    Field(name="role", go="Role"),
    Field(name="active", go="Active", kind="bool"),
)
_USERNAME: Final = re.compile(r"[A-Za-z0-9_-]{3,50}")
_LONGEST_NAME: Final = 200
_SPECIAL: Final = "!@#$%^&*()_+-=[]{}|;:,.<>?"
_SHORTEST_PASSWORD: Final = 8
_WEAK: Final = (
    "Password must be at least 8 characters with uppercase, lowercase, number, "
    "and special character"
)
_NEEDED: Final = "Password is required for local authentication"
_DUPLICATE: Final = "duplicate key value violates unique constraint"
_CLASSES: Final = (
    re.compile(r"[A-Z]"),
    re.compile(r"[a-z]"),
    re.compile(r"[0-9]"),
    re.compile(f"[{re.escape(_SPECIAL)}]"),
)


class Users:
    """``/users``."""

    def __init__(self, space: Space) -> None:
        """Serve the users of `space`."""
        self._space = space

    def routes(self) -> tuple[TableEntry, ...]:
        """Method, path and route of each operation. Every user may use them."""
        one = "/users/{user_id}"
        return (
            ("GET", "/users", Route(handler=self._list)),
            ("POST", "/users", Route(handler=self._create, status=201)),
            ("GET", "/users/me", Route(handler=self._me)),
            ("GET", "/users/me/quota", Route(handler=self._my_quota)),
            ("GET", one, Route(handler=self._get)),
            ("GET", f"{one}/quota", Route(handler=self._quota)),
            ("PATCH", one, Route(handler=self._change)),
            ("DELETE", one, Route(handler=self._delete)),
        )

    def _list(self, request: PublishedRequest) -> Json:
        query = request.query
        found = [
            user_view(one, self._space.clock)
            for one in self._space.users.values()
            if query.get("role", "") in ("", one.role)
            and query.get("provider", "") in ("", one.provider)
            and (query.get("active") != "true" or one.active)
        ]
        return {"total": len(found), "users": found}

    def _me(self, request: PublishedRequest) -> Json:
        return whole_user_view(request.user, self._space.clock)

    def _my_quota(self, request: PublishedRequest) -> Json:
        return quota_view(request.user, self._space.clock)

    def _quota(self, request: PublishedRequest) -> Json:
        user = self._space.user_with_id(request.params["user_id"])
        if user is None:
            raise PublishedError(404, "Quota not found", message="user not found")
        return quota_view(user, self._space.clock)

    def _get(self, request: PublishedRequest) -> Json:
        return whole_user_view(self._found(request), self._space.clock)

    def _create(self, request: PublishedRequest) -> Json:
        try:
            body = read(request.content, "models.CreateUserRequest", _NEW)
        except BodyError as error:
            raise PublishedError(400, "Invalid request format", details=str(error)) from error
        if wrong := _wrong(body):
            raise PublishedError(400, "Validation failed", fields=wrong)
        space = self._space
        for name, taken in (
            ("username", body["username"] in space.users),
            ("email", body["email"] in {one.email for one in space.users.values()}),
        ):
            if taken:
                message = f'failed to create user: pq: {_DUPLICATE} "users_{name}_key"'
                raise PublishedError(500, "Failed to create user", message=message)
        user = space.new_user(
            body["username"],
            body["password"] or "",
            email=body["email"],
            full_name=body["fullName"],
            role=body["role"] or "user",
            provider=body["provider"] or "local",
        )
        return new_user_view(user, space.clock)

    def _change(self, request: PublishedRequest) -> Json:
        try:
            body = read(request.content, "models.UpdateUserRequest", _CHANGE)
        except BodyError as error:
            raise PublishedError(400, "Invalid request", message=str(error)) from error
        space, user = self._space, self._space.user_with_id(request.params["user_id"])
        if user is None:
            raise PublishedError(500, "Failed to fetch updated user", message="user not found")
        if body["email"] in {one.email for one in space.users.values() if one is not user}:
            message = f'pq: {_DUPLICATE} "users_email_key"'
            raise PublishedError(500, "Failed to update user", message=message)
        names = {"email": "email", "fullName": "full_name", "role": "role", "active": "active"}
        given = {names[name]: value for name, value in body.items() if value is not None}
        for name, value in given.items():
            # Past the check of words: the server takes any role here.
            object.__setattr__(user, name, value)
        if given:
            user.updated_at = space.clock.now()
        return whole_user_view(user, space.clock)

    def _delete(self, request: PublishedRequest) -> Json:
        # One that is not there is as good as deleted.
        user = self._space.user_with_id(request.params["user_id"])
        if user is not None:
            del self._space.users[user.username]
        return {"message": "User deleted successfully"}

    def _found(self, request: PublishedRequest) -> User:
        user = self._space.user_with_id(request.params["user_id"])
        if user is None:
            raise PublishedError(404, "User not found", message="user not found")
        return user


def _wrong(body: Json) -> dict[str, str]:
    """What is wrong with the fields of a new user, by field."""
    wrong: dict[str, str] = {}
    if not _USERNAME.fullmatch(body["username"]):
        wrong["username"] = (
            "Username must be 3-50 characters, alphanumeric with hyphens/underscores only"
        )
    if len(body["fullName"]) > _LONGEST_NAME:
        wrong["fullname"] = f"Must be at most {_LONGEST_NAME} characters"
    password = body["password"] or ""
    if password and not (
        len(password) >= _SHORTEST_PASSWORD and all(one.search(password) for one in _CLASSES)
    ):
        wrong["password"] = _WEAK
    for name, words in (("role", ROLES), ("provider", PROVIDERS)):
        if (body[name] or words[0]) not in words:
            wrong[name] = f"Must be one of: {' '.join(words)}"
    if not wrong and not password and (body["provider"] or "local") == "local":
        wrong["password"] = _NEEDED
    return wrong

"""Users: the visitors that machines are assigned to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from attrs import frozen

from vcloud._core.arguments import text
from vcloud._core.decoding.models import none_when_absent
from vcloud._core.request import Request, drop_none, json_body, path_segment
from vcloud._core.resource import Handle, IdCollection
from vcloud.errors import InvalidArgumentError
from vcloud.providers.vagon import DONE
from vcloud.providers.vagon_resources import resource

__all__ = ["User", "UserRef", "Users"]


@frozen(kw_only=True)
class UserRef(Handle):
    """A user by the id that :meth:`Users.create` returned."""

    _absent: ClassVar[Mapping[str, str]] = {
        "refresh": "the API fetches no visitors: create() returns all fields",
    }

    id: str = ""

    async def delete(self) -> None:
        """Delete the visitor record.  ``DELETE /users/{user_id}``

        Raises:
            NotFoundError: there is no such user.
        """
        await self._session.fetch(Request("DELETE", f"/users/{path_segment(self.id)}"), DONE)


@frozen(kw_only=True, field_transformer=none_when_absent)
class User(UserRef):
    """A user as it was when it was created. The service has no endpoint that fetches one.

    Attributes:
        id: the ``user_id`` of an assignment.
        email: the email address; None or empty if it was created without one.
    """

    email: str | None


USER = resource(User)


class Users(IdCollection[UserRef]):
    """The visitors."""

    _absent: ClassVar[Mapping[str, str]] = {
        "get": "the API lists no visitors: keep what create() returns, or its id for ref(id)",
        "list": "the API lists no visitors: keep what create() returns, or its id for ref(id)",
    }

    _handle = UserRef

    async def create(self, email: str | None = None) -> User:
        """Create a visitor, to assign machines to; never sent twice.  ``POST /users``

        Args:
            email: shows the visitor in the statistics; optional. The document allows an empty text,
                so that is sent as it is.

        Raises:
            InvalidArgumentError: the email is neither empty nor an address.
            InvalidRequestError: the service does not accept it (400).
            TransportError: with ``outcome_unknown`` if the answer was lost: the user may exist.
        """
        if email and "@" not in text(email, "email"):
            raise InvalidArgumentError(
                f"email must be an address, empty or None, not {email!r:.80}"
            )
        return await self._session.fetch(
            Request("POST", "/users", body=json_body(drop_none(email=email))), USER
        )

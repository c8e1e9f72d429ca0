"""The bearer token itself, for addresses and bodies that hold it."""

from __future__ import annotations

from vcloud._core.redaction.secretive import concealing
from vcloud._core.request import Request
from vcloud._core.session import Session
from vcloud.errors import ConfigurationError

__all__ = ["bearer"]


@concealing
async def bearer(session: Session) -> str:
    """The client's token. If it has none yet, it obtains one.

    Raises:
        ConfigurationError: the client does not use :class:`~vcloud.BearerAuth`, or it was logged
            out and has no password to log in with again.
    """
    headers = await session.authenticate(Request("GET", "/"))
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or not token:
        raise ConfigurationError("this needs a token: make the client with BearerAuth")
    return token

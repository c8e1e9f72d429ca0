"""The bearer token itself, for addresses and bodies that hold it."""

from __future__ import annotations

from typing import Final

from vcloud._core.decoding.shape import plain
from vcloud._core.redaction.secretive import concealing
from vcloud._core.request import Request
from vcloud._core.session import Session
from vcloud.auth import BearerAuth
from vcloud.auth.logins import refresh_request
from vcloud.errors import ConfigurationError
from vcloud.providers.streamspace.models import Login
from vcloud.providers.streamspace.recognition import REFRESH
from vcloud.providers.streamspace.refusals import refused_by_filter

__all__ = ["bearer", "query_bearer", "renew"]

_LOGIN: Final = plain(Login)
#: How often a token is renewed for an address. The published server's filter refuses about one
#: token in seven, so that all of these are refused once in five million times.
MAX_RENEWALS: Final = 8


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


@concealing
async def renew(session: Session) -> Login:
    """Exchange the client's token for a new one, and use that from now on.

    ``POST /auth/refresh``

    Raises:
        ConfigurationError: as for :func:`bearer`.
        AuthenticationError: the token has ended.
    """
    auth = session.auth
    if not isinstance(auth, BearerAuth):
        raise ConfigurationError(
            f"a token is renewed for a client made with BearerAuth, not {type(auth).__name__}"
        )
    request = refresh_request(await bearer(session), path=REFRESH)
    login = await session.fetch(request, _LOGIN)
    auth.adopt(login.token, login.expires_at, now=session.now())
    session.credentials_changed()
    await auth.share(now=session.now())
    return login


@concealing
async def query_bearer(session: Session) -> str:
    """The client's token for an address of the published server, whose filter refuses some.

    A token that it refuses is renewed first.

    Raises:
        ConfigurationError: as for :func:`bearer`.
        AuthenticationError: the token has ended.
    """
    token = await bearer(session)
    for _ in range(MAX_RENEWALS):
        if not refused_by_filter(token):
            break
        token = (await renew(session)).token
    return token

"""Logging in and out, as a part of StreamSpace's client."""

from __future__ import annotations

from typing import Any, Final, Protocol

from vcloud._core.arguments import text
from vcloud._core.client import Client
from vcloud._core.decoding.shape import Shape
from vcloud._core.redaction.secretive import concealing
from vcloud._core.request import Request
from vcloud._core.session import Session
from vcloud.auth import BearerAuth
from vcloud.auth.bearer import login_request
from vcloud.auth.logins import login_answer
from vcloud.errors import ConfigurationError, VCloudError
from vcloud.providers.streamspace.installation import calls, installation
from vcloud.providers.streamspace.models import Login, LogoutAnswer
from vcloud.providers.streamspace.tokens import renew

__all__ = ["LoginCalls", "LoginClient"]


class LoginCalls(Protocol):
    """The calls of a client itself."""

    async def ping(self, session: Session, /) -> None:
        """Send one request that costs the service little, and decode the answer."""
        ...

    async def logout(self, session: Session, /) -> None:
        """End the client's token at the service."""
        ...


def _opened(login: Login, session: Any, body: bytes) -> Login:
    """A login. The strategy learns which form it has."""
    if isinstance(session.auth, BearerAuth):
        session.auth.expiry_field = login_answer(body).end[1]
    return login


LOGIN: Final = Shape(Login, _opened)
LOGOUT: Final[Shape[LogoutAnswer, None]] = Shape(LogoutAnswer, lambda wire, session, body: None)


class LoginClient(Client):
    """A client that can log in and out."""

    @concealing
    async def login(self, username: str | None = None, password: str | None = None) -> Login:
        """Log in now, and use the new token from now on.  ``POST /auth/login``

        Optional: a client made with ``BearerAuth.login(username, password)`` logs in by itself when
        it needs a token.

        Args:
            username: the user to log in as; left out, the one that the client was made with.
            password: the password. Both are kept, to log in again when the token ends.

        Raises:
            InvalidArgumentError: one without the other, or an empty one.
            ConfigurationError: no user was given, here or when the client was made.
            AuthenticationError: wrong user name or password. Without arguments, also for 30
                seconds after the service said so; then nothing is sent. A published server says so
                while its database is away, too: there it is 5 seconds.
            RateLimitError: there were five logins in a minute, and the next one is allowed too late
                to wait for it.
        """
        given = username is not None or password is not None
        request = (
            login_request(text(username or "", "username"), text(password or "", "password"))
            if given
            else self._bearer.credentials
        )
        if request is None:
            raise ConfigurationError(
                "there is no user to log in as: give username and password, or make the client with"
                " BearerAuth.login"
            )
        login = await self._fetch_login(request)
        self._bearer.adopt(
            login.token, login.expires_at, now=self._session.now(), credentials=request
        )
        installation(self._session).logged_in(self._bearer)
        self._session.credentials_changed()
        await self._bearer.share(now=self._session.now())
        return login

    async def _fetch_login(self, request: Request) -> Login:
        """Log in; with the client's own credentials only if they were not just refused."""
        own = self._session.auth
        if not isinstance(own, BearerAuth) or request is not own.credentials:
            return await self._session.fetch(request, LOGIN)
        own.check_login()
        try:
            return await self._session.fetch(request, LOGIN)
        except VCloudError as error:
            own.note_failed_login(error)
            raise

    async def logout(self) -> None:
        """End the token, at the service and here.  ``POST /auth/logout``

        The next request of a client that has a password logs in again. Without a token nothing is
        sent.

        A published server answers this, and **does not end the token**: it is forgotten here, and
        is valid until its :attr:`Login.expires_at` for anybody who has it. The log says so.

        Raises:
            UnrecognisedError: the installation could not be asked which StreamSpace it is.
            AuthenticationError: a token that was given without a password has ended already.
        """
        if not self._bearer.has_token:
            return
        await (await calls(self._session)).logins.logout(self._session)
        self._bearer.forget()
        await self._bearer.share(now=self._session.now())

    async def refresh_token(self) -> Login:
        """Exchange the token for one that ends later, without a password.  ``POST /auth/refresh``

        The path is not in the API document, which says to log in again. The published server has it
        (from its source), and answers as it does to a login.

        Raises:
            AuthenticationError: the token has ended.
            InvalidRequestError: the server has only the documented paths.
        """
        return await renew(self._session)

    @property
    def _bearer(self) -> BearerAuth:
        auth = self._session.auth
        if not isinstance(auth, BearerAuth):
            raise ConfigurationError(
                f"login and logout need a client made with BearerAuth, not {type(auth).__name__}"
            )
        return auth

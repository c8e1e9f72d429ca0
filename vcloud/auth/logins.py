"""How a token is obtained, and what is kept of it: the parts of :class:`~vcloud.BearerAuth`."""

from __future__ import annotations

from copy import copy
from datetime import datetime
from math import inf
from typing import Final

from attrs import field, frozen

from vcloud._core.auth import credential
from vcloud._core.codec import Codec
from vcloud._core.redaction.secretive import Credentials, Secretive
from vcloud._core.refused_credentials import hold_of, recalled
from vcloud._core.request import Request, json_body
from vcloud._core.scalars import Instant
from vcloud._core.timing.clock import monotonic
from vcloud.auth.token_store.records import ObtainedToken
from vcloud.errors import AuthenticationError, VCloudError

__all__ = [
    "Login",
    "LoginAnswer",
    "Token",
    "bearer_headers",
    "login_answer",
    "login_request",
    "recalled_failure",
    "refresh_request",
]


@frozen(kw_only=True)
class LoginAnswer:
    """The answer of ``POST /auth/login``; the published server writes ``expiresAt``."""

    token: str = field(repr=False)
    expires_at: Instant | None = None
    expiresAt: Instant | None = None  # noqa: N815 - the wire's name

    @property
    def end(self) -> tuple[datetime | None, str | None]:
        """When the token ends, and the name of the field that says so."""
        if self.expires_at is not None:
            return self.expires_at, "expires_at"
        return self.expiresAt, None if self.expiresAt is None else "expiresAt"


_CODEC: Final = Codec()


def login_request(username: str, password: str, *, path: str = "/auth/login") -> Request:
    """The request that obtains a token, and so is sent without one."""
    body = json_body({"username": username, "password": password})
    return Request("POST", path, body=body, sensitive=True, authenticated=False, bucket="login")


def refresh_request(token: str, *, path: str) -> Request:
    """The request that exchanges a token for another one."""
    body = json_body({"token": token})
    return Request("POST", path, body=body, sensitive=True, authenticated=False)


def login_answer(body: bytes) -> LoginAnswer:
    """The answer of a login.

    Raises:
        DecodeError: it has no token.
    """
    return _CODEC.decode(body, LoginAnswer, sensitive=True)


@frozen(repr=False)
class Token(Secretive):
    """A bearer token in use.

    Args:
        headers: the headers that carry it.
        expires_at: when it ends, as the service said; None when the service did not say.
        renew_at: when to obtain the next one, in Unix seconds of our clock; infinite when it is
            used until it is rejected.
        life: for how many seconds it lasted when a login gave it.
    """

    headers: Credentials
    expires_at: datetime | None = None
    renew_at: float = inf
    life: float = inf

    @property
    def text(self) -> str:
        """The token alone."""
        return self.headers["Authorization"].partition(" ")[2]

    def obtained(self, now: float) -> ObtainedToken:
        """What a login gave. ``now`` is Unix seconds."""
        left = self.renew_at - now + ObtainedToken.lead(self.life)
        return ObtainedToken(self.text, self.expires_at, self.life, left)


def bearer_headers(token: str) -> Credentials:
    """The headers with a token.

    Raises:
        ConfigurationError: it cannot be one.
    """
    return Credentials({"Authorization": f"Bearer {credential(token, 'the token')}"})


class Login(Secretive):
    """How tokens are obtained, and how the latest login failed.

    Args:
        request: the login, with user name and password.
    """

    __slots__ = ("_refused_until", "failure", "request")

    def __init__(self, request: Request) -> None:
        self.request: Request = request
        #: Why the latest login failed; None when it did not.
        self.failure: VCloudError | None = None
        self._refused_until: float = 0.0

    def check(self) -> None:
        """Raise, if the service rejected the credentials within the last 30 seconds.

        Raises:
            AuthenticationError: that answer, which was remembered.
        """
        if self.failure is not None and monotonic() < self._refused_until:
            raise recalled_failure(self.failure)

    def failed(self, error: VCloudError, hold: float | None = None) -> None:
        """Remember why a login failed.

        Args:
            error: why.
            hold: for how many seconds, where it was refused; None: as long as such an error is.

        Only the service's own rejection of the credentials delays the next login. Other errors (a
        gateway's page, no answer, a 5xx) say nothing about the credentials.
        """
        # A copy, because what is raised keeps the frames that it passed.
        self.failure = copy(error)
        if isinstance(error, AuthenticationError) and not error.outcome_unknown:
            self._refused_until = monotonic() + (hold_of(error) if hold is None else hold)


def recalled_failure(failure: VCloudError) -> VCloudError:
    """A copy of the error of another task's login, for a task that waited for it."""
    return recalled(failure) if isinstance(failure, AuthenticationError) else copy(failure)

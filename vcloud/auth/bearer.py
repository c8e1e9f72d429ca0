"""Bearer tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from copy import copy
from datetime import datetime
from math import inf
from typing import ClassVar, Final, Self
from weakref import WeakKeyDictionary

from attrs import evolve, field, frozen

from vcloud._core.auth import Send, StatePerAddress, credential
from vcloud._core.codec import Codec
from vcloud._core.redaction.secretive import Credentials, Secretive, concealing
from vcloud._core.refused_credentials import HOLD, recalled
from vcloud._core.request import Request, Response, json_body
from vcloud._core.scalars import Instant
from vcloud._core.timing.clock import monotonic
from vcloud._core.timing.server_clock import server_time
from vcloud.errors import AuthenticationError, ConfigurationError, DecodeError, VCloudError


@frozen(kw_only=True)
class _LoginAnswer:
    """The answer of ``POST /auth/login``; the published server writes ``expiresAt``."""

    token: str = field(repr=False)
    expires_at: Instant | None = None
    expiresAt: Instant | None = None  # noqa: N815 - the wire's name


_CODEC: Final = Codec()


def login_request(username: str, password: str, *, path: str = "/auth/login") -> Request:
    """The request that obtains a token, and so is sent without one."""
    body = json_body({"username": username, "password": password})
    return Request("POST", path, body=body, sensitive=True, authenticated=False, bucket="login")


#: The most characters of a token from a login. Servers accept 8 to 16 KiB of headers, and the token
#: is in the headers of each request.
MAX_TOKEN: Final = 16 * 1024


@frozen(repr=False)
class Token(Secretive):
    """A bearer token in use.

    Args:
        headers: the headers that carry it.
        expires_at: when it ends, as the service said; None when the service did not say.
        renew_at: when to obtain the next one, in Unix seconds of our clock; infinite when it is
            used until it is rejected.
    """

    headers: Credentials
    expires_at: datetime | None = None
    renew_at: float = inf

    @classmethod
    def obtained(
        cls, text: str, expires_at: datetime | None, *, now: float, server_now: float
    ) -> Self:
        """A token that a login returned; both clocks are in Unix seconds.

        Its lifetime is counted by the service's clock, because ours may be wrong. Without the
        service's clock, or with Go's zero time as its end, a token may seem to have expired when it
        arrives. A renewal would return another such token, so it is used until it is rejected.
        """
        if len(text) > MAX_TOKEN:
            raise ConfigurationError(f"the token has {len(text)} characters, more than {MAX_TOKEN}")
        life = inf if expires_at is None else expires_at.timestamp() - server_now
        # A token that lives for less than the leeway must not be renewed for every request.
        renew_at = now + life - min(BearerAuth.LEEWAY, 0.1 * life) if life > 0 else inf
        return cls(_bearer(text), expires_at, renew_at)


def _bearer(token: str) -> Credentials:
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
            raise _recalled(self.failure)

    def failed(self, error: VCloudError) -> None:
        """Remember why a login failed.

        Only the service's own rejection of the credentials delays the next login. Other errors (a
        gateway's page, no answer, a 5xx) say nothing about the credentials.
        """
        # A copy, because what is raised keeps the frames that it passed.
        self.failure = copy(error)
        if isinstance(error, AuthenticationError) and not error.outcome_unknown:
            self._refused_until = monotonic() + HOLD


def _recalled(failure: VCloudError) -> VCloudError:
    """A copy of the error of another task's login, for a task that waited for it."""
    return recalled(failure) if isinstance(failure, AuthenticationError) else copy(failure)


class BearerAuth(StatePerAddress):
    """A JWT in ``Authorization: Bearer``.

    ``BearerAuth(token)`` uses the token as long as it lasts. ``BearerAuth.login(username,
    password)`` obtains one when the first request needs it, a new one shortly before it expires,
    and another when the service rejects it early. However many tasks wait for a token, one login is
    sent. After the service rejected the user name and password, calls fail at once for 30 seconds;
    then one tries again. A token from a login is sent to the base URL that gave it and to no other;
    a token given to the constructor is sent wherever the strategy is used.

    Args:
        token: the token alone, without ``Bearer`` before it.

    Raises:
        ConfigurationError: the token has characters that no token has, or begins with ``Bearer``.
    """

    #: Seconds before its end at which a token is replaced.
    LEEWAY: ClassVar[float] = 60.0

    @concealing
    def __init__(self, token: str) -> None:
        if str(token).lower().startswith("bearer "):
            raise ConfigurationError("token must be the token alone, without Bearer before it")
        self._given: tuple[Token | None, Request | None] = (Token(_bearer(token)), None)
        self._reset()

    @classmethod
    @concealing
    def login(cls, username: str, password: str, *, path: str = "/auth/login") -> Self:
        """Obtain tokens with ``POST /auth/login``, which is sent when the first request needs one.

        Args:
            username: who logs in.
            password: the password.
            path: where, below the base URL.

        Raises:
            ConfigurationError: the user name or the password is not a string, or empty.
        """
        for value, name in ((username, "username"), (password, "password")):
            if type(value) is not str or not value:
                raise ConfigurationError(f"{name} must be a non-empty string")
        self = cls.__new__(cls)
        self._given = (None, login_request(username, password, path=path))
        self._reset()
        return self

    def _reset(self) -> None:
        token, request = self._given
        self._token: Token | None = token
        #: None for a token that cannot be replaced.
        self._login: Login | None = None if request is None else Login(request)
        # A lock belongs to the loop that first waits for it, and an Endpoint may serve one client
        # after another.
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            WeakKeyDictionary()
        )

    @property
    def credentials(self) -> Request | None:
        """The login that obtains tokens; None for a token that was given as it is."""
        return None if self._login is None else self._login.request

    @property
    def has_token(self) -> bool:
        """Whether there is a token, expired or not."""
        return self._token is not None

    @property
    def expires_at(self) -> datetime | None:
        """When the present token ends; None when there is none or it does not say."""
        return None if self._token is None else self._token.expires_at

    def _usable(self, now: float) -> Token | None:
        """The present token, unless it should be replaced. ``now`` is Unix seconds."""
        token = self._token
        return token if token is not None and now < token.renew_at else None

    def ready(self, now: float) -> bool:
        """Whether there is a usable token."""
        return self._usable(now) is not None

    def headers(self, request: Request, path: str, *, now: float, nonce: str) -> Mapping[str, str]:  # noqa: ARG002 - protocol
        """The present token.

        Raises:
            ConfigurationError: there is none. The client obtains one first, with :meth:`acquire`.
        """
        if self._token is None:
            raise ConfigurationError("there is no token yet: a login obtains one")
        return self._token.headers

    async def acquire(self, send: Send, *, now: float) -> None:
        """Log in, or wait for the task that logs in at the moment and share its outcome.

        This uses a lock rather than a shared task: if the task that logs in is cancelled, the next
        waiting task logs in, and nothing is left running. When this returns there is a token, even
        if the token of the other task has been rejected meanwhile.
        """
        token, failure = self._token, self._able_to_log_in().failure
        self.check_login()
        async with self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            if self._token is not None and self._token is not token:
                return
            login = self._able_to_log_in()
            if login.failure is not None and login.failure is not failure:
                raise _recalled(login.failure)
            try:
                response = await send(login.request)
                answer = _CODEC.decode(response.body, _LoginAnswer, sensitive=True)
                life = answer.expires_at or answer.expiresAt
                self.adopt(answer.token, life, now=now, server_now=server_time(response.headers))
            except VCloudError as error:
                # A copy, because a raised error keeps the frames that it passed: the decoder's,
                # which hold the answer, and those of all waiting tasks.
                login.failed(error)
                failure = copy(error)
            else:
                return
            raise failure

    def _able_to_log_in(self) -> Login:
        if self._login is None:
            raise ConfigurationError(
                "the token was dropped by a logout, and there is no password to log in with: "
                "make the client with BearerAuth.login(username, password)"
            )
        return self._login

    def check_login(self) -> None:
        """Raise, if the service rejected the credentials within the last 30 seconds.

        Raises:
            AuthenticationError: that answer, which was remembered.
        """
        if self._login is not None:
            self._login.check()

    def note_failed_login(self, error: VCloudError) -> None:
        """Remember why a login failed; see :meth:`Login.failed`."""
        if self._login is not None:
            self._login.failed(error)

    def adopt(
        self,
        token: str,
        expires_at: datetime | None,
        *,
        now: float,
        server_now: float | None = None,
        credentials: Request | None = None,
    ) -> None:
        """Use this token from now on, and these credentials, if given, when it ends.

        The service's clock determines how long a token lives, because ours may be wrong.

        Args:
            token: what a login gave.
            expires_at: when it ends, as the service said.
            now: our clock, in Unix seconds.
            server_now: the service's clock, in Unix seconds; None: ours.
            credentials: the login that gave it; None: the one that is known.

        Raises:
            DecodeError: the service returned something that cannot be a token.
        """
        try:
            adopted = Token.obtained(
                token, expires_at, now=now, server_now=now if server_now is None else server_now
            )
        except ConfigurationError as error:
            raise DecodeError(f"the service returned an invalid token: {error}") from None
        request = credentials or self.credentials
        self._login = None if request is None else Login(request)
        # A token that cannot be replaced is used until it is rejected.
        self._token = adopted if request is not None else evolve(adopted, renew_at=inf)

    def refused(self, response: Response, sent: Mapping[str, str], *, now: float) -> bool:  # noqa: ARG002 - protocol
        """Drop the token if it is the rejected one. A newer token is kept."""
        if self._login is None:
            return False
        if (
            self._token is not None
            and sent.get("Authorization") == self._token.headers["Authorization"]
        ):
            self.forget()
        return True

    def rejected(self, sent: Mapping[str, str], *, now: float) -> bool:  # noqa: ARG002 - protocol
        """Whether the credentials are rejected: not if a login can obtain another token."""
        return self._login is None

    def forget(self) -> None:
        """Drop the token; the next request logs in again."""
        self._token = None

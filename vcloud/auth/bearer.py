"""Bearer tokens."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from copy import copy
from datetime import datetime
from math import inf
from typing import ClassVar, Final, Self
from weakref import WeakKeyDictionary

from vcloud._core.auth import Send, StatePerAddress
from vcloud._core.redaction.secretive import concealing
from vcloud._core.refused_credentials import hold_of
from vcloud._core.request import Request, Response
from vcloud._core.timing.clock import boottime
from vcloud._core.timing.server_clock import server_time
from vcloud._core.wrong_arguments import explained
from vcloud.auth.logins import (
    Login,
    Token,
    bearer_headers,
    login_answer,
    login_request,
    recalled_failure,
    refresh_request,
)
from vcloud.auth.token_store.choosing import token_store
from vcloud.auth.token_store.records import LEEWAY, MAX_TOKEN, ObtainedToken
from vcloud.auth.token_store.sharing import SharedLogin
from vcloud.auth.token_store.store import TokenStore
from vcloud.errors import ConfigurationError, VCloudError

__all__ = ["MAX_TOKEN", "BearerAuth", "Login", "Token", "login_request"]

#: New tokens in a row that were refused before they served anybody, after which no call tries a
#: further one. Some services end all logins with each change that anybody makes.
MAX_USELESS: Final = 8
#: Seconds before the second such login, and the most before any. They double.
PAUSE: Final = 0.1
MAX_PAUSE: Final = 2.0


class BearerAuth(StatePerAddress):
    """A JWT in ``Authorization: Bearer``.

    ``BearerAuth(token)`` uses the token as long as it lasts. ``BearerAuth.login(username,
    password)`` obtains one when the first request needs it, a new one shortly before it expires,
    and another when the service rejects it early. However many tasks wait for a token, one login is
    sent. After the service rejected the user name and password, calls fail at once for 30 seconds;
    then one tries again. With a ``store``, the processes that share it log in once. A token from a
    login is sent to the base URL that gave it and to no other; a token given to the constructor is
    sent wherever the strategy is used.

    Args:
        token: the token alone, without ``Bearer`` before it.

    Raises:
        ConfigurationError: the token has characters that no token has, or begins with ``Bearer``.
    """

    #: Seconds before its end at which a token is replaced.
    LEEWAY: ClassVar[float] = LEEWAY

    @concealing
    @explained("BearerAuth")
    def __init__(self, token: str) -> None:
        if str(token).lower().startswith("bearer "):
            raise ConfigurationError("token must be the token alone, without Bearer before it")
        self._given: tuple[Token | None, Request | None] = (Token(bearer_headers(token)), None)
        self._store: TokenStore | None = None
        self._reset()

    @classmethod
    @concealing
    @explained("BearerAuth.login")
    def login(
        cls,
        username: str,
        password: str,
        *,
        path: str = "/auth/login",
        store: TokenStore | str | os.PathLike[str] | None = None,
    ) -> Self:
        """Obtain tokens with ``POST /auth/login``, which is sent when the first request needs one.

        Args:
            username: who logs in.
            password: the password.
            path: where, below the base URL.
            store: where several processes share their tokens, so that one of them logs in for all:
                a :class:`~vcloud.FileTokenStore` or its path, or a
                :class:`~vcloud.RedisTokenStore` or its address (``redis://``, ``rediss://``,
                ``unix://``). None: this process logs in for itself.

        Raises:
            ConfigurationError: the user name or the password is not a string, or empty; or the
                store cannot be used.
        """
        for value, name in ((username, "username"), (password, "password")):
            if type(value) is not str or not value:
                raise ConfigurationError(f"{name} must be a non-empty string")
        self = cls.__new__(cls)
        self._given = (None, login_request(username, password, path=path))
        self._store = token_store(store)
        self._reset()
        return self

    def _reset(self) -> None:
        token, request = self._given
        self._token: Token | None = token
        #: None for a token that was given as it is.
        self._login: Login | None = None if request is None else Login(request)
        #: How a given token that was refused is exchanged; None: it was not refused.
        self._exchange: Login | None = None
        self._shared: SharedLogin | None = None
        # A token that must not be taken from the store again.
        self._refused: str | None = None
        # The headers' value of a token that another process obtained.
        self._borrowed: str | None = None
        #: The name of the field in which the last login's answer said when its token ends: services
        #: of one kind differ in it. None: there was no login, or its answer did not say.
        self.expiry_field: str | None = None
        # The path that exchanges a given token for another one; None: the service has none.
        self._refresh_path: str | None = None
        # How many tokens in a row were refused before they served anybody.
        self._useless = 0
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
        return self._token is not None or self._exchange is not None

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
        token, failure = self._token, self._source().failure
        self.check_login()
        async with self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            if self._token is not None and self._token is not token:
                return
            login = self._source()
            if login.failure is not None and login.failure is not failure:
                raise recalled_failure(login.failure)
            # Not as fast as the service ends what it gives.
            if self._useless > 1:
                await asyncio.sleep(min(MAX_PAUSE, PAUSE * 2 ** (self._useless - 2)))
            try:
                self._use(*await self._obtain(login.request, send, now))
            except VCloudError as error:
                # A copy, because a raised error keeps the frames that it passed: the decoder's,
                # which hold the answer, and those of all waiting tasks.
                shared = None if self._shared is None else min(self._shared.hold, hold_of(error))
                login.failed(error, shared)
                failure = copy(error)
            else:
                return
            raise failure

    async def _obtain(
        self, request: Request, send: Send, now: float
    ) -> tuple[ObtainedToken, float]:
        """A token, of a login or from the store, and the time in Unix seconds."""

        async def log_in() -> ObtainedToken:
            response = await send(request)
            answer = login_answer(response.body)
            server_now = server_time(response.headers)
            expires_at, self.expiry_field = answer.end
            return ObtainedToken.of(
                answer.token,
                expires_at,
                server_now=now if server_now is None else server_now,
            )

        if (shared := self._shared_login()) is None:
            return await log_in(), now
        began = boottime()
        found = await shared.obtain(log_in, refused=self._refused)
        # The login of another process may have taken some time.
        return found, now + boottime() - began

    def _shared_login(self) -> SharedLogin | None:
        """The login that processes share; None: this strategy shares none."""
        request = self.credentials
        if self._store is None or self._base_url is None or request is None:
            return None
        if self._shared is None or self._shared.request is not request:
            self._shared = SharedLogin(self._store, self._base_url, request)
        return self._shared

    async def share(self, *, now: float) -> None:
        """Tell the other processes of a token that was adopted or forgotten.

        :meth:`acquire` does so by itself. Without a store, this does nothing.

        Args:
            now: our clock, in Unix seconds.

        Raises:
            ConfigurationError: other users could read or replace the tokens in the store.
        """
        if (shared := self._shared_login()) is not None:
            await shared.share(
                None if self._token is None else self._token.obtained(now), refused=self._refused
            )

    def _source(self) -> Login:
        """What obtains the next token."""
        source = self._login or self._exchange
        if source is None:
            raise ConfigurationError(
                "the token was dropped by a logout, and there is no password to log in with: "
                "make the client with BearerAuth.login(username, password)"
            )
        return source

    def allow_refresh(self, path: str) -> None:
        """Exchange a given token that the service refuses for another one.

        Args:
            path: where the service does that, below the base URL.
        """
        self._refresh_path = path

    def check_login(self) -> None:
        """Raise, if the service rejected the credentials within the last 30 seconds.

        Raises:
            AuthenticationError: that answer, which was remembered.
        """
        if (source := self._login or self._exchange) is not None:
            source.check()

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
        obtained = ObtainedToken.of(
            token, expires_at, server_now=now if server_now is None else server_now
        )
        self._use(obtained, now, credentials)

    def _use(self, token: ObtainedToken, now: float, credentials: Request | None = None) -> None:
        headers = bearer_headers(token.text)
        request = credentials or self.credentials
        self._login = None if request is None else Login(request)
        # A token that cannot be replaced is used until it is rejected.
        renew_at = inf if request is None else now + token.renew_in
        self._token = Token(headers, token.expires_at, renew_at, token.life)
        self._exchange = None
        self._borrowed = headers["Authorization"] if token.borrowed else None

    def refused(self, response: Response, sent: Mapping[str, str], *, now: float) -> bool:  # noqa: ARG002 - protocol
        """Drop the token if it is the rejected one. A newer token is kept."""
        if not self._is_replaceable:
            return False
        token = self._token
        if token is not None and sent.get("Authorization") == token.headers["Authorization"]:
            self._useless += 1
            self.replace()
        return True

    @property
    def _is_replaceable(self) -> bool:
        """Whether another token can be obtained."""
        return self._login is not None or self._refresh_path is not None

    def replace(self) -> None:
        """Drop the token, if another one can be obtained for the next request."""
        token, path = self._token, self._refresh_path
        if token is None or not self._is_replaceable:
            return
        self.forget()
        if self._login is None and path is not None:
            self._exchange = Login(refresh_request(token.text, path=path))

    def note_success(self, response: Response, sent: Mapping[str, str]) -> None:  # noqa: ARG002 - protocol
        """Note that a new token served a call."""
        self._useless = 0

    def may_have_ended(self) -> bool:
        """Whether a new token that was refused may have ended meanwhile, so that one more helps.

        The service must say that it ended. It is not believed for ever.
        """
        return self._useless < MAX_USELESS

    def unproven(self, sent: Mapping[str, str]) -> bool:
        """Whether these headers have a token of another process, which may have ended since.

        Its refusal does not show that a new login would not help.
        """
        return self._borrowed is not None and sent.get("Authorization") == self._borrowed

    def rejected(self, sent: Mapping[str, str], *, now: float) -> bool:  # noqa: ARG002 - protocol
        """Whether the credentials are rejected: not if a login can obtain another token."""
        return not self._is_replaceable

    def forget(self) -> None:
        """Drop the token; the next request logs in again."""
        if self._token is not None:
            self._refused = self._token.text
        self._token = self._exchange = None

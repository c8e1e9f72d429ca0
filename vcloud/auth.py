"""How a request proves who sends it. Signing is pure: the time and the nonce are arguments."""

from __future__ import annotations

import asyncio
import re
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from datetime import datetime, timedelta
from hashlib import sha256
from math import inf
from typing import Final, Protocol, Self
from urllib.parse import urlsplit
from weakref import ReferenceType, WeakKeyDictionary

from attrs import evolve, field, frozen

from vcloud._core.decoding.codec import Codec
from vcloud._core.redaction.secretive import Credentials, Secretive, concealing
from vcloud._core.refused_credentials import HOLD, recalled
from vcloud._core.request import Request, Response, json_body
from vcloud._core.scalars import Instant
from vcloud._core.timing.clock import TimeOfDay, monotonic
from vcloud._core.timing.server_clock import server_time
from vcloud.errors import AuthenticationError, ConfigurationError, DecodeError, VCloudError

__all__ = ["APIKeyAuth", "Auth", "BearerAuth", "HMACAuth"]

#: RFC 9110, 5.1.
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

Send = Callable[[Request], Awaitable[Response]]


class Auth(Protocol):
    """A strategy. Subclass it and write :meth:`headers`; the rest is for credentials that expire or must be fetched.

    Each attempt, a retry too, asks for headers anew, so a nonce is never used twice.

    One object may be given to several endpoints: see :meth:`for_base_url`.
    """

    @abstractmethod
    def headers(self, request: Request, path: str, *, now: float, nonce: str) -> Mapping[str, str]:
        """The headers that authenticate one attempt.

        Args:
            request: what is about to be sent; ``request.body`` is the exact bytes.
            path: the full path on the host, with the base path and without the query, as it is sent.
            now: Unix seconds: the time of day when the client was made, plus those that have
                passed since, so that it does not jump with the machine's clock.
            nonce: a fresh random text.
        """
        ...

    def ready(self, now: float) -> bool:  # noqa: ARG002 - part of the protocol
        """Whether :meth:`headers` can be asked at once; if not, :meth:`acquire` is awaited first."""
        return True

    async def acquire(self, send: Send, *, now: float) -> None:  # noqa: ARG002 - part of the protocol
        """Obtain a credential, through ``send`` (which neither signs nor queues)."""
        return

    def refused(self, response: Response, sent: Mapping[str, str], *, now: float) -> bool:  # noqa: ARG002 - as above
        """The service did not accept ``sent``: learn from it. True when signing once more can help."""
        return False

    def accepted(self, sent: Mapping[str, str], *, now: float) -> None:  # noqa: ARG002 - as above
        """The service accepted ``sent``, which was made after :meth:`refused` said True."""
        return

    def rejected(self, sent: Mapping[str, str], *, now: float) -> bool:  # noqa: ARG002 - as above
        """The service did not accept ``sent``, and :meth:`refused` does not help, or did not.

        True when this is the service's word on the credentials themselves: then further calls fail
        at once, for 30 seconds. False when it may have been about something else.
        """
        return True

    def for_base_url(self, base_url: str) -> Auth:
        """The strategy for the service at this address. A client asks for it when it is made.

        A token or a clock offset belongs to the service that it came from, and must never reach
        another one. A strategy that neither obtains nor learns anything serves every address. One
        that overrides :meth:`acquire` or :meth:`refused` keeps a state, and belongs to the first
        address that it is used for. Override this method to return an object with a state of its
        own for each address.

        Args:
            base_url: the address of the API, such as ``https://streamspace.example.com/api/v1``.

        Raises:
            ConfigurationError: this strategy keeps a state, and another address uses it already.
        """
        kind = type(self)
        if kind.acquire is Auth.acquire and kind.refused is Auth.refused:
            return self
        if vars(self).setdefault("_bound_base_url", base_url) != base_url:
            raise ConfigurationError(
                f"one {kind.__name__} cannot serve two base URLs, because what it obtains from "
                "one service would be sent to the other: make one for each Endpoint, or override "
                "its for_base_url"
            )
        return self


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{name} must be a non-empty string")
    if not value.isascii() or not value.isprintable() or value != value.strip():
        # The value itself stays out of the message.
        raise ConfigurationError(
            f"{name} holds a character that cannot be part of it (a line break or a space at its end?)"
        )
    return value


def _base_path(value: object) -> str:
    """The path of a base URL, without a slash at its end."""
    if (
        not isinstance(value, str)
        or not value.startswith("/")
        or not value.isascii()
        or not value.isprintable()
        or set(value) & set(' "#<>?\\')
        or "//" in value
        or {".", ".."} & set(value.split("/"))
    ):
        raise ConfigurationError(
            "signed_path must be the path of the base URL as the service sees it, such as "
            f"/organization-management/v1, not {value!r:.80}"
        )
    return value.rstrip("/")


class _StatePerAddress(Secretive, Auth):
    """A strategy that learns something from a service, and never uses it for another one."""

    _base_url: str | None = None
    #: The clock of all clients that share what was learnt, as long as there are any. The first of
    #: them sets it.
    time_of_day: ReferenceType[TimeOfDay] | None = None

    def _forget_everything(self) -> None:
        """Return to what the constructor was given."""
        raise NotImplementedError

    def for_base_url(self, base_url: str) -> Self:
        """The strategy for the service at this address.

        It is this object for the first address, and one object with a state of its own for each
        other address.
        """
        if self._base_url is None:
            self._base_url, self._for_others = base_url, {}
        if base_url == self._base_url:
            return self
        other = self._for_others.get(base_url)
        if other is None:
            other = type(self).__new__(type(self))
            # A subclass may keep more than we know of.
            vars(other).update(vars(self))
            other._base_url, other._for_others, other.time_of_day = base_url, {}, None
            other._forget_everything()
            self._for_others[base_url] = other
        return other

    _for_others: dict[str, Self]


class HMACAuth(_StatePerAddress):
    """Vagon's request signatures, for Streams and Computers.

    ``Authorization: HMAC {key}:{signature}:{nonce}:{timestamp}``, where the signature is the lower-case hex of
    HMAC-SHA256, keyed with the secret, over key, verb, path, timestamp (milliseconds), nonce and body without
    separators. (The signing string is from Vagon's documentation of authentication, not from the API documents.)

    When the service refuses a signature and its ``Date`` says that our clock is more than
    :attr:`TOLERANCE` seconds wrong, the difference is learnt and the request signed once more. A
    difference that did not help is dropped. One of more than :attr:`MAX_OFFSET` is not learnt, so
    that nobody between can make this client sign requests for another day: the error says how far
    the two clocks differ. A machine's clock that is put back or forward later changes nothing,
    because clients add the time that passes to the time of day that they began with; one that was
    put right is believed where it agrees with the service. Each base URL has its own difference. A
    create whose refusal came later than that is not signed again and has ``outcome_unknown``: see
    :meth:`may_be_a_copy`. After the service refused key or secret, further calls of that client fail
    at once for 30 seconds, with ``AuthenticationError.remembered``; then one tries again.

    Args:
        key: the API key, which has no colon.
        secret: the API secret.
        signed_path: behind a gateway that changes paths, the path of the base URL as the service
            sees it. The service verifies the path that it receives: behind one that strips
            ``/vagon`` from ``https://gateway/vagon/organization-management/v1`` that is
            ``/organization-management/v1``. It is signed in place of the base URL's own path, and
            changes nothing of what is sent. None: the base URL's own path.

    Raises:
        ConfigurationError: a credential or ``signed_path`` is invalid; or, from the client, one
            object with a ``signed_path`` is used for two base URLs.
    """

    #: Seconds. A smaller difference is travel time and the one-second grain of ``Date``.
    TOLERANCE = 5.0
    #: Seconds. A larger difference is not corrected: a clock in a wrong time zone is hours off, and
    #: a signature for another day could be kept and used on that day.
    MAX_OFFSET = 86_400.0

    @concealing
    def __init__(self, key: str, secret: str, *, signed_path: str | None = None) -> None:
        self._key = _text(key, "the API key")
        self._signed_path = None if signed_path is None else _base_path(signed_path)
        if ":" in key:
            raise ConfigurationError(
                "the API key holds a colon, which separates the parts of the header (key and secret in one?)"
            )
        # The two hashes of RFC 2104 with the secret already in them: hmac.digest would look SHA-256 up and pad the secret
        # again for each signature, which takes twice as long.
        padded = _text(secret, "the API secret").encode()
        padded = (padded if len(padded) <= 64 else sha256(padded).digest()).ljust(64, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in padded))
        self._forget_everything()

    def for_base_url(self, base_url: str) -> Self:
        """The strategy for the service at this address, see :meth:`Auth.for_base_url`.

        Raises:
            ConfigurationError: ``signed_path`` is the path of another base URL.
        """
        if self._signed_path is not None and self._base_url not in (None, base_url):
            raise ConfigurationError(
                "signed_path belongs to one base URL: make one HMACAuth for each Endpoint"
            )
        return super().for_base_url(base_url)

    def _as_signed(self, path: str) -> str:
        """A path that is sent, as the service behind the gateway sees it."""
        assert self._signed_path is not None
        return self._signed_path + path.removeprefix(urlsplit(self._base_url or "").path)

    def _forget_everything(self) -> None:
        #: Seconds by which the service's clock is ahead of ours: what requests are signed with.
        self._offset = 0.0
        #: The one with which the service accepted a request. Another one is on trial.
        self._accepted_offset = 0.0
        #: One that a ``Date`` taught and that did not help.
        self._useless_offset: float | None = None
        #: By how much the service's clock was ahead of a signature that it accepted.
        self._accepted_difference: float | None = None

    def headers(self, request: Request, path: str, *, now: float, nonce: str) -> Mapping[str, str]:
        """Sign. Pure, apart from the learnt clock offset."""
        if self._signed_path is not None:
            path = self._as_signed(path)
        timestamp = int((now + self._offset) * 1000)
        return {
            "Authorization": f"HMAC {self._key}:{self.sign(request.method, path, timestamp, nonce, request.body)}:{nonce}:{timestamp}"
        }

    def sign(
        self, method: str, path: str, timestamp: int, nonce: str, body: bytes | None = None
    ) -> str:
        """The signature alone.

        ``timestamp`` is in milliseconds, and ``path`` is as the service sees it, without the query.
        """
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(f"{self._key}{method}{path}{timestamp}{nonce}".encode())
        if body:
            inner.update(body)
        outer.update(inner.digest())
        return outer.hexdigest()

    def refused(self, response: Response, sent: Mapping[str, str], *, now: float) -> bool:
        """Learn the clock difference from the refusal's ``Date``, if there is one to learn.

        What counts is the time that was sent: of many requests that are refused at once the first one teaches, and the
        others only need to be signed again. What is learnt is on trial until a request that was
        signed with it is accepted. A difference that did not help is not learnt from the next
        refusal. One of more than a day is not learnt at all: see :meth:`clock_difference`. It is
        always the difference to the time that this machine tells, so many small ones never add up
        to more.
        """
        return self.refused_after_jump(response, sent, now=now, clocks=(now,))

    def refused_after_jump(
        self, response: Response, sent: Mapping[str, str], *, now: float, clocks: Sequence[float]
    ) -> bool:
        """Learn as :meth:`refused` does, where this machine's clock was put back or forward.

        Its opinions on the time differ then, and the service's ``Date`` says which one is right.

        Args:
            response: the refusal.
            sent: what the request was signed with.
            now: the time that requests are signed with, in Unix seconds, without what was learnt.
            clocks: those opinions, in Unix seconds. What is learnt is within a day of one of them.
        """
        theirs, signed_at = server_time(response.headers), _signed_at(sent)
        if theirs is None or signed_at is None or abs(theirs - signed_at) <= self.TOLERANCE:
            return False
        offset, useless = theirs - now, self._useless_offset
        if all(abs(theirs - clock) > self.MAX_OFFSET for clock in clocks):
            return False
        if useless is not None and abs(offset - useless) <= self.TOLERANCE:
            return False
        self._offset = offset
        return True

    def clock_difference(self, response: Response, *, now: float) -> timedelta | None:
        """By how much the ``Date`` of a refusal is ahead of this machine's clock.

        Args:
            response: the refusal.
            now: this machine's clock, in Unix seconds.

        Returns:
            The difference if it is more than :attr:`MAX_OFFSET`, and so was not learnt; negative
            where ``Date`` is behind. None for a smaller one, or where there is no ``Date``.
        """
        theirs = server_time(response.headers)
        if theirs is None or abs(theirs - now) <= self.MAX_OFFSET:
            return None
        return timedelta(seconds=round(theirs - now))

    def may_be_a_copy(self, response: Response, sent: Mapping[str, str], *, seconds: float) -> bool:
        """Whether a refusal may be that of a second copy, after the first one was carried out.

        Each signature works once. A proxy between may have repeated the request by itself. The
        service then refuses the second copy, and its ``Date`` may look as if our clock were wrong:

        - the proxy lost patience with the first copy, so the refusal comes late;
        - our clock is a little wrong, as the service has put up with before.

        Args:
            response: the refusal.
            sent: what the request was signed with.
            seconds: from the moment it was sent until the refusal came.
        """
        if seconds > self.TOLERANCE:
            return True
        ahead, accepted = _difference(response, sent), self._accepted_difference
        return (
            ahead is not None
            and accepted is not None
            and abs(ahead) > self.TOLERANCE >= abs(ahead - accepted)
        )

    def note_success(self, response: Response, sent: Mapping[str, str]) -> None:
        """Remember with which difference of clocks the service accepted a signature."""
        self._accepted_difference = _difference(response, sent)

    def accepted(self, sent: Mapping[str, str], *, now: float) -> None:
        """Keep the clock difference that ``sent`` was signed with."""
        if self._is_signed_with_the_offset(sent, now):
            self._accepted_offset, self._useless_offset = self._offset, None

    def rejected(self, sent: Mapping[str, str], *, now: float) -> bool:
        """Drop the clock difference that did not help.

        One that is on trial gives way to the last one that was accepted: a gateway whose clock is
        wrong, or its answer, must not lock this client out. With that one, it is the key or the
        secret that is refused. Then all that was learnt of clocks is dropped as well, and learnt
        anew when the credentials are tried again: ours may have been set right meanwhile.
        """
        if not self._is_signed_with_the_offset(sent, now):
            return False
        if self._offset != self._accepted_offset:
            self._useless_offset, self._offset = self._offset, self._accepted_offset
            return False
        self._forget_everything()
        return True

    def _is_signed_with_the_offset(self, sent: Mapping[str, str], now: float) -> bool:
        """Whether this was signed with the present offset, not with one that was dropped since."""
        signed_at = _signed_at(sent)
        if signed_at is None:
            return True
        return -self.TOLERANCE <= now + self._offset - signed_at <= _LONGEST_ATTEMPT


#: Seconds. What seems to have been signed longer ago was signed by another clock.
_LONGEST_ATTEMPT = 60.0


def _difference(response: Response, sent: Mapping[str, str]) -> float | None:
    """Seconds by which the service's clock is ahead of a signature; None where that is unknown."""
    theirs, signed_at = server_time(response.headers), _signed_at(sent)
    return None if theirs is None or signed_at is None else theirs - signed_at


def _signed_at(sent: Mapping[str, str]) -> float | None:
    """The timestamp of a signature, in Unix seconds."""
    text = sent.get("Authorization", "").rpartition(":")[2]
    return int(text) / 1000 if text.isdigit() else None


class APIKeyAuth(Secretive, Auth):
    """A constant key in one header, ``x-api-key`` as the desktop-action API wants it."""

    __slots__ = ("_headers",)

    @concealing
    def __init__(self, key: str, *, header: str = "x-api-key") -> None:
        if not _HEADER.fullmatch(header):
            raise ConfigurationError(
                f"the header must have a name such as x-api-key, not {header!r:.80}"
            )
        self._headers = Credentials({header: _text(key, "the API key")})

    def headers(self, request: Request, path: str, *, now: float, nonce: str) -> Mapping[str, str]:  # noqa: ARG002 - protocol
        """The key, as it is."""
        return self._headers


@frozen(kw_only=True)
class _Login:
    """The answer of ``POST /auth/login``; the published server writes ``expiresAt``."""

    token: str = field(repr=False)
    expires_at: Instant | None = None
    expiresAt: Instant | None = None  # noqa: N815 - the wire's name


def login_request(username: str, password: str, *, path: str = "/auth/login") -> Request:
    """The one request that is sent without a token, because it obtains one."""
    body = json_body({"username": username, "password": password})
    return Request("POST", path, body=body, sensitive=True, authenticated=False, bucket="login")


#: Characters of a token that a login gives. Servers take 8 to 16 KiB of headers, and each request
#: has it in them.
MAX_TOKEN: Final = 16 * 1024


@frozen(repr=False)
class Token(Secretive):
    """A bearer token in use.

    Args:
        headers: what it is sent as.
        expires_at: when it ends, as the service said; None when the service did not say.
        renew_at: when to obtain the next one, in Unix seconds of our clock; infinite when it is
            used until it is refused.
    """

    headers: Credentials
    expires_at: datetime | None = None
    renew_at: float = inf

    @classmethod
    def obtained(
        cls, text: str, expires_at: datetime | None, *, now: float, server_now: float
    ) -> Self:
        """A token that a login gave; both clocks are in Unix seconds.

        How long it lives is a matter of the service's clock, because ours may be wrong. Without the
        service's clock a token may seem to have ended when it arrives (Go's zero time says the
        same). Renewing such a token would give another one like it, so it is used until it is
        refused.
        """
        if len(text) > MAX_TOKEN:
            raise ConfigurationError(f"the token has {len(text)} characters")
        life = inf if expires_at is None else expires_at.timestamp() - server_now
        # A token that lives for less than the leeway must not be renewed for every request.
        renew_at = now + life - min(BearerAuth.LEEWAY, 0.1 * life) if life > 0 else inf
        return cls(_bearer(text), expires_at, renew_at)


def _bearer(token: str) -> Credentials:
    return Credentials({"Authorization": f"Bearer {_text(token, 'the token')}"})


def _recalled(failure: VCloudError) -> VCloudError:
    """Why the login that was waited for failed, for one who sent none."""
    return recalled(failure) if isinstance(failure, AuthenticationError) else copy(failure)


class BearerAuth(_StatePerAddress):
    """A JWT in ``Authorization: Bearer``.

    ``BearerAuth(token)`` uses the token as long as it lasts. ``BearerAuth.login(username, password)`` obtains one when
    it is first needed, again shortly before it expires, and once more when the service refuses it early. However many
    tasks wait for a token, there is one login. After the service refused the user name and
    password, calls fail at once for 30 seconds; then one tries again. A token that a login gave
    is sent to the base URL that gave it and to no other; one given to the constructor is sent
    wherever the strategy is used.
    """

    #: Seconds before its end at which a token is replaced.
    LEEWAY = 60.0

    @concealing
    def __init__(self, token: str) -> None:
        if str(token).lower().startswith("bearer "):
            raise ConfigurationError("give the token alone, without the word Bearer before it")
        self._prepare(Token(_bearer(token)), None)

    @classmethod
    @concealing
    def login(cls, username: str, password: str, *, path: str = "/auth/login") -> Self:
        """Obtain tokens with ``POST /auth/login``, which is not sent before the first request needs it."""
        if not all(type(given) is str and given for given in (username, password)):
            raise ConfigurationError("a login needs a username and a password")
        self = cls.__new__(cls)
        self._prepare(None, login_request(username, password, path=path))
        return self

    def _prepare(self, token: Token | None, credentials: Request | None) -> None:
        self._codec = Codec()
        self._given = (token, credentials)
        self._forget_everything()

    def _forget_everything(self) -> None:
        self._token, self._credentials = self._given
        self._refused_until = 0.0
        #: Why the latest login failed, if it did.
        self._failure: VCloudError | None = None
        # A lock belongs to the loop that first waits for it, and an Endpoint may serve one client after another.
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            WeakKeyDictionary()
        )

    @property
    def credentials(self) -> Request | None:
        """The login that obtains tokens; None for a token that was given as it is."""
        return self._credentials

    @property
    def has_token(self) -> bool:
        """Whether there is a token, expired or not."""
        return self._token is not None

    @property
    def expires_at(self) -> datetime | None:
        """When the present token ends; None when there is none or it does not say."""
        return None if self._token is None else self._token.expires_at

    def usable(self, now: float) -> Token | None:
        """The present token, unless it should be replaced. ``now`` is Unix seconds."""
        token = self._token
        return token if token is not None and now < token.renew_at else None

    def ready(self, now: float) -> bool:
        """Whether there is a token with some life left in it."""
        return self.usable(now) is not None

    def headers(self, request: Request, path: str, *, now: float, nonce: str) -> Mapping[str, str]:  # noqa: ARG002 - protocol
        """The present token.

        Raises:
            ConfigurationError: there is none. The client obtains one first, with :meth:`acquire`.
        """
        if self._token is None:
            raise ConfigurationError("there is no token yet: a login obtains one")
        return self._token.headers

    async def acquire(self, send: Send, *, now: float) -> None:
        """Log in, unless another task does so just now: then share what it gets, the failure too.

        A lock rather than a shared task: if the task that logs in is cancelled, the next one that
        waits does it, and nothing is left running. When this returns there is a token, even if the
        one that was waited for has been refused meanwhile.
        """
        token, failure = self._token, self._failure
        self.check_login()
        async with self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            if self._token is not None and self._token is not token:
                return
            if self._failure is not None and self._failure is not failure:
                raise _recalled(self._failure)
            if self._credentials is None:
                raise ConfigurationError(
                    "the token was given up by a logout, and there is no password to obtain another with"
                )
            try:
                response = await send(self._credentials)
                answer = self._codec.decode(response.body, _Login, sensitive=True)
                life = answer.expires_at or answer.expiresAt
                self.adopt(answer.token, life, now=now, server_now=server_time(response.headers))
            except VCloudError as error:
                # Copies, because what is raised holds on to the frames that it passed: the decoder's, with the answer in them,
                # and those of all who wait.
                self.note_failed_login(error)
                failure = copy(error)
            else:
                return
            raise failure

    def check_login(self) -> None:
        """Let a login pass, unless the service refused the credentials within the last 30 seconds.

        Raises:
            AuthenticationError: its refusal, which is remembered.
        """
        if self._failure is not None and monotonic() < self._refused_until:
            raise _recalled(self._failure)

    def note_failed_login(self, error: VCloudError) -> None:
        """Remember why a login failed.

        Only where the service itself refused the credentials is the next login put off. What leaves
        open whether a login was made (a gateway's page, no answer) says nothing of them, nor does a
        5xx.
        """
        self._failure = copy(error)
        if isinstance(error, AuthenticationError) and not error.outcome_unknown:
            self._refused_until = monotonic() + HOLD

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

        Both clocks are Unix seconds. How long a token lives is a matter of the service's clock; ours may be wrong.

        Raises:
            DecodeError: what the service gave cannot be a token.
        """
        try:
            adopted = Token.obtained(
                token, expires_at, now=now, server_now=now if server_now is None else server_now
            )
        except ConfigurationError as error:
            raise DecodeError(f"the service returned an invalid token: {error}") from None
        self._credentials = credentials or self._credentials
        # A token that cannot be replaced is used until it is refused.
        self._token = adopted if self._credentials else evolve(adopted, renew_at=inf)
        self._failure = None
        self._refused_until = 0.0

    def refused(self, response: Response, sent: Mapping[str, str], *, now: float) -> bool:  # noqa: ARG002 - protocol
        """Drop the token, but only if it is the one that was refused: a newer one stays."""
        if self._credentials is None:
            return False
        if (
            self._token is not None
            and sent.get("Authorization") == self._token.headers["Authorization"]
        ):
            self.forget()
        return True

    def rejected(self, sent: Mapping[str, str], *, now: float) -> bool:  # noqa: ARG002 - protocol
        """Whether a refused token is all that there is: one of a login is not the password."""
        return self._credentials is None

    def forget(self) -> None:
        """Drop the token; the next request logs in again."""
        self._token = None

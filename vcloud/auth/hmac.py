"""Signatures with a key and a secret. Signing is pure: the time and the nonce are arguments."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import ClassVar, Final, Self
from urllib.parse import urlsplit

from vcloud._core.auth import StatePerAddress, credential
from vcloud._core.redaction.secretive import concealing
from vcloud._core.request import Request, Response
from vcloud._core.timing.server_clock import server_time
from vcloud.errors import ConfigurationError


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


class HMACAuth(StatePerAddress):
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
    TOLERANCE: ClassVar[float] = 5.0
    #: Seconds. A larger difference is not corrected: a clock in a wrong time zone is hours off, and
    #: a signature for another day could be kept and used on that day.
    MAX_OFFSET: ClassVar[float] = 86_400.0

    @concealing
    def __init__(self, key: str, secret: str, *, signed_path: str | None = None) -> None:
        self._key = credential(key, "the API key")
        self._signed_path = None if signed_path is None else _base_path(signed_path)
        if ":" in key:
            raise ConfigurationError(
                "the API key holds a colon, which separates the parts of the header (key and secret in one?)"
            )
        # Copied for each signature: the secret itself is in no attribute.
        self._keyed = hmac.new(credential(secret, "the API secret").encode(), digestmod="sha256")
        self._reset()

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

    def _reset(self) -> None:
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
        signature = self._keyed.copy()
        signature.update(f"{self._key}{method}{path}{timestamp}{nonce}".encode())
        if body:
            signature.update(body)
        return signature.hexdigest()

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
        self._reset()
        return True

    def _is_signed_with_the_offset(self, sent: Mapping[str, str], now: float) -> bool:
        """Whether this was signed with the present offset, not with one that was dropped since."""
        signed_at = _signed_at(sent)
        if signed_at is None:
            return True
        return -self.TOLERANCE <= now + self._offset - signed_at <= _LONGEST_ATTEMPT


#: Seconds. What seems to have been signed longer ago was signed by another clock.
_LONGEST_ATTEMPT: Final = 60.0


def _difference(response: Response, sent: Mapping[str, str]) -> float | None:
    """Seconds by which the service's clock is ahead of a signature; None where that is unknown."""
    theirs, signed_at = server_time(response.headers), _signed_at(sent)
    return None if theirs is None or signed_at is None else theirs - signed_at


def _signed_at(sent: Mapping[str, str]) -> float | None:
    """The timestamp of a signature, in Unix seconds."""
    text = sent.get("Authorization", "").rpartition(":")[2]
    return int(text) / 1000 if text.isdigit() else None

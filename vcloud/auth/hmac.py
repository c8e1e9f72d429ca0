"""Signatures with a key and a secret, and the correction of clock skew.

Signing is pure: the time and the nonce are arguments.
"""

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
from vcloud._core.wrong_arguments import explained
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

    The header is ``Authorization: HMAC {key}:{signature}:{nonce}:{timestamp}``. The signature is
    the lower-case hex of HMAC-SHA256, keyed with the secret, over key, verb, path, timestamp (in
    milliseconds), nonce and body without separators. (The signing string is from Vagon's
    documentation of authentication, not from the API documents.)

    Clock skew: when the service rejects a signature and its ``Date`` differs from our clock by more
    than :attr:`TOLERANCE` seconds, the client corrects its timestamps by the difference and signs
    the request once more. A correction that does not help is dropped. A difference of more than
    :attr:`MAX_OFFSET` is not corrected, so that a machine in between cannot make this client sign
    requests for another day. The error says by how much the two clocks differ. Each base URL has
    its own correction. Setting the machine's clock later changes nothing, because a client adds the
    elapsed time to the time of day at which it was made. If a corrected clock agrees with the
    service, it is used.

    A create whose rejection came more than :attr:`TOLERANCE` seconds after it was sent is not
    signed again and has ``outcome_unknown``: see :meth:`may_be_a_copy`. After the service rejected
    key or secret, further calls of that client fail at once for 30 seconds, with
    ``AuthenticationError.remembered``; then one tries again.

    Args:
        key: the API key, which has no colon.
        secret: the API secret.
        signed_path: behind a gateway that changes paths, the path of the base URL as the service
            sees it, because the service verifies the path that it receives. Behind a gateway that
            strips ``/vagon`` from ``https://gateway/vagon/organization-management/v1`` it is
            ``/organization-management/v1``. It is signed in place of the base URL's own path, and
            changes nothing of what is sent. None: the base URL's own path.

    Raises:
        ConfigurationError: a credential or ``signed_path`` is invalid; or, from the client, one
            object with a ``signed_path`` is used for two base URLs.
    """

    #: Seconds. A smaller difference is travel time and the one-second resolution of ``Date``.
    TOLERANCE: ClassVar[float] = 5.0
    #: Seconds. A larger difference is not corrected: a clock in a wrong time zone is hours off, and
    #: a signature for another day could be kept and used on that day.
    MAX_OFFSET: ClassVar[float] = 86_400.0

    @concealing
    @explained("HMACAuth")
    def __init__(self, key: str, secret: str, *, signed_path: str | None = None) -> None:
        self._key = credential(key, "the API key")
        self._signed_path = None if signed_path is None else _base_path(signed_path)
        if ":" in key:
            raise ConfigurationError(
                "the API key holds a colon, which separates the parts of the header (key and "
                "secret in one?)"
            )
        # Copied for each signature, so that no attribute holds the secret itself.
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
        """The path of a request as the service behind the gateway sees it."""
        assert self._signed_path is not None
        return self._signed_path + path.removeprefix(urlsplit(self._base_url or "").path)

    def _reset(self) -> None:
        #: Seconds by which the service's clock is ahead of ours. Timestamps are corrected by it.
        self._offset = 0.0
        #: The last offset with which the service accepted a request.
        self._accepted_offset = 0.0
        #: An offset that a ``Date`` suggested and that did not help.
        self._useless_offset: float | None = None
        #: Seconds by which the service's clock was ahead of the last signature that it accepted.
        self._accepted_difference: float | None = None

    def headers(self, request: Request, path: str, *, now: float, nonce: str) -> Mapping[str, str]:
        """Sign one attempt."""
        if self._signed_path is not None:
            path = self._as_signed(path)
        timestamp = int((now + self._offset) * 1000)
        signature = self.sign(request.method, path, timestamp, nonce, request.body)
        return {"Authorization": f"HMAC {self._key}:{signature}:{nonce}:{timestamp}"}

    def sign(
        self, method: str, path: str, timestamp: int, nonce: str, body: bytes | None = None
    ) -> str:
        """The signature alone.

        Args:
            method: the verb.
            path: the path as the service sees it, without the query.
            timestamp: Unix milliseconds.
            nonce: a new random text.
            body: the exact bytes that are sent.
        """
        signature = self._keyed.copy()
        signature.update(f"{self._key}{method}{path}{timestamp}{nonce}".encode())
        if body:
            signature.update(body)
        return signature.hexdigest()

    def refused(self, response: Response, sent: Mapping[str, str], *, now: float) -> bool:
        """Correct the clock by the ``Date`` of an answer that rejects a signature.

        The timestamp that was sent is compared: of many requests that are rejected at once the
        first one corrects the clock, and the others only need to be signed again. A correction is
        kept only if a request that was signed with it is accepted, and one that did not help is not
        tried again. A difference of more than a day is not corrected: see :meth:`clock_difference`.
        The offset is always relative to this machine's clock, so small corrections never add up.

        Returns:
            Whether signing once more can help.
        """
        return self.refused_after_jump(response, sent, now=now, clocks=(now,))

    def refused_after_jump(
        self, response: Response, sent: Mapping[str, str], *, now: float, clocks: Sequence[float]
    ) -> bool:
        """Correct as :meth:`refused` does, after this machine's clock was set.

        Then there are several estimates of the time, and the service's ``Date`` decides.

        Args:
            response: the answer that rejects the signature.
            sent: the headers of the request.
            now: the time that requests are signed with, in Unix seconds, without the offset.
            clocks: the estimates, in Unix seconds. The corrected time is within a day of one of
                them.
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
        """By how much the ``Date`` of an answer is ahead of this machine's clock.

        Args:
            response: the answer that rejects the signature.
            now: this machine's clock, in Unix seconds.

        Returns:
            A difference of more than :attr:`MAX_OFFSET`, which is not corrected; negative where
            ``Date`` is behind. None for a smaller difference, or without a ``Date``.
        """
        theirs = server_time(response.headers)
        if theirs is None or abs(theirs - now) <= self.MAX_OFFSET:
            return None
        return timedelta(seconds=round(theirs - now))

    def may_be_a_copy(self, response: Response, sent: Mapping[str, str], *, seconds: float) -> bool:
        """Whether an answer may reject a second copy, after the first copy was carried out.

        Each signature works once. A proxy between may have repeated the request by itself. The
        service then rejects the second copy, and its ``Date`` may look as if our clock were wrong:

        - the proxy timed out on the first copy, so the answer comes late;
        - our clock is a little wrong, by as much as the service has accepted before.

        Args:
            response: the answer that rejects the signature.
            sent: the headers of the request.
            seconds: from the moment it was sent until the answer came.
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
        """Remember the difference of clocks at which the service accepted a signature."""
        self._accepted_difference = _difference(response, sent)

    def accepted(self, sent: Mapping[str, str], *, now: float) -> None:
        """Keep the offset that ``sent`` was signed with."""
        if self._is_signed_with_the_offset(sent, now):
            self._accepted_offset, self._useless_offset = self._offset, None

    def rejected(self, sent: Mapping[str, str], *, now: float) -> bool:
        """Drop the offset that did not help.

        An offset that was never accepted is replaced by the last one that was: a gateway whose
        clock is wrong must not lock this client out. If the service rejects that one too, it
        rejects the key or the secret. Then every offset is dropped, because our clock may have been
        set right until the credentials are tried again.

        Returns:
            Whether the service rejects the key or the secret.
        """
        if not self._is_signed_with_the_offset(sent, now):
            return False
        if self._offset != self._accepted_offset:
            self._useless_offset, self._offset = self._offset, self._accepted_offset
            return False
        self._reset()
        return True

    def _is_signed_with_the_offset(self, sent: Mapping[str, str], now: float) -> bool:
        """Whether this was signed with the present offset, not with an earlier one."""
        signed_at = _signed_at(sent)
        if signed_at is None:
            return True
        return -self.TOLERANCE <= now + self._offset - signed_at <= _LONGEST_ATTEMPT


#: Seconds. A signature that seems older was made with another offset.
_LONGEST_ATTEMPT: Final = 60.0


def _difference(response: Response, sent: Mapping[str, str]) -> float | None:
    """Seconds by which the service's clock is ahead of a signature; None if unknown."""
    theirs, signed_at = server_time(response.headers), _signed_at(sent)
    return None if theirs is None or signed_at is None else theirs - signed_at


def _signed_at(sent: Mapping[str, str]) -> float | None:
    """The timestamp of a signature, in Unix seconds."""
    text = sent.get("Authorization", "").rpartition(":")[2]
    return int(text) / 1000 if text.isdigit() else None

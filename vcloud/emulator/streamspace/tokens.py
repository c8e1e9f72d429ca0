"""JWTs (HS256, RFC 7519) that expire and can be revoked, with the standard library only."""

from __future__ import annotations

import binascii
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from random import Random
from typing import Any

import msgspec

from vcloud.emulator.clock import Clock
from vcloud.emulator.streamspace.arguments import StreamSpaceError
from vcloud.emulator.streamspace.state import User

DAY = 86_400.0

_ENDS = "emulator_ends"
_HEADER = {"alg": "HS256", "typ": "JWT"}


class Tokens:
    """Issues, checks and revokes tokens. `life` is for new ones, in simulated seconds.

    A token expires by the emulator's clock, at the time in `_ENDS`. `exp` and the login's answer
    have it in the time of day, because clients compare those with their own clock.
    """

    def __init__(self, clock: Clock, random: Random, life: float = DAY) -> None:
        """Begin with no tokens; equal states of `random` give equal tokens."""
        self.life: float = life
        self._clock = clock
        self._random = random
        self._key = random.randbytes(32)
        self._live: dict[str, float] = {}
        self._given: dict[str, str] = {}

    @property
    def count(self) -> int:
        """How many issued tokens are valid, or have expired since the last one was issued."""
        return len(self._live)

    def issue(self, user: User) -> tuple[str, float]:
        """A new token, and when it expires, in the service's time of day."""
        now = self._clock.now()
        self._live = {id_: ends for id_, ends in self._live.items() if ends > now}
        id_, ends = self._random.randbytes(8).hex(), now + self.life
        day = self._clock.wall()
        self._live[id_] = ends
        claims = {
            "sub": user.id,
            "username": user.username,
            "role": user.role,
            "iat": int(day),
            "exp": day + self.life,
            _ENDS: ends,
            "jti": id_,
        }
        signed = f"{_encode(msgspec.json.encode(_HEADER))}.{_encode(msgspec.json.encode(claims))}"
        return f"{signed}.{self._signature(signed)}", day + self.life

    def accept(self, token: str, username: str) -> None:
        """Accept a token that was made elsewhere as this user's. It only ends when revoked."""
        self._given[token] = username

    def check(self, token: str) -> str:
        """The owner of a token; refuse one that is forged, expired or revoked."""
        if (username := self._owner(token)) is not None:
            return username
        claims = self._claims(token)
        if claims[_ENDS] <= self._clock.now():
            raise StreamSpaceError("AUTH_TOKEN_EXPIRED", "JWT token expired")
        if claims["jti"] not in self._live:
            raise StreamSpaceError("AUTH_TOKEN_INVALID", "JWT token was revoked")
        return str(claims["username"])

    def revoke(self, token: str) -> None:
        """Invalidate a token."""
        if self._owner(token) is not None:
            del self._given[token]
            return
        self._live.pop(self._claims(token)["jti"], None)

    def revoke_all(self) -> None:
        """Invalidate every token issued so far."""
        self._live.clear()
        self._given.clear()

    def _owner(self, token: str) -> str | None:
        """The owner of an accepted token, found in constant time."""
        found = None
        for given, username in self._given.items():
            if hmac.compare_digest(given.encode(), token.encode(errors="replace")):
                found = username
        return found

    def _claims(self, token: str) -> dict[str, Any]:
        signed, _, signature = token.rpartition(".")
        header, _, claims = signed.partition(".")
        if not hmac.compare_digest(
            signature.encode(errors="replace"), self._signature(signed).encode()
        ):
            raise StreamSpaceError(
                "AUTH_TOKEN_INVALID", "JWT token invalid or malformed: the signature does not match"
            )
        # The signature is ours, but a header with another algorithm must not be accepted.
        if _decode(header) != _HEADER:
            raise StreamSpaceError(
                "AUTH_TOKEN_INVALID", "JWT token invalid or malformed: the algorithm is not HS256"
            )
        return _decode(claims)

    def _signature(self, signed: str) -> str:
        return _encode(hmac.digest(self._key, signed.encode(errors="replace"), "sha256"))


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(part: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError, UnicodeError):
        return {}
    return found if isinstance(found, dict) else {}

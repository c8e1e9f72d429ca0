"""The logins of the published StreamSpace server: JWTs (HS256), which Redis may forget."""

from __future__ import annotations

import binascii
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from random import Random
from typing import Any, Final

import msgspec

from vcloud.emulator.clock import Clock
from vcloud.emulator.streamspace.published.catalog import GROUPS, NAMESPACE
from vcloud.emulator.streamspace.published.refusals import PublishedError
from vcloud.emulator.streamspace.published.state import User

DAY: Final = 86_400.0

_ENDS: Final = "emulator_ends"
_HEADER: Final = {"alg": "HS256", "typ": "JWT"}
_MALFORMED: Final = "token is malformed: token contains an invalid number of segments"
_UNDECODABLE: Final = (
    "token is malformed: could not base64 decode header: illegal base64 data at input byte {}"
)
_ILLEGAL: Final = re.compile(r"[^A-Za-z0-9_-]")
_FORGED: Final = "token signature is invalid: signature is invalid"
_EXPIRED: Final = "token has invalid claims: token is expired"


class Tokens:
    """Issues and checks tokens. `life` is for new ones, in simulated seconds.

    A token expires by the emulator's clock, at the time in `_ENDS`. `exp` and the login's answer
    have it in the time of day, because clients compare those with their own clock. The server
    itself ends no login before, a logout neither; only with `caching` a change of a session ends
    all of them, because the server then keeps them in Redis.
    """

    def __init__(self, clock: Clock, random: Random, life: float = DAY) -> None:
        """Begin with no tokens; equal states of `random` give equal tokens."""
        self.life: float = life
        self.with_dashes: bool | None = None
        """Whether new tokens contain `--`, which the filter of query values refuses.

        None leaves it to chance.
        """
        self._clock = clock
        self._random = random
        self._key = random.randbytes(32)
        self._live: set[str] = set()
        self._given: dict[str, str] = {}

    @property
    def count(self) -> int:
        """How many logins have not been ended. Those whose time is over are among them."""
        return len(self._live)

    def issue(self, user: User) -> tuple[str, float]:
        """A new token, and when it expires, in the service's time of day."""
        token, id_, ends = self._made(user)
        while self.with_dashes is not None and self.with_dashes is not ("--" in token):
            token, id_, ends = self._made(user)
        self._live.add(id_)
        return token, ends

    def _made(self, user: User) -> tuple[str, str, float]:
        day, id_ = self._clock.wall(), self._random.randbytes(32).hex()
        claims = {
            "user_id": user.id,
            "org_id": "default-org",
            "org_name": "Default Organization",
            "k8s_namespace": NAMESPACE,
            "username": user.username,
            "email": user.email,
            "role": user.role,
            "org_role": "user",
            "groups": GROUPS,
            "iss": "streamspace-api",
            "sub": user.id,
            "exp": int(day + self.life),
            "nbf": int(day),
            "iat": int(day),
            "jti": id_,
            _ENDS: self._clock.now() + self.life,
        }
        signed = f"{_encode(msgspec.json.encode(_HEADER))}.{_encode(msgspec.json.encode(claims))}"
        return f"{signed}.{self._signature(signed)}", id_, day + self.life

    def accept(self, token: str, user_id: str) -> None:
        """Accept a token that was made elsewhere as this user's. It only ends when revoked."""
        self._given[token] = user_id

    def check(self, token: str) -> str:
        """The id of a token's owner; refuse one that is forged, expired or ended."""
        if (given := self._owner(token)) is not None:
            return given
        claims = self.claims(token)
        if claims["jti"] not in self._live:
            raise PublishedError(401, "Session expired or invalidated")
        return str(claims["user_id"])

    def revoke_all(self) -> None:
        """End every login so far. The tokens can still be exchanged by `/auth/refresh`."""
        self._live.clear()
        self._given.clear()

    def claims(self, token: str) -> dict[str, Any]:
        """What a token says; refuse one that is forged or expired. An ended login does not count.

        Raises:
            PublishedError: the refusal.
        """
        if token.count(".") != 2:
            raise _invalid(_MALFORMED)
        signed, _, signature = token.rpartition(".")
        header, _, claims = signed.partition(".")
        if (at := _first_illegal(header)) is not None:
            raise _invalid(_UNDECODABLE.format(at))
        if not hmac.compare_digest(
            signature.encode(errors="replace"), self._signature(signed).encode()
        ):
            raise _invalid(_FORGED)
        # The signature is ours, but a header with another algorithm must not be accepted.
        if _decode(header) != _HEADER:
            raise _invalid(_FORGED)
        found = _decode(claims)
        if found[_ENDS] <= self._clock.now():
            raise _invalid(_EXPIRED)
        return found

    def owner_to_refresh(self, token: str) -> str:
        """The id of the owner of a token that is exchanged: an ended login does for that."""
        given = self._owner(token)
        return str(self.claims(token)["user_id"]) if given is None else given

    def _owner(self, token: str) -> str | None:
        """The owner of an accepted token, found in constant time."""
        found = None
        for given, user_id in self._given.items():
            if hmac.compare_digest(given.encode(), token.encode(errors="replace")):
                found = user_id
        return found

    def _signature(self, signed: str) -> str:
        return _encode(hmac.digest(self._key, signed.encode(errors="replace"), "sha256"))


def _invalid(why: str) -> PublishedError:
    return PublishedError(401, "Invalid or expired token", message=f"failed to parse token: {why}")


def _first_illegal(part: str) -> int | None:
    """Where a part of a token is no base64; None if it is."""
    found = _ILLEGAL.search(part)
    if found is not None:
        return found.start()
    return len(part) - 1 if len(part) % 4 == 1 else None


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(part: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError, UnicodeError):
        return {}
    return found if isinstance(found, dict) else {}

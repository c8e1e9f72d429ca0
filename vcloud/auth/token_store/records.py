"""A token that a login gave, and what a store keeps of it."""

from __future__ import annotations

import hashlib
from datetime import datetime
from math import inf
from typing import Any, Final, Self

import msgspec
from attrs import evolve, field, frozen

from vcloud._core.auth import credential
from vcloud._core.redaction.secretive import Secretive
from vcloud.errors import ConfigurationError, DecodeError

#: The most characters of a token from a login. Servers accept 8 to 16 KiB of headers, and the token
#: is in the headers of each request.
MAX_TOKEN: Final = 16 * 1024
#: Seconds before its end at which a token is replaced.
LEEWAY: Final = 60.0


@frozen(repr=False)
class ObtainedToken(Secretive):
    """A token that a login gave, to this process or to another one.

    Args:
        text: the token.
        expires_at: when it ends, as the service said; None when the service did not say.
        life: for how many seconds it lasted when the login gave it. Infinite when it is used until
            it is rejected.
        left: for how many seconds it still lasts.
        borrowed: it is of another process.
    """

    text: str = field(repr=False)
    expires_at: datetime | None = None
    life: float = inf
    left: float = inf
    borrowed: bool = False

    @classmethod
    def of(cls, text: str, expires_at: datetime | None, *, server_now: float) -> Self:
        """A token that a login has just given.

        Its lifetime is counted by the service's clock, because ours may be wrong. Without the
        service's clock, or with Go's zero time as its end, a token may seem to have expired when it
        arrives. A renewal would return another such token, so it is used until it is rejected.

        Args:
            text: the token.
            expires_at: when it ends, as the service said.
            server_now: the service's clock, in Unix seconds.

        Raises:
            DecodeError: this cannot be a token.
        """
        failure = None
        if len(text) > MAX_TOKEN:
            failure = f"the token has {len(text)} characters, more than {MAX_TOKEN}"
        else:
            try:
                credential(text, "the token")
            except ConfigurationError as error:
                failure = str(error)
        if failure is not None:
            raise DecodeError(f"the service returned an invalid token: {failure}")
        life = inf if expires_at is None else expires_at.timestamp() - server_now
        life = life if life > 0 else inf
        return cls(text, expires_at, life, life)

    @property
    def renew_in(self) -> float:
        """Seconds until it is time to obtain the next one."""
        return self.left - self.lead(self.life) if self.life < inf else inf

    @staticmethod
    def lead(life: float) -> float:
        """Seconds before its end at which a token of this life is replaced."""
        # A token that lives for less than the leeway must not be renewed for every request.
        return min(LEEWAY, 0.1 * life)


class Refusal(msgspec.Struct, omit_defaults=True, frozen=True):
    """The service's refusal of a login: attributes of the AuthenticationError.

    Attributes:
        message: the service's words, without secrets.
        status: the HTTP status.
        code: the service's code.
        meaning: what the documents say of the code.
        provider: whose login it was.
        may_be_temporary: whether the service answers so too while it cannot look credentials up.
    """

    message: str
    status: int
    code: int | str | None = None
    meaning: str = ""
    provider: str = ""
    may_be_temporary: bool = False


class Record(msgspec.Struct, omit_defaults=True, frozen=True):
    """What a store keeps of a token, or of a refused login.

    Attributes:
        token: the token.
        expires_at: when it ends, as the service said.
        life: for how many seconds it lasted when the login gave it; None: until it is rejected.
        left: for how many seconds it lasted when it was written.
        salt: of the check.
        check: what the password becomes with this salt.
        wall: when a file was written, in Unix seconds.
        boot: the boot of the machine that wrote it.
        since_boot: seconds from that boot until it was written.
        refusal: why a login was refused; None in the record of a token.
    """

    token: str
    salt: str
    check: str
    expires_at: datetime | None = None
    life: float | None = None
    left: float = 0.0
    wall: float = 0.0
    boot: str = ""
    since_boot: float = 0.0
    refusal: Refusal | None = None

    def __repr__(self) -> str:
        return "Record(***)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []

    __sentry_repr__ = __repr__

    @classmethod
    def of(cls, token: ObtainedToken, salt: str, check: str) -> Self:
        """What is stored of a token."""
        if token.life == inf:
            return cls(token.text, salt, check, token.expires_at)
        return cls(token.text, salt, check, token.expires_at, token.life, token.left)

    def obtained(self, age: float) -> ObtainedToken | None:
        """The token, so many seconds after it was written; None if no header can carry it."""
        try:
            found = ObtainedToken.of(self.token, self.expires_at, server_now=inf)
        except DecodeError:
            return None
        if self.life is None:
            return evolve(found, borrowed=True)
        return evolve(found, life=self.life, left=self.left - age, borrowed=True)


def store_key(base_url: str, username: str, path: str, what: str = "") -> str:
    """The name of a token in a store, which shows neither the address nor the user.

    Args:
        base_url: the address of the API.
        username: who logs in.
        path: where, below the base URL.
        what: of what else than the token it is the name.
    """
    named = "\n".join(filter(None, (base_url, path, username, what)))
    return hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()

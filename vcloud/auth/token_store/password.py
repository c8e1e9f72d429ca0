"""Shows that two processes have the same password, without storing it.

A token in a store must not serve someone who only knows the name of its user: a web application
may make ``BearerAuth.login`` from what a visitor typed. So a store keeps a check beside the token,
which scrypt (RFC 7914) makes of the password and a random salt. It takes some hundredths of a
second and 16 MiB to try a password.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from typing import Final

from vcloud._core.redaction.secretive import Secretive, concealing
from vcloud.auth.token_store.store import StoreAwayError

#: The cost for interactive logins (RFC 7914, 2).
_COST: Final = 2**14
_BLOCK: Final = 8


class PasswordCheck(Secretive):
    """The check of one password. It remembers the last salt, which tokens in a row share.

    Args:
        password: the password.
    """

    __slots__ = ("_check", "_password", "_salt")

    def __init__(self, password: str) -> None:
        self._password = password
        self._salt = ""
        self._check = ""

    @concealing
    async def current(self) -> tuple[str, str]:
        """A salt, and what it makes of the password.

        Raises:
            StoreAwayError: this Python has no scrypt, or its event loop ends.
        """
        if not self._salt:
            await self._derive(secrets.token_hex(16))
        return self._salt, self._check

    @concealing
    async def matches(self, salt: str, check: str) -> bool:
        """Whether the check was made of this password.

        Raises:
            StoreAwayError: as for :meth:`current`.
        """
        if salt == self._salt:
            return hmac.compare_digest(check.encode(), self._check.encode())
        made = await self._derived(salt)
        if not hmac.compare_digest(check.encode(), made.encode()):
            return False
        self._salt, self._check = salt, made
        return True

    async def _derive(self, salt: str) -> None:
        self._check = await self._derived(salt)
        self._salt = salt

    async def _derived(self, salt: str) -> str:
        try:
            # In a thread, because it would block the loop for some hundredths of a second.
            return await asyncio.to_thread(_scrypt, self._password, salt)
        except (AttributeError, ValueError):
            raise StoreAwayError("this Python's OpenSSL has no scrypt") from None
        except RuntimeError:
            # Of a cleanup at the end of asyncio.run.
            raise StoreAwayError("the event loop starts no threads any more") from None


def _scrypt(password: str, salt: str) -> str:
    given = password.encode("utf-8", "surrogatepass")
    made = hashlib.scrypt(given, salt=salt.encode(), n=_COST, r=_BLOCK, p=1, dklen=32)
    return made.hex()

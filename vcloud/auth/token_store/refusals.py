"""A refused login, which the processes share too: eight workers ask about one password once.

Beside the token of a user, under a name of its own, is the service's last refusal of a login: its
words, and a slow hash of the password that was refused. It is kept for as long as a process
remembers a refusal. Neither the password nor the address is in it.
"""

from __future__ import annotations

import msgspec

from vcloud._core.refused_credentials import HOLD, hold_of, recalled
from vcloud._core.request import Request
from vcloud.auth.token_store.records import Record, Refusal
from vcloud.auth.token_store.store import Found
from vcloud.errors import AuthenticationError

__all__ = ["error_of", "left", "record_of"]


def record_of(error: AuthenticationError, salt: str, check: str) -> Record:
    """What is stored of a refusal.

    Args:
        error: the refusal.
        salt: of the check.
        check: what the password becomes with this salt.
    """
    words = Refusal(
        error.message,
        error.status,
        error.code,
        error.meaning,
        error.provider,
        error.may_be_temporary,
    )
    hold = hold_of(error)
    return Record("refused", salt, check, life=hold, left=hold, refusal=words)


def left(found: Found | None) -> float:
    """For how many seconds a refusal still counts; 0 for none."""
    if found is None or found.record.refusal is None:
        return 0.0
    return min(HOLD, found.record.left) - found.age


def error_of(refusal: Refusal, base_url: str, request: Request) -> AuthenticationError:
    """The error of a process that sent nothing, because another one was refused.

    Args:
        refusal: what was stored.
        base_url: the address of the API.
        request: the login.
    """
    known = msgspec.structs.asdict(refusal)
    temporary = known.pop("may_be_temporary")
    url = f"{base_url}{request.path}"
    made = AuthenticationError(**known, method=request.method, url=url)
    made.may_be_temporary = temporary
    return recalled(made)

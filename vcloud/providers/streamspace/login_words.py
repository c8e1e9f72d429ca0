"""What the published server means when it refuses credentials; it sends no ``code``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vcloud._core.request import UPGRADES, UPGRADES_WITHOUT_SLOT, Request
from vcloud.errors import AuthenticationError

__all__ = ["mark_refusal"]

#: It ends all logins whenever anybody changes a session, if it keeps them in Redis.
_ENDED: Final = "Session expired or invalidated"
#: It says these too while its database, or the Redis with its logins, is away.
_TEMPORARY: Final = frozenset({_ENDED, "Invalid credentials", "User not found"})


def mark_refusal(error: AuthenticationError, request: Request, body: Mapping[str, Any]) -> None:
    """Say of a refusal whether the login has ended, and whether it may be temporary.

    Args:
        error: the refusal.
        request: what was refused.
        body: the answer; empty where there is none. That of an upgrade to a WebSocket is.
    """
    if error.status != 401 or "code" in body:
        return
    if not body:
        error.login_ended = request.bucket in {UPGRADES, UPGRADES_WITHOUT_SLOT}
        return
    words = str(body.get("error"))
    error.login_ended = words == _ENDED
    error.may_be_temporary = words in _TEMPORARY

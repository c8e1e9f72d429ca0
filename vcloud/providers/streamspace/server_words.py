"""What the published server says when it refuses, and what that means.

Its errors have no ``code``: ``error`` is a short text, and ``message``, ``details`` or ``fields``
may say more. Where such a text means what a documented code means, the error gets that code, so
that one handler serves both kinds of installation. All of it is from the wire, or from the
server's source where the wire could not show it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from vcloud.errors import (
    APIError,
    AuthenticationError,
    CapacityError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    ServerError,
)

__all__ = ["NO_PATH", "Words", "note_login", "words_of"]


class Words(msgspec.Struct, frozen=True):
    """What a refusal means.

    Attributes:
        code: the documented code that means the same; None: there is none.
        error: the exception; None: that of the code, or of the status.
        meaning: what the words do not say themselves.
        states: for a change of a session's state, the state that it has and the one asked for.
        outcome: whether they state how a change ended.
    """

    code: str | None = None
    error: type[APIError] | None = None
    meaning: str = ""
    states: tuple[str, str] | None = None
    outcome: bool = False


#: The answer to a path that this server does not have. It is no resource that is gone.
NO_PATH: Final = Words(error=InvalidRequestError)
#: An upgrade to a WebSocket is refused without a body.
_LOGIN_ENDED: Final = Words("AUTH_TOKEN_EXPIRED", meaning="the login has ended")

#: It ends all logins whenever anybody changes a session, if it keeps them in Redis.
_ENDED: Final = "Session expired or invalidated"
#: It says these too while its database, or the Redis with its logins, is away.
_TEMPORARY: Final = (_ENDED, "Invalid credentials", "User not found")

_AGENT_AWAY: Final = Words("AGENT_OFFLINE")
_NO_ROLE: Final = Words("AUTH_INSUFFICIENT_PERMISSIONS")
_INVALID: Final = Words("VALIDATION_FAILED")
_PARAMETER: Final = Words("INVALID_PARAMETER")
_CHANGED: Final = Words(
    meaning="the server had changed the session before this failed; its agent was not told"
)
_BY_WORDS: Final[Mapping[tuple[int, str], Words]] = {
    (400, "Invalid path"): _PARAMETER,
    (400, "Invalid query parameter"): _PARAMETER,
    (400, "Invalid request"): _INVALID,
    (400, "Invalid request body"): _INVALID,
    (400, "Invalid request format"): _INVALID,
    (400, "Invalid resource request"): _INVALID,
    (400, "Invalid state. Must be: running, hibernated, or terminated"): _INVALID,
    (400, "Missing agent_id"): Words("MISSING_REQUIRED_FIELD"),
    (400, "Missing required field"): Words("MISSING_REQUIRED_FIELD"),
    (400, "Validation failed"): _INVALID,
    (401, "Authorization header required"): Words("AUTH_TOKEN_MISSING"),
    (401, "Invalid authorization header format. Use: Bearer <token>"): Words("AUTH_TOKEN_INVALID"),
    (401, "Invalid credentials"): Words("AUTH_INVALID_CREDENTIALS"),
    (401, "Invalid or expired token"): Words("AUTH_TOKEN_INVALID"),
    (401, _ENDED): Words("AUTH_TOKEN_EXPIRED"),
    (403, "Access denied"): _NO_ROLE,
    (403, "Insufficient permissions"): _NO_ROLE,
    (403, "Quota exceeded"): Words(error=CapacityError),
    (404, "Agent not found"): Words("AGENT_NOT_FOUND"),
    (404, "Agent not found or not in pending status"): Words("AGENT_NOT_FOUND"),
    (404, "Session not found"): Words("SESSION_NOT_FOUND"),
    (404, "Template not found"): Words("TEMPLATE_NOT_FOUND"),
    # It is neither of the client's nor of the connection's making: the server took too long.
    (408, "Request timeout"): Words(error=ServerError),
    (409, "Invalid session state"): Words("INVALID_STATE_TRANSITION"),
    (409, "Session already terminating"): Words("SESSION_TERMINATING"),
    (500, "Failed to create agent command"): _CHANGED,
    (500, "Failed to create hibernate command"): _CHANGED,
    (500, "Failed to create stop command"): _CHANGED,
    (500, "Failed to create wake command"): _CHANGED,
    (500, "Failed to dispatch hibernate command"): _CHANGED,
    (500, "Failed to dispatch stop command"): _CHANGED,
    (500, "Failed to dispatch wake command"): _CHANGED,
    (503, "Agent not connected"): _AGENT_AWAY,
    (503, "No agents available"): Words("NO_AGENTS_AVAILABLE"),
    (503, "Session has no agent assigned"): Words(error=CapacityError),
}

_UNKNOWN_USER: Final = Words(
    error=NotFoundError,
    meaning="the server looks for the user by name, and there is none of this name",
)
_DUPLICATE: Final = Words(
    error=ConflictError, meaning="there is one of the same name or address", outcome=True
)
_WITHOUT_OWNER: Final = Words(
    error=InvalidRequestError,
    meaning="on this server only its built-in administrator can have sessions",
    outcome=True,
)
_REFERS: Final = Words(
    error=InvalidRequestError, meaning="it refers to something that does not exist", outcome=True
)
_REFERRED: Final = Words(
    error=ConflictError, meaning="others still refer to it, such as sessions", outcome=True
)
_DUPLICATE_KEY: Final = "duplicate key value violates unique constraint"
_FOREIGN_KEY: Final = re.compile(
    r'(insert or )?update (?:or delete )?on table "[^"]*" violates foreign key constraint'
)
_TRANSITION: Final = re.compile(
    r"Session must be in '[^']*' state to (hibernate|wake), currently: (\S+)"
)
_TARGETS: Final = {"hibernate": "hibernated", "wake": "running"}
_AGENT: Final = re.compile(r"Agent .+ is not connected")
_FIELD: Final = re.compile(r"Error:Field validation for '[^']*' failed on the '([^']*)' tag")


def words_of(status: int, body: Mapping[str, Any], *, upgrade: bool) -> Words | None:
    """What the server's words mean; None: they are not known.

    Args:
        status: the HTTP status.
        body: the answer; empty if it is no JSON object.
        upgrade: whether it answers the upgrade to a WebSocket.
    """
    error = body.get("error")
    if not isinstance(error, str) or not error:
        if status == 404 and not body.get("code"):
            return NO_PATH
        return _LOGIN_ENDED if upgrade and status == 401 and not body else None
    said = " ".join(
        text for name in ("error", "message", "details") if isinstance(text := body.get(name), str)
    )
    more = _BY_MESSAGE.get(status)
    return (more and more(error, said)) or _BY_WORDS.get((status, error))


def note_login(error: AuthenticationError, body: Mapping[str, Any], *, upgrade: bool) -> None:
    """Note in a refusal whether the login has ended, and whether the refusal may be temporary.

    Args:
        error: the refusal.
        body: the answer; empty if it is no JSON object.
        upgrade: whether it answers the upgrade to a WebSocket.
    """
    if error.status != 401 or "code" in body:
        return
    if not body:
        error.login_ended = upgrade
        return
    words = body.get("error")
    error.login_ended = words == _ENDED
    error.may_be_temporary = words in _TEMPORARY


def _of_fields(error: str, said: str) -> Words | None:  # noqa: ARG001 - as its neighbours
    """A field of a body is missing or wrong."""
    found = _FIELD.search(said)
    if found is None:
        return None
    return Words("MISSING_REQUIRED_FIELD") if found[1] == "required" else _INVALID


def _of_token(error: str, said: str) -> Words | None:
    """A token has expired."""
    expired = error == "Invalid or expired token" and "expired" in said[len(error) :]
    return Words("AUTH_TOKEN_EXPIRED") if expired else None


def _of_quota(error: str, said: str) -> Words | None:
    """The quota's user is not known."""
    return _UNKNOWN_USER if error == "Quota exceeded" and "user not found" in said else None


def _of_state(error: str, said: str) -> Words | None:  # noqa: ARG001 - as its neighbours
    """A session is in a state that does not allow the change."""
    found = _TRANSITION.search(said)
    states = None if found is None else (found[2], _TARGETS[found[1]])
    return Words("INVALID_STATE_TRANSITION", states=states) if states else None


def _of_database(error: str, said: str) -> Words | None:
    """The database refused a change, and so nothing was changed."""
    if _DUPLICATE_KEY in said:
        return _DUPLICATE
    found = _FOREIGN_KEY.search(said)
    if found is None:
        return None
    if not found[1]:
        return _REFERRED
    return _WITHOUT_OWNER if error == "Failed to create session" else _REFERS


def _of_agent(error: str, said: str) -> Words | None:  # noqa: ARG001 - as its neighbours
    """A session's agent is not connected."""
    return _AGENT_AWAY if _AGENT.fullmatch(error) else None


#: Words that name something, by the status that they come with.
_BY_MESSAGE: Final[Mapping[int, Callable[[str, str], Words | None]]] = {
    400: _of_fields,
    401: _of_token,
    403: _of_quota,
    409: _of_state,
    500: _of_database,
    503: _of_agent,
}

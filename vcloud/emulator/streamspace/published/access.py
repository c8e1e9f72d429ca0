"""Who sends a request to the published StreamSpace: a login's token, or an agent's key."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Final

import msgspec

from vcloud.emulator.streamspace.published.refusals import PublishedError, invalid_key
from vcloud.emulator.streamspace.published.state import Agent

COOKIE: Final = "streamspace_proxy_token"
KEY_HEADER: Final = "X-Agent-API-Key"
KEY_LENGTH: Final = 64

_HEXADECIMAL: Final = re.compile(r"[0-9a-fA-F]*")


def token_of(headers: Mapping[str, str], query: Mapping[str, str], *, in_query: bool) -> str:
    """The token of a request: from the query or a cookie where they count, else from the header.

    Raises:
        PublishedError: there is none, or it is not a bearer token.
    """
    if in_query and (found := query.get("token") or _cookie(headers.get("Cookie", ""))):
        return found
    header = headers.get("Authorization", "")
    if not header:
        raise PublishedError(401, "Authorization header required")
    scheme, blank, token = header.partition(" ")
    if scheme != "Bearer" or not blank:
        raise PublishedError(401, "Invalid authorization header format. Use: Bearer <token>")
    return token


def key_of(headers: Mapping[str, str]) -> str:
    """The key of an agent's request.

    Raises:
        PublishedError: there is none, or it is not 64 hexadecimal digits.
    """
    key = headers.get(KEY_HEADER, "")
    if not key:
        raise PublishedError(
            401,
            "Missing authentication",
            details="Either client certificate (mTLS) or X-Agent-API-Key header is required",
        )
    if len(key) != KEY_LENGTH:
        raise invalid_key(f"API key must be {KEY_LENGTH} characters (got {len(key)})")
    if not _HEXADECIMAL.fullmatch(key):
        raise invalid_key("API key must contain only hexadecimal characters")
    return key


def agent_id_of(query: Mapping[str, str], params: Mapping[str, str], content: bytes) -> str:
    """The agent that a request is about, from the query, the path or the body.

    Raises:
        PublishedError: it is in none of them.
    """
    found = query.get("agent_id") or params.get("agent_id") or _in_body(content)
    if not found:
        raise PublishedError(400, "Missing agent_id", details="agent_id must be provided")
    return found


def with_bootstrap_key(key: str, agent_id: str, agent: Agent | None, bootstrap: str) -> bool:
    """Whether an agent's request has the installation's key; False if it has the agent's own.

    Raises:
        PublishedError: it has neither.
    """
    if agent is not None and agent.key is not None and _same(key, agent.key):
        return False
    if _same(key, bootstrap):
        return True
    if agent is None:
        raise PublishedError(
            404,
            "Agent not found",
            details="Agent must be pre-registered or use a valid bootstrap key",
            agentId=agent_id,
        )
    raise PublishedError(403, "Invalid API key")


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(errors="replace"), other.encode(errors="replace"))


def _cookie(header: str) -> str:
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _in_body(content: bytes) -> str:
    try:
        found = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    name = found.get("agentId") if isinstance(found, dict) else None
    return name if isinstance(name, str) else ""

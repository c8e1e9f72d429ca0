"""What the published StreamSpace server refuses before it looks at a path: its filters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_plus

from vcloud.emulator.streamspace.published.refusals import PublishedError

LARGEST: Final = 10 * 1024 * 1024
"""Bytes of a body."""
LONGEST: Final = 10_000
"""Characters of a value of the query."""

_MALFORMED: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_TRAVERSAL: Final = ("../", "..\\", "/..", "\\..", "%2e%2e", "%252e%252e", "..%2f", "..%5c")
_SQL: Final = re.compile(
    r"union\s+select|select\s+.*\s+from|insert\s+into|delete\s+from|drop\s+table|update\s+.*\s+set"
    r"|exec\s*\(|execute\s*\(|script\s*>|javascript:|onerror\s*=|onload\s*=|--|#|/\*",
    re.IGNORECASE,
)
_COMMAND: Final = re.compile(r"[;&|`]|\$\(")
_LDAP: Final = "*()\\/\0"
_TWO: Final = 2


def read_query(query: str) -> dict[str, list[str]]:
    """The values of each parameter. What is malformed is left out, as a semicolon makes it."""
    found: dict[str, list[str]] = {}
    for part in query.split("&"):
        if part and ";" not in part and not _MALFORMED.search(part):
            name, _, value = part.partition("=")
            found.setdefault(unquote_plus(name), []).append(unquote_plus(value))
    return found


def refuse_path(path: str) -> None:
    """Refuse a decoded path that seems to lead out of its folder.

    Raises:
        PublishedError: the refusal.
    """
    if any(one in path.lower() for one in _TRAVERSAL):
        raise PublishedError(400, "Invalid path", message="path traversal attempt detected")
    if "\0" in path:
        raise PublishedError(400, "Invalid path", message="null byte detected in path")


def refuse_query(parameters: Iterable[tuple[str, str]]) -> None:
    """Refuse a value that looks like SQL, a command or LDAP, as `a--b` and `R&D` do.

    Raises:
        PublishedError: the refusal.
    """
    for name, value in parameters:
        if why := _suspicion(value):
            raise PublishedError(
                400, "Invalid query parameter", message=f"Parameter '{name}': {why}"
            )


def refuse_size(size: int) -> None:
    """Refuse a body of more than 10 MB.

    Raises:
        PublishedError: the refusal.
    """
    if size > LARGEST:
        raise PublishedError(
            413,
            "Request entity too large",
            message="Request body exceeds maximum allowed size",
            max_size_mb=LARGEST // 1024**2,
        )


def _suspicion(value: str) -> str:
    if len(value.encode(errors="replace")) > LONGEST:
        return f"value too long (max {LONGEST} characters)"
    if "\0" in value:
        return "null byte detected"
    if _SQL.search(value):
        return "potential SQL injection detected"
    if _COMMAND.search(value):
        return "potential command injection detected"
    if sum(character in value for character in _LDAP) >= _TWO:
        return "potential LDAP injection detected"
    return ""

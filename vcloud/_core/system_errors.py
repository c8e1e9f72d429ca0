"""Descriptions of errors of the operating system and of OpenSSL that quote no text of a peer."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Final

__all__ = ["describe_cause", "describe_system_error", "error_and_causes"]

#: OpenSSL's constants for failures, such as ``WRONG_VERSION_NUMBER``.
_CONSTANT: Final = re.compile(r"[A-Z][A-Z0-9_]{2,80}\Z")
#: The failures of getaddrinfo (POSIX).
_NAMES: Final = {
    getattr(socket, name): words
    for name, words in (
        ("EAI_AGAIN", "the name servers did not answer"),
        ("EAI_FAIL", "the name servers failed"),
        ("EAI_NODATA", "the name has no address"),
        ("EAI_NONAME", "the name is not known"),
    )
    if hasattr(socket, name)
}


def describe_system_error(error: BaseException) -> str:
    """An error of the operating system, by its number; one of OpenSSL, by its constant."""
    if isinstance(error, ssl.SSLError):
        reason = error.reason
        known = _CONSTANT.match(reason or "")
        return f"TLS failed: {reason.replace('_', ' ').lower()}" if known else "TLS failed"
    if isinstance(error, socket.gaierror):
        # EAI_NONAME and so on.
        return _NAMES.get(error.errno or 0, type(error).__name__)
    if isinstance(error, OSError) and error.errno:
        try:
            return f"{os.strerror(error.errno)}, errno {error.errno}"
        except (ValueError, OverflowError):
            pass
    return type(error).__name__


def describe_cause(error: BaseException) -> str:
    """The first error of the operating system among the causes of an error."""
    for link in error_and_causes(error):
        if isinstance(link, OSError) and (link.errno or isinstance(link, ssl.SSLError)):
            return describe_system_error(link)
    return "no details are known"


def error_and_causes(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes: aiohttp's errors have those of its parser as causes."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__

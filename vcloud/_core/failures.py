"""What went wrong on the wire, in words of our own.

The texts of aiohttp, ssl and asyncio quote what came (a status line, a header, a chunk) and what
was sent (an address with its query). A peer that repeats what it heard would put a credential there
into errors, logs and journals. So nothing of their texts is taken over, but only facts that cannot
come from the peer: the kind of fault, an error number of the operating system, a constant of
OpenSSL, and the host and port that this side wanted to reach.

It imports aiohttp because it tells the kinds of aiohttp's errors apart, and adds kinds of its own
that aiohttp passes on unchanged.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any, Final

import aiohttp
from aiohttp import http_exceptions


class UnaskedError(aiohttp.ClientConnectionError):
    """The peer sent something before it was asked. Nothing was sent on this connection."""

    def __init__(self) -> None:
        super().__init__("the peer sent data before it was asked, so the connection was closed")


class StaleError(aiohttp.ClientConnectionError):
    """The peer had left a kept-alive connection. Nothing was sent on this connection."""

    def __init__(self) -> None:
        super().__init__("the peer had closed the kept connection before anything was sent on it")


class UnconnectedError(aiohttp.ConnectionTimeoutError):
    """No connection came about in time. Its text says what was waited for."""


class GivenUpError(aiohttp.ClientConnectionError):
    """Nobody waits for the answer any more. Nothing was sent."""

    def __init__(self) -> None:
        super().__init__(
            "the call was cancelled, or its client closed, before it had a connection; "
            "nothing was sent"
        )


class DroppedError(Exception):
    """A kept-alive connection turned out to be dead."""


#: What aiohttp's parser could not read. The first one that fits counts.
_UNREADABLE: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (http_exceptions.LineTooLong, "a line that is too long"),
    (http_exceptions.InvalidHeader, "a header that is none"),
    (http_exceptions.BadStatusLine, "a status line that is none"),
    (http_exceptions.TransferEncodingError, "a chunked body that is broken or incomplete"),
    (http_exceptions.ContentLengthError, "a body that is shorter than its Content-Length"),
    (http_exceptions.ContentEncodingError, "a body that cannot be decompressed"),
    (http_exceptions.PayloadEncodingError, "a body that is broken or incomplete"),
    (http_exceptions.HttpProcessingError, "no HTTP, or HTTP that is broken"),
)
#: aiohttp's checks of an upgrade, by its own fixed texts (RFC 6455, 4.1).
_UPGRADES: Final = {
    "Invalid response status": "its status is not 101",
    "Invalid upgrade header": "its Upgrade header is not websocket",
    "Invalid connection header": "its Connection header is not upgrade",
    "Invalid challenge response": "its Sec-WebSocket-Accept is not that of the request",
}
#: What OpenSSL names a failure, such as ``WRONG_VERSION_NUMBER``.
_CONSTANT: Final = re.compile(r"[A-Z][A-Z0-9_]{2,80}\Z")


def fault_words(error: object) -> str:
    """What went wrong, without a word of the peer's.

    Args:
        error: what aiohttp, ssl or asyncio raised, or what a WebSocket of aiohttp's ended with.
    """
    for kind, words in _WORDS:
        if isinstance(error, kind):
            return words(error)
    if isinstance(error, BaseException):
        for link in _history(error):
            for broken, what in _UNREADABLE:
                if isinstance(link, broken):
                    return f"what came is {what}"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the answer ended before it was complete"
    return type(error).__name__


def awaited_words(request: aiohttp.ClientRequest, *, unresolved: str | None = None) -> str:
    """What is missing while a request has no connection.

    Args:
        request: the request.
        unresolved: the name that nobody has answered for.
    """
    if unresolved is not None:
        return f"the name {unresolved} was not resolved"
    where = f"{request.url.host}:{request.url.port}"
    return f"no connection to {where}{' by way of the proxy' if request.proxy else ''} was made"


def _no_upgrade(error: aiohttp.WSServerHandshakeError) -> str:
    why = _UPGRADES.get(error.message, "it is not what RFC 6455 asks for")
    return f"the answer to the upgrade is none: {why}"


def _unconnected(error: aiohttp.ConnectionTimeoutError) -> str:
    # aiohttp puts an error of its own before the one that was raised where it connects.
    awaited = error.__cause__
    return str(awaited) if isinstance(awaited, UnconnectedError) else "no connection was made"


def _not_connected(error: aiohttp.ClientConnectorError) -> str:
    where = f"{error.host}:{error.port}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {error.host} was not resolved ({system_words(error.os_error)})"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return f"no connection to the proxy for {where} ({system_words(error.os_error)})"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        refusal = error.certificate_error
        why = (
            f" ({refusal.verify_message})"
            # With a code it is OpenSSL's own, or names the host that this side asked for.
            if isinstance(refusal, ssl.SSLCertVerificationError) and refusal.verify_code
            else ""
        )
        return f"certificate verify failed for {where}{why}"
    return f"no connection to {where} ({system_words(error.os_error)})"


def system_words(error: BaseException) -> str:
    """An error of the operating system by its number, one of OpenSSL by its constant."""
    if isinstance(error, ssl.SSLError):
        reason = error.reason
        known = _CONSTANT.match(reason or "")
        return f"TLS failed: {reason.replace('_', ' ').lower()}" if known else "TLS failed"
    if isinstance(error, socket.gaierror):
        # EAI_NONAME and so on; libc has fixed words for each.
        return _NAMES.get(error.errno or 0, type(error).__name__)
    if isinstance(error, OSError) and error.errno:
        try:
            return f"{os.strerror(error.errno)}, errno {error.errno}"
        except (ValueError, OverflowError):
            pass
    return type(error).__name__


def cause_words(error: BaseException) -> str:
    """Why something failed, by the first error of the operating system that led to it."""
    for link in _history(error):
        if isinstance(link, OSError) and (link.errno or isinstance(link, ssl.SSLError)):
            return system_words(link)
    return "no more is known"


def _history(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it: aiohttp puts its parser's behind one of its own."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


#: What getaddrinfo fails with, in words (POSIX).
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
#: The kinds of fault. The first one that fits counts.
_WORDS: Final[tuple[tuple[type[BaseException], Callable[[Any], str]], ...]] = (
    (DroppedError, str),
    (UnaskedError, str),
    (StaleError, str),
    (GivenUpError, str),
    (UnconnectedError, str),
    (aiohttp.InvalidURL, lambda error: "not a valid address"),
    (
        aiohttp.ClientHttpProxyError,
        lambda error: f"the proxy answered CONNECT with {error.status}",
    ),
    (aiohttp.WSServerHandshakeError, _no_upgrade),
    (
        aiohttp.WebSocketError,
        lambda error: f"the peer broke the protocol (code {int(error.code)})",
    ),
    (
        aiohttp.ServerFingerprintMismatch,
        lambda error: f"the certificate of {error.host} has another fingerprint",
    ),
    (aiohttp.ConnectionTimeoutError, _unconnected),
    (aiohttp.ClientConnectorError, _not_connected),
    (
        aiohttp.ServerDisconnectedError,
        lambda error: "the peer closed the connection before its answer was complete",
    ),
    (TimeoutError, lambda error: type(error).__name__),
    (OSError, system_words),
)

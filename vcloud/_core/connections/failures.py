"""Failures of connections, and descriptions of them that quote nothing from the peer.

The texts of aiohttp, ssl and asyncio quote what was received (a status line, a header, a chunk) and
what was sent (an address with its query). If a peer echoed a credential, such a text would put it
into errors, logs and journals. So the descriptions contain only facts that cannot come from the
peer: the kind of failure, an error number of the operating system, a constant of OpenSSL, and the
host and port that this side wanted to reach.

This module imports aiohttp to tell its errors apart, and adds errors that aiohttp passes on
unchanged.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, Final

import aiohttp
from aiohttp import http_exceptions

from vcloud._core.system_errors import describe_system_error, error_and_causes


class UnsolicitedDataError(aiohttp.ClientConnectionError):
    """The peer sent data before the request. Nothing was sent on this connection."""

    def __init__(self) -> None:
        super().__init__("the peer sent data before the request, so the connection was closed")


class StaleConnectionError(aiohttp.ClientConnectionError):
    """The peer had closed a kept-alive connection. Nothing was sent on it."""

    def __init__(self) -> None:
        super().__init__("the peer had closed the kept connection before anything was sent on it")


class NotConnectedError(aiohttp.ConnectionTimeoutError):
    """No connection was made in time. The text says what was missing."""


class NotSentError(aiohttp.ClientConnectionError):
    """The caller no longer waits for the answer, so nothing was sent."""

    def __init__(self) -> None:
        super().__init__(
            "the call was cancelled, or its client closed, before it had a connection; "
            "nothing was sent"
        )


class DroppedConnectionError(Exception):
    """The connection broke while a request was in flight."""


#: What aiohttp's parser could not read. The first one that matches counts.
_UNREADABLE: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (http_exceptions.LineTooLong, "a line that is too long"),
    (http_exceptions.InvalidHeader, "an invalid header"),
    (http_exceptions.BadStatusLine, "an invalid status line"),
    (http_exceptions.TransferEncodingError, "a chunked body that is broken or incomplete"),
    (http_exceptions.ContentLengthError, "a body that is shorter than its Content-Length"),
    (http_exceptions.ContentEncodingError, "a body that cannot be decompressed"),
    (http_exceptions.PayloadEncodingError, "a body that is broken or incomplete"),
    (http_exceptions.HttpProcessingError, "not valid HTTP"),
)
#: What aiohttp checks in an upgrade (RFC 6455, 4.1), by its own fixed texts.
_UPGRADES: Final = {
    "Invalid response status": "its status is not 101",
    "Invalid upgrade header": "its Upgrade header is not websocket",
    "Invalid connection header": "its Connection header is not upgrade",
    "Invalid challenge response": "its Sec-WebSocket-Accept is not that of the request",
}


def describe_failure(error: object) -> str:
    """What failed, in words that quote nothing from the peer.

    Args:
        error: what aiohttp, ssl or asyncio raised, or what a WebSocket of aiohttp's ended with.
    """
    for kind, describe in _DESCRIPTIONS:
        if isinstance(error, kind):
            return describe(error)
    if isinstance(error, BaseException):
        for link in error_and_causes(error):
            for broken, what in _UNREADABLE:
                if isinstance(link, broken):
                    return f"the answer is {what}"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the answer ended before it was complete"
    return type(error).__name__


def describe_missing(request: aiohttp.ClientRequest, *, unresolved: str | None = None) -> str:
    """What is missing while a request has no connection.

    Args:
        request: the request.
        unresolved: the host name that is still being looked up.
    """
    if unresolved is not None:
        return f"the name {unresolved} was not resolved"
    where = f"{request.url.host}:{request.url.port}"
    return f"no connection to {where}{' by way of the proxy' if request.proxy else ''} was made"


def _no_upgrade(error: aiohttp.WSServerHandshakeError) -> str:
    why = _UPGRADES.get(error.message, "it is not what RFC 6455 requires")
    return f"the answer to the upgrade is invalid: {why}"


def _unconnected(error: aiohttp.ConnectionTimeoutError) -> str:
    # aiohttp raises its own error, whose cause is the one from within the connecting.
    awaited = error.__cause__
    return str(awaited) if isinstance(awaited, NotConnectedError) else "no connection was made"


def _not_connected(error: aiohttp.ClientConnectorError) -> str:
    where = f"{error.host}:{error.port}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {error.host} was not resolved ({describe_system_error(error.os_error)})"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return f"no connection to the proxy for {where} ({describe_system_error(error.os_error)})"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        refusal = error.certificate_error
        why = (
            f" ({refusal.verify_message})"
            # With a code, the text is OpenSSL's own, or names the host that this side wanted.
            if isinstance(refusal, ssl.SSLCertVerificationError) and refusal.verify_code
            else ""
        )
        return f"certificate verify failed for {where}{why}"
    return f"no connection to {where} ({describe_system_error(error.os_error)})"


#: The kinds of failures. The first one that matches counts.
_DESCRIPTIONS: Final[tuple[tuple[type[BaseException], Callable[[Any], str]], ...]] = (
    (DroppedConnectionError, str),
    (UnsolicitedDataError, str),
    (StaleConnectionError, str),
    (NotSentError, str),
    (NotConnectedError, str),
    (aiohttp.InvalidURL, lambda error: "not a valid address"),
    (
        aiohttp.ClientHttpProxyError,
        lambda error: f"the proxy answered CONNECT with {error.status}",
    ),
    (aiohttp.WSServerHandshakeError, _no_upgrade),
    (
        aiohttp.WebSocketError,
        lambda error: f"the peer violated the protocol (code {int(error.code)})",
    ),
    (
        aiohttp.ServerFingerprintMismatch,
        lambda error: f"the certificate of {error.host} has a different fingerprint",
    ),
    (aiohttp.ConnectionTimeoutError, _unconnected),
    (aiohttp.ClientConnectorError, _not_connected),
    (
        aiohttp.ServerDisconnectedError,
        lambda error: "the peer closed the connection before its answer was complete",
    ),
    (TimeoutError, lambda error: type(error).__name__),
    (OSError, describe_system_error),
)

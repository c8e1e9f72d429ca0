"""Our errors for aiohttp's, without its own texts: see :mod:`vcloud._core.connections.failures`."""

from __future__ import annotations

from errno import EADDRNOTAVAIL
from typing import Final

import aiohttp
from yarl import URL

from vcloud._core.connections.failures import (
    DroppedConnectionError,
    StaleConnectionError,
    describe_failure,
)
from vcloud._core.connections.options import TransportOptions
from vcloud._core.connections.pool import Pool
from vcloud._core.connections.sending import NEVER_SENT, nothing_written
from vcloud._core.connections.unsent import unsent
from vcloud._core.process_limits import is_port_shortage, limit_reached
from vcloud.errors import (
    ConfigurationError,
    ConnectError,
    ConnectTimeout,
    RequestTimeout,
    TransportError,
    VCloudError,
)

#: What aiohttp, the operating system and the pool raise.
FOREIGN: Final = (aiohttp.ClientError, DroppedConnectionError, OSError, ValueError, RuntimeError)
_DROPPED: Final = (DroppedConnectionError, aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)
_TRUST: Final = (
    "; if your own certificate authority issued it, give Endpoint(ssl=...) a context that trusts it"
)


def own_limit(error: Exception) -> int | None:
    """The limit of this process that prevented a connection (a number); None: there is none."""
    if not isinstance(error, aiohttp.ClientConnectorError):
        return None
    number = limit_reached(error.os_error)
    return None if number == EADDRNOTAVAIL and not is_port_shortage(error.host) else number


def translated(error: Exception, options: TransportOptions, *, closed: bool) -> Exception:
    """Our error for one of aiohttp's.

    Args:
        error: one of :data:`FOREIGN`.
        options: how the request was sent.
        closed: whether the aiohttp session was closed.
    """
    made: VCloudError
    if isinstance(error, NEVER_SENT):
        hint = _TRUST if isinstance(error, aiohttp.ClientConnectorCertificateError) else ""
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return _unconnected(
                describe_failure(error), options.connect_timeout, "connect_timeout of the Endpoint"
            )
        made = ConnectError(f"cannot reach it: {describe_failure(error)}{hint}")
    elif nothing_written(error):
        made = ConnectError(f"cannot reach it: {StaleConnectionError()}")
    elif isinstance(error, TimeoutError):
        return timed_out(options, unsent(error))
    elif isinstance(error, _DROPPED):
        made = TransportError(f"the connection was dropped: {describe_failure(error)}")
    elif closed:
        made = ConfigurationError("the aiohttp session was closed, so vcloud can no longer use it")
    elif isinstance(error, aiohttp.ClientError | OSError):
        made = TransportError(f"the exchange broke: {describe_failure(error)}")
    elif isinstance(error, ValueError):
        made = ConfigurationError(
            "aiohttp refuses this exchange: a header or an address has characters that HTTP "
            "cannot carry"
        )
    else:
        return error
    return made


def timed_out(options: TransportOptions, awaited: str | None) -> RequestTimeout:
    """The error of an attempt whose time ran out.

    Args:
        options: how it was sent.
        awaited: what was missing, if nothing was sent.
    """
    seconds = options.attempt_timeouts.seconds
    if awaited is None:
        return RequestTimeout(f"no complete answer within {seconds:g} s")
    return _unconnected(awaited, seconds, "the time left for the attempt")


def _unconnected(awaited: str, seconds: float, bound: str) -> ConnectTimeout:
    return ConnectTimeout(
        f"cannot reach it: {awaited} within {seconds:.4g} s, {bound}; nothing was sent"
    )


def drop_idle_after(failure: Exception, session: aiohttp.ClientSession, url: str) -> None:
    """Drop idle connections to a host after one of them ended without an answer.

    Retries then use new connections. Those of a user's session are left alone.
    """
    sent = isinstance(failure, TransportError) and not isinstance(failure, ConnectError)
    if sent and isinstance(session.connector, Pool):
        session.connector.drop_idle(URL(url, encoded=True).origin())

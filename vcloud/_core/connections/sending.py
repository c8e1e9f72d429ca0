"""Sending a request with aiohttp exactly once, or not at all.

Right before a request is written, it is refused if its connection is unusable, its call was
cancelled, or its time is over. This module uses only public names of aiohttp.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import aiohttp
from aiohttp.client_middlewares import ClientHandlerType, ClientMiddlewareType
from aiohttp.connector import Connection

from vcloud._core.cleanup import CALLER
from vcloud._core.connections.aiohttp_compat import has_free_connection, switch_off_resending
from vcloud._core.connections.failures import (
    DroppedConnectionError,
    NotConnectedError,
    NotSentError,
    StaleConnectionError,
    UnsolicitedDataError,
    describe_failure,
    describe_missing,
)
from vcloud._core.connections.kept_connections import is_stale
from vcloud._core.connections.unsent import mark_unsent
from vcloud._core.outcome import ATTEMPT_COUNT
from vcloud._core.request import IDEMPOTENT
from vcloud._core.timing.attempt_timeout import AttemptTimeouts, about_to_write
from vcloud.errors import VCloudError

#: What aiohttp raises when the request cannot have reached the service.
NEVER_SENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    aiohttp.ClientHttpProxyError,
    UnsolicitedDataError,
    StaleConnectionError,
    NotConnectedError,
    NotSentError,
)


def _refuse_cancelled(connection: Connection) -> None:
    """Send nothing for a call that was cancelled while a user's session connected.

    Raises:
        NotSentError: it was cancelled; the connection was given back to its pool.
    """
    if (caller := CALLER.get()) is not None and caller.urgent:
        connection.release()
        raise NotSentError


def refuse_overdue() -> None:
    """Send nothing for an item of a bulk run whose time is up, unless it sent something before.

    A loop that was blocked until then first reads what has arrived. If a connection is made
    meanwhile, it would carry a request whose answer is not awaited.

    Raises:
        NotSentError: the run must not begin anything more.
    """
    count = ATTEMPT_COUNT.get()
    if count is None or count.guard is None or count.attempts - count.harmless > 1:
        return
    try:
        count.guard()
    except VCloudError:
        raise NotSentError from None


def refuse_unsolicited(connection: Connection) -> None:
    """Close a connection on which the peer sent a whole answer, or more, before any request.

    Raises:
        UnsolicitedDataError: it was closed.
    """
    if connection.protocol is not None and connection.protocol.should_close:
        connection.close()
        raise UnsolicitedDataError


def refuse_stale(request: aiohttp.ClientRequest, connection: Connection) -> None:
    """Close a connection that the peer has closed, if the request must not be repeated.

    Raises:
        StaleConnectionError: it was closed.
    """
    transport = connection.transport
    if request.method in IDEMPOTENT or transport is None:
        return
    if is_stale(transport, answered=False):
        connection.close()
        raise StaleConnectionError


def nothing_written(error: BaseException) -> bool:
    """Whether aiohttp found the connection closed before it wrote anything of a request.

    Before Python 3.12 it writes a request with a body in the next turn of the event loop, which may
    read the peer's end first. It writes head and body together, or neither. Only this aiohttp text
    proves that nothing was written. With any other text the outcome stays unknown.
    """
    found = error.__cause__ or error
    return isinstance(found, aiohttp.ClientConnectionResetError) and found.args == _NOT_WRITTEN


_NOT_WRITTEN: Final = ("Cannot write to closing transport",)


async def send_once(
    request: aiohttp.ClientRequest,
    handler: ClientHandlerType,
    *,
    connecting: AttemptTimeouts | None = None,
) -> aiohttp.ClientResponse:
    """Send a request once. An exception that aiohttp does not know keeps it from sending again.

    When a pooled connection turns out to be closed, aiohttp itself sends an idempotent request
    again, with the same headers and so the same nonce. Our retry policy decides that instead.

    The pool of a user's session must not be changed. So an unusable connection is refused when the
    request is about to be sent. A connection is unusable if the peer has closed it, or has sent an
    answer before the request. A part of an answer that was read already is not noticed.

    Args:
        request: what to send.
        handler: sends it.
        connecting: the time limit until it can be written; None: aiohttp's own.

    Raises:
        DroppedConnectionError: the connection broke.
        UnsolicitedDataError, StaleConnectionError: the connection was refused; nothing was sent.
        NotSentError: the call was cancelled meanwhile; nothing was sent.
        NotConnectedError: there was no connection in time; nothing was sent.
    """
    send = request.send
    limit = None if connecting is None else connecting.begin()
    written = False

    async def send_on(connection: Connection) -> aiohttp.ClientResponse:
        nonlocal written, limit
        _refuse_cancelled(connection)
        refuse_overdue()
        refuse_unsolicited(connection)
        refuse_stale(request, connection)
        if connecting is not None and limit is not None:
            connecting.end(limit)
            limit = None
        written = True
        about_to_write()
        return await send(connection)

    # For this request alone.
    request.send = send_on  # type: ignore[method-assign, assignment]
    try:
        return await handler(request)
    except NEVER_SENT:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        if nothing_written(error):
            raise StaleConnectionError from None
        raise DroppedConnectionError(describe_failure(error)) from None
    except asyncio.CancelledError as stopped:
        if limit is not None and limit.timed_out():
            raise NotConnectedError(describe_missing(request)) from None
        if not written:
            mark_unsent(stopped, describe_missing(request))
        raise
    finally:
        if connecting is not None and limit is not None:
            connecting.end(limit)


def bounded_connecting(
    session: aiohttp.ClientSession, connecting: AttemptTimeouts | None
) -> Sequence[ClientMiddlewareType]:
    """:func:`send_once` with a time limit for connecting, for a request of a user's session.

    If the user's pool is full, the request first waits for one of its connections, which is not
    connecting. Then only aiohttp's own limit applies, to each connection that it makes.

    Args:
        session: the user's.
        connecting: the time limit until a request can be written; None: aiohttp's own.
    """

    async def once(
        request: aiohttp.ClientRequest, handler: ClientHandlerType
    ) -> aiohttp.ClientResponse:
        limit = connecting if has_free_connection(session, request) else None
        return await send_once(request, handler, connecting=limit)

    return (once,)


def middlewares_against_resending(
    session: aiohttp.ClientSession, *, own: bool
) -> Sequence[ClientMiddlewareType]:
    """Keep a session from automatically sending a request again.

    Args:
        session: the session.
        own: vcloud made it, and may change it; a user's session is left as it is.

    Returns:
        The middlewares that each request of this session needs for it.
    """
    return () if own and switch_off_resending(session) else (send_once,)

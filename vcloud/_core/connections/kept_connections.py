"""The connections that a pool keeps: how old they are, and whether the peer has closed them.

:mod:`vcloud._core.connections.pool` knows which of them are idle. This module imports aiohttp for
type checkers only.
"""

from __future__ import annotations

import asyncio
import math
import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from vcloud._core.timing.clock import monotonic, wall, was_suspended

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from yarl import URL

#: Seconds that a connection is kept. A service moves to another address by changing its DNS
#: records, which are usually valid for one to five minutes. A connection that is always in use
#: would never notice.
MAX_AGE: Final = 300.0

#: Events of ``poll``, which always reports an error and a hang-up. Only Linux reports the peer's
#: end while data before it is unread.
_READABLE: Final = getattr(select, "POLLIN", 1)
_ENDED: Final = getattr(select, "POLLRDHUP", 0)
_BROKEN: Final = getattr(select, "POLLERR", 8) | getattr(select, "POLLHUP", 16)


def is_stale(transport: asyncio.BaseTransport, *, answered: bool) -> bool:
    """Whether the peer has closed a connection, or sent data, and the loop has not read that yet.

    It costs a system call and does not wait. urllib3 (``is_connection_dropped``) and httpcore
    (``is_socket_readable``) check the same before they reuse a connection.

    Args:
        transport: the connection, on which no answer is expected.
        answered: whether a request is known to have been answered on it. Otherwise unread data may
            be the session tickets that a TLS 1.3 server sends after the handshake.
    """
    events = _events(transport)
    if not events:
        return False
    return answered or bool(events & (_ENDED | _BROKEN)) or not _awaits_tickets(transport)


def _events(transport: asyncio.BaseTransport) -> int:
    """The events of a socket that the loop has not handled; 0 for none, and where unknown."""
    connection = transport.get_extra_info("socket")
    descriptor = -1 if connection is None else connection.fileno()
    if descriptor < 0:
        return 0
    # Looked up at each call, because gevent removes it while a program runs.
    if (poll := getattr(select, "poll", None)) is not None:
        look = poll()
        look.register(descriptor, _READABLE | _ENDED)
        found = look.poll(0)
        return found[0][1] if found else 0
    try:
        return _READABLE if select.select([descriptor], [], [], 0)[0] else 0
    except (OSError, ValueError):  # select knows no descriptor above 1023
        return 0


def _awaits_tickets(transport: asyncio.BaseTransport) -> bool:
    """Whether a TLS 1.3 session has not received a ticket yet (RFC 8446, 4.6.1)."""
    tls = transport.get_extra_info("ssl_object")
    if tls is None or tls.version() != "TLSv1.3":
        return False
    return tls.session is None or not tls.session.has_ticket


class PooledConnections:
    """The host and the age of each connection of a pool.

    Args:
        is_idle: whether a connection is kept and carries no request.
        clock: monotonic seconds.
        wall: Unix seconds.
    """

    def __init__(
        self,
        is_idle: Callable[[ResponseHandler], bool],
        clock: Callable[[], float] = monotonic,
        wall: Callable[[], float] = wall,
    ) -> None:
        self._is_idle = is_idle
        self._clock = clock
        self._wall = wall
        #: The host and the end of each, the oldest first. Those that use a connection hold it.
        self._made: WeakKeyDictionary[ResponseHandler, tuple[URL, float]] = WeakKeyDictionary()
        #: The end of the oldest.
        self._next = math.inf
        self._ahead = wall() - clock()

    def add(self, made: ResponseHandler, origin: URL) -> None:
        """Add a new connection.

        Args:
            made: the connection.
            origin: the scheme, host and port of the service, also where a proxy is between.
        """
        ends = self._clock() + MAX_AGE
        self._made[made] = origin, ends
        self._next = min(self._next, ends)

    def __len__(self) -> int:
        return len(self._made)

    def check(self) -> None:
        """Close those that are too old; after a suspend, drop all idle ones. Call it at each use.

        An old connection in use is closed after its request.
        """
        now = self._clock()
        ahead = self._wall() - now
        if was_suspended(self._ahead, ahead):
            self.drop_idle()
        self._ahead = ahead
        if now >= self._next:
            self._retire(now)

    def drop_idle(self, origin: URL | None = None) -> None:
        """Drop idle connections without a closing handshake: their peers may not exist any more.

        Args:
            origin: scheme, host and port of those to drop; None: all.
        """
        for made, (leads_to, _) in list(self._made.items()):
            if origin in (None, leads_to) and self._is_idle(made):
                made.abort()

    def _retire(self, now: float) -> None:
        self._next = math.inf
        for made, (_, ends) in list(self._made.items()):
            if ends > now:
                self._next = ends
                return
            del self._made[made]
            if self._is_idle(made):
                made.close()
            else:
                made.force_close()

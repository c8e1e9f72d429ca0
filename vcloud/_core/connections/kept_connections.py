"""The connections that a pool keeps: how old they are, and whether the peer has left them.

Which connections are idle, and how aiohttp keeps them, is the business of
:mod:`vcloud._core.connections.pool`. Of aiohttp this module names one type, and imports nothing while it runs.
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

#: Seconds that a connection is kept. Services move by DNS, whose records live for a minute to five
#: as a rule, and a busy connection would stay with the old address for ever.
MAX_AGE: Final = 300.0

#: What is asked of ``poll``. An error and a hang-up are always told. Only Linux tells of a peer's
#: end behind data that lies unread.
_READABLE: Final = getattr(select, "POLLIN", 1)
_ENDED: Final = getattr(select, "POLLRDHUP", 0)
_BROKEN: Final = getattr(select, "POLLERR", 8) | getattr(select, "POLLHUP", 16)


def is_stale(transport: asyncio.BaseTransport, *, answered: bool) -> bool:
    """Whether the peer has closed a connection, or said something, which the loop has not read yet.

    It costs a system call and does not wait. urllib3 (``is_connection_dropped``) and httpcore
    (``is_socket_readable``) ask the same before they reuse a connection.

    Args:
        transport: the connection, on which no answer is expected.
        answered: whether a request is known to have been answered on it. Otherwise what lies there
            may be the session tickets that a TLS 1.3 server sends after the handshake.
    """
    events = _events(transport)
    if not events:
        return False
    return answered or bool(events & (_ENDED | _BROKEN)) or not _awaits_tickets(transport)


def _events(transport: asyncio.BaseTransport) -> int:
    """What lies unread; 0 for nothing, and where it cannot be seen."""
    connection = transport.get_extra_info("socket")
    descriptor = -1 if connection is None else connection.fileno()
    if descriptor < 0:
        return 0
    # Looked up at each call, because gevent takes it away from a program that runs.
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
    """Whether a TLS 1.3 session has had no ticket yet (RFC 8446, 4.6.1)."""
    tls = transport.get_extra_info("ssl_object")
    if tls is None or tls.version() != "TLSv1.3":
        return False
    return tls.session is None or not tls.session.has_ticket


class PooledConnections:
    """What a pool knows of its connections: where each leads, and when it has grown too old.

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
        #: Where each leads and when it is too old, the oldest first. Whoever uses one holds it.
        self._made: WeakKeyDictionary[ResponseHandler, tuple[URL, float]] = WeakKeyDictionary()
        #: When the oldest is too old.
        self._next = math.inf
        self._ahead = wall() - clock()

    def add(self, made: ResponseHandler, origin: URL) -> None:
        """One was made.

        Args:
            made: the connection.
            origin: the scheme, host and port that it leads to, through a proxy or not.
        """
        ends = self._clock() + MAX_AGE
        self._made[made] = origin, ends
        self._next = min(self._next, ends)

    def look_after(self) -> None:
        """Close what is too old. After a suspend, drop all that are idle. To be called at each use.

        An old one in use is closed when its request is over.
        """
        now = self._clock()
        ahead = self._wall() - now
        if was_suspended(self._ahead, ahead):
            self.drop_idle()
        self._ahead = ahead
        if now >= self._next:
            self._retire(now)

    def drop_idle(self, origin: URL | None = None) -> None:
        """Drop those that are idle, without a word to their peers, who may be gone.

        Args:
            origin: those that lead there; None: all.
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

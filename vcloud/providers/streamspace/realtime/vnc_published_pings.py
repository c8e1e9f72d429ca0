"""When a tunnel of the published server pings: not while the server sends, and not too rarely."""

from __future__ import annotations

from typing import Final

from vcloud._core.websocket.heartbeat import Heartbeat, Verdict

__all__ = ["CarefulPings"]

#: Seconds for which nothing came before a ping: the server may fail when it has to answer one while
#: it sends.
QUIET: Final = 0.3
#: The shortest time between two pings, in seconds.
SHORTEST: Final = 3.0
#: The longest time between two pings, and between the server's first ping and ours, in seconds.
LATEST: Final = 8.0
#: Seconds of silence after which a server that has not pinged is pinged all the same. It pings
#: within 60.
FIRST_PING: Final = 75.0
#: Seconds without an answer to these pings after which the connection is lost.
NO_ANSWER: Final = 30.0


class CarefulPings(Heartbeat):
    """When to ping the published server.

    A ping from either side gives that server 10 seconds, and the first picture that it sends after
    them ends its whole process (seen with a build of it). Each further ping gives it 10 more.

    ::

        before the server's first ping    nothing is sent: its sends have no limit yet
        after it                          a ping in a quiet moment, every 3 to 8 seconds

    Args:
        now: the loop's clock.
    """

    __slots__ = ("_began", "_last")

    def __init__(self, now: float) -> None:
        super().__init__(NO_ANSWER, now)
        self.due: float = now + FIRST_PING
        #: When the last ping was sent, or the peer's first one came; None before that.
        self._last: float | None = None
        #: When that began.
        self._began = now

    def peer_pinged(self, now: float) -> None:
        """The server sent a ping: its limit runs from now on."""
        self._note(now)

    def pinged(self, now: float) -> None:
        """A ping was sent to it, not by :meth:`check`."""
        self._note(now)

    def _note(self, now: float) -> None:
        if self._last is None:
            self._began = now
        self._last = now

    @property
    def _owes(self) -> bool:
        """Whether nothing came since something was sent: the answer may be on its way."""
        return self.sent > self.received_at

    def wanted(self, now: float) -> bool:
        """Whether a moment known to be quiet should be used for a ping."""
        return self._last is not None and now >= self._last + SHORTEST and not self._owes

    def check(
        self,
        now: float,
        *,
        reading: bool = True,  # noqa: ARG002 - reading never pauses here
        taken: int | None = None,  # noqa: ARG002 - a ping is needed all the same
    ) -> Verdict:
        """What to do now, as for any heartbeat."""
        if self._last is None:
            when = lost_at = self.received_at + FIRST_PING
        else:
            lost_at = max(self.received_at, self._began) + NO_ANSWER
            if now >= lost_at:
                return "lost"
            latest = self._last + LATEST
            when = min(max(self._last + SHORTEST, self.received_at + QUIET), latest)
            if self._owes and when <= now < latest:
                # It may begin to send at any moment. When it has, a quiet one follows.
                when = min(now + QUIET, latest)
        if now < when:
            self.due = min(when, lost_at)
            return "wait"
        self._note(now)
        self.sent = now
        self.due = now + SHORTEST
        return "ping"

"""When a WebSocket's peer is pinged, and when its connection is closed; without I/O."""

from __future__ import annotations

from typing import Final, Literal

#: Seconds for which an overdue answer is waited for. A loop that was blocked runs its timers before
#: it reads what has arrived meanwhile (uvloop does so in each iteration).
GRACE: Final = 0.01

Verdict = Literal["wait", "ping", "lost"]


class Heartbeat:
    """The silence of both directions of one connection.

    ::

        idle       until min(sent, received_at) + interval; then a ping is sent
        pinged     until anything is received (idle again), or for interval seconds
        overdue    for GRACE seconds; then the peer is lost

    Proxies count each direction separately (nginx ``proxy_read_timeout``, HAProxy ``timeout
    client`` and ``timeout server``), so the direction that has been silent for longer decides. A
    ping is traffic in one direction, and its answer in the other.

    Args:
        interval: seconds of silence in either direction after which a ping is due, and seconds in
            which the peer must answer it.
        now: the loop's clock.
    """

    __slots__ = (
        "_overdue",
        "_pinged",
        "_pinged_at",
        "_taken",
        "due",
        "interval",
        "received_at",
        "sent",
    )

    def __init__(self, interval: float, now: float) -> None:
        self.interval = interval
        #: When something was sent, and received, for the last time.
        self.sent = self.received_at = now
        #: When to check again.
        self.due = now + interval
        self._pinged_at = now
        self._pinged = self._overdue = False
        self._taken: int | None = None

    def received(self, now: float) -> None:
        """Something arrived."""
        self.received_at = now
        self._pinged = False

    def peer_pinged(self, now: float) -> None:
        """The peer sent a ping of its own."""

    def check(self, now: float, *, reading: bool = True, taken: int | None = None) -> Verdict:
        """What to do now. :attr:`due` is then the time of the next check.

        Args:
            now: the loop's clock.
            reading: whether this side reads. While it does not, the peer is not silent.
            taken: bytes that the peer has accepted, while some are left to be sent. A peer that
                accepts bytes is not lost, and a ping would wait behind them. None: none are left.
        """
        progress = taken is not None and self._taken is not None and taken > self._taken
        self._taken = taken
        if progress or not reading:
            self.received(now)
        if self._pinged:
            if now < (end := self._pinged_at + self.interval):
                self.due = end
                return "wait"
            if self._overdue:
                return "lost"
            self._overdue = True
            self.due = now + GRACE
            return "wait"
        self._overdue = False
        silent_since = max(self._pinged_at, min(self.sent, self.received_at))
        if now < silent_since + self.interval:
            self.due = silent_since + self.interval
            return "wait"
        self._pinged = True
        self._pinged_at = self.sent = now
        self.due = now + self.interval
        return "ping"


#: For CarefulPings, in seconds. The peer may fail when a message is sent to it that it must answer
#: while it sends. So a ping waits for a quiet moment of this length,
QUIET: Final = 0.3
#: is sent at least so long after the one before,
SHORTEST: Final = 3.0
#: and at the latest so long after it, or after the peer's first ping.
LATEST: Final = 8.0
#: Seconds of silence after which a peer that has not pinged is pinged all the same: it should have
#: pinged within 60.
FIRST_PING: Final = 75.0
#: Seconds without an answer to these pings after which it is lost.
NO_ANSWER: Final = 30.0


class CarefulPings(Heartbeat):
    """Pings for a peer that sets a time limit for its sends with each ping, and never clears it.

    ::

        trusting    until the peer's first ping, nothing is sent: its sends have no limit yet
        careful     a ping in a quiet moment, every 3 to 8 seconds, each of which moves the limit on

    StreamSpace's published server is one: a ping from either side gives it 10 seconds, and the
    first picture after that ends its whole process (seen with a build of it).

    Args:
        now: the loop's clock.
    """

    __slots__ = ("_began", "_last")

    def __init__(self, now: float) -> None:
        super().__init__(NO_ANSWER, now)
        self.due = now + FIRST_PING
        #: When the last ping was sent, or the peer's first one came; None before that.
        self._last: float | None = None
        #: When that began.
        self._began = now

    def peer_pinged(self, now: float) -> None:
        """The peer sent a ping: its limit runs from now on."""
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

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
        self.interval: float = interval
        #: When something was sent for the last time, and received.
        self.sent: float = now
        self.received_at: float = now
        #: When to check again.
        self.due: float = now + interval
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

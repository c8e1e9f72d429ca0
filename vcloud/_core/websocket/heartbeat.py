"""When a WebSocket's peer is pinged, and when it is taken for dead: decisions without I/O."""

from __future__ import annotations

from typing import Final, Literal

#: Seconds that an answer gets once more when its time is up: a loop that was held up runs its
#: timers before it reads what has arrived meanwhile (uvloop does so in each turn).
GRACE: Final = 0.01

Verdict = Literal["wait", "ping", "lost"]


class Heartbeat:
    """What is known of both directions of one connection.

    ::

        silent      ping, due at min(sent, heard) + interval
        pinged      anything that is heard ends this
        unanswered  interval seconds after the ping: one last look, then lost

    A proxy counts each direction by itself (nginx ``proxy_read_timeout``, HAProxy ``timeout
    client`` and ``timeout server``), so the direction that has been silent for longer decides. A
    ping is heard in the one, and its answer in the other.

    Args:
        interval: seconds of silence in either direction after which a ping is due, and seconds in
            which it is to be answered.
        now: the loop's clock.
    """

    __slots__ = ("_asked", "_last_look", "_pinged", "_taken", "due", "heard_at", "interval", "sent")

    def __init__(self, interval: float, now: float) -> None:
        self.interval = interval
        #: When something was sent, and heard, for the last time.
        self.sent = self.heard_at = now
        #: When to look again.
        self.due = now + interval
        self._pinged = now
        self._asked = self._last_look = False
        self._taken: int | None = None

    def heard(self, now: float) -> None:
        """Something arrived."""
        self.heard_at = now
        self._asked = False

    def look(self, now: float, *, reading: bool = True, taken: int | None = None) -> Verdict:
        """What to do now. :attr:`due` says when to ask again.

        Args:
            now: the loop's clock.
            reading: whether this side reads. What it does not read is no silence of the peer's.
            taken: bytes that the peer's side has taken, while some are left to be sent; a peer that
                takes them is alive, and a ping waits behind them. None: nothing is left.
        """
        progress = taken is not None and self._taken is not None and taken > self._taken
        self._taken = taken
        if progress or not reading:
            self.heard(now)
        if self._asked:
            if now < (end := self._pinged + self.interval):
                self.due = end
                return "wait"
            if self._last_look:
                return "lost"
            self._last_look = True
            self.due = now + GRACE
            return "wait"
        self._last_look = False
        silent_since = max(self._pinged, min(self.sent, self.heard_at))
        if now < silent_since + self.interval:
            self.due = silent_since + self.interval
            return "wait"
        self._asked = True
        self._pinged = self.sent = now
        self.due = now + self.interval
        return "ping"

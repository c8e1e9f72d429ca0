"""Which lines of a log are new after a reconnection, decided by what comes. No I/O.

The service sends its last lines again, and then new ones. Nothing in between says that the repeated
lines have ended. A pause does not say so either: a link may be slow, and a process stopped. So the
decision depends on these, in this order:

::

    all remembered lines came                   new: the lines after them
    the first lines are an end of those         new: the lines after them, as soon as all of the
                                                remembered lines cannot come any more
    a line is later than the last one returned  the same; without any known line all are new
    the lines so far stand within those         not decided: more of them follow, however late
    the lines so far are older than those       not decided: they follow, however late

Where none of this holds (a log that was started again, without times), silence decides. Later lines
are compared all the same, so that a line which was returned before is still recognised.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final

from vcloud.providers.streamspace.realtime.log_overlap import Lines, Overlap, line_key

__all__ = ["MAX_REMEMBERED", "RecentLines", "Replay", "time_of"]

#: How many of the returned lines are remembered, to recognise them after a drop. At most as many
#: are requested, so that no line that was returned and forgotten comes again.
MAX_REMEMBERED: Final = 1200
#: How many lines more than the remembered ones are requested: those that may have been written
#: meanwhile.
EXTRA_LINES: Final = 1000
#: Characters at the beginning of a line that may be its time.
STAMP: Final = 40
#: Lines at the end of a message in which a time is looked for: the lines of a traceback have none.
LOOKED_BACK: Final = 100

#: RFC 3339, as Docker and Kubernetes put it in front of each line.
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


def time_of(line: str) -> tuple[str, str] | None:
    """The zone and the time that a line begins with, to be compared; None without one.

    Times of two zones cannot be compared as they are written, and do not occur in one log.
    """
    found = _TIME.match(line)
    return None if found is None else (found[3], f"{found[1]}.{found[2] or '':0<9}")


class RecentLines:
    """The lines that were returned last."""

    __slots__ = ("_first", "_keys", "_last")

    def __init__(self) -> None:
        self._keys: deque[str | bytes] = deque(maxlen=MAX_REMEMBERED)
        #: The beginnings of the first line since :meth:`clear`, and of the last.
        self._first = self._last = ""

    def add(self, line: str) -> None:
        """Remember a line that is returned."""
        self._last = line[:STAMP]
        if not self._keys:
            self._first = self._last
        self._keys.append(line_key(line))

    def clear(self) -> None:
        """Forget all lines: the next one does not follow them in the log."""
        self._keys.clear()

    def copy(self) -> RecentLines:
        """Copy them as they are now."""
        made = RecentLines()
        made._keys.extend(self._keys)
        made._first, made._last = self._first, self._last
        return made

    def __len__(self) -> int:
        """How many lines are remembered."""
        return len(self._keys)

    @property
    def keys(self) -> list[str | bytes]:
        """The :func:`line_key` of each, the last at the end."""
        return list(self._keys)

    @property
    def lines_to_request(self) -> int:
        """How many lines to request, so that those that were missed are among them."""
        return min(len(self) + EXTRA_LINES, MAX_REMEMBERED)

    def is_before(self, time: tuple[str, str] | None) -> bool:
        """Whether this time is later than that of the last line."""
        last = time_of(self._last)
        return time is not None and last is not None and time[0] == last[0] and time > last

    def is_not_after(self, time: tuple[str, str] | None) -> bool:
        """Whether this time is not later than that of the first line.

        Where lines were forgotten, the first line is older than all remembered ones.
        """
        first = time_of(self._first)
        return time is not None and first is not None and time[0] == first[0] and time <= first


class Replay:
    """The messages since a reconnection, until it is clear which of their lines are new.

    Args:
        recent: the lines that were returned before; not changed here.
        requested: how many lines the service was asked for, and has not sent yet.
        resumed: whether some lines since the reconnection were returned already, after silence.
            The next lines may begin anywhere in the log.
    """

    def __init__(self, recent: RecentLines, requested: int, *, resumed: bool = False) -> None:
        self.recent: RecentLines = recent
        self._overlap = Overlap(recent.keys)
        self._requested = requested
        self.resumed: bool = resumed
        self._messages: list[bytes | str] = []
        #: Characters of these messages.
        self.size: int = 0
        #: The lines of the last message that were not scanned yet; None when all were.
        self._unscanned: Lines | None = None
        self._count = 0
        #: The last time that a line begins with.
        self._time: tuple[str, str] | None = None

    def add(self, message: bytes | str) -> None:
        """Hold one more message. All lines of the one before must have been scanned."""
        self._messages.append(message)
        self.size += len(message)
        self._unscanned = Lines(message)
        self._time = self._unscanned.last_match(time_of, LOOKED_BACK, STAMP) or self._time

    def scan(self, limit: int) -> bool:
        """Scan so many lines of the last message at most; False when none were left."""
        if self._unscanned is None:
            return False
        scanned = self._overlap.feed(self._unscanned, limit)
        self._count += scanned
        if scanned < limit and not self._overlap.complete:
            self._unscanned = None
        return True

    @property
    def has_known_lines(self) -> bool:
        """Whether lines that were returned before came again."""
        return self._overlap.complete or (not self.resumed and self._overlap.known_at_start() > 0)

    @property
    def complete(self) -> bool:
        """Whether all of them came again."""
        return self._overlap.complete

    @property
    def decided(self) -> bool:
        """Whether it is clear which lines are new."""
        overlap = self._overlap
        if overlap.complete:
            return True
        if self._unscanned is not None:
            return False
        if self._count - overlap.matched + len(self.recent) > self._requested:
            # All of the remembered lines cannot come any more.
            return self.resumed or not overlap.is_inside
        return not self.continues_known and self.recent.is_before(self._time)

    @property
    def continues_known(self) -> bool:
        """Whether the last line follows others that were returned before, as it did then."""
        return bool(self._overlap.matched) or (self._overlap.is_inside and not self.resumed)

    @property
    def may_be_over(self) -> bool:
        """Whether silence may mean that no more repeated lines will come."""
        overlap = self._overlap
        if not self._count:
            return False
        if self.resumed or overlap.known_at_start():
            return True
        if overlap.matched:
            return overlap.may_be_the_end
        return not overlap.is_inside and not self.recent.is_not_after(self._time)

    @property
    def releases_at_once(self) -> bool:
        """Whether what came need not be held, because the service was silent before it."""
        if not self.resumed or self._unscanned is not None:
            return False
        return not self._overlap.matched or self._overlap.may_be_the_end

    def new_lines(self) -> list[Lines]:
        """The lines that come after those that were returned before."""
        overlap, found = self._overlap, []
        if overlap.complete:
            return [] if self._unscanned is None else [self._unscanned]
        known = 0 if self.resumed else overlap.known_at_start()
        for message in self._messages:
            lines = Lines(message)
            while known and next(lines, None) is not None:
                known -= 1
            found.append(lines)
        return found

    def resume(self) -> Replay | None:
        """The replay that continues after :meth:`new_lines`; None if no known line can follow."""
        if self.decided or self._overlap.matched:
            return None
        return Replay(self.recent, self._requested - self._count, resumed=True)

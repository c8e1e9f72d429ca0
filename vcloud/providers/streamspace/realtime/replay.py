"""Which lines are new after a log's connection was made anew, decided by what comes. No I/O.

The service sends its last lines again, and then those that are written. Nothing in between says
that the repeated ones are over, and a pause does not either: a link may be slow, and a process
stopped. So what decides is, in this order:

::

    all remembered lines came                   new is what comes after them
    the first lines are the end of those        new is what comes after them, once it is clear that
                                                all of them cannot come any more
    a line is later than the last one given     the same, and without any known line all are new
    the lines so far stand within those         more of them follow, however late
    the lines so far are older than those       they follow, however late

Where none of this holds (a log that was begun anew, without times), silence decides. What comes
later is compared all the same, so that a line which was given out is recognised then.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final

from vcloud.providers.streamspace.realtime.overlap import Lines, Overlap, remembered

__all__ = ["REMEMBERED", "Memory", "Replay", "time_of"]

#: How many of the lines that were given out are remembered, to recognise them after a drop. No more
#: lines are asked for, so that one that was given out and forgotten does not come again.
REMEMBERED: Final = 1200
#: How many lines more than the remembered ones are asked for: what may have been written meanwhile.
MISSED: Final = 1000
#: Characters at the beginning of a line that may be its time.
STAMP: Final = 40
#: Lines at the end of a message in which a time is looked for: those of a traceback have none.
LOOKED_BACK: Final = 100

#: RFC 3339, as Docker and Kubernetes put it in front of each line.
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


def time_of(line: str) -> tuple[str, str] | None:
    """The zone and the time that a line begins with, to be compared; None without one.

    Times of two zones cannot be compared as they are written, and do not occur in one log.
    """
    found = _TIME.match(line)
    return None if found is None else (found[3], f"{found[1]}.{found[2] or '':0<9}")


class Memory:
    """What was given out last, as far as it is remembered."""

    __slots__ = ("_first", "_last", "_lines")

    def __init__(self) -> None:
        self._lines: deque[str | bytes] = deque(maxlen=REMEMBERED)
        self._first = self._last = ""

    def add(self, line: str) -> None:
        """One more line is given out."""
        self._last = line[:STAMP]
        if not self._lines:
            self._first = self._last
        self._lines.append(remembered(line))

    def clear(self) -> None:
        """Nothing that was given out comes in front of what is given out next."""
        self._lines.clear()

    def copy(self) -> Memory:
        """The same, which stays as it is."""
        made = Memory()
        made._lines.extend(self._lines)
        made._first, made._last = self._first, self._last
        return made

    def __len__(self) -> int:
        """How many lines are remembered."""
        return len(self._lines)

    @property
    def lines(self) -> list[str | bytes]:
        """What stands for each of them, the last at the end."""
        return list(self._lines)

    @property
    def asked(self) -> int:
        """How many lines to ask for, so that those that were missed are among them."""
        return min(len(self) + MISSED, REMEMBERED)

    def is_before(self, time: tuple[str, str] | None) -> bool:
        """Whether this time is later than that of the last line."""
        last = time_of(self._last)
        return time is not None and last is not None and time[0] == last[0] and time > last

    def is_not_after(self, time: tuple[str, str] | None) -> bool:
        """Whether this time is not later than that of the first line.

        Where lines were forgotten, that one is older than those that are remembered.
        """
        first = time_of(self._first)
        return time is not None and first is not None and time[0] == first[0] and time <= first


class Replay:
    """The messages since a connection was made anew, until it is clear which lines are new.

    Args:
        memory: what was given out before; it is not changed here.
        asked: how many lines the service was asked for, and has not sent.
        resumed: some of the lines that came were given out already, because it was silent. What
            comes now may begin anywhere.
    """

    def __init__(self, memory: Memory, asked: int, *, resumed: bool = False) -> None:
        self.memory = memory
        self._overlap = Overlap(memory.lines)
        self._asked = asked
        self.resumed = resumed
        self._messages: list[bytes | str] = []
        #: Characters of these messages.
        self.size = 0
        #: The lines of the last message that were not looked at.
        self._left: Lines | None = None
        self._count = 0
        #: The last time that a line begins with.
        self._time: tuple[str, str] | None = None

    def take(self, message: bytes | str) -> None:
        """Hold one more message. None may be left to be looked at."""
        self._messages.append(message)
        self.size += len(message)
        self._left = Lines(message)
        self._time = self._left.last_of(time_of, LOOKED_BACK, STAMP) or self._time

    def look(self, most: int) -> bool:
        """Look at so many lines of the last message; False when none were left."""
        if self._left is None:
            return False
        looked = self._overlap.feed(self._left, most)
        self._count += looked
        if looked < most and not self._overlap.whole:
            self._left = None
        return True

    @property
    def found(self) -> bool:
        """Whether lines that were given out came again."""
        return self._overlap.whole or (not self.resumed and self._overlap.begun() > 0)

    @property
    def whole(self) -> bool:
        """Whether all of them did."""
        return self._overlap.whole

    @property
    def decided(self) -> bool:
        """Whether it is clear which lines are new."""
        overlap = self._overlap
        if overlap.whole:
            return True
        if self._left is not None:
            return False
        if self._count - overlap.matched + len(self.memory) > self._asked:
            # All of the remembered lines cannot come any more.
            return self.resumed or not overlap.goes_on
        return not self.progresses and self.memory.is_before(self._time)

    @property
    def progresses(self) -> bool:
        """Whether the last line goes on with lines that were given out."""
        return bool(self._overlap.matched) or (self._overlap.goes_on and not self.resumed)

    @property
    def may_be_over(self) -> bool:
        """Whether the repeated lines may be all there, if the service is silent for a while."""
        overlap = self._overlap
        if not self._count:
            return False
        if self.resumed or overlap.begun():
            return True
        if overlap.matched:
            return overlap.may_be_the_end
        return not overlap.goes_on and not self.memory.is_not_after(self._time)

    @property
    def gives_at_once(self) -> bool:
        """Whether what came need not be held: the service was silent before."""
        if not self.resumed or self._left is not None:
            return False
        return not self._overlap.matched or self._overlap.may_be_the_end

    def new(self) -> list[Lines]:
        """What comes after the lines that were given out."""
        overlap, found = self._overlap, []
        if overlap.whole:
            return [] if self._left is None else [self._left]
        known = 0 if self.resumed else overlap.begun()
        for message in self._messages:
            lines = Lines(message)
            while known and next(lines, None) is not None:
                known -= 1
            found.append(lines)
        return found

    def resume(self) -> Replay | None:
        """What goes on looking after :meth:`new` was given out; None where no more can come."""
        if self.decided or self._overlap.matched:
            return None
        return Replay(self.memory, self._asked - self._count, resumed=True)

"""Clocks: the time of day, which may jump and which tests may freeze, and monotonic clocks.

Which clock to use:

- :data:`monotonic` for limits, deadlines and durations. On Linux it stops while the machine is
  suspended: ten seconds are then ten seconds in which the machine ran.
- :data:`boottime` for the age of signatures and tokens, which the service measures too. It includes
  the time in which the machine was suspended, and cannot be set.
- :class:`TimeOfDay` for times that a service compares with its own clock.
- :func:`wall`, the machine's clock as it is, only to make the others.

freezegun replaces ``datetime.datetime`` and the functions of ``time`` while it is active. A
reference that outlives one call (a default argument, say) keeps the real function, or keeps the
replacement. Therefore :func:`wall` looks up ``time.time`` at each call, and the other clocks use
functions that freezegun does not replace.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

import msgspec


def wall() -> float:
    """This machine's time of day in Unix seconds, or what a test has set."""
    return time.time()


def _monotonic() -> Callable[[], float]:
    # Everywhere except on Windows. Neither freezegun nor time-machine replaces it.
    if hasattr(time, "clock_gettime"):
        return partial(time.clock_gettime, time.CLOCK_MONOTONIC)
    return time.monotonic


#: Seconds from some point in the past, for limits, deadlines and durations. It runs in frozen time.
monotonic: Final[Callable[[], float]] = _monotonic()


#: The machine was suspended if the time of day gained more than these seconds on the monotonic
#: clock. NTP corrects a clock by less, and no connection is lost in a shorter time.
SUSPENDED: Final = 5.0


def was_suspended(before: float, now: float) -> bool:
    """Whether the machine was suspended between two readings of its clocks.

    This is also True after the clock was only set forward, so callers must do no harm in that case.

    Args:
        before: how far the time of day was ahead of the monotonic clock, in seconds.
        now: how far it is ahead now.
    """
    return now - before > SUSPENDED


def _boottime() -> Callable[[], float]:
    if hasattr(time, "CLOCK_BOOTTIME"):
        try:
            time.clock_gettime(time.CLOCK_BOOTTIME)
        except OSError:  # some sandboxes lack this clock
            pass
        else:
            return partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    # On macOS and Windows this clock includes the time in which the machine was suspended.
    return monotonic


#: Seconds from some point in the past, including those in which the machine was suspended.
boottime: Final[Callable[[], float]] = _boottime()


def _system_wall() -> Callable[[], float] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        time.clock_gettime(_CLOCK_REALTIME_COARSE)
    except OSError:
        return None
    return partial(time.clock_gettime, _CLOCK_REALTIME_COARSE)


#: Linux's time of day with a resolution of a few milliseconds. freezegun, time-machine and
#: replacements of ``time.time`` do not change it.
_CLOCK_REALTIME_COARSE: Final = 5
system_wall: Final[Callable[[], float] | None] = _system_wall()
"""The machine's time of day, which no test can change; None where there is no such clock."""

#: Seconds by which two readings of one clock may differ.
_AGREES: Final = 1.0


class TimeOfDay:
    """The time of day when this was made, plus the time that has passed since.

    It does not jump when the machine's clock is set while a client runs: by NTP, by an
    administrator, after a virtual machine was resumed. It follows a test that freezes or shifts the
    time of day, if :data:`system_wall` shows that the machine's clock was not set.

    Args:
        read: the machine's time of day, in Unix seconds.
        elapsed: monotonic seconds, including those in which the machine is suspended.
        system: the time of day that no test can change; None: there is no such clock.
    """

    __slots__ = ("__weakref__", "_elapsed", "_first", "_first_shift", "_system", "read")

    def __init__(
        self,
        read: Callable[[], float] = wall,
        elapsed: Callable[[], float] = boottime,
        system: Callable[[], float] | None = system_wall,
    ) -> None:
        #: Reads the machine's clock.
        self.read: Callable[[], float] = read
        self._elapsed = elapsed
        self._system = system
        self._first = read() - elapsed()
        self._first_shift = self._shift()

    def __call__(self) -> float:
        """The time of day, in Unix seconds."""
        steady = self._first + self._elapsed()
        if abs(self.read() - steady) < _AGREES:
            return steady
        return steady + self._shift() - self._first_shift

    def estimates(self) -> tuple[float, float]:
        """Two estimates of the time of day that do not depend on a service.

        Returns:
            the time at the start plus the time that has passed, and the machine's clock. They
            differ after the clock was set. Either may be right: the clock may have been corrected.
        """
        return self._first + self._elapsed(), self.read()

    def _shift(self) -> float:
        """By how many seconds a test has shifted the time of day."""
        if self._system is None:
            return 0.0
        before, day, after = self._system(), self.read(), self._system()
        return 0.0 if before - _AGREES <= day <= after + _AGREES else day - after


def datetime_class() -> type[datetime]:
    """The real class ``datetime``, in frozen time too: msgspec decodes into no other.

    This is a function because freezegun replaces every module variable that holds the class.
    """
    # msgspec's C code decodes a MessagePack timestamp (here of second 0) into the real class.
    return type(msgspec.msgpack.decode(b"\xd6\xff\x00\x00\x00\x00"))

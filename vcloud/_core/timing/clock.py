"""The time of day, which may jump and which tests may freeze or move, and the passing of time.

Which clock is right for what:

- :data:`monotonic` for limits, deadlines and durations. On Linux it stands while the machine
  sleeps: what was to take ten seconds then takes ten seconds in which the machine ran.
- :data:`boottime` for how old something is that a service counts too: a signature, a token. It goes
  on while the machine sleeps, and nothing puts it back or forward.
- :class:`TimeOfDay` for what is compared with a service's clock.
- :func:`wall`, the machine's own opinion, for nothing but these.

freezegun replaces ``datetime.datetime`` and the functions of ``time`` while it is active. Whatever
refers to them for longer than one call (a default argument, an annotation that is evaluated once)
keeps what it found: the real one, or the replacement. So the time of day is looked up at each call,
and the rest never comes from what can be replaced.
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
    if hasattr(
        time, "clock_gettime"
    ):  # everywhere but on Windows; freezegun and time-machine leave it alone
        return partial(time.clock_gettime, time.CLOCK_MONOTONIC)
    return time.monotonic


#: Seconds from some point in the past: what limits, deadlines and durations are counted with. It
#: stands in no frozen time.
monotonic: Final[Callable[[], float]] = _monotonic()


#: Seconds by which the time of day gets ahead of the monotonic clock when a machine was suspended.
#: A correction of a clock that runs by NTP is smaller, and a shorter sleep ends nothing.
SUSPENDED: Final = 5.0


def was_suspended(before: float, now: float) -> bool:
    """Whether the machine slept between two looks at its clocks: the monotonic one stood still.

    A time of day that was only put forward looks the same, so what follows from this must do no
    harm then.

    Args:
        before: how far the time of day was ahead of the monotonic clock, in seconds.
        now: how far it is now.
    """
    return now - before > SUSPENDED


def _boottime() -> Callable[[], float]:
    if hasattr(time, "CLOCK_BOOTTIME"):
        try:
            time.clock_gettime(time.CLOCK_BOOTTIME)
        except OSError:  # in a sandbox that knows fewer clocks
            pass
        else:
            return partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    # Of macOS and Windows this one goes on while the machine sleeps.
    return monotonic


#: Seconds from some point in the past, those in which the machine slept included.
boottime: Final[Callable[[], float]] = _boottime()


def _system_wall() -> Callable[[], float] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        time.clock_gettime(_CLOCK_REALTIME_COARSE)
    except OSError:
        return None
    return partial(time.clock_gettime, _CLOCK_REALTIME_COARSE)


#: Linux's clock of the time of day in ticks of a few milliseconds. Neither freezegun nor
#: time-machine (nor who replaces ``time.time``) changes what it says.
_CLOCK_REALTIME_COARSE: Final = 5
system_wall: Final[Callable[[], float] | None] = _system_wall()
"""The machine's time of day, whatever a test has set; None where nothing says it."""

#: Seconds by which two readings of one clock may differ: it ticks, and is read twice.
_AGREES: Final = 1.0


class TimeOfDay:
    """The time of day as it was first read, plus the time that has passed since.

    So whoever puts the machine's clock back or forward while a client runs (NTP, an administrator,
    a virtual machine that is resumed) changes nothing. A test that freezes or moves the day is
    followed, as far as it can be told from a clock that was set: :data:`system_wall`.

    Args:
        read: the machine's time of day, in Unix seconds.
        elapsed: seconds that pass, those in which the machine sleeps included.
        system: the time of day that no test can change; None: there is none to compare with.
    """

    __slots__ = ("__weakref__", "_elapsed", "_first", "_first_shift", "_system", "read")

    def __init__(
        self,
        read: Callable[[], float] = wall,
        elapsed: Callable[[], float] = boottime,
        system: Callable[[], float] | None = system_wall,
    ) -> None:
        #: What the machine's clock says now.
        self.read = read
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

    def opinions(self) -> tuple[float, float]:
        """What is known of the time of day without asking a service.

        Returns:
            the time first read plus what has passed, and the machine's clock. They differ after a
            jump, and either may be the one that is right: the clock was put wrong, or right.
        """
        return self._first + self._elapsed(), self.read()

    def _shift(self) -> float:
        """By how much a test has moved the day."""
        if self._system is None:
            return 0.0
        before, day, after = self._system(), self.read(), self._system()
        return 0.0 if before - _AGREES <= day <= after + _AGREES else day - after


def datetime_class() -> type[datetime]:
    """The class ``datetime`` itself, in frozen time too: the only one that msgspec decodes into.

    A function, because freezegun also replaces every variable of a module that holds the class.
    """
    # What msgspec's C code makes of MessagePack's timestamp, here of the second 0.
    return type(msgspec.msgpack.decode(b"\xd6\xff\x00\x00\x00\x00"))

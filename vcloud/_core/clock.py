"""The time of day, which tests may freeze or move, and the passing of time, which they cannot.

freezegun replaces ``datetime.datetime`` and the functions of ``time`` while it is active. Whatever
refers to them for longer than one call (a default argument, an annotation that is evaluated once)
keeps what it found: the real one, or the replacement. So the time of day is looked up at each call,
and the rest never comes from what can be replaced.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

import msgspec


def wall() -> float:
    """The time of day in Unix seconds, or what a test has set. Requests are signed with it."""
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


def datetime_class() -> type[datetime]:
    """The class ``datetime`` itself, in frozen time too: the only one that msgspec decodes into.

    A function, because freezegun also replaces every variable of a module that holds the class.
    """
    # What msgspec's C code makes of MessagePack's timestamp, here of the second 0.
    return type(msgspec.msgpack.decode(b"\xd6\xff\x00\x00\x00\x00"))

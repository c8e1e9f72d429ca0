"""The sources of time and randomness, so that tests can replace them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Final

import msgspec

from vcloud._core.timing.clock import monotonic, wall


class Sources(msgspec.Struct, frozen=True):
    """The sources of time and randomness.

    Attributes:
        clock: monotonic seconds.
        wall: the machine's time of day, in Unix seconds. It is read when the session is made, and
            where a service contradicts it.
        boottime: monotonic seconds that go on while the machine sleeps; None: the system's, or
            ``clock`` if another ``wall`` is given.
        entropy: a number in 0..1, for jitter.
        nonce: a fresh text for each signature.
    """

    clock: Callable[[], float] = monotonic
    wall: Callable[[], float] = wall
    boottime: Callable[[], float] | None = None
    entropy: Callable[[], float] = random.random
    nonce: Callable[[], str] = lambda: os.urandom(16).hex()


#: Those of every session outside of tests.
SYSTEM: Final = Sources()

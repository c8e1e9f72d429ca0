"""The cells of the matrix of ends, and the expected fate of the machines in each.

The expectations do not depend on the client's code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from random import Random
from typing import Any, Final

from attrs import frozen


class End(Enum):
    """How the program ends, or the part of it that does the work."""

    RETURNS = "main returns"
    RAISES = "main raises"
    SYSTEM_EXIT = "SystemExit from a signal's handler"
    # As SYSTEM_EXIT, but an ordinary exception, as task queues raise it.
    SOFT_LIMIT = "an exception from a signal's handler"
    SIGINT = "SIGINT once"
    SIGINT_TWICE = "SIGINT twice"
    SIGTERM = "SIGTERM cancels main"
    TASK_GROUP = "a sibling in a TaskGroup fails"
    TIMEOUT = "asyncio.timeout"
    ANYIO = "an anyio scope"
    LOOP_STOP = "loop.stop under asyncio.run"
    # What `loop.stop` leads to without asyncio.run.
    LOOP_CLOSED = "the loop is closed over its tasks"
    GENERATOR = "a dropped generator"
    GENERATOR_CLOSED = "a dropped generator, its client closed at once"
    CLIENT_CLOSED = "the client closed first"


class Fate(Enum):
    """The expected fate of the machines."""

    UNSENT = "nothing is sent any more"
    STOPPED = "stopped"
    NAMED = "named by its id"
    UNKNOWN = "named by its create, with outcome_unknown"
    JOURNAL = "in the journal"
    ENDED = "stopped, or named"


@frozen(kw_only=True)
class Moment:
    """What the program is doing when it ends.

    Attributes:
        name: the operation of ``operations``, and the stage of ``stages``.
        group: which of the eight kinds of moments this is.
        fate: the expected fate of the machines, however the program ends.
        closed: the expected fate if the loop is closed before its tasks ended, so that nothing can
            be sent any more.
        options: the options of the Endpoint.
        long: not in the quick part of the suite.
    """

    name: str
    group: str
    fate: Fate
    closed: Fate
    options: Mapping[str, Any] = {}
    long: bool = True

    def __str__(self) -> str:
        return self.name


#: Longer than any answer takes and shorter than :data:`GUARD`; and for answers that never come.
NORMAL: Final = {"cleanup_timeout": 30.0}
BRIEF: Final = {"cleanup_timeout": 1.0}
#: Longer than the guard: a report that waits for this timeout comes too late.
TOO_LONG: Final = {"cleanup_timeout": 500.0}
#: Seconds after which a program counts as hanging. What it must not wait for takes ten minutes or
#: forever.
GUARD: Final = 60.0


def _queue(name: str, *, long: bool = True, **options: Any) -> Moment:
    return Moment(
        name=f"queue.{name}",
        group="waiting in a queue",
        fate=Fate.UNSENT,
        closed=Fate.UNSENT,
        # A wait in a queue must end at once, not after the cleanup timeout.
        options={**TOO_LONG, **options},
        long=long,
    )


def _stopped(name: str, group: str, *, long: bool = False, closed: Fate = Fate.NAMED) -> Moment:
    return Moment(
        name=name, group=group, fate=Fate.STOPPED, closed=closed, options=NORMAL, long=long
    )


def _reported(
    name: str, group: str, fate: Fate = Fate.NAMED, *, options: Mapping[str, Any] = BRIEF
) -> Moment:
    return Moment(name=name, group=group, fate=fate, closed=fate, options=options)


MOMENTS: Final = (
    _queue("slot", long=False, concurrency=1),
    _queue("limit", rate=(1, 600.0)),
    _queue("pause"),
    _queue("backoff"),
    _queue("login"),
    _queue("create", concurrency=1),
    _queue("connect", rate=(1, 600.0)),
    Moment(
        name="queue.bulk",
        group="waiting in a queue",
        fate=Fate.JOURNAL,
        closed=Fate.JOURNAL,
        options={**TOO_LONG, "concurrency": 1},
    ),
    _stopped("create", "the create under way", closed=Fate.UNKNOWN),
    _reported("create.lost", "the create under way", Fate.UNKNOWN),
    _stopped("block", "the block running"),
    _reported("block.unanswered", "the block running"),
    _reported("block.paused", "the block running", options=TOO_LONG),
    _stopped("stopping", "stopping"),
    _stopped("stopping.again", "stopping", long=True),
    _reported("stopping.unanswered", "stopping"),
    _stopped("closing", "stopping", long=True),
    _reported("closing.unanswered", "stopping"),
    _stopped("starting", "connect starting", closed=Fate.UNKNOWN),
    _reported("starting.lost", "connect starting", Fate.UNKNOWN),
    _stopped("assigning", "connect assigning"),
    _reported("assigning.lost", "connect assigning"),
    _stopped("undo", "its undo"),
    _reported("undo.unanswered", "its undo"),
    Moment(
        name="bulk",
        group="a bulk run with a journal",
        fate=Fate.JOURNAL,
        closed=Fate.JOURNAL,
        options=BRIEF,
        long=False,
    ),
)

#: Two launches and a connect that fails, ended at a random time.
ANYTIME: Final = Moment(
    name="anytime",
    group="anytime",
    fate=Fate.ENDED,
    closed=Fate.ENDED,
    options={"cleanup_timeout": 5.0},
)
#: Ends that come from outside, at any time.
SIGNALS: Final = (End.SYSTEM_EXIT, End.SOFT_LIMIT, End.SIGINT, End.SIGINT_TWICE, End.SIGTERM)

#: Ends that are impossible on a loop, and why. All other cells are run.
IMPOSSIBLE: Final = {
    (End.SOFT_LIMIT, "uvloop"): "uvloop only logs what a signal's handler raises, and continues",
}

LOOPS: Final = (
    "asyncio",
    *(["uvloop"] if sys.platform != "win32" else []),
    *(["eager"] if sys.version_info >= (3, 12) else []),
)


@frozen
class Cell:
    """One program: what it does, how it ends, on which loop.

    Attributes:
        delay: seconds from the moment to the end. In this time happens what the service cannot see:
            an answer arrives, or a request joins a queue.
    """

    moment: Moment
    end: End
    loop: str
    delay: float = 0.06

    @property
    def fate(self) -> Fate:
        """The expected fate of the machines."""
        return self.moment.closed if self.end is End.LOOP_CLOSED else self.moment.fate

    def __str__(self) -> str:
        return f"{self.moment.name}, {self.end.value}, {self.loop}"


def cells(loops: Iterable[str] = LOOPS) -> list[Cell]:
    """All possible cells."""
    return [
        Cell(moment, end, loop)
        for loop in loops
        for moment in MOMENTS
        for end in End
        if (end, loop) not in IMPOSSIBLE
    ]


def anytime(random: Random, count: int, loops: Sequence[str] = LOOPS) -> list[Cell]:
    """Programs that a signal ends at a random time."""
    chosen: list[Cell] = []
    while len(chosen) < count:
        end, loop = random.choice(SIGNALS), random.choice(loops)
        if (end, loop) not in IMPOSSIBLE:
            chosen.append(Cell(ANYTIME, end, loop, random.uniform(0, 0.8)))
    return chosen


def quick() -> list[Cell]:
    """The quick part of the suite: each kind of moment with each end, on some loop."""
    chosen = [moment for moment in MOMENTS if not moment.long]
    return [
        Cell(moment, end, _loop(end, row + column))
        for row, moment in enumerate(chosen)
        for column, end in enumerate(End)
    ]


def _loop(end: End, turn: int) -> str:
    possible = [loop for loop in LOOPS if (end, loop) not in IMPOSSIBLE]
    return possible[turn % len(possible)]

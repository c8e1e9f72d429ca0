"""Which cells there are, and what must become of each. From the issue's words, not from the client's code."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from random import Random
from typing import Any, Final

from attrs import frozen


class End(Enum):
    """How the program, or the part of it that holds the work, ends."""

    RETURNS = "main returns"
    RAISES = "main raises"
    SYSTEM_EXIT = "SystemExit from a signal's handler"
    SOFT_LIMIT = "an exception from a signal's handler"
    SIGINT = "SIGINT once"
    SIGINT_TWICE = "SIGINT twice"
    SIGTERM = "SIGTERM cancels main"
    TASK_GROUP = "a sibling in a TaskGroup fails"
    TIMEOUT = "asyncio.timeout"
    ANYIO = "an anyio scope"
    LOOP_STOP = "loop.stop under asyncio.run"
    LOOP_CLOSED = "the loop is closed over its tasks"
    GENERATOR = "a dropped generator"
    GENERATOR_CLOSED = "a dropped generator, its client closed at once"
    CLIENT_CLOSED = "the client closed first"


class Fate(Enum):
    """What must become of the machines."""

    UNSENT = "nothing is sent any more"
    STOPPED = "stopped"
    NAMED = "named by its id"
    UNKNOWN = "named by its create, with outcome_unknown"
    JOURNAL = "in the journal"
    ENDED = "stopped, or named"


@frozen(kw_only=True)
class Moment:
    """What the program does when it ends.

    Attributes:
        name: the operation of ``operations``, and the stage of ``stages``.
        group: which of the issue's eight moments this is a form of.
        fate: what must become of the machines, however the program ends.
        closed: where the loop is closed over its tasks: nothing can be sent any more.
        options: of the Endpoint.
        long: not in the suite's quick part.
    """

    name: str
    group: str
    fate: Fate
    closed: Fate
    options: Mapping[str, Any] = {}
    long: bool = True

    def __str__(self) -> str:
        return self.name


#: Longer than any answer that comes, shorter than :data:`GUARD`; and for those that never come.
PATIENT: Final = {"cleanup_timeout": 30.0}
BRIEF: Final = {"cleanup_timeout": 1.0}
#: Longer than the guard: what is reported only when this has passed is reported too late.
LATE: Final = {"cleanup_timeout": 500.0}
#: Seconds after which a program hangs. What it must not wait for takes ten minutes, or for ever.
GUARD: Final = 60.0


def _line(name: str, *, long: bool = True, **options: Any) -> Moment:
    return Moment(
        name=f"line.{name}",
        group="waiting in line",
        fate=Fate.UNSENT,
        closed=Fate.UNSENT,
        # A wait in line is given up at once, not when the bound of cleaning up has passed.
        options={**LATE, **options},
        long=long,
    )


def _held(name: str, group: str, *, long: bool = False, closed: Fate = Fate.NAMED) -> Moment:
    return Moment(
        name=name, group=group, fate=Fate.STOPPED, closed=closed, options=PATIENT, long=long
    )


def _left(
    name: str, group: str, fate: Fate = Fate.NAMED, *, options: Mapping[str, Any] = BRIEF
) -> Moment:
    return Moment(name=name, group=group, fate=fate, closed=fate, options=options)


MOMENTS: Final = (
    _line("slot", long=False, concurrency=1),
    _line("limit", rate=(1, 600.0)),
    _line("pause"),
    _line("backoff"),
    _line("login"),
    _line("create", concurrency=1),
    _line("connect", rate=(1, 600.0)),
    Moment(
        name="line.bulk",
        group="waiting in line",
        fate=Fate.JOURNAL,
        closed=Fate.JOURNAL,
        options={**LATE, "concurrency": 1},
    ),
    _held("create", "the create under way", closed=Fate.UNKNOWN),
    _left("create.lost", "the create under way", Fate.UNKNOWN),
    _held("block", "the block running"),
    _left("block.deaf", "the block running"),
    _left("block.paused", "the block running", options=LATE),
    _held("stopping", "stopping"),
    _held("stopping.again", "stopping", long=True),
    _left("stopping.deaf", "stopping"),
    _held("closing", "stopping", long=True),
    _left("closing.deaf", "stopping"),
    _held("starting", "connect starting", closed=Fate.UNKNOWN),
    _left("starting.lost", "connect starting", Fate.UNKNOWN),
    _held("assigning", "connect assigning"),
    _left("assigning.lost", "connect assigning"),
    _held("undo", "its undo"),
    _left("undo.deaf", "its undo"),
    Moment(
        name="bulk",
        group="a bulk run with a journal",
        fate=Fate.JOURNAL,
        closed=Fate.JOURNAL,
        options=BRIEF,
        long=False,
    ),
)

#: Two launches and a connect that fails, ended at any time.
ANYTIME: Final = Moment(
    name="anytime",
    group="anytime",
    fate=Fate.ENDED,
    closed=Fate.ENDED,
    options={"cleanup_timeout": 5.0},
)
#: Ends that come from outside, whatever the program is just doing.
SIGNALS: Final = (End.SYSTEM_EXIT, End.SOFT_LIMIT, End.SIGINT, End.SIGINT_TWICE, End.SIGTERM)

#: Ends with forms of their own, beside the issue's.
FORMS: Final = {
    End.SOFT_LIMIT: "as SystemExit, but an ordinary exception, as task queues raise it",
    End.LOOP_CLOSED: "what `loop.stop` leads to without asyncio.run",
    End.GENERATOR_CLOSED: "a dropped generator whose client does not live on either",
}
#: Cells that make no sense, by end and loop, and why. All others are played.
SENSELESS: Final = {
    (End.SOFT_LIMIT, "uvloop"): "uvloop only logs what a signal's handler raises, and goes on",
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
        delay: seconds from the moment to the end. What the service cannot see is still to happen in
            them: that an answer arrives, that a request stands in line.
    """

    moment: Moment
    end: End
    loop: str
    delay: float = 0.06

    @property
    def fate(self) -> Fate:
        """What must become of the machines."""
        return self.moment.closed if self.end is End.LOOP_CLOSED else self.moment.fate

    def __str__(self) -> str:
        return f"{self.moment.name}, {self.end.value}, {self.loop}"


def cells(loops: Iterable[str] = LOOPS) -> list[Cell]:
    """Every cell that makes sense."""
    return [
        Cell(moment, end, loop)
        for loop in loops
        for moment in MOMENTS
        for end in End
        if (end, loop) not in SENSELESS
    ]


def anytime(random: Random, count: int, loops: Sequence[str] = LOOPS) -> list[Cell]:
    """Programs that are ended by a signal at a random time."""
    chosen: list[Cell] = []
    while len(chosen) < count:
        end, loop = random.choice(SIGNALS), random.choice(loops)
        if (end, loop) not in SENSELESS:
            chosen.append(Cell(ANYTIME, end, loop, random.uniform(0, 0.8)))
    return chosen


def quick() -> list[Cell]:
    """The suite's part: each of the eight moments with each end, on one loop or another."""
    chosen = [moment for moment in MOMENTS if not moment.long]
    return [
        Cell(moment, end, _loop(end, row + column))
        for row, moment in enumerate(chosen)
        for column, end in enumerate(End)
    ]


def _loop(end: End, turn: int) -> str:
    possible = [loop for loop in LOOPS if (end, loop) not in SENSELESS]
    return possible[turn % len(possible)]

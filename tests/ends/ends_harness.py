"""Runs cells: a service and a process for each, and the facts about both afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from attrs import define, field, frozen

from tests.ends.cells import GUARD, Cell, End
from tests.ends.judge import Facts, Machine, flaws
from tests.ends.stages import STAGES
from vcloud import Journal
from vcloud.emulator import Emulator
from vcloud.emulator.clock import monotonic

ROOT: Final = Path(__file__).parents[2]
#: A desktop that exists before, and that the program reads.
SPARE: Final = "770e8400-e29b-41d4-a716-446655440002"
#: How many programs run at once. They mostly wait.
AT_ONCE: Final = 12
#: How often a cell is run at most: on a busy machine the moment may pass before the test sees it.
MAX_RUNS: Final = 3
#: Seconds until requests that were sent at the end have arrived.
SETTLE: Final = 0.06
#: Seconds between two Ctrl-C: two signals at once count as one.
AGAIN: Final = 0.05

_SIGNALS: Final = {
    End.SYSTEM_EXIT: (signal.SIGTERM,),
    End.SOFT_LIMIT: (signal.SIGUSR1,),
    End.SIGINT: (signal.SIGINT,),
    End.SIGINT_TWICE: (signal.SIGINT, signal.SIGINT),
    End.SIGTERM: (signal.SIGTERM,),
}


@frozen
class Verdict:
    """A cell, what is wrong with it, and how long its program took to end."""

    cell: Cell
    facts: Facts
    flaws: Sequence[str]
    seconds: float


class Forker:
    """The process that forks a process for each program."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def fork(self, spec: dict[str, Any]) -> None:
        """Start a program."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(spec).encode() + b"\n")
        await self._process.stdin.drain()


@asynccontextmanager
async def forking() -> AsyncIterator[Forker]:
    """Start a process that has imported what programs need."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.ends.forker",
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.PIPE,
    )
    try:
        yield Forker(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


@define
class _Connection:
    """The test's end of the connection to one program."""

    events: list[dict[str, Any]] = field(factory=list)
    over: asyncio.Event = field(factory=asyncio.Event)
    _writer: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                self.events.append(json.loads(line))
        # The process has ended in some way.
        self.over.set()
        writer.close()

    def values(self, name: str) -> list[Any]:
        return [event[name] for event in self.events if name in event]

    def go(self) -> None:
        assert self._writer is not None
        self._writer.write(b"!")

    def kill(self, number: int) -> None:
        for pid in self.values("pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


async def _until(there: Callable[[], bool], connection: _Connection) -> bool:
    """Wait until the condition holds; False: the program ended before."""
    while not there():
        if connection.over.is_set() or connection.values("left"):
            return False
        await asyncio.sleep(0.005)  # neither side has an event for it
    return True


def _changing(emulator: Emulator, since: float = 0.0, until: float = inf) -> list[str]:
    """The requests that change something and arrived in this time."""
    return [
        f"{call.method} {call.path}"
        for call in list(emulator.calls)
        if since <= call.at < until and call.method != "GET" and not call.path.endswith("/login")
    ]


def _machines(emulator: Emulator) -> list[Machine]:
    """All machines that were made, and their present state."""
    now = emulator.clock.now()
    desktops = [
        Machine(provider="desktops", id=one.id, stopped=one.forced == "terminated")
        for one in emulator.desktops.desktops.values()
        if one.id != SPARE
    ]
    streams = [
        Machine(provider="streams", id=str(one.id), stopped=one.end_at(now) is not None)
        for one in emulator.streams.machines.values()
    ]
    return [*desktops, *streams]


def _world(emulator: Emulator) -> None:
    desktop = emulator.desktops.add_desktop()
    desktop.id = SPARE
    emulator.desktops.desktops = {SPARE: desktop}


async def play(
    cell: Cell, forker: Forker, *, mutant: str | None = None, guard: float = GUARD
) -> Verdict:
    """Run a program to its end and judge it; again if a busy machine missed the moment."""
    for _ in range(MAX_RUNS):
        verdict = await _play(cell, forker, mutant, guard)
        if verdict.facts.reached:
            break
    return verdict


async def _play(cell: Cell, forker: Forker, mutant: str | None, guard: float) -> Verdict:
    """Run a program to its end once."""
    connection = _Connection()
    with TemporaryDirectory(prefix="ends") as folder:
        async with Emulator(machines=1, speed=200) as emulator:
            _world(emulator)
            reached = STAGES[cell.moment.name](emulator)
            bought = len(emulator.computers.machines)
            server = await asyncio.start_unix_server(connection.serve, f"{folder}/socket")
            async with server:
                await forker.fork(_spec(cell, emulator, folder, mutant, guard))
                there = await _until(
                    lambda: bool(connection.values("at")) and reached(), connection
                )
                await asyncio.sleep(cell.delay)
                began = monotonic()
                if there:
                    await _end(cell, connection)
                else:
                    connection.kill(signal.SIGKILL)
                await connection.over.wait()
            took = monotonic() - began
            # Requests that arrived just before the process ended are still being carried out.
            await asyncio.sleep(SETTLE)
            output = (Path(folder) / "output").read_text(errors="replace")
            facts = Facts(
                reached=there,
                hung="Timeout (" in output,
                events=tuple(connection.events),
                output=output,
                machines=_machines(emulator),
                before=_changing(emulator, until=began),
                after=_changing(emulator, since=began),
                bought=len(emulator.computers.machines) - bought,
                journal=await _statuses(Path(folder) / "bulk.journal"),
            )
    return Verdict(cell, facts, flaws(cell, facts), took)


def _spec(
    cell: Cell, emulator: Emulator, folder: str, mutant: str | None, guard: float
) -> dict[str, Any]:
    return {
        "moment": cell.moment.name,
        "end": cell.end.name,
        "loop": cell.loop,
        "options": dict(cell.moment.options),
        "env": emulator.env(),
        "folder": folder,
        "socket": f"{folder}/socket",
        "spare": SPARE,
        "guard": guard,
        "mutant": mutant,
    }


async def _end(cell: Cell, connection: _Connection) -> None:
    numbers = _SIGNALS.get(cell.end)
    if numbers is None:
        connection.go()
        return
    for index, number in enumerate(numbers):
        if index:
            await asyncio.sleep(AGAIN)
        connection.kill(number)


async def _statuses(path: Path) -> Counter[str]:
    if not await asyncio.to_thread(path.exists):
        return Counter()
    async with Journal(path) as journal:
        return Counter(str(entry.status) for entry in await journal.entries())


async def run(
    todo: Iterable[Cell], *, mutant: str | None = None, guard: float = GUARD
) -> list[Verdict]:
    """Run each cell, some at once."""
    found: list[Verdict] = []
    queue = iter(todo)

    async def worker(forker: Forker) -> None:
        for cell in queue:
            found.append(await play(cell, forker, mutant=mutant, guard=guard))

    async with forking() as forker:
        await asyncio.gather(*[worker(forker) for _ in range(AT_ONCE)])
    return found


class FailedError(AssertionError):
    """Some cells failed."""


def require(verdicts: Sequence[Verdict]) -> None:
    """Fail unless all cells passed.

    Raises:
        FailedError: names the cells, and what is wrong with each.
    """
    failed = [
        f"{verdict.cell}: {'; '.join(verdict.flaws)}" for verdict in verdicts if verdict.flaws
    ]
    if failed:
        raise FailedError("\n".join(failed))


def table(verdicts: Sequence[Verdict]) -> str:
    """For each moment and end: how many cells passed, of how many."""
    ends = list(End)
    rows = [["moment", *[str(number) for number, _ in enumerate(ends, 1)], "all"]]
    for name in dict.fromkeys(verdict.cell.moment.name for verdict in verdicts):
        mine = [verdict for verdict in verdicts if verdict.cell.moment.name == name]
        row = [_share([one for one in mine if one.cell.end is end]) for end in ends]
        rows.append([name, *row, _share(mine)])
    rows.append(
        [
            "all",
            *[_share([v for v in verdicts if v.cell.end is end]) for end in ends],
            _share(verdicts),
        ]
    )
    legend = ", ".join(f"{number} {end.value}" for number, end in enumerate(ends, 1))
    lines = [
        "".join(f"{text:<{16 if not index else 7}}" for index, text in enumerate(row))
        for row in rows
    ]
    return "\n".join([*lines, legend])


def _share(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return "-"
    return f"{sum(not verdict.flaws for verdict in verdicts)}/{len(verdicts)}"

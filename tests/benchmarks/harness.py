"""Shared by the benchmarks: the canned server, measurements, ratios, tables, command line."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attrs import frozen

from vcloud import Endpoint, HMACAuth, VagonComputers

ROOT = Path(__file__).parents[2]
AT_ONCE = 50
BARE = "bare aiohttp"
VCLOUD = "vcloud"
NOT_INSTALLED = "not installed"
FIRST, WIDTH = 38, 21

Call = Callable[[], Awaitable[object]]
Measure = Callable[[], Awaitable[float]]
"""Seconds, or whatever else a benchmark compares."""


@frozen
class Options:
    """The command-line options of every benchmark.

    Attributes:
        rounds: how often each client is measured.
        quick: only show that it works, with few calls; the figures have no meaning.
        uvloop: run the client on uvloop.
        alone: measure only bare aiohttp and vcloud.
    """

    rounds: int
    quick: bool = False
    uvloop: bool = False
    alone: bool = False

    def flags(self) -> list[str]:
        """The options for another process, but for the rounds, whose default differs."""
        return [f"--{name}" for name in ("quick", "uvloop", "alone") if getattr(self, name)]

    def pick(self, usual: int, quick: int) -> int:
        """One of two sizes."""
        return quick if self.quick else usual


def parser(doc: str | None, rounds: int | None) -> argparse.ArgumentParser:
    """The common arguments; ``rounds`` is the default number of rounds."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--rounds", type=int, default=rounds, help="how often each client is measured"
    )
    made.add_argument("--quick", action="store_true", help="only show that it works")
    made.add_argument("--uvloop", action="store_true", help="run the client on uvloop")
    made.add_argument("--alone", action="store_true", help="only bare aiohttp and vcloud")
    return made


def options(given: argparse.Namespace) -> Options:
    """The options; one round with --quick."""
    return Options(1 if given.quick else given.rounds, given.quick, given.uvloop, given.alone)


def run(main: Callable[[Options], Awaitable[None]], doc: str | None, rounds: int) -> None:
    """Run one benchmark as a program."""
    run_with(main, options(parser(doc, rounds).parse_args()))


def run_with(main: Callable[[Options], Awaitable[None]], chosen: Options) -> None:
    """Run one benchmark, on uvloop if the options say so."""
    if chosen.uvloop:
        print(f"\non uvloop {version('uvloop')}")

    async def started() -> None:
        await main(chosen)

    with on_loop(uvloop=chosen.uvloop) as runner:
        runner.run(started())


def on_loop(*, uvloop: bool) -> asyncio.Runner:
    """A runner with an event loop of asyncio, or of uvloop."""
    if not uvloop:
        return asyncio.Runner()
    from uvloop import new_event_loop

    return asyncio.Runner(loop_factory=new_event_loop)


@contextlib.contextmanager
def served() -> Iterator[str]:
    """The canned server in a process of its own. Yields its URL, without a path."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.canned"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.stdin.close()
        server.wait(timeout=10)
        server.stdout.close()


def computers_at(base: str, concurrency: int = 100) -> VagonComputers:
    """The client of vcloud, with its defaults."""
    return VagonComputers(endpoint_at(base, concurrency))


def endpoint_at(base: str, concurrency: int = 100) -> Endpoint:
    """An endpoint at the canned server, with its defaults."""
    return Endpoint(base, auth=HMACAuth("ak_test_1", "sk_test_1"), concurrency=concurrency)


async def at_once(call: Call, calls: int) -> None:
    """Make this many calls, in ``AT_ONCE`` tasks."""

    async def worker() -> None:
        for _ in range(max(1, calls // AT_ONCE)):
            await call()

    await asyncio.gather(*[worker() for _ in range(AT_ONCE)])


async def cpu(work: Awaitable[object]) -> float:
    """CPU seconds of this process until the work is done."""
    begin = time.process_time()
    await work
    return time.process_time() - begin


async def wall(work: Awaitable[object]) -> float:
    """Seconds until the work is done."""
    begin = time.perf_counter()
    await work
    return time.perf_counter() - begin


async def in_turn(
    measures: Mapping[str, Measure], rounds: int, *, warm: bool = True
) -> dict[str, list[float]]:
    """Measure all of them in each round, and in reverse order in every other round.

    So a drift of the machine's speed affects all of them alike.
    """
    taken: dict[str, list[float]] = {name: [] for name in measures}
    if warm:
        for measure in measures.values():
            await measure()
    for number in range(rounds):
        for name in list(measures) if number % 2 == 0 else list(measures)[::-1]:
            gc.collect()
            taken[name].append(await measures[name]())
    return taken


def ratio(ours: Sequence[float], base: Sequence[float]) -> str:
    """The median of the ratios of all rounds, and the smallest and largest of them."""
    return spread([a / b for a, b in zip(ours, base, strict=True)])


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """The median, and the range if there is one."""
    middle = f"{statistics.median(values):{form}}"
    return middle if len(values) == 1 else f"{middle} ({min(values):{form}}..{max(values):{form}})"


def against_bare(taken: Mapping[str, Sequence[float]], unit: float, suffix: str) -> dict[str, str]:
    """The cells of a row: the time of bare aiohttp in ``unit`` seconds, and the others' ratios."""
    base = taken[BARE]
    return {
        name: f"{statistics.median(base) / unit:.0f} {suffix}"
        if name == BARE
        else ratio(values, base)
        for name, values in taken.items()
    }


class Table:
    """A table that prints each row as soon as it is known.

    Args:
        title: what is measured, and in which unit.
        columns: the names of the columns.
        empty: the text of a cell without a value.
    """

    def __init__(self, title: str, columns: Sequence[str], *, empty: str = "") -> None:
        self._columns = columns
        self._empty = empty
        print(
            f"\n{title}\n\n{'':<{FIRST}}" + "".join(f"{column:<{WIDTH}}" for column in columns),
            flush=True,
        )

    def row(self, name: str, cells: Mapping[str, Any]) -> None:
        """Print a row."""
        print(
            f"{name:<{FIRST}}"
            + "".join(f"{cells.get(column, self._empty)!s:<{WIDTH}}" for column in self._columns),
            flush=True,
        )

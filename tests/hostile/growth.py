"""Checks how cost grows with input: ten times the input may cost about ten times as much.

A test gives two functions and the harness measures::

    check_growth(make=lambda size: page_of(size), work=lambda page: decode(page))

``make`` builds an input of a size, outside of what is measured. ``work`` uses it. The size is
doubled until the work takes 20 ms of this thread's CPU, because less is noise. Then the same work
with ten times the input may take less than 20 times the CPU (best of five each), and its peak of
memory, by tracemalloc, may be at most 15 times as high. What is proportional has 10 for both;
what is quadratic has 100.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import pytest

T = TypeVar("T")

#: How much larger the larger input is.
TIMES: Final = 10
#: Seconds of thread CPU that the smaller input takes at least.
LEAST: Final = 0.02
#: Runs of each size. The best one counts, because other processes only ever add time.
RUNS: Final = 5
#: The CPU of the larger input, in those of the smaller.
MOST_TIME: Final = 20.0
#: The peak of memory, likewise. More than ten, because lists and dicts grow in steps.
MOST_MEMORY: Final = 15.0
#: Bytes that any work may take: below, a ratio says nothing.
FREE_MEMORY: Final = 64 * 1024
#: The size at which the search ends where the work does not depend on it.
LARGEST: Final = 2**20
#: A run this far above the limit ends the measurement: no other process makes that difference.
HOPELESS: Final = 2.0
#: Memory is measured with smaller inputs, because tracemalloc makes the work many times slower.
MEMORY_SHARE: Final = 8


@dataclass(frozen=True)
class Growth:
    """What was measured.

    Attributes:
        size: of the smaller input; the larger one is ten times as large. Memory is measured with
            an eighth of both.
        repeats: how often the work was done in one run, to take 20 ms.
        seconds: thread CPU of one run with the smaller and the larger input.
        memory: bytes at the peak, likewise.
    """

    size: int
    repeats: int
    seconds: tuple[float, float]
    memory: tuple[int, int]

    @property
    def time_ratio(self) -> float:
        return self.seconds[1] / self.seconds[0]

    @property
    def memory_ratio(self) -> float:
        return self.memory[1] / max(self.memory[0], FREE_MEMORY)


def check_growth(
    *,
    make: Callable[[int], T],
    work: Callable[[T], object],
    size: int = 256,
    largest: int = LARGEST,
    most_time: float = MOST_TIME,
    most_memory: float = MOST_MEMORY,
) -> Growth:
    """See that the work grows at most in proportion to its input.

    Args:
        make: an input of this size; not measured.
        work: what is done with it, by this thread. It may raise an error of the SDK's kind only
            where it catches that itself. A coroutine function is run to its end, all runs in one
            event loop, so that a client may live on from run to run; what a server in the same
            loop does counts too.
        size: where the search for 20 ms begins. It is doubled as long as that is not reached.
        largest: where the search ends. Work that is still quicker, because it is bounded, is
            then repeated within a run.
        most_time: the ratio of CPU that is refused.
        most_memory: the ratio of memory that is refused.

    Returns:
        What was measured.

    Raises:
        AssertionError: it grows faster.
    """
    with asyncio.Runner() as runner, _without_others():

        def run(value: T) -> None:
            done = work(value)
            if inspect.iscoroutine(done):
                runner.run(done)

        size, repeats = _size_for(make, run, size, largest)
        quick = min(_seconds(run, make(size), repeats) for _ in range(RUNS))
        slow = _best_of(run, make(TIMES * size), repeats, most_time * quick)
        base = max(size // MEMORY_SHARE, 1)
        memory = _peak(run, make(base)), _peak(run, make(TIMES * base))
        found = Growth(size, repeats, (quick, slow), memory)
    assert found.time_ratio < most_time, f"time grows too fast: {found}"
    assert found.memory_ratio <= most_memory, f"memory grows too fast: {found}"
    return found


@contextlib.contextmanager
def _without_others() -> Iterator[None]:
    """Keep the collector from going through what other tests left: it would be counted here."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _best_of(run: Callable[[T], None], value: T, repeats: int, limit: float) -> float:
    """Seconds of the best of five runs; no further run where one settles it."""
    best = float("inf")
    for _ in range(RUNS):
        best = min(best, _seconds(run, value, repeats))
        if best < limit or best > HOPELESS * limit:
            break
    return best


def _size_for(
    make: Callable[[int], T], run: Callable[[T], None], size: int, largest: int
) -> tuple[int, int]:
    """The size, and how often the work is done, that take 20 ms."""
    while (taken := _at(make, run, size)) < LEAST and 2 * size <= largest:
        # In steps of two at the end, so that the size does not depend on noise more than it must.
        size *= 8 if taken < LEAST / 16 and 8 * size <= largest else 2
    repeats = 1
    value = make(size)
    while taken < LEAST:
        repeats *= 2
        taken = _seconds(run, value, repeats)
    return size, repeats


def _at(make: Callable[[int], T], run: Callable[[T], None], size: int) -> float:
    value = make(size)
    _seconds(run, value, 1)  # what is done once, and remembered, is no part of it
    return _seconds(run, value, 1)


def _seconds(run: Callable[[T], None], value: T, repeats: int) -> float:
    gc.collect()
    began = time.thread_time()
    for _ in range(repeats):
        run(value)
    return time.thread_time() - began


def _peak(run: Callable[[T], None], value: T) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        run(value)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def shared_out(apis: Iterable[str], kinds: Iterable[str]) -> list[Any]:
    """Every kind with every API; in the short form each kind with one of them, in turn."""
    apis = list(apis)
    return [
        pytest.param(api, kind, marks=() if number % len(apis) == index else pytest.mark.long)
        for number, kind in enumerate(kinds)
        for index, api in enumerate(apis)
    ]

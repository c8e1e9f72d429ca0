"""Before a late timer fires, the loop reads. Otherwise timers behave like asyncio's."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.integration.each_loop import LOOPS
from tests.lacking import untested
from vcloud._core.timing import timeouts
from vcloud._core.timing.timeouts import (
    GRACE,
    GROWTH_CHECK_INTERVAL,
    LATE,
    MAX_ITERATIONS,
    call_when_due,
    timeout,
    timeout_at,
)


class Clock:
    """The loop's time, which only a test moves, and the number of its timers."""

    def __init__(self, loop: asyncio.AbstractEventLoop, patch: pytest.MonkeyPatch) -> None:
        self.loop = loop
        self.now = 100.0
        self.timers = 0
        call_at = loop.call_at

        def counted(*given: object, **named: object) -> asyncio.TimerHandle:
            self.timers += 1
            return call_at(*given, **named)  # type: ignore[arg-type]

        patch.setattr(loop, "time", lambda: self.now)
        patch.setattr(loop, "call_at", counted)

    async def iterate(self, until: Callable[[], object], *, seconds: float = 0.0) -> int:
        """Run iterations of the loop until a condition holds; how many. Each takes so long."""
        for iteration in range(1000):
            if until():
                return iteration
            self.now += seconds
            await asyncio.sleep(0)
        pytest.fail("the condition never held")


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(asyncio.get_running_loop(), monkeypatch)


async def test_a_timer_that_fires_in_time_costs_one_timer_and_two_iterations(clock: Clock) -> None:
    fired: list[float] = []
    call_when_due(clock.loop, 110, lambda: fired.append(clock.now))
    await asyncio.sleep(0)
    clock.now = 110 + LATE
    assert await clock.iterate(lambda: fired) <= 3
    assert clock.timers == 1


async def test_a_timer_that_fires_late_lets_the_loop_read_for_so_many_iterations(
    clock: Clock,
) -> None:
    fired: list[float] = []
    call_when_due(clock.loop, 110, lambda: fired.append(clock.now))
    clock.now = 110.5
    assert MAX_ITERATIONS <= await clock.iterate(lambda: fired) <= MAX_ITERATIONS + 5


async def test_long_iterations_are_bounded_by_their_time(clock: Clock) -> None:
    fired: list[float] = []
    call_when_due(clock.loop, 110, lambda: fired.append(clock.now))
    clock.now = 111
    await clock.iterate(lambda: fired, seconds=GRACE / 10)
    # Some more iterations come before the first and after the last of them.
    assert GRACE <= fired[0] - 111 <= GRACE + 6 * GRACE / 10


@pytest.mark.parametrize("iterations", [1, 2, 3, 10, 40])
async def test_a_loop_that_is_blocked_again_still_reads_first(
    clock: Clock, iterations: int
) -> None:
    fired: list[float] = []
    call_when_due(clock.loop, 110, lambda: fired.append(clock.now))
    # In time, or late by a second. Then the loop is blocked again before the timer fires.
    clock.now = 110 if iterations < 3 else 111
    for _ in range(iterations):
        await asyncio.sleep(0)
    if not fired:
        clock.now += 33
        assert await clock.iterate(lambda: fired) >= 20
    else:
        assert iterations > 1, "in time: after the iteration in which the sockets were read"


async def test_it_waits_for_an_incomplete_answer_while_that_grows(
    clock: Clock,
) -> None:
    fired: list[float] = []
    asked: list[float] = []

    def is_growing() -> bool:
        asked.append(clock.now)
        return len(asked) < 3

    call_when_due(clock.loop, 110, lambda: fired.append(clock.now), is_growing=is_growing)
    clock.now = 111
    await clock.iterate(lambda: fired, seconds=GROWTH_CHECK_INTERVAL / 100)
    # The iterations before the first check take a few hundredths of the interval.
    assert len(asked) == 3
    assert asked[-1] - asked[0] == pytest.approx(
        2 * GROWTH_CHECK_INTERVAL, abs=GROWTH_CHECK_INTERVAL / 10
    )


async def test_it_does_not_wait_forever_for_a_growing_answer(clock: Clock) -> None:
    fired: list[float] = []
    call_when_due(clock.loop, 110, lambda: fired.append(clock.now), is_growing=lambda: True)
    clock.now = 111
    await clock.iterate(lambda: fired, seconds=GROWTH_CHECK_INTERVAL / 100)
    assert fired[0] - 111 <= GRACE + GROWTH_CHECK_INTERVAL


async def test_a_timer_that_fires_in_time_does_not_check_growth(clock: Clock) -> None:
    fired: list[float] = []
    call_when_due(clock.loop, 110, lambda: fired.append(clock.now), is_growing=pytest.fail)
    clock.now = 110
    await clock.iterate(lambda: fired)


@pytest.mark.parametrize("late", [0.0, 1.0], ids=["in time", "late"])
@pytest.mark.parametrize("iterations", range(5))
async def test_a_cancelled_timer_does_not_fire(clock: Clock, late: float, iterations: int) -> None:
    timer = call_when_due(clock.loop, 110, lambda: pytest.fail("it fired"))
    clock.now = 110 + late
    for _ in range(iterations if late else min(iterations, 1)):
        await asyncio.sleep(0)
    timer.cancel()
    for _ in range(2 * MAX_ITERATIONS):
        await asyncio.sleep(0)


async def test_a_time_that_has_passed_expires_at_once(clock: Clock) -> None:
    limit = timeout_at(clock.now - 5)
    with pytest.raises(TimeoutError):
        async with limit:
            await asyncio.sleep(0)
    assert limit.expired()
    assert clock.timers == 0


async def test_of_nested_timeouts_the_overdue_one_expires(
    clock: Clock,
) -> None:
    outer, inner = timeout(20), timeout(10)
    ended: list[str] = []

    async def nested() -> None:
        async with outer:
            with pytest.raises(TimeoutError):
                async with inner:
                    await asyncio.Event().wait()
            ended.append("inner")
            await asyncio.Event().wait()

    task = asyncio.create_task(nested())
    await asyncio.sleep(0)
    clock.now += 11
    await clock.iterate(lambda: ended)
    assert (inner.expired(), outer.expired()) == (True, False)
    clock.now += 11
    await clock.iterate(task.done)
    assert isinstance(task.exception(), TimeoutError)
    assert outer.expired()


async def test_nested_overdue_timeouts_do_not_drop_what_has_arrived(clock: Clock) -> None:
    answer: asyncio.Future[str] = clock.loop.create_future()

    async def nested() -> str:
        async with timeout(20), timeout(10):
            return await answer

    task = asyncio.create_task(nested())
    await asyncio.sleep(0)
    clock.now += 30
    for _ in range(20):
        await asyncio.sleep(0)
    answer.set_result("in time")
    assert await task == "in time"
    assert task.cancelling() == 0


# -- with real sockets ----------------------------------------------------------------------------


class Answer(asyncio.Protocol):
    """The answer of a peer, as the result of a future."""

    def __init__(self) -> None:
        self.came: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if not self.came.done():
            self.came.set_result(data)


async def answered_in_iteration(iteration: int, stopped: float) -> str:
    """The result of a wait of 20 ms for an answer that is sent in that iteration after a block."""
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    there.setblocking(False)
    transport, protocol = await loop.create_connection(Answer, sock=here)

    def count_down(left: int) -> None:
        if left and not task.done():
            loop.call_soon(count_down, left - 1)
        elif not left:
            there.send(b"answer")

    async def waited() -> str:
        async with timeout(0.02):
            return (await protocol.came).decode()

    task = asyncio.create_task(waited())
    await asyncio.sleep(0)
    time.sleep(stopped)  # noqa: ASYNC251 - what blocks the loop
    count_down(iteration)
    try:
        return await task
    except TimeoutError:
        dropped = protocol.came.done() and not protocol.came.cancelled()
        return "dropped" if dropped else "timeout"
    finally:
        transport.close()
        there.close()
        await asyncio.sleep(0)


@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
@pytest.mark.parametrize("name", LOOPS)
def test_an_answer_to_an_overdue_wait_is_not_dropped_whenever_it_comes(
    name: str, debug: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "LATE", 0.003)
    # Only iterations count, however slow the machine is.
    monkeypatch.setattr(timeouts, "GRACE", 60.0)
    # Each iteration of the timer has one of its own before it.
    within, about = (
        [*range(10), *range(10, MAX_ITERATIONS - 5, 5)],
        range(MAX_ITERATIONS - 5, MAX_ITERATIONS + 10),
    )

    async def main() -> list[str]:
        await answered_in_iteration(
            0, stopped=0
        )  # the first one takes longer, above all in debug mode
        return [
            await answered_in_iteration(iteration, stopped=0.04) for iteration in (*within, *about)
        ]

    with asyncio.Runner(loop_factory=LOOPS[name], debug=debug) as runner:
        said = runner.run(main())
    assert said[: len(within)] == ["answer"] * len(within)
    assert set(said[len(within) :]) <= {"answer", "timeout"}


@pytest.mark.parametrize("name", LOOPS)
def test_an_answer_to_a_wait_that_ends_in_time_is_not_dropped_whenever_it_comes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Timers count as in time, however late a busy machine is.
    monkeypatch.setattr(timeouts, "LATE", 60.0)

    # uvloop takes a millisecond to read once more, in which it has many iterations.
    iterations = [*range(10), *range(10, 1000, 25), 10**6]

    async def main() -> list[str]:
        await answered_in_iteration(
            0, stopped=0
        )  # the first one takes longer, above all in debug mode
        return [await answered_in_iteration(iteration, stopped=0.021) for iteration in iterations]

    with asyncio.Runner(loop_factory=LOOPS[name]) as runner:
        said = runner.run(main())
    assert set(said) <= {"answer", "timeout"}
    assert said[0] == "answer", "it was in the socket when the timer was due"
    assert said[-1] == "timeout"


# -- CPython's tests ------------------------------------------------------------------------------

_CPYTHON = """
import asyncio, sys, unittest
from vcloud._core.timing import timeouts
asyncio.timeout, asyncio.timeout_at = timeouts.timeout, timeouts.timeout_at
from test.test_asyncio import test_timeouts
if sys.argv[1] == "uvloop":
    import uvloop
    test_timeouts.setUpModule = lambda: None
    test_timeouts.tearDownModule = lambda: None
    for case in vars(test_timeouts).values():
        if isinstance(case, type) and issubclass(case, unittest.IsolatedAsyncioTestCase):
            case.loop_factory = uvloop.new_event_loop
            case._setupAsyncioRunner = lambda self: setattr(
                self, "_asyncioRunner", asyncio.Runner(loop_factory=uvloop.new_event_loop)
            )
unittest.main(module=test_timeouts, argv=["cpython"])
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_cpythons_tests_of_timeouts_pass_with_these(loop: str) -> None:
    if importlib.util.find_spec("test") is None:
        untested("this Python comes without its own tests (package `test`)")
    if importlib.util.find_spec("test.test_asyncio") is None:
        untested("this Python comes without its tests of asyncio")
    if loop not in LOOPS:
        pytest.skip("there is no uvloop for this system")
    ran = subprocess.run(
        [sys.executable, "-c", _CPYTHON, loop], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "Ran 3" in ran.stderr, "some thirty of them"

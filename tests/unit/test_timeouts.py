"""Timers that ring late let the loop read first; in all else they are asyncio's own."""

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
    """The loop's time, which stands still unless it is moved, and what the loop is asked for."""

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

    async def turns(self, until: Callable[[], object], *, seconds: float = 0.0) -> int:
        """Give the loop turns until something is so, and say how many; each takes so long."""
        for turn in range(1000):
            if until():
                return turn
            self.now += seconds
            await asyncio.sleep(0)
        pytest.fail("it never came")


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(asyncio.get_running_loop(), monkeypatch)


async def test_a_timer_that_rings_in_time_costs_one_timer_and_two_turns(clock: Clock) -> None:
    rung: list[float] = []
    call_when_due(clock.loop, 110, lambda: rung.append(clock.now))
    await asyncio.sleep(0)
    clock.now = 110 + LATE
    assert await clock.turns(lambda: rung) <= 3
    assert clock.timers == 1


async def test_a_timer_that_rings_late_lets_the_loop_read_first_in_so_many_turns(
    clock: Clock,
) -> None:
    rung: list[float] = []
    call_when_due(clock.loop, 110, lambda: rung.append(clock.now))
    clock.now = 110.5
    assert MAX_ITERATIONS <= await clock.turns(lambda: rung) <= MAX_ITERATIONS + 5


async def test_turns_that_take_long_are_bounded_by_their_time(clock: Clock) -> None:
    rung: list[float] = []
    call_when_due(clock.loop, 110, lambda: rung.append(clock.now))
    clock.now = 111
    await clock.turns(lambda: rung, seconds=GRACE / 10)
    # And those before the first and after the last of them.
    assert GRACE <= rung[0] - 111 <= GRACE + 6 * GRACE / 10


@pytest.mark.parametrize("turns", [1, 2, 3, 10, 40])
async def test_a_loop_that_stands_still_again_meanwhile_still_reads_first(
    clock: Clock, turns: int
) -> None:
    rung: list[float] = []
    call_when_due(clock.loop, 110, lambda: rung.append(clock.now))
    # In time, or late by a second; then the loop stops once more, on the way to the ring.
    clock.now = 110 if turns < 3 else 111
    for _ in range(turns):
        await asyncio.sleep(0)
    if not rung:
        clock.now += 33
        assert await clock.turns(lambda: rung) >= 20
    else:
        assert turns > 1, "in time: after the turn in which the sockets were read"


async def test_it_waits_for_an_answer_that_is_there_in_part_as_long_as_that_grows(
    clock: Clock,
) -> None:
    rung: list[float] = []
    asked: list[float] = []

    def grows() -> bool:
        asked.append(clock.now)
        return len(asked) < 3

    call_when_due(clock.loop, 110, lambda: rung.append(clock.now), is_growing=grows)
    clock.now = 111
    await clock.turns(lambda: rung, seconds=GROWTH_CHECK_INTERVAL / 100)
    # A few hundredths of a look are spent in the turns before the first question.
    assert len(asked) == 3
    assert asked[-1] - asked[0] == pytest.approx(
        2 * GROWTH_CHECK_INTERVAL, abs=GROWTH_CHECK_INTERVAL / 10
    )


async def test_it_does_not_wait_for_it_without_end(clock: Clock) -> None:
    rung: list[float] = []
    call_when_due(clock.loop, 110, lambda: rung.append(clock.now), is_growing=lambda: True)
    clock.now = 111
    await clock.turns(lambda: rung, seconds=GROWTH_CHECK_INTERVAL / 100)
    assert rung[0] - 111 <= GRACE + GROWTH_CHECK_INTERVAL


async def test_one_that_rings_in_time_asks_for_no_growth(clock: Clock) -> None:
    rung: list[float] = []
    call_when_due(clock.loop, 110, lambda: rung.append(clock.now), is_growing=pytest.fail)
    clock.now = 110
    await clock.turns(lambda: rung)


@pytest.mark.parametrize("late", [0.0, 1.0], ids=["in time", "late"])
@pytest.mark.parametrize("turns", range(5))
async def test_a_timer_that_was_cancelled_does_not_ring(
    clock: Clock, late: float, turns: int
) -> None:
    alarm = call_when_due(clock.loop, 110, lambda: pytest.fail("it rang"))
    clock.now = 110 + late
    for _ in range(turns if late else min(turns, 1)):
        await asyncio.sleep(0)
    alarm.cancel()
    for _ in range(2 * MAX_ITERATIONS):
        await asyncio.sleep(0)


async def test_a_time_that_has_passed_is_over_at_once(clock: Clock) -> None:
    limit = timeout_at(clock.now - 5)
    with pytest.raises(TimeoutError):
        async with limit:
            await asyncio.sleep(0)
    assert limit.expired()
    assert clock.timers == 0


async def test_of_nested_timeouts_the_one_that_is_overdue_ends_what_it_surrounds(
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
    await clock.turns(lambda: ended)
    assert (inner.expired(), outer.expired()) == (True, False)
    clock.now += 11
    await clock.turns(task.done)
    assert isinstance(task.exception(), TimeoutError)
    assert outer.expired()


async def test_both_of_nested_timeouts_let_go_of_what_has_arrived(clock: Clock) -> None:
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
    """What a peer says, as the result of a future."""

    def __init__(self) -> None:
        self.came: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if not self.came.done():
            self.came.set_result(data)


async def said_at_turn(turn: int, stopped: float) -> str:
    """What becomes of a wait of 20 ms for an answer that is sent in that turn after the stop."""
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
    count_down(turn)
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
def test_whenever_an_answer_comes_to_an_overdue_wait_it_is_not_dropped(
    name: str, debug: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "LATE", 0.003)
    # Turns alone count, however slow the machine is.
    monkeypatch.setattr(timeouts, "GRACE", 60.0)
    # Each turn of the timer's has one of its own before it.
    within, about = (
        [*range(10), *range(10, MAX_ITERATIONS - 5, 5)],
        range(MAX_ITERATIONS - 5, MAX_ITERATIONS + 10),
    )

    async def main() -> list[str]:
        await said_at_turn(0, stopped=0)  # the first one takes longer, above all in debug mode
        return [await said_at_turn(turn, stopped=0.04) for turn in (*within, *about)]

    with asyncio.Runner(loop_factory=LOOPS[name], debug=debug) as runner:
        said = runner.run(main())
    assert said[: len(within)] == ["answer"] * len(within)
    assert set(said[len(within) :]) <= {"answer", "timeout"}


@pytest.mark.parametrize("name", LOOPS)
def test_whenever_an_answer_comes_to_a_wait_that_ends_in_time_it_is_not_dropped(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However late a busy machine is, it counts as in time.
    monkeypatch.setattr(timeouts, "LATE", 60.0)

    # uvloop takes a millisecond to read once more, in which this thread alone gives it many turns.
    turns = [*range(10), *range(10, 1000, 25), 10**6]

    async def main() -> list[str]:
        await said_at_turn(0, stopped=0)  # the first one takes longer, above all in debug mode
        return [await said_at_turn(turn, stopped=0.021) for turn in turns]

    with asyncio.Runner(loop_factory=LOOPS[name]) as runner:
        said = runner.run(main())
    assert set(said) <= {"answer", "timeout"}
    assert said[0] == "answer", "what lay in the socket when the timer was due"
    assert said[-1] == "timeout"


# -- a witness that we did not write --------------------------------------------------------------

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
def test_cpythons_own_tests_of_timeouts_pass_with_these(loop: str) -> None:
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

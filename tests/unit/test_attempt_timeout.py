"""The clock of attempts: whose time is up is cancelled, and nobody else notices."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextvars import ContextVar

import pytest

from vcloud._core.timing.attempt_timeout import AttemptTimeout, AttemptTimeouts
from vcloud._core.timing.timeouts import LOOK


class Clock:
    """The loop's time, which stands still unless it is moved."""

    def __init__(self, loop: asyncio.AbstractEventLoop, patch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.timers: list[asyncio.TimerHandle] = []
        call_at = loop.call_at

        def counted(*given: object, **named: object) -> asyncio.TimerHandle:
            self.timers.append(call_at(*given, **named))  # type: ignore[arg-type]
            return self.timers[-1]

        patch.setattr(loop, "time", lambda: self.now)
        patch.setattr(loop, "call_at", counted)

    async def move(self, seconds: float) -> None:
        self.now += seconds
        # An overdue timer gives the loop 64 turns; see timeouts.TURNS.
        for _ in range(70):
            await asyncio.sleep(0)

    @property
    def pending(self) -> int:
        return sum(not timer.cancelled() and timer.when() > self.now for timer in self.timers)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(asyncio.get_running_loop(), monkeypatch)


class Attempt:
    """An attempt that goes on until it is told to end, in a task of its own."""

    def __init__(self, patience: AttemptTimeouts) -> None:
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.cancelling = -1
        self.task = asyncio.create_task(self._run(patience))

    async def _run(self, patience: AttemptTimeouts) -> str:
        turn = patience.begin()
        try:
            outcome = await self.answer
        except asyncio.CancelledError:
            if not turn.only_late():
                raise
            outcome = "late"
        finally:
            patience.end(turn)
            current = asyncio.current_task()
            assert current is not None
            self.cancelling = current.cancelling()
        # Whoever was late can wait again.
        await asyncio.sleep(0)
        return outcome


async def test_one_timer_is_enough_for_all_and_goes_when_they_are_over(clock: Clock) -> None:
    patience = AttemptTimeouts(10)
    attempts = [Attempt(patience) for _ in range(100)]
    await clock.move(0)
    assert len(clock.timers) == clock.pending == 1
    for attempt in attempts[::-1]:
        attempt.answer.set_result("in time")
    await clock.move(0)
    assert [await attempt.task for attempt in attempts] == ["in time"] * 100
    assert clock.pending == 0


async def test_whose_time_is_up_is_cancelled_and_those_who_began_later_go_on(clock: Clock) -> None:
    patience = AttemptTimeouts(10)
    first = Attempt(patience)
    await clock.move(0)
    await clock.move(6)
    second, third = Attempt(patience), Attempt(patience)
    await clock.move(0)
    await clock.move(3.9)
    assert not first.task.done()
    await clock.move(0.2)
    assert await first.task == "late"
    assert first.cancelling == 0, "the cancellation that was the clock's is taken back"
    third.answer.set_result("in time")
    await clock.move(5.8)
    assert not second.task.done()
    await clock.move(0.2)
    assert (await second.task, await third.task) == ("late", "in time")
    assert clock.pending == 0


async def test_who_is_cancelled_besides_stays_cancelled(clock: Clock) -> None:
    patience = AttemptTimeouts(10)
    attempt = Attempt(patience)
    await clock.move(0)
    clock.now += 11
    asyncio.get_running_loop().call_soon(attempt.task.cancel)
    await clock.move(0)
    assert attempt.task.cancelled()
    assert attempt.cancelling == 1, "the one of the clock is taken back, the other is not"


async def test_a_cancelled_one_is_forgotten_and_keeps_no_timer(clock: Clock) -> None:
    patience = AttemptTimeouts(10)
    attempt = Attempt(patience)
    await clock.move(0)
    attempt.task.cancel()
    await clock.move(0)
    assert attempt.task.cancelled()
    assert clock.pending == 0


async def test_a_timeout_around_it_is_not_confused_with_it(clock: Clock) -> None:
    patience = AttemptTimeouts(10)

    async def hurried() -> None:
        async with asyncio.timeout(3):
            turn = patience.begin()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                patience.end(turn)

    task = asyncio.create_task(hurried())
    await clock.move(0)
    await clock.move(3.1)
    with pytest.raises(TimeoutError):
        await task
    assert clock.pending == 0


async def test_it_is_as_good_as_new_after_everybody_was_late(clock: Clock) -> None:
    patience = AttemptTimeouts(1)
    for _ in range(3):
        attempts = [Attempt(patience) for _ in range(3)]
        await clock.move(0)
        await clock.move(1.1)
        assert [await attempt.task for attempt in attempts] == ["late"] * 3
        assert clock.pending == 0


async def finished_beside(slow: Attempt, patience: AttemptTimeouts, clock: Clock) -> list[object]:
    """What is still held of twenty attempts that ended while another one hangs."""
    seen: list[weakref.ref[object]] = []
    for _ in range(20):
        quick = Attempt(patience)
        await clock.move(0)
        quick.answer.set_result("in time")
        await clock.move(0)
        seen.append(weakref.ref(quick.task))
        del quick
    assert not slow.task.done()
    return [one for reference in seen if (one := reference()) is not None]


async def test_what_is_over_is_let_go_at_once_whatever_hangs_before_or_after_it(
    clock: Clock,
) -> None:
    patience = AttemptTimeouts(10)
    slow = Attempt(patience)
    await clock.move(0)
    gc.disable()
    try:
        assert await finished_beside(slow, patience, clock) == []
        await clock.move(6)
        slower = Attempt(patience)
        await clock.move(0)
        assert await finished_beside(slow, patience, clock) == []
        await clock.move(4.1)
        assert await slow.task == "late"
        assert await finished_beside(slower, patience, clock) == []
    finally:
        gc.enable()
    assert clock.pending == 1
    await clock.move(6)
    assert await slower.task == "late"
    assert clock.pending == 0


async def test_one_that_ends_among_others_changes_nothing_for_them(clock: Clock) -> None:
    patience = AttemptTimeouts(10)
    attempts = []
    for _ in range(5):
        attempts.append(Attempt(patience))
        await clock.move(0)
        await clock.move(1)
    # The one whose end the timer is set to, one in the middle, and the last.
    for index in (0, 2, 4):
        attempts[index].answer.set_result("in time")
    await clock.move(4.9)
    assert not attempts[1].task.done()
    await clock.move(1.2)
    assert await attempts[1].task == "late"
    assert not attempts[3].task.done()
    await clock.move(2)
    assert await attempts[3].task == "late"
    assert [await attempts[index].task for index in (0, 2, 4)] == ["in time"] * 3
    assert clock.pending == 0


@pytest.mark.parametrize("besides", [False, True])
async def test_why_it_was_cancelled_is_known_after_its_end_too(clock: Clock, besides: bool) -> None:
    patience = AttemptTimeouts(10)
    turns: list[AttemptTimeout] = []
    said: list[bool] = []

    async def attempt() -> None:
        turns.append(turn := patience.begin())
        task = asyncio.current_task()
        assert task is not None
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            said.append(turn.only_late())
        patience.end(turn)
        said.append(turn.only_late())
        # What comes later is not about the attempt.
        task.cancel()
        said.append(turn.only_late())

    task = asyncio.create_task(attempt())
    await clock.move(0)
    if besides:
        clock.now += 11
        asyncio.get_running_loop().call_soon(task.cancel)
    await clock.move(11)
    assert task.done()
    assert said == [not besides] * 3
    assert turns[0].task is None, "whoever keeps the turn does not keep the task"


async def test_one_that_ended_in_time_was_not_late(clock: Clock) -> None:
    patience = AttemptTimeouts(10)
    turn = patience.begin()
    patience.end(turn)
    await clock.move(20)
    assert not turn.only_late()


async def test_the_timer_keeps_nothing_of_the_call_that_set_it(clock: Clock) -> None:
    class Kept:
        """Something that a caller has in its context."""

    variable: ContextVar[Kept] = ContextVar("variable")
    patience = AttemptTimeouts(10)

    async def first() -> weakref.ref[Kept]:
        variable.set(kept := Kept())
        turn = patience.begin()
        await clock.move(1)
        patience.end(turn)
        return weakref.ref(kept)

    task = asyncio.create_task(first())
    await asyncio.sleep(0)
    slow = Attempt(patience)
    reference = await task
    del task
    await clock.move(0)  # the loop itself still holds the task's last step
    gc.collect()
    assert clock.pending == 1
    assert reference() is None
    slow.answer.set_result("in time")
    await slow.task


class Growing:
    """A body of which a part has arrived."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes


@pytest.mark.parametrize("grows", [True, False])
async def test_an_overdue_answer_that_is_there_in_part_may_arrive_as_long_as_it_grows(
    clock: Clock, grows: bool
) -> None:
    patience = AttemptTimeouts(10)
    ended: list[str] = []

    async def read(body: Growing, more: int) -> None:
        turn = patience.begin()
        turn.body = body
        try:
            while body.total_bytes < 1000:
                await asyncio.sleep(LOOK / 2)
                body.total_bytes += more
            ended.append("read")
        except asyncio.CancelledError:
            ended.append("late")
        finally:
            patience.end(turn)

    async def both() -> None:
        # One that has more of its answer, and hangs, does not hide how the other grows.
        await asyncio.gather(read(Growing(100), 200 if grows else 0), read(Growing(900), 0))

    task = asyncio.create_task(both())
    await clock.move(0)
    await clock.move(43)
    assert ended == []
    for _ in range(12):
        await clock.move(LOOK / 2)
    assert ended == (["read", "late"] if grows else ["late", "late"])
    await task
    assert clock.pending == 0


async def test_an_answer_that_is_there_in_part_gets_no_more_time_when_the_loop_ran(
    clock: Clock,
) -> None:
    patience = AttemptTimeouts(10)
    attempt = Attempt(patience)
    await clock.move(0)
    (turn,) = patience._line
    turn.body = Growing(100)
    await clock.move(10)
    assert await attempt.task == "late"


@pytest.mark.parametrize(("turns", "again"), [(0, True), (1, True), (5, False)])
async def test_what_leaves_only_after_the_loop_stood_still_gets_its_whole_time_again(
    clock: Clock, turns: int, again: bool
) -> None:
    patience = AttemptTimeouts(10)
    # Another one began in the turn before: each has its own two turns.
    before, attempt = Attempt(patience), None
    await asyncio.sleep(0)
    attempt = Attempt(patience)
    await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)
    clock.now += 33
    await clock.move(0)
    assert attempt.task.done() is not again
    if again:
        await clock.move(9.9)
        assert not attempt.task.done()
        await clock.move(0.2)
    assert await attempt.task == "late"
    assert await before.task == "late"
    assert clock.pending == 0

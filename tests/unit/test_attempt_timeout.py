"""Timeouts of attempts: an attempt that takes too long is cancelled, and no other."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextvars import ContextVar

import pytest

from vcloud._core.timing.attempt_timeout import AttemptTimeout, AttemptTimeouts
from vcloud._core.timing.timeouts import GROWTH_CHECK_INTERVAL


class Clock:
    """The loop's time, which only a test moves."""

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
    """An attempt in a task of its own, which waits for its answer."""

    timeout: AttemptTimeout

    def __init__(self, timeouts: AttemptTimeouts) -> None:
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.cancelling = -1
        self.task = asyncio.create_task(self._run(timeouts))

    async def _run(self, timeouts: AttemptTimeouts) -> str:
        self.timeout = timeouts.begin()
        try:
            outcome = await self.answer
        except asyncio.CancelledError:
            if not self.timeout.timed_out():
                raise
            outcome = "timed out"
        finally:
            timeouts.end(self.timeout)
            current = asyncio.current_task()
            assert current is not None
            self.cancelling = current.cancelling()
        # A task whose attempt timed out can wait again.
        await asyncio.sleep(0)
        return outcome


async def test_one_timer_serves_all_attempts_and_is_cancelled_after_the_last(clock: Clock) -> None:
    timeouts = AttemptTimeouts(10)
    attempts = [Attempt(timeouts) for _ in range(100)]
    await clock.move(0)
    assert len(clock.timers) == clock.pending == 1
    for attempt in attempts[::-1]:
        attempt.answer.set_result("in time")
    await clock.move(0)
    assert [await attempt.task for attempt in attempts] == ["in time"] * 100
    assert clock.pending == 0


async def test_a_timeout_cancels_its_attempt_and_not_those_that_started_later(
    clock: Clock,
) -> None:
    timeouts = AttemptTimeouts(10)
    first = Attempt(timeouts)
    await clock.move(0)
    await clock.move(6)
    second, third = Attempt(timeouts), Attempt(timeouts)
    await clock.move(0)
    await clock.move(3.9)
    assert not first.task.done()
    await clock.move(0.2)
    assert await first.task == "timed out"
    assert first.cancelling == 0, "the cancellation by the timeout is taken back"
    third.answer.set_result("in time")
    await clock.move(5.8)
    assert not second.task.done()
    await clock.move(0.2)
    assert (await second.task, await third.task) == ("timed out", "in time")
    assert clock.pending == 0


async def test_a_cancellation_beside_the_timeout_is_kept(clock: Clock) -> None:
    timeouts = AttemptTimeouts(10)
    attempt = Attempt(timeouts)
    await clock.move(0)
    clock.now += 11
    asyncio.get_running_loop().call_soon(attempt.task.cancel)
    await clock.move(0)
    assert attempt.task.cancelled()
    assert attempt.cancelling == 1, "the one by the timeout is taken back, the other is not"


async def test_a_cancelled_attempt_keeps_no_timer(clock: Clock) -> None:
    timeouts = AttemptTimeouts(10)
    attempt = Attempt(timeouts)
    await clock.move(0)
    attempt.task.cancel()
    await clock.move(0)
    assert attempt.task.cancelled()
    assert clock.pending == 0


async def test_a_timeout_around_an_attempt_raises_its_own_error(clock: Clock) -> None:
    timeouts = AttemptTimeouts(10)

    async def hurried() -> None:
        async with asyncio.timeout(3):
            attempt = timeouts.begin()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                timeouts.end(attempt)

    task = asyncio.create_task(hurried())
    await clock.move(0)
    await clock.move(3.1)
    with pytest.raises(TimeoutError):
        await task
    assert clock.pending == 0


async def test_timeouts_work_again_after_all_attempts_timed_out(clock: Clock) -> None:
    timeouts = AttemptTimeouts(1)
    for _ in range(3):
        attempts = [Attempt(timeouts) for _ in range(3)]
        await clock.move(0)
        await clock.move(1.1)
        assert [await attempt.task for attempt in attempts] == ["timed out"] * 3
        assert clock.pending == 0


async def finished_beside(slow: Attempt, timeouts: AttemptTimeouts, clock: Clock) -> list[object]:
    """The tasks that are still referenced, of twenty that ended while another attempt hangs."""
    seen: list[weakref.ref[object]] = []
    for _ in range(20):
        quick = Attempt(timeouts)
        await clock.move(0)
        quick.answer.set_result("in time")
        await clock.move(0)
        seen.append(weakref.ref(quick.task))
        del quick
    assert not slow.task.done()
    return [one for reference in seen if (one := reference()) is not None]


async def test_an_ended_attempt_is_released_at_once_whatever_hangs_before_or_after_it(
    clock: Clock,
) -> None:
    timeouts = AttemptTimeouts(10)
    slow = Attempt(timeouts)
    await clock.move(0)
    gc.disable()
    try:
        assert await finished_beside(slow, timeouts, clock) == []
        await clock.move(6)
        slower = Attempt(timeouts)
        await clock.move(0)
        assert await finished_beside(slow, timeouts, clock) == []
        await clock.move(4.1)
        assert await slow.task == "timed out"
        assert await finished_beside(slower, timeouts, clock) == []
    finally:
        gc.enable()
    assert clock.pending == 1
    await clock.move(6)
    assert await slower.task == "timed out"
    assert clock.pending == 0


async def test_an_attempt_that_ends_does_not_change_the_timeouts_of_others(clock: Clock) -> None:
    timeouts = AttemptTimeouts(10)
    attempts = []
    for _ in range(5):
        attempts.append(Attempt(timeouts))
        await clock.move(0)
        await clock.move(1)
    # The one that the timer is set to, one in the middle, and the last.
    for index in (0, 2, 4):
        attempts[index].answer.set_result("in time")
    await clock.move(4.9)
    assert not attempts[1].task.done()
    await clock.move(1.2)
    assert await attempts[1].task == "timed out"
    assert not attempts[3].task.done()
    await clock.move(2)
    assert await attempts[3].task == "timed out"
    assert [await attempts[index].task for index in (0, 2, 4)] == ["in time"] * 3
    assert clock.pending == 0


@pytest.mark.parametrize("besides", [False, True])
async def test_whether_the_timeout_was_the_cause_is_known_after_the_end_too(
    clock: Clock, besides: bool
) -> None:
    timeouts = AttemptTimeouts(10)
    started: list[AttemptTimeout] = []
    said: list[bool] = []

    async def attempt() -> None:
        started.append(timeout := timeouts.begin())
        task = asyncio.current_task()
        assert task is not None
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            said.append(timeout.timed_out())
        timeouts.end(timeout)
        said.append(timeout.timed_out())
        # A later cancellation does not concern the attempt.
        task.cancel()
        said.append(timeout.timed_out())

    task = asyncio.create_task(attempt())
    await clock.move(0)
    if besides:
        clock.now += 11
        asyncio.get_running_loop().call_soon(task.cancel)
    await clock.move(11)
    assert task.done()
    assert said == [not besides] * 3
    assert started[0].task is None, "a reference to the timeout does not keep the task alive"


async def test_an_attempt_that_ended_in_time_did_not_time_out(clock: Clock) -> None:
    timeouts = AttemptTimeouts(10)
    attempt = timeouts.begin()
    timeouts.end(attempt)
    await clock.move(20)
    assert not attempt.timed_out()


async def test_the_timer_does_not_keep_the_context_of_the_call_that_set_it(clock: Clock) -> None:
    class Kept:
        """A value in the context of a caller."""

    variable: ContextVar[Kept] = ContextVar("variable")
    timeouts = AttemptTimeouts(10)

    async def first() -> weakref.ref[Kept]:
        variable.set(kept := Kept())
        attempt = timeouts.begin()
        await clock.move(1)
        timeouts.end(attempt)
        return weakref.ref(kept)

    task = asyncio.create_task(first())
    await asyncio.sleep(0)
    slow = Attempt(timeouts)
    reference = await task
    del task
    await clock.move(0)  # the loop itself still holds the task's last step
    gc.collect()
    assert clock.pending == 1
    assert reference() is None
    slow.answer.set_result("in time")
    await slow.task


class Growing:
    """An incomplete body."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes


@pytest.mark.parametrize("growing", [True, False])
async def test_an_overdue_incomplete_answer_is_read_while_it_grows(
    clock: Clock, growing: bool
) -> None:
    timeouts = AttemptTimeouts(10)
    ended: list[str] = []

    async def read(body: Growing, more: int) -> None:
        attempt = timeouts.begin()
        attempt.body = body
        try:
            while body.total_bytes < 1000:
                await asyncio.sleep(GROWTH_CHECK_INTERVAL / 2)
                body.total_bytes += more
            ended.append("read")
        except asyncio.CancelledError:
            ended.append("timed out")
        finally:
            timeouts.end(attempt)

    async def both() -> None:
        # The other body is longer and does not grow. That does not hide how this one grows.
        await asyncio.gather(read(Growing(100), 200 if growing else 0), read(Growing(900), 0))

    task = asyncio.create_task(both())
    await clock.move(0)
    await clock.move(43)
    assert ended == []
    for _ in range(12):
        await clock.move(GROWTH_CHECK_INTERVAL / 2)
    assert ended == (["read", "timed out"] if growing else ["timed out", "timed out"])
    await task
    assert clock.pending == 0


async def test_an_incomplete_answer_gets_no_more_time_if_the_loop_was_not_blocked(
    clock: Clock,
) -> None:
    timeouts = AttemptTimeouts(10)
    attempt = Attempt(timeouts)
    await clock.move(0)
    attempt.timeout.body = Growing(100)
    await clock.move(10)
    assert await attempt.task == "timed out"


@pytest.mark.parametrize(("iterations", "again"), [(0, True), (1, True), (5, False)])
async def test_a_request_that_is_written_only_after_the_loop_was_blocked_gets_its_timeout_again(
    clock: Clock, iterations: int, again: bool
) -> None:
    timeouts = AttemptTimeouts(10)
    # Another one started in the iteration before: each is watched for two iterations.
    before, attempt = Attempt(timeouts), None
    await asyncio.sleep(0)
    attempt = Attempt(timeouts)
    await asyncio.sleep(0)
    for _ in range(iterations):
        await asyncio.sleep(0)
    clock.now += 33
    await clock.move(0)
    assert attempt.task.done() is not again
    if again:
        await clock.move(9.9)
        assert not attempt.task.done()
        await clock.move(0.2)
    assert await attempt.task == "timed out"
    assert await before.task == "timed out"
    assert clock.pending == 0

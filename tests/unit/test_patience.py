"""The clock of attempts: whose time is up is cancelled, and nobody else notices."""

from __future__ import annotations

import asyncio

import pytest

from vcloud._core.patience import Patience


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
        for _ in range(5):
            await asyncio.sleep(0)

    @property
    def pending(self) -> int:
        return sum(not timer.cancelled() and timer.when() > self.now for timer in self.timers)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(asyncio.get_running_loop(), monkeypatch)


class Attempt:
    """An attempt that goes on until it is told to end, in a task of its own."""

    def __init__(self, patience: Patience) -> None:
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.cancelling = -1
        self.task = asyncio.create_task(self._run(patience))

    async def _run(self, patience: Patience) -> str:
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
    patience = Patience(10)
    attempts = [Attempt(patience) for _ in range(100)]
    await clock.move(0)
    assert len(clock.timers) == clock.pending == 1
    for attempt in attempts[::-1]:
        attempt.answer.set_result("in time")
    await clock.move(0)
    assert [await attempt.task for attempt in attempts] == ["in time"] * 100
    assert clock.pending == 0
    assert not patience._line


async def test_whose_time_is_up_is_cancelled_and_those_who_began_later_go_on(clock: Clock) -> None:
    patience = Patience(10)
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
    patience = Patience(10)
    attempt = Attempt(patience)
    await clock.move(0)
    clock.now += 11
    asyncio.get_running_loop().call_soon(attempt.task.cancel)
    await clock.move(0)
    assert attempt.task.cancelled()
    assert attempt.cancelling == 1, "the one of the clock is taken back, the other is not"
    assert not patience._line


async def test_a_cancelled_one_is_forgotten_and_keeps_no_timer(clock: Clock) -> None:
    patience = Patience(10)
    attempt = Attempt(patience)
    await clock.move(0)
    attempt.task.cancel()
    await clock.move(0)
    assert attempt.task.cancelled()
    assert clock.pending == 0


async def test_a_timeout_around_it_is_not_confused_with_it(clock: Clock) -> None:
    patience = Patience(10)

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
    patience = Patience(1)
    for _ in range(3):
        attempts = [Attempt(patience) for _ in range(3)]
        await clock.move(0)
        await clock.move(1.1)
        assert [await attempt.task for attempt in attempts] == ["late"] * 3
        assert clock.pending == 0


async def test_those_that_are_over_are_not_kept_behind_one_that_is_not_for_longer_than_its_time(
    clock: Clock,
) -> None:
    patience = Patience(10)
    slow = Attempt(patience)
    for _ in range(50):
        quick = Attempt(patience)
        await clock.move(0)
        quick.answer.set_result("in time")
        await clock.move(0)
    assert len(patience._line) == 51
    await clock.move(10.1)
    assert await slow.task == "late"
    assert not patience._line

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from vcloud._core.limits.admission import Admission, QueueLength, Wait
from vcloud._core.limits.fair_queueing import WaitTooLongError
from vcloud._core.limits.waiting_queue import Bucket
from vcloud._core.limits.windows import RateLimit
from vcloud._core.observe import WaitReason
from vcloud.errors import ConfigurationError


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def kept(bucket: Bucket) -> int:
    """How many a bucket remembers, those that left the line included."""
    return sum(queue.stored for flows in bucket.ranks for queue in flows.queues())


async def entered(gate: Admission, order: list[int], number: int) -> None:
    await gate.enter(gate.bucket(""), None)
    order.append(number)


async def test_those_who_wait_are_admitted_in_the_order_they_came() -> None:
    gate = Admission(1, Clock())
    assert gate.try_enter(gate.bucket(""))
    order: list[int] = []
    tasks = [asyncio.create_task(entered(gate, order, number)) for number in range(5)]
    await asyncio.sleep(0)
    for _ in tasks:
        gate.leave(gate.bucket(""))
        # A newcomer finds no free slot: it was handed over.
        assert not gate.try_enter(gate.bucket(""))
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]


async def test_ten_thousand_cancelled_waiters_leave_the_gate_whole() -> None:
    gate = Admission(3, Clock())
    assert all(gate.try_enter(gate.bucket("")) for _ in range(3))
    tasks = [asyncio.create_task(gate.enter(gate.bucket(""), None)) for _ in range(10_000)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for _ in range(3):
        gate.leave(gate.bucket(""))
    assert all(gate.try_enter(gate.bucket("")) for _ in range(3))
    assert not gate.try_enter(gate.bucket(""))


async def test_a_slot_that_arrives_together_with_a_cancellation_is_passed_on() -> None:
    gate = Admission(1, Clock())
    assert gate.try_enter(gate.bucket(""))
    first = asyncio.create_task(gate.enter(gate.bucket(""), None))
    second = asyncio.create_task(gate.enter(gate.bucket(""), None))
    await asyncio.sleep(0)
    gate.leave(gate.bucket(""))  # handed to the first
    first.cancel()  # which gives up before it runs
    await asyncio.wait_for(second, 1)
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_deadline_ends_the_wait_in_line_and_holds_nothing() -> None:
    gate = Admission(1, asyncio.get_running_loop().time)
    assert gate.try_enter(gate.bucket(""))
    with pytest.raises(TimeoutError):
        await gate.enter(gate.bucket(""), asyncio.get_running_loop().time() + 0.01)
    gate.leave(gate.bucket(""))
    assert gate.try_enter(gate.bucket(""))


async def test_a_pause_that_outlasts_the_deadline_fails_at_once() -> None:
    gate = Admission(1, Clock())
    lane = gate.bucket("")
    lane.allowance.pause(3600.0, {}, 0.0, 0.0)
    assert not gate.try_enter(lane)
    with pytest.raises(TimeoutError):
        await gate.enter(lane, 60.0)


async def test_a_limit_counts_what_was_admitted_and_no_other_bucket() -> None:
    gate = Admission(10, Clock(), rules=[RateLimit(2, 60)])
    assert [gate.try_enter(gate.bucket("")) for _ in range(4)] == [1, 2, 0, 0]
    assert gate.try_enter(gate.bucket("login"))


class Alarms:
    """Instead of the loop's own: rung by hand."""

    def __init__(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = clock
        self.set: list[tuple[float, Callable[[], None]]] = []
        monkeypatch.setattr(asyncio.get_running_loop(), "call_later", self.call_later)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Handle:
        alarm = (self.clock.now + delay, callback)
        self.set.append(alarm)
        return Handle(self, alarm)

    async def ring(self) -> None:
        alarm = min(self.set)
        self.set.remove(alarm)
        self.clock.now = alarm[0]
        alarm[1]()
        await asyncio.sleep(0)


class Handle:
    def __init__(self, alarms: Alarms, alarm: tuple[float, Callable[[], None]]) -> None:
        self.alarms, self.alarm = alarms, alarm

    def cancel(self) -> None:
        if self.alarm in self.alarms.set:
            self.alarms.set.remove(self.alarm)


async def test_a_thousand_that_wait_for_a_limit_share_one_alarm_and_go_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    alarms = Alarms(clock, monkeypatch)
    gate = Admission(5000, clock, rules=[RateLimit(100, 60)])
    lane = gate.bucket("")
    order: list[int] = []

    async def work(number: int) -> None:
        await gate.enter(lane, None)
        order.append(number)
        gate.leave(lane)

    tasks = [asyncio.create_task(work(number)) for number in range(1000)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(order) == 100
    for turn in range(2, 11):
        assert len(alarms.set) == 1
        await alarms.ring()
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(order) == turn * 100
    await asyncio.gather(*tasks)
    assert order == list(range(1000))
    assert clock.now == 9 * 60


async def test_who_waits_for_a_limit_holds_no_slot_from_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    Alarms(clock, monkeypatch)
    gate = Admission(1, clock, rules=[RateLimit(1, 60, "create")])
    create, other = gate.bucket("create"), gate.bucket("")
    assert gate.try_enter(create)
    gate.leave(create)
    waits = asyncio.create_task(gate.enter(create, None))
    await asyncio.sleep(0)
    assert gate.try_enter(other)
    waits.cancel()
    await asyncio.gather(waits, return_exceptions=True)


async def test_the_slot_goes_to_whoever_came_first_whatever_the_bucket() -> None:
    gate = Admission(1, Clock())
    assert gate.try_enter(gate.bucket(""))
    order: list[str] = []

    async def work(bucket: str) -> None:
        await gate.enter(gate.bucket(bucket), None)
        order.append(bucket)
        gate.leave(gate.bucket(bucket))

    buckets = ["b", "a", "", "a", "b"]
    tasks = [asyncio.create_task(work(bucket)) for bucket in buckets]
    await asyncio.sleep(0)
    gate.leave(gate.bucket(""))
    await asyncio.gather(*tasks)
    assert order == buckets


async def test_who_needs_no_slot_is_not_kept_by_those_who_hold_them_all() -> None:
    gate = Admission(1, Clock())
    assert gate.try_enter(gate.bucket(""))
    login = gate.bucket("login")
    await asyncio.wait_for(gate.enter(login, None, slot=False), 1)
    gate.leave(login, slot=False)
    assert not gate.try_enter(gate.bucket(""))


async def test_an_admission_that_arrives_together_with_a_cancellation_costs_no_token() -> None:
    gate = Admission(2, Clock(), rules=[RateLimit(2, 60)])
    lane = gate.bucket("")
    assert gate.try_enter(lane)
    assert gate.try_enter(lane)
    waits = asyncio.create_task(gate.enter(lane, None))
    await asyncio.sleep(0)
    gate.leave(lane, counted=False)  # admits the one that waits
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    assert gate.try_enter(lane)


async def test_those_who_gave_up_do_not_pile_up_behind_one_who_waits_long() -> None:
    gate = Admission(1, Clock())
    lane = gate.bucket("")
    assert gate.try_enter(lane)
    patient = asyncio.create_task(gate.enter(lane, None))
    await asyncio.sleep(0)
    for _ in range(100):
        hasty = [asyncio.create_task(gate.enter(lane, None)) for _ in range(10)]
        await asyncio.sleep(0)
        for task in hasty:
            task.cancel()
        await asyncio.gather(*hasty, return_exceptions=True)
    assert kept(lane) == 1
    last = asyncio.create_task(gate.enter(lane, None))
    await asyncio.sleep(0)
    gate.leave(lane)
    await asyncio.wait_for(patient, 1)
    gate.leave(lane)
    await asyncio.wait_for(last, 1)


async def test_those_in_line_learn_at_once_of_a_pause_that_is_longer_than_their_patience(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    Alarms(clock, monkeypatch)
    gate = Admission(1, clock)
    lane = gate.bucket("")
    assert gate.try_enter(lane)
    short = [asyncio.create_task(gate.enter(lane, None, max_wait=lambda: 120)) for _ in range(3)]
    long = asyncio.create_task(gate.enter(lane, None))
    late = asyncio.create_task(gate.enter(lane, 60.0))
    await asyncio.sleep(0)
    lane.allowance.pause(3600.0, {}, 0.0, 0.0)
    gate.leave(lane)
    results = await asyncio.gather(*short, return_exceptions=True)
    assert [type(result) for result in results] == [WaitTooLongError] * 3
    assert not long.done()
    long.cancel()
    await asyncio.gather(long, return_exceptions=True)
    gate._admit()
    with pytest.raises(TimeoutError):
        await late


async def test_urgent_requests_go_ahead_of_all_others_in_the_order_they_came() -> None:
    gate = Admission(1, Clock())
    assert gate.try_enter(gate.bucket(""))
    order: list[str] = []

    async def enter(name: str, *, urgent: bool, bucket: str = "") -> None:
        await gate.enter(gate.bucket(bucket), None, urgent=urgent)
        order.append(name)
        gate.leave(gate.bucket(bucket))

    async with asyncio.TaskGroup() as tasks:
        for number in range(3):
            tasks.create_task(enter(f"ordinary {number}", urgent=False))
        for number in range(3):
            tasks.create_task(enter(f"urgent {number}", urgent=True, bucket="another" * number))
        await asyncio.sleep(0)
        gate.leave(gate.bucket(""))
    assert order == [
        *[f"urgent {number}" for number in range(3)],
        *[f"ordinary {number}" for number in range(3)],
    ]


async def test_an_urgent_request_is_counted_and_keeps_to_the_limit() -> None:
    clock = Clock()
    gate = Admission(10, clock, rules=[RateLimit(2, per=5)])
    lane = gate.bucket("")
    await gate.enter(lane, None, urgent=True)
    await gate.enter(lane, None, urgent=True)
    assert not gate.try_enter(lane)
    gate.leave(lane)
    gate.leave(lane)
    # At once, and not when the time has passed.
    with pytest.raises(TimeoutError):
        await gate.enter(lane, 4.0, urgent=True)
    clock.now = 5.0
    assert await gate.enter(lane, 6.0, urgent=True)


async def test_what_is_refused_leaves_the_gate_whole_and_the_urgent_in_line() -> None:
    gate = Admission(1, Clock())
    lane = gate.bucket("")
    assert gate.try_enter(lane)
    waiting = [asyncio.create_task(gate.enter(lane, None)) for _ in range(3)]
    urgent = asyncio.create_task(gate.enter(lane, None, urgent=True))
    gone = asyncio.create_task(gate.enter(lane, None))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    gate.refuse(lambda: ConfigurationError("closed"))
    ended = await asyncio.gather(*waiting, gone, return_exceptions=True)
    assert [type(one) for one in ended] == [*[ConfigurationError] * 3, asyncio.CancelledError]
    assert not urgent.done()
    gate.leave(lane)
    assert await urgent == 2
    gate.leave(lane)
    assert gate.try_enter(lane)


async def test_it_says_how_many_wait_for_what_and_until_when(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    Alarms(clock, monkeypatch)
    gate = Admission(2, clock, rules=[RateLimit(1, 60, "create")])
    assert gate.waiting() == {}
    create, other, paused = gate.bucket("create"), gate.bucket(""), gate.bucket("paused")
    assert gate.try_enter(create)
    gate.leave(create)
    tasks = [asyncio.create_task(gate.enter(create, None)) for _ in range(3)]
    paused.allowance.pause(45.0, {}, 0.0, 0.0)
    tasks += [asyncio.create_task(gate.enter(paused, None)) for _ in range(2)]
    assert gate.try_enter(other)
    assert gate.try_enter(other)
    tasks.append(asyncio.create_task(gate.enter(other, None)))
    await asyncio.sleep(0)
    assert gate.waiting() == {
        WaitReason.RATE_LIMIT: QueueLength(3, 60.0),
        WaitReason.PAUSE: QueueLength(2, 45.0),
        WaitReason.SLOT: QueueLength(1, None),
    }
    assert gate.reason(create) == Wait(WaitReason.RATE_LIMIT, 60.0)
    assert (gate.free, gate.in_flight) == (0, 2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert gate.waiting() == {}

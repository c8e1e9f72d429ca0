"""Which requests are admitted, in which order, and the state after cancelled or refused ones."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.queue_harness import Clock, Timers
from vcloud._core.limits.admission import Admission, QueueLength, Wait
from vcloud._core.limits.fair_queueing import WaitTooLongError
from vcloud._core.limits.waiting_queue import Bucket
from vcloud._core.limits.windows import RateLimit
from vcloud._core.observe import WaitReason
from vcloud.errors import ConfigurationError


def stored(bucket: Bucket) -> int:
    """How many waiters a bucket stores, including those that left the queue."""
    return sum(queue.stored for flows in bucket.ranks for queue in flows.queues())


async def entered(admission: Admission, order: list[int], number: int) -> None:
    await admission.enter(admission.bucket(""), None)
    order.append(number)


async def test_waiting_requests_are_admitted_in_the_order_in_which_they_came() -> None:
    admission = Admission(1, Clock())
    assert admission.try_enter(admission.bucket(""))
    order: list[int] = []
    tasks = [asyncio.create_task(entered(admission, order, number)) for number in range(5)]
    await asyncio.sleep(0)
    for _ in tasks:
        admission.leave(admission.bucket(""))
        # A new request finds no free slot: the slot went to a waiting one.
        assert not admission.try_enter(admission.bucket(""))
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]


async def test_ten_thousand_cancelled_waiters_leave_all_slots_free() -> None:
    admission = Admission(3, Clock())
    assert all(admission.try_enter(admission.bucket("")) for _ in range(3))
    tasks = [
        asyncio.create_task(admission.enter(admission.bucket(""), None)) for _ in range(10_000)
    ]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for _ in range(3):
        admission.leave(admission.bucket(""))
    assert all(admission.try_enter(admission.bucket("")) for _ in range(3))
    assert not admission.try_enter(admission.bucket(""))


async def test_a_slot_given_to_a_cancelled_waiter_goes_to_the_next() -> None:
    admission = Admission(1, Clock())
    assert admission.try_enter(admission.bucket(""))
    first = asyncio.create_task(admission.enter(admission.bucket(""), None))
    second = asyncio.create_task(admission.enter(admission.bucket(""), None))
    await asyncio.sleep(0)
    admission.leave(admission.bucket(""))  # gives the slot to the first
    first.cancel()  # before it runs
    await asyncio.wait_for(second, 1)
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_deadline_ends_the_wait_and_nothing_stays_reserved() -> None:
    admission = Admission(1, asyncio.get_running_loop().time)
    assert admission.try_enter(admission.bucket(""))
    with pytest.raises(TimeoutError):
        await admission.enter(admission.bucket(""), asyncio.get_running_loop().time() + 0.01)
    admission.leave(admission.bucket(""))
    assert admission.try_enter(admission.bucket(""))


async def test_a_pause_that_outlasts_the_deadline_fails_at_once() -> None:
    admission = Admission(1, Clock())
    bucket = admission.bucket("")
    bucket.allowance.pause(3600.0, {}, 0.0, 0.0)
    assert not admission.try_enter(bucket)
    with pytest.raises(TimeoutError):
        await admission.enter(bucket, 60.0)


async def test_a_limit_counts_what_was_admitted_and_no_other_bucket() -> None:
    admission = Admission(10, Clock(), rules=[RateLimit(2, 60)])
    assert [admission.try_enter(admission.bucket("")) for _ in range(4)] == [1, 2, 0, 0]
    assert admission.try_enter(admission.bucket("login"))


async def test_a_thousand_requests_that_wait_for_a_limit_share_one_timer_and_keep_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    timers = Timers(clock, monkeypatch)
    admission = Admission(5000, clock, rules=[RateLimit(100, 60)])
    bucket = admission.bucket("")
    order: list[int] = []

    async def work(number: int) -> None:
        await admission.enter(bucket, None)
        order.append(number)
        admission.leave(bucket)

    tasks = [asyncio.create_task(work(number)) for number in range(1000)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(order) == 100
    for turn in range(2, 11):
        assert len(timers.set) == 1
        await timers.fire()
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(order) == turn * 100
    await asyncio.gather(*tasks)
    assert order == list(range(1000))
    assert clock.now == 9 * 60


async def test_a_request_that_waits_for_a_limit_occupies_no_slot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    Timers(clock, monkeypatch)
    admission = Admission(1, clock, rules=[RateLimit(1, 60, "create")])
    create, other = admission.bucket("create"), admission.bucket("")
    assert admission.try_enter(create)
    admission.leave(create)
    waits = asyncio.create_task(admission.enter(create, None))
    await asyncio.sleep(0)
    assert admission.try_enter(other)
    waits.cancel()
    await asyncio.gather(waits, return_exceptions=True)


async def test_a_slot_goes_to_the_request_that_came_first_in_whatever_bucket() -> None:
    admission = Admission(1, Clock())
    assert admission.try_enter(admission.bucket(""))
    order: list[str] = []

    async def work(bucket: str) -> None:
        await admission.enter(admission.bucket(bucket), None)
        order.append(bucket)
        admission.leave(admission.bucket(bucket))

    buckets = ["b", "a", "", "a", "b"]
    tasks = [asyncio.create_task(work(bucket)) for bucket in buckets]
    await asyncio.sleep(0)
    admission.leave(admission.bucket(""))
    await asyncio.gather(*tasks)
    assert order == buckets


async def test_a_request_that_needs_no_slot_does_not_wait_for_one() -> None:
    admission = Admission(1, Clock())
    assert admission.try_enter(admission.bucket(""))
    login = admission.bucket("login")
    await asyncio.wait_for(admission.enter(login, None, slot=False), 1)
    admission.leave(login, slot=False)
    assert not admission.try_enter(admission.bucket(""))


async def test_an_admission_given_to_a_cancelled_waiter_is_not_counted() -> None:
    admission = Admission(2, Clock(), rules=[RateLimit(2, 60)])
    bucket = admission.bucket("")
    assert admission.try_enter(bucket)
    assert admission.try_enter(bucket)
    waits = asyncio.create_task(admission.enter(bucket, None))
    await asyncio.sleep(0)
    admission.leave(bucket, counted=False)  # admits the waiting request
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    assert admission.try_enter(bucket)


async def test_cancelled_waiters_are_dropped_behind_one_that_waits_long() -> None:
    admission = Admission(1, Clock())
    bucket = admission.bucket("")
    assert admission.try_enter(bucket)
    lasting = asyncio.create_task(admission.enter(bucket, None))
    await asyncio.sleep(0)
    for _ in range(100):
        hasty = [asyncio.create_task(admission.enter(bucket, None)) for _ in range(10)]
        await asyncio.sleep(0)
        for task in hasty:
            task.cancel()
        await asyncio.gather(*hasty, return_exceptions=True)
    assert stored(bucket) == 1
    last = asyncio.create_task(admission.enter(bucket, None))
    await asyncio.sleep(0)
    admission.leave(bucket)
    await asyncio.wait_for(lasting, 1)
    admission.leave(bucket)
    await asyncio.wait_for(last, 1)


async def test_waiting_requests_fail_at_once_if_a_pause_is_longer_than_they_may_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    Timers(clock, monkeypatch)
    admission = Admission(1, clock)
    bucket = admission.bucket("")
    assert admission.try_enter(bucket)
    short = [
        asyncio.create_task(admission.enter(bucket, None, max_wait=lambda: 120)) for _ in range(3)
    ]
    long = asyncio.create_task(admission.enter(bucket, None))
    late = asyncio.create_task(admission.enter(bucket, 60.0))
    await asyncio.sleep(0)
    bucket.allowance.pause(3600.0, {}, 0.0, 0.0)
    admission.leave(bucket)
    results = await asyncio.gather(*short, return_exceptions=True)
    assert [type(result) for result in results] == [WaitTooLongError] * 3
    assert not long.done()
    long.cancel()
    await asyncio.gather(long, return_exceptions=True)
    # A new request makes the admission look at the next one in the queue.
    new = asyncio.create_task(admission.enter(bucket, None))
    with pytest.raises(TimeoutError):
        await late
    new.cancel()
    await asyncio.gather(new, return_exceptions=True)


async def test_urgent_requests_go_ahead_of_all_others_in_the_order_in_which_they_came() -> None:
    admission = Admission(1, Clock())
    assert admission.try_enter(admission.bucket(""))
    order: list[str] = []

    async def enter(name: str, *, urgent: bool, bucket: str = "") -> None:
        await admission.enter(admission.bucket(bucket), None, urgent=urgent)
        order.append(name)
        admission.leave(admission.bucket(bucket))

    async with asyncio.TaskGroup() as tasks:
        for number in range(3):
            tasks.create_task(enter(f"ordinary {number}", urgent=False))
        for number in range(3):
            tasks.create_task(enter(f"urgent {number}", urgent=True, bucket="another" * number))
        await asyncio.sleep(0)
        admission.leave(admission.bucket(""))
    assert order == [
        *[f"urgent {number}" for number in range(3)],
        *[f"ordinary {number}" for number in range(3)],
    ]


async def test_an_urgent_request_is_counted_and_keeps_the_limit() -> None:
    clock = Clock()
    admission = Admission(10, clock, rules=[RateLimit(2, per=5)])
    bucket = admission.bucket("")
    await admission.enter(bucket, None, urgent=True)
    await admission.enter(bucket, None, urgent=True)
    assert not admission.try_enter(bucket)
    admission.leave(bucket)
    admission.leave(bucket)
    # It fails at once, not when the time has passed.
    with pytest.raises(TimeoutError):
        await admission.enter(bucket, 4.0, urgent=True)
    clock.now = 5.0
    assert await admission.enter(bucket, 6.0, urgent=True)


async def test_refused_requests_leave_their_slots_free_and_urgent_ones_in_the_queue() -> None:
    admission = Admission(1, Clock())
    bucket = admission.bucket("")
    assert admission.try_enter(bucket)
    waiting = [asyncio.create_task(admission.enter(bucket, None)) for _ in range(3)]
    urgent = asyncio.create_task(admission.enter(bucket, None, urgent=True))
    gone = asyncio.create_task(admission.enter(bucket, None))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    admission.refuse(lambda: ConfigurationError("closed"))
    ended = await asyncio.gather(*waiting, gone, return_exceptions=True)
    assert [type(one) for one in ended] == [*[ConfigurationError] * 3, asyncio.CancelledError]
    assert not urgent.done()
    admission.leave(bucket)
    assert await urgent == 2
    admission.leave(bucket)
    assert admission.try_enter(bucket)


async def test_it_counts_waiting_requests_by_reason_and_says_until_when_they_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    Timers(clock, monkeypatch)
    admission = Admission(2, clock, rules=[RateLimit(1, 60, "create")])
    assert admission.waiting() == {}
    create, other, paused = (
        admission.bucket("create"),
        admission.bucket(""),
        admission.bucket("paused"),
    )
    assert admission.try_enter(create)
    admission.leave(create)
    tasks = [asyncio.create_task(admission.enter(create, None)) for _ in range(3)]
    paused.allowance.pause(45.0, {}, 0.0, 0.0)
    tasks += [asyncio.create_task(admission.enter(paused, None)) for _ in range(2)]
    assert admission.try_enter(other)
    assert admission.try_enter(other)
    tasks.append(asyncio.create_task(admission.enter(other, None)))
    await asyncio.sleep(0)
    assert admission.waiting() == {
        WaitReason.RATE_LIMIT: QueueLength(3, 60.0),
        WaitReason.PAUSE: QueueLength(2, 45.0),
        WaitReason.SLOT: QueueLength(1, None),
    }
    assert admission.reason(create) == Wait(WaitReason.RATE_LIMIT, 60.0)
    assert (admission.free, admission.in_flight) == (0, 2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert admission.waiting() == {}

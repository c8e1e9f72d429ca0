"""Limits in a store: one waiting request asks it for all, and cleanups ask for themselves."""

from __future__ import annotations

import asyncio

from tests.unit.queue_harness import Clock, Queue, Store, settle
from vcloud import ConfigurationError, ConnectError, RateLimit
from vcloud._core.limits.admission import Admission
from vcloud._core.limits.fair_queueing import Flow, WaitTooLongError

LIMIT = RateLimit(1, per=60)


async def test_a_cleanup_asks_the_store_for_itself_and_does_not_wait_for_others() -> None:
    store = Store()
    queue = Queue(Admission(10, Clock(), rules=[LIMIT], acquire=store.acquire))
    for number in range(100):
        queue.join(f"run {number}", Flow())
    await settle()
    assert [urgent for urgent, _ in store.asking] == [False], "one asks for all that wait"
    assert store.waiting() == 10, "as many as there are free slots"
    queue.join("stop", urgent=True)
    await settle()
    await store.grant(urgent=True)
    assert queue.order == ["stop"]
    await queue.end()
    assert not store.asking


async def test_a_grant_of_the_store_goes_to_the_next_request_whichever_asked() -> None:
    store = Store()
    queue = Queue(Admission(10, Clock(), rules=[LIMIT], acquire=store.acquire))
    run = Flow()
    asks = queue.join("run 0", run)
    queue.join("run 1", run)
    await settle()
    queue.join("visitor")
    await settle()
    # The request that asks is cancelled: the next one asks in its place, and no other.
    asks.cancel()
    await settle()
    assert len(store.asking) == 1
    await store.grant()
    await store.grant()
    assert queue.order == ["visitor", "run 1"]
    assert not store.asking
    assert queue.admission.waiting() == {}


async def test_a_grant_of_the_store_is_not_kept_for_later_requests() -> None:
    store = Store()
    queue = Queue(Admission(1, Clock(), rules=[LIMIT], acquire=store.acquire))
    queue.join("first")
    await settle()
    await store.grant()
    waits = queue.join("second")
    await settle()
    await store.grant()
    assert queue.order == ["first"], "there is no slot for it"
    waits.cancel()
    await settle()
    queue.leave()
    queue.join("third")
    await settle()
    assert queue.order == ["first"]
    assert len(store.asking) == 1
    await store.grant()
    assert queue.order == ["first", "third"]


async def test_all_requests_fail_at_once_if_the_store_is_away_or_the_limit_lasts_too_long() -> None:
    store = Store()
    queue = Queue(Admission(10, Clock(), rules=[LIMIT], acquire=store.acquire))
    waiting = [queue.join(str(number), max_wait=lambda: 30) for number in range(50)]
    await settle()
    await store.fail(ConnectError("the store is away"))
    assert {type(task.exception()) for task in waiting} == {ConnectError}
    waiting = [queue.join(str(number), max_wait=lambda: 30) for number in range(50)]
    lasting = queue.join("lasting", max_wait=lambda: 90)
    await settle()
    await store.fail(WaitTooLongError(60))
    assert {type(task.exception()) for task in waiting} == {WaitTooLongError}
    await settle()
    await store.grant()
    assert lasting.done()
    assert queue.order == ["lasting"]


async def test_a_client_that_closes_fails_even_the_request_that_asks_the_store() -> None:
    store = Store()
    queue = Queue(Admission(10, Clock(), rules=[LIMIT], acquire=store.acquire))
    calls = [queue.join(str(number)) for number in range(3)]
    stop = queue.join("stop", urgent=True)
    await settle()
    queue.admission.refuse(lambda: ConfigurationError("closed"))
    async with asyncio.timeout(10):
        await asyncio.wait(calls)
    assert {type(task.exception()) for task in calls} == {ConfigurationError}
    assert [urgent for urgent, _ in store.asking] == [True]
    await store.grant(urgent=True)
    assert stop.done()
    queue.leave()
    assert queue.admission.is_idle

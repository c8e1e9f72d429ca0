"""The order of waiting requests: cleanups, then round robin between flows, first come in each."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.queue_harness import Clock, Queue, Store, Timers, settle
from vcloud import RateLimit
from vcloud._core.limits.admission import Admission, QueueLength
from vcloud._core.limits.cooldown import PROBE_TIMEOUT
from vcloud._core.limits.fair_queueing import Flow
from vcloud._core.observe import WaitReason

#: How many requests of a run wait.
CROWD = 5000


LIMIT = RateLimit(1, per=60)
Go = Callable[[], Coroutine[Any, Any, None]]


def slots(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> tuple[Queue, Go]:
    del monkeypatch
    queue = Queue(Admission(1, clock))
    queue.occupy()

    async def one_more() -> None:
        queue.leave()
        await settle()

    return queue, one_more


def window(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> tuple[Queue, Go]:
    timers = Timers(clock, monkeypatch)
    queue = Queue(Admission(10, clock, rules=[LIMIT]))
    queue.occupy()

    async def one_more() -> None:
        queue.leave()
        await timers.fire()
        await settle()

    return queue, one_more


def shared(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> tuple[Queue, Go]:
    del monkeypatch
    store = Store()
    queue = Queue(Admission(10, clock, rules=[LIMIT], acquire=store.acquire))

    async def one_more() -> None:
        await store.grant()
        queue.leave()

    return queue, one_more


Setting = Callable[[Clock, pytest.MonkeyPatch], tuple[Queue, Go]]
SETTINGS = pytest.mark.parametrize("setting", [slots, window, shared])


@SETTINGS
async def test_a_call_beside_a_run_of_thousands_waits_for_at_most_two_sends(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, one_more = setting(Clock(), monkeypatch)
    run = Flow()
    for number in range(CROWD):
        queue.join(f"run {number}", run)
    await settle()
    for visitor in range(5):
        before = len(queue.order)
        queue.join(f"visitor {visitor}")
        await settle()
        while queue.order[-1:] != [f"visitor {visitor}"]:
            assert len(queue.order) - before <= 2
            await one_more()
    # The run has had its turns in between, in its own order.
    ran = [name for name in queue.order if name.startswith("run")]
    assert ran == [f"run {number}" for number in range(len(ran))]
    assert len(ran) >= 4
    await queue.end()


@SETTINGS
async def test_two_runs_and_a_visitor_take_turns(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, one_more = setting(Clock(), monkeypatch)
    one, other = Flow(), Flow()
    for number in range(3):
        queue.join(f"one {number}", one)
    for number in range(3):
        queue.join(f"other {number}", other)
    for number in range(4):
        queue.join(f"visitor {number}")
    await settle()
    for _ in range(10):
        await one_more()
    # Where a store is asked, the visitors' first turn is later: none of them was waiting yet.
    assert [name.split()[0] for name in queue.order] == ["visitor", "one", "other"] * 3 + [
        "visitor"
    ]
    assert queue.order[1::3] == ["one 0", "one 1", "one 2"]
    assert queue.order[2::3] == ["other 0", "other 1", "other 2"]


@SETTINGS
async def test_a_new_run_goes_behind_the_flows_that_wait_already(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, one_more = setting(Clock(), monkeypatch)
    long = Flow()
    for _ in range(20):
        queue.join("long", long)
    await settle()
    joined: dict[str, int] = {}
    for number in range(40):
        # A run that starts again and again has another flow each time, and gains nothing.
        joined[f"short {number}"] = len(queue.order)
        queue.join(f"short {number}", Flow())
        await settle()
        await one_more()
    turns = [place for place, name in enumerate(queue.order) if name == "long"]
    assert len(turns) >= 4
    for before, after in itertools.pairwise(turns):
        assert all(joined[name] <= before for name in queue.order[before + 1 : after])
    await queue.end()


async def test_cleanups_go_ahead_of_all_flows() -> None:
    queue = Queue(Admission(1, Clock()))
    queue.occupy()
    run = Flow()
    queue.join("run", run)
    queue.join("visitor")
    queue.join("stop 0", run, urgent=True)
    queue.join("stop 1", urgent=True)
    await settle()
    for _ in range(4):
        queue.leave()
        await settle()
    assert queue.order == ["stop 0", "stop 1", "visitor", "run"]


async def test_a_flow_that_sends_under_one_limit_keeps_its_place_under_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    timers = Timers(clock, monkeypatch)
    admission = Admission(2, clock, rules=[RateLimit(1, per=60, bucket="create")])
    creates, reads = Queue(admission, "create"), Queue(admission)
    run = Flow()
    first = admission.try_enter(creates.bucket)
    admission.leave(creates.bucket, first)
    for number in range(50):
        creates.join(f"run {number}", run)
    for number in range(3):
        creates.join(f"visitor {number}")
    await settle()
    for _ in range(6):
        # Visitors read all the time. That counts as no turn for the limit of creates.
        reads.join("read")
        await settle()
        reads.leave()
        await timers.fire()
        await settle()
        creates.leave()
    assert [name.split()[0] for name in creates.order] == ["visitor", "run"] * 3
    await creates.end()


FLOWS = st.sampled_from(["a", "b", "c", ""])
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), FLOWS),
        st.tuples(st.just("stop"), st.just("")),
        st.tuples(st.just("leave"), st.just("")),
        st.tuples(st.just("leave"), st.just("")),
        st.tuples(st.just("cancel"), st.integers(0, 30).map(str)),
    ),
    max_size=80,
)


class Model:
    """The same order, kept in plain lists: a flow moves to the end after each turn."""

    def __init__(self) -> None:
        self.flows: list[str] = [""]
        self.waiting: dict[str, list[str]] = {"": []}
        self.stops: list[str] = []

    def join(self, flow: str, name: str) -> None:
        if flow not in self.waiting:
            self.flows.append(flow)
            self.waiting[flow] = []
        self.waiting[flow].append(name)

    def remove(self, name: str) -> None:
        for names in (self.stops, *self.waiting.values()):
            if name in names:
                names.remove(name)
        for flow in [flow for flow in self.flows if flow and not self.waiting[flow]]:
            self.flows.remove(flow)
            del self.waiting[flow]

    def next(self) -> str | None:
        if self.stops:
            return self.stops.pop(0)
        for flow in self.flows:
            if self.waiting[flow]:
                name = self.waiting[flow][0]
                self.flows.remove(flow)
                self.flows.append(flow)
                self.remove(name)
                return name
        return None


@settings(max_examples=300, deadline=None)
@given(ACTS)
def test_the_order_is_first_come_in_each_flow_and_round_robin_between_flows(
    acts: list[tuple[str, str]],
) -> None:
    asyncio.run(play(acts))


async def play(acts: list[tuple[str, str]]) -> None:
    queue, model = Queue(Admission(1, Clock())), Model()
    queue.occupy()
    flows = {name: Flow() for name in "abc"}
    expected: list[str] = []
    free = False
    joined: dict[str, asyncio.Task[None]] = {}
    for act, what in acts:
        name = str(len(joined))
        if act == "join":
            joined[name] = queue.join(name, flows.get(what))
            model.join(what, name)
        elif act == "stop":
            joined[name] = queue.join(name, urgent=True)
            model.stops.append(name)
        elif act == "cancel":
            if (task := joined.get(what)) is not None and not task.done():
                task.cancel()
                model.remove(what)
        elif not free:
            queue.leave()
            free = True
        if free and (first := model.next()) is not None:
            expected.append(first)
            free = False
        await settle()
        assert queue.order == expected
    waiting = len(model.stops) + sum(map(len, model.waiting.values()))
    found = queue.admission.waiting()
    assert found == ({WaitReason.SLOT: QueueLength(waiting, None)} if waiting else {})
    await queue.end()
    assert queue.admission.waiting() == {}


def steps(do: Callable[[], object]) -> int:
    """How many lines of Python this runs."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        del frame, argument
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        do()
    finally:
        sys.settrace(before)
    return count


async def admissions(waiting_calls: int, flows: int) -> float:
    """How many lines of Python one admission runs while so many wait in so many flows."""
    queue = Queue(Admission(1, Clock()))
    queue.occupy()
    runs: list[Flow | None] = [None, *[Flow() for _ in range(flows - 1)]]
    tasks = [queue.join(str(number), runs[number % flows]) for number in range(waiting_calls)]
    await settle()
    for task in tasks[1::3]:
        task.cancel()
    await settle()
    total = 0
    for _ in range(100):
        total += steps(queue.leave)
        await settle()
    assert len(queue.order) == 100
    await queue.end()
    return total / 100


@pytest.mark.parametrize(
    "flows", [100, *[pytest.param(n, marks=pytest.mark.long) for n in (1, 10)]]
)
async def test_an_admission_costs_as_much_beside_five_thousand_as_beside_five_hundred(
    flows: int,
) -> None:
    few, many = await admissions(500, flows), await admissions(5000, flows)
    assert many <= 1.2 * few
    assert many <= 1.2 * await admissions(5000, 2)


async def test_thousands_of_cancelled_waiters_in_many_flows_leave_nothing() -> None:
    queue = Queue(Admission(1, Clock()))
    queue.occupy()
    queue.join("lasting")
    await settle()
    for _ in range(50):
        flow = Flow()
        for number in range(100):
            queue.join(str(number), flow).cancel()
            queue.join(str(number)).cancel()
        await settle()
        await asyncio.gather(*queue.tasks[-200:], return_exceptions=True)
    stored = [one.stored for flows in queue.bucket.ranks for one in flows.queues()]
    assert stored == [1]
    queue.leave()
    await settle()
    assert queue.order == ["lasting"]


async def test_after_a_429_the_next_probe_is_sent_after_two_seconds_without_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    timers = Timers(clock, monkeypatch)
    queue = Queue(Admission(10, clock))
    first = queue.admission.try_enter(queue.bucket)
    queue.bucket.allowance.pause(5.0, {}, clock.now, 0.0)
    queue.admission.leave(queue.bucket, first)
    for number in range(6):
        queue.join(str(number))
    await settle()
    sent: list[float] = []
    for _ in range(3):
        await timers.fire()
        await settle()
        sent.append(clock.now)
    assert queue.order == ["0", "1", "2"]
    assert sent == [5.0, 5.0 + PROBE_TIMEOUT, 5.0 + 2 * PROBE_TIMEOUT]
    # The second probe is answered, so all others are sent.
    queue.bucket.allowance.note({}, clock.now, 0.0, 3)
    queue.admission.leave(queue.bucket, 3)
    await settle()
    assert queue.order == [str(number) for number in range(6)]

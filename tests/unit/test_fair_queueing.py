"""The order of those in line: cleanups, then turns between lanes, first come first in each."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.test_admission import Alarms, Clock
from vcloud import ConfigurationError, ConnectError, RateLimit
from vcloud._core.limits.admission import Admission, QueueLength
from vcloud._core.limits.cooldown import PROBE_TIMEOUT
from vcloud._core.limits.fair_queueing import CURRENT_FLOW, Flow, WaitTooLongError
from vcloud._core.observe import WaitReason

#: Of a run that fills the line.
CROWD = 5000


async def settle() -> None:
    """Let everybody run who can."""
    for _ in range(6):
        await asyncio.sleep(0)


class Line:
    """Requests that wait at one admission, by name, and the order in which they were admitted."""

    def __init__(self, admission: Admission, name: str = "") -> None:
        self.admission = admission
        self.bucket = admission.bucket(name)
        self.order: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._numbers: list[int] = []

    def join(self, name: str, lane: Flow | None = None, **given: Any) -> asyncio.Task[None]:
        context = copy_context()
        context.run(CURRENT_FLOW.set, lane)
        task = asyncio.get_running_loop().create_task(self._enter(name, given), context=context)
        self.tasks.append(task)
        return task

    async def _enter(self, name: str, given: dict[str, Any]) -> None:
        number = await self.admission.enter(self.bucket, None, **given)
        self._numbers.append(number)
        self.order.append(name)

    def leave(self) -> None:
        """The one that was admitted first of those in flight has its answer."""
        self.admission.leave(self.bucket, self._numbers.pop(0))

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class Store:
    """A shared budget that grants a request when the test says so."""

    def __init__(self) -> None:
        self.asking: list[tuple[bool, asyncio.Future[None]]] = []
        self.waiting: Callable[[], int] = lambda: 0

    async def acquire(
        self,
        rule: RateLimit,
        patience: float,
        *,
        urgent: bool = False,
        waiting: Callable[[], int] | None = None,
    ) -> None:
        self.waiting = waiting or self.waiting
        asked = (urgent, asyncio.get_running_loop().create_future())
        self.asking.append(asked)
        try:
            await asked[1]
        finally:
            self.asking.remove(asked)

    async def grant(self, *, urgent: bool = False) -> None:
        next(turn for kind, turn in self.asking if kind is urgent).set_result(None)
        await settle()

    async def fail(self, error: Exception) -> None:
        self.asking[0][1].set_exception(error)
        await settle()


LIMIT = RateLimit(1, per=60)
Go = Callable[[], Coroutine[Any, Any, None]]


def slots(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> tuple[Line, Go]:
    del monkeypatch
    line = Line(Admission(1, clock))
    assert line.admission.try_enter(line.bucket)
    line._numbers.append(1)

    async def one_more() -> None:
        line.leave()
        await settle()

    return line, one_more


def window(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> tuple[Line, Go]:
    alarms = Alarms(clock, monkeypatch)
    line = Line(Admission(10, clock, rules=[LIMIT]))
    assert line.admission.try_enter(line.bucket)
    line._numbers.append(1)

    async def one_more() -> None:
        line.leave()
        await alarms.ring()
        await settle()

    return line, one_more


def shared(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> tuple[Line, Go]:
    del monkeypatch
    store = Store()
    line = Line(Admission(10, clock, rules=[LIMIT], acquire=store.acquire))

    async def one_more() -> None:
        await store.grant()
        line.leave()

    return line, one_more


Setting = Callable[[Clock, pytest.MonkeyPatch], tuple[Line, Go]]
SETTINGS = pytest.mark.parametrize("setting", [slots, window, shared])


@SETTINGS
async def test_beside_a_run_of_thousands_a_call_waits_for_at_most_two_sends(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, one_more = setting(Clock(), monkeypatch)
    run = Flow()
    for number in range(CROWD):
        line.join(f"run {number}", run)
    await settle()
    for visitor in range(5):
        before = len(line.order)
        line.join(f"visitor {visitor}")
        await settle()
        while line.order[-1:] != [f"visitor {visitor}"]:
            assert len(line.order) - before <= 2
            await one_more()
    # The run has had its turns meanwhile, in its order.
    ran = [name for name in line.order if name.startswith("run")]
    assert ran == [f"run {number}" for number in range(len(ran))]
    assert len(ran) >= 4
    await line.end()


@SETTINGS
async def test_two_runs_and_a_visitor_take_turns(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, one_more = setting(Clock(), monkeypatch)
    one, other = Flow(), Flow()
    for number in range(3):
        line.join(f"one {number}", one)
    for number in range(3):
        line.join(f"other {number}", other)
    for number in range(4):
        line.join(f"visitor {number}")
    await settle()
    for _ in range(10):
        await one_more()
    # Where a store is asked, the visitors' first turn is a moment later: nobody was in line yet.
    assert [name.split()[0] for name in line.order] == ["visitor", "one", "other"] * 3 + ["visitor"]
    assert line.order[1::3] == ["one 0", "one 1", "one 2"]
    assert line.order[2::3] == ["other 0", "other 1", "other 2"]


@SETTINGS
async def test_a_run_that_comes_is_behind_those_that_wait_already(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, one_more = setting(Clock(), monkeypatch)
    long = Flow()
    for _ in range(20):
        line.join("long", long)
    await settle()
    joined: dict[str, int] = {}
    for number in range(40):
        # One that comes again and again has another lane each time, and gains nothing by it.
        joined[f"short {number}"] = len(line.order)
        line.join(f"short {number}", Flow())
        await settle()
        await one_more()
    turns = [place for place, name in enumerate(line.order) if name == "long"]
    assert len(turns) >= 4
    for before, after in itertools.pairwise(turns):
        assert all(joined[name] <= before for name in line.order[before + 1 : after])
    await line.end()


async def test_cleanups_go_ahead_of_all_lanes() -> None:
    line = Line(Admission(1, Clock()))
    assert line.admission.try_enter(line.bucket)
    line._numbers.append(1)
    run = Flow()
    line.join("run", run)
    line.join("visitor")
    line.join("stop 0", run, urgent=True)
    line.join("stop 1", urgent=True)
    await settle()
    for _ in range(4):
        line.leave()
        await settle()
    assert line.order == ["stop 0", "stop 1", "visitor", "run"]


async def test_a_cleanup_asks_the_store_for_itself_and_waits_behind_nobody() -> None:
    store = Store()
    line = Line(Admission(10, Clock(), rules=[LIMIT], acquire=store.acquire))
    for number in range(100):
        line.join(f"run {number}", Flow())
    await settle()
    assert [urgent for urgent, _ in store.asking] == [False], "one asks for all that wait"
    assert store.waiting() == 10, "those that have a slot to go to"
    line.join("stop", urgent=True)
    await settle()
    await store.grant(urgent=True)
    assert line.order == ["stop"]
    await line.end()
    assert not store.asking


async def test_what_the_store_grants_goes_to_the_next_in_line_whoever_asked() -> None:
    store = Store()
    line = Line(Admission(10, Clock(), rules=[LIMIT], acquire=store.acquire))
    run = Flow()
    asks = line.join("run 0", run)
    line.join("run 1", run)
    await settle()
    line.join("visitor")
    await settle()
    # The one that asks is cancelled: the next in line asks in its place, and no one else does.
    asks.cancel()
    await settle()
    assert len(store.asking) == 1
    await store.grant()
    await store.grant()
    assert line.order == ["visitor", "run 1"]
    assert not store.asking
    assert line.admission.waiting() == {}


async def test_what_the_store_granted_is_not_kept_for_those_that_come_later() -> None:
    store = Store()
    line = Line(Admission(1, Clock(), rules=[LIMIT], acquire=store.acquire))
    line.join("first")
    await settle()
    await store.grant()
    waits = line.join("second")
    await settle()
    await store.grant()
    assert line.order == ["first"], "there is no slot for it"
    waits.cancel()
    await settle()
    line.leave()
    line.join("third")
    await settle()
    assert line.order == ["first"]
    assert len(store.asking) == 1
    await store.grant()
    assert line.order == ["first", "third"]


async def test_a_crowd_learns_at_once_of_a_store_that_is_away_or_of_a_limit_that_lasts() -> None:
    store = Store()
    line = Line(Admission(10, Clock(), rules=[LIMIT], acquire=store.acquire))
    crowd = [line.join(str(number), max_wait=lambda: 30) for number in range(50)]
    await settle()
    await store.fail(ConnectError("the store is away"))
    assert {type(task.exception()) for task in crowd} == {ConnectError}
    crowd = [line.join(str(number), max_wait=lambda: 30) for number in range(50)]
    patient = line.join("patient", max_wait=lambda: 90)
    await settle()
    await store.fail(WaitTooLongError(60))
    assert {type(task.exception()) for task in crowd} == {WaitTooLongError}
    await settle()
    await store.grant()
    assert patient.done()
    assert line.order == ["patient"]


async def test_a_client_that_closes_ends_even_the_one_that_asks_the_store() -> None:
    store = Store()
    line = Line(Admission(10, Clock(), rules=[LIMIT], acquire=store.acquire))
    calls = [line.join(str(number)) for number in range(3)]
    stop = line.join("stop", urgent=True)
    await settle()
    line.admission.refuse(lambda: ConfigurationError("closed"))
    async with asyncio.timeout(10):
        await asyncio.wait(calls)
    assert {type(task.exception()) for task in calls} == {ConfigurationError}
    assert [urgent for urgent, _ in store.asking] == [True]
    await store.grant(urgent=True)
    assert stop.done()
    line.leave()
    assert line.admission.is_idle


async def test_a_lane_that_sends_under_one_limit_keeps_its_place_under_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    alarms = Alarms(clock, monkeypatch)
    admission = Admission(2, clock, rules=[RateLimit(1, per=60, bucket="create")])
    creates, reads = Line(admission, "create"), Line(admission)
    run = Flow()
    first = admission.try_enter(creates.bucket)
    admission.leave(creates.bucket, first)
    for number in range(50):
        creates.join(f"run {number}", run)
    for number in range(3):
        creates.join(f"visitor {number}")
    await settle()
    for _ in range(6):
        # Visitors read all the time, and that is no turn at the limit of creates.
        reads.join("read")
        await settle()
        reads.leave()
        await alarms.ring()
        await settle()
        creates.leave()
    assert [name.split()[0] for name in creates.order] == ["visitor", "run"] * 3
    await creates.end()


LANES = st.sampled_from(["a", "b", "c", ""])
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), LANES),
        st.tuples(st.just("stop"), st.just("")),
        st.tuples(st.just("leave"), st.just("")),
        st.tuples(st.just("leave"), st.just("")),
        st.tuples(st.just("cancel"), st.integers(0, 30).map(str)),
    ),
    max_size=80,
)


class Model:
    """The same order, kept as plain lists: lanes move to the end of theirs after each turn."""

    def __init__(self) -> None:
        self.lanes: list[str] = [""]
        self.waiting: dict[str, list[str]] = {"": []}
        self.stops: list[str] = []

    def join(self, lane: str, name: str) -> None:
        if lane not in self.waiting:
            self.lanes.append(lane)
            self.waiting[lane] = []
        self.waiting[lane].append(name)

    def remove(self, name: str) -> None:
        for names in (self.stops, *self.waiting.values()):
            if name in names:
                names.remove(name)
        for lane in [lane for lane in self.lanes if lane and not self.waiting[lane]]:
            self.lanes.remove(lane)
            del self.waiting[lane]

    def next(self) -> str | None:
        if self.stops:
            return self.stops.pop(0)
        for lane in self.lanes:
            if self.waiting[lane]:
                name = self.waiting[lane][0]
                self.lanes.remove(lane)
                self.lanes.append(lane)
                self.remove(name)
                return name
        return None


@settings(max_examples=300, deadline=None)
@given(ACTS)
def test_the_order_is_first_come_in_each_lane_and_turns_between_lanes(
    acts: list[tuple[str, str]],
) -> None:
    asyncio.run(play(acts))


async def play(acts: list[tuple[str, str]]) -> None:
    line, model = Line(Admission(1, Clock())), Model()
    assert line.admission.try_enter(line.bucket)
    line._numbers.append(1)
    lanes = {name: Flow() for name in "abc"}
    expected: list[str] = []
    free = False
    joined: dict[str, asyncio.Task[None]] = {}
    for act, what in acts:
        name = str(len(joined))
        if act == "join":
            joined[name] = line.join(name, lanes.get(what))
            model.join(what, name)
        elif act == "stop":
            joined[name] = line.join(name, urgent=True)
            model.stops.append(name)
        elif act == "cancel":
            if (task := joined.get(what)) is not None and not task.done():
                task.cancel()
                model.remove(what)
        elif not free:
            line.leave()
            free = True
        if free and (first := model.next()) is not None:
            expected.append(first)
            free = False
        await settle()
        assert line.order == expected
    waiting = len(model.stops) + sum(map(len, model.waiting.values()))
    found = line.admission.waiting()
    assert found == ({WaitReason.SLOT: QueueLength(waiting, None)} if waiting else {})
    await line.end()
    assert line.admission.waiting() == {}


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


async def admissions(crowd: int, lanes: int) -> float:
    """What one admission takes, in lines, while so many wait in so many lanes."""
    line = Line(Admission(1, Clock()))
    assert line.admission.try_enter(line.bucket)
    line._numbers.append(1)
    runs: list[Flow | None] = [None, *[Flow() for _ in range(lanes - 1)]]
    tasks = [line.join(str(number), runs[number % lanes]) for number in range(crowd)]
    await settle()
    for task in tasks[1::3]:
        task.cancel()
    await settle()
    total = 0
    for _ in range(100):
        total += steps(line.leave)
        await settle()
    assert len(line.order) == 100
    await line.end()
    return total / 100


@pytest.mark.parametrize(
    "lanes", [100, *[pytest.param(n, marks=pytest.mark.long) for n in (1, 10)]]
)
async def test_an_admission_costs_as_much_beside_five_thousand_as_beside_five_hundred(
    lanes: int,
) -> None:
    few, many = await admissions(500, lanes), await admissions(5000, lanes)
    assert many <= 1.2 * few
    assert many <= 1.2 * await admissions(5000, 2)


async def test_thousands_that_are_cancelled_in_many_lanes_leave_nothing() -> None:
    line = Line(Admission(1, Clock()))
    assert line.admission.try_enter(line.bucket)
    line._numbers.append(1)
    line.join("patient")
    await settle()
    for _ in range(50):
        lane = Flow()
        for number in range(100):
            line.join(str(number), lane).cancel()
            line.join(str(number)).cancel()
        await settle()
        await asyncio.gather(*line.tasks[-200:], return_exceptions=True)
    queues = [queue for flows in line.bucket.ranks for queue in flows.queues()]
    assert [queue.stored for queue in queues] == [1]
    line.leave()
    await settle()
    assert line.order == ["patient"]


async def test_after_a_refusal_the_next_one_tries_when_the_first_has_no_answer_for_two_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    alarms = Alarms(clock, monkeypatch)
    line = Line(Admission(10, clock))
    first = line.admission.try_enter(line.bucket)
    line.bucket.allowance.pause(5.0, {}, clock.now, 0.0)
    line.admission.leave(line.bucket, first)
    for number in range(6):
        line.join(str(number))
    await settle()
    sent: list[float] = []
    for _ in range(3):
        await alarms.ring()
        await settle()
        sent.append(clock.now)
    assert line.order == ["0", "1", "2"]
    assert sent == [5.0, 5.0 + PROBE_TIMEOUT, 5.0 + 2 * PROBE_TIMEOUT]
    # The second has its answer, and that lets all others go.
    line.bucket.allowance.note({}, clock.now, 0.0, 3)
    line.admission.leave(line.bucket, 3)
    await settle()
    assert line.order == [str(number) for number in range(6)]

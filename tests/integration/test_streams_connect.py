"""``stream.connect`` against the emulator: who gets a machine, and what is left behind when that fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from attrs import evolve

from vcloud import (
    CleanupError,
    ConflictError,
    ConnectError,
    DecodeError,
    Endpoint,
    InsufficientFundsError,
    InvalidArgumentError,
    InvalidRequestError,
    NotFoundError,
    Response,
    RetryPolicy,
    ServerError,
    TransportError,
    VagonCode,
    WaitFailed,
    WaitTimeout,
)
from vcloud.emulator import Clock, Emulator, Fault
from vcloud.providers.streams import (
    Capacity,
    ConnectionStatus,
    Region,
    StreamRef,
    VagonStreams,
)

APPLICATION, STREAM = "1143", "1381"
POLL = 0.002

#: Kinds of deployment: assign gives machines that are available, and answers 440 when there is none; the same with 404, as
#: the older ones do; or it also gives machines that are still turning on, as in the document's example.
WAITS, OLDER, EARLY = "waits", "older", "early"


class Deployment:
    """Makes assign answer as one kind of deployment does, whichever of them the emulator models."""

    def __init__(self, emulator: Emulator, kind: str, exchange: Callable[..., Any]) -> None:
        self._emulator, self._kind, self._exchange = emulator, kind, exchange
        #: Assignments that were asked for, with those that never reached the emulator.
        self.asked = 0
        #: Called when one was refused.
        self.refused: Callable[[], object] = lambda: None

    async def exchange(
        self, method: str, url: str, headers: Any, body: bytes | None, *rest: Any
    ) -> Response:
        if url.endswith("/assign-machine"):
            self.asked += 1
            if (refusal := self._prepare(url, json.loads(body or b"{}"))) is not None:
                self.refused()
                return Response(200, {}, json.dumps(refusal).encode())
        answer: Response = await self._exchange(method, url, headers, body, *rest)
        return answer

    def _prepare(self, url: str, body: dict[str, Any]) -> dict[str, Any] | None:
        streams, now = self._emulator.streams, self._emulator.clock.now()
        found = {"available": [], "waiting": []}  # type: dict[str, list[int]]
        for machine in streams.machines.values():
            if f"/streams/{machine.stream.id}/" in url and machine.region == body["region"]:
                found.setdefault(machine.status(now), []).append(machine.id)
        if found["available"]:
            return None
        if self._kind == EARLY:
            # An unknown visitor is given nothing.
            if found["waiting"] and body.get("user_id") in {None, *streams.users}:
                streams.set_status(found["waiting"][0], "available")
            return None
        code = 404 if self._kind == OLDER else 440
        return {"client_code": code, "message": "No machine is available"}


@pytest.fixture
def kind() -> str:
    return WAITS


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(clock=Clock.stopped()) as emulator:
        yield emulator


@pytest.fixture
def cleanup_timeout() -> float:
    return 25.0


@pytest.fixture
async def client(emulator: Emulator, cleanup_timeout: float) -> AsyncIterator[VagonStreams]:
    endpoint = evolve(
        emulator.endpoints()["streams"],
        retry=RetryPolicy(base=0.001),
        cleanup_timeout=cleanup_timeout,
    )
    async with VagonStreams(endpoint) as client:
        yield client


@pytest.fixture
def deployment(
    emulator: Emulator, client: VagonStreams, kind: str, monkeypatch: pytest.MonkeyPatch
) -> Deployment:
    transport = client._session.transport
    deployment = Deployment(emulator, kind, transport.exchange)
    monkeypatch.setattr(transport, "exchange", deployment.exchange)
    return deployment


@pytest.fixture
def stream(client: VagonStreams, deployment: Deployment) -> StreamRef:
    return client.streams.ref(STREAM)


every_kind = pytest.mark.parametrize("kind", [WAITS, OLDER, EARLY])
unless_early = pytest.mark.parametrize("kind", [WAITS, OLDER])
early = pytest.mark.parametrize("kind", [EARLY])


def statuses(emulator: Emulator) -> list[str]:
    now = emulator.clock.now()
    return [machine.status(now) for machine in emulator.streams.machines.values()]


def sent(emulator: Emulator, method: str, ending: str) -> int:
    return sum(call.method == method and call.path.endswith(ending) for call in emulator.calls)


def do(then: Callable[[], object]) -> Fault:
    """Let the service carry a request out, and something else happen before its answer leaves."""

    def edit(answer: dict[str, Any]) -> dict[str, Any]:
        then()
        return answer

    return Fault.edit(edit)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - the emulator tells nobody of its calls
            await asyncio.sleep(POLL)


def looked_three_times(emulator: Emulator, stream: StreamRef) -> bool:
    return sent(emulator, "GET", f"/streams/{stream.id}/machines") >= 3


async def boot(emulator: Emulator) -> None:
    """Let a machine be started, and the time pass that it takes."""
    await until(lambda: sent(emulator, "POST", "/start-machine") == 1)
    emulator.clock.advance(15)


@every_kind
async def test_connect_takes_a_machine_that_is_available_and_starts_none(
    emulator: Emulator, client: VagonStreams, stream: StreamRef
) -> None:
    emulator.streams.add_machine(1381, "oregon", "available")
    machine = emulator.streams.add_machine(1381, "dublin", "available")
    user = await client.users.create()
    assignment = await stream.connect("dublin", user)
    assert assignment.machine.id == str(machine.id)
    assert machine.user is emulator.streams.users[user.id]
    assert sent(emulator, "POST", "/start-machine") == 0


@every_kind
async def test_connect_starts_a_machine_and_assigns_it(
    emulator: Emulator, client: VagonStreams, stream: StreamRef
) -> None:
    emulator.streams.add_machine(1381, "oregon", "available")
    user = await client.users.create()
    task = asyncio.create_task(stream.connect(Region.DUBLIN, user.id, poll=POLL))
    await boot(emulator)
    assignment = await task
    assert assignment.machine.uid is not None
    assert assignment.connection_link.endswith(assignment.machine.uid)
    assert statuses(emulator) == ["available", "assigned"]


@early
async def test_connect_does_not_wait_for_a_machine_that_can_be_assigned_while_it_is_turning_on(
    emulator: Emulator, client: VagonStreams, stream: StreamRef, deployment: Deployment
) -> None:
    user = await client.users.create()
    assignment = await stream.connect("dublin", user, poll=60)
    assert assignment.machine.connection_status is ConnectionStatus.ASSIGNED
    assert (deployment.asked, statuses(emulator)) == (1, ["assigned"])
    kept = await client.streams.create(
        APPLICATION, capacities=[Capacity("oregon", 1)], capacity_type="balanced"
    )
    await kept.connect("oregon", poll=60)
    assert (deployment.asked, statuses(emulator)) == (2, ["assigned", "assigned"])


@unless_early
async def test_connect_waits_for_the_service_where_machines_are_not_started_by_hand(
    emulator: Emulator, client: VagonStreams, deployment: Deployment
) -> None:
    for code in (None, VagonCode.NOT_COST_OPTIMIZED_OLD):
        stream = await client.streams.create(
            APPLICATION, capacities=[Capacity("oregon", 1)], capacity_type="balanced"
        )
        if code is not None:
            emulator.faults.add(
                "POST *start-machine", Fault.edit(lambda answer: {**answer, "client_code": 4601})
            )
        task = asyncio.create_task(stream.connect("oregon", poll=POLL))
        await until(partial(looked_three_times, emulator, stream))
        emulator.clock.advance(15)
        assert (await task).machine.connection_status is ConnectionStatus.ASSIGNED
        assert sent(emulator, "POST", f"/streams/{stream.id}/start-machine") == 1


async def test_connect_does_not_wait_where_there_is_no_money(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.organization.balance = Decimal(0)
    with pytest.raises(InsufficientFundsError) as error:
        await stream.connect("dublin", poll=60)
    assert not hasattr(error.value, "__notes__")


# -- room ------------------------------------------------------------------------------------------------------------


def room(emulator: Emulator, machines: int) -> None:
    emulator.streams.streams[int(STREAM)].capacities["dublin"] = machines


async def refused_for_want_of_room(emulator: Emulator, times: int = 1) -> None:
    await until(lambda: sent(emulator, "POST", "/start-machine") >= times)


@every_kind
async def test_connect_waits_for_room(emulator: Emulator, stream: StreamRef) -> None:
    room(emulator, 0)
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    await refused_for_want_of_room(emulator, 3)
    assert not task.done()
    room(emulator, 1)
    await until(lambda: bool(emulator.streams.machines))
    emulator.clock.advance(15)
    assert (await task).machine.connection_status is ConnectionStatus.ASSIGNED
    assert statuses(emulator) == ["assigned"]


@every_kind
async def test_connect_that_waits_for_room_takes_a_machine_that_gets_free(
    emulator: Emulator, stream: StreamRef
) -> None:
    room(emulator, 0)
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    await refused_for_want_of_room(emulator)
    machine = emulator.streams.add_machine(1381, status="available")
    assert (await task).machine.id == str(machine.id)
    assert statuses(emulator) == ["assigned"]


async def test_connect_says_that_there_was_no_room_when_time_is_up(
    emulator: Emulator, stream: StreamRef
) -> None:
    room(emulator, 0)
    with pytest.raises(
        WaitTimeout,
        match="no machine in dublin within 0.2 s: none was available, and there was no capacity for another",
    ) as error:
        await stream.connect("dublin", timeout=0.2, poll=POLL)
    assert error.value.last is None
    assert sent(emulator, "POST", "/start-machine") > 1
    assert (emulator.streams.machines, sent(emulator, "POST", "/stop-machine")) == ({}, 0)


async def test_connect_that_found_room_too_late_stops_what_it_started(
    emulator: Emulator, stream: StreamRef
) -> None:
    room(emulator, 0)
    task = asyncio.create_task(stream.connect("dublin", timeout=0.5, poll=POLL))
    await refused_for_want_of_room(emulator)
    room(emulator, 1)
    with pytest.raises(WaitTimeout, match="still waiting"):
        await task
    assert statuses(emulator) == ["terminated"]


async def test_connect_cancelled_while_it_waits_for_room_leaves_nothing(
    emulator: Emulator, stream: StreamRef
) -> None:
    room(emulator, 0)
    task = asyncio.create_task(stream.connect("dublin", poll=60))
    await refused_for_want_of_room(emulator)
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (emulator.streams.machines, sent(emulator, "POST", "/stop-machine")) == ({}, 0)


# -- 404 -------------------------------------------------------------------------------------------------------------


@every_kind
async def test_connect_starts_nothing_for_a_visitor_who_is_not_known(
    emulator: Emulator, stream: StreamRef, deployment: Deployment
) -> None:
    emulator.streams.add_machine(1381, status="available")
    with pytest.raises(NotFoundError, match="User not found"):
        await stream.connect("dublin", "NOBODY", poll=60)
    assert (deployment.asked, statuses(emulator)) == (1, ["available"])
    assert sent(emulator, "POST", "/start-machine") == 0


async def test_connect_ends_with_a_404_of_start(emulator: Emulator, stream: StreamRef) -> None:
    emulator.faults.add(
        "POST *start-machine", Fault.reply(404, b'{"client_code":404,"message":"gone"}'), times=None
    )
    with pytest.raises(NotFoundError, match="gone"):
        await stream.connect("dublin", poll=60)
    assert (emulator.streams.machines, sent(emulator, "POST", "/start-machine")) == ({}, 1)


async def test_a_404_of_assign_counts_as_no_machine_when_a_look_shows_none(
    emulator: Emulator, stream: StreamRef
) -> None:
    def go(answer: dict[str, Any]) -> dict[str, Any]:
        emulator.streams.set_status(next(iter(emulator.streams.machines)), "connected")
        return {"client_code": 404, "message": "Machine not found"}

    emulator.streams.add_machine(1381, status="available")
    emulator.faults.add("POST *assign-machine", Fault.edit(go))
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    await boot(emulator)
    await task
    assert statuses(emulator) == ["connected", "assigned"]


@unless_early
async def test_a_404_while_another_s_machine_is_available_ends_it_and_stops_what_it_started(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add(
        "POST *start-machine", do(lambda: emulator.streams.add_machine(1381, status="available"))
    )
    with pytest.raises(NotFoundError, match="User not found"):
        await stream.connect("dublin", "NOBODY", poll=60)
    assert statuses(emulator) == ["terminated", "available"]


async def test_a_machine_that_gets_free_right_after_a_404_is_assigned(
    emulator: Emulator, stream: StreamRef, deployment: Deployment
) -> None:
    deployment._kind, deployment.refused = OLDER, lambda: emulator.clock.advance(15)
    await stream.connect("dublin", poll=60)
    assert (deployment.asked, statuses(emulator)) == (2, ["assigned"])


async def test_a_look_that_fails_after_a_404_stops_what_was_started(
    emulator: Emulator, stream: StreamRef, deployment: Deployment
) -> None:
    deployment._kind = OLDER
    emulator.faults.add(
        f"GET */streams/{STREAM}/machines", Fault.reply(500, b"broken"), skip=1, times=4
    )
    with pytest.raises(ServerError):
        await stream.connect("dublin", poll=POLL)
    assert statuses(emulator) == ["terminated"]


# -- other refusals of a machine that is turning on ------------------------------------------------------------------


@pytest.mark.parametrize("code", [400, 4201, 4204])
@early
async def test_connect_waits_where_a_machine_is_not_ready_in_other_words(
    emulator: Emulator, stream: StreamRef, deployment: Deployment, code: int
) -> None:
    emulator.faults.add(
        "POST *assign-machine",
        Fault.reply(200, b'{"client_code":%d,"message":"Machine is not ready"}' % code),
    )
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    await boot(emulator)
    await task
    assert (deployment.asked, statuses(emulator)) == (2, ["assigned"])


@every_kind
async def test_connect_ends_with_a_refusal_of_a_machine_that_is_available(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add(
        "POST *assign-machine", Fault.reply(200, b'{"client_code":4201}'), times=None
    )
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    await boot(emulator)
    with pytest.raises(ConflictError):
        await task
    assert statuses(emulator) == ["terminated"]


# -- many and others -------------------------------------------------------------------------------------------------


@every_kind
async def test_many_connects_at_once_each_get_a_machine_and_leave_none_over(
    emulator: Emulator, stream: StreamRef
) -> None:
    tasks = [asyncio.create_task(stream.connect("dublin", poll=POLL)) for _ in range(10)]
    await until(lambda: sent(emulator, "POST", "/start-machine") == 10)
    emulator.clock.advance(15)
    assignments = await asyncio.gather(*tasks)
    assert len({assignment.machine.id for assignment in assignments}) == 10
    assert statuses(emulator) == ["assigned"] * 10
    assert sent(emulator, "POST", "/stop-machine") == 0


async def test_connect_begins_again_when_somebody_else_was_given_its_machine(
    emulator: Emulator, stream: StreamRef
) -> None:
    def snatch() -> None:
        (machine,) = emulator.streams.machines.values()
        emulator.streams.set_status(machine.id, "connected")
        emulator.clock.advance(15)

    emulator.faults.add("GET */machines/*", do(snatch))
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    await until(lambda: sent(emulator, "POST", "/start-machine") == 2)
    emulator.clock.advance(15)
    await task
    assert statuses(emulator) == ["connected", "assigned"]


def exchange(emulator: Emulator) -> None:
    """Let somebody who starts a machine at the same time be given ours, before we ask for it."""

    def given() -> None:
        ours = next(iter(emulator.streams.machines))
        emulator.streams.add_machine(1381)
        emulator.streams.set_status(ours, "connected")

    emulator.faults.add("POST *start-machine", do(given))


@early
async def test_connect_takes_the_machine_that_was_left_for_its_own(
    emulator: Emulator, stream: StreamRef
) -> None:
    exchange(emulator)
    assignment = await stream.connect("dublin", poll=POLL)
    assert assignment.machine.id == str(list(emulator.streams.machines)[1])
    assert statuses(emulator) == ["connected", "assigned"]
    assert sent(emulator, "POST", "/start-machine") == 1


def left_in_exchange(emulator: Emulator, deployment: Deployment) -> None:
    """Refuse the first assignment; then somebody is given ours, and leaves one that is turning on."""

    def left() -> None:
        emulator.streams.set_status(next(iter(emulator.streams.machines)), "connected")
        emulator.streams.add_machine(1381)
        deployment._kind, deployment.refused = EARLY, lambda: None

    deployment._kind, deployment.refused = WAITS, left


async def test_connect_asks_for_the_one_that_was_left_before_it_starts_another(
    emulator: Emulator, stream: StreamRef, deployment: Deployment
) -> None:
    left_in_exchange(emulator, deployment)
    await stream.connect("dublin", poll=POLL)
    assert statuses(emulator) == ["connected", "assigned"]
    assert sent(emulator, "POST", "/start-machine") == 1


async def test_connect_tries_again_when_the_last_machine_went_at_the_last_moment(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.streams.add_machine(1381, status="available")
    emulator.faults.add(
        "POST *assign-machine", Fault.reply(440, b'{"client_code":440,"message":"gone"}')
    )
    assert (
        await stream.connect("dublin", poll=POLL)
    ).machine.connection_status is ConnectionStatus.ASSIGNED
    assert sent(emulator, "POST", "/assign-machine") == 2


@unless_early
async def test_connect_that_runs_out_of_time_stops_what_it_started(
    emulator: Emulator, stream: StreamRef
) -> None:
    with pytest.raises(WaitTimeout, match="still waiting") as error:
        await stream.connect("dublin", timeout=0.3, poll=POLL)
    assert error.value.last == "waiting"
    assert statuses(emulator) == ["terminated"]


async def test_connect_without_any_machine_says_so_when_time_is_up(
    emulator: Emulator, client: VagonStreams
) -> None:
    stream = await client.streams.create(APPLICATION, capacity_type="balanced")
    with pytest.raises(WaitTimeout, match="none was available") as error:
        await stream.connect("dublin", timeout=0.1, poll=POLL)
    assert error.value.last is None


@every_kind
async def test_connect_whose_assignment_fails_stops_what_it_started(
    emulator: Emulator, stream: StreamRef
) -> None:
    task = asyncio.create_task(stream.connect("dublin", "NOBODY", poll=POLL))
    await boot(emulator)
    with pytest.raises(NotFoundError, match="User not found"):
        await task
    assert statuses(emulator) == ["terminated"]


async def test_connect_that_looks_in_vain_stops_what_it_started(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add("GET */machines/*", Fault.reply(500, b"broken"), times=4)
    with pytest.raises(ServerError):
        await stream.connect("dublin", poll=POLL)
    assert statuses(emulator) == ["terminated"]


@every_kind
async def test_connect_does_not_stop_the_machine_when_the_answer_to_its_assignment_was_lost(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add("POST *assign-machine", Fault.reset_after())
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    await boot(emulator)
    with pytest.raises(TransportError) as error:
        await task
    assert error.value.outcome_unknown
    assert ["may be assigned and running" in note for note in error.value.__notes__] == [True]
    assert statuses(emulator) == ["assigned"]


async def test_connect_leaves_alone_what_somebody_else_was_given_in_the_end(
    emulator: Emulator, stream: StreamRef
) -> None:
    def snatch_and_fail() -> None:
        emulator.streams.set_status(next(iter(emulator.streams.machines)), "connected")

    def refuse(answer: dict[str, Any]) -> dict[str, Any]:
        snatch_and_fail()
        return {"client_code": 480, "message": "Insufficient balance"}

    emulator.faults.add("POST *assign-machine", Fault.edit(refuse))
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    await boot(emulator)
    with pytest.raises(InsufficientFundsError) as error:
        await task
    assert not hasattr(error.value, "__notes__"), "it was refused, so nothing is open"
    assert statuses(emulator) == ["connected"]
    assert sent(emulator, "POST", "/stop-machine") == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"user": True},
        {"user": 5.0},
        {"user": ""},
        {"timeout": 0},
        {"poll": 0},
        {"region": ""},
        {"region": "dubln"},
    ],
    ids=str,
)
async def test_nothing_is_started_for_an_argument_that_is_wrong(
    emulator: Emulator, stream: StreamRef, wrong: dict[str, Any]
) -> None:
    with pytest.raises(InvalidArgumentError):
        await stream.connect(**{"region": "dublin"} | wrong)
    assert not emulator.calls


async def test_connect_whose_machine_is_terminated_by_somebody_fails(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add(
        "GET */machines/*", do(lambda: emulator.streams.set_status(94683, "terminated"))
    )
    with pytest.raises(WaitFailed, match="terminated before it became available") as error:
        await stream.connect("dublin", poll=POLL)
    assert error.value.last == "terminated"
    assert len(emulator.streams.machines) == 1


async def test_a_note_says_when_a_machine_could_not_be_stopped(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add("POST *stop-machine", Fault.reply(500, b"broken"), times=None)
    with pytest.raises(WaitTimeout) as error:
        await stream.connect("dublin", timeout=0.3, poll=POLL)
    assert ["may still run in stream 1381" in note for note in error.value.__notes__] == [True]


@pytest.mark.parametrize("cleanup_timeout", [0.01])
async def test_cleaning_up_is_bounded(emulator: Emulator, stream: StreamRef) -> None:
    emulator.faults.add("POST *stop-machine", Fault.delay(0.5))
    with pytest.raises(WaitTimeout) as error:
        await stream.connect("dublin", timeout=0.3, poll=POLL)
    assert "TimeoutError" in error.value.__notes__[0]


#: What connect asks, in order, when it has to start a machine that is available at the second look.
STEPS = {
    WAITS: ("/1381/machines", "/start-machine", "/assign-machine", "/machines/", "/assign-machine"),
    OLDER: (
        "/1381/machines",
        "/start-machine",
        "/assign-machine",
        "/1381/machines",
        "/machines/",
        "/assign-machine",
    ),
    EARLY: ("/1381/machines", "/start-machine", "/assign-machine"),
}


async def cancelled_at(
    step: int,
    client: VagonStreams,
    monkeypatch: pytest.MonkeyPatch,
    connect: Callable[[], Awaitable[object]],
    *,
    answered: bool,
    then: Callable[[int], None] = lambda number: None,
    raises: type[BaseException] = asyncio.CancelledError,
) -> list[str]:
    """Cancel as a request is sent or answered; what was asked for until then, in order."""
    through, asked = client._session.transport.exchange, []

    async def watched(method: str, url: str, *rest: Any) -> Response:
        asked.append(url)
        number = len(asked) - 1
        if number == step and not answered:
            task.cancel()
        answer = await through(method, url, *rest)
        if number == step and answered:
            task.cancel()
        then(number)
        return answer

    monkeypatch.setattr(client._session.transport, "exchange", watched)
    task = asyncio.ensure_future(connect())
    with pytest.raises(raises):
        await task
    return asked


when_cancelled = pytest.mark.parametrize(
    "answered", [False, True], ids=["as it is sent", "as it is answered"]
)


@pytest.mark.parametrize(
    ("kind", "step"), [(kind, step) for kind, steps in STEPS.items() for step in range(len(steps))]
)
@when_cancelled
async def test_connect_cancelled_at_any_request_leaves_no_machine_running(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    kind: str,
    step: int,
    answered: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    last = len(STEPS[kind])
    asked = await cancelled_at(
        step,
        client,
        monkeypatch,
        lambda: stream.connect("dublin", poll=POLL),
        answered=answered,
        then=lambda number: emulator.clock.advance(15) if number == last - 3 else None,
    )
    assert len(asked) > step
    assert all(part in url for part, url in zip(STEPS[kind][: step + 1], asked, strict=False))
    assert set(statuses(emulator)) <= {"terminated"}
    assert len(emulator.streams.machines) == sent(emulator, "POST", "/stop-machine") <= 1


#: The same where there is no room at first.
CROWDED = ("/1381/machines", "/start-machine", *STEPS[WAITS])


@pytest.mark.parametrize("step", range(len(CROWDED)))
@when_cancelled
async def test_connect_that_waited_for_room_leaves_no_machine_running_when_it_is_cancelled(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    step: int,
    answered: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def then(number: int) -> None:
        if number == 1:
            room(emulator, 1)
        if number == 4:
            emulator.clock.advance(15)

    room(emulator, 0)
    asked = await cancelled_at(
        step,
        client,
        monkeypatch,
        lambda: stream.connect("dublin", poll=POLL),
        answered=answered,
        then=then,
    )
    assert len(asked) > step
    assert all(part in url for part, url in zip(CROWDED[: step + 1], asked, strict=False))
    assert set(statuses(emulator)) <= {"terminated"}
    assert len(emulator.streams.machines) == sent(emulator, "POST", "/stop-machine") <= 1


@early
@when_cancelled
async def test_connect_cancelled_while_it_takes_the_machine_that_was_left_stops_that_one(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    answered: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exchange(emulator)
    await cancelled_at(
        2, client, monkeypatch, lambda: stream.connect("dublin", poll=POLL), answered=answered
    )
    assert statuses(emulator) == ["connected", "terminated"]


@when_cancelled
async def test_connect_cancelled_while_it_asks_for_the_one_that_was_left_stops_that_one(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    deployment: Deployment,
    answered: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left_in_exchange(emulator, deployment)
    asked = await cancelled_at(
        4, client, monkeypatch, lambda: stream.connect("dublin", poll=POLL), answered=answered
    )
    assert asked[4].endswith("/assign-machine")
    assert statuses(emulator) == ["connected", "terminated"]


@when_cancelled
async def test_connect_that_is_given_another_s_machine_in_vain_stops_that_and_its_own(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    answered: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emulator.faults.add(
        "POST *start-machine", do(lambda: emulator.streams.add_machine(1381, status="available"))
    )
    await cancelled_at(
        2, client, monkeypatch, lambda: stream.connect("dublin", poll=POLL), answered=answered
    )
    assert statuses(emulator) == ["terminated", "terminated"]


async def test_one_machine_that_cannot_be_stopped_keeps_none_from_being_stopped(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emulator.faults.add(
        "POST *start-machine", do(lambda: emulator.streams.add_machine(1381, status="available"))
    )
    emulator.faults.add("POST *stop-machine", Fault.reply(500, b"broken"))
    await cancelled_at(
        2,
        client,
        monkeypatch,
        lambda: stream.connect("dublin", poll=POLL),
        answered=True,
        raises=CleanupError,
    )
    assert statuses(emulator) == ["terminated", "assigned"]


@every_kind
async def test_a_start_whose_answer_was_lost_says_that_its_outcome_is_unknown(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add("POST *start-machine", Fault.reset_after())
    with pytest.raises(TransportError) as error:
        await stream.connect("dublin", poll=POLL)
    assert error.value.outcome_unknown
    assert sent(emulator, "POST", "/start-machine") == 1


async def test_a_start_that_failed_after_it_was_cancelled_is_noted(
    emulator: Emulator, stream: StreamRef
) -> None:
    def cancel(answer: dict[str, Any]) -> dict[str, Any]:
        task.cancel()
        return answer

    emulator.faults.add("POST *start-machine", Fault.edit(cancel, status=500))
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    with pytest.raises(CleanupError, match="may still run in stream 1381") as error:
        await task
    assert error.value.outcome_unknown


async def test_connect_cancelled_between_two_looks_stops_what_it_started(
    emulator: Emulator, stream: StreamRef
) -> None:
    task = asyncio.create_task(stream.connect("dublin", poll=60))
    await until(lambda: sent(emulator, "POST", "/start-machine") == 1)
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert statuses(emulator) == ["terminated"]


async def test_connect_cancelled_twice_stops_what_it_started_all_the_same(
    emulator: Emulator, stream: StreamRef
) -> None:
    def cancel() -> None:
        task.cancel()

    emulator.faults.add("POST *start-machine", do(cancel))
    emulator.faults.add("POST *stop-machine", do(cancel))
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert statuses(emulator) == ["terminated"]


async def test_connect_cancelled_while_it_assigns_what_it_did_not_start_stops_nothing(
    emulator: Emulator, stream: StreamRef
) -> None:
    def cancel() -> None:
        task.cancel()

    emulator.streams.add_machine(1381, status="available")
    emulator.faults.add("POST *assign-machine", do(cancel))
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    with pytest.raises(CleanupError, match="was assigned for this call") as error:
        await task
    assert error.value.ids == tuple(map(str, emulator.streams.machines))
    assert sent(emulator, "POST", "/stop-machine") == 0


@pytest.mark.parametrize("unknown", [True, False])
async def test_connect_cancelled_while_it_starts_notes_a_machine_that_may_have_been_started(
    emulator: Emulator, client: VagonStreams, unknown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = client._session.transport
    through = transport.exchange

    async def exchange(method: str, url: str, *rest: Any) -> Response:
        if not url.endswith("/start-machine"):
            return await through(method, url, *rest)
        task.cancel()
        await asyncio.sleep(0.01)
        raise TransportError("reset") if unknown else ConnectError("refused")

    monkeypatch.setattr(transport, "exchange", exchange)
    task = asyncio.create_task(client.streams.ref(STREAM).connect("dublin", poll=POLL))
    with pytest.raises(CleanupError if unknown else asyncio.CancelledError) as caught:
        await task
    assert ("may still run" in str(caught.value)) is unknown


# -- what an error says of machines that are left ----------------------------------------------------------------------


def slow_assignment(
    client: VagonStreams, monkeypatch: pytest.MonkeyPatch, *, then: Callable[[], object], lose: bool
) -> None:
    """Hold the answer of assign back until whoever waits has given up, and perhaps lose it."""
    through = client._session.transport.exchange

    async def exchange(method: str, url: str, *rest: Any) -> Response:
        answer = await through(method, url, *rest)
        if url.endswith("/assign-machine") and b'"connection_link"' in answer.body:
            then()
            await asyncio.sleep(LONGER)
            if lose:
                raise TransportError("connection reset")
        return answer

    monkeypatch.setattr(client._session.transport, "exchange", exchange)


#: A time limit that comes while the answer of assign is held back.
LIMIT, LONGER = 0.5, 0.6


def notes_of(error: BaseException) -> str:
    return "\n".join(getattr(error, "__notes__", ()))


@early
async def test_time_that_is_up_while_the_assignment_is_lost_names_the_machine_that_may_run(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow_assignment(client, monkeypatch, then=lambda: None, lose=True)
    with pytest.raises(WaitTimeout, match="had not answered the request to assign one") as error:
        await stream.connect("dublin", timeout=LIMIT, poll=POLL)
    (machine,) = emulator.streams.machines
    assert error.value.outcome_unknown
    assert f"machine {machine} was started for this call, and may be assigned" in notes_of(
        error.value
    )
    assert "connection reset" in notes_of(error.value)
    assert statuses(emulator) == ["assigned"]


@early
async def test_a_cancellation_while_the_assignment_is_lost_names_the_machine_that_may_run(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cancel() -> None:
        task.cancel()

    slow_assignment(client, monkeypatch, then=cancel, lose=True)
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    with pytest.raises(CleanupError) as error:
        await task
    (machine,) = emulator.streams.machines
    assert f"machine {machine} was started for this call, and may be assigned" in str(error.value)
    assert error.value.ids == (str(machine),)


@early
async def test_time_that_is_up_while_the_assignment_of_what_was_left_is_lost_is_noted(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    deployment: Deployment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left_in_exchange(emulator, deployment)
    slow_assignment(client, monkeypatch, then=lambda: None, lose=True)
    with pytest.raises(WaitTimeout, match="was taken by another visitor") as error:
        await stream.connect("dublin", timeout=LIMIT, poll=POLL)
    assert error.value.outcome_unknown
    assert "may have been given a machine of stream 1381" in notes_of(error.value)
    assert statuses(emulator) == ["connected", "assigned"]


async def test_a_cancellation_while_it_cleans_up_says_what_is_left(
    emulator: Emulator, stream: StreamRef
) -> None:
    def cancel(answer: dict[str, Any]) -> dict[str, Any]:
        task.cancel()
        return {"client_code": 500, "message": "broken"}

    emulator.faults.add("POST *stop-machine", Fault.edit(cancel, status=500))
    task = asyncio.create_task(stream.connect("dublin", timeout=0.3, poll=POLL))
    with pytest.raises(CleanupError) as error:
        await task
    (machine,) = emulator.streams.machines
    assert f"machine {machine} was started" in str(error.value)
    assert error.value.ids == (str(machine),)


async def test_a_machine_that_could_not_be_stopped_is_named_and_leaves_the_outcome_unknown(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add("POST *stop-machine", Fault.reply(500, b"broken"), times=None)
    with pytest.raises(WaitTimeout) as error:
        await stream.connect("dublin", timeout=0.3, poll=POLL)
    (machine,) = emulator.streams.machines
    assert f"machine {machine} was started" in notes_of(error.value)
    assert error.value.outcome_unknown


@pytest.mark.parametrize("cleanup_timeout", [0.05])
async def test_cleaning_up_that_takes_too_long_names_the_machine(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add("POST *stop-machine", Fault.delay(0.5))
    with pytest.raises(WaitTimeout) as error:
        await stream.connect("dublin", timeout=0.3, poll=POLL)
    (machine,) = emulator.streams.machines
    assert f"machine {machine} may still run" in notes_of(error.value)
    assert error.value.outcome_unknown


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_machine_that_was_not_started_here_and_is_assigned_in_vain_is_named(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    cancelled: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = emulator.streams.add_machine(1381, status="available")
    slow_assignment(
        client, monkeypatch, then=lambda: task.cancel() if cancelled else None, lose=False
    )
    task = asyncio.create_task(stream.connect("dublin", timeout=LIMIT, poll=POLL))
    with pytest.raises(CleanupError if cancelled else WaitTimeout) as error:
        await task
    told = str(error.value) if cancelled else notes_of(error.value)
    assert f"machine {machine.id} was assigned for this call" in told
    assert statuses(emulator) == ["assigned"]
    if isinstance(error.value, WaitTimeout):
        assert error.value.outcome_unknown
        assert "one was available at the last poll" in str(error.value)
        assert "one was assigned as time was up" in str(error.value)


async def test_a_lost_assignment_of_what_was_not_started_here_is_noted_when_time_is_up(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emulator.streams.add_machine(1381, status="available")
    slow_assignment(client, monkeypatch, then=lambda: None, lose=True)
    with pytest.raises(WaitTimeout) as error:
        await stream.connect("dublin", timeout=LIMIT, poll=POLL)
    assert error.value.outcome_unknown
    assert "may have been given a machine of stream 1381" in notes_of(error.value)


async def test_an_assignment_that_waits_for_its_turn_is_not_sent_after_the_cancellation(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.streams.add_machine(1381, status="available")
    endpoint = emulator.endpoints()["streams"]
    async with VagonStreams(
        Endpoint(endpoint.base_url, auth=endpoint.auth, concurrency=1)
    ) as client:
        through, ahead = client._session.transport.exchange, []

        async def exchange(method: str, url: str, *rest: Any) -> Response:
            if "/machines" in url:
                # It takes the only place before the assignment can.
                ahead.append(asyncio.create_task(client.applications.list().all()))
                await asyncio.sleep(0.01)
            elif "/applications" in url:
                # By then, the assignment is in line.
                await asyncio.sleep(0.05)
                task.cancel()
                await asyncio.wait({task})
            return await through(method, url, *rest)

        monkeypatch.setattr(client._session.transport, "exchange", exchange)
        task = asyncio.create_task(client.streams.ref(STREAM).connect("dublin", poll=POLL))
        with pytest.raises(asyncio.CancelledError) as error:
            await task
        await asyncio.gather(*ahead)
    assert len(ahead) == 1
    assert sent(emulator, "POST", "/assign-machine") == 0
    assert not notes_of(error.value)


# -- machines that cannot be looked at ---------------------------------------------------------------------------------


def without_uid(emulator: Emulator) -> None:
    emulator.faults.add("POST *start-machine", Fault.missing("uid"), times=None)


@every_kind
async def test_connect_waits_for_a_machine_whose_start_was_answered_without_a_uid(
    emulator: Emulator, stream: StreamRef
) -> None:
    without_uid(emulator)
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    await boot(emulator)
    assert (await task).machine.connection_status is ConnectionStatus.ASSIGNED
    assert statuses(emulator) == ["assigned"]


async def test_connect_stops_a_machine_whose_start_was_answered_without_a_uid(
    emulator: Emulator, stream: StreamRef
) -> None:
    without_uid(emulator)
    with pytest.raises(WaitTimeout, match="still waiting") as error:
        await stream.connect("dublin", timeout=0.3, poll=POLL)
    assert statuses(emulator) == ["terminated"]
    assert not notes_of(error.value)
    assert not error.value.outcome_unknown


async def test_a_machine_that_the_stream_does_not_list_yet_is_waited_for_and_stopped(
    emulator: Emulator, stream: StreamRef
) -> None:
    def hide(answer: dict[str, Any]) -> dict[str, Any]:
        return {**answer, "machines": [], "count": 0}

    without_uid(emulator)
    emulator.faults.add(f"GET */streams/{STREAM}/machines", Fault.edit(hide), times=None)
    with pytest.raises(WaitTimeout, match="still waiting"):
        await stream.connect("dublin", timeout=0.3, poll=POLL)
    assert statuses(emulator) == ["terminated"]


@pytest.mark.parametrize("status", [404, 500])
async def test_a_machine_that_cannot_be_fetched_is_stopped_when_the_list_shows_it_free(
    emulator: Emulator, stream: StreamRef, status: int
) -> None:
    refusal = b'{"client_code":%d,"message":"broken"}' % status
    emulator.faults.add("GET */machines/*", Fault.reply(status, refusal), times=None)
    with pytest.raises((NotFoundError, ServerError)) as error:
        await stream.connect("dublin", poll=POLL)
    assert statuses(emulator) == ["terminated"]
    assert "may still run" not in notes_of(error.value)
    assert not error.value.outcome_unknown


async def test_a_machine_that_nothing_shows_is_named_and_not_stopped(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add("GET */machines/*", Fault.reply(500, b"broken"), times=None)
    emulator.faults.add(
        f"GET */streams/{STREAM}/machines", Fault.reply(500, b"broken"), skip=1, times=None
    )
    with pytest.raises(ServerError) as error:
        await stream.connect("dublin", poll=POLL)
    (machine,) = emulator.streams.machines
    assert error.value.outcome_unknown
    assert f"machine {machine} was started for this call" in notes_of(error.value)
    assert sent(emulator, "POST", "/stop-machine") == 0


async def test_a_machine_whose_status_is_not_told_is_named_and_not_stopped(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add("GET */machines/*", Fault.missing("connection_status"), times=None)
    with pytest.raises(DecodeError, match="connection_status") as error:
        await stream.connect("dublin", poll=POLL)
    (machine,) = emulator.streams.machines
    assert error.value.outcome_unknown
    assert f"machine {machine} was started for this call" in notes_of(error.value)
    assert sent(emulator, "POST", "/stop-machine") == 0


async def test_a_machine_that_is_somebody_s_by_the_list_is_left_alone(
    emulator: Emulator, stream: StreamRef
) -> None:
    without_uid(emulator)

    def refuse(answer: dict[str, Any]) -> dict[str, Any]:
        emulator.streams.set_status(next(iter(emulator.streams.machines)), "connected")
        return {"client_code": 480, "message": "Insufficient balance"}

    emulator.faults.add("POST *assign-machine", Fault.edit(refuse))
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    await boot(emulator)
    with pytest.raises(InsufficientFundsError) as error:
        await task
    assert not error.value.outcome_unknown
    assert statuses(emulator) == ["connected"]


@pytest.mark.parametrize("status", [404, 408])
async def test_an_assignment_refused_in_nobody_s_words_is_not_asked_for_again(
    emulator: Emulator, stream: StreamRef, deployment: Deployment, status: int
) -> None:
    deployment._kind = EARLY
    emulator.faults.add("POST *assign-machine", Fault.reply(status, b"gateway", processed=True))
    with pytest.raises((NotFoundError, InvalidRequestError)) as error:
        await stream.connect("dublin", poll=POLL)
    (machine,) = emulator.streams.machines
    assert error.value.outcome_unknown
    assert f"machine {machine} was started for this" in notes_of(error.value)
    assert deployment.asked == 1


async def test_a_machine_that_cannot_be_read_keeps_nobody_from_the_others(
    emulator: Emulator, stream: StreamRef
) -> None:
    def spoil(answer: dict[str, Any]) -> dict[str, Any]:
        answer["machines"][0]["attributes"]["duration"] = "a while"
        return answer

    emulator.streams.add_machine(1381, status="connected")
    machine = emulator.streams.add_machine(1381, status="available")
    emulator.faults.add(f"GET */streams/{STREAM}/machines", Fault.edit(spoil), times=None)
    assert (await stream.connect("dublin", poll=POLL)).machine.id == str(machine.id)


async def test_a_list_that_cannot_be_read_at_all_ends_it(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add(
        f"GET */streams/{STREAM}/machines",
        Fault.edit(lambda answer: {**answer, "machines": 1}),
        times=None,
    )
    with pytest.raises(DecodeError):
        await stream.connect("dublin", poll=POLL)


async def test_time_that_is_up_before_any_look_claims_nothing_about_machines(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add(f"GET */streams/{STREAM}/machines", Fault.stall_headers())
    with pytest.raises(WaitTimeout, match="had not yet listed its machines"):
        await stream.connect("dublin", timeout=0.1, poll=POLL)


async def test_time_that_is_up_while_an_available_machine_is_refused_says_so(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.streams.add_machine(1381, status="available")
    emulator.faults.add(
        "POST *assign-machine", Fault.reply(200, b'{"client_code":440}'), times=None
    )
    with pytest.raises(WaitTimeout, match="one was available at the last poll"):
        await stream.connect("dublin", timeout=0.2, poll=POLL)


@pytest.mark.parametrize("ended", [True, False])
async def test_connect_names_a_machine_that_is_not_running_unless_it_has_ended(
    emulator: Emulator, stream: StreamRef, ended: bool
) -> None:
    refusal = '{"client_code": 4204, "message": "Machine is not running"}'
    emulator.faults.add("POST */stop-machine", Fault.reply(200, refusal, processed=ended))
    with pytest.raises(WaitTimeout) as error:
        await stream.connect("dublin", timeout=0.2, poll=POLL)
    assert (statuses(emulator) == ["terminated"]) is ended
    assert ("may still run" in notes_of(error.value)) is not ended
    assert error.value.outcome_unknown is not ended


async def test_connect_stops_what_another_connection_left_in_exchange_for_its_own(
    emulator: Emulator, stream: StreamRef
) -> None:
    first = asyncio.create_task(stream.connect("dublin", poll=60))
    await until(lambda: len(emulator.streams.machines) == 1)
    second = asyncio.create_task(stream.connect("dublin", poll=POLL))
    await until(lambda: len(emulator.streams.machines) == 2)
    # The service gives the first that it has, which the other one started.
    emulator.clock.advance(15)
    assignment = await second
    assert assignment.machine.id == str(next(iter(emulator.streams.machines)))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert statuses(emulator) == ["assigned", "terminated"]

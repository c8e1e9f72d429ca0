"""``stream.connect`` against the emulator: who gets a machine, and what is left behind when that fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from vcloud import (
    CapacityError,
    Endpoint,
    InsufficientFundsError,
    InvalidArgumentError,
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
    StreamMachine,
    StreamRef,
    VagonStreams,
)

APPLICATION, STREAM = "1143", "1381"
POLL = 0.002


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(clock=Clock.stopped()) as emulator:
        yield emulator


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[VagonStreams]:
    endpoint = emulator.endpoints()["streams"]
    async with VagonStreams(
        Endpoint(endpoint.base_url, auth=endpoint.auth, retry=RetryPolicy(base=0.001))
    ) as client:
        yield client


@pytest.fixture
def stream(client: VagonStreams) -> StreamRef:
    return client.streams.ref(STREAM)


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


async def test_connect_starts_a_machine_and_waits_for_it(
    emulator: Emulator, client: VagonStreams, stream: StreamRef
) -> None:
    emulator.streams.add_machine(1381, "oregon", "available")
    user = await client.users.create()
    task = asyncio.create_task(stream.connect(Region.DUBLIN, user.id, poll=POLL))
    await boot(emulator)
    assignment = await task
    assert assignment.connection_link.endswith(assignment.machine.uid)
    assert statuses(emulator) == ["available", "assigned"]


async def test_connect_waits_for_the_service_where_machines_are_not_started_by_hand(
    emulator: Emulator, client: VagonStreams
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


async def test_connect_does_not_wait_where_there_is_no_room_and_no_money(
    emulator: Emulator, stream: StreamRef
) -> None:
    with pytest.raises(CapacityError):
        await stream.connect("oregon")
    emulator.organization.balance = Decimal(0)
    with pytest.raises(InsufficientFundsError) as error:
        await stream.connect("dublin")
    assert not hasattr(error.value, "__notes__")


async def test_many_connects_at_once_each_get_a_machine_and_leave_none_over(
    emulator: Emulator, stream: StreamRef
) -> None:
    tasks = [asyncio.create_task(stream.connect("dublin", poll=POLL)) for _ in range(10)]
    await until(lambda: sent(emulator, "POST", "/start-machine") == 10)
    emulator.clock.advance(15)
    assignments = await asyncio.gather(*tasks)
    assert len({assignment.machine.id for assignment in assignments}) == 10
    assert statuses(emulator) == ["assigned"] * 10


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
        return {"client_code": 404, "message": "User not found"}

    emulator.faults.add("POST *assign-machine", Fault.edit(refuse))
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    await boot(emulator)
    with pytest.raises(NotFoundError) as error:
        await task
    assert not hasattr(error.value, "__notes__"), "it was refused, so nothing is open"
    assert statuses(emulator) == ["connected"]
    assert sent(emulator, "POST", "/stop-machine") == 0


@pytest.mark.parametrize(
    "wrong", [{"user": 5}, {"user": ""}, {"timeout": 0}, {"poll": 0}, {"region": ""}], ids=str
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


async def test_cleaning_up_is_bounded(
    emulator: Emulator, stream: StreamRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vcloud.providers.streams.connecting.UNDO", 0.01)
    emulator.faults.add("POST *stop-machine", Fault.delay(0.5))
    with pytest.raises(WaitTimeout) as error:
        await stream.connect("dublin", timeout=0.3, poll=POLL)
    assert "TimeoutError" in error.value.__notes__[0]


#: What connect asks, in order, when it has to start a machine that is available at the second look.
STEPS = ("/streams/1381/machines", "/start-machine", "/machines/", "/machines/", "/assign-machine")


@pytest.mark.parametrize("step", range(len(STEPS)))
@pytest.mark.parametrize("sent_first", [False, True], ids=["as it is sent", "as it is answered"])
async def test_connect_cancelled_at_any_request_leaves_no_machine_running(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    step: int,
    sent_first: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exchange, asked = client._session.transport.exchange, []

    async def watched(method: str, url: str, *rest: Any) -> Response:
        asked.append(url)
        number = len(asked) - 1
        if number == step and not sent_first:
            task.cancel()
        answer = await exchange(method, url, *rest)
        if number == step and sent_first:
            task.cancel()
        if number == 2:
            emulator.clock.advance(15)
        return answer

    monkeypatch.setattr(client._session.transport, "exchange", watched)
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(part in url for part, url in zip(STEPS[: step + 1], asked, strict=False))
    assert set(statuses(emulator)) <= {"terminated"}
    assert len(emulator.streams.machines) == sent(emulator, "POST", "/stop-machine") <= 1


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
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sent(emulator, "POST", "/stop-machine") == 0


@pytest.mark.parametrize("unknown", [True, False])
async def test_connect_cancelled_while_it_starts_notes_a_machine_that_may_have_been_started(
    emulator: Emulator, stream: StreamRef, unknown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(stream: StreamRef, region: Region | str) -> StreamMachine:
        task.cancel()
        await asyncio.sleep(0.01)
        raise ServerError("the gateway gave up", status=502, outcome_unknown=unknown)

    monkeypatch.setattr(StreamRef, "start_machine", start)
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    notes = "".join(getattr(caught.value, "__notes__", ()))
    assert ("may still run" in notes) is unknown

"""``stream.connect``: who gets which machine, and which machines are stopped."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from tests.integration.streams_connect.deployment import (
    APPLICATION,
    POLL,
    Deployment,
    boot,
    do,
    early,
    every_kind,
    exchange,
    left_in_exchange,
    polled_three_times,
    sent,
    statuses,
    unless_early,
    until,
)
from vcloud import (
    InsufficientFundsError,
    InvalidArgumentError,
    NotFoundError,
    ServerError,
    TransportError,
    VagonCode,
    WaitFailed,
    WaitTimeout,
)
from vcloud.emulator import Emulator, Fault
from vcloud.providers.streams import (
    Capacity,
    ConnectionStatus,
    Region,
    StreamRef,
    VagonStreams,
)


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
        await until(partial(polled_three_times, emulator, stream))
        emulator.clock.advance(15)
        assert (await task).machine.connection_status is ConnectionStatus.ASSIGNED
        assert sent(emulator, "POST", f"/streams/{stream.id}/start-machine") == 1


async def test_connect_does_not_wait_if_the_balance_is_too_low(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.organization.balance = Decimal(0)
    with pytest.raises(InsufficientFundsError) as error:
        await stream.connect("dublin", poll=60)
    assert not hasattr(error.value, "__notes__")


@every_kind
async def test_many_connects_at_once_get_one_machine_each_and_leave_no_other(
    emulator: Emulator, stream: StreamRef
) -> None:
    tasks = [asyncio.create_task(stream.connect("dublin", poll=POLL)) for _ in range(10)]
    await until(lambda: sent(emulator, "POST", "/start-machine") == 10)
    emulator.clock.advance(15)
    assignments = await asyncio.gather(*tasks)
    assert len({assignment.machine.id for assignment in assignments}) == 10
    assert statuses(emulator) == ["assigned"] * 10
    assert sent(emulator, "POST", "/stop-machine") == 0


async def test_connect_starts_again_if_another_visitor_got_its_machine(
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


@early
async def test_connect_takes_the_machine_of_another_visitor_who_got_its_own(
    emulator: Emulator, stream: StreamRef
) -> None:
    exchange(emulator)
    assignment = await stream.connect("dublin", poll=POLL)
    assert assignment.machine.id == str(list(emulator.streams.machines)[1])
    assert statuses(emulator) == ["connected", "assigned"]
    assert sent(emulator, "POST", "/start-machine") == 1


async def test_connect_asks_for_the_machine_left_over_before_it_starts_another(
    emulator: Emulator, stream: StreamRef, deployment: Deployment
) -> None:
    left_in_exchange(emulator, deployment)
    await stream.connect("dublin", poll=POLL)
    assert statuses(emulator) == ["connected", "assigned"]
    assert sent(emulator, "POST", "/start-machine") == 1


async def test_connect_tries_again_if_the_last_machine_was_taken_at_the_last_moment(
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
async def test_connect_that_times_out_stops_its_machine(
    emulator: Emulator, stream: StreamRef
) -> None:
    with pytest.raises(WaitTimeout, match="still waiting") as error:
        await stream.connect("dublin", timeout=0.3, poll=POLL)
    assert error.value.last == "waiting"
    assert statuses(emulator) == ["terminated"]


async def test_connect_says_after_a_timeout_that_no_machine_was_available(
    emulator: Emulator, client: VagonStreams
) -> None:
    stream = await client.streams.create(APPLICATION, capacity_type="balanced")
    with pytest.raises(WaitTimeout, match="none was available") as error:
        await stream.connect("dublin", timeout=0.1, poll=POLL)
    assert error.value.last is None


@every_kind
async def test_connect_whose_assignment_fails_stops_its_machine(
    emulator: Emulator, stream: StreamRef
) -> None:
    task = asyncio.create_task(stream.connect("dublin", "NOBODY", poll=POLL))
    await boot(emulator)
    with pytest.raises(NotFoundError, match="User not found"):
        await task
    assert statuses(emulator) == ["terminated"]


async def test_connect_that_cannot_fetch_its_machine_stops_it(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add("GET */machines/*", Fault.reply(500, b"broken"), times=4)
    with pytest.raises(ServerError):
        await stream.connect("dublin", poll=POLL)
    assert statuses(emulator) == ["terminated"]


@every_kind
async def test_connect_does_not_stop_the_machine_if_the_answer_of_its_assignment_was_lost(
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


async def test_connect_does_not_stop_a_machine_that_another_visitor_got(
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
async def test_nothing_is_sent_if_an_argument_is_wrong(
    emulator: Emulator, stream: StreamRef, wrong: dict[str, Any]
) -> None:
    with pytest.raises(InvalidArgumentError):
        await stream.connect(**{"region": "dublin"} | wrong)
    assert not emulator.calls


async def test_connect_fails_if_its_machine_is_terminated(
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
async def test_cleanup_is_bounded(emulator: Emulator, stream: StreamRef) -> None:
    emulator.faults.add("POST *stop-machine", Fault.delay(0.5))
    with pytest.raises(WaitTimeout) as error:
        await stream.connect("dublin", timeout=0.3, poll=POLL)
    assert "TimeoutError" in error.value.__notes__[0]

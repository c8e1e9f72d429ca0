"""``stream.connect`` where a machine cannot be fetched, listed or read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.integration.streams_connect.deployment import (
    EARLY,
    POLL,
    STREAM,
    Deployment,
    boot,
    every_kind,
    notes_of,
    sent,
    statuses,
    until,
)
from vcloud import (
    DecodeError,
    InsufficientFundsError,
    InvalidRequestError,
    NotFoundError,
    ServerError,
    WaitTimeout,
)
from vcloud.emulator import Emulator, Fault
from vcloud.providers.streams import (
    ConnectionStatus,
    StreamRef,
)


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


async def test_a_machine_that_can_be_neither_fetched_nor_listed_is_named_and_not_stopped(
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


async def test_a_machine_without_a_status_is_named_and_not_stopped(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add("GET */machines/*", Fault.missing("connection_status"), times=None)
    with pytest.raises(DecodeError, match="connection_status") as error:
        await stream.connect("dublin", poll=POLL)
    (machine,) = emulator.streams.machines
    assert error.value.outcome_unknown
    assert f"machine {machine} was started for this call" in notes_of(error.value)
    assert sent(emulator, "POST", "/stop-machine") == 0


async def test_a_machine_that_another_visitor_has_by_the_list_is_not_stopped(
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
async def test_an_assignment_refused_by_a_gateway_is_not_sent_again(
    emulator: Emulator, stream: StreamRef, deployment: Deployment, status: int
) -> None:
    deployment.kind = EARLY
    emulator.faults.add("POST *assign-machine", Fault.reply(status, b"gateway", processed=True))
    with pytest.raises((NotFoundError, InvalidRequestError)) as error:
        await stream.connect("dublin", poll=POLL)
    (machine,) = emulator.streams.machines
    assert error.value.outcome_unknown
    assert f"machine {machine} was started for this" in notes_of(error.value)
    assert deployment.asked == 1


async def test_a_machine_that_cannot_be_read_does_not_hide_the_others(
    emulator: Emulator, stream: StreamRef
) -> None:
    def spoil(answer: dict[str, Any]) -> dict[str, Any]:
        answer["machines"][0]["attributes"]["duration"] = "a while"
        return answer

    emulator.streams.add_machine(1381, status="connected")
    machine = emulator.streams.add_machine(1381, status="available")
    emulator.faults.add(f"GET */streams/{STREAM}/machines", Fault.edit(spoil), times=None)
    assert (await stream.connect("dublin", poll=POLL)).machine.id == str(machine.id)


async def test_a_list_that_cannot_be_read_at_all_ends_connect(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add(
        f"GET */streams/{STREAM}/machines",
        Fault.edit(lambda answer: {**answer, "machines": 1}),
        times=None,
    )
    with pytest.raises(DecodeError):
        await stream.connect("dublin", poll=POLL)


async def test_a_timeout_before_the_first_poll_says_nothing_about_machines(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add(f"GET */streams/{STREAM}/machines", Fault.stall_headers())
    with pytest.raises(WaitTimeout, match="had not yet listed its machines"):
        await stream.connect("dublin", timeout=0.1, poll=POLL)


async def test_a_timeout_while_an_available_machine_is_refused_says_so(
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


async def test_connect_stops_the_machine_exchanged_for_its_own(
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

"""Machines of Vagon Streams in the emulator, over a socket with signatures."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from vcloud import (
    CapacityError,
    ConflictError,
    InsufficientFundsError,
    TransportError,
    VagonCode,
    WaitFailed,
    WaitTimeout,
)
from vcloud._core.instances import Controllable, InstanceState
from vcloud.emulator import Emulator, Fault
from vcloud.providers.streams import (
    Capacity,
    CapacityType,
    ConnectionStatus,
    Region,
    Stream,
    StreamRef,
    VagonStreams,
)

APPLICATION = "1143"
STREAM = "1381"
POLL = 0.002


async def test_a_machine_from_its_start_to_a_visit_in_the_statistics(
    emulator: Emulator, client: VagonStreams, stream: StreamRef
) -> None:
    user = await client.users.create("visitor@vendor.com")
    machine = await stream.start_machine(Region.DUBLIN)
    assert (machine.connection_status, machine.duration, machine.cost) == (
        ConnectionStatus.WAITING,
        timedelta(0),
        Decimal("0.0"),
    )
    emulator.clock.advance(14)
    assert (await machine.refresh()).connection_status is ConnectionStatus.WAITING
    emulator.clock.advance(1)
    assert (await machine.wait_until("available", poll=POLL)).duration == timedelta(seconds=15)
    assignment = await stream.assign_machine("dublin", user.id)
    assert assignment.machine.id == machine.id
    assert assignment.machine.connection_status is ConnectionStatus.ASSIGNED
    emulator.streams.visitor_opens(machine.id)
    emulator.clock.advance(210)
    assert (await machine.refresh()).connection_status is ConnectionStatus.CONNECTED
    emulator.streams.visitor_leaves(machine.id)
    emulator.clock.advance(3600)
    assert machine.uid is not None
    ended = await client.machines.get(machine.uid)
    assert (ended.connection_status, ended.duration) == (
        ConnectionStatus.TERMINATED,
        timedelta(seconds=525),
    )
    assert (ended.cost, ended.status, ended.friendly_status) == (Decimal("0.247"), "stopped", "off")
    assert ended.start_at is not None
    # Nobody came within the five minutes of its auto turn-off.
    assert ended.end_at == ended.start_at + timedelta(seconds=525)
    await check_visit(client, stream)


async def check_visit(client: VagonStreams, stream: StreamRef) -> None:
    (visit,) = await client.sessions.list(stream_id=STREAM).all()
    assert (visit.duration, visit.readable_duration) == (timedelta(minutes=4), "4 minutes")
    assert (visit.customer, visit.city) == ("CUS_9150", None)
    await stream.configure(collect_info=True)
    visit_with_data = await client.sessions.list().first()
    assert visit_with_data is not None
    assert (visit_with_data.customer, visit_with_data.city) == (
        "visitor@vendor.com",
        "San Francisco",
    )


async def test_data_that_was_not_collected_is_absent_and_read_as_none(
    emulator: Emulator, client: VagonStreams, stream: StreamRef
) -> None:
    machine = emulator.streams.add_machine(1381, status="available")
    await stream.assign_machine("dublin")
    emulator.streams.visitor_opens(
        machine.id, ping=None, audio_state=None, audio_input=False, audio_output=False
    )
    await client.machines.ref(str(machine.id)).stop()
    (visit,) = await client.sessions.list().all()
    assert not {"ping", "audio_state", "audio_input", "audio_output"} & set(visit.raw["attributes"])
    assert (visit.ping, visit.audio_state, visit.audio_input, visit.audio_output) == (
        None,
        None,
        None,
        None,
    )


async def test_a_wait_for_a_stopped_machine_fails_and_it_cannot_be_stopped_again(
    client: VagonStreams, stream: StreamRef
) -> None:
    machine = await stream.start_machine("dublin")
    await client.machines.ref(machine.id).stop()
    with pytest.raises(WaitFailed) as failed:
        await machine.wait_until("available", poll=POLL)
    assert failed.value.last == "terminated"
    assert (await machine.wait_until("terminated", poll=POLL)).end_at is not None
    with pytest.raises(ConflictError) as error:
        await machine.stop()
    assert error.value.code == VagonCode.MACHINE_NOT_RUNNING


async def test_a_wait_that_times_out_names_the_last_status(
    client: VagonStreams, stream: StreamRef
) -> None:
    machine = await stream.start_machine("dublin")
    with pytest.raises(WaitTimeout) as error:
        await machine.wait_until(["available", "assigned"], timeout=0.3, poll=POLL)
    assert error.value.last == "waiting"


async def test_the_view_of_a_running_machine_starts_and_assigns_no_other(
    emulator: Emulator, client: VagonStreams, stream: StreamRef
) -> None:
    await stream.start_machine("dublin")
    (instance,) = await client.instances().all()
    for verb in ("start", "connect_url"):
        assert not hasattr(instance.resource, verb)
        assert not hasattr(client.machines.ref(instance.id), verb)
    assert isinstance(instance.resource, Controllable)
    await instance.resource.stop()
    assert [machine.id for machine in emulator.streams.machines.values()] == [int(instance.id)]


@pytest.mark.parametrize("email", [None, "", "visitor@vendor.com"])
async def test_a_visitor_needs_no_email(
    emulator: Emulator, client: VagonStreams, email: str | None
) -> None:
    user = await client.users.create(email)
    assert (user.email or "") == (email or "")
    emulator.faults.add(
        "POST */users",
        Fault.edit(lambda answer: {**answer, "attributes": {"email": ""}}),
    )
    assert (await client.users.create(email)).email == ""


async def test_instances_are_the_machines_that_have_not_ended(
    emulator: Emulator, client: VagonStreams
) -> None:
    states = {
        "waiting": InstanceState.STARTING,
        "available": InstanceState.RUNNING,
        "assigned": InstanceState.RUNNING,
        "connected": InstanceState.RUNNING,
        "proxy-in-migration": InstanceState.MAINTENANCE,
        "half-asleep": InstanceState.UNKNOWN,
    }
    for status in (*states, "terminated"):
        machine = emulator.streams.add_machine(1381)
        emulator.streams.set_status(machine.id, status)  # this one takes words of tomorrow
    found = await client.instances().all()
    assert [instance.state for instance in found] == list(reversed(states.values()))
    assert {(instance.provider, instance.name, instance.region) for instance in found} == {
        ("streams", "Stream #1381", "dublin")
    }
    assert all(isinstance(instance.resource, Controllable) for instance in found)
    await found[-1].resource.stop()


# -- capacity --------------------------------------------------------------------------------------


async def test_balanced_streams_keep_one_machine_free_and_always_on_ones_keep_all_on(
    emulator: Emulator, client: VagonStreams
) -> None:
    async def make(capacity_type: CapacityType) -> Stream:
        return await client.streams.create(
            APPLICATION, capacities=[Capacity("oregon", 3)], capacity_type=capacity_type
        )

    for capacity_type, kept in (
        (CapacityType.ON_DEMAND, 0),
        (CapacityType.BALANCED, 1),
        (CapacityType.ALWAYS_ON, 3),
    ):
        stream = await make(capacity_type)
        assert len(await stream.machines().all()) == kept
        emulator.clock.advance(15)
        (capacity,) = (await stream.refresh()).capacities or ()
        assert (capacity.used_capacity, capacity.assignable_machine_count) == (kept, kept)
        if kept:
            with pytest.raises(ConflictError, match="cost optimized") as error:
                await stream.start_machine("oregon")
            assert error.value.code == VagonCode.NOT_COST_OPTIMIZED
            await stream.assign_machine("oregon")
            # Balanced starts the next one; with always_on all were on already.
            assert len(await stream.machines().all()) == max(2, kept)


async def test_after_a_visit_an_always_on_machine_gets_ready_for_the_next(
    emulator: Emulator, client: VagonStreams
) -> None:
    stream = await client.streams.create(
        APPLICATION, capacities=[Capacity("oregon", 1)], capacity_type="always_on"
    )
    emulator.clock.advance(15)
    machine = (await stream.assign_machine("oregon")).machine
    emulator.streams.visitor_opens(machine.id)
    emulator.streams.visitor_leaves(machine.id)
    assert (await machine.refresh()).connection_status is ConnectionStatus.PROXY_IN_MIGRATION
    emulator.clock.advance(10)
    assert (await machine.refresh()).connection_status is ConnectionStatus.AVAILABLE
    await machine.stop()
    assert [one.connection_status for one in await stream.machines().all()] == [
        "waiting",
        "terminated",
    ]


async def test_a_start_is_refused_if_capacity_or_balance_is_used_up(
    emulator: Emulator, stream: StreamRef
) -> None:
    await stream.configure(capacities=[Capacity("dublin", 1)])
    await stream.start_machine("dublin")
    for region in ("dublin", "oregon"):
        with pytest.raises(CapacityError) as error:
            await stream.start_machine(region)
        assert error.value.code == VagonCode.CAPACITY_UNAVAILABLE
    await stream.assign_machine("dublin")
    with pytest.raises(CapacityError):
        await stream.assign_machine("dublin")
    emulator.organization.balance = Decimal(0)
    with pytest.raises(InsufficientFundsError):
        await stream.start_machine("dublin")


async def test_a_lost_answer_does_not_start_two_machines(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add("POST *start-machine", Fault.reset_after())
    with pytest.raises(TransportError) as error:
        await stream.start_machine("dublin")
    assert error.value.outcome_unknown
    assert len(emulator.streams.machines) == 1

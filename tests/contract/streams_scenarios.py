"""Everything that each Streams operation can send and receive, over a socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from vcloud.emulator import Emulator, Fault
from vcloud.providers.streams import (
    AudioState,
    AutoTurnOffDuration,
    Capacity,
    CapacityType,
    ConnectionStatus,
    DockPosition,
    IdleDuration,
    KeyMapping,
    MachineType,
    MaximumSessionDuration,
    MediaActivation,
    Region,
    Resolution,
    StreamRef,
    VagonStreams,
)

PREFIX = "/app-stream-management/v2"
APPLICATION, OTHER, STREAM = "1143", "1144", "1381"
EVERYWHERE = [Capacity(region, 5) for region in Region]


def put(emulator: Emulator, route: str, *path: str | int, value: object) -> None:
    """Make the next answer carry a value that the emulator's own rules would not produce there."""

    def edit(answer: dict[str, Any]) -> dict[str, Any]:
        place: Any = answer
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        return answer

    emulator.faults.add(route, Fault.edit(edit))


def stream(client: VagonStreams) -> StreamRef:
    return client.streams.ref(STREAM)


async def _applications(client: VagonStreams, emulator: Emulator) -> None:
    first, second = await client.applications.list(page=1, per_page=1).all()
    assert (first.id, first.friendly_status, first.performance) == (APPLICATION, "live", "Pro - G2")
    assert (second.id, second.friendly_status, second.performance) == (
        OTHER,
        "no_streams",
        "Starter",
    )
    assert first.active_executable is not None
    assert first.active_executable.file == "Application.zip"


async def _configure_application(client: VagonStreams, emulator: Emulator) -> None:
    application = client.applications.ref(APPLICATION)
    assert (await application.configure(application_name="New name")).name == "New name"
    for mapping in KeyMapping:
        await application.configure(
            key_mapping_selection=mapping, changeable_key_mapping=mapping is KeyMapping.CLICK
        )
        assert emulator.streams.applications[int(APPLICATION)].key_mapping_selection == mapping
    named = {
        MachineType.STARTER: "Starter",
        MachineType.PRO: "Pro",
        MachineType.STARTER_G2: "Starter - G2",
        MachineType.PRO_G2: "Pro - G2",
    }
    for machine_type, performance in named.items():
        assert (await application.configure(machine_type=machine_type)).performance == performance


async def _list_streams(client: VagonStreams, emulator: Emulator) -> None:
    emulator.streams.add_stream(int(APPLICATION))
    found = await client.streams.list(APPLICATION, page=1, per_page=1).all()
    assert [one.id for one in found] == [STREAM, "1382"]
    assert found[0].application is not None
    assert found[0].application.name == "Test Application"
    assert found[0].capacities is None
    assert await client.streams.list(OTHER).all() == []


async def _create(client: VagonStreams, emulator: Emulator) -> None:
    for capacity_type in CapacityType:
        made = await client.streams.create(
            APPLICATION, capacities=EVERYWHERE, capacity_type=capacity_type
        )
        assert made.capacities is not None
        assert [one.region for one in made.capacities] == list(Region)
        assert {
            (one.capacity_type, one.total_capacity, one.machine_type_id) for one in made.capacities
        } == {(capacity_type, 5, MachineType.PRO_G2)}
        assert {one.reserve_capacity for one in made.capacities} == {
            {CapacityType.ON_DEMAND: 0, CapacityType.BALANCED: 1, CapacityType.ALWAYS_ON: 5}[
                capacity_type
            ]
        }


async def _get(client: VagonStreams, emulator: Emulator) -> None:
    uid = emulator.streams.streams[int(STREAM)].uid
    found = await client.streams.get(uid)
    assert (found.id, found.uid) == (STREAM, uid)
    assert found.texts is not None
    assert found.texts.queue_text == "Waiting in queue"


async def _configure(client: VagonStreams, emulator: Emulator) -> None:
    ref = stream(client)
    assert [(await ref.configure(resolution=one)).resolution for one in Resolution] == list(
        Resolution
    )
    assert [(await ref.configure(sound=one)).sound for one in MediaActivation] == list(
        MediaActivation
    )
    assert [(await ref.configure(microphone=one)).microphone for one in MediaActivation] == list(
        MediaActivation
    )
    assert [(await ref.configure(dock_position=one)).dock_position for one in DockPosition] == list(
        DockPosition
    )
    assert [(await ref.configure(idle_duration=one)).idle_duration for one in IdleDuration] == list(
        IdleDuration
    )
    assert [
        (await ref.configure(auto_turn_off_duration=one)).auto_turn_off_duration
        for one in AutoTurnOffDuration
    ] == list(AutoTurnOffDuration)
    assert [
        (await ref.configure(maximum_session_duration=one)).maximum_session_duration
        for one in MaximumSessionDuration
    ] == list(MaximumSessionDuration)
    for capacity_type in CapacityType:
        await ref.configure(capacity_type=capacity_type, capacities=EVERYWHERE)
        assert emulator.streams.streams[int(STREAM)].capacity_type == capacity_type
    await _configure_texts_and_flags(ref)
    assert emulator.streams.streams[int(STREAM)].password == "open sesame"


async def _configure_texts_and_flags(ref: StreamRef) -> None:
    changed = await ref.configure(
        launch_arguments="-fullscreen",
        dark_mode=True,
        collect_info=True,
        password="open sesame",
        password_protection=True,
        keyboard_layout="de",
        user_session_data=True,
        boost_enabled=True,
        pixel_streaming_enabled=True,
        port_access_enabled=True,
    )
    assert (changed.launch_arguments, changed.keyboard_layout) == ("-fullscreen", "de")
    assert changed.dark_mode
    assert changed.collect_info
    assert changed.password_protection
    assert changed.user_session_data
    assert changed.boost_enabled
    assert changed.pixel_streaming_enabled
    assert changed.port_access_enabled


async def _stream_machines(client: VagonStreams, emulator: Emulator) -> None:
    for status in ConnectionStatus:
        emulator.streams.add_machine(int(STREAM), status=status)
    found = await stream(client).machines(page=1, per_page=2).all()
    assert [one.connection_status for one in found] == list(reversed(ConnectionStatus))


async def _start(client: VagonStreams, emulator: Emulator) -> None:
    await stream(client).configure(capacities=EVERYWHERE)
    for region in Region:
        machine = await stream(client).start_machine(region)
        assert (machine.region, machine.connection_status, machine.end_at) == (
            region,
            ConnectionStatus.WAITING,
            None,
        )
    for status in ConnectionStatus:
        put(emulator, "POST *start-machine", "attributes", "connection_status", value=status)
        assert (await stream(client).start_machine("dublin")).connection_status is status
        await stream(client).configure(capacities=[Capacity("dublin", 100)])


async def _assign(client: VagonStreams, emulator: Emulator) -> None:
    user = await client.users.create()
    for region in Region:
        machine = emulator.streams.add_machine(int(STREAM), region, "available")
        assignment = await stream(client).assign_machine(region, user.id)
        assert assignment.machine.id == str(machine.id)
        assert assignment.machine.connection_status is ConnectionStatus.ASSIGNED
        assert assignment.connection_link.startswith("https://")
        assert assignment.connection_link not in repr(assignment)
    for status in ConnectionStatus:
        emulator.streams.add_machine(int(STREAM), status="available")
        put(
            emulator,
            "POST *assign-machine",
            "machine",
            "attributes",
            "connection_status",
            value=status,
        )
        assert (await stream(client).assign_machine("dublin")).machine.connection_status is status


async def _stop(client: VagonStreams, emulator: Emulator) -> None:
    machine = await stream(client).start_machine("dublin")
    await machine.stop()
    stopped = await machine.refresh()
    assert stopped.connection_status is ConnectionStatus.TERMINATED
    assert stopped.end_at is not None


async def _create_user(client: VagonStreams, emulator: Emulator) -> None:
    assert (await client.users.create("visitor@vendor.com")).email == "visitor@vendor.com"
    assert (await client.users.create()).email is None


async def _delete_user(client: VagonStreams, emulator: Emulator) -> None:
    await client.users.ref((await client.users.create()).id).delete()
    assert emulator.streams.users == {}


async def _machines(client: VagonStreams, emulator: Emulator) -> None:
    before = datetime.now(UTC) - timedelta(days=1)
    other = emulator.streams.add_stream(int(OTHER))
    emulator.streams.add_machine(other.id)
    for status in ConnectionStatus:
        emulator.streams.add_machine(int(STREAM), status=status)
    found = await client.machines.list(
        start_at=before,
        end_at=before + timedelta(days=2),
        page=1,
        per_page=2,
        application_id=APPLICATION,
        stream_id=STREAM,
    ).all()
    assert [one.connection_status for one in found] == list(reversed(ConnectionStatus))
    assert len(await client.machines.list().all()) == 7
    assert await client.machines.list(end_at=before).all() == []
    assert [one.stream_id for one in await client.machines.list(application_id=OTHER).all()] == [
        str(other.id)
    ]


async def _machine(client: VagonStreams, emulator: Emulator) -> None:
    for status in ConnectionStatus:
        machine = emulator.streams.add_machine(int(STREAM), status=status)
        found = await client.machines.get(machine.uid)
        assert (found.id, found.connection_status) == (str(machine.id), status)


async def _sessions(client: VagonStreams, emulator: Emulator) -> None:
    before = datetime.now(UTC) - timedelta(days=1)
    for state in AudioState:
        machine = emulator.streams.add_machine(int(STREAM), status="available")
        await stream(client).assign_machine("dublin")
        emulator.streams.visitor_opens(machine.id, audio_state=str(state), ping=78.625)
        await client.machines.ref(str(machine.id)).stop()
    found = await client.sessions.list(
        start_at=before,
        end_at=before + timedelta(days=2),
        page=1,
        per_page=2,
        application_id=APPLICATION,
        stream_id=STREAM,
    ).all()
    assert [one.audio_state for one in found] == list(reversed(AudioState))
    assert {(one.ping, one.duration, one.city) for one in found} == {
        (78.625, timedelta(minutes=1), None)
    }


SCENARIOS: dict[str, Callable[[VagonStreams, Emulator], Awaitable[None]]] = {
    "applications.list": _applications,
    "applications.update": _configure_application,
    "streams.list": _list_streams,
    "streams.create": _create,
    "streams.get": _get,
    "streams.update": _configure,
    "streams.machines.list": _stream_machines,
    "streams.start_machine": _start,
    "streams.assign_machine": _assign,
    "streams.stop_machine": _stop,
    "users.create": _create_user,
    "users.delete": _delete_user,
    "machines.list": _machines,
    "machines.get": _machine,
    "sessions.list": _sessions,
}

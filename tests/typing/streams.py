"""What a type checker knows of Vagon Streams. mypy and pyright read this; nothing here runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, assert_type

from vcloud import Instance, Pager, Stats, VagonStreams
from vcloud.providers.streams import (
    Application,
    ApplicationRef,
    Applications,
    Assignment,
    AudioDevice,
    AudioState,
    AutoTurnOffDuration,
    Capacity,
    CapacityType,
    ConnectionStatus,
    DockPosition,
    Executable,
    IdleDuration,
    MaximumSessionDuration,
    MediaActivation,
    Region,
    Resolution,
    Stream,
    StreamCapacity,
    StreamMachine,
    StreamMachineRef,
    StreamMachines,
    StreamRef,
    Streams,
    StreamTexts,
    User,
    UserRef,
    Users,
    VisitorSession,
    VisitorSessions,
)


async def client(streams: VagonStreams) -> None:
    assert_type(streams.applications, Applications)
    assert_type(streams.streams, Streams)
    assert_type(streams.machines, StreamMachines)
    assert_type(streams.users, Users)
    assert_type(streams.sessions, VisitorSessions)
    assert_type(streams.instances(), Pager[Instance])
    assert_type(streams.stats(), Stats)
    assert_type(streams.with_options(timeout=5), VagonStreams)


async def collections(streams: VagonStreams) -> None:
    assert_type(streams.streams.list("1"), Pager[Stream])
    assert_type(await streams.streams.get("1"), Stream)
    assert_type(await streams.streams.create(1, capacities=[Capacity("dublin", 2)]), Stream)
    assert_type(streams.streams.ref("1", uid="2"), StreamRef)
    assert_type(streams.machines.list(start_at="2026-01-01"), Pager[StreamMachine])
    assert_type(await streams.machines.get("1"), StreamMachine)
    assert_type(streams.machines.ref("1"), StreamMachineRef)
    assert_type(await streams.machines.find("1"), StreamMachine | None)
    assert_type(await streams.applications.find("name"), Application | None)
    assert_type(streams.applications.list(), Pager[Application])
    assert_type(streams.applications.ref(1), ApplicationRef)
    assert_type(streams.sessions.list(end_at=datetime(2026, 1, 1)), Pager[VisitorSession])
    assert_type(await streams.users.create(), User)
    assert_type(streams.users.ref("1"), UserRef)
    assert_type(await streams.users.ref("1").delete(), None)


async def applications(application: ApplicationRef) -> None:
    assert_type(
        await application.configure(machine_type=3, key_mapping_selection="standard"),
        Application,
    )


async def streams(stream: StreamRef, user: User) -> None:
    assert_type(await stream.refresh(), Stream)
    assert_type(await stream.configure(dark_mode=True), Stream)
    assert_type(stream.machines(), Pager[StreamMachine])
    assert_type(await stream.start_machine(Region.DUBLIN), StreamMachine)
    assert_type(await stream.assign_machine("dublin", 7), Assignment)
    assert_type(await stream.connect("dublin", user, timeout=60), Assignment)


async def objects(
    streams: VagonStreams, application: Application, stream: Stream, user: User
) -> None:
    assert_type(streams.streams.list(application), Pager[Stream])
    assert_type(await streams.streams.create(application), Stream)
    assert_type(await stream.assign_machine("dublin", user), Assignment)
    assert_type(await stream.assign_machine("dublin", user_id=user), Assignment)
    assert_type(
        streams.machines.list(application_id=application, stream_id=stream), Pager[StreamMachine]
    )
    assert_type(streams.streams.ref(stream), StreamRef)
    assert_type(await streams.streams.get(stream), Stream)
    streams.streams.list(user)  # type: ignore[arg-type]


async def machines(machine: StreamMachineRef) -> None:
    assert_type(await machine.refresh(), StreamMachine)
    assert_type(await machine.stop(), None)
    assert_type(await machine.wait_until("running"), StreamMachine)


def application_fields(value: Application) -> None:
    assert_type(value.id, str)
    assert_type(value.name, str | None)
    assert_type(value.status, str | None)
    assert_type(value.banner_url, str | None)
    assert_type(value.logo_url, str | None)
    assert_type(value.friendly_status, str | None)
    assert_type(value.os, str | None)
    assert_type(value.active_executable, Executable | None)
    assert_type(value.performance, str | None)
    assert_type(value.enterprise, Any)
    assert_type(value.pro, Any)
    assert_type(value.raw, dict[str, Any])


def assignment_fields(value: Assignment) -> None:
    assert_type(value.machine, StreamMachine)
    assert_type(value.connection_link, str)


def audio_device_fields(value: AudioDevice) -> None:
    assert_type(value.kind, str | None)
    assert_type(value.label, str | None)
    assert_type(value.groupId, str | None)
    assert_type(value.deviceId, str | None)


def capacity_fields(value: Capacity) -> None:
    assert_type(value.region, Region | str)
    assert_type(value.total_capacity, int)


def executable_fields(value: Executable) -> None:
    assert_type(value.id, str)
    assert_type(value.executable_name, str | None)
    assert_type(value.launch_arguments, str | None)
    assert_type(value.restart_arguments, str | None)
    assert_type(value.file, str | None)
    assert_type(value.version, int | None)
    assert_type(value.active, bool | None)
    assert_type(value.created_at, datetime | None)
    assert_type(value.images, tuple[Any, ...])


def stream_fields(value: Stream) -> None:
    assert_type(value.id, str)
    assert_type(value.uid, str | None)
    assert_type(value.status, str | None)
    assert_type(value.resolution, Resolution | None)
    assert_type(value.collect_info, bool | None)
    assert_type(value.dark_mode, bool | None)
    assert_type(value.password_protection, bool | None)
    assert_type(value.sound, MediaActivation | None)
    assert_type(value.microphone, MediaActivation | None)
    assert_type(value.launch_arguments, str | None)
    assert_type(value.dock_position, DockPosition | None)
    assert_type(value.keyboard_layout, str | None)
    assert_type(value.user_session_data, bool | None)
    assert_type(value.boost_enabled, bool | None)
    assert_type(value.pixel_streaming_enabled, bool | None)
    assert_type(value.port_access_enabled, bool | None)
    assert_type(value.maximum_session_duration, MaximumSessionDuration | None)
    assert_type(value.idle_duration, IdleDuration | None)
    assert_type(value.auto_turn_off_duration, AutoTurnOffDuration | None)
    assert_type(value.capacities, tuple[StreamCapacity, ...] | None)
    assert_type(value.texts, StreamTexts | None)
    assert_type(value.application, Application | None)
    assert_type(value.in_active_time_range, bool | None)
    assert_type(value.raw, dict[str, Any])


def stream_ref_fields(value: StreamRef) -> None:
    assert_type(value.id, str)
    assert_type(value.uid, str | None)
    assert_type(value.raw, dict[str, Any])


def stream_capacity_fields(value: StreamCapacity) -> None:
    assert_type(value.id, str)
    assert_type(value.region, Region | None)
    assert_type(value.machine_type_id, int | None)
    assert_type(value.capacity_type, CapacityType | None)
    assert_type(value.reserve_capacity, int | None)
    assert_type(value.total_capacity, int | None)
    assert_type(value.used_capacity, int | None)
    assert_type(value.assignable_machine_count, int | None)


def stream_machine_fields(value: StreamMachine) -> None:
    assert_type(value.id, str)
    assert_type(value.uid, str | None)
    assert_type(value.start_at, datetime | None)
    assert_type(value.end_at, datetime | None)
    assert_type(value.status, str | None)
    assert_type(value.friendly_status, str | None)
    assert_type(value.connection_status, ConnectionStatus | None)
    assert_type(value.region, Region | None)
    assert_type(value.cost, Decimal | None)
    assert_type(value.duration, timedelta | None)
    assert_type(value.application_name, str | None)
    assert_type(value.application_id, str | None)
    assert_type(value.stream_id, str | None)
    assert_type(value.stream_name, str | None)
    assert_type(value.machine_type, str | None)
    assert_type(value.public_ip_address, str | None)
    assert_type(value.raw, dict[str, Any])


def stream_machine_ref_fields(value: StreamMachineRef) -> None:
    assert_type(value.id, str)
    assert_type(value.uid, str | None)
    assert_type(value.raw, dict[str, Any])


def stream_texts_fields(value: StreamTexts) -> None:
    assert_type(value.initializing_text, str | None)
    assert_type(value.session_expired_text, str | None)
    assert_type(value.invalid_email_text, str | None)
    assert_type(value.invalid_password_text, str | None)
    assert_type(value.not_active_text, str | None)
    assert_type(value.reconnect_text, str | None)
    assert_type(value.queue_text, str | None)
    assert_type(value.installing_application_text, str | None)
    assert_type(value.connecting_text, str | None)
    assert_type(value.idle_text, str | None)


def user_fields(value: User) -> None:
    assert_type(value.id, str)
    assert_type(value.email, str | None)
    assert_type(value.raw, dict[str, Any])


def visitor_session_fields(value: VisitorSession) -> None:
    assert_type(value.id, str)
    assert_type(value.start_at, datetime | None)
    assert_type(value.end_at, datetime | None)
    assert_type(value.region, Region | None)
    assert_type(value.ping, float | None)
    assert_type(value.audio_state, AudioState | None)
    assert_type(value.audio_input, AudioDevice | None)
    assert_type(value.audio_output, AudioDevice | None)
    assert_type(value.duration, timedelta | None)
    assert_type(value.readable_duration, str | None)
    assert_type(value.city, str | None)
    assert_type(value.country, str | None)
    assert_type(value.os, str | None)
    assert_type(value.device_type, str | None)
    assert_type(value.customer, str | None)
    assert_type(value.application_name, str | None)
    assert_type(value.application_id, str | None)
    assert_type(value.stream_id, str | None)
    assert_type(value.stream_name, str | None)
    assert_type(value.machine_type, str | None)
    assert_type(value.raw, dict[str, Any])

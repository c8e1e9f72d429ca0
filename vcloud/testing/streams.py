"""Factories for the models of Vagon Streams."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypedDict, Unpack

from vcloud.providers.streams import (
    Application,
    Assignment,
    AudioDevice,
    AudioState,
    AutoTurnOffDuration,
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
    StreamTexts,
    User,
    VisitorSession,
)
from vcloud.testing.building import (
    EARLIER,
    NOW,
    checked,
    filled,
    new_id,
    new_number,
    new_uuid,
)

HOUR = timedelta(hours=1)

#: ``status`` and ``friendly_status`` of a machine that neither boots nor has ended.
RUNNING: Final = ("running", "ready")
STATUSES: Final = {
    ConnectionStatus.WAITING: ("pending", "turning_on"),
    ConnectionStatus.TERMINATED: ("stopped", "off"),
}
APPLICATION: Final = "Test Application"


class ApplicationFields(TypedDict, total=False):
    """The fields of :func:`make_application`."""

    id: str | int
    name: str | None
    status: str | None
    banner_url: str | None
    logo_url: str | None
    friendly_status: str | None
    os: str | None
    active_executable: Executable | None
    performance: str | None
    enterprise: Any
    pro: Any


def make_application(**fields: Unpack[ApplicationFields]) -> Application:
    """An application with a stream. Ids count up from 1143."""
    given = checked("make_application", ApplicationFields, fields)
    given["id"] = new_id(given, "application", 1143)
    values = filled(
        given,
        name=APPLICATION,
        status="active",
        banner_url=None,
        logo_url=None,
        friendly_status="live",
        os="windows",
        active_executable=make_executable,
        performance="Pro - G2",
    )
    return Application(**values)


class ExecutableFields(TypedDict, total=False):
    """The fields of :func:`make_executable`."""

    id: str | int
    executable_name: str | None
    launch_arguments: str | None
    restart_arguments: str | None
    file: str | None
    version: int | None
    active: bool | None
    created_at: datetime | str | None
    images: Sequence[Any]


def make_executable(**fields: Unpack[ExecutableFields]) -> Executable:
    """The version of an application that streams use."""
    given = checked("make_executable", ExecutableFields, fields)
    given["id"] = new_id(given, "executable", 1222)
    values = filled(
        given,
        executable_name="Application",
        launch_arguments=None,
        restart_arguments=None,
        file="Application.zip",
        version=1,
        active=True,
        created_at=EARLIER,
    )
    return Executable(**values)


class StreamFields(TypedDict, total=False):
    """The fields of :func:`make_stream`."""

    id: str | int
    uid: str | None
    status: str | None
    resolution: Resolution | str | None
    collect_info: bool | None
    dark_mode: bool | None
    password_protection: bool | None
    sound: MediaActivation | str | None
    microphone: MediaActivation | str | None
    launch_arguments: str | None
    dock_position: DockPosition | str | None
    keyboard_layout: str | None
    user_session_data: bool | None
    boost_enabled: bool | None
    pixel_streaming_enabled: bool | None
    port_access_enabled: bool | None
    maximum_session_duration: MaximumSessionDuration | str | None
    idle_duration: IdleDuration | str | None
    auto_turn_off_duration: AutoTurnOffDuration | str | None
    capacities: Sequence[StreamCapacity] | None
    texts: StreamTexts | None
    application: Application | None
    in_active_time_range: bool | None


def make_stream(**fields: Unpack[StreamFields]) -> Stream:
    """A stream as ``refresh`` returns it, with capacities and texts. Ids count up from 1381."""
    given = checked("make_stream", StreamFields, fields)
    given["id"] = new_id(given, "stream", 1381)
    values = filled(
        given,
        uid=lambda: new_uuid("stream", "110e8400"),
        status="active",
        resolution=Resolution.P1080,
        collect_info=False,
        dark_mode=None,
        password_protection=False,
        sound=MediaActivation.USER_CAN_ACTIVATE,
        microphone=MediaActivation.USER_CAN_ACTIVATE,
        launch_arguments=None,
        dock_position=DockPosition.BOTTOM,
        keyboard_layout=None,
        user_session_data=False,
        boost_enabled=False,
        pixel_streaming_enabled=False,
        port_access_enabled=False,
        maximum_session_duration=MaximumSessionDuration.OFF,
        idle_duration=IdleDuration.OFF,
        auto_turn_off_duration=AutoTurnOffDuration.MIN_5,
        capacities=lambda: (make_stream_capacity(),),
        texts=make_stream_texts,
        application=make_application,
        in_active_time_range=True,
    )
    return Stream(**values)


class StreamCapacityFields(TypedDict, total=False):
    """The fields of :func:`make_stream_capacity`."""

    id: str
    region: Region | str | None
    machine_type_id: int | None
    capacity_type: CapacityType | str | None
    reserve_capacity: int | None
    total_capacity: int | None
    used_capacity: int | None
    assignable_machine_count: int | None


def make_stream_capacity(**fields: Unpack[StreamCapacityFields]) -> StreamCapacity:
    """The capacity of a cost-optimized stream in a region, none of it used."""
    given = checked("make_stream_capacity", StreamCapacityFields, fields)
    region = given.setdefault("region", Region.DUBLIN)
    values = filled(
        given,
        id="" if region is None else str(region),
        machine_type_id=13,
        capacity_type=CapacityType.ON_DEMAND,
        reserve_capacity=0,
        total_capacity=10,
        used_capacity=0,
        assignable_machine_count=0,
    )
    return StreamCapacity(**values)


class StreamTextsFields(TypedDict, total=False):
    """The fields of :func:`make_stream_texts`."""

    initializing_text: str | None
    session_expired_text: str | None
    invalid_email_text: str | None
    invalid_password_text: str | None
    not_active_text: str | None
    reconnect_text: str | None
    queue_text: str | None
    installing_application_text: str | None
    connecting_text: str | None
    idle_text: str | None


def make_stream_texts(**fields: Unpack[StreamTextsFields]) -> StreamTexts:
    """The texts that the visitors of a stream see."""
    given = checked("make_stream_texts", StreamTextsFields, fields)
    values = filled(
        given,
        initializing_text="Initializing Stream",
        session_expired_text="Session expired, you can reconnect again.",
        invalid_email_text="Visitor information is invalid, contact your system admin.",
        invalid_password_text="Stream password is incorrect.",  # noqa: S106 - a text, no password
        not_active_text="Stream is not active at the moment.",
        reconnect_text="Connection expired, you can reconnect again.",
        queue_text="Waiting in queue",
        installing_application_text="Installing Application",
        connecting_text="Connecting...",
        idle_text="Connection expired due to inactivity.",
    )
    return StreamTexts(**values)


class StreamMachineFields(TypedDict, total=False):
    """The fields of :func:`make_stream_machine`."""

    id: str | int
    uid: str | None
    start_at: datetime | str | None
    end_at: datetime | str | None
    status: str | None
    friendly_status: str | None
    connection_status: ConnectionStatus | str | None
    region: Region | str | None
    cost: Decimal | str | int | None
    duration: timedelta | float | None
    application_name: str | None
    application_id: str | int | None
    stream_id: str | int | None
    stream_name: str | None
    machine_type: str | None
    public_ip_address: str | None


def make_stream_machine(**fields: Unpack[StreamMachineFields]) -> StreamMachine:
    """A machine of a stream, by default one that was started an hour ago and is available.

    Ids count up from 94683. One that is ``terminated`` has ended now.
    """
    given = checked("make_stream_machine", StreamMachineFields, fields)
    given["id"] = new_id(given, "stream machine", 94683)
    state = given.get("connection_status", ConnectionStatus.AVAILABLE)
    status, friendly_status = STATUSES.get(state, RUNNING)
    stream_id = given.setdefault("stream_id", "1381")
    start = given.setdefault("start_at", NOW - HOUR)
    end = given.setdefault("end_at", NOW if state == ConnectionStatus.TERMINATED else None)
    values = filled(
        given,
        uid=lambda: new_uuid("stream machine", "220e8400"),
        status=status,
        friendly_status=friendly_status,
        connection_status=state,
        region=Region.DUBLIN,
        cost=Decimal("1.70"),
        duration=timedelta() if start is None else max(timedelta(), (end or NOW) - start),
        application_name=APPLICATION,
        application_id="1143",
        stream_name=f"Stream #{stream_id}",
        machine_type="Pro - G2",
        public_ip_address=None,
    )
    return StreamMachine(**values)


class AssignmentFields(TypedDict, total=False):
    """The fields of :func:`make_assignment`."""

    machine: StreamMachine
    connection_link: str


def make_assignment(**fields: Unpack[AssignmentFields]) -> Assignment:
    """A machine that was assigned, with a link that opens nothing."""
    given = checked("make_assignment", AssignmentFields, fields)
    machine = given.get("machine") or make_stream_machine(
        connection_status=ConnectionStatus.ASSIGNED
    )
    given["machine"] = machine
    link = f"https://sb-app.vagon.io/stream/{machine.uid}"
    return Assignment(**filled(given, connection_link=link))


class VisitorSessionFields(TypedDict, total=False):
    """The fields of :func:`make_visitor_session`."""

    id: str | int
    start_at: datetime | str | None
    end_at: datetime | str | None
    region: Region | str | None
    ping: float | None
    audio_state: AudioState | str | None
    audio_input: AudioDevice | None
    audio_output: AudioDevice | None
    duration: timedelta | float | None
    readable_duration: str | None
    city: str | None
    country: str | None
    os: str | None
    device_type: str | None
    customer: str | None
    application_name: str | None
    application_id: str | int | None
    stream_id: str | int | None
    stream_name: str | None
    machine_type: str | None


def make_visitor_session(**fields: Unpack[VisitorSessionFields]) -> VisitorSession:
    """A visit of four minutes that has ended, of a stream that collects data of its visitors."""
    given = checked("make_visitor_session", VisitorSessionFields, fields)
    given["id"] = id = new_id(given, "visitor session", 9150)
    start = given.setdefault("start_at", NOW - HOUR)
    lasts = given.get("duration") or timedelta(minutes=4)
    end = given.setdefault("end_at", None if start is None else start + lasts)
    duration = timedelta() if start is None else (end or NOW) - start
    stream_id = given.setdefault("stream_id", "1381")
    values = filled(
        given,
        region=Region.DUBLIN,
        ping=98.0,
        audio_state=AudioState.MUTED,
        audio_input=make_audio_device,
        audio_output=lambda: make_audio_device(kind="audiooutput"),
        duration=duration,
        readable_duration=f"{duration // timedelta(minutes=1)} minutes",
        city="San Francisco",
        country="US",
        os="Windows 11",
        device_type="desktop",
        customer=f"CUS_{id}",
        application_name=APPLICATION,
        application_id="1143",
        stream_name=f"Stream #{stream_id}",
        machine_type="Pro - G2",
    )
    return VisitorSession(**values)


class AudioDeviceFields(TypedDict, total=False):
    """The fields of :func:`make_audio_device`."""

    kind: str | None
    label: str | None
    groupId: str | None
    deviceId: str | None


def make_audio_device(**fields: Unpack[AudioDeviceFields]) -> AudioDevice:
    """A visitor's microphone."""
    given = checked("make_audio_device", AudioDeviceFields, fields)
    return AudioDevice(**filled(given, kind="audioinput", label="", groupId="", deviceId="default"))


class StreamUserFields(TypedDict, total=False):
    """The fields of :func:`make_stream_user`."""

    id: str
    email: str | None


def make_stream_user(**fields: Unpack[StreamUserFields]) -> User:
    """A visitor, whom machines are assigned to."""
    given = checked("make_stream_user", StreamUserFields, fields)
    if "id" not in given:
        given["id"] = f"{0xA1B2C3D400 + new_number('stream user'):010X}"
    return User(**filled(given, email="visitor@example.com"))

"""Factories for the models of Vagon Computers."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypedDict, Unpack

from vcloud.providers.computers import (
    AccessLink,
    ActiveTask,
    BaseImage,
    ImageStatus,
    Machine,
    MachineSession,
    MachineStatus,
    MachineType,
    MachineUser,
    MachineUserAttributes,
    PermissionField,
    Permissions,
    Software,
    Task,
    TaskActivation,
    TaskResult,
    TaskStatus,
    UsageSource,
)
from vcloud.testing.building import EARLIER, NOW, checked, filled, new_id, new_uuid

HOUR = timedelta(hours=1)
GB = 1024**3

#: States in which somebody may be at the machine.
_IN_USE = frozenset({MachineStatus.READY, MachineStatus.GRACEFUL_STOPPING})


class MachineFields(TypedDict, total=False):
    """The fields of :func:`make_machine`."""

    id: str | int
    name: str | None
    last_session_start_at: datetime | str | None
    auto_stop_threshold: timedelta | float | None
    file_storage_size: int | None
    disk_size: int | None
    network_credit: int | None
    assigned_image_id: str | int | None
    assigned_image_name: str | None
    region: str | None
    machine_type: str | None
    remaining_usage: timedelta | float | None
    deposited_usage: timedelta | float | None
    friendly_status: MachineStatus | str | None
    user: MachineUser | None
    permissions: Permissions | None
    usage_source: UsageSource | str | None
    task: ActiveTask | None
    latest_image_status: ImageStatus | str | None


def make_machine(**fields: Unpack[MachineFields]) -> Machine:
    """A machine, by default one that is off and assigned to a user.

    Ids count up from 100. A machine that is ready has been in use for an hour.
    """
    given = checked("make_machine", MachineFields, fields)
    given["id"] = id = new_id(given, "machine", 100)
    status = given.get("friendly_status", MachineStatus.OFF)
    image = ImageStatus.READY if status == MachineStatus.OFF else ImageStatus.IN_USE
    used = NOW - HOUR if status in _IN_USE else NOW - 24 * HOUR
    values = filled(
        given,
        name=f"Computer #{id}",
        last_session_start_at=used,
        auto_stop_threshold=HOUR,
        file_storage_size=25,
        disk_size=75,
        network_credit=10 * GB,
        assigned_image_id=None,
        assigned_image_name=None,
        region="dublin",
        machine_type="Planet",
        remaining_usage=10 * HOUR,
        deposited_usage=timedelta(),
        friendly_status=status,
        user=lambda: make_machine_user(email=f"user{id}@example.com", name=f"User {id}"),
        permissions=make_permissions,
        usage_source=UsageSource.TEAM_BALANCE,
        task=make_active_task,
        latest_image_status=image,
    )
    return Machine(**values)


class MachineUserFields(TypedDict, total=False):
    """The fields of :func:`make_machine_user`; ``email`` and ``name`` are for ``attributes``."""

    id: str | None
    type: str | None
    attributes: MachineUserAttributes | None
    email: str | None
    name: str | None


def make_machine_user(**fields: Unpack[MachineUserFields]) -> MachineUser:
    """The user of a machine. ``email`` and ``name`` make the ``attributes``."""
    given = checked("make_machine_user", MachineUserFields, fields)
    known = {name: given.pop(name) for name in ("email", "name") if name in given}
    if known and "attributes" in given:
        raise TypeError("make_machine_user() takes either attributes, or email and name")
    return MachineUser(
        **filled(
            given,
            id=lambda: new_uuid("machine user", "990e8400"),
            type="user",
            attributes=lambda: make_machine_user_attributes(**known),
        )
    )


class MachineUserAttributesFields(TypedDict, total=False):
    """The fields of :func:`make_machine_user_attributes`."""

    email: str | None
    name: str | None


def make_machine_user_attributes(
    **fields: Unpack[MachineUserAttributesFields],
) -> MachineUserAttributes:
    """What is known of the user of a machine."""
    given = checked("make_machine_user_attributes", MachineUserAttributesFields, fields)
    return MachineUserAttributes(**filled(given, email="ann@example.com", name="Ann Example"))


class PermissionsFields(TypedDict, total=False):
    """The fields of :func:`make_permissions`."""

    public_internet_access: bool | None
    can_download_from_vagon_workstation: bool | None
    can_upload_to_workstation: bool | None
    analytics_collection_enabled: bool | None
    clipboard_enabled: bool | None
    screen_recording_enabled: bool | None
    input_recording_enabled: bool | None


def make_permissions(**fields: Unpack[PermissionsFields]) -> Permissions:
    """What the user of a machine may do: the documented defaults."""
    given = checked("make_permissions", PermissionsFields, fields)
    return Permissions(
        **filled(
            given,
            public_internet_access=True,
            can_download_from_vagon_workstation=True,
            can_upload_to_workstation=True,
            analytics_collection_enabled=False,
            clipboard_enabled=True,
            screen_recording_enabled=False,
            input_recording_enabled=False,
        )
    )


class ActiveTaskFields(TypedDict, total=False):
    """The fields of :func:`make_active_task`."""

    id: str | int | None
    uid: str | None
    created_at: datetime | str | None


def make_active_task(**fields: Unpack[ActiveTaskFields]) -> ActiveTask:
    """The active task of a machine: the default one."""
    given = checked("make_active_task", ActiveTaskFields, fields)
    return ActiveTask(
        **filled(given, id=lambda: new_id({}, "task", 1), uid="Outputs", created_at=EARLIER)
    )


class MachineTypeFields(TypedDict, total=False):
    """The fields of :func:`make_machine_type`."""

    id: str | int
    name: str | None
    friendly_name: str | None
    cpu: int | None
    memory: str | None
    gpu: int | None
    gpu_memory: str | None


def make_machine_type(**fields: Unpack[MachineTypeFields]) -> MachineType:
    """A hardware specification."""
    given = checked("make_machine_type", MachineTypeFields, fields)
    given["id"] = new_id(given, "machine type", 11)
    return MachineType(
        **filled(
            given,
            name="g4dn.xlarge",
            friendly_name="Planet",
            cpu=4,
            memory="16.0",
            gpu=1,
            gpu_memory="16.0",
        )
    )


class AccessLinkFields(TypedDict, total=False):
    """The fields of :func:`make_access_link`."""

    id: str | int
    expires_at: datetime | str | None
    connection_link: str


def make_access_link(**fields: Unpack[AccessLinkFields]) -> AccessLink:
    """A link that opens a machine for an hour; one that opens nothing."""
    given = checked("make_access_link", AccessLinkFields, fields)
    given["id"] = id = new_id(given, "access link", 1)
    link = f"https://app.vagon.io/team/session/made-for-a-test-{id}"
    return AccessLink(**filled(given, expires_at=NOW + HOUR, connection_link=link))


class MachineSessionFields(TypedDict, total=False):
    """The fields of :func:`make_machine_session`."""

    id: str | int
    start_at: datetime | str | None
    end_at: datetime | str | None
    duration: timedelta | float | None


def make_machine_session(**fields: Unpack[MachineSessionFields]) -> MachineSession:
    """One use of a machine, of half an hour. ``end_at=None``: it has not ended."""
    given = checked("make_machine_session", MachineSessionFields, fields)
    given["id"] = new_id(given, "machine session", 2000)
    start = given.setdefault("start_at", NOW - 24 * HOUR)
    lasts = given.get("duration") or HOUR / 2
    end = given.setdefault("end_at", None if start is None else start + lasts)
    duration = timedelta() if start is None or end is None else end - start
    return MachineSession(**filled(given, duration=duration))


class TaskFields(TypedDict, total=False):
    """The fields of :func:`make_task`."""

    id: str | int
    machine_id: str | int
    uid: str | None
    created_at: datetime | str | None
    status: TaskStatus | str | None
    source_path: str | None
    snapshot_destination: str | None
    folder_size: int | None


def make_task(**fields: Unpack[TaskFields]) -> Task:
    """A task of a machine: the active one."""
    given = checked("make_task", TaskFields, fields)
    given["id"] = new_id(given, "task", 1)
    uid = given.setdefault("uid", "Outputs")
    return Task(
        **filled(
            given,
            machine_id="100",
            created_at=EARLIER,
            status=TaskStatus.ACTIVE,
            source_path=rf"C:\Users\Administrator\Desktop\{uid}",
            snapshot_destination=rf"V:\{uid}",
            folder_size=GB,
        )
    )


class TaskActivationFields(TypedDict, total=False):
    """The fields of :func:`make_task_activation`."""

    task: Task
    result: TaskResult | str | None


def make_task_activation(**fields: Unpack[TaskActivationFields]) -> TaskActivation:
    """The result of activating a task, which was created."""
    given = checked("make_task_activation", TaskActivationFields, fields)
    return TaskActivation(**filled(given, task=make_task, result=TaskResult.CREATED))


class SoftwareFields(TypedDict, total=False):
    """The fields of :func:`make_software`."""

    id: str | int
    name: str | None
    size: int | None


def make_software(**fields: Unpack[SoftwareFields]) -> Software:
    """A program that can be installed on new machines."""
    given = checked("make_software", SoftwareFields, fields)
    given["id"] = new_id(given, "software", 1)
    return Software(**filled(given, name="Blender", size=2 * GB))


class BaseImageFields(TypedDict, total=False):
    """The fields of :func:`make_base_image`."""

    id: str | int
    name: str | None
    size: int | None
    type: str | None


def make_base_image(**fields: Unpack[BaseImageFields]) -> BaseImage:
    """An image that new machines can start from."""
    given = checked("make_base_image", BaseImageFields, fields)
    given["id"] = id = new_id(given, "base image", 100)
    return BaseImage(**filled(given, name=f"Template #{id}", size=30 * GB, type="base_image"))


class PermissionFieldFields(TypedDict, total=False):
    """The fields of :func:`make_permission_field`."""

    name: str
    type: str | None
    default: bool | None


def make_permission_field(**fields: Unpack[PermissionFieldFields]) -> PermissionField:
    """A permission that can be set."""
    given = checked("make_permission_field", PermissionFieldFields, fields)
    return PermissionField(
        **filled(given, name="public_internet_access", type="boolean", default=True)
    )

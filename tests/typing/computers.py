"""What a type checker knows of Vagon Computers. mypy and pyright read this; nothing here runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, assert_type

from vcloud import Instance, Pager, Stats, VagonComputers
from vcloud.providers.computers import (
    AUTO_STOP_THRESHOLDS,
    AccessLink,
    ActiveTask,
    BaseImage,
    ImageStatus,
    Machine,
    MachineRef,
    Machines,
    MachineSession,
    MachineSessions,
    MachineStatus,
    MachineTasks,
    MachineType,
    MachineUser,
    MachineUserAttributes,
    PermissionField,
    Permissions,
    Software,
    SoftwareCatalog,
    Task,
    TaskActivation,
    TaskRef,
    TaskResult,
    TaskStatus,
    UsageSource,
)


async def client(computers: VagonComputers) -> None:
    assert_type(computers.machines, Machines)
    assert_type(computers.software, SoftwareCatalog)
    assert_type(computers.instances(), Pager[Instance])
    assert_type(computers.stats(), Stats)
    assert_type(computers.with_options(timeout=5, deadline=timedelta(minutes=1)), VagonComputers)
    assert_type(await computers.aopen(), VagonComputers)
    assert_type(await computers.aclose(), None)


async def lists(computers: VagonComputers) -> None:
    pager = computers.machines.list(status="off", time_left=60, page=2)
    assert_type(pager, Pager[Machine])
    assert_type(await pager.first(), Machine | None)
    assert_type(await pager.all(), list[Machine])
    assert_type(pager.prefetch(2), Pager[Machine])
    assert_type(pager.map(lambda machine: machine.name), Pager[str])
    assert_type(await computers.machines.find("name"), Machine | None)
    async for machine in pager:
        assert_type(machine, Machine)
    assert_type(computers.software.list(), Pager[Software])
    assert_type(computers.software.base_images(), Pager[BaseImage])


async def machines(computers: VagonComputers, permissions: Permissions) -> None:
    assert_type(await computers.machines.get("100"), Machine)
    assert_type(
        await computers.machines.create(1, quantity=2, permissions=permissions), tuple[Machine, ...]
    )
    assert_type(await computers.machines.permission_fields(), tuple[PermissionField, ...])
    assert_type(computers.machines.ref(100), MachineRef)


async def handles(computers: VagonComputers, permissions: Permissions) -> None:
    handle = computers.machines.ref(100)
    assert_type(handle, MachineRef)
    assert_type(handle.id, str)
    assert_type(await handle.refresh(), Machine)
    assert_type(await handle.start(region="dublin"), None)
    assert_type(await handle.stop(gracefully=True), None)
    assert_type(await handle.reset(remove_files=True), None)
    assert_type(await handle.update(auto_stop_threshold=timedelta(minutes=15)), Machine)
    assert_type(await handle.wait_until("running"), Machine)
    assert_type(
        await handle.wait_until([MachineStatus.READY, MachineStatus.OFF], timeout=60), Machine
    )
    assert_type(await handle.connect_url(), str)
    assert_type(await handle.available_machine_types(), tuple[MachineType, ...])
    assert_type(await handle.set_machine_type(1), None)
    assert_type(await handle.create_access_link(timedelta(hours=1)), AccessLink)
    assert_type(await handle.set_permissions(permissions), None)
    assert_type(handle.sessions, MachineSessions)
    assert_type(handle.sessions.list(), Pager[MachineSession])
    assert_type(handle.tasks, MachineTasks)
    assert_type(handle.tasks.list(), Pager[Task])
    assert_type(handle.tasks.ref("1"), TaskRef)
    assert_type(await handle.tasks.ref("1").delete(), Task | None)
    assert_type(await handle.tasks.activate("a"), TaskActivation)
    assert_type(AUTO_STOP_THRESHOLDS, tuple[timedelta, ...])


async def objects(
    computers: VagonComputers,
    machine: Machine,
    software: list[Software],
    image: BaseImage,
    types: tuple[MachineType, ...],
    task: Task,
) -> None:
    bought = await computers.machines.create(1, software_ids=software, base_image_id=image)
    assert_type(bought, tuple[Machine, ...])
    assert_type(await machine.start(machine_type_id=types[0]), None)
    assert_type(await machine.set_machine_type(types[0]), None)
    assert_type(computers.machines.ref(machine), MachineRef)
    assert_type(await computers.machines.get(machine), Machine)
    assert_type(await machine.tasks.activate(task), TaskActivation)
    computers.machines.ref(task)  # type: ignore[arg-type]


def machine_fields(value: Machine) -> None:
    assert_type(value.id, str)
    assert_type(value.name, str | None)
    assert_type(value.last_session_start_at, datetime | None)
    assert_type(value.auto_stop_threshold, timedelta | None)
    assert_type(value.file_storage_size, int | None)
    assert_type(value.disk_size, int | None)
    assert_type(value.network_credit, int | None)
    assert_type(value.assigned_image_id, str | None)
    assert_type(value.assigned_image_name, str | None)
    assert_type(value.region, str | None)
    assert_type(value.machine_type, str | None)
    assert_type(value.remaining_usage, timedelta | None)
    assert_type(value.deposited_usage, timedelta | None)
    assert_type(value.friendly_status, MachineStatus | None)
    assert_type(value.user, MachineUser | None)
    assert_type(value.permissions, Permissions | None)
    assert_type(value.usage_source, UsageSource | None)
    assert_type(value.task, ActiveTask | None)
    assert_type(value.latest_image_status, ImageStatus | None)
    assert_type(value.sessions, MachineSessions)
    assert_type(value.tasks, MachineTasks)
    assert_type(value.raw, dict[str, Any])


def access_link_fields(value: AccessLink) -> None:
    assert_type(value.id, str)
    assert_type(value.expires_at, datetime | None)
    assert_type(value.connection_link, str)


def active_task_fields(value: ActiveTask) -> None:
    assert_type(value.id, str | None)
    assert_type(value.uid, str | None)
    assert_type(value.created_at, datetime | None)


def base_image_fields(value: BaseImage) -> None:
    assert_type(value.id, str)
    assert_type(value.name, str | None)
    assert_type(value.size, int | None)
    assert_type(value.type, str | None)


def machine_session_fields(value: MachineSession) -> None:
    assert_type(value.id, str)
    assert_type(value.start_at, datetime | None)
    assert_type(value.end_at, datetime | None)
    assert_type(value.duration, timedelta | None)
    assert_type(value.raw, dict[str, Any])


def machine_type_fields(value: MachineType) -> None:
    assert_type(value.id, str)
    assert_type(value.name, str | None)
    assert_type(value.friendly_name, str | None)
    assert_type(value.cpu, int | None)
    assert_type(value.memory, str | None)
    assert_type(value.gpu, int | None)
    assert_type(value.gpu_memory, str | None)


def machine_user_fields(value: MachineUser) -> None:
    assert_type(value.id, str | None)
    assert_type(value.type, str | None)
    assert_type(value.attributes, MachineUserAttributes | None)
    assert_type(value.email, str | None)
    assert_type(value.name, str | None)


def machine_user_attributes_fields(value: MachineUserAttributes) -> None:
    assert_type(value.email, str | None)
    assert_type(value.name, str | None)


def permission_field_fields(value: PermissionField) -> None:
    assert_type(value.name, str)
    assert_type(value.type, str | None)
    assert_type(value.default, bool | None)


def permissions_fields(value: Permissions) -> None:
    assert_type(value.public_internet_access, bool | None)
    assert_type(value.can_download_from_vagon_workstation, bool | None)
    assert_type(value.can_upload_to_workstation, bool | None)
    assert_type(value.analytics_collection_enabled, bool | None)
    assert_type(value.clipboard_enabled, bool | None)
    assert_type(value.screen_recording_enabled, bool | None)
    assert_type(value.input_recording_enabled, bool | None)


def software_fields(value: Software) -> None:
    assert_type(value.id, str)
    assert_type(value.name, str | None)
    assert_type(value.size, int | None)


def task_fields(value: Task) -> None:
    assert_type(value.id, str)
    assert_type(value.machine_id, str)
    assert_type(value.uid, str | None)
    assert_type(value.created_at, datetime | None)
    assert_type(value.status, TaskStatus | None)
    assert_type(value.source_path, str | None)
    assert_type(value.snapshot_destination, str | None)
    assert_type(value.folder_size, int | None)
    assert_type(value.raw, dict[str, Any])


def task_ref_fields(value: TaskRef) -> None:
    assert_type(value.id, str)
    assert_type(value.machine_id, str)
    assert_type(value.raw, dict[str, Any])


def task_activation_fields(value: TaskActivation) -> None:
    assert_type(value.task, Task)
    assert_type(value.result, TaskResult | None)


def dictionaries(machine: Machine, handle: MachineRef, link: AccessLink) -> None:
    assert_type(machine.to_dict(), dict[str, Any])
    assert_type(handle.to_dict(), dict[str, Any])
    assert_type(link.to_dict(), dict[str, Any])


def wrong_names(machine: Machine, handle: MachineRef) -> None:
    # The message at run time is not seen by type checkers, which report the name themselves.
    machine.status  # type: ignore[attr-defined]  # noqa: B018
    handle.name  # type: ignore[attr-defined]  # noqa: B018
    MachineUser(id=None, type=None, attributes=None, nmae=None)  # type: ignore[call-arg]

"""What a type checker knows of Vagon Computers. mypy and pyright read this; nothing here runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, assert_type

from vcloud import Instance, Page, Pager, VagonComputers
from vcloud.providers.computers import (
    AccessLink,
    BaseImage,
    ImageStatus,
    Machine,
    MachineRef,
    MachineSession,
    MachineStatus,
    MachineType,
    MachineUser,
    PermissionField,
    Permissions,
    Software,
    Task,
    TaskActivation,
    TaskRef,
    UsageSource,
)


async def lists(computers: VagonComputers) -> None:
    pager = computers.machines.list()
    assert_type(pager, Pager[Machine])
    assert_type(await pager.first(), Machine | None)
    assert_type(await pager.all(), list[Machine])
    assert_type(pager.prefetch(2), Pager[Machine])
    assert_type(pager.map(lambda machine: machine.name), Pager[str])
    async for machine in pager:
        assert_type(machine, Machine)
    async for page in pager.pages():
        assert_type(page, Page[Machine])
        assert_type(page.items, tuple[Machine, ...])
    assert_type(computers.software.list(), Pager[Software])
    assert_type(computers.software.base_images(), Pager[BaseImage])
    assert_type(computers.instances(), Pager[Instance])


async def handles(computers: VagonComputers) -> None:
    handle = computers.machines.ref(100)
    assert_type(handle, MachineRef)
    assert_type(handle.id, str)
    assert_type(await handle.start(), None)
    assert_type(await handle.stop(), None)
    assert_type(await handle.refresh(), Machine)
    assert_type(await handle.wait_until("running"), Machine)
    assert_type(await handle.connect_url(), str)
    assert_type(await handle.create_access_link(timedelta(hours=1)), AccessLink)
    assert_type(await handle.available_machine_types(), tuple[MachineType, ...])
    assert_type(handle.sessions.list(), Pager[MachineSession])
    assert_type(handle.tasks.list(), Pager[Task])
    assert_type(handle.tasks.ref("1"), TaskRef)
    assert_type(await handle.tasks.activate("a"), TaskActivation)
    assert_type(await computers.machines.permission_fields(), tuple[PermissionField, ...])


async def fields(computers: VagonComputers) -> None:
    machine = await computers.machines.get("100")
    assert_type(machine, Machine)
    assert_type(machine.id, str)
    assert_type(machine.name, str | None)
    assert_type(machine.last_session_start_at, datetime | None)
    assert_type(machine.auto_stop_threshold, timedelta | None)
    assert_type(machine.remaining_usage, timedelta | None)
    assert_type(machine.disk_size, int | None)
    assert_type(machine.assigned_image_id, str | None)
    assert_type(machine.friendly_status, MachineStatus | None)
    assert_type(machine.usage_source, UsageSource | None)
    assert_type(machine.latest_image_status, ImageStatus | None)
    assert_type(machine.user, MachineUser | None)
    assert_type(machine.permissions, Permissions | None)
    assert_type(machine.raw, dict[str, Any])

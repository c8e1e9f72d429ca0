"""Everything that each Computers operation can send and receive, over a socket."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs

from tests.contract.computers_calls import ALL_PERMISSIONS
from vcloud.emulator import Emulator, Fault
from vcloud.providers.computers import (
    AUTO_STOP_THRESHOLDS,
    ImageStatus,
    MachineStatus,
    TaskResult,
    TaskStatus,
    UsageSource,
    VagonComputers,
)

MACHINES = "* /organization-management/v1/machines*"


def put(emulator: Emulator, route: str, *path: str | int, value: object) -> None:
    """Make the next answer carry a value that the emulator's own rules would not produce there."""

    def edit(answer: dict[str, Any]) -> dict[str, Any]:
        place: Any = answer
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        return answer

    emulator.faults.add(route, Fault.edit(edit))


async def _list(client: VagonComputers, emulator: Emulator) -> None:
    machine = emulator.computers.add_machine()
    emulator.computers.add_machine()
    for status in MachineStatus:
        emulator.computers.set_status(machine.id, status)
        found = await client.machines.list(status=status).all()
        assert machine.id in [one.id for one in found]
        assert {one.friendly_status for one in found} == {status}
    for source in UsageSource:
        await client.machines.ref(machine.id).update(usage_source=source)
        assert (await client.machines.list().all())[0].usage_source is source
    for image in ImageStatus:
        put(emulator, MACHINES, "machines", 0, "attributes", "latest_image_status", value=image)
        first = await client.machines.list().first()
        assert first is not None
        assert first.latest_image_status is image
    put(
        emulator,
        MACHINES,
        "machines",
        0,
        "attributes",
        "user",
        value={
            "id": "f1592625",
            "type": "user",
            "attributes": {"email": "user@vagon.io", "name": "Computer User"},
        },
    )
    first = await client.machines.list().first()
    assert first is not None
    assert first.user is not None
    assert (first.user.email, first.user.name) == ("user@vagon.io", "Computer User")
    assert first.task is not None
    assert first.task.uid == "Outputs"
    assert await client.machines.list(q="no such name").all() == []
    assert await client.machines.list(time_left=timedelta(days=365)).all() == []
    assert await client.machines.list(has_session_data=True, assigned=True).all() == []
    assert len(await client.machines.list(page=2, per_page=1).all()) == 1


async def _create(client: VagonComputers, emulator: Emulator) -> None:
    made = await client.machines.create(
        1,
        quantity=2,
        region="dublin",
        software_ids=["1"],
        base_image_id="100",
        permissions=ALL_PERMISSIONS,
    )
    assert len(made) == 2
    assert made[0].permissions == ALL_PERMISSIONS
    post = "POST /organization-management/v1/machines"
    for status in MachineStatus:
        put(emulator, post, "machines", 0, "attributes", "friendly_status", value=status)
        assert (await client.machines.create(1, region="dublin"))[0].friendly_status is status
    for source in UsageSource:
        put(emulator, post, "machines", 0, "attributes", "usage_source", value=source)
        assert (await client.machines.create(1, region="dublin"))[0].usage_source is source
    for image in ImageStatus:
        put(emulator, post, "machines", 0, "attributes", "latest_image_status", value=image)
        assert (await client.machines.create(1, region="dublin"))[0].latest_image_status is image
    user = {
        "id": "f1592625",
        "type": "user",
        "attributes": {"email": "user@vagon.io", "name": "Computer User"},
    }
    put(emulator, post, "machines", 0, "attributes", "user", value=user)
    assert (await client.machines.create(1, region="dublin"))[0].user is not None
    task = {"id": 42, "uid": "Project-Alpha", "created_at": "2026-04-20T09:15:00Z"}
    put(emulator, post, "machines", 0, "attributes", "task", value=task)
    assert (await client.machines.create(1, region="dublin"))[0].task is not None


async def _update(client: VagonComputers, emulator: Emulator) -> None:
    ref = client.machines.ref(emulator.computers.add_machine().id)
    patch = "PATCH /organization-management/v1/machines/*"
    for threshold in AUTO_STOP_THRESHOLDS:
        assert (await ref.update(auto_stop_threshold=threshold)).auto_stop_threshold == threshold
    for source in UsageSource:
        assert (await ref.update(usage_source=source)).usage_source is source
    for status in MachineStatus:
        emulator.computers.set_status(ref.id, status)
        assert (await ref.update(usage_source="machine")).friendly_status is status
    for image in ImageStatus:
        put(emulator, patch, "attributes", "latest_image_status", value=image)
        assert (await ref.update(usage_source="machine")).latest_image_status is image
    user = {
        "id": "f1592625",
        "type": "user",
        "attributes": {"email": "user@vagon.io", "name": "Computer User"},
    }
    put(emulator, patch, "attributes", "user", value=user)
    assert (await ref.update(usage_source="machine")).user is not None


async def _start(client: VagonComputers, emulator: Emulator) -> None:
    ref = client.machines.ref(emulator.computers.add_machine().id)
    await ref.start()
    assert (await ref.wait_until("ready", poll=0.01)).friendly_status is MachineStatus.READY


async def _stop(client: VagonComputers, emulator: Emulator) -> None:
    ref = client.machines.ref(emulator.computers.add_machine(status="ready").id)
    await ref.stop(gracefully=True)
    assert (await ref.wait_until("off", poll=0.01)).friendly_status is MachineStatus.OFF


async def _types(client: VagonComputers, emulator: Emulator) -> None:
    types = await client.machines.ref(emulator.computers.add_machine().id).available_machine_types()
    assert [(one.id, one.friendly_name, one.gpu_memory) for one in types] == [
        ("11", "Planet", "16.0"),
        ("15", "Spark", "24.0"),
    ]


async def _machine_type(client: VagonComputers, emulator: Emulator) -> None:
    ref = client.machines.ref(emulator.computers.add_machine().id)
    await ref.set_machine_type("15")
    assert (await ref.refresh()).machine_type == "Spark"


async def _access(client: VagonComputers, emulator: Emulator) -> None:
    link = await client.machines.ref(emulator.computers.add_machine().id).create_access_link(
        timedelta(hours=1)
    )
    assert link.connection_link.startswith("https://")
    assert link.connection_link not in repr(link)


async def _reset(client: VagonComputers, emulator: Emulator) -> None:
    ref = client.machines.ref(emulator.computers.add_machine().id)
    await ref.tasks.activate("gone-after-reset")
    await ref.reset(remove_files=True)
    assert [task.uid for task in await ref.tasks.list().all()] == ["Outputs"]


async def _permissions(client: VagonComputers, emulator: Emulator) -> None:
    ref = client.machines.ref(emulator.computers.add_machine().id)
    turned = attrs.evolve(ALL_PERMISSIONS, clipboard_enabled=False)
    await ref.set_permissions(turned)
    assert (await ref.refresh()).permissions == turned


async def _sessions(client: VagonComputers, emulator: Emulator) -> None:
    ref = client.machines.ref(emulator.computers.add_machine().id)
    await ref.start()
    await ref.wait_until("ready", poll=0.01)
    (session,) = await ref.sessions.list().all()
    assert session.end_at is None
    assert session.duration == timedelta(0)


async def _tasks_list(client: VagonComputers, emulator: Emulator) -> None:
    tasks = client.machines.ref(emulator.computers.add_machine().id).tasks
    await tasks.activate("task-012")
    listed = await tasks.list(page=1, per_page=1).all()
    assert {(task.uid, task.status) for task in listed} == {
        ("task-012", TaskStatus.ACTIVE),
        ("Outputs", TaskStatus.INACTIVE),
    }


async def _tasks_create(client: VagonComputers, emulator: Emulator) -> None:
    tasks = client.machines.ref(emulator.computers.add_machine().id).tasks
    assert (await tasks.activate("task-012")).result is TaskResult.CREATED
    assert (await tasks.activate("task-012")).result is TaskResult.ALREADY_ACTIVE
    assert (await tasks.activate("Outputs")).result is TaskResult.REACTIVATED
    # Both endpoints share the document's enumeration, so each must read all of its values.
    put(emulator, "POST *tasks", "result", value="deleted")
    assert (await tasks.activate("task-012")).result is TaskResult.DELETED
    put(emulator, "POST *tasks", "task", "attributes", "status", value="inactive")
    assert (await tasks.activate("task-012")).task.status is TaskStatus.INACTIVE


async def _tasks_delete(client: VagonComputers, emulator: Emulator) -> None:
    tasks = client.machines.ref(emulator.computers.add_machine().id).tasks
    for result in TaskResult:
        task = (await tasks.activate(f"task-{result}")).task
        put(emulator, "DELETE *", "result", value=result)
        deleted = await task.delete()
        assert deleted is not None
        assert deleted.uid == task.uid
    for status in TaskStatus:
        task = (await tasks.activate(f"task-{status}")).task
        put(emulator, "DELETE *", "task", "attributes", "status", value=status)
        deleted = await tasks.ref(task.id).delete()
        assert deleted is not None
        assert deleted.status is status


async def _software(client: VagonComputers, emulator: Emulator) -> None:
    assert await client.software.list().all()
    images = await client.software.base_images().all()
    assert all(isinstance(image.id, str) for image in images)


async def _permission_fields(client: VagonComputers, emulator: Emulator) -> None:
    fields = await client.machines.permission_fields()
    assert {field.name for field in fields} == set(attrs.asdict(ALL_PERMISSIONS))


SCENARIOS = {
    "machines.list": _list,
    "machines.create": _create,
    "machines.update": _update,
    "machines.start": _start,
    "machines.available_machine_types": _types,
    "machines.machine_type": _machine_type,
    "machines.stop": _stop,
    "machines.access": _access,
    "machines.reset": _reset,
    "machines.permissions": _permissions,
    "machines.sessions.list": _sessions,
    "machines.tasks.list": _tasks_list,
    "machines.tasks.create": _tasks_create,
    "machines.tasks.delete": _tasks_delete,
    "software.list": _software,
    "machines.permission_fields": _permission_fields,
}

"""The Computers API's representations. Fields are in the order of the document's examples."""

from __future__ import annotations

from typing import Any

from vcloud.emulator.clock import Clock
from vcloud.emulator.computers.catalog import MachineType
from vcloud.emulator.computers.machine import Machine
from vcloud.emulator.computers.parts import Session, Task, User
from vcloud.emulator.computers.state import DEFAULT_TASK

Json = dict[str, Any]


def machine_view(machine: Machine, clock: Clock, now: float) -> Json:
    """A machine as list, get and update answer it."""
    attributes = {
        **_hardware(machine, clock, now),
        "friendly_status": machine.status_at(now),
        "user": _user(machine.user),
        "permissions": machine.permissions,
        "usage_source": machine.usage_source,
        **_snapshots(machine, clock, now),
    }
    return {"id": machine.id, "type": "machine", "attributes": attributes}


def created_machine_view(machine: Machine, clock: Clock, now: float) -> Json:
    """A machine as create answers it: in another order, and without `usage_source`."""
    attributes = {
        **_hardware(machine, clock, now),
        "user": _user(machine.user),
        "friendly_status": machine.status_at(now),
        "permissions": machine.permissions,
        **_snapshots(machine, clock, now),
    }
    return {"id": machine.id, "type": "machine", "attributes": attributes}


def machine_type_view(machine_type: MachineType) -> Json:
    """A machine type."""
    return {
        "id": str(machine_type.id),
        "type": "machine_type",
        "attributes": {
            "name": machine_type.name,
            "friendly_name": machine_type.friendly_name,
            "cpu": machine_type.cpu,
            "memory": machine_type.memory,
            "gpu": machine_type.gpu,
            "gpu_memory": machine_type.gpu_memory,
        },
    }


def session_view(session: Session, clock: Clock, now: float) -> Json:
    """A session."""
    end = session.ended(now)
    return {
        "id": session.id,
        "type": "machine_session",
        "attributes": {
            "start_at": clock.iso(session.start_at),
            "end_at": None if end is None else clock.iso(end),
            "duration": session.minutes(now),
        },
    }


def task_view(task: Task, clock: Clock, now: float) -> Json:
    """A task."""
    folder = task.uid if task.uid == DEFAULT_TASK else f"{task.uid}-snapshots"
    return {
        "id": str(task.id),
        "type": "task",
        "attributes": {
            "uid": task.uid,
            "created_at": clock.iso(task.created_at),
            "status": "active" if task.active else "inactive",
            "source_path": rf"C:\Users\Administrator\Desktop\{task.uid}",
            "snapshot_destination": rf"V:\{folder}",
            "folder_size": task.folder_size(now),
        },
    }


def access_view(id: str, connection_link: str, expires_at: str) -> Json:
    """An access link."""
    return {
        "id": id,
        "type": "machine_external_access",
        "attributes": {"expires_at": expires_at, "connection_link": connection_link},
    }


def _hardware(machine: Machine, clock: Clock, now: float) -> Json:
    last = machine.last_session(now)
    return {
        "name": machine.name,
        "last_session_start_at": None if last is None else clock.iso(last.start_at),
        "auto_stop_threshold": machine.auto_stop_threshold,
        "file_storage_size": machine.file_storage_size,
        "disk_size": machine.disk_size,
        "network_credit": machine.network_credit,
        "assigned_image_id": machine.base_image_id,
        "assigned_image_name": machine.base_image_name,
        "region": machine.region,
        "machine_type": machine.machine_type.friendly_name,
        "remaining_usage": machine.remaining(now),
        "deposited_usage": machine.deposited_usage,
    }


def _user(user: User | None) -> Json | None:
    if user is None:
        return None
    return {"id": user.id, "type": "user", "attributes": {"email": user.email, "name": user.name}}


def _snapshots(machine: Machine, clock: Clock, now: float) -> Json:
    task = machine.active_task(now)
    return {
        "task": None if task is None else _active_task(task, clock),
        "latest_image_status": machine.latest_image_status(now),
    }


def _active_task(task: Task, clock: Clock) -> Json:
    return {"id": task.id, "uid": task.uid, "created_at": clock.iso(task.created_at)}

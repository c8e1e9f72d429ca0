"""The rules for a machine's tasks."""

from __future__ import annotations

from vcloud.emulator.computers.machine import Machine
from vcloud.emulator.computers.parts import Task
from vcloud.emulator.computers.rules import require_off
from vcloud.emulator.computers.state import DEFAULT_TASK
from vcloud.emulator.vagon.service import VagonError

MAX_UID_LENGTH = 255
RESERVED = frozenset('/\\:*?"<>|')
"""Characters that Windows does not allow in a folder's name."""


def checked_uid(uid: object) -> str:
    """Check that `uid` can name a folder; refuse with 4216, the only documented refusal."""
    if not isinstance(uid, str) or not uid.strip():
        raise VagonError(4216, "Invalid task uid: it must not be empty")
    if len(uid) > MAX_UID_LENGTH:
        raise VagonError(4216, f"Invalid task uid: it is longer than {MAX_UID_LENGTH} characters")
    reserved = sorted(RESERVED.intersection(uid))
    if reserved:
        raise VagonError(4216, f"Invalid task uid: reserved characters {' '.join(reserved)}")
    return uid


def activate_task(machine: Machine, uid: str, now: float, new_id: int) -> tuple[Task, str]:
    """Make the task `uid` the active one, created as `new_id` if needed; it and the `result`."""
    if not machine.backup_enabled:
        raise VagonError(4218, "Backup is not enabled")
    require_off(machine, now)
    if uid in machine.deleted_uids:
        raise VagonError(4217, "Task uid was deleted and cannot be reused")
    task = next((known for known in machine.tasks if known.uid == uid), None)
    if task is None:
        task, result = Task(new_id, uid, now), "created"
        machine.tasks.append(task)
    else:
        result = "already_active" if task.active else "reactivated"
    machine.activate(task)
    return task, result


def add_default_task(machine: Machine, now: float, new_id: int) -> Task:
    """The default task, created as `new_id` if needed, as for a machine just bought."""
    task = next((known for known in machine.tasks if known.uid == DEFAULT_TASK), None)
    if task is None:
        task = Task(new_id, DEFAULT_TASK, now, active=not any(t.active for t in machine.tasks))
        machine.tasks.append(task)
    return task


def delete_task(machine: Machine, task_id: str, now: float, new_id: int) -> Task:
    """Delete a task. The default one, created as `new_id` if needed, replaces an active one."""
    require_off(machine, now)
    task = next((known for known in machine.tasks if str(known.id) == task_id), None)
    if task is None:
        raise VagonError(404, "Task not found")
    if task.uid == DEFAULT_TASK:
        raise VagonError(4219, "Default task cannot be deleted")
    machine.tasks.remove(task)
    machine.deleted_uids.add(task.uid)
    if task.active:
        task.active = False
        machine.activate(add_default_task(machine, now, new_id))
    return task

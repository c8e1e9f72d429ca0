"""Tasks: the folders on a machine's desktop whose snapshots are kept."""

from __future__ import annotations

from typing import ClassVar, Final

from attrs import frozen

from vcloud._core.arguments import identifier
from vcloud._core.decoding.models import none_when_absent
from vcloud._core.decoding.shape import Shape
from vcloud._core.model import Model
from vcloud._core.paging.pager import Pager
from vcloud._core.request import Request, json_body, path_segment
from vcloud._core.resource import Collection, Handle, bind
from vcloud._core.scalars import Instant, Integer
from vcloud._core.session import Session
from vcloud.errors import DecodeError, InvalidArgumentError
from vcloud.providers.computers.models import TaskResult, TaskStatus
from vcloud.providers.vagon import Envelope
from vcloud.providers.vagon_resources import Item, Listing, adopt_item, listing, resources

__all__ = ["MachineTasks", "Task", "TaskActivation", "TaskRef"]

MAX_UID: Final = 255
RESERVED: Final = frozenset('/\\:*?"<>|')


@frozen(kw_only=True)
class TaskRef(Handle):
    """A task by its id and the id of its machine."""

    id: str = ""
    machine_id: str = ""

    async def delete(self) -> Task | None:
        """Delete the task with its folder and its snapshots.

        ``DELETE /machines/{id}/tasks/{task_id}``. Its uid cannot be used again before the machine
        is reset. If it was the active task, the default task "Outputs" becomes active.

        Returns:
            The task as it was; None if the service does not send it.

        Raises:
            NotFoundError: there is no such task, or it is already deleted.
            ConflictError: the machine is not off (4206), or it is the default task (4219).
            PermissionDeniedError: permission required (4710).
        """
        path = f"/machines/{path_segment(self.machine_id)}/tasks/{path_segment(self.id)}"
        return await self._session.fetch(Request("DELETE", path), _deleted(self.machine_id))


@frozen(kw_only=True, field_transformer=none_when_absent)
class Task(TaskRef):
    """A task as it was when it was fetched.

    Attributes:
        id: the task's id.
        machine_id: the id of its machine.
        uid: its name, and the name of its folder on the desktop.
        created_at: when it was created.
        status: whether its folder is the one that is captured.
        source_path: the Windows folder that is captured.
        snapshot_destination: the Windows folder that holds the snapshots.
        folder_size: the bytes in the folder when the machine last stopped; None if they were never
            counted.
    """

    uid: str | None
    created_at: Instant | None
    status: TaskStatus | None
    source_path: str | None
    snapshot_destination: str | None
    folder_size: Integer | None


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class TaskList(Listing):
    """``GET /machines/{id}/tasks``."""

    key: ClassVar[str] = "tasks"

    tasks: list[Item[Task]] | None


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class TaskOutcome(Envelope):
    """``POST`` and ``DELETE /machines/{id}/tasks…``."""

    task: Item[Task] | None
    result: TaskResult | None


@frozen
class TaskActivation(Model):
    """The result of activating a task.

    Attributes:
        task: the task, which is active now.
        result: ``created``, ``reactivated`` or ``already_active``; None if the service does not
            say.
    """

    task: Task
    result: TaskResult | None


def _deleted(machine_id: str) -> Shape[TaskOutcome, Task | None]:
    def open_task(wire: TaskOutcome, session: Session, body: bytes) -> Task | None:
        if wire.task is None:
            return None
        return adopt_item(wire.task, session, (body, "task"), {"machine_id": machine_id})

    return Shape(TaskOutcome, open_task)


def _activated(machine_id: str) -> Shape[TaskOutcome, TaskActivation]:
    open_task = _deleted(machine_id).open

    def open_activation(wire: TaskOutcome, session: Session, body: bytes) -> TaskActivation:
        task = open_task(wire, session, body)
        if task is None:
            raise DecodeError("the answer is not what the contract says: it has no task")
        return TaskActivation(task, wire.result)

    return Shape(TaskOutcome, open_activation)


def check_uid(uid: object) -> str:
    """The uid of a task, if it keeps the document's rules.

    Raises:
        InvalidArgumentError: the uid is empty, has more than 255 characters, or has a character
            that Windows reserves.
    """
    if type(uid) is not str or not uid.strip():
        raise InvalidArgumentError("a task uid must be a non-empty string")
    if len(uid) > MAX_UID:
        raise InvalidArgumentError(f"a task uid has at most {MAX_UID} characters, not {len(uid)}")
    if found := sorted(RESERVED.intersection(uid)):
        raise InvalidArgumentError(
            f"a task uid must not contain {' '.join(found)}: "
            f"Windows reserves {' '.join(sorted(RESERVED))}"
        )
    return uid


class MachineTasks(Collection):
    """The tasks of one machine. They can be changed only while the machine is off."""

    __slots__ = ("_machine_id",)

    def __init__(self, session: Session, machine_id: str) -> None:
        super().__init__(session)
        self._machine_id = machine_id

    def list(self, *, page: int | None = None, per_page: int | None = None) -> Pager[Task]:
        """The tasks that are not deleted, the newest first.  ``GET /machines/{id}/tasks``

        Args:
            page: the page to begin with.
            per_page: tasks per page.

        Raises:
            NotFoundError: there is no such machine.
            PermissionDeniedError: permission required (4710).
        """
        shape = resources(TaskList, Task, machine_id=self._machine_id)
        return listing(self._session, self._path, shape, page=page, per_page=per_page)

    def ref(self, id: TaskRef | str | int) -> TaskRef:
        """A handle of the task with this id; nothing is sent.

        Raises:
            InvalidArgumentError: the id is not valid.
        """
        return bind(
            TaskRef(id=identifier(id, "id", TaskRef), machine_id=self._machine_id), self._session
        )

    async def activate(self, uid: Task | str) -> TaskActivation:
        """Make this the active task, whose folder is captured.  ``POST /machines/{id}/tasks``

        If there is no such task, it is created.

        Args:
            uid: the task, or its name: 1 to 255 characters, none of ``/``, ``:``, ``*``, ``?``,
                ``"``, ``<``, ``>``, ``|`` and the backslash.

        Raises:
            InvalidArgumentError: the uid breaks these rules.
            NotFoundError: there is no such machine.
            ConflictError: the machine is not off (4206), the uid was deleted (4217), or backup is
                not enabled (4218).
            InvalidRequestError: the service does not accept the uid (4216).
            PermissionDeniedError: permission required (4710).
        """
        return await self._session.fetch(
            Request(
                "POST",
                self._path,
                body=json_body({"uid": check_uid(uid.uid if isinstance(uid, Task) else uid)}),
            ),
            _activated(self._machine_id),
        )

    @property
    def _path(self) -> str:
        return f"/machines/{path_segment(self._machine_id)}/tasks"

"""Tasks: the desktop folders of a machine whose snapshots are kept."""

from __future__ import annotations

from typing import ClassVar, Final

from attrs import frozen

from vcloud._core.codec import Instant, Shape
from vcloud._core.paging.pager import Pager
from vcloud._core.request import Request, json_body, segment
from vcloud._core.resource import Collection, Handle, bind
from vcloud._core.session import Session
from vcloud.errors import InvalidArgumentError
from vcloud.providers.computers.models import TaskResult, TaskStatus
from vcloud.providers.vagon import Envelope, Item, Listing, adopt, listing, resources

__all__ = ["MachineTasks", "Task", "TaskActivation", "TaskRef"]

MAX_UID: Final = 255
RESERVED: Final = frozenset('/\\:*?"<>|')


@frozen(kw_only=True)
class TaskRef(Handle):
    """A task by its id and its machine's."""

    id: str = ""
    machine_id: str = ""

    async def delete(self) -> Task:
        """Delete the task with its folder and its snapshots.  ``DELETE /machines/{id}/tasks/{task_id}``

        Its uid cannot be used again before the machine is reset. If it was the active one, "Outputs" takes over.

        Returns:
            The task as it was.

        Raises:
            NotFoundError: no such task, or already deleted.
            ConflictError: the machine is not off (4206), or it is the default task "Outputs" (4219).
            PermissionDeniedError: permission required (4710).
        """
        path = f"/machines/{segment(self.machine_id)}/tasks/{segment(self.id)}"
        return (await self._session.fetch(Request("DELETE", path), _outcome(self.machine_id))).task


@frozen(kw_only=True)
class Task(TaskRef):
    """A task as it was when it was fetched.

    Attributes:
        id: the task's id.
        machine_id: the machine's.
        uid: its name, and that of its folder on the desktop.
        created_at: when it was made.
        status: whether its folder is the one that is captured.
        source_path: the Windows folder that is captured.
        snapshot_destination: the Windows folder that holds the snapshots.
        folder_size: bytes in the folder when the machine last stopped; None when it was never measured.
    """

    uid: str
    created_at: Instant
    status: TaskStatus
    source_path: str
    snapshot_destination: str
    folder_size: int | None


@frozen(kw_only=True, eq=False, repr=False)
class TaskList(Listing):
    """``GET /machines/{id}/tasks``."""

    key: ClassVar[str] = "tasks"

    tasks: list[Item[Task]]


@frozen(kw_only=True, eq=False, repr=False)
class TaskOutcome(Envelope):
    """``POST`` and ``DELETE /machines/{id}/tasks…``."""

    task: Item[Task]
    result: TaskResult


@frozen
class TaskActivation:
    """What activating came to.

    Attributes:
        task: the task, active now.
        result: ``created``, ``reactivated`` or ``already_active``.
    """

    task: Task
    result: TaskResult


def _outcome(machine_id: str) -> Shape[TaskOutcome, TaskActivation]:
    def open_outcome(wire: TaskOutcome, session: Session, body: bytes) -> TaskActivation:
        return TaskActivation(
            adopt(wire.task, session, (body, "task"), {"machine_id": machine_id}), wire.result
        )

    return Shape(TaskOutcome, open_outcome)


def check_uid(uid: str) -> str:
    """A task uid by the document's rules.

    Raises:
        InvalidArgumentError: empty, longer than 255 characters, or with a character that Windows reserves.
    """
    if type(uid) is not str or not uid.strip():
        raise InvalidArgumentError("a task uid must be a non-empty text")
    if len(uid) > MAX_UID:
        raise InvalidArgumentError(f"a task uid has at most {MAX_UID} characters, not {len(uid)}")
    if found := sorted(RESERVED.intersection(uid)):
        raise InvalidArgumentError(
            f"a task uid must not contain {' '.join(found)}: Windows reserves {' '.join(sorted(RESERVED))}"
        )
    return uid


class MachineTasks(Collection):
    """The tasks of one machine. They can only be changed while it is off."""

    __slots__ = ("_machine_id",)

    def __init__(self, session: Session, machine_id: str) -> None:
        super().__init__(session)
        self._machine_id = machine_id

    def list(self, *, page: int | None = None, per_page: int | None = None) -> Pager[Task]:
        """All tasks that are not deleted, the newest first.  ``GET /machines/{id}/tasks``

        Args:
            page: the page to begin with.
            per_page: tasks per page.

        Raises:
            NotFoundError: there is no such machine.
            PermissionDeniedError: permission required (4710).
        """
        shape = resources(TaskList, Task, machine_id=self._machine_id)
        return listing(self._session, self._path, shape, page=page, per_page=per_page)

    def ref(self, id: str) -> TaskRef:
        """A handle to act through, without asking the service."""
        segment(id)
        return bind(TaskRef(id=id, machine_id=self._machine_id), self._session)

    async def activate(self, uid: str) -> TaskActivation:
        """Make this the task that is captured, creating it if there is none.  ``POST /machines/{id}/tasks``

        Args:
            uid: the task's name: 1 to 255 characters, none of ``/``, ``:``, ``*``, ``?``, ``"``, ``<``, ``>``, ``|`` and the backslash.

        Raises:
            InvalidArgumentError: the uid breaks these rules.
            NotFoundError: there is no such machine.
            ConflictError: the machine is not off (4206), the uid was deleted (4217), or backup is not enabled (4218).
            InvalidRequestError: the service does not accept the uid (4216).
            PermissionDeniedError: permission required (4710).
        """
        return await self._session.fetch(
            Request("POST", self._path, body=json_body({"uid": check_uid(uid)})),
            _outcome(self._machine_id),
        )

    @property
    def _path(self) -> str:
        return f"/machines/{segment(self._machine_id)}/tasks"

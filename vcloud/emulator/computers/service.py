"""The Vagon Computers API: its operations, and `GET /machines/{id}` of the vendor's client."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Unpack

from vcloud.emulator.clock import Clock
from vcloud.emulator.computers.arguments import (
    MachineFilter,
    NewMachines,
    read_expires_in,
    read_permissions,
    read_update,
)
from vcloud.emulator.computers.catalog import (
    BASE_IMAGE_NAMES,
    BASE_IMAGES,
    PERMISSIONS,
    PLANS,
    SOFTWARE,
    STATUSES,
    Json,
)
from vcloud.emulator.computers.machine import Machine, NewMachine
from vcloud.emulator.computers.parts import Task, User
from vcloud.emulator.computers.rules import (
    require_capacity,
    require_machine_type,
    require_off,
    require_startable,
    require_usage,
)
from vcloud.emulator.computers.state import DEFAULT_TASK, RUNNING, Phase
from vcloud.emulator.computers.tasks import (
    activate_task,
    add_default_task,
    checked_uid,
    delete_task,
)
from vcloud.emulator.computers.views import (
    access_view,
    created_machine_view,
    machine_type_view,
    machine_view,
    session_view,
    task_view,
)
from vcloud.emulator.credentials import Seed, generator, new_uuid
from vcloud.emulator.settable import ById, check_keywords, known_word
from vcloud.emulator.state_loop import StateLoop
from vcloud.emulator.vagon.service import (
    REGIONS,
    Organization,
    VagonError,
    VagonRequest,
    VagonService,
    body_boolean,
    body_integer,
    known_region,
    paginate,
)
from vcloud.emulator.vagon.signature import Signatures

FIRST_MACHINE = 100
FIRST_SESSION = 2000
TASKS_PER_PAGE = 25
"""What the document calls "Kaminari default"."""


class Computers(VagonService):
    """The service and its state, which tests may read and change.

    The state is in `machines`, `capacity`, `access_links` and `organization`.
    """

    prefix: str = "/organization-management/v1"

    def __init__(
        self,
        organization: Organization,
        signatures: Signatures,
        clock: Clock,
        *,
        home: StateLoop,
        seed: Seed | None = None,
    ) -> None:
        """Serve `organization`, without machines at first; equal seeds give equal uuids."""
        super().__init__(organization, signatures, clock)
        self.home: StateLoop = home
        """Where state is changed."""
        self.machines: ById[Machine] = ById()
        self.capacity: dict[str, int] = {}
        """How many machines may run at once, by region; regions that are absent are unlimited."""
        self.access_links: dict[str, str] = {}
        """Every link that was created, by its id."""
        self._random = generator(seed)
        self._machine_ids = itertools.count(FIRST_MACHINE)
        self._session_ids = itertools.count(FIRST_SESSION)
        self._task_ids = itertools.count(1)
        self._link_ids = itertools.count(1)
        self._add_routes()

    def add_machine(self, **given: Unpack[NewMachine]) -> Machine:
        """Add a machine that is off, or in this `status`; any attribute may be given.

        It may be called from any thread.

        Raises:
            TypeError: there is no such attribute.
            ValueError: there is a machine of this id already.
        """
        check_keywords("add_machine()", given, NewMachine.__annotations__)
        return self.home.run(lambda: self._add_machine(dict(given)))

    def _add_machine(self, given: dict[str, Any]) -> Machine:
        now = self.clock.now()
        id_ = str(given.pop("id", None) or self._free_machine_id())
        if id_ in self.machines:
            msg = f"there is a machine {id_} already"
            raise ValueError(msg)
        if isinstance(user := given.get("user"), str):
            given["user"] = self.new_user(user)
        status = known_word(given.pop("status", "off"), STATUSES, "status")
        plan = given.get("plan", PLANS[1])
        defaults = {
            "name": f"Computer #{id_}",
            "plan": plan,
            "machine_type": plan.machine_types[0],
            "region": REGIONS[0],
            "phases": (Phase(now, status),),
            "tasks": [Task(next(self._task_ids), DEFAULT_TASK, now, active=True)],
            "disk_size": plan.disk_size,
            "file_storage_size": plan.file_storage_size,
        }
        machine = Machine(id=id_, service=self, **{**defaults, **given})
        self.machines[id_] = machine
        if status == "ready":
            machine.status = status  # somebody has been at it since now
        return machine

    def set_status(self, id: str | int, status: str) -> None:
        """Put a machine into any status, known or not, until the next command."""
        machine = self.machines[id]
        self.change(machine, lambda now: machine.force(now, status, self.new_session_id()))

    def use(self, id: str | int) -> None:
        """A machine is used, so its idle time starts again."""
        machine = self.machines[id]
        self.change(machine, machine.use)

    def set_remaining_usage(self, id: str | int, minutes: int) -> None:
        """Give a machine so many minutes of its own, from now on."""
        self.machines[id].remaining_usage = minutes

    def change(self, machine: Machine, do: Callable[[float], None]) -> None:
        """Change a machine, and what it costs; from any thread."""

        def changed() -> None:
            now = self.clock.now()
            self.organization.account.settle(now)
            do(now)
            self._charge(machine, now)

        self.home.run(changed)

    def new_session_id(self) -> str:
        """The id of the next session."""
        return str(next(self._session_ids))

    def new_user(self, email: str) -> User:
        """A user with this address, and a name that is made from it."""
        name = email.partition("@")[0].replace(".", " ").title()
        return User(new_uuid(self._random), email, name)

    def _add_routes(self) -> None:
        for method, template, handler in (
            ("GET", "/machines", self._list_machines),
            ("POST", "/machines", self._create_machines),
            ("GET", "/machines/permission-fields", self._permission_fields),
            ("GET", "/machines/{id}", self._get_machine),
            ("PATCH", "/machines/{id}", self._update_machine),
            ("POST", "/machines/{id}/start", self._start_machine),
            ("POST", "/machines/{id}/stop", self._stop_machine),
            ("GET", "/machines/{id}/available-machine-types", self._available_machine_types),
            ("POST", "/machines/{id}/machine-type", self._set_machine_type),
            ("POST", "/machines/{id}/access", self._create_access_link),
            ("POST", "/machines/{id}/reset", self._reset_machine),
            ("POST", "/machines/{id}/permissions", self._set_permissions),
            ("GET", "/machines/{id}/sessions", self._list_sessions),
            ("GET", "/machines/{id}/tasks", self._list_tasks),
            ("POST", "/machines/{id}/tasks", self._activate_task),
            ("DELETE", "/machines/{id}/tasks/{task_id}", self._delete_task),
            ("GET", "/software", self._list_software),
        ):
            self.routes.add(method, template, handler)

    def _list_machines(self, request: VagonRequest) -> Json:
        now = self.clock.now()
        found = MachineFilter.read(request.query).apply(self.machines.values(), now)
        page = paginate(found, request.query)
        return {
            "machines": [machine_view(machine, self.clock, now) for machine in page.items],
            **page.fields(),
        }

    def _create_machines(self, request: VagonRequest) -> Json:
        now = self.clock.now()
        wanted = NewMachines.read(request.json(), request.organization.default_region)
        price = wanted.plan.price * wanted.quantity
        if price > request.organization.balance:
            raise VagonError(
                480, f"Insufficient balance: {price} needed, {request.organization.balance} left"
            )
        request.organization.balance -= price
        made = [self._create_machine(wanted, now) for _ in range(wanted.quantity)]
        return {
            "machines": [created_machine_view(machine, self.clock, now) for machine in made],
            "count": len(made),
        }

    def _create_machine(self, wanted: NewMachines, now: float) -> Machine:
        image = wanted.base_image_id
        return self.add_machine(
            plan=wanted.plan,
            region=wanted.region,
            phases=(Phase(now, "off"),),
            # The document's example of a machine just bought has no task.
            tasks=[],
            software_ids=wanted.software_ids,
            base_image_id=image,
            base_image_name=None if image is None else BASE_IMAGE_NAMES[image],
            permissions=dict(wanted.permissions),
        )

    def _get_machine(self, request: VagonRequest) -> Json:
        return machine_view(self._machine(request), self.clock, self.clock.now())

    def _update_machine(self, request: VagonRequest) -> Json:
        machine, now = self._machine(request), self.clock.now()
        for name, value in read_update(request.json()).items():
            setattr(machine, name, value)
        return machine_view(machine, self.clock, now)

    def _start_machine(self, request: VagonRequest) -> Json:
        machine, body, now = self._machine(request), request.json(), self.clock.now()
        # Both fields are only in the vendor's example client, not in the document.
        type_id = (
            body_integer(body, "machine_type_id")
            if body.get("machine_type_id") is not None
            else None
        )
        region = known_region(body["region"]) if body.get("region") is not None else machine.region
        require_startable(machine, now)
        machine_type = (
            machine.machine_type if type_id is None else require_machine_type(machine, type_id)
        )
        require_usage(machine, self.organization.account, now)
        require_capacity(self.machines.values(), region, self.capacity.get(region), now)
        machine.machine_type, machine.region = machine_type, region
        add_default_task(machine, now, next(self._task_ids))
        machine.start(now, self.new_session_id())
        self._charge(machine, now)
        return {}

    def _stop_machine(self, request: VagonRequest) -> Json:
        machine, now = self._machine(request), self.clock.now()
        gracefully = body_boolean(request.json(), "gracefully", default=False)
        status = machine.status_at(now)
        if status not in RUNNING:
            raise VagonError(4204, f"Machine is not running ({status})")
        machine.stop(now, gracefully=gracefully)
        self._charge(machine, now)
        return {}

    def _available_machine_types(self, request: VagonRequest) -> Json:
        plan = self._machine(request).plan
        return {
            "machine_types": [
                machine_type_view(machine_type) for machine_type in plan.machine_types
            ]
        }

    def _set_machine_type(self, request: VagonRequest) -> Json:
        machine = self._machine(request)
        type_id = body_integer(request.json(), "machine_type_id")
        require_off(machine, self.clock.now())
        machine.machine_type = require_machine_type(machine, type_id)
        return {}

    def _create_access_link(self, request: VagonRequest) -> Json:
        self._machine(request)
        expires_at = self.clock.now() + read_expires_in(request.json()) * 60
        id_ = str(next(self._link_ids))
        link = f"https://app.vagon.io/team/session/{new_uuid(self._random)}"
        self.access_links[id_] = link
        return access_view(id_, link, self.clock.iso(expires_at))

    def _reset_machine(self, request: VagonRequest) -> Json:
        machine = self._machine(request)
        remove_files = body_boolean(request.json(), "remove_files", default=False)
        require_off(machine, self.clock.now())
        machine.reset()
        if remove_files:
            machine.files_used = 0
        return {}

    def _set_permissions(self, request: VagonRequest) -> Json:
        machine = self._machine(request)
        machine.permissions.update(read_permissions(request.json().get("permissions")))
        return {}

    def _permission_fields(self, _: VagonRequest) -> Json:
        fields = [
            {"name": name, "type": "boolean", "default": value}
            for name, value in PERMISSIONS.items()
        ]
        return {"permission_fields": fields}

    def _list_sessions(self, request: VagonRequest) -> Json:
        now = self.clock.now()
        sessions = self._machine(request).sessions_by(now)
        return {"sessions": [session_view(session, self.clock, now) for session in sessions]}

    def _list_tasks(self, request: VagonRequest) -> Json:
        now = self.clock.now()
        page = paginate(self._machine(request).tasks_by(now), request.query, TASKS_PER_PAGE)
        return {"tasks": [task_view(task, self.clock, now) for task in page.items], **page.fields()}

    def _activate_task(self, request: VagonRequest) -> Json:
        machine, now = self._machine(request), self.clock.now()
        uid = checked_uid(request.json().get("uid"))
        task, result = activate_task(machine, uid, now, next(self._task_ids))
        return {"task": task_view(task, self.clock, now), "result": result}

    def _delete_task(self, request: VagonRequest) -> Json:
        now = self.clock.now()
        machine, task_id = self._machine(request), request.params["task_id"]
        task = delete_task(machine, task_id, now, next(self._task_ids))
        return {"task": task_view(task, self.clock, now), "result": "deleted"}

    def _list_software(self, _: VagonRequest) -> Json:
        return {"software": SOFTWARE, "base_images": BASE_IMAGES}

    def _machine(self, request: VagonRequest) -> Machine:
        machine = self.machines.get(request.params["id"])
        if machine is None:
            raise VagonError(404, "Machine not found")
        if machine.owner is not None:
            raise VagonError(403, "Machine belongs to another member")
        return machine

    def _charge(self, machine: Machine, now: float) -> None:
        """Charge the organisation's balance for what the machine's own usage does not cover."""
        account = self.organization.account
        account.end(machine.draw, now)
        paid = machine.paid_by_the_team(now)
        machine.draw = None
        if paid is not None:
            machine.draw = account.draw(machine.machine_type.hourly, *paid, machine.run_out)

    def _free_machine_id(self) -> str:
        # An override may have an id that the counter has not reached yet.
        return next(id_ for id_ in map(str, self._machine_ids) if id_ not in self.machines)

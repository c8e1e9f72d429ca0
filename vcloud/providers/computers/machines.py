"""Machines: the handle with one method per verb, the fetched machine, and the collection."""

from __future__ import annotations

from collections.abc import Collection as Many
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import ClassVar, Final

import attrs
from attrs import frozen

from vcloud._core.arguments import (
    identifier,
    number,
    optional_member,
    positive_integer,
    text,
    whole_units,
)
from vcloud._core.decoding.models import none_when_absent
from vcloud._core.decoding.shape import Shape
from vcloud._core.instances import Instance, InstanceState
from vcloud._core.links import fault_of_link, refused_link
from vcloud._core.paging.pager import Pager
from vcloud._core.request import Request, drop_none, json_body, path_segment
from vcloud._core.resource import Collection, Handle, bind, stated, wait_until
from vcloud._core.scalars import Id, Instant, Integer, Minutes, Seconds
from vcloud._core.session import Session
from vcloud.errors import InvalidArgumentError
from vcloud.errors.text import word
from vcloud.providers.computers.models import (
    AUTO_STOP_THRESHOLDS,
    AccessLink,
    ActiveTask,
    ImageStatus,
    MachineStatus,
    MachineType,
    MachineTypeList,
    MachineUser,
    PermissionField,
    PermissionFieldList,
    Permissions,
    UsageSource,
)
from vcloud.providers.computers.sessions import MachineSessions
from vcloud.providers.computers.tasks import MachineTasks
from vcloud.providers.vagon import (
    DONE,
    Found,
    Item,
    Listing,
    Value,
    fetch_list,
    listing,
    resource,
    resources,
    values,
    with_id,
)

__all__ = ["Machine", "MachineRef", "Machines"]

MINUTE = timedelta(minutes=1)


@frozen(kw_only=True)
class MachineRef(Handle):
    """A machine by its id: everything that can be done to it, without having fetched it."""

    id: str = ""

    async def refresh(self) -> Machine:
        """Fetch the machine as it is now.  ``GET /machines/{id}``

        The path is not in the API document; Vagon's published client uses it.

        Raises:
            NotFoundError: there is no such machine.
        """
        return await self._session.fetch(Request("GET", self._path()), MACHINE)

    async def start(
        self, *, machine_type_id: str | int | None = None, region: str | None = None
    ) -> None:
        """Start the machine; it is ready after a while (:meth:`wait_until`).  ``POST /machines/{id}/start``

        The document shows no body; both arguments are from Vagon's published client. Without them no body is sent.

        Args:
            machine_type_id: the hardware to start on, the id of one of :meth:`available_machine_types`; None: as it is.
            region: where to start, such as ``dublin``; None: where it is.

        Raises:
            InvalidArgumentError: an id that is no number, or an empty region.
            NotFoundError: there is no such machine.
            InvalidRequestError: the service does not accept a value (400).
            InsufficientFundsError: the balance does not cover it (480), or the subscription's payment is pending (4110,
                from Vagon's published client).
            CapacityError: the region has no room (440, from Vagon's published client).
            ConflictError: the machine is running already (4206, as the document has it for other calls) or not ready
                (4201, which the document lists elsewhere and Vagon's published client here), its disk is being resized
                (469, from Vagon's published client), or the hardware is not in its plan (4205, as for
                :meth:`set_machine_type`; not stated for a start).
            PermissionDeniedError: permission required (4710).
        """
        given = drop_none(
            machine_type_id=None
            if machine_type_id is None
            else number(machine_type_id, "machine_type_id"),
            region=None if region is None else text(region, "region"),
        )
        body = json_body(given) if given else None
        request = Request("POST", self._path("/start"), body=body, starts=True)
        await self._session.fetch(request, DONE)

    async def stop(self, *, gracefully: bool = False) -> None:
        """Stop the running machine.  ``POST /machines/{id}/stop``

        Args:
            gracefully: let the system save logs and recordings first; False stops it at once.

        Raises:
            NotFoundError: there is no such machine.
            ConflictError: it is not running (4204).
            PermissionDeniedError: permission required (4710).
        """
        await self._session.fetch(
            Request("POST", self._path("/stop"), body=json_body({"gracefully": gracefully})), DONE
        )

    async def reset(self, *, remove_files: bool = False) -> None:
        """Revert the machine to its initial image; all data on it is lost for good.  ``POST /machines/{id}/reset``

        All tasks but the default one go too, and their names become free again.

        Args:
            remove_files: also wipe the machine's Vagon Files.

        Raises:
            NotFoundError: there is no such machine.
            ConflictError: it is running (4206).
            PermissionDeniedError: permission required (4710).
        """
        await self._session.fetch(
            Request("POST", self._path("/reset"), body=json_body({"remove_files": remove_files})),
            DONE,
        )

    async def update(
        self,
        *,
        auto_stop_threshold: timedelta | float | None = None,
        usage_source: UsageSource | str | None = None,
    ) -> Machine:
        """Change settings; what is not given stays.  ``PATCH /machines/{id}``

        Args:
            auto_stop_threshold: idle time after which it stops: 0 (never), 15 minutes, 1, 3 or 6 hours; seconds or timedelta.
            usage_source: what pays for its running time.

        Raises:
            InvalidArgumentError: another threshold or source, or nothing to change.
            NotFoundError: there is no such machine.
            InvalidRequestError: the service does not accept a value (400).
            PermissionDeniedError: permission required (4710).
        """
        threshold = None
        if auto_stop_threshold is not None:
            threshold = whole_units(
                auto_stop_threshold, timedelta(seconds=1), "auto_stop_threshold"
            )
            if timedelta(seconds=threshold) not in AUTO_STOP_THRESHOLDS:
                allowed = ", ".join(
                    f"{option.total_seconds():.0f}" for option in AUTO_STOP_THRESHOLDS
                )
                raise InvalidArgumentError(
                    f"auto_stop_threshold must be one of {allowed} seconds, not {threshold}"
                )
        body = drop_none(
            auto_stop_threshold=threshold,
            usage_source=optional_member(usage_source, UsageSource, "usage_source"),
        )
        if not body:
            raise InvalidArgumentError(
                "nothing to update: give auto_stop_threshold or usage_source"
            )
        return await self._session.fetch(
            Request("PATCH", self._path(), body=json_body(body)), MACHINE
        )

    async def available_machine_types(self) -> tuple[MachineType, ...]:
        """The hardware that the machine's plan allows.  ``GET /machines/{id}/available-machine-types``

        Raises:
            NotFoundError: there is no such machine.
            PermissionDeniedError: permission required (4710).
        """
        return await fetch_list(
            self._session, Request("GET", self._path("/available-machine-types")), MACHINE_TYPES
        )

    async def set_machine_type(self, machine_type_id: str | int) -> None:
        """Change CPU, memory and GPU; the machine must be off.  ``POST /machines/{id}/machine-type``

        Args:
            machine_type_id: the id of one of :meth:`available_machine_types`.

        Raises:
            NotFoundError: there is no such machine.
            ConflictError: not in the machine's plan (4205), or the machine is not off (4206).
            PermissionDeniedError: permission required (4710).
        """
        body = json_body({"machine_type_id": number(machine_type_id, "machine_type_id")})
        await self._session.fetch(Request("POST", self._path("/machine-type"), body=body), DONE)

    async def create_access_link(self, expires_in: timedelta | float) -> AccessLink:
        """Make a temporary link that opens the machine for anyone who has it.  ``POST /machines/{id}/access``

        Args:
            expires_in: how long the link works: whole minutes, at least one; seconds or timedelta.

        Raises:
            InvalidArgumentError: less than a minute, or not whole minutes.
            NotFoundError: there is no such machine.
            PermissionDeniedError: permission required (4710).
            DecodeError: the link is not safe to open: not https, say, or with a user before its
                host. The text does not repeat it.
        """
        body = json_body({"expires_in": whole_units(expires_in, MINUTE, "expires_in", at_least=1)})
        return await self._session.fetch(
            Request("POST", self._path("/access"), body=body, sensitive=True), ACCESS_LINK
        )

    async def set_permissions(self, permissions: Permissions) -> None:
        """Change what the machine's user may do; what is None stays.  ``POST /machines/{id}/permissions``

        Raises:
            InvalidArgumentError: all of them are None.
            NotFoundError: there is no such machine.
            InvalidRequestError: the service does not know a permission (400).
            PermissionDeniedError: permission required (4710).
        """
        given = _given(permissions)
        if not given:
            raise InvalidArgumentError("nothing to set: give at least one permission")
        await self._session.fetch(
            Request("POST", self._path("/permissions"), body=json_body({"permissions": given})),
            DONE,
        )

    @property
    def sessions(self) -> MachineSessions:
        """When the machine was used."""
        return MachineSessions(self._session, self.id)

    @property
    def tasks(self) -> MachineTasks:
        """The folders whose snapshots are kept."""
        return MachineTasks(self._session, self.id)

    async def wait_until(
        self,
        status: MachineStatus | str | Many[str],
        *,
        timeout: timedelta | float = 300,
        poll: timedelta | float = 2,
    ) -> Machine:
        """Poll until the machine has this ``friendly_status``.  ``GET /machines/{id}``

        Args:
            status: the status, or several of which one will do.
            timeout: for the whole wait; seconds or timedelta. With 0 the machine is fetched once.
            poll: the polling interval; seconds or timedelta.

        Raises:
            InvalidArgumentError: there is no such status, or a time below 0.
            WaitTimeout: time is up; ``last`` is the last status seen. If the last answer was older
                than ``poll`` by then, it has looked once more, for as long as one attempt may take.
            NotFoundError: there is no such machine.
        """
        return await wait_until(
            self.refresh,
            lambda machine: stated(machine.friendly_status, "friendly_status"),
            status,
            states=MachineStatus,
            timeout=timeout,
            poll=poll,
            clock=self._session.clock,
            hide=self._session.hide,
            attempt=self._session.attempt_timeout,
            what=f"machine {word(self.id)}",
        )

    async def connect_url(self) -> str:
        """A link that opens the machine for an hour; :meth:`create_access_link` lets you choose.  ``POST /machines/{id}/access``

        Raises:
            NotFoundError: there is no such machine.
            PermissionDeniedError: permission required (4710).
            DecodeError: the link is not safe to open; see :meth:`create_access_link`.
        """
        return (await self.create_access_link(timedelta(hours=1))).connection_link

    def _path(self, rest: str = "") -> str:
        return f"/machines/{path_segment(self.id)}{rest}"


@frozen(kw_only=True, field_transformer=none_when_absent)
class Machine(MachineRef):
    """A machine as it was when it was fetched. What the service did not say is None.

    Where the document's prose and its OpenAPI blocks give different units, the prose is right: the examples bear it out.

    Attributes:
        id: the machine's id.
        name: its name.
        last_session_start_at: when it was last used; None when never.
        auto_stop_threshold: idle time after which it stops; zero when it does not.
        file_storage_size: Vagon Files storage in GB.
        disk_size: disk in GB.
        network_credit: outbound network credit left, in bytes.
        assigned_image_id: the image it starts from; None for the default one.
        assigned_image_name: that image's name.
        region: where it is.
        machine_type: its hardware's friendly name.
        remaining_usage: running time left.
        deposited_usage: running time set aside for it.
        friendly_status: what it is doing.
        user: whom it is assigned to; None when nobody.
        permissions: what its user may do.
        usage_source: what pays for it; the answer to a create leaves it out.
        task: the task it works on; None when there is none or backup is off.
        latest_image_status: the state of its snapshot; None when it has no user data yet.
    """

    name: str | None
    last_session_start_at: Instant | None
    auto_stop_threshold: Seconds | None
    file_storage_size: Integer | None
    disk_size: Integer | None
    network_credit: Integer | None
    assigned_image_id: Id | None
    assigned_image_name: str | None
    region: str | None
    machine_type: str | None
    remaining_usage: Minutes | None
    deposited_usage: Minutes | None
    friendly_status: MachineStatus | None
    user: MachineUser | None
    permissions: Permissions | None
    usage_source: UsageSource | None = None
    task: ActiveTask | None
    latest_image_status: ImageStatus | None


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class MachineList(Listing):
    """``GET`` and ``POST /machines``."""

    key: ClassVar[str] = "machines"

    machines: list[Item[Machine]] | None


MACHINE = resource(Machine)
MACHINES = resources(MachineList, Machine)


def _opened_link(wire: Value[AccessLink], session: Session, body: bytes) -> AccessLink:  # noqa: ARG001 - the signature of every shape
    link = with_id(wire)
    fault = fault_of_link(link.connection_link, allow_http=session.allow_http)
    if fault is not None:
        raise refused_link("connection_link", fault)
    return link


ACCESS_LINK: Shape[Value[AccessLink], AccessLink] = Shape(Value[AccessLink], _opened_link)
MACHINE_TYPES: Shape[MachineTypeList, Found[MachineType]] = values(
    MachineTypeList, "machine_types", with_id
)
PERMISSION_FIELDS: Shape[PermissionFieldList, Found[PermissionField]] = values(
    PermissionFieldList, "permission_fields", lambda item: item
)


class Machines(Collection):
    """The organisation's machines."""

    def list(
        self,
        *,
        page: int | None = None,
        per_page: int | None = None,
        q: str | None = None,
        time_left: timedelta | float | None = None,
        has_session_data: bool | None = None,
        assigned: bool | None = None,
        status: MachineStatus | str | None = None,
    ) -> Pager[Machine]:
        """The machines that match.  ``GET /machines``

        Args:
            page: the page to begin with; the service begins with 1.
            per_page: machines per page; the service takes 20.
            q: part of a user's email or a machine's name.
            time_left: at least this much running time left: whole minutes; seconds or timedelta.
            has_session_data: True: used since the last reset; False: not.
            assigned: True: has a user or a pending invitation; False: has neither.
            status: with this ``friendly_status``; a value that this SDK does not know as ``MachineStatus(text)``
                (Vagon's published client also names ``running`` and ``stopping``).

        Raises:
            InvalidArgumentError: there is no such status, or a time that is not whole minutes.
            PermissionDeniedError: permission required (4710).
        """
        filters = {
            "q": q,
            "time_left": None if time_left is None else whole_units(time_left, MINUTE, "time_left"),
            "has_session_data": has_session_data,
            "assigned": assigned,
            "status": optional_member(status, MachineStatus, "status"),
        }
        return listing(
            self._session, "/machines", MACHINES, page=page, per_page=per_page, filters=filters
        )

    async def get(self, id: str | int) -> Machine:
        """Fetch one machine.  ``GET /machines/{id}``

        The path is not in the API document; Vagon's published client uses it.

        Raises:
            NotFoundError: there is no such machine.
        """
        return await self.ref(id).refresh()

    def ref(self, id: str | int) -> MachineRef:
        """A handle to act through, without asking the service.

        Raises:
            InvalidArgumentError: what is given cannot be an id.
        """
        return bind(MachineRef(id=identifier(id)), self._session)

    async def create(
        self,
        plan_id: str | int,
        *,
        quantity: int = 1,
        region: str | None = None,
        software_ids: Sequence[str | int] | None = None,
        base_image_id: str | int | None = None,
        permissions: Permissions | None = None,
    ) -> tuple[Machine, ...]:
        """Buy machines from the organisation's balance; never sent twice.  ``POST /machines``

        Args:
            plan_id: decides on machine types, disk and storage; Vagon tells you the ids.
            quantity: how many, at least one.
            region: where, such as ``dublin``; needed when the account has no default region.
            software_ids: what to install, ids of :attr:`VagonComputers.software`.
            base_image_id: the image to start from; None: the latest.
            permissions: what the users may do; None, whole or in part: the service's defaults.

        Raises:
            InvalidArgumentError: a quantity below one, or an id that is no number.
            NotFoundError: there is no such plan.
            InsufficientFundsError: the balance does not cover it (480).
            InvalidRequestError: a region is needed (4202), or not known.
            PermissionDeniedError: permission required (4710).
            TransportError: with ``outcome_unknown``, when the answer was lost: the machines may exist.
            DecodeError: with ``outcome_unknown``; ``items`` holds those of the new machines that can be read.
        """
        if isinstance(software_ids, str) or not isinstance(software_ids, Iterable | None):
            raise InvalidArgumentError(f"software_ids must be a list of ids, not {software_ids!r}")
        body = drop_none(
            plan_id=number(plan_id, "plan_id"),
            quantity=positive_integer(quantity, "quantity"),
            region=region,
            software_ids=None
            if software_ids is None
            else [number(id, "software_ids") for id in software_ids],
            base_image_id=None if base_image_id is None else number(base_image_id, "base_image_id"),
            permissions=_given(permissions) if permissions is not None else None,
        )
        return await fetch_list(
            self._session, Request("POST", "/machines", body=json_body(body), starts=True), MACHINES
        )

    async def permission_fields(self) -> tuple[PermissionField, ...]:
        """The permissions that can be set, and their defaults.  ``GET /machines/permission-fields``

        Raises:
            PermissionDeniedError: permission required (4710).
        """
        return await fetch_list(
            self._session, Request("GET", "/machines/permission-fields"), PERMISSION_FIELDS
        )


_STATES: Final = {
    MachineStatus.OFF: InstanceState.STOPPED,
    MachineStatus.CREATING: InstanceState.STARTING,
    MachineStatus.TURNING_ON: InstanceState.STARTING,
    MachineStatus.WARMING_UP: InstanceState.STARTING,
    MachineStatus.READY: InstanceState.RUNNING,
    MachineStatus.TURNING_OFF: InstanceState.STOPPING,
    MachineStatus.GRACEFUL_STOPPING: InstanceState.STOPPING,
    MachineStatus.RESIZING_DISK: InstanceState.MAINTENANCE,
    MachineStatus.INSTALLING: InstanceState.MAINTENANCE,
    MachineStatus.REGION_MIGRATION: InstanceState.MAINTENANCE,
}


def view(machine: Machine) -> Instance:
    """A machine as an instance."""
    status, unknown = machine.friendly_status, InstanceState.UNKNOWN
    state = unknown if status is None else _STATES.get(status, unknown)
    started_at = machine.last_session_start_at if state is InstanceState.RUNNING else None
    name = machine.name or machine.id
    return Instance("computers", machine.id, name, state, machine.region, started_at, machine)


def _given(permissions: Permissions) -> dict[str, bool]:
    if type(permissions) is not Permissions:
        raise InvalidArgumentError(
            f"permissions must be a Permissions(...), not {type(permissions).__name__}"
        )
    return {name: value for name, value in attrs.asdict(permissions).items() if value is not None}

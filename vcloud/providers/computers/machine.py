"""A machine: the handle with its methods, and the fields of a fetched machine."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar

from attrs import frozen

from vcloud._core.arguments import number, optional_member, text, whole_units
from vcloud._core.decoding.models import none_when_absent
from vcloud._core.decoding.shape import Shape
from vcloud._core.instances import Instance, InstanceHandle, InstanceKind, InstanceState
from vcloud._core.links import fault_of_link, refused_link
from vcloud._core.request import Request, drop_none, json_body, path_segment
from vcloud._core.resources import Opened, fetch_list, values
from vcloud._core.scalars import Id, Instant, Integer, Minutes, Seconds
from vcloud._core.session import Session
from vcloud._core.states import Lifecycle
from vcloud.errors import InvalidArgumentError
from vcloud.providers.computers.instances import KIND, STATES
from vcloud.providers.computers.models import (
    AUTO_STOP_THRESHOLDS,
    AccessLink,
    ActiveTask,
    ImageStatus,
    MachineStatus,
    MachineType,
    MachineTypeList,
    MachineUser,
    Permissions,
    UsageSource,
    permissions_to_wire,
)
from vcloud.providers.computers.sessions import MachineSessions
from vcloud.providers.computers.tasks import MachineTasks
from vcloud.providers.vagon import DONE
from vcloud.providers.vagon_resources import Value, resource, with_id

__all__ = ["Machine", "MachineRef"]

MINUTE = timedelta(minutes=1)


@frozen(kw_only=True)
class MachineRef(InstanceHandle["Machine", MachineStatus]):
    """A machine by its id. It has all methods, without fetching the machine.

    Its state, for :meth:`wait_until`, is the ``friendly_status``: a :class:`MachineStatus`.
    """

    _kind: ClassVar[InstanceKind] = KIND
    _lifecycle: ClassVar[Lifecycle] = Lifecycle("machine", "friendly_status", MachineStatus, STATES)

    _absent: ClassVar[Mapping[str, str]] = {
        **KIND.instead,
        "restart": "the API has no restart: stop(), wait_until('off'), start()",
        "reboot": "the API has no restart: stop(), wait_until('off'), start()",
        "delete": "the API deletes no machines",
        "change_type": "did you mean set_machine_type?",
        "machine_types": "did you mean available_machine_types?",
        "power_off": "did you mean stop?",
        "power_on": "did you mean start?",
    }

    id: str = ""

    async def refresh(self) -> Machine:
        """Fetch the machine as it is now.  ``GET /machines/{id}``

        The path is not in the API document; Vagon's published client uses it.

        Raises:
            NotFoundError: there is no such machine.
        """
        return await self._session.fetch(Request("GET", self._path()), MACHINE)

    async def start(
        self, *, machine_type_id: MachineType | str | int | None = None, region: str | None = None
    ) -> None:
        """Start the machine.  ``POST /machines/{id}/start``

        It is ready after a while (:meth:`wait_until`). The document shows no body; both arguments
        are from Vagon's published client. Without them no body is sent.

        Args:
            machine_type_id: the hardware to start on, one of :meth:`available_machine_types` or its
                id; None: the hardware that it has.
            region: where to start, such as ``dublin``; None: where it is.

        Raises:
            InvalidArgumentError: the id is not a number, or the region is empty.
            NotFoundError: there is no such machine.
            InvalidRequestError: the service does not accept a value (400).
            InsufficientFundsError: the balance does not cover it (480), or the subscription's
                payment is pending (4110, from Vagon's published client).
            CapacityError: the region has no capacity (440, from Vagon's published client).
            ConflictError: the machine is already running (4206, as the document has it for other
                calls) or not ready (4201, which the document lists elsewhere and Vagon's published
                client here), its disk is being resized (469, from Vagon's published client), or the
                hardware is not in its plan (4205, as for :meth:`set_machine_type`; not documented
                for a start).
            PermissionDeniedError: permission required (4710).
        """
        given = drop_none(
            machine_type_id=None
            if machine_type_id is None
            else number(machine_type_id, "machine_type_id", MachineType),
            region=None if region is None else text(region, "region"),
        )
        body = json_body(given) if given else None
        request = Request("POST", self._path("/start"), body=body, starts=True)
        await self._session.fetch(request, DONE)

    async def stop(self, *, gracefully: bool = False) -> None:
        """Stop the running machine.  ``POST /machines/{id}/stop``

        Args:
            gracefully: True: the system first saves logs and recordings; False: it stops at once.

        Raises:
            NotFoundError: there is no such machine.
            ConflictError: it is not running (4204).
            PermissionDeniedError: permission required (4710).
        """
        await self._session.fetch(
            Request("POST", self._path("/stop"), body=json_body({"gracefully": gracefully})), DONE
        )

    async def reset(self, *, remove_files: bool = False) -> None:
        """Revert the machine to its initial image.  ``POST /machines/{id}/reset``

        All data on it is lost. All tasks except the default one are deleted, and their names can be
        used again.

        Args:
            remove_files: whether to delete the machine's Vagon Files too.

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
        """Change the settings that are given.  ``PATCH /machines/{id}``

        Args:
            auto_stop_threshold: the idle time after which the machine stops: 0 (never), 15 minutes,
                1, 3 or 6 hours; seconds or timedelta.
            usage_source: what pays for its running time.

        Raises:
            InvalidArgumentError: the threshold or the source is another one, or neither is given.
            NotFoundError: there is no such machine.
            InvalidRequestError: the service does not accept a value (400).
            PermissionDeniedError: permission required (4710).
        """
        threshold = None
        if auto_stop_threshold is not None:
            threshold = _threshold(auto_stop_threshold)
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
        """The hardware that the machine's plan allows.

        ``GET /machines/{id}/available-machine-types``

        Raises:
            NotFoundError: there is no such machine.
            PermissionDeniedError: permission required (4710).
        """
        return await fetch_list(
            self._session, Request("GET", self._path("/available-machine-types")), MACHINE_TYPES
        )

    async def set_machine_type(self, machine_type_id: MachineType | str | int) -> None:
        """Change the hardware of a machine that is off.  ``POST /machines/{id}/machine-type``

        Args:
            machine_type_id: one of :meth:`available_machine_types`, or its id.

        Raises:
            NotFoundError: there is no such machine.
            ConflictError: the hardware is not in the machine's plan (4205), or the machine is
                not off (4206).
            PermissionDeniedError: permission required (4710).
        """
        body = json_body(
            {"machine_type_id": number(machine_type_id, "machine_type_id", MachineType)}
        )
        await self._session.fetch(Request("POST", self._path("/machine-type"), body=body), DONE)

    async def create_access_link(self, expires_in: timedelta | float) -> AccessLink:
        """Create a temporary link that opens the machine.  ``POST /machines/{id}/access``

        Anyone who has the link can use the machine.

        Args:
            expires_in: how long the link works: whole minutes, at least one; seconds or timedelta.

        Raises:
            InvalidArgumentError: ``expires_in`` is less than a minute, or not whole minutes.
            NotFoundError: there is no such machine.
            PermissionDeniedError: permission required (4710).
            DecodeError: the link is not safe to open, for example because it is not https or has a
                user before its host. The text does not repeat it.
        """
        body = json_body({"expires_in": whole_units(expires_in, MINUTE, "expires_in", at_least=1)})
        return await self._session.fetch(
            Request("POST", self._path("/access"), body=body, sensitive=True), ACCESS_LINK
        )

    async def set_permissions(self, permissions: Permissions) -> None:
        """Change what the machine's user may do.  ``POST /machines/{id}/permissions``

        Args:
            permissions: those to change; None: unchanged.

        Raises:
            InvalidArgumentError: all permissions are None.
            NotFoundError: there is no such machine.
            InvalidRequestError: the service does not know a permission (400).
            PermissionDeniedError: permission required (4710).
        """
        given = permissions_to_wire(permissions)
        if not given:
            raise InvalidArgumentError("nothing to set: give at least one permission")
        await self._session.fetch(
            Request("POST", self._path("/permissions"), body=json_body({"permissions": given})),
            DONE,
        )

    @property
    def sessions(self) -> MachineSessions:
        """The sessions of the machine: when it was used."""
        return MachineSessions(self._session, self.id)

    @property
    def tasks(self) -> MachineTasks:
        """The tasks of the machine: the folders whose snapshots are kept."""
        return MachineTasks(self._session, self.id)

    async def connect_url(self) -> str:
        """Create a link that opens the machine for an hour.  ``POST /machines/{id}/access``

        :meth:`create_access_link` takes another duration.

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
    """A machine as it was when it was fetched. A field that the service did not send is None.

    The document's prose and its OpenAPI blocks differ in some units. The prose is right, as the
    examples show.

    Attributes:
        id: the machine's id.
        name: its name.
        last_session_start_at: when it was last used; None if never.
        auto_stop_threshold: the idle time after which it stops; zero if it does not.
        file_storage_size: Vagon Files storage in GB.
        disk_size: disk in GB.
        network_credit: the outbound network credit that is left, in bytes.
        assigned_image_id: the image it starts from; None for the default one.
        assigned_image_name: that image's name.
        region: where it is.
        machine_type: its hardware's friendly name.
        remaining_usage: the running time that is left.
        deposited_usage: the running time that is reserved for it.
        friendly_status: what it is doing.
        user: the user that it is assigned to; None if unassigned.
        permissions: what its user may do.
        usage_source: what pays for it; None in the answer to a create.
        task: its active task; None if there is none, or backup is off.
        latest_image_status: the state of its snapshot; None if it has no user data yet.
    """

    _guesses: ClassVar[tuple[str, ...]] = ("autostop", "email", "image_name", "type")

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

    def as_instance(self) -> Instance:
        """The view that all providers share of this machine; nothing is sent."""
        state = self._lifecycle.shared_state(self.friendly_status)
        started_at = self.last_session_start_at if state is InstanceState.RUNNING else None
        name = self.name or self.id
        return Instance(KIND.provider, self.id, name, state, self.region, started_at, self)


def _threshold(value: timedelta | float) -> int:
    seconds = whole_units(value, timedelta(seconds=1), "auto_stop_threshold")
    if timedelta(seconds=seconds) not in AUTO_STOP_THRESHOLDS:
        allowed = ", ".join(f"{option.total_seconds():.0f}" for option in AUTO_STOP_THRESHOLDS)
        raise InvalidArgumentError(
            f"auto_stop_threshold must be one of {allowed} seconds, not {seconds} seconds"
        )
    return seconds


MACHINE = resource(Machine)


def _opened_link(
    wire: Value[AccessLink],
    session: Session,
    body: bytes,  # noqa: ARG001 - the signature of every shape
) -> AccessLink:
    link = with_id(wire)
    fault = fault_of_link(link.connection_link, allow_http=session.allow_http)
    if fault is not None:
        raise refused_link("connection_link", fault)
    return link


ACCESS_LINK: Shape[Value[AccessLink], AccessLink] = Shape(Value[AccessLink], _opened_link)
MACHINE_TYPES: Shape[MachineTypeList, Opened[MachineType]] = values(
    MachineTypeList, "machine_types", with_id
)

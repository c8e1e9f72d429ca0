"""The organisation's machines: to list, fetch and create them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import ClassVar

from attrs import frozen

from vcloud._core.arguments import (
    number,
    optional_member,
    positive_integer,
    text,
    whole_units,
)
from vcloud._core.decoding.models import none_when_absent
from vcloud._core.decoding.shape import Shape
from vcloud._core.paging.pager import Pager
from vcloud._core.paging.search import named
from vcloud._core.request import Request, drop_none, json_body
from vcloud._core.resource import IdCollection
from vcloud._core.resources import Opened, fetch_list, values
from vcloud.errors import InvalidArgumentError
from vcloud.providers.computers.machine import MINUTE, Machine, MachineRef
from vcloud.providers.computers.models import (
    BaseImage,
    MachineStatus,
    PermissionField,
    PermissionFieldList,
    Permissions,
    Software,
    permissions_to_wire,
)
from vcloud.providers.vagon_resources import Item, Listing, listing, resources

__all__ = ["Machines"]


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class MachineList(Listing):
    """``GET`` and ``POST /machines``."""

    key: ClassVar[str] = "machines"

    machines: list[Item[Machine]] | None


MACHINES = resources(MachineList, Machine)
PERMISSION_FIELDS: Shape[PermissionFieldList, Opened[PermissionField]] = values(
    PermissionFieldList, "permission_fields", lambda item: item
)


class Machines(IdCollection[MachineRef]):
    """The organisation's machines."""

    _absent: ClassVar[Mapping[str, str]] = {"get_by_name": "did you mean find?"}

    _handle = MachineRef

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
            q: a part of the user's email address or of the machine's name.
            time_left: the running time that must be left: whole minutes; seconds or timedelta.
            has_session_data: True: used since the last reset; False: not used since then.
            assigned: True: with a user or a pending invitation; False: with neither.
            status: the API's word for the ``friendly_status`` of a :class:`Machine`, such as
                ``ready``. A value that this SDK does not know is given as ``MachineStatus(text)``
                (Vagon's published client also has ``running`` and ``stopping``).

        Raises:
            InvalidArgumentError: there is no such status, or the time is not whole minutes.
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

    async def find(self, name: str) -> Machine | None:
        """The machine with exactly this name, or None.  ``GET /machines`` with ``q``

        The service finds all whose name or user's email address contains it, and all those pages
        are read.

        Args:
            name: the whole name, in the same case.

        Raises:
            InvalidArgumentError: the name is blank, or several machines have it; the message has
                their ids.
            PermissionDeniedError: permission required (4710).
            DecodeError: some of those machines cannot be read.
        """
        return await named(self.list(q=text(name, "name"), per_page=100), name, "machine")

    async def get(self, id: MachineRef | str | int) -> Machine:
        """Fetch one machine.  ``GET /machines/{id}``

        The path is not in the API document; Vagon's published client uses it.

        Raises:
            NotFoundError: there is no such machine.
        """
        return await self.ref(id).refresh()

    async def create(
        self,
        plan_id: str | int,
        *,
        quantity: int = 1,
        region: str | None = None,
        software_ids: Sequence[str | int | Software] | None = None,
        base_image_id: BaseImage | str | int | None = None,
        permissions: Permissions | None = None,
    ) -> tuple[Machine, ...]:
        """Buy machines from the organisation's balance; never sent twice.  ``POST /machines``

        Args:
            plan_id: the plan, which decides on machine types, disk and storage. Customers get the
                ids from Vagon.
            quantity: how many machines, at least one.
            region: where, such as ``dublin``; required if the account has no default region.
            software_ids: what to install: some of :attr:`VagonComputers.software`, or their ids.
            base_image_id: the image to start from, or its id; None: the latest.
            permissions: what the users may do; None, whole or in part: the service's defaults.

        Raises:
            InvalidArgumentError: the quantity is below one, or an id is not a number.
            NotFoundError: there is no such plan.
            InsufficientFundsError: the balance does not cover it (480).
            InvalidRequestError: a region is required (4202), or not known.
            PermissionDeniedError: permission required (4710).
            TransportError: with ``outcome_unknown`` if the answer was lost: the machines may exist.
            DecodeError: with ``outcome_unknown``; ``items`` holds the new machines that can be
                read.
        """
        if isinstance(software_ids, str) or not isinstance(software_ids, Iterable | None):
            raise InvalidArgumentError(f"software_ids must be a list of ids, not {software_ids!r}")
        body = drop_none(
            plan_id=number(plan_id, "plan_id"),
            quantity=positive_integer(quantity, "quantity"),
            region=region,
            software_ids=None
            if software_ids is None
            else [number(id, "software_ids", Software) for id in software_ids],
            base_image_id=None
            if base_image_id is None
            else number(base_image_id, "base_image_id", BaseImage),
            permissions=None if permissions is None else permissions_to_wire(permissions),
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

"""Reading the requests of the Computers API: filters of lists, bodies of create and update."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from attrs import frozen

from vcloud.emulator.computers.catalog import (
    AUTO_STOP_THRESHOLDS,
    BASE_IMAGE_NAMES,
    PERMISSIONS,
    PLANS,
    SOFTWARE_IDS,
    USAGE_SOURCES,
    Json,
    Plan,
)
from vcloud.emulator.computers.machine import Machine
from vcloud.emulator.vagon.service import (
    VagonError,
    body_integer,
    known_region,
    query_boolean,
    query_integer,
)

MAX_EXPIRES_IN = 10 * 365 * 24 * 60
"""Ten years in minutes. Undocumented: a limit is needed, because dates end with the year 9999."""

_DIGITS = re.compile(r"[0-9]{1,18}")


@frozen(kw_only=True)
class MachineFilter:
    """The filters of a machine list; None does not filter."""

    q: str | None
    time_left: int | None
    has_session_data: bool | None
    assigned: bool | None
    status: str | None

    @classmethod
    def read(cls, query: Mapping[str, str]) -> MachineFilter:
        """Read the filters from a query."""
        q = query.get("q")
        return cls(
            q=q.casefold() if q else None,
            time_left=query_integer(query, "time_left"),
            has_session_data=query_boolean(query, "has_session_data"),
            assigned=query_boolean(query, "assigned"),
            status=query.get("status") or None,
        )

    def apply(self, machines: Iterable[Machine], now: float) -> Iterable[Machine]:
        """The machines that pass; without filters, all of them, unexamined."""
        if self == _NO_FILTER:
            return machines
        return self._passing(machines, now)

    def _passing(self, machines: Iterable[Machine], now: float) -> Iterator[Machine]:
        return (machine for machine in machines if self._passes(machine, now))

    def _passes(self, machine: Machine, now: float) -> bool:
        return (
            (self.q is None or self._mentions(machine, self.q))
            and (self.time_left is None or machine.remaining(now) >= self.time_left)
            and (
                self.assigned is None
                or (machine.user is not None or machine.invited) == self.assigned
            )
            and (self.status is None or machine.status_at(now) == self.status)
            and (
                self.has_session_data is None
                or machine.has_session_data(now) == self.has_session_data
            )
        )

    @staticmethod
    def _mentions(machine: Machine, q: str) -> bool:
        email = machine.user.email if machine.user is not None else ""
        return q in machine.name.casefold() or q in email.casefold()


_NO_FILTER = MachineFilter(
    q=None, time_left=None, has_session_data=None, assigned=None, status=None
)


@frozen(kw_only=True)
class NewMachines:
    """The machines that a create asks for."""

    plan: Plan
    quantity: int
    region: str
    software_ids: tuple[int, ...]
    base_image_id: int | None
    permissions: dict[str, bool]

    @classmethod
    def read(cls, body: Json, default_region: str | None) -> NewMachines:
        """Read the body of a create."""
        plan_id = body_integer(body, "plan_id")
        quantity = body_integer({"quantity": 1, **body}, "quantity", minimum=1)
        software_ids = _software_ids(body.get("software_ids"))
        base_image_id = _base_image_id(body.get("base_image_id"))
        permissions = read_permissions(body.get("permissions", {}))
        if plan_id not in PLANS:
            raise VagonError(404, "Plan not found")
        region = body.get("region")
        if region is None:
            region = default_region
        if region is None:
            raise VagonError(4202, "Region is required")
        return cls(
            plan=PLANS[plan_id],
            quantity=quantity,
            region=known_region(region),
            software_ids=software_ids,
            base_image_id=base_image_id,
            permissions={**PERMISSIONS, **permissions},
        )


def read_permissions(found: object) -> dict[str, bool]:
    """Read a `permissions` object: known names and booleans only."""
    if not isinstance(found, dict):
        raise VagonError(400, "permissions must be an object")
    for name, value in found.items():
        if name not in PERMISSIONS:
            raise VagonError(
                400, f"unknown permission {name!r}; there are {', '.join(PERMISSIONS)}"
            )
        if not isinstance(value, bool):
            raise VagonError(400, f"permission {name} must be true or false")
    return found


def read_update(body: Json) -> Json:
    """Read the body of an update: only the fields that were sent."""
    changes: Json = {}
    if "auto_stop_threshold" in body:
        threshold = body_integer(body, "auto_stop_threshold")
        if threshold not in AUTO_STOP_THRESHOLDS:
            allowed = ", ".join(map(str, AUTO_STOP_THRESHOLDS))
            raise VagonError(400, f"auto_stop_threshold must be one of {allowed}")
        changes["auto_stop_threshold"] = threshold
    if "usage_source" in body:
        if body["usage_source"] not in USAGE_SOURCES:
            raise VagonError(400, f"usage_source must be one of {', '.join(USAGE_SOURCES)}")
        changes["usage_source"] = body["usage_source"]
    return changes


def read_expires_in(body: Json) -> int:
    """Read the minutes of an access link, which the vendor's own pages send as text."""
    sent = body.get("expires_in")
    if isinstance(sent, str) and _DIGITS.fullmatch(sent):
        body = {"expires_in": int(sent)}
    expires_in = body_integer(body, "expires_in", minimum=1)
    if expires_in > MAX_EXPIRES_IN:
        raise VagonError(400, f"expires_in must be at most {MAX_EXPIRES_IN} minutes")
    return expires_in


def _software_ids(found: object) -> tuple[int, ...]:
    if found is None:
        return ()
    if not isinstance(found, list) or any(type(id_) is not int for id_ in found):
        raise VagonError(400, "software_ids must be an array of integers")
    unknown = sorted(set(found) - SOFTWARE_IDS)
    if unknown:
        raise VagonError(400, f"unknown software_ids {unknown}")
    return tuple(found)


def _base_image_id(found: object) -> int | None:
    if found is None:
        return None
    if type(found) is not int or found not in BASE_IMAGE_NAMES:
        raise VagonError(400, "unknown base_image_id")
    return found

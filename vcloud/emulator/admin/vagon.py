"""The emulator's own routes about the Vagon services: account, visitors, use of machines."""

from __future__ import annotations

from typing import Annotated

import msgspec

from vcloud.emulator.admin.requests import AdminRequest, Json, Route
from vcloud.emulator.admin.target import Target
from vcloud.emulator.streams.state import Visitor
from vcloud.emulator.vagon.service import amount, region


class _Account(msgspec.Struct, forbid_unknown_fields=True):
    balance: str | int | msgspec.UnsetType = msgspec.UNSET
    default_region: str | msgspec.UnsetType | None = msgspec.UNSET


class _Email(msgspec.Struct, forbid_unknown_fields=True):
    email: str | None = None


class _Usage(msgspec.Struct, forbid_unknown_fields=True):
    minutes: Annotated[int, msgspec.Meta(ge=0, le=10**9)]


class _Machine(msgspec.Struct, forbid_unknown_fields=True):
    machine: str


class _Visit(Visitor, frozen=True, kw_only=True, forbid_unknown_fields=True):
    machine: str


def vagon_routes(target: Target) -> tuple[Route, ...]:
    """Method, path below the prefix, handler and help of each route."""
    admin = _VagonAdmin(target)
    return (
        ("GET", "/account", admin.account, "the Vagon organisation's balance and default region"),
        (
            "PATCH",
            "/account",
            admin.set_account,
            "{balance, default_region}: set either; the balance is text, such as 100.00",
        ),
        ("GET", "/visitors", admin.visitors, "the registered visitors of Streams"),
        ("POST", "/visitors", admin.add_visitor, "{email}: register one; null for no email"),
        (
            "POST",
            "/visits",
            admin.open,
            "{machine, ping, city, ...}: the visitor of a Streams machine opens its link",
        ),
        ("POST", "/visits/activity", admin.act, "{machine}: its visitor is active"),
        ("POST", "/visits/end", admin.leave, "{machine}: its visitor leaves"),
        (
            "POST",
            "/computers/{id}/activity",
            admin.use,
            "{}: a computer is used, so its idle time starts again",
        ),
        (
            "POST",
            "/computers/{id}/usage",
            admin.set_usage,
            "{minutes}: set the usage that a computer has of its own",
        ),
    )


class _VagonAdmin:
    """Answers these routes."""

    def __init__(self, target: Target) -> None:
        self._target = target

    async def account(self, _: AdminRequest) -> tuple[int, Json]:
        organization = self._target.organization
        balance = f"{organization.balance:.2f}"
        return 200, {"balance": balance, "default_region": organization.default_region}

    async def set_account(self, request: AdminRequest) -> tuple[int, Json]:
        wanted, organization = request.read(_Account), self._target.organization
        default_region = wanted.default_region
        if isinstance(default_region, str):
            region(default_region)
        if not isinstance(wanted.balance, msgspec.UnsetType):
            organization.balance = amount(wanted.balance)
        if not isinstance(default_region, msgspec.UnsetType):
            organization.default_region = default_region
        return await self.account(request)

    async def visitors(self, _: AdminRequest) -> tuple[int, Json]:
        users = self._target.streams.users.values()
        return 200, {"visitors": [{"id": user.id, "email": user.email} for user in users]}

    async def add_visitor(self, request: AdminRequest) -> tuple[int, Json]:
        user = self._target.streams.add_user(request.read(_Email).email or None)
        return 201, {"id": user.id, "email": user.email}

    async def open(self, request: AdminRequest) -> tuple[int, Json]:
        details = msgspec.structs.asdict(request.read(_Visit))
        machine = self._machine(details.pop("machine"))
        self._target.streams.visitor_opens(machine, **details)
        return 201, {"machine": machine}

    async def act(self, request: AdminRequest) -> tuple[int, Json]:
        machine = self._machine(request.read(_Machine).machine)
        self._target.streams.visitor_acts(machine)
        return 200, {"machine": machine}

    async def leave(self, request: AdminRequest) -> tuple[int, Json]:
        machine = self._machine(request.read(_Machine).machine)
        self._target.streams.visitor_leaves(machine)
        return 200, {"machine": machine}

    async def use(self, request: AdminRequest) -> tuple[int, Json]:
        id_ = self._computer(request)
        self._target.computers.use(id_)
        return 200, {"id": id_}

    async def set_usage(self, request: AdminRequest) -> tuple[int, Json]:
        id_, minutes = self._computer(request), request.read(_Usage).minutes
        self._target.computers.set_remaining_usage(id_, minutes)
        return 200, {"id": id_, "minutes": minutes}

    def _machine(self, id: str) -> str:
        if id not in map(str, self._target.streams.machines):
            msg = f"there is no Streams machine {id}"
            raise LookupError(msg)
        return id

    def _computer(self, request: AdminRequest) -> str:
        id_ = request.params["id"]
        if id_ not in self._target.computers.machines:
            msg = f"there is no computer {id_}"
            raise LookupError(msg)
        return id_

"""The emulator's own routes about the Vagon services: account, visitors, use of machines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
from aiohttp import web
from attrs import frozen

from vcloud.emulator.vagon.service import amount, region

if TYPE_CHECKING:
    from vcloud.emulator.server import Emulator

Json = dict[str, Any]
T = TypeVar("T")


@frozen
class Asked:
    """A request to one of the emulator's own routes."""

    request: web.BaseRequest
    params: Mapping[str, str]
    body: bytes

    def read(self, wanted: type[T]) -> T:
        """Return the body as this."""
        return msgspec.json.decode(self.body, type=wanted)


Handler = Callable[[Asked], Awaitable[tuple[int, Json]]]


Route = tuple[str, str, Handler, str]


class _Account(msgspec.Struct, forbid_unknown_fields=True):
    balance: str | int | msgspec.UnsetType = msgspec.UNSET
    default_region: str | msgspec.UnsetType | None = msgspec.UNSET


class _Email(msgspec.Struct, forbid_unknown_fields=True):
    email: str | None = None


class _Usage(msgspec.Struct, forbid_unknown_fields=True):
    minutes: Annotated[int, msgspec.Meta(ge=0, le=10**9)]


class _Machine(msgspec.Struct, forbid_unknown_fields=True):
    machine: str


class _Visitor(_Machine):
    ping: float | None = 98
    audio_state: str | None = "muted"
    audio_input: bool = True
    audio_output: bool = True
    city: str = "San Francisco"
    country: str = "US"
    os: str = "Windows 11"
    device_type: str = "desktop"


def vagon_routes(emulator: Emulator) -> tuple[Route, ...]:
    """Return method, path below the prefix, handler and help of each route."""
    admin = _VagonAdmin(emulator)
    return (
        ("GET", "/account", admin.account, "the Vagon organisation's balance and default region"),
        (
            "PATCH",
            "/account",
            admin.set_account,
            "{balance, default_region}: set either; the balance is text, such as 100.00",
        ),
        ("GET", "/visitors", admin.visitors, "the visitors of Streams on record"),
        ("POST", "/visitors", admin.add_visitor, "{email}: put one on record; null for no email"),
        (
            "POST",
            "/visits",
            admin.open,
            "{machine, ping, city, ...}: the visitor of a Streams machine opens its link",
        ),
        ("POST", "/visits/activity", admin.act, "{machine}: let its visitor do something"),
        ("POST", "/visits/end", admin.leave, "{machine}: let its visitor go"),
        (
            "POST",
            "/computers/{id}/activity",
            admin.use,
            "{}: let somebody do something on a computer, so that its idle time begins anew",
        ),
        (
            "POST",
            "/computers/{id}/usage",
            admin.set_usage,
            "{minutes}: give a computer so much usage of its own",
        ),
    )


class _VagonAdmin:
    """Answers these routes."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    async def account(self, _: Asked) -> tuple[int, Json]:
        organization = self._emulator.organization
        balance = f"{organization.balance:.2f}"
        return 200, {"balance": balance, "default_region": organization.default_region}

    async def set_account(self, asked: Asked) -> tuple[int, Json]:
        wanted, organization = asked.read(_Account), self._emulator.organization
        default_region = wanted.default_region
        if isinstance(default_region, str):
            region(default_region)
        if not isinstance(wanted.balance, msgspec.UnsetType):
            organization.balance = amount(wanted.balance)
        if not isinstance(default_region, msgspec.UnsetType):
            organization.default_region = default_region
        return await self.account(asked)

    async def visitors(self, _: Asked) -> tuple[int, Json]:
        users = self._emulator.streams.users.values()
        return 200, {"visitors": [{"id": user.id, "email": user.email} for user in users]}

    async def add_visitor(self, asked: Asked) -> tuple[int, Json]:
        user = self._emulator.streams.add_user(asked.read(_Email).email or None)
        return 201, {"id": user.id, "email": user.email}

    async def open(self, asked: Asked) -> tuple[int, Json]:
        details = msgspec.structs.asdict(asked.read(_Visitor))
        machine = self._machine(details.pop("machine"))
        self._emulator.streams.visitor_opens(machine, **details)
        return 201, {"machine": machine}

    async def act(self, asked: Asked) -> tuple[int, Json]:
        machine = self._machine(asked.read(_Machine).machine)
        self._emulator.streams.visitor_acts(machine)
        return 200, {"machine": machine}

    async def leave(self, asked: Asked) -> tuple[int, Json]:
        machine = self._machine(asked.read(_Machine).machine)
        self._emulator.streams.visitor_leaves(machine)
        return 200, {"machine": machine}

    async def use(self, asked: Asked) -> tuple[int, Json]:
        id_ = self._computer(asked)
        self._emulator.computers.use(id_)
        return 200, {"id": id_}

    async def set_usage(self, asked: Asked) -> tuple[int, Json]:
        id_, minutes = self._computer(asked), asked.read(_Usage).minutes
        self._emulator.computers.set_remaining_usage(id_, minutes)
        return 200, {"id": id_, "minutes": minutes}

    def _machine(self, id: str) -> str:
        if id not in map(str, self._emulator.streams.machines):
            msg = f"there is no Streams machine {id}"
            raise LookupError(msg)
        return id

    def _computer(self, asked: Asked) -> str:
        id_ = asked.params["id"]
        if id_ not in self._emulator.computers.machines:
            msg = f"there is no computer {id_}"
            raise LookupError(msg)
        return id_

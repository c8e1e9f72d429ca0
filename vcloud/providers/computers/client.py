"""Vagon Computers: machines of an organisation, and what runs on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from vcloud._core.client import Client
from vcloud._core.instances import Instance
from vcloud._core.paging.pager import Pager
from vcloud._core.request import Request, query
from vcloud._core.service import Service
from vcloud.providers.computers.errors import SERVICE
from vcloud.providers.computers.machine import Machine, MachineRef
from vcloud.providers.computers.machines import MACHINES, Machines
from vcloud.providers.computers.software import SoftwareCatalog
from vcloud.providers.variables import COMPUTERS

if TYPE_CHECKING:
    from vcloud._core.environment import Variables
    from vcloud._core.session import Session

__all__ = ["VagonComputers"]

#: Without a slot, like the other pings: a client that is busy answers health checks, too.
_PING: Final = Request("GET", "/machines", query({"page": 1, "per_page": 1}), slot=False)


class VagonComputers(Client):
    """The Vagon Computers API, signed with :class:`~vcloud.HMACAuth`.

    Attributes:
        machines: the organisation's machines.
        software: what can be installed on new ones.
    """

    _service: ClassVar[Service] = SERVICE
    _variables: ClassVar[Variables] = COMPUTERS
    _instance_handle = MachineRef
    default_base_url: ClassVar[str | None] = "https://api.vagon.io/organization-management/v1"

    machines: Machines
    software: SoftwareCatalog

    def _attach(self, session: Session) -> None:
        super()._attach(session)
        self.machines = Machines(session)
        self.software = SoftwareCatalog(session)

    def instances(self) -> Pager[Instance]:
        """Every machine, as an :class:`~vcloud.Instance`.  ``GET /machines``"""
        return self.machines.list(per_page=100).map(Machine.as_instance)

    async def _ping(self, session: Session) -> None:
        await session.fetch(_PING, MACHINES)

"""Vagon Streams: applications that visitors use through a link, and the machines that run them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final

from vcloud._core.client import Client
from vcloud._core.instances import Instance
from vcloud._core.paging.pager import Pager
from vcloud._core.request import Request, query
from vcloud._core.service import Service
from vcloud.providers.streams.applications import APPLICATIONS, Applications
from vcloud.providers.streams.errors import SERVICE
from vcloud.providers.streams.machines import (
    StreamMachine,
    StreamMachineRef,
    StreamMachines,
)
from vcloud.providers.streams.models import ConnectionStatus
from vcloud.providers.streams.sessions import VisitorSessions
from vcloud.providers.streams.streams import Streams
from vcloud.providers.streams.users import Users
from vcloud.providers.variables import STREAMS

if TYPE_CHECKING:
    from vcloud._core.environment import Variables
    from vcloud._core.session import Session

__all__ = ["VagonStreams"]

#: Not the machines: that list has all past ones.
_PING: Final = Request("GET", "/applications", query({"page": 1, "per_page": 1}), slot=False)


class VagonStreams(Client):
    """The Vagon Streams API, signed with :class:`~vcloud.HMACAuth`.

    Attributes:
        applications: what can be streamed.
        streams: the links of the applications, with their settings and capacities.
        machines: the machines of all streams, running and past.
        users: the visitors that machines are assigned to.
        sessions: when visitors were there.
    """

    _service: ClassVar[Service] = SERVICE
    _variables: ClassVar[Variables] = STREAMS
    _instance_handle = StreamMachineRef
    default_base_url: ClassVar[str | None] = "https://api.vagon.io/app-stream-management/v2"

    applications: Applications
    streams: Streams
    machines: StreamMachines
    users: Users
    sessions: VisitorSessions

    _absent: ClassVar[Mapping[str, str]] = {"visitors": "did you mean users?"}

    def _attach(self, session: Session) -> None:
        super()._attach(session)
        self.applications = Applications(session)
        self.streams = Streams(session)
        self.machines = StreamMachines(session)
        self.users = Users(session)
        self.sessions = VisitorSessions(session)

    def instances(self) -> Pager[Instance]:
        """Every machine that has not ended, as an :class:`~vcloud.Instance`.  ``GET /machines``"""
        return self.machines.list(per_page=100).map(_unless_ended)

    async def _ping(self, session: Session) -> None:
        await session.fetch(_PING, APPLICATIONS)


def _unless_ended(machine: StreamMachine) -> Instance | None:
    """A machine as an instance; None if it ended, because it never runs again."""
    ended = machine.connection_status == ConnectionStatus.TERMINATED
    return None if ended else machine.as_instance()

"""Machines: what a stream runs on, one visitor at a time."""

from __future__ import annotations

from collections.abc import Collection as Many
from datetime import datetime, timedelta
from typing import ClassVar, Final

from attrs import field, frozen

from vcloud._core.arguments import identifier, member, number
from vcloud._core.arguments import instant as instant_text
from vcloud._core.decoding.models import DOCUMENTED, none_when_absent
from vcloud._core.decoding.shape import Shape
from vcloud._core.instances import Instance, InstanceState
from vcloud._core.links import fault_of_link, refused_link
from vcloud._core.paging.pager import Pager
from vcloud._core.redaction.secretive import Secretive, concealing
from vcloud._core.request import QueryValue, Request, drop_none, json_body, path_segment
from vcloud._core.resource import Collection, Handle, bind, stated, wait_until
from vcloud._core.scalars import Amount, Id, Instant, Seconds
from vcloud._core.session import Session
from vcloud.errors import InvalidArgumentError
from vcloud.errors.text import word
from vcloud.providers.streams.models import ConnectionStatus, Region
from vcloud.providers.vagon import (
    DONE,
    Envelope,
    Item,
    Listing,
    adopt,
    listing,
    resource,
    resources,
)

__all__ = ["Assignment", "StreamMachine", "StreamMachineRef", "StreamMachines"]


@frozen(kw_only=True)
class StreamMachineRef(Handle):
    """A machine by its id, and by its uid where that is known: the one stops it, the other fetches it.

    It has no ``start``, because one that ended does not come back: :meth:`StreamRef.start_machine` starts another. It has
    no link of its own: :meth:`StreamRef.assign_machine` gives a link, to a machine that the service chooses.
    """

    id: str = ""
    # In the document's example the link that opens a machine ends in this, so it is not shown around.
    uid: str | None = field(default=None, repr=False)

    async def refresh(self) -> StreamMachine:
        """Fetch the machine as it is now.  ``GET /machines/{machine_uid}``

        Raises:
            InvalidArgumentError: the handle was made without a uid.
            NotFoundError: there is no such machine.
        """
        if self.uid is None:
            raise InvalidArgumentError(
                f"machine {word(self.id)} can only be fetched by its uid: make the handle with ref(id, uid=...)"
            )
        # The uid opens the machine, so texts have the label, and no variable has the path.
        request = Request(
            "GET",
            f"/machines/{path_segment(self.uid, 'uid')}",
            sensitive=True,
            label="/machines/{uid}",
        )
        return await self._session.fetch(request, MACHINE)

    async def stop(self) -> None:
        """Turn the running machine off, for good.  ``POST /streams/stop-machine``

        Raises:
            NotFoundError: there is no such machine.
            ConflictError: it is not running (4204, from the Computers document).
        """
        body = json_body({"machine_id": self.id})
        await self._session.fetch(Request("POST", "/streams/stop-machine", body=body), DONE)

    async def wait_until(
        self,
        connection_status: ConnectionStatus | str | Many[str],
        *,
        timeout: timedelta | float = 300,
        poll: timedelta | float = 2,
    ) -> StreamMachine:
        """Poll until the machine has this ``connection_status``.  ``GET /machines/{machine_uid}``

        Args:
            connection_status: the status, or several of which one will do.
            timeout: for the whole wait; seconds or timedelta. With 0 the machine is fetched once.
            poll: the polling interval; seconds or timedelta.

        Raises:
            InvalidArgumentError: there is no such status, a time below 0, or the handle was made without a uid.
            WaitFailed: it is terminated, from which no other status is reached.
            WaitTimeout: time is up; ``last`` is the last status seen. If the last answer was older
                than ``poll`` by then, it has looked once more, for as long as one attempt may take.
            NotFoundError: there is no such machine.
        """
        return await wait_until(
            self.refresh,
            lambda machine: stated(machine.connection_status, "connection_status"),
            connection_status,
            hopeless=(ConnectionStatus.TERMINATED,),
            states=ConnectionStatus,
            timeout=timeout,
            poll=poll,
            clock=self._session.clock,
            hide=self._session.hide,
            attempt=self._session.attempt_timeout,
            what=f"machine {word(self.id)}" if self.id else "the machine of this uid",
        )


@frozen(kw_only=True, field_transformer=none_when_absent)
class StreamMachine(StreamMachineRef):
    """A machine as it was when it was fetched.

    Attributes:
        id: the machine's id.
        uid: the other id, by which the service finds it.
        start_at: when it was started.
        end_at: when it ended; None while it runs.
        status: such as ``pending`` or ``stopped``.
        friendly_status: such as ``turning_on`` or ``off``.
        connection_status: whether it can be assigned, and whether somebody is there.
        region: where it is.
        cost: what it has cost so far.
        duration: how long it has run, in whole seconds.
        application_name: what it runs.
        application_id: the id of that.
        stream_id: the stream that it belongs to.
        stream_name: that stream's name.
        machine_type: its hardware's friendly name, such as ``Pro - G2``.
        public_ip_address: None when it has none.
    """

    uid: str | None = field(default=None, repr=False, metadata={DOCUMENTED: True})
    start_at: Instant | None
    end_at: Instant | None
    status: str | None
    friendly_status: str | None
    connection_status: ConnectionStatus | None
    region: Region | None
    cost: Amount | None
    duration: Seconds | None
    application_name: str | None
    application_id: Id | None
    stream_id: Id | None
    stream_name: str | None
    machine_type: str | None
    public_ip_address: str | None


@frozen(kw_only=True)
class Assignment(Secretive):
    """A machine that was assigned, with the link that opens it.

    Anyone who has the link can use the machine, so it is treated as a secret: not in the repr, and not to be pickled.
    """

    machine: StreamMachine
    connection_link: str = field(repr=False)


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class StreamMachineList(Listing):
    """``GET /machines`` and ``GET /streams/{stream_id}/machines``."""

    key: ClassVar[str] = "machines"

    machines: list[Item[StreamMachine]] | None


@frozen(kw_only=True, eq=False, repr=False)
class AssignmentAnswer(Envelope):
    """``POST /streams/{stream_id}/assign-machine``."""

    connection_link: str = field(repr=False)
    machine: Item[StreamMachine]


MACHINE = resource(StreamMachine)
MACHINES = resources(StreamMachineList, StreamMachine)


def _opened_assignment(wire: AssignmentAnswer, session: Session, body: bytes) -> Assignment:
    fault = fault_of_link(wire.connection_link, allow_http=session.allow_http)
    if fault is not None:
        raise refused_link("connection_link", fault)
    return Assignment(
        machine=adopt(wire.machine, session, (body, "machine")),
        connection_link=wire.connection_link,
    )


ASSIGNMENT: Shape[AssignmentAnswer, Assignment] = Shape(AssignmentAnswer, _opened_assignment)


def start_request(stream_id: str, region: Region | str) -> Request:
    """``POST /streams/{stream_id}/start-machine``"""
    body = json_body({"region": member(region, Region, "region")})
    return Request(
        "POST", f"/streams/{path_segment(stream_id)}/start-machine", body=body, starts=True
    )


def assign_request(
    stream_id: str, region: Region | str, user_id: str | int | None = None
) -> Request:
    """``POST /streams/{stream_id}/assign-machine``"""
    given = drop_none(
        region=member(region, Region, "region"),
        user_id=None if user_id is None else identifier(user_id, "user_id"),
    )
    return Request(
        "POST",
        f"/streams/{path_segment(stream_id)}/assign-machine",
        body=json_body(given),
        sensitive=True,
        starts=True,
    )


def statistics_filters(
    start_at: datetime | str | None,
    end_at: datetime | str | None,
    application_id: str | int | None,
    stream_id: str | int | None,
) -> dict[str, QueryValue]:
    """The parameters that both statistics take; there the ids are numbers."""
    return {
        "start_at": None if start_at is None else instant_text(start_at, "start_at"),
        "end_at": None if end_at is None else instant_text(end_at, "end_at"),
        "application_id": None
        if application_id is None
        else number(application_id, "application_id"),
        "stream_id": None if stream_id is None else number(stream_id, "stream_id"),
    }


class StreamMachines(Collection):
    """The machines of all streams, with what they cost."""

    def list(
        self,
        *,
        start_at: datetime | str | None = None,
        end_at: datetime | str | None = None,
        page: int | None = None,
        per_page: int | None = None,
        application_id: str | int | None = None,
        stream_id: str | int | None = None,
    ) -> Pager[StreamMachine]:
        """The machines that match, running and past.  ``GET /machines``

        Args:
            start_at: from this instant on: an aware datetime, or an ISO 8601 text with a zone.
            end_at: up to this instant, given likewise.
            page: the page to begin with; the service begins with 1.
            per_page: machines per page; the service takes 20.
            application_id: of this application alone.
            stream_id: of this stream alone.

        Raises:
            InvalidArgumentError: no instant, or one without a zone, or an id that is no number.
        """
        filters = statistics_filters(start_at, end_at, application_id, stream_id)
        return listing(
            self._session, "/machines", MACHINES, page=page, per_page=per_page, filters=filters
        )

    @concealing
    async def get(self, uid: str | int) -> StreamMachine:
        """Fetch one machine by its uid, not its id.  ``GET /machines/{machine_uid}``

        Raises:
            InvalidArgumentError: what is given cannot be a uid.
            NotFoundError: there is no such machine.
        """
        handle = StreamMachineRef(uid=identifier(uid, "uid"))
        return await bind(handle, self._session).refresh()

    @concealing
    def ref(self, id: str | int, *, uid: str | int | None = None) -> StreamMachineRef:
        """A handle to act through, without asking the service.

        Args:
            id: by which a machine is stopped.
            uid: by which it is fetched and waited for; without it the handle can only stop.

        Raises:
            InvalidArgumentError: what is given cannot be an id.
        """
        known_uid = None if uid is None else identifier(uid, "uid")
        return bind(StreamMachineRef(id=identifier(id), uid=known_uid), self._session)


_STATES: Final = {
    ConnectionStatus.WAITING: InstanceState.STARTING,
    ConnectionStatus.AVAILABLE: InstanceState.RUNNING,
    ConnectionStatus.ASSIGNED: InstanceState.RUNNING,
    ConnectionStatus.CONNECTED: InstanceState.RUNNING,
    ConnectionStatus.PROXY_IN_MIGRATION: InstanceState.MAINTENANCE,
}


def view(machine: StreamMachine) -> Instance | None:
    """A machine as an instance; None for one that ended, which is history and never runs again."""
    status, unknown = machine.connection_status, InstanceState.UNKNOWN
    if status == ConnectionStatus.TERMINATED:
        return None
    state = unknown if status is None else _STATES.get(status, unknown)
    name = machine.stream_name or machine.id
    return Instance("streams", machine.id, name, state, machine.region, machine.start_at, machine)

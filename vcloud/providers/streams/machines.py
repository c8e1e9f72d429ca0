"""Machines, on which streams run: the handle, the fields of a fetched machine, and the list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from attrs import field, frozen

from vcloud._core.arguments import identifier, member
from vcloud._core.decoding.models import DOCUMENTED, none_when_absent
from vcloud._core.decoding.shape import Shape
from vcloud._core.instances import Instance, InstanceHandle, InstanceKind
from vcloud._core.links import fault_of_link, refused_link
from vcloud._core.model import Model
from vcloud._core.paging.pager import Pager
from vcloud._core.paging.search import first_that
from vcloud._core.redaction.secretive import Secretive
from vcloud._core.request import Request, drop_none, json_body, path_segment
from vcloud._core.scalars import Amount, Id, Instant, Seconds
from vcloud._core.session import Session
from vcloud._core.states import Lifecycle
from vcloud.errors import NotFoundError
from vcloud.errors.text import word
from vcloud.providers.streams.instances import KIND, STATES
from vcloud.providers.streams.models import ConnectionStatus, Region
from vcloud.providers.streams.statistics import Statistics
from vcloud.providers.streams.uids import UidCollection, UidRef
from vcloud.providers.streams.users import UserRef
from vcloud.providers.vagon import DONE, Envelope
from vcloud.providers.vagon_resources import Item, Listing, adopt_item, listing, resource, resources

__all__ = ["Assignment", "StreamMachine", "StreamMachineRef", "StreamMachines"]


@frozen(kw_only=True)
class StreamMachineRef(UidRef["StreamMachine"], InstanceHandle["StreamMachine", ConnectionStatus]):
    """A machine by its id, and by its uid if that is known.

    :meth:`stop` takes the id, :meth:`refresh` and :meth:`wait_until` take the uid. The state, for
    :meth:`wait_until`, is the ``connection_status``: a :class:`ConnectionStatus`.

    There is no ``start``, because a machine that ended does not start again:
    :meth:`StreamRef.start_machine` starts another one. There is no link of a machine either:
    :meth:`StreamRef.assign_machine` gives a link to a machine that the service chooses.
    """

    _noun: ClassVar[str] = "machine"
    _kind: ClassVar[InstanceKind] = KIND
    _absent: ClassVar[Mapping[str, str]] = KIND.instead
    _lifecycle: ClassVar[Lifecycle] = Lifecycle(
        "machine",
        "connection_status",
        ConnectionStatus,
        STATES,
        terminal_states=frozenset({ConnectionStatus.TERMINATED}),
    )

    id: str = ""
    # A secret: in the document's example the link that opens a machine ends in it.
    uid: str | None = field(default=None, repr=False)

    async def refresh(self) -> StreamMachine:
        """Fetch the machine as it is now.  ``GET /machines/{machine_uid}``

        Raises:
            InvalidArgumentError: the handle was made without a uid.
            NotFoundError: there is no such machine.
        """
        # The uid opens the machine. Texts have the label instead, and no variable has the uid.
        request = Request(
            "GET",
            f"/machines/{path_segment(self._known_uid(), 'uid')}",
            sensitive=True,
            label="/machines/{uid}",
        )
        return await self._session.fetch(request, MACHINE)

    async def stop(self) -> None:
        """Stop the running machine. It cannot be started again.  ``POST /streams/stop-machine``

        Raises:
            NotFoundError: there is no such machine.
            ConflictError: it is not running (4204, from the Computers document).
        """
        body = json_body({"machine_id": self.id})
        await self._session.fetch(Request("POST", "/streams/stop-machine", body=body), DONE)

    async def _fetch(self) -> StreamMachine:
        if self.uid is not None:
            return await self.refresh()
        found = await StreamMachines(self._session).find(self.id)
        if found is None:
            # As a fetch by uid would say it: the list has every machine there was.
            raise NotFoundError(
                f"the list of machines has none with the id {word(self.id)}",
                status=404,
                provider=KIND.provider,
                method="GET",
                url=f"{self._session.base_url}/machines",
            )
        return found

    def _described(self) -> str:
        return super()._described() if self.id else "the machine of this uid"


@frozen(kw_only=True, field_transformer=none_when_absent)
class StreamMachine(StreamMachineRef):
    """A machine as it was when it was fetched.

    Attributes:
        id: the machine's id.
        uid: the other id, by which the machine is fetched.
        start_at: when it was started.
        end_at: when it ended; None if it has not.
        status: such as ``pending`` or ``stopped``.
        friendly_status: such as ``turning_on`` or ``off``.
        connection_status: whether it can be assigned, and whether a visitor is connected.
        region: where it is.
        cost: what it has cost so far.
        duration: how long it has run, in whole seconds.
        application_name: the name of the application that it runs.
        application_id: the id of that application.
        stream_id: the id of its stream.
        stream_name: the name of its stream.
        machine_type: its hardware's friendly name, such as ``Pro - G2``.
        public_ip_address: its address; None if it has none.
    """

    _guesses: ClassVar[tuple[str, ...]] = ("ip", "started_at")

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

    def as_instance(self) -> Instance:
        """The view that all providers share of this machine; nothing is sent."""
        name = self.stream_name or self.id
        state = self._lifecycle.shared_state(self.connection_status)
        return Instance(KIND.provider, self.id, name, state, self.region, self.start_at, self)


@frozen(kw_only=True)
class Assignment(Model, Secretive):
    """A machine that was assigned, with the link that opens it.

    Anyone who has the link can use the machine, so it is a secret: the repr does not show it, and
    this object cannot be pickled.
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
        machine=adopt_item(wire.machine, session, (body, "machine")),
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
    stream_id: str, region: Region | str, user: UserRef | str | int | None = None
) -> Request:
    """``POST /streams/{stream_id}/assign-machine``"""
    given = drop_none(
        region=member(region, Region, "region"),
        user_id=None if user is None else identifier(user, "user", UserRef),
    )
    return Request(
        "POST",
        f"/streams/{path_segment(stream_id)}/assign-machine",
        body=json_body(given),
        sensitive=True,
        starts=True,
    )


def machines_of_stream(
    session: Session, stream_id: str, *, page: int | None = None, per_page: int
) -> Pager[StreamMachine]:
    """``GET /streams/{stream_id}/machines``"""
    path = f"/streams/{path_segment(stream_id)}/machines"
    return listing(session, path, MACHINES, page=page, per_page=per_page)


class StreamMachines(UidCollection[StreamMachineRef, StreamMachine], Statistics[StreamMachine]):
    """The machines of all streams, running and past, with what they cost.  ``GET /machines``

    A machine is stopped by its id, and fetched and waited for by its uid.
    """

    _absent: ClassVar[Mapping[str, str]] = {
        "create": "streams.ref(id).start_machine starts one",
        "start": "streams.ref(id).start_machine starts one",
    }

    _handle = StreamMachineRef
    _path = "/machines"
    _shape = MACHINES

    async def find(self, id: StreamMachineRef | str | int) -> StreamMachine | None:
        """The machine with this id, or None; for when its uid is not known.  ``GET /machines``

        The list has past machines too, and no filter for ids: pages of 100 are read until the
        machine comes. What is found has its uid, so it can be refreshed by one request.

        Args:
            id: the id of the machine, or the machine. Streams machines have no names of their own.

        Raises:
            InvalidArgumentError: the id is not valid.
            DecodeError: it is not among the machines that can be read, and some cannot.
        """
        wanted = identifier(id, "id", StreamMachineRef)
        return await first_that(self.list(per_page=100), lambda machine: machine.id == wanted)

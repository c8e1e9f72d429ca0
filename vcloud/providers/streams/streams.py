"""Streams: the links of an application, with their settings, capacities and machines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar, Final

from attrs import field, frozen

from vcloud._core.arguments import identifier, optional_member
from vcloud._core.decoding.models import DOCUMENTED, InnerId, none_when_absent
from vcloud._core.paging.pager import Pager
from vcloud._core.redaction.secretive import concealing
from vcloud._core.request import Request, drop_none, json_body, path_segment
from vcloud._core.resource import Collection, Handle, bind
from vcloud.errors import InvalidArgumentError
from vcloud.errors.text import word
from vcloud.providers.streams.applications import PER_PAGE, Application
from vcloud.providers.streams.connecting import connect
from vcloud.providers.streams.machines import (
    ASSIGNMENT,
    MACHINE,
    MACHINES,
    Assignment,
    StreamMachine,
    assign_request,
    start_request,
)
from vcloud.providers.streams.models import (
    AutoTurnOffDuration,
    Capacity,
    CapacityType,
    DockPosition,
    IdleDuration,
    MaximumSessionDuration,
    MediaActivation,
    Region,
    Resolution,
    StreamCapacity,
    StreamTexts,
)
from vcloud.providers.streams.users import UserRef
from vcloud.providers.vagon import Item, Listing, Nested, listing, resource, resources

__all__ = ["Stream", "StreamRef", "Streams"]

#: Machines of a stream on a page, by the document's request table.
MACHINES_PER_PAGE: Final = 10


@frozen(kw_only=True)
class StreamRef(Handle):
    """A stream by its id, and by its uid where that is known: a stream is fetched by the one, all else takes the other."""

    # A number in the attributes and a text beside them.
    id: InnerId = ""
    uid: str | None = None

    async def refresh(self) -> Stream:
        """Fetch the stream as it is now, with capacities and texts.  ``GET /streams/{stream_uid}``

        Raises:
            InvalidArgumentError: the handle was made without a uid.
            NotFoundError: there is no such stream.
        """
        if self.uid is None:
            raise InvalidArgumentError(
                f"stream {word(self.id)} can only be fetched by its uid: make the handle with ref(id, uid=...)"
            )
        return await self._session.fetch(
            Request("GET", f"/streams/{path_segment(self.uid, 'uid')}"), STREAM
        )

    @concealing
    async def configure(
        self,
        *,
        resolution: Resolution | str | None = None,
        sound: MediaActivation | str | None = None,
        microphone: MediaActivation | str | None = None,
        auto_turn_off_duration: AutoTurnOffDuration | str | None = None,
        maximum_session_duration: MaximumSessionDuration | str | None = None,
        idle_duration: IdleDuration | str | None = None,
        launch_arguments: str | None = None,
        dark_mode: bool | None = None,
        collect_info: bool | None = None,
        password: str | None = None,
        password_protection: bool | None = None,
        dock_position: DockPosition | str | None = None,
        keyboard_layout: str | None = None,
        user_session_data: bool | None = None,
        boost_enabled: bool | None = None,
        pixel_streaming_enabled: bool | None = None,
        port_access_enabled: bool | None = None,
        capacity_type: CapacityType | str | None = None,
        capacities: Sequence[Capacity] | None = None,
    ) -> Stream:
        """Change settings; what is not given stays.  ``PUT /streams/{stream_id}``

        Args:
            resolution: of the picture.
            sound: whether visitors hear it.
            microphone: whether visitors can speak.
            auto_turn_off_duration: how long a machine stays on unused. ``immediately`` is sent as ``immediatly``, the document's
                spelling.
            maximum_session_duration: how long a visitor may stay.
            idle_duration: how long a visitor may do nothing.
            launch_arguments: how the application is run.
            dark_mode: of the visitor's page.
            collect_info: whether data of the visitors is collected.
            password: what visitors must know; a secret.
            password_protection: whether they must. Sent as the text ``true`` or ``false``, because the document calls it a
                String here, though answers have a boolean.
            dock_position: where the toolbar is.
            keyboard_layout: of the machine; the document does not list the layouts.
            user_session_data: whether what a user does is kept.
            boost_enabled: whether boost is on.
            pixel_streaming_enabled: whether pixel streaming is on.
            port_access_enabled: whether ports of the machine can be reached.
            capacity_type: who sees to it that there are machines.
            capacities: how many there may be, where.

        Returns:
            The stream, without capacities and texts: the service leaves them out here.

        Raises:
            InvalidArgumentError: nothing to change, a value that is not among those of its enumeration (one that this SDK
                does not know is given as ``Resolution(text)``), or no capacities in ``capacities``.
            NotFoundError: there is no such stream.
            InvalidRequestError: the service does not accept a value (400).
        """
        body = drop_none(
            resolution=optional_member(resolution, Resolution, "resolution"),
            sound=optional_member(sound, MediaActivation, "sound"),
            microphone=optional_member(microphone, MediaActivation, "microphone"),
            auto_turn_off_duration=optional_member(
                auto_turn_off_duration, AutoTurnOffDuration, "auto_turn_off_duration"
            ),
            maximum_session_duration=optional_member(
                maximum_session_duration, MaximumSessionDuration, "maximum_session_duration"
            ),
            idle_duration=optional_member(idle_duration, IdleDuration, "idle_duration"),
            launch_arguments=launch_arguments,
            dark_mode=dark_mode,
            collect_info=collect_info,
            password=password,
            password_protection=None
            if password_protection is None
            else "true"
            if password_protection
            else "false",
            dock_position=optional_member(dock_position, DockPosition, "dock_position"),
            keyboard_layout=keyboard_layout,
            user_session_data=user_session_data,
            boost_enabled=boost_enabled,
            pixel_streaming_enabled=pixel_streaming_enabled,
            port_access_enabled=port_access_enabled,
            capacity_type=optional_member(capacity_type, CapacityType, "capacity_type"),
            capacities=_wire(capacities),
        )
        if not body:
            raise InvalidArgumentError("nothing to configure: give at least one setting")
        request = Request(
            "PUT",
            f"/streams/{path_segment(self.id)}",
            body=json_body(body),
            sensitive=password is not None,
        )
        return await self._session.fetch(request, STREAM)

    def machines(
        self, *, page: int | None = None, per_page: int = MACHINES_PER_PAGE
    ) -> Pager[StreamMachine]:
        """The stream's machines, running and past.  ``GET /streams/{stream_id}/machines``

        Args:
            page: the page to begin with; the service begins with 1.
            per_page: machines per page.

        Raises:
            NotFoundError: there is no such stream.
        """
        return listing(
            self._session,
            f"/streams/{path_segment(self.id)}/machines",
            MACHINES,
            page=page,
            per_page=per_page,
        )

    async def start_machine(self, region: Region | str) -> StreamMachine:
        """Start a machine of this cost-optimized stream; never sent twice.  ``POST /streams/{stream_id}/start-machine``

        Args:
            region: where; the stream needs capacity there.

        Returns:
            The machine, ``waiting``; it is ``available`` after a while (:meth:`StreamMachine.wait_until`).

        Raises:
            InvalidArgumentError: there is no such region.
            NotFoundError: there is no such stream.
            ConflictError: the stream is not cost optimized (4610, in older texts 4601): only machines of cost-optimized
                streams can be started by hand, the other kinds see to their machines themselves.
            CapacityError: there is no room for another (440, from Vagon's published client).
            InsufficientFundsError: the balance does not cover it (480, from the Computers document).
            TransportError: with ``outcome_unknown``, when the answer was lost: the machine may have been started.
        """
        return await self._session.fetch(start_request(self.id, region), MACHINE)

    async def assign_machine(
        self, region: Region | str, user_id: str | int | None = None
    ) -> Assignment:
        """Give an available machine to a visitor; never sent twice.  ``POST /streams/{stream_id}/assign-machine``

        The service chooses the machine. It may be one that is still turning on, as in the document's example.

        Args:
            region: where.
            user_id: to whom, the id of a :class:`User`; None: to whoever has the link.

        Raises:
            InvalidArgumentError: there is no such region, or what is given cannot be an id.
            NotFoundError: there is no such stream or user, or, in older deployments, no machine is available (from a
                public client of the older API).
            CapacityError: no machine is available (440; the document does not say how the service words this).
            TransportError: with ``outcome_unknown``, when the answer was lost: a machine may have been assigned.
            DecodeError: the link is not safe to open: not https, say, or with a user before its
                host. The text does not repeat it. A machine may have been assigned.
        """
        return await self._session.fetch(assign_request(self.id, region, user_id), ASSIGNMENT)

    async def connect(
        self,
        region: Region | str,
        user: UserRef | str | int | None = None,
        *,
        timeout: timedelta | float = 300,
        poll: timedelta | float = 2,
    ) -> Assignment:
        """Give a visitor a machine: start one if none is available, and assign it as soon as the service lets one.

        Where the service assigns a machine that is still turning on, that is at once: the visitor's page shows its
        progress, and :meth:`StreamMachine.wait_until` waits for the visitor (``connected``). Where it does not, this waits
        until the machine is available. On a stream that is not cost optimized, machines cannot be started: there it waits
        until the service has one. Where there is no room for another machine, it waits for room.

        Older deployments answer 404 where no machine is free (from a public client of the older API). A 404 counts as
        that only when the stream's list shows no available machine in the region.

        When it fails, runs out of time or is cancelled, a machine that it started is stopped again,
        unless somebody else has it. One that it did not start stays assigned if it was assigned
        meanwhile. After a cancellation, or when time is up, that takes ``cleanup_timeout`` of the
        :class:`~vcloud.Endpoint` at most, the answers that are under way included. What may be left
        running is noted on the error, which then has ``outcome_unknown``, and stands at ERROR in
        the log ``vcloud.streams``. In place of a cancellation a :class:`~vcloud.CleanupError` is
        raised. A request that is cancelled in line is not sent. A process that is killed stops
        nothing.

        Args:
            region: where.
            user: the visitor, or the id of one; None: whoever has the link.
            timeout: for all of it; seconds or timedelta.
            poll: the polling interval; seconds or timedelta.

        Raises:
            InvalidArgumentError: there is no such region, what is given cannot be an id, or a time that is not above 0.
            NotFoundError: there is no such stream; or, while a machine is available, no such user.
            InsufficientFundsError: the balance does not cover it (480, from the Computers document).
            CleanupError: it was cancelled, and a machine may be left running.
            ConfigurationError: the client is closed, or was closed meanwhile; a note names each
                machine that was stopped.
            WaitFailed: the machine that was started was terminated before it became available.
            WaitTimeout: time is up, also when there was no room for another machine (440) all the
                time; ``last`` is the last status seen of the machine that was started. If the last
                answer was older than ``poll`` by then, it has looked once more, for as long as one
                attempt may take, and taken what it could get, but started nothing.
        """
        user_id = user.id if isinstance(user, UserRef) else user
        return await connect(self, region, user_id, timeout=timeout, poll=poll)


@frozen(kw_only=True, field_transformer=none_when_absent)
class Stream(StreamRef):
    """A stream as it was when it was fetched.

    Attributes:
        id: the stream's id.
        uid: the other id, by which the service finds it.
        status: such as ``active``.
        resolution: of the picture.
        collect_info: whether data of the visitors is collected.
        dark_mode: of the visitor's page; None when never set.
        password_protection: whether visitors must know a password.
        sound: whether visitors hear it.
        microphone: whether visitors can speak.
        launch_arguments: how the application is run.
        dock_position: where the toolbar is.
        keyboard_layout: of the machine; None when never set.
        user_session_data: whether what a user does is kept.
        boost_enabled: whether boost is on.
        pixel_streaming_enabled: whether pixel streaming is on.
        port_access_enabled: whether ports of the machine can be reached.
        maximum_session_duration: how long a visitor may stay.
        idle_duration: how long a visitor may do nothing.
        auto_turn_off_duration: how long a machine stays on unused.
        capacities: what it has where; None in the answers of a list and of :meth:`configure`, which leave it out.
        texts: what it tells visitors; None in the same answers.
        application: what it streams.
        in_active_time_range: whether it can be used at this time of day.
    """

    nested: ClassVar = ("capacities", "application")

    uid: str | None = field(default=None, metadata={DOCUMENTED: True})
    status: str | None
    resolution: Resolution | None
    collect_info: bool | None
    dark_mode: bool | None
    password_protection: bool | None
    sound: MediaActivation | None
    microphone: MediaActivation | None
    launch_arguments: str | None
    dock_position: DockPosition | None
    keyboard_layout: str | None
    user_session_data: bool | None
    boost_enabled: bool | None
    pixel_streaming_enabled: bool | None
    port_access_enabled: bool | None
    maximum_session_duration: MaximumSessionDuration | None
    idle_duration: IdleDuration | None
    auto_turn_off_duration: AutoTurnOffDuration | None
    capacities: tuple[Nested[StreamCapacity], ...] | None = None
    texts: StreamTexts | None = None
    application: Nested[Application] | None
    in_active_time_range: bool | None


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class StreamList(Listing):
    """``GET /streams``."""

    key: ClassVar[str] = "streams"

    streams: list[Item[Stream]] | None


STREAM = resource(Stream)
STREAMS = resources(StreamList, Stream)


def _wire(capacities: Sequence[Capacity] | None) -> list[dict[str, str]] | None:
    if capacities is None:
        return None
    if not capacities or not all(isinstance(capacity, Capacity) for capacity in capacities):
        raise InvalidArgumentError(
            f"capacities must be one Capacity or more, such as [Capacity('dublin', 5)], not {capacities!r}"
        )
    return [capacity.wire() for capacity in capacities]


class Streams(Collection):
    """The streams of the applications."""

    def list(
        self, application_id: str | int, *, page: int | None = None, per_page: int = PER_PAGE
    ) -> Pager[Stream]:
        """The streams of one application, without capacities and texts.  ``GET /streams``

        Args:
            application_id: whose.
            page: the page to begin with; the service begins with 1.
            per_page: streams per page.

        Raises:
            InvalidArgumentError: what is given cannot be an id.
            NotFoundError: there is no such application.
        """
        filters = {"application_id": identifier(application_id, "application_id")}
        return listing(
            self._session, "/streams", STREAMS, page=page, per_page=per_page, filters=filters
        )

    async def get(self, uid: str | int) -> Stream:
        """Fetch one stream by its uid, not its id.  ``GET /streams/{stream_uid}``

        Raises:
            InvalidArgumentError: what is given cannot be a uid.
            NotFoundError: there is no such stream.
        """
        return await bind(StreamRef(uid=identifier(uid, "uid")), self._session).refresh()

    def ref(self, id: str | int, *, uid: str | int | None = None) -> StreamRef:
        """A handle to act through, without asking the service.

        Args:
            id: by which all is done but fetching.
            uid: by which it is fetched; without it :meth:`StreamRef.refresh` cannot be used.

        Raises:
            InvalidArgumentError: what is given cannot be an id.
        """
        known_uid = None if uid is None else identifier(uid, "uid")
        return bind(StreamRef(id=identifier(id), uid=known_uid), self._session)

    async def create(
        self,
        application_id: str | int,
        *,
        capacities: Sequence[Capacity] | None = None,
        capacity_type: CapacityType | str | None = None,
    ) -> Stream:
        """Create a stream; never sent twice.  ``POST /streams``

        The document marks no field as required; without an application there is nothing to stream, so here it is.

        Args:
            application_id: what to stream.
            capacities: how many machines there may be, where.
            capacity_type: who sees to it that there are machines.

        Raises:
            InvalidArgumentError: what is given cannot be an id, another capacity type, or no capacities in ``capacities``.
            NotFoundError: there is no such application.
            InvalidRequestError: the service does not accept a value (400).
            TransportError: with ``outcome_unknown``, when the answer was lost: the stream may exist.
        """
        body = drop_none(
            application_id=identifier(application_id, "application_id"),
            capacities=_wire(capacities),
            capacity_type=optional_member(capacity_type, CapacityType, "capacity_type"),
        )
        return await self._session.fetch(Request("POST", "/streams", body=json_body(body)), STREAM)

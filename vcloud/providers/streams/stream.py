"""A stream: the handle with its methods, and the fields of a fetched stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import ClassVar, Final

from attrs import field, frozen

from vcloud._core.decoding.models import DOCUMENTED, InnerId, none_when_absent
from vcloud._core.guided import Guided
from vcloud._core.paging.pager import Pager
from vcloud._core.redaction.secretive import concealing
from vcloud._core.request import Request, json_body, path_segment
from vcloud.errors import InvalidArgumentError
from vcloud.providers.streams.applications import Application
from vcloud.providers.streams.connect import connect
from vcloud.providers.streams.machines import (
    ASSIGNMENT,
    MACHINE,
    Assignment,
    StreamMachine,
    assign_request,
    machines_of_stream,
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
from vcloud.providers.streams.settings import (
    capacity,
    durations,
    features,
    media,
    protection,
    visitor_page,
)
from vcloud.providers.streams.uids import StreamHandle
from vcloud.providers.streams.users import UserRef
from vcloud.providers.vagon_resources import Nested, resource

__all__ = ["Stream", "StreamRef"]

#: Machines of a stream on a page, by the document's request table.
MACHINES_PER_PAGE: Final = 10


@frozen(kw_only=True)
class StreamRef(StreamHandle["Stream"], Guided):
    """A stream by its id, and by its uid if that is known.

    :meth:`refresh` takes the uid, all other methods take the id.
    """

    _noun: ClassVar[str] = "stream"

    _absent: ClassVar[Mapping[str, str]] = {
        "launch": "did you mean start_machine?",
        "sessions": "write streams.sessions.list(stream_id=stream)",
        "stop": "its machines have it: machines()",
        "update": "did you mean configure?",
        "wait_until": "its machines have it: machines()",
    }

    # A number among the attributes, and a text beside them.
    id: InnerId = ""
    uid: str | None = None

    async def refresh(self) -> Stream:
        """Fetch the stream as it is now, with capacities and texts.  ``GET /streams/{stream_uid}``

        Raises:
            InvalidArgumentError: the handle was made without a uid.
            NotFoundError: there is no such stream.
        """
        request = Request("GET", f"/streams/{path_segment(self._known_uid(), 'uid')}")
        return await self._session.fetch(request, STREAM)

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
        """Change the settings that are given.  ``PUT /streams/{stream_id}``

        Args:
            resolution: the resolution of the picture.
            sound: whether visitors hear the machine's sound.
            microphone: whether visitors can speak.
            auto_turn_off_duration: how long an unused machine stays on. ``immediately`` is sent in
                the document's spelling, ``immediatly``.
            maximum_session_duration: how long a visitor may stay.
            idle_duration: how long a visitor may be idle.
            launch_arguments: the command line arguments of the application.
            dark_mode: whether the visitor's page is dark.
            collect_info: whether data of the visitors is collected.
            password: the password that visitors enter; a secret.
            password_protection: whether visitors enter a password. It is sent as the text ``true``
                or ``false``, because the document calls it a String here, although answers have a
                boolean.
            dock_position: where the toolbar is.
            keyboard_layout: the keyboard layout of the machine. The document does not list them.
            user_session_data: whether the data of a user is kept between sessions.
            boost_enabled: whether boost is on.
            pixel_streaming_enabled: whether pixel streaming is on.
            port_access_enabled: whether ports of the machine can be reached.
            capacity_type: who starts machines.
            capacities: how many machines there may be in each region.

        Returns:
            The stream. ``capacities`` and ``texts`` are None: the service does not send them here.

        Raises:
            InvalidArgumentError: no setting is given, a value is not in its enumeration (one that
                this SDK does not know is given as ``Resolution(text)``), or ``capacities`` has no
                capacity.
            NotFoundError: there is no such stream.
            InvalidRequestError: the service does not accept a value (400).
        """
        return await self._change(
            {
                **media(resolution, sound, microphone),
                **durations(auto_turn_off_duration, maximum_session_duration, idle_duration),
                **visitor_page(
                    launch_arguments, dark_mode, collect_info, dock_position, keyboard_layout
                ),
                **protection(password, password_protection),
                **features(
                    user_session_data, boost_enabled, pixel_streaming_enabled, port_access_enabled
                ),
                **capacity(capacities, capacity_type),
            }
        )

    async def _change(self, settings: dict[str, object]) -> Stream:
        if not settings:
            raise InvalidArgumentError("nothing to configure: give at least one setting")
        request = Request(
            "PUT",
            f"/streams/{path_segment(self.id)}",
            body=json_body(settings),
            sensitive="password" in settings,
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
        return machines_of_stream(self._session, self.id, page=page, per_page=per_page)

    async def start_machine(self, region: Region | str) -> StreamMachine:
        """Start a machine; never sent twice.  ``POST /streams/{stream_id}/start-machine``

        Args:
            region: where. The stream must have capacity there.

        Returns:
            The machine, which is ``waiting``. It is ``available`` after a while
            (:meth:`StreamMachine.wait_until`).

        Raises:
            InvalidArgumentError: there is no such region.
            NotFoundError: there is no such stream.
            ConflictError: the stream is not cost optimized (4610, in older texts 4601). The service
                itself starts the machines of other streams.
            CapacityError: there is no capacity for another machine (440, from Vagon's published
                client).
            InsufficientFundsError: the balance does not cover it (480, from the Computers
                document).
            TransportError: with ``outcome_unknown`` if the answer was lost: a machine may have been
                started.
        """
        return await self._session.fetch(start_request(self.id, region), MACHINE)

    async def assign_machine(
        self,
        region: Region | str,
        user: UserRef | str | int | None = None,
        *,
        user_id: UserRef | str | int | None = None,
    ) -> Assignment:
        """Assign a machine to a visitor; never sent twice.

        ``POST /streams/{stream_id}/assign-machine``. The service chooses one of the available
        machines, or one that is still turning on, as in the document's example.

        Args:
            region: where.
            user: the visitor, or the visitor's id; None: anyone who has the link.
            user_id: the same, under its name in the request.

        Raises:
            InvalidArgumentError: there is no such region, the id is not valid, or it is given under
                both names.
            NotFoundError: there is no such stream or user. In older deployments: no machine is
                available (from a public client of the older API).
            CapacityError: no machine is available (440; the document does not say with which
                message).
            TransportError: with ``outcome_unknown`` if the answer was lost: a machine may have been
                assigned.
            DecodeError: the link is not safe to open, for example because it is not https or has a
                user before its host. The text does not repeat it. A machine may have been assigned.
        """
        if user is None:
            user = user_id
        elif user_id is not None:
            raise InvalidArgumentError("user and user_id are the same: give user alone")
        return await self._session.fetch(assign_request(self.id, region, user), ASSIGNMENT)

    async def connect(
        self,
        region: Region | str,
        user: UserRef | str | int | None = None,
        *,
        timeout: timedelta | float = 300,
        poll: timedelta | float = 2,
    ) -> Assignment:
        """Get a machine for a visitor: assign one, and start one first if none is available.

        Some deployments assign a machine that is still turning on. There this returns at once: the
        visitor's page shows the progress, and :meth:`StreamMachine.wait_until` waits for the
        visitor (``connected``). In other deployments it waits until the machine is available. If
        the stream is not cost optimized, it waits until the service has started a machine. If there
        is no capacity for another machine, it waits for capacity.

        Older deployments answer 404 if no machine is available (from a public client of the older
        API). A 404 counts as that only if the stream's list has no available machine in the region.

        If it fails, times out or is cancelled, it stops the machine that it started, unless another
        visitor has that machine. A machine that it did not start stays assigned. After a
        cancellation or a timeout, this cleanup takes at most ``cleanup_timeout`` of the
        :class:`~vcloud.Endpoint`, including the wait for requests in flight. A machine that may be
        left running is named in a note on the error, which then has ``outcome_unknown``, and at
        ERROR in the log ``vcloud.streams``. A cancellation is replaced by a
        :class:`~vcloud.CleanupError` then. A request that is cancelled in the queue is not sent. A
        killed process stops no machine.

        Args:
            region: where.
            user: the visitor, or the visitor's id; None: anyone who has the link.
            timeout: for the whole call; seconds or timedelta.
            poll: the polling interval; seconds or timedelta.

        Raises:
            InvalidArgumentError: there is no such region, the id is not valid, or a time is not
                above 0.
            NotFoundError: there is no such stream; or, while a machine is available, no such user.
            InsufficientFundsError: the balance does not cover it (480, from the Computers
                document).
            CleanupError: it was cancelled, and a machine may be left running.
            ConfigurationError: the client is closed, or was closed during the call. A note names
                each machine that was stopped.
            WaitFailed: the machine that was started was terminated before it became available.
            WaitTimeout: time is up, also if there was no capacity (440) all the time. ``last`` is
                the last status seen of the machine that was started. If the last answer was older
                than ``poll`` by then, it polled once more, for as long as one attempt may take, and
                took a machine if it could, but started none.
        """
        return await connect(self._session, self.id, region, user, timeout=timeout, poll=poll)


@frozen(kw_only=True, field_transformer=none_when_absent)
class Stream(StreamRef):
    """A stream as it was when it was fetched.

    Attributes:
        id: the stream's id.
        uid: the other id, by which the stream is fetched.
        status: such as ``active``.
        resolution: the resolution of the picture.
        collect_info: whether data of the visitors is collected.
        dark_mode: whether the visitor's page is dark; None if never set.
        password_protection: whether visitors enter a password.
        sound: whether visitors hear the machine's sound.
        microphone: whether visitors can speak.
        launch_arguments: the command line arguments of the application.
        dock_position: where the toolbar is.
        keyboard_layout: the keyboard layout of the machine; None if never set.
        user_session_data: whether the data of a user is kept between sessions.
        boost_enabled: whether boost is on.
        pixel_streaming_enabled: whether pixel streaming is on.
        port_access_enabled: whether ports of the machine can be reached.
        maximum_session_duration: how long a visitor may stay.
        idle_duration: how long a visitor may be idle.
        auto_turn_off_duration: how long an unused machine stays on.
        capacities: its capacity in each region; None in a list, and in the answer to
            :meth:`configure`.
        texts: the texts that visitors see; None in the same answers.
        application: the application that is streamed.
        in_active_time_range: whether it can be used at this time of day.
    """

    nested: ClassVar[tuple[str, ...]] = ("capacities", "application")

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


STREAM = resource(Stream)

"""Sessions: when visitors were there, and what is known of them."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from attrs import frozen

from vcloud._core.decoding.models import none_when_absent
from vcloud._core.paging.pager import Pager
from vcloud._core.resource import Collection, Handle
from vcloud._core.scalars import Float, Id, Instant, Minutes
from vcloud.providers.streams.machines import statistics_filters
from vcloud.providers.streams.models import AudioDevice, AudioState, Region
from vcloud.providers.vagon import Item, Listing, listing, resources

__all__ = ["VisitorSession", "VisitorSessions"]


@frozen(kw_only=True, field_transformer=none_when_absent)
class VisitorSession(Handle):
    """One visit.

    What needs data or email collection is None when that is off: when the service says null, and when it leaves it out.

    Attributes:
        id: the session's id.
        start_at: when it began.
        end_at: when it ended; None while it lasts.
        region: where the machine was.
        ping: the visitor's round trip in milliseconds (the unit is not documented).
        audio_state: whether there was sound.
        audio_input: the visitor's microphone.
        audio_output: the visitor's speaker.
        duration: how long it lasted, in whole minutes.
        readable_duration: the same for people, such as ``4 minutes``.
        city: needs data collection.
        country: needs data collection, such as ``US``.
        os: needs data collection, such as ``Windows 11``.
        device_type: needs data collection, such as ``desktop``.
        customer: the service's name for the visitor, such as ``CUS_9150``; the email address with email collection.
        application_name: which application it was.
        application_id: its id.
        stream_id: which stream it was.
        stream_name: its name.
        machine_type: the hardware's friendly name.
    """

    id: str = ""
    start_at: Instant | None
    end_at: Instant | None = None
    region: Region | None
    ping: Float | None = None
    audio_state: AudioState | None = None
    audio_input: AudioDevice | None = None
    audio_output: AudioDevice | None = None
    duration: Minutes | None = None
    readable_duration: str | None = None
    city: str | None = None
    country: str | None = None
    os: str | None = None
    device_type: str | None = None
    customer: str | None = None
    application_name: str | None
    application_id: Id | None
    stream_id: Id | None
    stream_name: str | None
    machine_type: str | None


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class VisitorSessionList(Listing):
    """``GET /sessions``, the one list of this API with ``next_page``."""

    key: ClassVar[str] = "sessions"

    sessions: list[Item[VisitorSession]] | None


SESSIONS = resources(VisitorSessionList, VisitorSession)


class VisitorSessions(Collection):
    """The visits to all streams."""

    def list(
        self,
        *,
        start_at: datetime | str | None = None,
        end_at: datetime | str | None = None,
        page: int | None = None,
        per_page: int | None = None,
        application_id: str | int | None = None,
        stream_id: str | int | None = None,
    ) -> Pager[VisitorSession]:
        """The visits that match.  ``GET /sessions``

        Args:
            start_at: from this instant on: an aware datetime, or an ISO 8601 text with a zone.
            end_at: up to this instant, given likewise.
            page: the page to begin with; the service begins with 1.
            per_page: visits per page; the service takes 20.
            application_id: of this application alone.
            stream_id: of this stream alone.

        Raises:
            InvalidArgumentError: no instant, or one without a zone, or an id that is no number.
        """
        filters = statistics_filters(start_at, end_at, application_id, stream_id)
        return listing(
            self._session, "/sessions", SESSIONS, page=page, per_page=per_page, filters=filters
        )

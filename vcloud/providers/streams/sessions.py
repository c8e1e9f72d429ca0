"""Sessions: the visits to streams, and what is known about the visitors."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

from vcloud._core.decoding.models import none_when_absent
from vcloud._core.resource import Handle
from vcloud._core.scalars import Float, Id, Instant, Minutes
from vcloud.providers.streams.models import AudioDevice, AudioState, Region
from vcloud.providers.streams.statistics import Statistics
from vcloud.providers.vagon_resources import Item, Listing, resources

__all__ = ["VisitorSession", "VisitorSessions"]


@frozen(kw_only=True, field_transformer=none_when_absent)
class VisitorSession(Handle):
    """One visit.

    A field that needs data or email collection is None if that is off: if the service sends null,
    and if it leaves the field out.

    Attributes:
        id: the session's id.
        start_at: when it began.
        end_at: when it ended; None if it has not.
        region: where the machine was.
        ping: the round trip time to the visitor in milliseconds (the unit is not documented).
        audio_state: whether there was sound.
        audio_input: the visitor's microphone.
        audio_output: the visitor's speaker.
        duration: how long it lasted, in whole minutes.
        readable_duration: the same as a string, such as ``4 minutes``.
        city: needs data collection.
        country: needs data collection, such as ``US``.
        os: needs data collection, such as ``Windows 11``.
        device_type: needs data collection, such as ``desktop``.
        customer: the service's name for the visitor, such as ``CUS_9150``; with email collection
            the email address.
        application_name: the name of the application.
        application_id: the id of the application.
        stream_id: the id of the stream.
        stream_name: the name of the stream.
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


class VisitorSessions(Statistics[VisitorSession]):
    """The visits to all streams.  ``GET /sessions``"""

    _path = "/sessions"
    _shape = SESSIONS

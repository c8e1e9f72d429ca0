"""The two statistics of the API, machines and visits, which take the same filters."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, TypeVar

from vcloud._core.arguments import instant, number
from vcloud._core.decoding.shape import Shape
from vcloud._core.paging.pager import Pager
from vcloud._core.resource import Collection, Handle
from vcloud._core.resources import Opened
from vcloud.providers.streams.applications import ApplicationRef
from vcloud.providers.streams.uids import StreamHandle
from vcloud.providers.vagon_resources import listing

H = TypeVar("H", bound=Handle)


class Statistics(Collection, Generic[H]):
    """The statistics of all streams. ``H`` is the class of the items."""

    __slots__ = ()

    _path: str
    _shape: Shape[Any, Opened[H]]

    def list(
        self,
        *,
        start_at: datetime | str | None = None,
        end_at: datetime | str | None = None,
        page: int | None = None,
        per_page: int | None = None,
        application_id: ApplicationRef | str | int | None = None,
        stream_id: StreamHandle[Any] | str | int | None = None,
    ) -> Pager[H]:
        """The items that match, present and past.  ``GET /machines`` or ``GET /sessions``

        Args:
            start_at: from this instant on: an aware datetime, or an ISO 8601 string with a zone.
            end_at: up to this instant: a datetime or a string as above.
            page: the page to begin with; the service begins with 1.
            per_page: items per page; the service takes 20.
            application_id: only those of this application; it, or its id.
            stream_id: only those of this stream; it, or its id.

        Raises:
            InvalidArgumentError: an instant is not valid or has no zone, or an id is not a number.
        """
        # In these two requests the document has ids as numbers.
        filters = {
            "start_at": None if start_at is None else instant(start_at, "start_at"),
            "end_at": None if end_at is None else instant(end_at, "end_at"),
            "application_id": None
            if application_id is None
            else number(application_id, "application_id", ApplicationRef),
            "stream_id": None
            if stream_id is None
            else number(stream_id, "stream_id", StreamHandle),
        }
        return listing(
            self._session, self._path, self._shape, page=page, per_page=per_page, filters=filters
        )

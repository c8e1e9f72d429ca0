"""The streams of the applications: to list, fetch and create them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from attrs import frozen

from vcloud._core.arguments import identifier
from vcloud._core.decoding.models import none_when_absent
from vcloud._core.paging.pager import Pager
from vcloud._core.request import Request, json_body
from vcloud.providers.streams.applications import PER_PAGE, ApplicationRef
from vcloud.providers.streams.models import Capacity, CapacityType
from vcloud.providers.streams.settings import capacity
from vcloud.providers.streams.stream import STREAM, Stream, StreamRef
from vcloud.providers.streams.uids import UidCollection
from vcloud.providers.vagon_resources import Item, Listing, listing, resources

__all__ = ["Streams"]


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class StreamList(Listing):
    """``GET /streams``."""

    key: ClassVar[str] = "streams"

    streams: list[Item[Stream]] | None


STREAMS = resources(StreamList, Stream)


class Streams(UidCollection[StreamRef, Stream]):
    """The streams of the applications. A stream is fetched by its uid; all else takes its id."""

    _handle = StreamRef

    def list(
        self,
        application_id: ApplicationRef | str | int,
        *,
        page: int | None = None,
        per_page: int = PER_PAGE,
    ) -> Pager[Stream]:
        """The streams of one application, without capacities and texts.  ``GET /streams``

        Args:
            application_id: the application, or its id.
            page: the page to begin with; the service begins with 1.
            per_page: streams per page.

        Raises:
            InvalidArgumentError: the id is not valid.
            NotFoundError: there is no such application.
        """
        filters = {"application_id": identifier(application_id, "application_id", ApplicationRef)}
        return listing(
            self._session, "/streams", STREAMS, page=page, per_page=per_page, filters=filters
        )

    async def create(
        self,
        application_id: ApplicationRef | str | int,
        *,
        capacities: Sequence[Capacity] | None = None,
        capacity_type: CapacityType | str | None = None,
    ) -> Stream:
        """Create a stream; never sent twice.  ``POST /streams``

        The document marks no field as required. This method requires the application, because a
        stream needs one.

        Args:
            application_id: the application to stream, or its id.
            capacities: how many machines there may be in each region.
            capacity_type: who starts machines.

        Raises:
            InvalidArgumentError: the id is not valid, there is no such capacity type, or
                ``capacities`` has no capacity.
            NotFoundError: there is no such application.
            InvalidRequestError: the service does not accept a value (400).
            TransportError: with ``outcome_unknown`` if the answer was lost: the stream may exist.
        """
        body = {
            "application_id": identifier(application_id, "application_id", ApplicationRef),
            **capacity(capacities, capacity_type),
        }
        return await self._session.fetch(Request("POST", "/streams", body=json_body(body)), STREAM)

"""Software: what can be installed on new machines."""

from __future__ import annotations

from collections.abc import Sequence

from vcloud._core.codec import Shape
from vcloud._core.paging.pager import Pager, unpaged
from vcloud._core.request import Request
from vcloud._core.resource import Collection
from vcloud.providers.computers.models import BaseImage, Software, SoftwareList

__all__ = ["SoftwareCatalog"]

CATALOG_REQUEST = Request("GET", "/software")
SOFTWARE: Shape[SoftwareList, Sequence[Software]] = Shape(
    SoftwareList, lambda wire, session, body: wire.software
)
BASE_IMAGES: Shape[SoftwareList, Sequence[BaseImage]] = Shape(
    SoftwareList, lambda wire, session, body: wire.base_images
)


class SoftwareCatalog(Collection):
    """What new machines can start with.

    The document only names the endpoint; the shape of its answer is from Vagon's published client.
    """

    def list(self) -> Pager[Software]:
        """The programs; their ids go into ``software_ids`` of a create.  ``GET /software``

        Raises:
            PermissionDeniedError: permission required (4710).
        """
        return unpaged(lambda: self._session.fetch(CATALOG_REQUEST, SOFTWARE))

    def base_images(self) -> Pager[BaseImage]:
        """The images; an id goes into ``base_image_id`` of a create.  ``GET /software``

        Raises:
            PermissionDeniedError: permission required (4710).
        """
        return unpaged(lambda: self._session.fetch(CATALOG_REQUEST, BASE_IMAGES))

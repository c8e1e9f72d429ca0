"""Software: the programs and images that new machines can start with."""

from __future__ import annotations

from vcloud._core.decoding.shape import Shape
from vcloud._core.paging.pager import Pager
from vcloud._core.resource import Collection
from vcloud._core.resources import Opened, all_of, values
from vcloud.providers.computers.models import BaseImage, CatalogItem, Software, SoftwareList

__all__ = ["SoftwareCatalog"]

PATH = "/software"
SOFTWARE: Shape[SoftwareList, Opened[Software]] = values(
    SoftwareList, "software", CatalogItem.software
)
BASE_IMAGES: Shape[SoftwareList, Opened[BaseImage]] = values(
    SoftwareList, "base_images", CatalogItem.base_image
)


class SoftwareCatalog(Collection):
    """What new machines can start with.

    The document only names the endpoint. Vagon's documentation shows flat items, and its published
    client reads items with ``attributes``. The SDK reads both.
    """

    def list(self) -> Pager[Software]:
        """The programs; ``software_ids`` of a create takes them.  ``GET /software``

        Raises:
            PermissionDeniedError: permission required (4710).
        """
        return all_of(self._session, PATH, SOFTWARE)

    def base_images(self) -> Pager[BaseImage]:
        """The images; ``base_image_id`` of a create takes one.  ``GET /software``

        Raises:
            PermissionDeniedError: permission required (4710).
        """
        return all_of(self._session, PATH, BASE_IMAGES)

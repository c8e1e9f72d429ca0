"""Values that the Computers API answers with, their enumerations, and its lists.

The fields of a machine are in ``machine.py``, those of a task or a session beside its collection.
"""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Final

import attrs
from attrs import field, frozen

from vcloud._core.decoding.models import none_when_absent
from vcloud._core.model import Model
from vcloud._core.redaction.secretive import Secretive
from vcloud._core.scalars import Id, Instant, Integer, OpenEnum
from vcloud.errors import InvalidArgumentError
from vcloud.providers.vagon import Envelope
from vcloud.providers.vagon_resources import Item

__all__ = [
    "AUTO_STOP_THRESHOLDS",
    "AccessLink",
    "ActiveTask",
    "BaseImage",
    "ImageStatus",
    "MachineStatus",
    "MachineType",
    "MachineUser",
    "MachineUserAttributes",
    "PermissionField",
    "Permissions",
    "Software",
    "TaskResult",
    "TaskStatus",
    "UsageSource",
]


class MachineStatus(OpenEnum):
    """``friendly_status`` of a machine."""

    OFF = "off"
    CREATING = "creating"
    TURNING_ON = "turning_on"
    READY = "ready"
    TURNING_OFF = "turning_off"
    RESIZING_DISK = "resizing_disk"
    INSTALLING = "installing"
    REGION_MIGRATION = "region_migration"
    WARMING_UP = "warming_up"
    #: Not in the OpenAPI enumeration; from Vagon's how-to pages.
    GRACEFUL_STOPPING = "graceful_stopping"


class UsageSource(OpenEnum):
    """What pays for a machine's running time."""

    #: Only what is assigned to the machine.
    MACHINE = "machine"
    #: The team's balance too, if nothing is left on the machine.
    TEAM_BALANCE = "team_balance"


class ImageStatus(OpenEnum):
    """The state of the snapshot of a machine's latest image; null if there is no user data yet."""

    #: The machine is not off, so nothing can be captured.
    IN_USE = "in_use"
    #: A snapshot is being captured.
    PROCESSING = "processing"
    #: The machine is off and nothing is being captured.
    READY = "ready"


class TaskStatus(OpenEnum):
    """Whether a task's folder is the one that is captured."""

    ACTIVE = "active"
    INACTIVE = "inactive"


class TaskResult(OpenEnum):
    """The result of activating or deleting a task."""

    CREATED = "created"
    REACTIVATED = "reactivated"
    ALREADY_ACTIVE = "already_active"
    DELETED = "deleted"


#: The values that ``auto_stop_threshold`` can take; zero disables it.
AUTO_STOP_THRESHOLDS: Final = tuple(
    timedelta(seconds=value) for value in (0, 900, 3600, 10800, 21600)
)


@frozen(kw_only=True)
class Permissions(Model):
    """What a machine's user may do. None: not sent by the service, not changed by a request."""

    #: Whether the machine reaches the internet. Default of a new machine: true.
    public_internet_access: bool | None = None
    #: Whether files can be downloaded from the machine. Default: true.
    can_download_from_vagon_workstation: bool | None = None
    #: Whether files can be uploaded to the machine. Default: true.
    can_upload_to_workstation: bool | None = None
    #: Whether analytics are collected. Default: false.
    analytics_collection_enabled: bool | None = None
    #: Whether the clipboard is shared between the local and the remote machine. Default: true.
    clipboard_enabled: bool | None = None
    #: Whether the screen is recorded. Default: false.
    screen_recording_enabled: bool | None = None
    #: Whether keyboard and mouse are recorded. Default: false.
    input_recording_enabled: bool | None = None


def permissions_to_wire(permissions: Permissions) -> dict[str, bool]:
    """The permissions that were given, as a request has them.

    Raises:
        InvalidArgumentError: it is not a :class:`Permissions`.
    """
    if type(permissions) is not Permissions:
        raise InvalidArgumentError(
            f"permissions must be a Permissions(...), not {type(permissions).__name__}"
        )
    return {name: value for name, value in attrs.asdict(permissions).items() if value is not None}


@frozen(kw_only=True, field_transformer=none_when_absent)
class MachineUserAttributes(Model):
    """What is known of a user."""

    email: str | None
    name: str | None = None


@frozen(kw_only=True, field_transformer=none_when_absent)
class MachineUser(Model):
    """The user that a machine is assigned to. The id is None until an invited user has accepted."""

    id: str | None
    type: str | None
    attributes: MachineUserAttributes | None

    @property
    def email(self) -> str | None:
        """The user's email address."""
        return self.attributes.email if self.attributes is not None else None

    @property
    def name(self) -> str | None:
        """The user's name."""
        return self.attributes.name if self.attributes is not None else None


@frozen(kw_only=True, field_transformer=none_when_absent)
class ActiveTask(Model):
    """The active task of a machine."""

    id: Id | None
    uid: str | None
    created_at: Instant | None


@frozen(kw_only=True, field_transformer=none_when_absent)
class MachineType(Model):
    """A hardware specification.

    Attributes:
        name: the internal name, such as ``g4dn.xlarge``.
        friendly_name: the name that a person sees, such as ``Planet``.
        cpu: number of CPU cores.
        memory: RAM in GB, a decimal text such as ``16.0``.
        gpu: number of GPUs.
        gpu_memory: GPU memory in GB, a decimal text.
    """

    id: str = ""
    name: str | None
    friendly_name: str | None
    cpu: Integer | None
    memory: str | None
    gpu: Integer | None
    gpu_memory: str | None


@frozen(kw_only=True, field_transformer=none_when_absent)
class AccessLink(Model, Secretive):
    """A link that opens a machine without an account.

    Anyone who has the link can use the machine, so it is a secret: the repr does not show it, and
    this object cannot be pickled.
    """

    id: str = ""
    expires_at: Instant | None
    connection_link: str = field(repr=False)


@frozen(kw_only=True)
class Software(Model):
    """A program that can be installed on new machines.

    Attributes:
        id: goes into ``software_ids`` of a create.
        name: what a person calls it.
        size: bytes (from Vagon's published client).
    """

    id: Id
    name: str | None = None
    size: Integer | None = None


@frozen(kw_only=True)
class BaseImage(Model):
    """An image that new machines can start from.

    Attributes:
        id: goes into ``base_image_id`` of a create.
        name: what a person calls it.
        size: bytes (from Vagon's published client).
        type: always ``base_image``, by Vagon's documentation.
    """

    id: Id
    name: str | None = None
    size: Integer | None = None
    type: str | None = None


@frozen(kw_only=True, field_transformer=none_when_absent)
class PermissionField(Model):
    """A permission that can be set, with its default."""

    name: str
    type: str | None
    default: bool | None = None


# -- list answers ----------------------------------------------------------------------------------


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class MachineTypeList(Envelope):
    """``GET /machines/{id}/available-machine-types``."""

    item_fields: ClassVar[tuple[str, ...]] = ("machine_types",)

    machine_types: list[Item[MachineType]] | None


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class CatalogAttributes:
    """The attributes of a program or an image, in the form that Vagon's published client reads."""

    name: str | None
    size: Integer | None
    type: str | None = None


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class CatalogItem:
    """A program or an image, flat as in Vagon's documentation, or with ``attributes``."""

    id: Id
    name: str | None
    size: Integer | None = None
    type: str | None = None
    attributes: CatalogAttributes | None = None

    def software(self) -> Software:
        """The item as a program."""
        source = self if self.attributes is None else self.attributes
        return Software(id=self.id, name=source.name, size=source.size)

    def base_image(self) -> BaseImage:
        """The item as an image."""
        source = self if self.attributes is None else self.attributes
        return BaseImage(
            id=self.id, name=source.name, size=source.size, type=source.type or self.type
        )


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class SoftwareList(Envelope):
    """``GET /software``."""

    item_fields: ClassVar[tuple[str, ...]] = ("software", "base_images")

    software: list[CatalogItem] | None
    base_images: list[CatalogItem] | None


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class PermissionFieldList(Envelope):
    """``GET /machines/permission-fields``."""

    item_fields: ClassVar[tuple[str, ...]] = ("permission_fields",)

    permission_fields: list[PermissionField] | None

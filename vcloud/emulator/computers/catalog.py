"""What Vagon offers an account: plans, machine types, images, software, permissions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from attrs import frozen

Json = dict[str, Any]


@frozen
class MachineType:
    """A performance type: what a machine runs on."""

    id: int
    name: str
    friendly_name: str
    cpu: int
    memory: str
    gpu: int
    gpu_memory: str
    hourly: Decimal
    """What an hour costs the organisation's balance. Undocumented."""


@frozen
class Plan:
    """What a machine is bought as: machine types (the first is the default), sizes in GB, price."""

    id: int
    machine_types: tuple[MachineType, ...]
    disk_size: int
    file_storage_size: int
    price: Decimal

    def machine_type(self, id: int) -> MachineType | None:
        """The machine type with this id, if the plan has it."""
        return next((known for known in self.machine_types if known.id == id), None)


PLANS = {
    plan.id: plan
    for plan in (
        Plan(
            id=1,
            machine_types=(
                MachineType(11, "g4dn.xlarge", "Planet", 4, "16.0", 1, "16.0", Decimal("1.20")),
                MachineType(15, "g5.xlarge", "Spark", 4, "16.0", 1, "24.0", Decimal("1.80")),
            ),
            disk_size=75,
            file_storage_size=25,
            price=Decimal("29.00"),
        ),
        Plan(
            id=2,
            machine_types=(
                MachineType(21, "g5.4xlarge", "Flame", 16, "64.0", 1, "24.0", Decimal("3.60")),
                MachineType(25, "g5.12xlarge", "Lava", 48, "192.0", 4, "96.0", Decimal("9.60")),
            ),
            disk_size=125,
            file_storage_size=250,
            price=Decimal("79.50"),
        ),
    )
}

STATUSES = (
    "off", "creating", "turning_on", "ready", "turning_off", "resizing_disk", "installing",
    "region_migration", "warming_up", "graceful_stopping",
)  # fmt: skip
"""What `friendly_status` can be."""

AUTO_STOP_THRESHOLDS = (0, 900, 3600, 10800, 21600)
"""Seconds; 0 is never."""

USAGE_SOURCES = ("machine", "team_balance")

PERMISSIONS = {
    "public_internet_access": True,
    "can_download_from_vagon_workstation": True,
    "can_upload_to_workstation": True,
    "analytics_collection_enabled": False,
    "clipboard_enabled": True,
    "screen_recording_enabled": False,
    "input_recording_enabled": False,
}
"""The permission fields and their documented defaults."""

SOFTWARE: tuple[Json, ...] = (
    {"id": 1, "name": "Blender", "size": 2},
    {"id": 2, "name": "Unreal Engine", "size": 40},
    {"id": 3, "name": "AutoCAD", "size": 12},
    {"id": 4, "name": "DaVinci Resolve", "size": 6},
)
SOFTWARE_IDS = frozenset(software["id"] for software in SOFTWARE)

BASE_IMAGES: tuple[Json, ...] = (
    {"id": 100, "name": "Template #100", "size": 30, "type": "windows"},
    {"id": 101, "name": "Template #101", "size": 45, "type": "windows"},
)
BASE_IMAGE_NAMES: dict[int, str] = {image["id"]: image["name"] for image in BASE_IMAGES}

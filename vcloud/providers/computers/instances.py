"""Machines as instances, the view that all providers share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vcloud._core.instances import Capabilities, InstanceKind, InstanceState
from vcloud.providers.computers.models import MachineStatus

__all__ = ["KIND", "STATES"]

STATES: Final[Mapping[str, InstanceState]] = {
    MachineStatus.OFF: InstanceState.STOPPED,
    MachineStatus.CREATING: InstanceState.STARTING,
    MachineStatus.TURNING_ON: InstanceState.STARTING,
    MachineStatus.WARMING_UP: InstanceState.STARTING,
    MachineStatus.READY: InstanceState.RUNNING,
    MachineStatus.TURNING_OFF: InstanceState.STOPPING,
    MachineStatus.GRACEFUL_STOPPING: InstanceState.STOPPING,
    MachineStatus.RESIZING_DISK: InstanceState.MAINTENANCE,
    MachineStatus.INSTALLING: InstanceState.MAINTENANCE,
    MachineStatus.REGION_MIGRATION: InstanceState.MAINTENANCE,
}

KIND: Final = InstanceKind(
    "computers",
    Capabilities(start=True, connect=True, stop_is_final=False, stop_loses_disk=False),
    {
        "hibernate": "stop() turns the machine off, and keeps its disk",
        "wake": "start() turns the machine on",
    },
)

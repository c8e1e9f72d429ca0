"""Machines as instances, the view that all providers share."""

from __future__ import annotations

from typing import Final

from vcloud._core.instances import Instance, InstanceState
from vcloud.providers.computers.machine import Machine
from vcloud.providers.computers.models import MachineStatus

__all__ = ["as_instance"]

_STATES: Final = {
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


def as_instance(machine: Machine) -> Instance:
    """A machine as an instance."""
    status, unknown = machine.friendly_status, InstanceState.UNKNOWN
    state = unknown if status is None else _STATES.get(status, unknown)
    started_at = machine.last_session_start_at if state is InstanceState.RUNNING else None
    name = machine.name or machine.id
    return Instance("computers", machine.id, name, state, machine.region, started_at, machine)

"""Machines as instances, the view that all providers share."""

from __future__ import annotations

from typing import Final

from vcloud._core.instances import Instance, InstanceState
from vcloud.providers.streams.machines import StreamMachine
from vcloud.providers.streams.models import ConnectionStatus

__all__ = ["as_instance"]

_STATES: Final = {
    ConnectionStatus.WAITING: InstanceState.STARTING,
    ConnectionStatus.AVAILABLE: InstanceState.RUNNING,
    ConnectionStatus.ASSIGNED: InstanceState.RUNNING,
    ConnectionStatus.CONNECTED: InstanceState.RUNNING,
    ConnectionStatus.PROXY_IN_MIGRATION: InstanceState.MAINTENANCE,
}


def as_instance(machine: StreamMachine) -> Instance | None:
    """A machine as an instance; None if it ended, because it never runs again."""
    status, unknown = machine.connection_status, InstanceState.UNKNOWN
    if status == ConnectionStatus.TERMINATED:
        return None
    state = unknown if status is None else _STATES.get(status, unknown)
    name = machine.stream_name or machine.id
    return Instance("streams", machine.id, name, state, machine.region, machine.start_at, machine)

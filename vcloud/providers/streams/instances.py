"""Machines as instances, the view that all providers share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vcloud._core.instances import Capabilities, InstanceKind, InstanceState
from vcloud.providers.streams.models import ConnectionStatus

__all__ = ["KIND", "STATES"]

STATES: Final[Mapping[str, InstanceState]] = {
    ConnectionStatus.WAITING: InstanceState.STARTING,
    ConnectionStatus.AVAILABLE: InstanceState.RUNNING,
    ConnectionStatus.ASSIGNED: InstanceState.RUNNING,
    ConnectionStatus.CONNECTED: InstanceState.RUNNING,
    ConnectionStatus.PROXY_IN_MIGRATION: InstanceState.MAINTENANCE,
    ConnectionStatus.TERMINATED: InstanceState.STOPPED,
}

_NO_START: Final = (
    "a Streams machine that ended never runs again; StreamRef.start_machine starts another one"
)

KIND: Final = InstanceKind(
    "streams",
    Capabilities(start=False, connect=False, stop_is_final=True, stop_loses_disk=True),
    {
        "start": _NO_START,
        "hibernate": "a Streams machine runs or has ended; stop() ends it",
        "wake": _NO_START,
        "connect_url": "its link belongs to an assignment; StreamRef.assign_machine gives the link "
        "of a machine that the service chooses, StreamRef.connect waits for one",
    },
)

"""Sessions as instances, the view that all providers share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vcloud._core.instances import Capabilities, InstanceKind, InstanceState
from vcloud.providers.streamspace.models import SessionState

__all__ = ["KIND", "STATES"]

STATES: Final[Mapping[str, InstanceState]] = {
    SessionState.PENDING: InstanceState.STARTING,
    SessionState.STARTING: InstanceState.STARTING,
    SessionState.WAKING: InstanceState.STARTING,
    SessionState.RUNNING: InstanceState.RUNNING,
    # Not hibernated yet: it cannot be woken.
    SessionState.HIBERNATING: InstanceState.STOPPING,
    SessionState.HIBERNATED: InstanceState.HIBERNATED,
    SessionState.TERMINATING: InstanceState.STOPPING,
    SessionState.TERMINATED: InstanceState.STOPPED,
    SessionState.FAILED: InstanceState.FAILED,
}

KIND: Final = InstanceKind(
    "streamspace",
    Capabilities(
        start=True,
        hibernate=True,
        wake=True,
        connect=True,
        stop_is_final=True,
        stop_loses_disk=True,
    ),
    {},
)

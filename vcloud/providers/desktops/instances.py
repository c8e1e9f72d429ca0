"""Desktops as instances, the view that all providers share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vcloud._core.instances import Capabilities, InstanceKind, InstanceState
from vcloud.providers.desktops.models import DesktopStatus

__all__ = ["KIND", "STATES"]

STATES: Final[Mapping[str, InstanceState]] = {
    DesktopStatus.PENDING: InstanceState.STARTING,
    DesktopStatus.RUNNING: InstanceState.RUNNING,
    DesktopStatus.ERROR: InstanceState.FAILED,
    DesktopStatus.TERMINATED: InstanceState.STOPPED,
    DesktopStatus.COMPLETED: InstanceState.STOPPED,
}

_NO_START: Final = "a desktop never starts again: desktops.launch() makes a new one"

KIND: Final = InstanceKind(
    "desktops",
    Capabilities(start=False, connect=True, stop_is_final=True, stop_loses_disk=True),
    {
        "start": _NO_START,
        "hibernate": "a desktop runs or has ended; stop() ends it, and its data is lost",
        "wake": _NO_START,
    },
)

"""Desktops as instances, the view that all providers share."""

from __future__ import annotations

from typing import Final

from vcloud._core.instances import Instance, InstanceState
from vcloud.providers.desktops.desktops import Desktop
from vcloud.providers.desktops.models import DesktopStatus

__all__ = ["as_instance"]

_STATES: Final = {
    DesktopStatus.PENDING: InstanceState.STARTING,
    DesktopStatus.RUNNING: InstanceState.RUNNING,
    DesktopStatus.ERROR: InstanceState.FAILED,
    DesktopStatus.TERMINATED: InstanceState.STOPPED,
    DesktopStatus.COMPLETED: InstanceState.STOPPED,
}


def as_instance(desktop: Desktop) -> Instance:
    """A desktop as an instance. It has no name but its id."""
    state = _STATES.get(desktop.status, InstanceState.UNKNOWN)
    started_at = desktop.created_at if state is InstanceState.RUNNING else None
    return Instance("desktops", desktop.id, desktop.id, state, None, started_at, desktop)

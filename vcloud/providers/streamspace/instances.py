"""Sessions as instances, the view that all providers share."""

from __future__ import annotations

from typing import Final

from vcloud._core.instances import Instance, InstanceState
from vcloud.providers.streamspace.models import SessionState
from vcloud.providers.streamspace.sessions import Session

__all__ = ["as_instance"]

_STATES: Final = {
    SessionState.PENDING: InstanceState.STARTING,
    SessionState.WAKING: InstanceState.STARTING,
    SessionState.RUNNING: InstanceState.RUNNING,
    SessionState.HIBERNATING: InstanceState.HIBERNATED,
    SessionState.HIBERNATED: InstanceState.HIBERNATED,
    SessionState.TERMINATING: InstanceState.STOPPING,
    SessionState.FAILED: InstanceState.FAILED,
}


def as_instance(session: Session) -> Instance | None:
    """A session as an instance; None if it has terminated.

    It has no region: the region is its agent's, which the session does not name.
    """
    if session.state == SessionState.TERMINATED:
        return None
    unknown = InstanceState.UNKNOWN
    state = unknown if session.state is None else _STATES.get(session.state, unknown)
    started_at = session.status.started_at if session.status is not None else None
    name = session.name or session.id
    return Instance("streamspace", session.id, name, state, None, started_at, session)

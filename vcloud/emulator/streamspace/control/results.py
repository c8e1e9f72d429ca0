"""How an agent's result of a command changes its session. No sockets."""

from __future__ import annotations

from vcloud.emulator.streamspace.control.messages import read_pod
from vcloud.emulator.streamspace.state import ENDED, Session


def complete(session: Session, kind: str, result: object, now: float, offset: float) -> bool:
    """Change a session after a completed command; whether it is to be hibernated next.

    `now` is simulated time, `offset` how far the service's clock is off, as in `Clock.offset`.
    """
    match kind, session.state_at(now):
        case ("start_session", "pending") | ("wake_session", "waking"):
            session.pod = read_pod(result, offset, session.pod)
            session.enter(now, "running")
            return kind == "start_session" and session.wanted == "hibernated"
        case ("hibernate_session", "hibernating"):
            session.enter(now, "hibernated")
        case ("stop_session", state) if state not in ENDED:
            session.enter(now, "terminated")
    return False


def fail(session: Session, kind: str, why: str, now: float) -> None:
    """Change a session after a failed command."""
    match kind, session.state_at(now):
        case ("start_session", "pending"):
            session.enter(now, "failed", why)
        case ("hibernate_session", "hibernating"):
            session.enter(now, "running", why)
        case ("wake_session", "waking"):
            session.enter(now, "hibernated", why)
        case ("stop_session", state) if state not in ENDED:
            session.enter(now, "failed", why)

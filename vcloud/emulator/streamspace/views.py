"""The StreamSpace API's representations. Fields are in the order of the document's examples."""

from __future__ import annotations

from typing import Any

from vcloud.emulator.clock import Clock, written
from vcloud.emulator.streamspace.state import Agent, Session, Template, User

Json = dict[str, Any]

VNC_PORT = 3000
ENVIRONMENT = {"PUID": "1000", "PGID": "1000", "TZ": "UTC"}

_MESSAGES = {
    "pending": "Session provisioning in progress...",
    "running": "Session is running",
    "hibernating": "Session hibernation in progress...",
    "waking": "Session wake-up in progress...",
    "hibernated": "Session is hibernated",
    "terminating": "Session termination in progress...",
    "terminated": "Session is terminated",
    "failed": "Session failed",
}
_CHANGED = {
    **_MESSAGES,
    "running": "Session woken successfully",
    "hibernated": "Session hibernated successfully",
    "terminated": "Session terminated successfully",
}


def login_view(token: str, user: User, ends: float, clock: Clock) -> Json:
    """A token, which expires at this time of day."""
    who = {"id": user.id, "username": user.username, "email": user.email, "role": user.role}
    return {
        "token": token,
        "user": {**who, "created_at": _at(user.created_at, clock)},
        "expires_at": written(ends, timespec="seconds"),
    }


def new_user_view(user: User, clock: Clock) -> Json:
    """A user as create answers it."""
    return {
        "id": user.id,
        "username": user.username,
        "email": user.email,
        "role": user.role,
        "active": user.active,
        "created_at": _at(user.created_at, clock),
    }


def user_view(user: User, clock: Clock) -> Json:
    """A user as the list has it."""
    last_login = None if user.last_login is None else _at(user.last_login, clock)
    return {**new_user_view(user, clock), "last_login": last_login}


def capacity_view(agent: Agent, sessions: int) -> Json:
    """An agent's capacity; limits that it does not have are left out."""
    measured = {"max_cpu": agent.max_cpu, "max_memory": agent.max_memory}
    return {
        **{name: value for name, value in measured.items() if value is not None},
        "max_sessions": agent.max_sessions,
        "current_sessions": sessions,
    }


def agent_view(agent: Agent, sessions: int, clock: Clock, *, details: Json | None = None) -> Json:
    """An agent, with the `details` of a single one."""
    offline = agent.status == "offline"
    heartbeat = agent.last_heartbeat if offline or agent.remote else clock.now()
    return {
        "id": agent.id,
        "agent_id": agent.agent_id,
        "platform": agent.platform,
        "region": agent.region,
        "status": agent.status,
        "capacity": capacity_view(agent, sessions),
        "metadata": agent.metadata,
        "websocket_conn_id": None if offline else agent.websocket_conn_id,
        "last_heartbeat": None if heartbeat is None else _at(heartbeat, clock),
        **(details or {}),
        "created_at": _at(agent.created_at, clock),
        "updated_at": _at(agent.updated_at, clock),
    }


def agent_details(agent: Agent, sessions: list[Session], now: float) -> Json:
    """The fields of a single agent: how long it has been online, and what runs on it."""
    return {
        "uptime_seconds": 0 if agent.status == "offline" else int(now - agent.connected_at),
        "sessions": [
            {
                "id": session.id,
                "name": session.name,
                "user": session.user,
                "template": session.template,
                "state": session.state_at(now),
            }
            for session in sessions
        ],
    }


def agent_update_view(agent: Agent, clock: Clock) -> Json:
    """The answer to changing an agent."""
    return {
        "id": agent.id,
        "agent_id": agent.agent_id,
        "status": agent.status,
        "updated_at": _at(agent.updated_at, clock),
    }


def session_view(session: Session, clock: Clock) -> Json:
    """A session as the list has it."""
    now = clock.now()
    return {
        "id": session.id,
        "name": session.name,
        "user": session.user,
        "template": session.template,
        "platform": session.platform,
        "agent_id": session.agent_id,
        "state": session.state_at(now),
        "resources": session.resources,
        "tags": session.tags,
        "status": _status(session, now),
        "created_at": _at(session.created_at, clock),
        "updated_at": _at(session.updated_at(now), clock),
    }


def new_session_view(session: Session, clock: Clock) -> Json:
    """A session as create answers it."""
    return {
        **session_view(session, clock),
        "namespace": "streamspace",
        "persistent_home": session.persistent_home,
        "idle_timeout": session.idle_timeout,
    }


def single_session_view(session: Session, clock: Clock) -> Json:
    """A session with all fields."""
    now = clock.now()
    started_at = session.started_at(now)
    status = _status(session, now)
    if started_at is not None:
        status |= {
            "pod_name": _pod_name(session),
            "container_id": session.id.replace("-", "")[-12:],
            "started_at": _at(started_at, clock),
        }
    return {
        **new_session_view(session, clock),
        "status": status,
        "platform_metadata": _platform_metadata(session),
        "last_activity": _at(session.used_by(now), clock),
    }


def session_update_view(session: Session, clock: Clock) -> Json:
    """The answer to changing a session's state."""
    now = clock.now()
    state = session.state_at(now)
    return {
        "id": session.id,
        "state": state,
        "status": {
            "phase": state.capitalize(),
            "message": session.message or _CHANGED.get(state, state),
        },
        "updated_at": _at(session.updated_at(now), clock),
    }


def log_view(session: Session, clock: Clock, *, tail: int, timestamps: bool) -> Json:
    """The last lines of a session's log."""
    lines = [
        line_view(at, text, clock, timestamps=timestamps) for at, text in session.lines(clock.now())
    ]
    return {"logs": lines[-tail:]}


def line_view(at: float, text: str, clock: Clock, *, timestamps: bool) -> str:
    """One line of a session's log."""
    return f"{_at(at, clock)} [INFO] {text}" if timestamps else f"[INFO] {text}"


def template_view(template: Template, clock: Clock) -> Json:
    """A template as the list has it."""
    return {
        "id": template.id,
        "name": template.name,
        "display_name": template.display_name,
        "category": template.category,
        "description": template.description,
        "base_image": template.base_image,
        "default_resources": {"memory": template.memory, "cpu": template.cpu},
        "vnc": {"enabled": True, "port": VNC_PORT},
        "tags": template.tags,
        "created_at": _at(template.created_at, clock),
        "updated_at": _at(template.updated_at, clock),
    }


def single_template_view(template: Template, clock: Clock) -> Json:
    """A template with all fields."""
    return {
        **template_view(template, clock),
        "default_resources": {
            "memory": template.memory,
            "cpu": template.cpu,
            "storage": template.storage,
        },
        "vnc": {"enabled": True, "port": VNC_PORT, "resolution": "1920x1080", "color_depth": 24},
        "environment": ENVIRONMENT,
        "persistent_home": template.persistent_home,
        "idle_timeout": template.idle_timeout,
        "icon_url": template.icon_url,
    }


def _status(session: Session, now: float) -> Json:
    state = session.state_at(now)
    up = state == "running"
    return {
        "phase": state.capitalize(),
        "message": session.message or _MESSAGES.get(state, state),
        "pod_ip": _pod_ip(session) if up else None,
        "vnc_url": f"/vnc-viewer/{session.id}" if up else None,
    }


def _pod_ip(session: Session) -> str | None:
    if session.remote:
        return session.pod.ip
    return f"10.42.{session.number // 250 % 250}.{session.number % 250 + 2}"


def _pod_name(session: Session) -> str | None:
    if session.remote:
        return session.pod.name
    return f"{session.name}-7c8f9d6b5" if session.platform == "kubernetes" else None


def _platform_metadata(session: Session) -> Json:
    if session.platform != "kubernetes":
        return {"container_name": session.name}
    return {
        "namespace": "streamspace",
        "deployment_name": session.name,
        "service_name": session.name,
        "pvc_name": f"{session.name}-home" if session.persistent_home else None,
    }


def _at(at: float, clock: Clock) -> str:
    return clock.iso(at, timespec="seconds")

"""The published StreamSpace server's representations.

Fields are in the server's order: that of its types, and by name where it has no type.
"""

from __future__ import annotations

from typing import Any, Final

from vcloud.emulator.clock import Clock
from vcloud.emulator.streamspace.published.catalog import ADMIN_QUOTA, GROUPS, QUOTA
from vcloud.emulator.streamspace.published.state import Agent, Command, Session, Template, User
from vcloud.emulator.streamspace.published.times import exact, exact_of_day, stored

Json = dict[str, Any]


_LEFT_OUT: Final = frozenset(
    {
        "url",
        "agent_id",
        "pod_name",
        "memory",
        "cpu",
        "idle_timeout",
        "max_session_duration",
        "tags",
        "last_connection",
        "last_activity",
        "streaming_path",
    }
)
"""The fields of a session's row that are left out when they are empty."""


def login_view(token: str, ends: float, user: Json) -> Json:
    """A token, which expires at this time of day, and the user."""
    return {"token": token, "expiresAt": exact_of_day(ends), "user": user}


def user_view(user: User, clock: Clock) -> Json:
    """A user, as lists and logins have it."""
    return _user(user, stored(user.created_at, clock), stored(user.updated_at, clock), clock)


def new_user_view(user: User, clock: Clock) -> Json:
    """A user, as its create answers it."""
    return _user(user, exact(user.created_at, clock), exact(user.updated_at, clock), clock)


def _user(user: User, created_at: str, updated_at: str, clock: Clock) -> Json:
    last = {} if user.last_login is None else {"lastLogin": stored(user.last_login, clock)}
    return {
        "id": user.id,
        "orgId": "",
        "username": user.username,
        "email": user.email,
        "fullName": user.full_name,
        "role": user.role,
        "provider": user.provider,
        "active": user.active,
        "createdAt": created_at,
        "updatedAt": updated_at,
        **last,
    }


def quota_view(user: User, clock: Clock) -> Json:
    """The quota that is shown for a user."""
    created_at = stored(user.created_at, clock)
    return {
        "userId": user.id,
        "username": "",
        **(ADMIN_QUOTA if user.is_admin else QUOTA),
        "usedSessions": 0,
        "usedCpu": "0",
        "usedMemory": "0",
        "usedStorage": "0",
        "createdAt": created_at,
        "updatedAt": created_at,
    }


def whole_user_view(user: User, clock: Clock) -> Json:
    """A user with quota and groups, as it is answered alone."""
    return {**user_view(user, clock), "quota": quota_view(user, clock), "groups": list(GROUPS)}


def template_view(template: Template, clock: Clock, *, new: bool = False) -> Json:
    """A template. The database gives no tags as an empty list, a create as null."""
    tags = template.tags
    return {
        "id": template.id,
        "repository_id": template.repository_id,
        "name": template.name,
        "display_name": template.display_name,
        "description": template.description,
        "category": template.category,
        "app_type": template.app_type,
        "icon_url": template.icon_url,
        "manifest": template.manifest,
        "tags": None if new and tags is None else list(tags or ()),
        "install_count": template.install_count,
        "created_at": stored(template.created_at, clock),
        "updated_at": stored(template.updated_at, clock),
    }


def capacity_view(capacity: Json) -> Json:
    """An agent's capacity: what the server reads of it."""
    storage = {"storage": capacity["storage"]} if capacity.get("storage") else {}
    return {
        "maxSessions": capacity.get("maxSessions") or 0,
        "cpu": capacity.get("cpu") or "",
        "memory": capacity.get("memory") or "",
        **storage,
    }


def agent_view(agent: Agent, clock: Clock, *, listed: bool = False) -> Json:
    """An agent. Only the list says whether it is approved."""
    heard = agent.last_heartbeat if agent.remote else clock.now()
    approved = {} if agent.approved_at is None else {"approvedAt": stored(agent.approved_at, clock)}
    if agent.approved_by is not None:
        approved["approvedBy"] = agent.approved_by
    optional = {
        "capacity": None if agent.capacity is None else capacity_view(agent.capacity),
        "lastHeartbeat": None if heard is None else stored(heard, clock),
        "websocketId": agent.connection,
        "metadata": agent.metadata,
    }
    return {
        "id": agent.id,
        "agentId": agent.agent_id,
        "platform": agent.platform,
        **({"region": agent.region} if agent.region else {}),
        "status": agent.status,
        **{name: value for name, value in optional.items() if value is not None},
        "approvalStatus": agent.approval if listed else "",
        **(approved if listed else {}),
        "createdAt": stored(agent.created_at, clock),
        "updatedAt": stored(agent.updated_at, clock),
    }


def command_view(command: Command, clock: Clock) -> Json:
    """A command, as its create answers it."""
    payload = {} if command.payload is None else {"payload": command.payload}
    return {
        "id": command.id,
        "commandId": command.command_id,
        "agentId": command.agent_id,
        "sessionId": command.session_id,
        "action": command.action,
        **payload,
        "status": command.status,
        "createdAt": stored(command.created_at, clock),
    }


def new_session_view(session: Session, command: Command, tags: list[str] | None) -> Json:
    """A session, as its create answers it."""
    where = f"agent: {command.agent_id}, command: {command.command_id}"
    return {
        "idleTimeout": session.idle_timeout,
        "maxSessionDuration": session.max_session_duration,
        "name": session.name,
        "namespace": session.namespace,
        "persistentHome": session.persistent_home,
        "resources": dict(session.resources),
        "state": "pending",
        "status": {
            "message": f"Session provisioning in progress ({where})",
            "phase": "Pending",
        },
        "tags": tags,
        "template": session.template,
        "user": session.user,
    }


def session_view(session: Session, clock: Clock) -> Json:
    """A session, alone and in lists."""
    now = clock.now()
    phase = session.phase_at(now)
    active = {} if phase.activity is None else {"lastActivity": stored(phase.activity, clock)}
    return {
        "activeConnections": session.active_connections(now),
        "createdAt": stored(session.created_at, clock),
        "idleTimeout": session.idle_timeout,
        "maxSessionDuration": session.max_session_duration,
        "name": session.name,
        "namespace": session.namespace,
        "persistentHome": session.persistent_home,
        "platform": session.platform,
        **({"resources": dict(session.resources)} if session.resources else {}),
        "state": phase.state,
        "status": {
            **active,
            "phase": phase.state[:1].upper() + phase.state[1:],
            "podName": phase.pod_name,
            "url": phase.url,
        },
        "streamingPath": session.path,
        "streamingPort": session.port,
        "streamingProtocol": session.protocol,
        "template": session.template,
        "user": session.user,
    }


def session_row(session: Session, clock: Clock) -> Json:
    """A session, as the database has it: what the path of the tags answers."""
    now = clock.now()
    phase = session.phase_at(now)
    found = {
        "id": session.name,
        "user_id": session.user,
        "org_id": "default-org",
        "template_name": session.template,
        "state": phase.state,
        "app_type": "",
        "active_connections": session.active_connections(now),
        "url": phase.url,
        "namespace": session.namespace,
        "platform": session.platform,
        "agent_id": session.agent_id,
        "pod_name": phase.pod_name,
        "memory": session.resources.get("memory"),
        "cpu": session.resources.get("cpu"),
        "persistent_home": session.persistent_home,
        "idle_timeout": session.idle_timeout,
        "max_session_duration": session.max_session_duration,
        "tags": list(session.tags or ()),
        "created_at": stored(session.created_at, clock),
        "updated_at": stored(session.updated_by(now), clock),
        "last_connection": _or_none(session.connected_at, clock),
        "last_activity": _or_none(phase.activity, clock),
        "streaming_protocol": session.protocol,
        "streaming_port": session.port,
        "streaming_path": session.path,
    }
    return {name: value for name, value in found.items() if value or name not in _LEFT_OUT}


def _or_none(at: float | None, clock: Clock) -> str | None:
    return None if at is None else stored(at, clock)

"""Sample bodies in the document's spelling, and a client that gets them as answers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from attrs import define, field

from vcloud import (
    BearerAuth,
    Endpoint,
    Response,
    RetryPolicy,
)
from vcloud._core.client import client_with
from vcloud._core.codec import Codec
from vcloud._core.connections.options import TransportOptions
from vcloud._core.transport import Transport
from vcloud.providers.streamspace import (
    Agent,
    AgentStats,
    AgentUpdate,
    Login,
    Session,
    SessionUpdate,
    StreamSpace,
    Template,
    User,
)
from vcloud.providers.streamspace.agents import AgentList
from vcloud.providers.streamspace.session import SessionList
from vcloud.providers.streamspace.templates import TemplateList
from vcloud.providers.streamspace.users import UserList

BASE = "https://streamspace.example.com/api/v1"
AT = "2025-11-22T10:45:00Z"
MOMENT = datetime(2025, 11, 22, 10, 45, tzinfo=UTC)
ID = "770e8400-e29b-41d4-a716-446655440002"

STATUS = {
    "phase": "Running",
    "message": "Session is running",
    "pod_ip": "10.42.1.5",
    "vnc_url": f"/vnc-viewer/{ID}",
}
SESSION = {
    "id": ID,
    "name": "john-doe-firefox-browser-abc123",
    "namespace": "streamspace",
    "user": "john.doe",
    "template": "firefox-browser",
    "platform": "kubernetes",
    "agent_id": "k8s-prod-us-east-1",
    "state": "running",
    "resources": {"memory": "2Gi", "cpu": "1000m"},
    "persistent_home": True,
    "idle_timeout": "1h30m",
    "tags": ["project-alpha"],
    "status": STATUS,
    "platform_metadata": {"pvc_name": "home"},
    "created_at": AT,
    "updated_at": AT,
    "last_activity": AT,
}
AGENT = {
    "id": "550e8400-e29b-41d4-a716-446655440000",
    "agent_id": "k8s-prod-us-east-1",
    "platform": "kubernetes",
    "region": "us-east-1",
    "status": "online",
    "capacity": {"max_cpu": 100, "max_memory": 256, "max_sessions": 100, "current_sessions": 12},
    "metadata": {"cluster_name": "prod"},
    "websocket_conn_id": "conn-abc123",
    "last_heartbeat": AT,
    "uptime_seconds": 2592000,
    "sessions": [
        {"id": ID, "name": "n", "user": "admin", "template": "firefox-browser", "state": "running"}
    ],
    "created_at": AT,
    "updated_at": AT,
}
TEMPLATE = {
    "id": "880e8400-e29b-41d4-a716-446655440003",
    "name": "firefox-browser",
    "display_name": "Firefox Web Browser",
    "category": "Web Browsers",
    "description": "A browser",
    "base_image": "lscr.io/linuxserver/firefox:latest",
    "default_resources": {"memory": "2Gi", "cpu": "1000m", "storage": "10Gi"},
    "vnc": {"enabled": True, "port": 3000, "resolution": "1920x1080", "color_depth": 24},
    "environment": {"TZ": "UTC"},
    "persistent_home": True,
    "idle_timeout": "30m",
    "tags": ["browser"],
    "icon_url": "https://cdn.example.com/firefox.svg",
    "created_at": AT,
    "updated_at": AT,
}
USER = {
    "id": "u1",
    "username": "admin",
    "email": "a@b.c",
    "role": "admin",
    "active": True,
    "created_at": AT,
    "last_login": AT,
}
STATS = {
    "total_agents": 2,
    "online_agents": 1,
    "offline_agents": 0,
    "draining_agents": 1,
    "by_platform": {"kubernetes": 1, "docker": 1},
    "total_capacity": {"max_sessions": 10, "current_sessions": 1},
    "utilization": {"percentage": 10.0, "sessions_available": 9},
}
LOGIN = {
    "token": "tok-canary",
    "user": {"id": "u1", "username": "admin", "email": "a@b.c", "role": "admin", "created_at": AT},
    "expires_at": AT,
}
PAGES = {"page": 1, "limit": 20, "total": 1, "total_pages": 1}
BODIES: list[tuple[type[Any], dict[str, Any]]] = [
    (Session, SESSION),
    (SessionList, {"sessions": [SESSION], "pagination": PAGES}),
    (
        SessionUpdate,
        {
            "id": ID,
            "state": "hibernated",
            "status": {"phase": "Hibernated", "message": "done"},
            "updated_at": AT,
        },
    ),
    (Agent, AGENT),
    (AgentList, {"agents": [AGENT], "pagination": PAGES}),
    (AgentUpdate, {"id": "u", "agent_id": "a", "status": "draining", "updated_at": AT}),
    (AgentStats, STATS),
    (Template, TEMPLATE),
    (TemplateList, {"templates": [TEMPLATE], "pagination": PAGES}),
    (User, USER),
    (UserList, {"users": [USER], "pagination": PAGES}),
    (Login, LOGIN),
]
CODEC = Codec()
#: Fields whose keys are free, and are not respelled.
FREE = {"metadata", "environment", "platform_metadata", "by_platform"}


def camel(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            re.sub("_([a-z])", lambda found: found[1].upper(), key): inner
            if key in FREE
            else camel(inner)
            for key, inner in value.items()
        }
    return [camel(inner) for inner in value] if isinstance(value, list) else value


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


@define
class Canned(Transport):
    """Answers every request with the same body, and keeps the requests."""

    status: int = 200
    body: bytes = b"{}"
    asked: list[tuple[str, str, bytes | None]] = field(factory=list)

    def check(self) -> None: ...

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        wire: TransportOptions,
    ) -> Response:
        self.asked.append((method, url.removeprefix(BASE), body))
        return Response(self.status, {}, self.body)


def client(
    body: object = None, status: int = 200, auth: Any = None, dialect: str = "documented"
) -> tuple[StreamSpace, Canned]:
    transport = Canned(status, encoded(body) if body is not None else b"")
    endpoint = Endpoint(BASE, auth=auth or BearerAuth("tok-canary"), retry=RetryPolicy(attempts=1))
    own = {"dialect": dialect}
    return client_with(StreamSpace, endpoint, transport=transport, own=own), transport

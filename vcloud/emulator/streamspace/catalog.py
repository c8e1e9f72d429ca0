"""The constants of the StreamSpace API: codes, enumerations, first agents and templates."""

from __future__ import annotations

from typing import Any, Final

Json = dict[str, Any]

PLATFORMS: Final = ("kubernetes", "docker")
AGENT_STATUSES: Final = ("online", "draining", "offline")
STATES: Final = ("pending", "running", "hibernated", "terminating", "terminated")
#: With those that only the published server has, or an agent reports.
ALL_STATES: Final = (*STATES, "starting", "hibernating", "waking", "failed")
INITIAL_STATES: Final = ("running", "hibernated")
ROLES: Final = ("admin", "user")
SORTS: Final = ("created_at", "updated_at", "user", "state")
ORDERS: Final = ("asc", "desc")

#: From, to. An administrator can also terminate a session in any state.
TRANSITIONS: Final = frozenset(
    {
        ("running", "hibernated"),
        ("hibernated", "running"),
        ("running", "terminating"),
        ("hibernated", "terminating"),
    }
)

USER: Final = "john.doe"

#: The status and the short text of every code.
CODES: Final = {
    "AUTH_INVALID_CREDENTIALS": (401, "Authentication failed"),
    "AUTH_TOKEN_EXPIRED": (401, "Token expired"),
    "AUTH_TOKEN_INVALID": (401, "Token invalid"),
    "AUTH_TOKEN_MISSING": (401, "Token missing"),
    "AUTH_INSUFFICIENT_PERMISSIONS": (403, "Insufficient permissions"),
    "AGENT_NOT_FOUND": (404, "Agent not found"),
    "AGENT_OFFLINE": (503, "Agent offline"),
    "AGENT_DRAINING": (503, "Agent draining"),
    "NO_AGENTS_AVAILABLE": (503, "No agents available"),
    "AGENT_CAPACITY_EXCEEDED": (503, "Agent capacity exceeded"),
    "INSUFFICIENT_RESOURCES": (503, "Insufficient resources"),
    "SESSION_NOT_FOUND": (404, "Session not found"),
    "SESSION_ALREADY_EXISTS": (409, "Session already exists"),
    "INVALID_STATE_TRANSITION": (400, "Invalid state transition"),
    "SESSION_PROVISIONING_FAILED": (500, "Session provisioning failed"),
    "SESSION_TERMINATING": (409, "Session terminating"),
    "TEMPLATE_NOT_FOUND": (404, "Template not found"),
    "TEMPLATE_INVALID": (400, "Template invalid"),
    "VALIDATION_FAILED": (400, "Validation failed"),
    "INVALID_PARAMETER": (400, "Invalid parameter"),
    "MISSING_REQUIRED_FIELD": (400, "Missing required field"),
    "RATE_LIMIT_EXCEEDED": (429, "Rate limit exceeded"),
    # No document names a code for these.
    "USER_ALREADY_EXISTS": (409, "User already exists"),
    "NOT_FOUND": (404, "Not found"),
    "METHOD_NOT_ALLOWED": (405, "Method not allowed"),
    "SESSION_NOT_RUNNING": (409, "Session not running"),
    "VNC_PROXY_FAILED": (503, "VNC proxy failed"),
}

AGENTS: Final[tuple[Json, ...]] = (
    {
        "id": "550e8400-e29b-41d4-a716-446655440000",
        "agent_id": "k8s-prod-us-east-1",
        "platform": "kubernetes",
        "region": "us-east-1",
        "max_cpu": 100,
        "max_memory": 256,
        "max_sessions": 100,
        "other_sessions": 12,
        "websocket_conn_id": "conn-abc123",
        "metadata": {
            "cluster_name": "prod-k8s-cluster",
            "kubernetes_version": "v1.28.0",
            "agent_version": "v2.0-beta.1",
            "ha_enabled": True,
            "is_leader": True,
            "lease_name": "k8s-agent-leader",
        },
    },
    {
        "id": "660e8400-e29b-41d4-a716-446655440001",
        "agent_id": "docker-host-01",
        "platform": "docker",
        "region": "us-east-1",
        "max_sessions": 50,
        "other_sessions": 5,
        "websocket_conn_id": "conn-def456",
        "metadata": {
            "docker_version": "24.0.7",
            "agent_version": "v2.0-beta.1",
            "ha_backend": "redis",
            "is_leader": True,
        },
    },
)


def _template(number: int, image: str, **more: Any) -> Json:
    return {
        "id": f"880e8400-e29b-41d4-a716-44665544{number:04d}",
        "base_image": f"lscr.io/linuxserver/{image}:latest",
        "icon_url": f"https://cdn.streamspace.io/icons/{image}.svg",
        "memory": "2Gi",
        "cpu": "1000m",
        **more,
    }


TEMPLATES: Final = (
    _template(
        3,
        "firefox",
        name="firefox-browser",
        display_name="Firefox Web Browser",
        category="Web Browsers",
        description="Mozilla Firefox web browser with privacy extensions",
        tags=("browser", "web", "privacy"),
    ),
    _template(
        4,
        "chromium",
        name="chromium-browser",
        display_name="Chromium Web Browser",
        category="Web Browsers",
        description="The browser that others are built from",
        tags=("browser", "web"),
    ),
    _template(
        5,
        "code-server",
        name="vscode-dev",
        display_name="Visual Studio Code",
        category="Development",
        description="Editor with terminals and extensions",
        tags=("editor", "development"),
        memory="4Gi",
        cpu="2000m",
        idle_timeout="1h",
    ),
    _template(
        6,
        "gimp",
        name="gimp-editor",
        display_name="GIMP Image Editor",
        category="Design",
        description="Photo retouching and image composition",
        tags=("graphics",),
        memory="4Gi",
    ),
)

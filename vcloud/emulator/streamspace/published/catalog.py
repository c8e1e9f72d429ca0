"""The constants of the published StreamSpace server: enumerations, and what is there at first."""

from __future__ import annotations

from typing import Any, Final

Json = dict[str, Any]

PLATFORMS: Final = ("kubernetes", "docker", "vm", "cloud")
AGENT_STATUSES: Final = ("online", "draining", "offline")
HEARTBEAT_STATUSES: Final = ("online", "draining")
APPROVALS: Final = ("pending", "approved", "rejected")
ROLES: Final = ("user", "admin", "operator")
PROVIDERS: Final = ("local", "saml", "oidc")
ACTIONS: Final = ("start_session", "stop_session", "hibernate_session", "wake_session")
STATES: Final = (
    "pending", "starting", "running", "hibernating", "hibernated", "waking", "terminating",
    "terminated", "failed",
)  # fmt: skip

NAMESPACE: Final = "streamspace"
GROUPS: Final = ("all-users",)
ADMIN_QUOTA: Final[Json] = {
    "maxSessions": 100,
    "maxCpu": "64000m",
    "maxMemory": "256Gi",
    "maxStorage": "1Ti",
}
QUOTA: Final[Json] = {
    "maxSessions": 5,
    "maxCpu": "4000m",
    "maxMemory": "16Gi",
    "maxStorage": "100Gi",
}
"""What the server shows of a user. It acts on other limits: see `quotas`."""

AGENT: Final[Json] = {
    "id": "550e8400-e29b-41d4-a716-446655440000",
    "agent_id": "k8s-prod-us-east-1",
    "platform": "kubernetes",
    "region": "us-east-1",
    "capacity": {"maxSessions": 100, "cpu": "64", "memory": "256Gi"},
    "metadata": {"agentVersion": "v2.0-beta.1", "namespace": NAMESPACE},
}


def manifest(name: str, image: str, port: int) -> Json:
    """A template's manifest: the image of its desktop, and the port it serves."""
    return {
        "apiVersion": "stream.space/v1alpha1",
        "kind": "Template",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "baseImage": image,
            "ports": [{"name": "vnc", "containerPort": port, "protocol": "TCP"}],
            "defaultResources": {"memory": "2Gi", "cpu": "1000m"},
        },
    }


TEMPLATES: Final[tuple[Json, ...]] = (
    {
        "name": "firefox-browser",
        "display_name": "Firefox Web Browser",
        "description": "Mozilla Firefox web browser with privacy extensions",
        "category": "Web Browsers",
        "manifest": manifest("firefox-browser", "registry.example.com/firefox-vnc:latest", 5900),
        "tags": ["browser", "web", "privacy"],
    },
    {
        "name": "chromium-browser",
        "display_name": "Chromium Web Browser",
        "description": "The browser that others are built from",
        "category": "Web Browsers",
        "manifest": manifest("chromium-browser", "registry.example.com/chromium-vnc:latest", 5900),
        "tags": ["browser", "web"],
    },
    {
        "name": "vscode-dev",
        "display_name": "Visual Studio Code",
        "description": "Editor with terminals and extensions",
        "category": "Development",
        "manifest": manifest("vscode-dev", "registry.example.com/vscode-vnc:latest", 5900),
        "tags": ["editor", "development"],
    },
    {
        "name": "gimp-editor",
        "display_name": "GIMP Image Editor",
        "description": "Photo retouching and image composition",
        "category": "Design",
        "manifest": manifest("gimp-editor", "lscr.io/linuxserver/gimp:latest", 3000),
        "tags": ["graphics"],
    },
)
"""The first templates. The last one is not VNC, as most of StreamSpace's own are not."""

_SERVED: Final = {
    3000: ("selkies", "/websockify"),
    6901: ("selkies", "/websockify"),
    8080: ("guacamole", ""),
}
_IMAGES: Final = (
    ("linuxserver/", ("selkies", 3000, "/websockify")),
    ("kasmweb/", ("selkies", 6901, "/websockify")),
    ("guacamole/", ("guacamole", 8080, "/guacamole")),
    ("x2go", ("x2go", 22, "")),
)
_VNC: Final = ("vnc", 5900, "")


def streaming(found: object) -> tuple[str, int, str]:
    """The protocol, port and path that the server reads from a template's manifest."""
    spec = found.get("spec") if isinstance(found, dict) else None
    image = spec.get("baseImage") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(image, str):
        return _VNC
    for part, known in _IMAGES:
        if part in image.lower():
            return known
    ports = spec.get("ports")
    first = ports[0] if isinstance(ports, list) and ports else None
    port = first.get("containerPort") if isinstance(first, dict) else None
    if isinstance(port, int) and port in _SERVED:
        protocol, path = _SERVED[port]
        return protocol, port, path
    return _VNC

"""What the API document says."""

from vcloud.providers.streamspace.dialects.documented import (
    agents,
    logins,
    logs,
    sessions,
    templates,
    users,
    vnc,
)

__all__ = ["agents", "logins", "logs", "sessions", "templates", "users", "vnc"]

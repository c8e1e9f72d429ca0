"""What the published server reads and answers."""

from vcloud.providers.streamspace.dialects.published import (
    agents,
    logins,
    logs,
    sessions,
    templates,
    users,
    vnc,
)

__all__ = ["agents", "logins", "logs", "sessions", "templates", "users", "vnc"]

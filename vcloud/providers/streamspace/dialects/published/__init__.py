"""What the published server reads and answers.

Beside the calls, which are as in ``documented/``, each module has the answers in this server's
spelling. ``answer`` is their base, ``freshness`` gets around the server's cache, and ``paths`` says
which names a path can hold.
"""

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

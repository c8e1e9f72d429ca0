"""How the StreamSpace client makes each documented call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from vcloud.providers.streamspace import Resources, StreamSpace

AGENT = "k8s-prod-us-east-1"
SESSION = "770e8400-e29b-41d4-a716-446655440002"

CALLS: dict[str, list[Callable[[StreamSpace], Awaitable[object]]]] = {
    "auth.login": [
        lambda c: c.login("admin", "your-password"),
        lambda c: c.login("admin", "password"),
    ],
    "auth.logout": [lambda c: c.logout()],
    "agents.list": [lambda c: c.agents.list().all()],
    "agents.get": [lambda c: c.agents.get(AGENT)],
    "agents.update": [lambda c: c.agents.ref(AGENT).drain()],
    "agents.stats": [lambda c: c.agents.stats()],
    "sessions.create": [
        lambda c: c.sessions.create(
            "john.doe",
            "firefox-browser",
            platform="kubernetes",
            state="running",
            resources=Resources(memory="2Gi", cpu="1000m"),
            persistent_home=True,
            idle_timeout=timedelta(minutes=30),
            tags=["project-alpha", "development"],
        ),
        lambda c: c.sessions.create(
            "john.doe", "firefox-browser", state="running", resources=Resources(memory="2Gi")
        ),
        lambda c: c.sessions.create(
            "john.doe",
            "firefox-browser",
            state="running",
            resources=Resources(memory="2Gi", cpu="1000m"),
        ),
    ],
    "sessions.list": [lambda c: c.sessions.list().all()],
    "sessions.get": [lambda c: c.sessions.get(SESSION)],
    "sessions.update": [
        lambda c: c.sessions.ref(SESSION).hibernate(),
        lambda c: c.sessions.ref(SESSION).wake(),
        lambda c: c.sessions.ref(SESSION).terminate(),
    ],
    "sessions.delete": [lambda c: c.sessions.ref(SESSION).delete()],
    "sessions.logs": [lambda c: c.sessions.ref(SESSION).logs()],
    "templates.list": [lambda c: c.templates.list().all()],
    "templates.get": [lambda c: c.templates.get("firefox-browser")],
    "users.list": [lambda c: c.users.list().all()],
    "users.create": [
        lambda c: c.users.create("john.doe", "john.doe@example.com", "secure-password", role="user")
    ],
}

#: Operations whose documented answer does not decode strictly, with the reason.
DRIFT: dict[str, str] = {}

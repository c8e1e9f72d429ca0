"""How the StreamSpace client makes each call of both dialects.

One table has all calls. An entry names the operation that makes it in each dialect's document.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final

from attrs import frozen

from vcloud.providers.streamspace import Resources, StreamSpace

AGENT = "k8s-prod-us-east-1"
SESSION = "770e8400-e29b-41d4-a716-446655440002"
MANIFEST: Final = {
    "apiVersion": "stream.space/v1alpha1",
    "kind": "Template",
    "metadata": {"name": "firefox-browser"},
    "spec": {"baseImage": "example.com/firefox:1", "vnc": {"enabled": True, "port": 5900}},
}

Call = Callable[[StreamSpace], Awaitable[object]]


@frozen
class Operation:
    """A call, and the id of its operation in each document; None: that dialect lacks it."""

    call: Call
    documented: str | None = None
    published: str | None = None


def both(id: str, call: Call) -> Operation:
    """A call whose operation has the same id in both documents."""
    return Operation(call, id, id)


_AUTH: Final = (
    both("auth.login", lambda c: c.login("admin", "your-password")),
    Operation(lambda c: c.login("admin", "password"), documented="auth.login"),
    Operation(lambda c: c.logout(), documented="auth.logout"),
    Operation(lambda c: c.refresh_token(), published="auth.refresh"),
)
_AGENTS: Final = (
    both("agents.list", lambda c: c.agents.list().all()),
    both("agents.get", lambda c: c.agents.get(AGENT)),
    Operation(lambda c: c.agents.ref(AGENT).drain(), documented="agents.update"),
    Operation(lambda c: c.agents.stats(), documented="agents.stats"),
    Operation(lambda c: c.agents.ref(AGENT).delete(), published="agents.delete"),
    Operation(lambda c: c.agents.ref(AGENT).approve(), published="agents.approve"),
    Operation(lambda c: c.agents.ref(AGENT).reject(), published="agents.reject"),
    Operation(lambda c: c.agents.ref(AGENT).generate_key(), published="agents.generate_key"),
    Operation(lambda c: c.agents.ref(AGENT).rotate_key(), published="agents.rotate_key"),
    Operation(
        lambda c: c.agents.ref(AGENT).command(
            "stop_session", SESSION, payload={"namespace": "streamspace"}
        ),
        published="agents.command",
    ),
)
_SESSIONS: Final = (
    Operation(
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
        documented="sessions.create",
    ),
    Operation(
        lambda c: c.sessions.create(
            "john.doe", "firefox-browser", state="running", resources=Resources(memory="2Gi")
        ),
        documented="sessions.create",
    ),
    Operation(
        lambda c: c.sessions.create(
            "john.doe",
            "firefox-browser",
            state="running",
            resources=Resources(memory="2Gi", cpu="1000m"),
        ),
        documented="sessions.create",
    ),
    Operation(
        lambda c: c.sessions.create(
            "admin",
            "firefox-browser",
            resources=Resources(memory="2Gi", cpu="1000m"),
            persistent_home=True,
            idle_timeout=timedelta(minutes=30),
            max_session_duration=timedelta(hours=8),
        ),
        published="sessions.create",
    ),
    Operation(
        lambda c: c.sessions.create("admin", "firefox-browser", resources=Resources(memory="2Gi")),
        published="sessions.create",
    ),
    Operation(lambda c: c.sessions.create("admin", "firefox-browser"), published="sessions.create"),
    both("sessions.list", lambda c: c.sessions.list().all()),
    both("sessions.get", lambda c: c.sessions.get(SESSION)),
    Operation(
        lambda c: c.sessions.ref(SESSION).hibernate(), "sessions.update", "sessions.hibernate"
    ),
    Operation(lambda c: c.sessions.ref(SESSION).wake(), "sessions.update", "sessions.wake"),
    Operation(lambda c: c.sessions.ref(SESSION).terminate(), documented="sessions.update"),
    both("sessions.delete", lambda c: c.sessions.ref(SESSION).delete()),
    Operation(
        lambda c: c.sessions.ref(SESSION).set_tags(["project-alpha", "development"]),
        published="sessions.set_tags",
    ),
    Operation(lambda c: c.sessions.ref(SESSION).logs(), documented="sessions.logs"),
)
_REST: Final = (
    both("templates.list", lambda c: c.templates.list().all()),
    both("templates.get", lambda c: c.templates.get("firefox-browser")),
    Operation(
        lambda c: c.templates.create(
            "firefox-browser",
            7,
            manifest=MANIFEST,
            display_name="Firefox",
            description="A web browser",
            category="Web Browsers",
            app_type="desktop",
            icon_url="https://example.com/firefox.png",
            tags=["browser"],
        ),
        published="templates.create",
    ),
    Operation(lambda c: c.users.me(), published="users.me"),
    Operation(
        lambda c: c.users.create(
            "john-doe", "john.doe@example.com", "Secure-passw0rd", full_name="John Doe"
        ),
        published="users.create",
    ),
    both("users.list", lambda c: c.users.list().all()),
    Operation(
        lambda c: c.users.create(
            "john.doe", "john.doe@example.com", "secure-password", role="user"
        ),
        documented="users.create",
    ),
)

OPERATIONS: Final = (*_AUTH, *_AGENTS, *_SESSIONS, *_REST)


def calls_of(dialect: str) -> dict[str, list[Call]]:
    """The calls of each operation of one dialect's document."""
    found: dict[str, list[Call]] = {}
    for operation in OPERATIONS:
        id: str | None = getattr(operation, dialect)
        if id is not None:
            found.setdefault(id, []).append(operation.call)
    return found


CALLS: Final[Mapping[str, list[Call]]] = calls_of("documented")
PUBLISHED_CALLS: Final[Mapping[str, list[Call]]] = calls_of("published")

#: Operations whose documented answer does not decode strictly, with the reason.
DRIFT: dict[str, str] = {}
_LOGIN: Final = "a login is read in both spellings, because its answer shows which one it is"
PUBLISHED_DRIFT: dict[str, str] = {"auth.login": _LOGIN, "auth.refresh": _LOGIN}

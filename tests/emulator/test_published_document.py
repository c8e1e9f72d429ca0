"""The emulated published StreamSpace answers with the fields that our document of it shows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.contract.contract_harness import PROVIDERS
from tests.emulator.published_raw import HOST, PASSWORD, Answer, Api, published
from vcloud.emulator.credentials import ADMIN

pytestmark = pytest.mark.asyncio

SMALL = {"cpu": "500m", "memory": "1Gi"}
NEW_USER = {
    "username": "ann", "email": "ann@example.com", "password": PASSWORD, "fullName": "Ann",
}  # fmt: skip
NEW_SESSION = {"user": ADMIN, "template": "firefox-browser", "resources": SMALL, "tags": ["a"]}
NEW_TEMPLATE = {"repository_id": 1, "name": "x", "manifest": {}, "tags": ["a"]}
KEYS = "/admin/agents"


def first(api: Api) -> str:
    return next(iter(api.space.sessions))


async def wake(api: Api) -> Answer:
    api.space.sessions[first(api)].state = "hibernated"
    return await api("PUT", f"/sessions/{first(api)}/wake")


#: For each operation the request that shows all fields of its first answer.
REQUESTS: dict[str, Callable[[Api], Awaitable[Answer]]] = {
    "auth.login": lambda api: api.login(),
    "auth.refresh": lambda api: api("POST", "/auth/refresh", {"token": api.token}),
    "agents.list": lambda api: api("GET", KEYS),
    "agents.get": lambda api: api("GET", f"{KEYS}/{HOST}"),
    "agents.delete": lambda api: api("DELETE", f"{KEYS}/{HOST}"),
    "agents.approve": lambda api: api("POST", f"{KEYS}/{HOST}/approve"),
    "agents.reject": lambda api: api("POST", f"{KEYS}/{HOST}/reject"),
    "agents.generate_key": lambda api: api("POST", f"{KEYS}/{HOST}/generate-key"),
    "agents.rotate_key": lambda api: api("POST", f"{KEYS}/{HOST}/rotate-key"),
    "agents.command": lambda api: api(
        "POST",
        f"{KEYS}/k8s-prod-us-east-1/command",
        {"action": "stop_session", "sessionId": "x", "payload": {"a": 1}},
    ),
    "sessions.list": lambda api: api("GET", "/sessions"),
    "sessions.create": lambda api: api("POST", "/sessions", NEW_SESSION),
    "sessions.get": lambda api: api("GET", f"/sessions/{first(api)}"),
    "sessions.hibernate": lambda api: api("PUT", f"/sessions/{first(api)}/hibernate"),
    "sessions.wake": wake,
    "sessions.delete": lambda api: api("DELETE", f"/sessions/{first(api)}"),
    "sessions.set_tags": lambda api: api("PATCH", f"/sessions/{first(api)}/tags", {"tags": ["a"]}),
    "templates.list": lambda api: api("GET", "/templates"),
    "templates.get": lambda api: api("GET", "/templates/firefox-browser"),
    "templates.create": lambda api: api("POST", "/templates", NEW_TEMPLATE),
    "users.list": lambda api: api("GET", "/users"),
    "users.me": lambda api: api("GET", "/users/me"),
    "users.create": lambda api: api("POST", "/users", NEW_USER),
}

#: What a value of these names has in it is the user's own.
FREE = ("metadata", "payload", "manifest", "categories", "templateManifest")


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with published(sessions=1) as found:
        session = found.space.sessions[first(found)]
        session.idle_timeout, session.connected_at = "30m", found.emu.clock.now()
        # The login before this one.
        await found.login()
        await found.register(
            region="eu",
            metadata={"a": 1},
            capacity={"maxSessions": 1, "cpu": "1", "storage": "1Ti"},
        )
        yield found


#: What an answer may have or not, where the document shows another case than `REQUESTS`.
OPTIONAL = {
    # Only the list says so.
    "agents.get": {"approvedAt", "approvedBy"},
    "sessions.set_tags": {
        "url", "pod_name", "last_connection", "last_activity", "max_session_duration",
    },
}  # fmt: skip


def names(value: Any, prefix: str = "") -> set[str]:
    """The names of all fields, with those that they are in."""
    if isinstance(value, list):
        return {name for item in value for name in names(item, prefix)}
    if not isinstance(value, dict):
        return set()
    found = {f"{prefix}{name}" for name in value}
    for name, inner in value.items():
        if name not in FREE:
            found |= names(inner, f"{prefix}{name}.")
    return found


DOCUMENT = {one["id"]: one for one in PROVIDERS["streamspace-published"].operations}


@pytest.mark.parametrize("id", DOCUMENT)
async def test_an_answer_has_the_fields_of_the_document(api: Api, id: str) -> None:
    shown, *_ = DOCUMENT[id]["responses"]
    answer = await REQUESTS[id](api)
    assert answer.status == shown["status"]
    optional = OPTIONAL.get(id, set())
    assert names(answer.json) - optional == names(shown["body"]) - optional

"""Templates, users and agents of the emulated published StreamSpace, over its socket."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from tests.emulator.published_raw import HOST, PASSWORD, Api, published

pytestmark = pytest.mark.asyncio

AGENTS = "/admin/agents"
BUILT_IN = "k8s-prod-us-east-1"
KEY = r"[0-9a-f]{64}"
DUPLICATE = "duplicate key value violates unique constraint"
USER = {"username": "ann", "email": "ann@example.com", "password": PASSWORD, "fullName": "Ann"}
TEMPLATE = {"name": "xterm", "repository_id": 1, "manifest": {"spec": {"baseImage": "x/y"}}}


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with published() as found:
        yield found


# -- templates -------------------------------------------------------------------------------------


async def test_templates_are_listed_by_display_name_and_by_category(api: Api) -> None:
    found = (await api("GET", "/templates?page=2&limit=1")).json
    assert set(found) == {"templates", "total", "categories", "filters"}
    names = [one["display_name"] for one in found["templates"]]
    assert names == sorted(names)
    assert found["total"] == len(names) == 4
    assert [one["name"] for one in found["categories"]["Design"]] == ["gimp-editor"]
    assert set(found["templates"][0]) == {
        "id", "repository_id", "name", "display_name", "description", "category", "app_type",
        "icon_url", "manifest", "tags", "install_count", "created_at", "updated_at",
    }  # fmt: skip


async def test_templates_of_a_category_and_none(api: Api) -> None:
    found = (await api("GET", "/templates?category=Web+Browsers")).json
    assert [one["name"] for one in found["templates"]] == ["chromium-browser", "firefox-browser"]
    assert found["filters"]["category"] == "Web Browsers"
    nothing = (await api("GET", "/templates?category=x")).json
    assert (nothing["templates"], nothing["total"], nothing["categories"]) == (None, 0, {})
    assert (await api("GET", "/templates?search=x&category=x")).json["templates"] == []
    found = (await api("GET", "/templates?search=PRIVACY&tags=web&sort=created")).json
    assert [one["name"] for one in found["templates"]] == ["firefox-browser"]


async def test_a_template_is_found_by_name_and_not_by_number(api: Api) -> None:
    assert (await api("GET", "/templates/firefox-browser")).json["id"] == 1
    assert (await api("GET", "/templates/1")).error == (404, "Template not found")


async def test_operators_make_templates(api: Api) -> None:
    made = await api("POST", "/templates", {**TEMPLATE, "displayName": "ignored"})
    assert made.status == 201
    assert (made.json["display_name"], made.json["tags"]) == ("", None)
    found = (await api("GET", "/templates/xterm")).json
    assert found == {**made.json, "tags": []}
    ann = await api.as_user("ann")
    assert (await ann("POST", "/templates", TEMPLATE)).error == (403, "Insufficient permissions")
    api.space.users["ann"].role = "operator"
    # The role stands in the token.
    ann = await api.as_user("ann")
    assert (await ann("DELETE", "/templates/xterm")).json == {"message": "Template deleted"}


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"name": "firefox-browser"}, 500, f'pq: {DUPLICATE} "catalog_templates_repository_id_'),
        ({"repository_id": 9}, 500, "pq: insert or update on table"),
        ({"repository_id": None}, 500, "pq: insert or update on table"),
        ({"name": 1}, 400, "json: cannot unmarshal number into Go struct field Template.name"),
    ],
)
async def test_a_template_is_refused_in_the_databases_words(
    api: Api, change: dict[str, object], status: int, error: str
) -> None:
    answer = await api("POST", "/templates", {**TEMPLATE, **change})
    assert answer.status == status
    assert answer.json["error"].startswith(error)
    answer = await api("POST", "/templates", {"name": "x", "repository_id": 1})
    assert answer.error == (500, "pq: invalid input syntax for type json")


# -- users -----------------------------------------------------------------------------------------


async def test_every_user_may_see_and_make_users(api: Api) -> None:
    made = await api("POST", "/users", USER)
    assert made.status == 201
    assert (made.json["role"], made.json["active"]) == ("user", True)
    assert not made.json.keys() & {"password", "quota", "groups", "lastLogin"}
    ann = await api.as_user("ann")
    found = (await ann("GET", "/users?page=2&limit=1")).json
    assert (found["total"], [one["username"] for one in found["users"]]) == (2, ["admin", "ann"])
    only = (await ann("GET", "/users?role=admin")).json
    assert [one["id"] for one in only["users"]] == ["admin"]
    me = (await ann("GET", "/users/me")).json
    assert (me["username"], me["groups"], me["quota"]["maxSessions"]) == ("ann", ["all-users"], 5)
    assert (await ann("GET", f"/users/{me['id']}")).json == me
    assert (await ann("GET", "/users/me/quota")).json == me["quota"]
    assert (await ann("GET", "/users/ann")).error == (404, "User not found")
    changed = await api("PATCH", f"/users/{me['id']}", {"fullName": "Ann B."})
    assert changed.json["fullName"] == "Ann B."
    for _ in range(2):
        gone = await api("DELETE", f"/users/{me['id']}")
        assert gone.json == {"message": "User deleted successfully"}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"fullName": None}, "Invalid request format"),
        ({"email": "x"}, "Invalid request format"),
        ({"username": "a!"}, "Validation failed"),
        ({"password": "weak"}, "Validation failed"),
        ({"password": None}, "Validation failed"),
        ({"role": "boss"}, "Validation failed"),
    ],
)
async def test_a_user_is_refused(api: Api, change: dict[str, object], error: str) -> None:
    answer = await api("POST", "/users", {**USER, **change})
    assert answer.error == (400, error)
    (name,) = change
    says = answer.json.get("details") or " ".join(answer.json["fields"])
    assert name.lower() in says.lower()


async def test_a_change_of_a_user_takes_any_role_and_no_email_of_another(api: Api) -> None:
    user_id = (await api("POST", "/users", USER)).json["id"]
    path = f"/users/{user_id}"
    assert (await api("PATCH", path, {"role": "boss", "active": False})).json["role"] == "boss"
    taken = await api("PATCH", path, {"email": "admin@streamspace.local"})
    assert taken.error == (500, "Failed to update user")
    unknown = await api("PATCH", "/users/nope", {"role": "user"})
    assert unknown.error == (500, "Failed to fetch updated user")
    assert (await api("GET", f"{path}/quota")).json["userId"] == user_id
    assert (await api("GET", "/users/nope/quota")).error == (404, "Quota not found")


@pytest.mark.parametrize("name", ["username", "email"])
async def test_a_user_that_exists_is_500_in_the_databases_words(api: Api, name: str) -> None:
    await api("POST", "/users", USER)
    other = {**USER, "username": "bob", "email": "bob@example.com", name: USER[name]}
    answer = await api("POST", "/users", other)
    assert answer.error == (500, "Failed to create user")
    assert answer.json["message"] == f'failed to create user: pq: {DUPLICATE} "users_{name}_key"'


# -- agents, as administrators see them ------------------------------------------------------------


async def test_agents_are_for_administrators(api: Api) -> None:
    (agent,) = (await api("GET", AGENTS)).json["agents"]
    assert (agent["agentId"], agent["status"]) == (BUILT_IN, "online")
    assert agent["capacity"] == {"maxSessions": 100, "cpu": "64", "memory": "256Gi"}
    assert (agent["approvalStatus"], agent["approvedBy"]) == ("approved", "admin")
    alone = (await api("GET", f"{AGENTS}/{BUILT_IN}")).json
    # Only the list says so.
    assert alone["approvalStatus"] == ""
    assert "approvedAt" not in alone
    ann = await api.as_user("ann")
    assert (await ann("GET", AGENTS)).error == (403, "Insufficient permissions")
    assert (await api("GET", "/agents")).status == 404


@pytest.mark.parametrize(
    ("query", "count"),
    [("?platform=docker", 0), ("?status=online&region=us-east-1", 1), ("?region=", 1), ("?x=1", 1)],
)
async def test_agents_are_filtered(api: Api, query: str, count: int) -> None:
    assert (await api("GET", f"{AGENTS}{query}")).json["total"] == count


async def test_an_agent_is_approved_or_rejected_once(api: Api) -> None:
    await api.register()
    approved = await api("POST", f"{AGENTS}/{HOST}/approve")
    assert set(approved.json) == {"agentId", "apiKey", "message", "warning"}
    assert re.fullmatch(KEY, approved.json["apiKey"])
    for verb in ("approve", "reject"):
        again = await api("POST", f"{AGENTS}/{HOST}/{verb}")
        assert again.error == (404, "Agent not found or not in pending status")
    await api.register("other")
    assert (await api("POST", f"{AGENTS}/other/reject")).json["message"] == "Agent rejected"
    assert (await api("POST", f"{AGENTS}/nope/approve")).status == 404


async def test_keys_are_made_and_rotated(api: Api) -> None:
    await api.register()
    first = (await api("POST", f"{AGENTS}/{HOST}/generate-key")).json
    assert first["usage"] == {"header": "X-Agent-API-Key", "value": first["apiKey"]}
    second = (await api("POST", f"{AGENTS}/{HOST}/rotate-key")).json
    assert second["rotated"] is True
    body = {"agentId": HOST, "platform": "kubernetes"}
    old = await api.as_agent("POST", "/agents/register", body, first["apiKey"])
    assert old.error == (403, "Invalid API key")
    new = await api.as_agent("POST", "/agents/register", body, second["apiKey"])
    assert (new.status, new.json["agentId"]) == (200, HOST)
    assert (await api("POST", f"{AGENTS}/nope/rotate-key")).error == (404, "Agent not found")


async def test_a_command_needs_a_connected_agent(api: Api) -> None:
    session = api.session()
    body = {"action": "hibernate_session", "sessionId": session.name, "payload": {"x": 1}}
    made = await api("POST", f"{AGENTS}/{BUILT_IN}/command", body)
    assert (made.status, made.json["status"], made.json["payload"]) == (201, "pending", {"x": 1})
    api.emu.advance(60)
    assert session.state == "hibernated"
    await api.register()
    answer = await api("POST", f"{AGENTS}/{HOST}/command", body)
    assert answer.error == (503, "Agent not connected")
    assert answer.json["status"] == "offline"
    wrong = await api("POST", f"{AGENTS}/{BUILT_IN}/command", {"action": "x"})
    assert set(wrong.json["fields"]) == {"action"}
    assert (await api("POST", f"{AGENTS}/nope/command", body)).json["agentId"] == "nope"


async def test_an_agent_with_sessions_cannot_be_deleted(api: Api) -> None:
    api.session("terminated")
    answer = await api("DELETE", f"{AGENTS}/{BUILT_IN}")
    assert answer.error == (500, "Failed to deregister agent")
    await api.register()
    assert (await api("DELETE", f"{AGENTS}/{HOST}")).json["agentId"] == HOST
    assert (await api("DELETE", f"{AGENTS}/{HOST}")).error == (404, "Agent not found")


# -- agents, as they register ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "status", "error"),
    [
        ("x", 401, "Invalid API key format"),
        ("a" * 63, 401, "Invalid API key format"),
        ("g" * 64, 401, "Invalid API key format"),
        ("", 401, "Missing authentication"),
        ("a" * 64, 404, "Agent not found"),
    ],
)
async def test_a_registration_with_a_wrong_key(api: Api, key: str, status: int, error: str) -> None:
    body = {"agentId": HOST, "platform": "kubernetes"}
    assert (await api.as_agent("POST", "/agents/register", body, key)).error == (status, error)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"agentId": None}, "Missing agent_id"),
        ({"agentId": "a"}, "Validation failed"),
        ({"platform": "windows"}, "Invalid request format"),
        ({"region": "x"}, "Validation failed"),
    ],
)
async def test_a_registration_is_refused(api: Api, change: dict[str, object], error: str) -> None:
    body = {"agentId": HOST, "platform": "kubernetes", **change}
    assert (await api.as_agent("POST", "/agents/register", body)).error == (400, error)


async def test_a_registration_waits_for_an_administrator(api: Api) -> None:
    first = await api.register(metadata={"a": 1}, region="eu", capacity={"maxSessions": 3})
    assert (first.status, first.json["approvalStatus"]) == (202, "pending")
    # It counts as online from the second one on, connected or not.
    assert first.json["agent"]["status"] == "offline"
    assert first.json["agent"]["capacity"] == {"maxSessions": 3, "cpu": "", "memory": ""}
    again = await api.register()
    assert (again.status, again.json["agent"]["status"]) == (202, "online")
    key = (await api("POST", f"{AGENTS}/{HOST}/approve")).json["apiKey"]
    approved = await api.register()
    assert (approved.status, approved.json["approvalStatus"]) == (200, "approved")
    assert key not in approved.body.decode()
    await api.register("other")
    await api("POST", f"{AGENTS}/other/reject")
    rejected = await api.register("other")
    assert (rejected.status, rejected.json["approvalStatus"]) == (403, "rejected")


async def test_heartbeats_over_rest(api: Api) -> None:
    path = f"/agents/{HOST}/heartbeat"
    body = {"status": "draining", "activeSessions": 1}
    assert (await api.as_agent("POST", path, body)).error == (404, "Agent not found")
    await api.register()
    said = await api.as_agent("POST", path, {**body, "capacity": {"storage": "1Ti"}})
    assert (said.status, said.json["status"]) == (200, "draining")
    agent = (await api("GET", f"{AGENTS}/{HOST}")).json
    assert (agent["status"], agent["capacity"]["storage"]) == ("draining", "1Ti")
    offline = await api.as_agent("POST", path, {"status": "offline"})
    assert offline.error == (400, "Invalid request format")
    below = await api.as_agent("POST", path, {"status": "online", "activeSessions": -1})
    assert below.json["fields"] == {"activesessions": "Must be greater than or equal to 0"}


async def test_only_agents_have_a_rate_limit(api: Api) -> None:
    for _ in range(60):
        assert (await api.register()).status == 202
    limited = await api.register()
    assert limited.error == (429, "Rate limit exceeded")
    assert limited.json["retryAfter"] == 60
    for _ in range(70):
        assert (await api("GET", "/sessions")).status == 200
    api.emu.advance(60)
    assert (await api.register()).status == 202
    async with published(rate_limits=False) as unlimited:
        for _ in range(70):
            assert (await unlimited.register()).status == 202

"""What the emulated published StreamSpace refuses, word by word, as its server was seen to do."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.emulator.published_raw import HOST, PASSWORD, Api, published
from vcloud.emulator.streamspace.published.quotas import Resources
from vcloud.emulator.streamspace.published.refusals import PublishedError
from vcloud.emulator.streamspace.published.screening import refuse_path, refuse_query

BUILT_IN = "/admin/agents/k8s-prod-us-east-1"
USER = {"username": "ann", "email": "a@example.com", "password": PASSWORD, "fullName": "Ann"}
FORM = "quantities must match the regular expression"
SUFFIX = "unable to parse quantity's suffix"
LOW, HIGH = "request too low: minimum", "request too high: maximum"


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with published() as found:
        yield found


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        (
            "POST",
            "/sessions",
            {"user": "admin", "applicationId": "x"},
            404,
            "Application not found",
        ),
        ("GET", "/sessions/by-tags", None, 400, "At least one tag is required"),
        ("POST", "/sessions/x/disconnect", None, 400, "connectionId parameter required"),
        ("PATCH", "/sessions/x", {"state": 1}, 400, "json: cannot unmarshal number"),
        ("PATCH", "/sessions/x/tags", {}, 400, "Key: 'Tags' Error"),
        ("POST", "/batch/sessions/wake", {}, 400, "Key: 'SessionIDs' Error"),
        ("PATCH", "/users/admin", [], 400, "Invalid request"),
        ("POST", "/users", {**USER, "fullName": "a" * 201}, 400, "Validation failed"),
        ("POST", "/users", {**USER, "provider": "x"}, 400, "Validation failed"),
        ("POST", f"{BUILT_IN}/command", {}, 400, "Invalid request format"),
        (
            "POST",
            f"{BUILT_IN}/command",
            {"action": "stop_session", "sessionId": "a" * 101},
            400,
            "Validation failed",
        ),
    ],
)
async def test_requests_that_are_refused(
    api: Api, method: str, path: str, body: object, status: int, said: str
) -> None:
    answer = await api(method, path, body)
    assert answer.status == status
    assert answer.json["error"].startswith(said)


async def test_an_agents_id_that_is_too_long(api: Api) -> None:
    answer = await api.register("a" * 101)
    assert answer.json["fields"] == {"agentid": "Must be at most 100 characters"}


async def test_a_cookie_does_for_a_viewer_and_a_broken_one_does_not(api: Api) -> None:
    name = api.session("pending").name
    cookie = f"streamspace_proxy_token={api.token}"
    answer = await api("GET", f"/vnc/{name}", Authorization=None, Cookie=cookie)
    assert answer.status == 409
    for wrong in ("streamspace_proxy_token=x", "a=b;=;"):
        answer = await api("GET", f"/vnc/{name}", Authorization=None, extra={"Cookie": wrong})
        assert answer.status == 401
    # Elsewhere it does not count.
    assert (await api("GET", "/sessions", Authorization=None, Cookie=cookie)).status == 401


async def test_templates_by_popularity(api: Api) -> None:
    api.space.templates["gimp-editor"].install_count = 3
    found = (await api("GET", "/templates?sort=popularity")).json["templates"]
    assert found[0]["name"] == "gimp-editor"


async def test_the_number_of_logins(api: Api) -> None:
    before = api.space.tokens.count
    await api.login()
    assert api.space.tokens.count == before + 1
    api.space.tokens.revoke_all()
    assert api.space.tokens.count == 0


@pytest.mark.parametrize(
    ("quantity", "said"),
    [
        ("500m", 500), ("1.5", 1500), (".5", 500), ("5e-1", 500), ("1e1", 10_000), ("0.0001k", 100),
        ("1000000u", 1000), ("99.9m", 100), ("64", 64_000),
        ("", FORM), ("x", FORM), (" 1", FORM), ("1.2.3", FORM), ("1x", FORM), ("1_000", FORM),
        ("--1", SUFFIX), ("1mm", SUFFIX), ("1ee3", SUFFIX), ("1e1m", FORM),
        ("99m", LOW), ("0", LOW), ("-1", LOW), ("+", LOW), (".", LOW), ("10E", LOW), ("1e400", LOW),
        ("64.001", HIGH), ("1k", HIGH), ("1Ki", HIGH), ("1e9", HIGH),
    ],
)  # fmt: skip
def test_quantities_of_cores(quantity: str, said: int | str) -> None:
    if isinstance(said, int):
        assert Resources.of({"cpu": quantity, "memory": "1Gi"}).cpu == said
        return
    with pytest.raises(PublishedError) as caught:
        Resources.of({"cpu": quantity, "memory": "1Gi"})
    assert caught.value.body["error"] == "Invalid resource request"
    assert said in caught.value.body["message"]


@pytest.mark.parametrize(
    ("quantity", "said"),
    [
        ("128Mi", 128), ("1Gi", 1024), ("134217728", 128), ("2e9", 1907), ("512Gi", 524_288),
        ("127.99Mi", LOW), ("134217727", LOW), ("10E", LOW), ("513Gi", HIGH), ("1E", HIGH),
    ],
)  # fmt: skip
def test_quantities_of_memory(quantity: str, said: int | str) -> None:
    if isinstance(said, int):
        assert Resources.of({"cpu": "1", "memory": quantity}).memory == said
        return
    with pytest.raises(PublishedError) as caught:
        Resources.of({"cpu": "1", "memory": quantity})
    assert said in caught.value.body["message"]


async def test_memory_of_all_sessions_together(api: Api) -> None:
    for _ in range(2):
        api.session(resources={"cpu": "100m", "memory": "4Gi"})
    body = {"user": "admin", "template": "firefox-browser", "resources": {"memory": "128Mi"}}
    answer = await api("POST", "/sessions", body)
    said = "total memory quota exceeded: would use 8320Mi, limit is 8192Mi"
    assert answer.json["message"] == said


def test_filters_that_an_http_library_comes_before() -> None:
    with pytest.raises(PublishedError) as caught:
        refuse_query([("user", "a" * 10_001)])
    assert caught.value.body["message"].endswith("value too long (max 10000 characters)")
    refuse_query([("user", "a" * 10_000)])
    with pytest.raises(PublishedError) as caught:
        refuse_path("/api/v1/sessions/a\0b")
    assert caught.value.body["message"] == "null byte detected in path"


async def test_heartbeats_are_for_the_agent_of_the_key(api: Api) -> None:
    await api.register()
    await api.register("other")
    key = (await api("POST", f"/admin/agents/{HOST}/approve")).json["apiKey"]
    body = {"status": "online", "activeSessions": 0}
    assert (await api.as_agent("POST", f"/agents/{HOST}/heartbeat", body, key)).status == 200
    other = await api.as_agent("POST", "/agents/other/heartbeat", body, key)
    assert other.error == (403, "Invalid API key")

"""The sessions of the emulated published StreamSpace, over its socket."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.emulator.published_raw import HOST, Api, published

pytestmark = pytest.mark.asyncio

VNC = "firefox-browser"
ASKED = {"user": "admin", "template": VNC}
UNREADABLE = "json: cannot unmarshal {} into Go struct field .{} of type {}"
MUST_BE = "Session must be in '{}' state to {}, currently: {}"
SMALL = {"cpu": "500m", "memory": "1Gi"}
LISTED = {
    "name", "namespace", "user", "template", "state", "persistentHome", "idleTimeout",
    "maxSessionDuration", "createdAt", "platform", "activeConnections", "streamingProtocol",
    "streamingPort", "streamingPath", "resources", "status",
}  # fmt: skip
CREATED = {
    "name", "namespace", "user", "template", "state", "persistentHome", "idleTimeout",
    "maxSessionDuration", "resources", "tags", "status",
}  # fmt: skip


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with published() as found:
        yield found


async def create(api: Api, **given: Any) -> Any:
    answer = await api("POST", "/sessions", {**ASKED, **given})
    assert answer.status == 202, answer.body
    return answer.json


async def state_of(api: Api, name: str) -> str:
    found: str = (await api("GET", f"/sessions/{name}")).json["state"]
    return found


# -- creating --------------------------------------------------------------------------------------


async def test_a_create_is_accepted_with_less_than_a_session(api: Api) -> None:
    made = await create(
        api, resources=SMALL, persistentHome=False, idleTimeout="30m", tags=["a"],
        maxSessionDuration="8h", platform="docker", idle_timeout="1h", persistent_home=True,
    )  # fmt: skip
    assert set(made) == CREATED
    assert re.fullmatch(r"admin-firefox-browser-[0-9a-f]{8}", made["name"])
    assert (made["state"], made["persistentHome"], made["tags"]) == ("pending", False, ["a"])
    assert set(made["status"]) == {"phase", "message"}
    found = (await api("GET", f"/sessions/{made['name']}")).json
    assert set(found) == LISTED
    assert found["status"] == {"phase": "Pending", "url": "", "podName": ""}
    assert (found["idleTimeout"], found["maxSessionDuration"]) == ("30m", "8h")
    assert re.fullmatch(r".*\.\d{1,6}Z", found["createdAt"])
    # The agent learns the tags. The database does not.
    assert api.space.commands[-1].payload is not None
    assert api.space.commands[-1].payload["tags"] == ["a"]
    assert api.space.sessions[made["name"]].tags is None


async def test_a_session_runs_once_its_agent_says_so(api: Api) -> None:
    made = await create(api)
    assert (made["idleTimeout"], made["tags"], made["persistentHome"]) == ("", None, True)
    assert made["resources"] == {"cpu": "1000m", "memory": "2Gi"}
    api.emu.advance(7.9)
    assert await state_of(api, made["name"]) == "pending"
    api.emu.advance(0.2)
    found = (await api("GET", f"/sessions/{made['name']}")).json
    assert found["status"]["phase"] == "Running"
    assert found["status"]["url"] == f"/api/v1/sessions/{made['name']}/vnc"
    assert "lastActivity" in found["status"]


@pytest.mark.parametrize(
    ("template", "protocol"),
    [(VNC, ("vnc", 5900, "")), ("gimp-editor", ("selkies", 3000, "/websockify"))],
)
async def test_the_template_decides_on_the_protocol(
    api: Api, template: str, protocol: tuple[str, int, str]
) -> None:
    made = await create(api, template=template)
    found = (await api("GET", f"/sessions/{made['name']}")).json
    names = ("streamingProtocol", "streamingPort", "streamingPath")
    assert tuple(found[name] for name in names) == protocol


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({}, 400, "Key: 'User' Error:Field validation for 'User' failed on the 'required' tag"),
        ({"user": "admin"}, 400, "Missing required field"),
        ({"user": 1}, 400, UNREADABLE.format("number", "user", "string")),
        ({"user": "a", "tags": "x"}, 400, UNREADABLE.format("string", "tags", "[]string")),
        ({"user": "a", "tags": [1]}, 400, UNREADABLE.format("number", "tags", "string")),
        (
            {**ASKED, "resources": {"cpu": 1}},
            400,
            UNREADABLE.format("number", "resources.cpu", "string"),
        ),
        ({**ASKED, "template": "nope"}, 404, "Template not found"),
        ({**ASKED, "user": "nobody"}, 403, "Quota exceeded"),
        ({**ASKED, "resources": {"cpu": "x"}}, 400, "Invalid resource request"),
        ({**ASKED, "resources": {"cpu": "3"}}, 403, "Quota exceeded"),
        ({**ASKED, "resources": {"memory": "1Mi"}}, 400, "Invalid resource request"),
    ],
)
async def test_a_create_is_refused(api: Api, body: object, status: int, error: str) -> None:
    answer = await api("POST", "/sessions", body)
    assert answer.error == (status, error)
    assert not api.space.sessions
    assert not api.space.commands


@pytest.mark.parametrize(("raw", "error"), [(b"", "EOF"), (b"{", "unexpected EOF")])
async def test_a_create_without_json_is_refused(api: Api, raw: bytes, error: str) -> None:
    assert (await api("POST", "/sessions", raw=raw)).error == (400, error)


async def test_only_the_built_in_administrator_can_have_sessions(api: Api) -> None:
    user = api.space.add_user("ann", "x")
    answer = await api("POST", "/sessions", {"user": "ann", "template": VNC})
    assert answer.error == (500, "Failed to create session")
    assert "sessions_user_id_fkey" in answer.json["message"]
    answer = await api("POST", "/sessions", {"user": user.id, "template": VNC})
    assert answer.error == (403, "Quota exceeded")
    assert answer.json["message"].endswith("user not found")


async def test_quotas_count_sessions_that_run_or_sleep_and_not_pending_ones(api: Api) -> None:
    for _ in range(12):
        await create(api, resources=SMALL)
    for session in list(api.space.sessions.values())[:5]:
        session.state = "hibernated"
    answer = await api("POST", "/sessions", ASKED)
    assert answer.json["message"] == "session quota exceeded: 5/5 sessions active"
    first, *_ = api.space.sessions.values()
    first.state = "failed"
    big = {"cpu": "2", "memory": "4Gi"}
    answer = await api("POST", "/sessions", {**ASKED, "resources": big})
    assert answer.status == 202


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"cpu": "1500m"}, "total CPU quota exceeded: would use 5500m, limit is 4000m"),
        ({"cpu": "2500m"}, "CPU quota exceeded: requested 2500m, limit is 2000m per session"),
        ({"memory": "5Gi"}, "memory quota exceeded: requested 5120Mi, limit is 4096Mi per session"),
    ],
)
async def test_quotas_of_cores_and_memory(
    api: Api, resources: dict[str, str], message: str
) -> None:
    for _ in range(2):
        api.session(resources={"cpu": "2", "memory": "1Gi"})
    answer = await api("POST", "/sessions", {**ASKED, "resources": resources})
    assert (answer.error, answer.json["message"]) == ((403, "Quota exceeded"), message)


# -- agents ----------------------------------------------------------------------------------------


async def test_without_an_agent_that_was_heard_of_there_is_none(api: Api) -> None:
    api.space.agents["k8s-prod-us-east-1"].status = "offline"
    assert (await api("POST", "/sessions", ASKED)).error == (503, "No agents available")
    await api.register()
    await api.register()
    # It is not connected, nor approved, and takes the session all the same, which is lost.
    made = await create(api)
    assert api.space.sessions[made["name"]].agent_id == HOST
    api.emu.advance(60)
    assert await state_of(api, made["name"]) == "pending"
    api.emu.advance(31)
    assert (await api("POST", "/sessions", ASKED)).error == (503, "No agents available")


async def test_agents_of_another_platform_get_no_sessions(api: Api) -> None:
    api.space.agents.clear()
    for _ in range(2):
        await api.register(platform="docker")
    answer = await api("POST", "/sessions", ASKED)
    assert answer.json["message"].endswith("no agents match selection criteria")


async def test_the_agent_with_the_fewest_sessions_is_chosen(api: Api) -> None:
    for agent_id in ("one", "two"):
        await api.register(f"agent-{agent_id}")
        await api.register(f"agent-{agent_id}")
    chosen = [api.space.sessions[(await create(api))["name"]].agent_id for _ in range(4)]
    assert sorted(chosen) == ["agent-one", "agent-one", "agent-two", "agent-two"]


async def test_an_agent_that_reports_only_running_leaves_sessions_on_their_way(api: Api) -> None:
    api.space.agents["k8s-prod-us-east-1"].reports_only_running = True
    name = (await create(api))["name"]
    api.emu.advance(60)
    assert await state_of(api, name) == "running"
    await api("PUT", f"/sessions/{name}/hibernate")
    api.emu.advance(3600)
    assert await state_of(api, name) == "hibernating"
    assert (await api("PUT", f"/sessions/{name}/wake")).status == 409
    await api("DELETE", f"/sessions/{name}")
    api.emu.advance(3600)
    assert await state_of(api, name) == "terminating"


# -- changing --------------------------------------------------------------------------------------


async def test_hibernate_wake_and_delete_go_by_way_of_the_agent(api: Api) -> None:
    name = api.session().name
    for method, path, between, after, word in (
        ("PUT", "/hibernate", "hibernating", "hibernated", "scale down"),
        ("PUT", "/wake", "waking", "running", "scale up"),
        ("DELETE", "", "terminating", "terminated", "delete"),
    ):
        answer = await api(method, f"/sessions/{name}{path}")
        assert answer.status == 202
        assert set(answer.json) == {"name", "commandId", "message"}
        assert re.fullmatch(r"cmd-[0-9a-f]{8}", answer.json["commandId"])
        assert word in answer.json["message"]
        assert await state_of(api, name) == between
        api.emu.advance(60)
        assert await state_of(api, name) == after
    assert [one.action for one in api.space.commands] == [
        "hibernate_session", "wake_session", "stop_session",
    ]  # fmt: skip
    listed = (await api("GET", "/sessions")).json
    assert [one["state"] for one in listed["sessions"]] == ["terminated"]


@pytest.mark.parametrize(
    ("state", "method", "path", "message"),
    [
        ("pending", "PUT", "/hibernate", MUST_BE.format("running", "hibernate", "pending")),
        ("running", "PUT", "/wake", MUST_BE.format("hibernated", "wake", "running")),
        ("terminating", "DELETE", "", "Session is already in terminating state"),
        ("terminated", "DELETE", "", "Session is already in terminated state"),
    ],
)
async def test_a_change_from_another_state_is_refused(
    api: Api, state: str, method: str, path: str, message: str
) -> None:
    name = api.session(state).name
    answer = await api(method, f"/sessions/{name}{path}")
    assert (answer.status, answer.json["message"]) == (409, message)
    assert await state_of(api, name) == state


async def test_a_session_without_an_agent_is_not_ready(api: Api) -> None:
    name = api.session(agent_id="").name
    for method, path in (("PUT", "/hibernate"), ("PUT", "/wake"), ("DELETE", "")):
        answer = await api(method, f"/sessions/{name}{path}")
        assert answer.error == (409, "Session not ready")


async def test_the_documents_path_says_yes_and_does_nothing(api: Api) -> None:
    name = api.session().name
    answer = await api("PATCH", f"/sessions/{name}", {"state": "hibernated"})
    assert (answer.status, answer.json["state"]) == (202, "hibernated")
    api.emu.advance(60)
    assert await state_of(api, name) == "running"
    assert not api.space.commands
    assert (await api("PATCH", f"/sessions/{name}", {"state": "waking"})).status == 400


async def test_tags_are_answered_by_their_own_path_only_with_the_databases_row(api: Api) -> None:
    name = api.session().name
    api.emu.advance(5)
    row = (await api("PATCH", f"/sessions/{name}/tags", {"tags": ["b"]})).json
    assert row["updated_at"] > row["last_activity"] == row["created_at"]
    assert (row["id"], row["user_id"], row["tags"]) == (name, "admin", ["b"])
    assert {"template_name", "pod_name", "last_activity", "updated_at"} <= set(row)
    assert "tags" not in (await api("GET", f"/sessions/{name}")).json
    assert (await api("GET", "/sessions/by-tags?tags=b")).status == 500
    assert (await api("GET", "/sessions/by-tags?tags=c")).json["sessions"] is None


async def test_a_connection_counts_for_a_minute(api: Api) -> None:
    name = api.session().name
    assert (await api("GET", f"/sessions/{name}/connect")).error == (400, "user parameter required")
    made = (await api("GET", f"/sessions/{name}/connect?user=admin")).json
    assert (made["ready"], made["state"]) == (True, "running")
    await api("GET", f"/sessions/{name}/connect?user=admin")
    nobodys = await api("GET", f"/sessions/{name}/connect?user=nobody")
    assert nobodys.status == 500
    assert "connections_user_id_fkey" in nobodys.json["error"]
    count = "activeConnections"
    assert (await api("GET", f"/sessions/{name}")).json[count] == 2
    left = await api("POST", f"/sessions/{name}/disconnect?connectionId={made['connectionId']}")
    assert left.json[count] == 1
    api.emu.advance(61)
    assert (await api("GET", f"/sessions/{name}")).json[count] == 0


# -- reading ---------------------------------------------------------------------------------------


async def test_the_list_is_whole_newest_first_whatever_is_asked(api: Api) -> None:
    names: list[str] = []
    for _ in range(30):
        names.insert(0, api.session("terminated").name)
        api.emu.advance(1)
    found = (await api("GET", "/sessions?page=2&limit=3&state=running")).json
    assert [one["name"] for one in found["sessions"]] == names
    assert found["total"] == 30
    assert (await api("GET", "/sessions?user=ann")).json == {"sessions": [], "total": 0}


async def test_every_user_sees_and_may_end_all_sessions(api: Api) -> None:
    ann, name = await api.as_user("ann"), api.session().name
    assert (await ann("GET", f"/sessions/{name}")).json["user"] == "admin"
    assert (await ann("DELETE", f"/sessions/{name}")).status == 202


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("GET", "", "No session found with ID: nope"),
        ("DELETE", "", "The specified session does not exist"),
        ("PUT", "/hibernate", "The specified session does not exist"),
        ("PATCH", "/tags", None),
        ("GET", "/connect?user=x", None),
    ],
)
async def test_a_session_that_is_not_there(
    api: Api, method: str, path: str, message: str | None
) -> None:
    answer = await api(method, f"/sessions/nope{path}", {"tags": ["a"]})
    assert answer.error == (404, "Session not found")
    assert answer.json.get("message") == message


# -- batches ---------------------------------------------------------------------------------------


async def test_batches_change_rows_and_tell_no_agent(api: Api) -> None:
    name = api.session().name
    for verb, state in (("hibernate", "hibernated"), ("wake", "running")):
        answer = await api("POST", f"/batch/sessions/{verb}", {"sessionIds": [name, "nope"]})
        assert answer.status == 202
        assert set(answer.json) == {"jobId", "message", "status"}
        assert await state_of(api, name) == state
        job = (await api("GET", f"/batch/jobs/{answer.json['jobId']}")).json
        assert (job["successCount"], job["failureCount"]) == (1, 1)
        api.emu.advance(1)
    await api("POST", "/batch/sessions/terminate", {"sessionIds": [name]})
    assert (await api("GET", f"/sessions/{name}")).status == 404
    assert not api.space.commands
    empty = await api("POST", "/batch/sessions/wake", {"sessionIds": []})
    assert empty.error == (400, "sessionIds cannot be empty")
    assert (await api("GET", "/batch/jobs/nope")).error == (404, "Batch job not found")


# -- the order of fields ---------------------------------------------------------------------------


async def test_fields_are_in_the_order_of_the_server(api: Api) -> None:
    """By name where the server has no type for the answer, such as for sessions and refusals."""
    new = (await api("POST", "/sessions", {"user": "admin", "template": "firefox-browser"})).json
    name = new["name"]
    one = (await api("GET", f"/sessions/{name}")).json
    refused = (await api("GET", "/admin/agents/nobody")).json
    for found in (new, one, one["status"], refused):
        assert list(found) == sorted(found)
    assert list(refused) == ["agentId", "error"]
    agent = (await api("GET", f"/admin/agents/{next(iter(api.space.agents))}")).json
    assert list(agent)[:5] == ["id", "agentId", "platform", "region", "status"]
    row = (await api("PATCH", f"/sessions/{name}/tags", {"tags": ["a"]})).json
    order = list(row)
    assert order[:2] == ["id", "user_id"]
    assert order.index("tags") < order.index("created_at") < order.index("streaming_protocol")

"""What comes and goes on a published StreamSpace: caches, databases, replicas; as faults too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from attrs import define, field

from tests.emulator.published_raw import HOST, Api, published
from vcloud.emulator import Emulator, Fault
from vcloud.emulator.faults.published import StreamSpaceFaults
from vcloud.emulator.streamspace.published.state import Command

pytestmark = pytest.mark.asyncio

CHANGES = "[PD]* */sessions*"
"""POST, PUT, PATCH and DELETE of sessions."""
READS = "GET */sessions*"
OWN = [name for name in vars(StreamSpaceFaults) if not name.startswith("_")]
ENDED = (401, "Session expired or invalidated")


@define
class Connections:
    """Agents that are connected, and what they were sent."""

    ids: set[str] = field(factory=lambda: {HOST})
    sent: list[Command] = field(factory=list)

    def connected(self, agent_id: str) -> bool:
        return agent_id in self.ids

    def send(self, command: Command) -> None:
        self.sent.append(command)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with published() as found:
        yield found


async def program(api: Api) -> Connections:
    """Have a program serve the sessions, which reports nothing."""
    found = Connections()
    api.space.hub = found
    for _ in range(2):
        await api.register()
    return found


# -- with Redis ------------------------------------------------------------------------------------


async def test_with_redis_every_change_of_a_session_ends_all_logins(api: Api) -> None:
    name = api.session().name
    api.space.caching = True
    ann = await api.as_user("ann")
    assert (await api("PUT", f"/sessions/{name}/hibernate")).status == 202
    for one in (api, ann):
        assert (await one("GET", "/users/me")).error == ENDED
    # No login is needed for another one.
    renewed = await api("POST", "/auth/refresh", {"token": api.token}, Authorization=None)
    api.token = renewed.json["token"]
    assert (await api("GET", "/users/me")).status == 200
    assert (await api("PUT", f"/sessions/{name}/hibernate")).status == 409
    assert (await api("GET", "/users/me")).status == 200
    assert (await api("POST", "/users", {})).status == 400
    assert (await api("GET", "/users/me")).status == 200


async def test_with_redis_answers_about_sessions_are_up_to_30_s_old(api: Api) -> None:
    session = api.session("pending")
    api.space.caching = True
    path = f"/sessions/{session.name}"
    assert "X-Cache" not in (await api("GET", path)).headers
    api.emu.advance(29)
    old = await api("GET", path)
    assert (old.headers["X-Cache"], old.json["state"]) == ("HIT", "pending")
    assert (await api("GET", f"{path}?fresh=1")).json["state"] == "running"
    ann = await api.as_user("ann")
    assert (await ann("GET", path)).json["state"] == "running"
    api.emu.advance(1)
    new = await api("GET", path)
    assert ("X-Cache" in new.headers, new.json["state"]) == (False, "running")


async def test_with_redis_templates_are_up_to_5_minutes_old_and_errors_are_not_kept(
    api: Api,
) -> None:
    api.space.caching = True
    assert (await api("GET", "/templates/x")).status == 404
    await api("GET", "/templates")
    body = {"name": "x", "repository_id": 1, "manifest": {}}
    assert (await api("POST", "/templates", body)).status == 201
    assert (await api("GET", "/templates/x")).status == 200
    assert (await api("GET", "/templates")).json["total"] == 4
    api.emu.advance(300)
    assert (await api("GET", "/templates")).json["total"] == 5
    assert "X-Cache" not in (await api("GET", "/users/me")).headers


# -- faults ----------------------------------------------------------------------------------------


async def test_a_fault_ends_the_logins_after_a_change(api: Api) -> None:
    name = api.session().name
    api.emu.faults.add(CHANGES, Fault.end_logins(), times=None)
    refused = await api("PUT", f"/sessions/{name}/wake")
    assert (refused.status, api.emu.calls.last.fault) == (409, None)
    assert (await api("DELETE", f"/sessions/{name}")).status == 202
    assert api.emu.calls.last.fault == "end_logins"
    assert (await api("GET", "/sessions")).error == ENDED


async def test_a_fault_gives_old_answers(api: Api) -> None:
    session = api.session("pending")
    path = f"/sessions/{session.name}"
    api.emu.faults.add(READS, Fault.kept_answer(), times=None)
    await api("GET", path)
    api.emu.advance(29)
    old = await api("GET", path)
    assert (old.headers["X-Cache"], old.json["state"]) == ("HIT", "pending")
    assert (await api("DELETE", path)).status == 202
    assert (await api("GET", "/users/me")).status == 200
    assert "X-Cache" not in (await api("GET", "/templates")).headers


async def test_while_the_database_is_away_every_login_is_refused(api: Api) -> None:
    api.emu.faults.add("*", Fault.database_away(), times=None)
    assert (await api("GET", "/sessions")).error == (401, "User not found")
    assert (await api.login()).error == (401, "Invalid credentials")
    assert (await api("POST", "/auth/refresh", {"token": api.token})).status == 500
    assert (await api.register()).error == (500, "Database error")
    assert (await api("GET", "/health", root=True)).status == 200
    api.emu.faults.clear()
    assert (await api("GET", "/sessions")).status == 200
    api.space.database_away = True
    assert (await api("GET", "/sessions")).error == (401, "User not found")


async def test_at_another_replica_commands_are_lost(api: Api) -> None:
    found = await program(api)
    body = {"user": "admin", "template": "firefox-browser"}
    api.emu.faults.add("POST */sessions", Fault.other_replica())
    assert (await api("POST", "/sessions", body)).status == 202
    assert not found.sent
    assert (await api("POST", "/sessions", body)).status == 202
    assert [one.action for one in found.sent] == ["start_session"]
    name = found.sent[0].session_id
    api.space.report(name, "running", ready=True, pod_name="x")
    api.emu.faults.add("*", Fault.other_replica(), times=None)
    command = {"action": "stop_session"}
    answer = await api("POST", f"/admin/agents/{HOST}/command", command)
    assert answer.error == (503, "Agent not connected")


async def test_a_built_in_agent_hears_nothing_from_another_replica(api: Api) -> None:
    session = api.session()
    api.emu.faults.add("PUT *", Fault.other_replica())
    assert (await api("PUT", f"/sessions/{session.name}/hibernate")).status == 202
    api.emu.advance(3600)
    assert session.state == "hibernating"


async def test_commands_of_any_age_are_sent_again(api: Api) -> None:
    found = await program(api)
    body = {"user": "admin", "template": "firefox-browser"}
    made = [(await api("POST", "/sessions", body)).json["name"] for _ in range(3)]
    api.emu.advance(86_000)
    api.emu.faults.add("GET */sessions", Fault.repeat_commands())
    await api("GET", "/sessions")
    assert [one.session_id for one in found.sent] == made * 2
    assert found.sent[:3] == found.sent[3:]
    found.ids.clear()
    api.space.repeat_commands()
    assert len(found.sent) == 6


async def test_only_a_stop_is_said_again_from_the_fifth_minute_on(api: Api) -> None:
    found = await program(api)
    stuck, fine = (api.session(agent_id=HOST) for _ in range(2))
    await api("DELETE", f"/sessions/{stuck.name}")
    await api("PUT", f"/sessions/{fine.name}/hibernate")
    times: list[int] = []
    for second in range(0, 450, 10):
        before = len(found.sent)
        api.space.repeat_stops(HOST)
        times += [second] * (len(found.sent) - before)
        api.emu.advance(10)
    assert times == [300, 360, 420]
    assert {one.action for one in found.sent[2:]} == {"stop_session"}
    assert len({one.command_id for one in found.sent}) == 5


@pytest.mark.parametrize("name", OWN)
async def test_these_faults_leave_other_services_and_the_document_alone(name: str) -> None:
    fault: Fault = getattr(Fault, name)()
    async with published() as api:
        api.emu.faults.add("*", fault)
        assert (await api("GET", "/health", root=True)).status == 200
    async with Emulator() as emu:
        emu.faults.add("*", fault)
        assert await ping(emu) == 200
        ended = name == "end_logins"
        assert emu.calls.last.fault == (name if ended else None)


async def ping(emu: Emulator) -> Any:
    import aiohttp

    async with aiohttp.ClientSession() as http:
        body = {
            "username": emu.credentials.streamspace_username,
            "password": emu.credentials.streamspace_password,
        }
        async with http.post(f"{emu.url}/api/v1/auth/login", json=body) as response:
            return response.status


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        (Fault.too_many(3, "body_camel_case"), 429, {"error", "message", "retryAfter"}),
        (Fault.server_error(503), 503, {"error", "message"}),
    ],
)
async def test_refusals_have_the_servers_form(
    api: Api, fault: Fault, status: int, body: set[str]
) -> None:
    api.emu.faults.add("*", fault)
    answer = await api("GET", "/sessions")
    assert (answer.status, set(answer.json)) == (status, body)


async def test_bodies_are_changed_before_they_are_compressed(api: Api) -> None:
    api.session()
    api.emu.faults.add("GET *", Fault.nulls("state"))
    answer = await api("GET", "/sessions", Accept_Encoding="gzip")
    assert [one["state"] for one in answer.json["sessions"]] == [None]
    assert answer.headers["Content-Encoding"] == "gzip"

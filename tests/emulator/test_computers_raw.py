"""The emulated Computers API over its socket, without the client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from tests.emulator.computers_raw import (
    MACHINES,
    PREFIX,
    START,
    Answer,
    Api,
    authorization,
)
from tests.seeded import SEED
from vcloud.emulator import Call, Clock, Emulator, Fault

pytestmark = pytest.mark.asyncio


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with (
        Emulator(machines=3, clock=Clock.stopped(START), seed=SEED) as emu,
        aiohttp.ClientSession() as http,
    ):
        yield Api(emu, http)


CREATED = (
    "name last_session_start_at auto_stop_threshold file_storage_size disk_size network_credit "
    "assigned_image_id assigned_image_name region machine_type "
    "remaining_usage deposited_usage user "
    "friendly_status permissions task latest_image_status"
)
"""The attributes of a created machine, in order."""


async def test_a_machine_is_created_started_and_stopped_on_the_clock(api: Api) -> None:
    advance = api.emu.clock.advance
    created = await api(
        "POST", "/machines", {"plan_id": 1, "region": "tokyo", "base_image_id": 100}
    )
    made = created.body["machines"][0]
    assert (created.body["count"], made["id"]) == (1, "103")
    assert " ".join(made["attributes"]) == CREATED
    assert (made["attributes"]["task"], made["attributes"]["remaining_usage"]) == (None, 0)
    seen = [made["attributes"]["friendly_status"]]
    assert (await api("POST", "/machines/103/stop")).code == 4204
    started = (await api("POST", "/machines/103/start")).body
    assert started == {"client_code": 200, "message": "OK", "timestamp": "2026-02-02T02:40:00Z"}
    assert (await api("POST", "/machines/103/start")).code == 4201
    for seconds in (0, 20):
        advance(seconds)
        seen.append(await api.status("103"))
    assert (await api("POST", "/machines/103/start")).code == 4206
    advance(5)
    seen.append(await api.status("103"))
    assert (await api("POST", "/machines/103/machine-type", {"machine_type_id": 15})).code == 4206
    advance(61)
    assert (await api("POST", "/machines/103/stop", {"gracefully": True})).code == 200
    for seconds in (0, 15, 10):
        advance(seconds)
        seen.append(await api.status("103"))
    assert " ".join(seen) == "off creating warming_up ready graceful_stopping turning_off off"
    machine = (await api("GET", "/machines/103")).body
    assert machine["client_code"] == 200
    assert machine["attributes"]["latest_image_status"] == "processing"
    advance(30)
    assert (await api("GET", "/machines/103")).body["attributes"]["latest_image_status"] == "ready"
    [session] = (await api("GET", "/machines/103/sessions")).body["sessions"]
    expected = {
        "start_at": "2026-02-02T02:40:25.000Z",
        "end_at": "2026-02-02T02:41:41.000Z",
        "duration": 2,
    }
    assert session["attributes"] == expected


async def test_a_session_is_open_while_ready_and_a_reset_takes_its_data(api: Api) -> None:
    assert (await api("GET", "/machines?has_session_data=true")).body["count"] == 2
    await api("POST", "/machines/100/start")
    api.emu.clock.advance(25)
    newest = (await api("GET", "/machines/100/sessions")).body["sessions"][0]["attributes"]
    assert newest == {"start_at": "2026-02-02T02:40:20.000Z", "end_at": None, "duration": 0}
    assert await api.attribute("latest_image_status") == "in_use"
    assert (await api("POST", "/machines/100/reset")).code == 4206
    api.emu.computers.set_status("100", "off")
    assert (await api("POST", "/machines/100/reset", {"remove_files": True})).code == 200
    assert await api.attribute("latest_image_status") is None
    assert [
        m["id"] for m in (await api("GET", "/machines?has_session_data=true")).body["machines"]
    ] == ["102"]


async def test_starting_is_refused_by_balance_capacity_disk_and_owner(api: Api) -> None:
    computers = api.emu.computers
    machine = computers.machines["100"]
    computers.capacity["dublin"] = 0
    assert (await api("POST", "/machines/100/start")).status == 440
    computers.organization.balance = Decimal(0)
    assert (await api("POST", "/machines/100/start")).status == 480
    assert (await api("POST", "/machines/101/start")).code == 200, "it has remaining usage"
    computers.set_status(100, "resizing_disk")
    assert (await api("POST", "/machines/100/start")).status == 469
    machine.owner = "somebody"
    assert (await api("POST", "/machines/100/start")).status == 403


@pytest.mark.parametrize(
    ("method", "route", "body", "code"),
    [
        ("POST", "/machines", {"plan_id": 9, "region": "dublin"}, 404),
        ("POST", "/machines", {"plan_id": 1}, 4202),
        ("POST", "/machines", {"plan_id": 1, "region": "atlantis"}, 400),
        ("POST", "/machines", {"plan_id": 1, "region": "dublin", "quantity": 0}, 400),
        ("POST", "/machines", {"plan_id": 1, "region": "dublin", "quantity": True}, 400),
        ("POST", "/machines", {"plan_id": 1, "region": "dublin", "quantity": 10**18}, 480),
        (
            "POST",
            "/machines",
            {"plan_id": 1, "region": "dublin", "permissions": {"fly": True}},
            400,
        ),
        ("POST", "/machines", [1], 400),
        ("PATCH", "/machines/100", {"auto_stop_threshold": 901}, 400),
        ("PATCH", "/machines/100", {"usage_source": "moon"}, 400),
        ("POST", "/machines/100/machine-type", {"machine_type_id": 21}, 4205),
        ("POST", "/machines/100/machine-type", {}, 400),
        ("POST", "/machines/100/stop", {"gracefully": 1}, 400),
        ("POST", "/machines/100/access", {"expires_in": 0}, 400),
        ("POST", "/machines/100/access", {"expires_in": 10**17}, 400),
        ("POST", "/machines/100/permissions", {}, 400),
        ("POST", "/machines/100/permissions", {"permissions": {"clipboard_enabled": 1}}, 400),
        ("GET", "/machines/999", None, 404),
        ("GET", "/machines/100/tasks?page=0", None, 400),
        ("GET", "/machines?per_page=x", None, 400),
        ("GET", "/machines?assigned=yes", None, 400),
        ("GET", "/machines?time_left=-1", None, 400),
        ("GET", "/nothing", None, 404),
        ("GET", "/machines/", None, 404),
        ("DELETE", "/machines/100", None, 405),
    ],
)
async def test_a_wrong_request_is_refused(
    api: Api, method: str, route: str, body: object, code: int
) -> None:
    answer = await api(method, route, body)
    assert answer.code == code
    assert answer.status == (code if code < 600 else 400)
    assert list(answer.body) == ["client_code", "message", "timestamp"]


@pytest.mark.parametrize(
    ("raw", "kind"),
    [(b"{}", "text/plain"), (b"{", "application/json"), (b"[" * 9999, "application/json")],
)
async def test_a_body_that_is_not_a_json_object_is_refused(api: Api, raw: bytes, kind: str) -> None:
    headers = {"Authorization": authorization("POST", MACHINES, raw), "Content-Type": kind}
    assert (await api.send("POST", MACHINES, raw, headers)).code == 400


async def test_a_key_without_permission_is_refused_with_4710(api: Api) -> None:
    api.emu.organization.permissions.discard("write")
    assert (await api("GET", "/machines")).code == 200
    refused = await api("POST", "/machines/100/start")
    assert (refused.status, refused.code) == (400, 4710)


async def test_creating_costs_until_the_balance_is_exhausted(api: Api) -> None:
    api.emu.organization.balance = Decimal("60.00")
    api.emu.organization.default_region = "oregon"
    assert (await api("POST", "/machines", {"plan_id": 1, "quantity": 2})).body["count"] == 2
    assert api.emu.organization.balance == Decimal("2.00")
    assert (await api("POST", "/machines", {"plan_id": 1})).status == 480


async def test_other_operations_answer_in_the_documented_form(api: Api) -> None:
    types = (await api("GET", "/machines/100/available-machine-types")).body["machine_types"]
    assert [(t["id"], t["attributes"]["friendly_name"]) for t in types] == [
        ("11", "Planet"),
        ("15", "Spark"),
    ]
    await api("POST", "/machines/100/machine-type", {"machine_type_id": 15})
    assert await api.attribute("machine_type") == "Spark"
    updated = await api("PATCH", "/machines/100", {"usage_source": "team_balance"})
    assert updated.body["attributes"]["usage_source"] == "team_balance"
    assert updated.body["attributes"]["auto_stop_threshold"] == 900
    link = (await api("POST", "/machines/100/access", {"expires_in": 60})).body
    assert link["attributes"]["expires_at"] == "2026-02-02T03:40:00.000Z"
    assert link["attributes"]["connection_link"].startswith("https://app.vagon.io/team/session/")
    await api("POST", "/machines/100/permissions", {"permissions": {"clipboard_enabled": False}})
    assert (await api.attribute("permissions"))["clipboard_enabled"] is False
    fields = (await api("GET", "/machines/permission-fields")).body["permission_fields"]
    assert len(fields) == 7
    assert fields[0] == {"name": "public_internet_access", "type": "boolean", "default": True}
    software = (await api("GET", "/software")).body
    assert set(software["software"][0]) == {"id", "name", "size"}
    assert set(software["base_images"][0]) == {"id", "name", "size", "type"}


async def test_tasks_are_created_reactivated_and_deleted_by_the_documents_rules(api: Api) -> None:
    async def put(uid: str) -> Answer:
        return await api("POST", "/machines/100/tasks", {"uid": uid})

    created = (await put("Grüße-012")).body
    assert created["task"]["attributes"]["snapshot_destination"] == "V:\\Grüße-012-snapshots"
    assert (await put("Grüße-012")).body["result"] == "already_active"
    assert (await put("Outputs")).body["result"] == "reactivated"
    assert (await api.attribute("task"))["uid"] == "Outputs"
    listed = (await api("GET", "/machines/100/tasks")).body
    assert [task["attributes"]["uid"] for task in listed["tasks"]] == ["Grüße-012", "Outputs"]
    assert (
        listed["tasks"][1]["attributes"]["source_path"]
        == "C:\\Users\\Administrator\\Desktop\\Outputs"
    )
    await put("Grüße-012")
    task, outputs = (f"/machines/100/tasks/{task['id']}" for task in listed["tasks"])
    assert (await api("DELETE", task)).body["result"] == "deleted"
    assert (await api.attribute("task"))["uid"] == "Outputs"
    assert (await api("DELETE", task)).code == 404
    assert (await api("DELETE", outputs)).code == 4219
    assert (await put("Grüße-012")).code == 4217
    await api("POST", "/machines/100/reset")
    assert (await put("Grüße-012")).body["result"] == "created"
    assert [(await put(uid)).code for uid in ("", "a" * 256, "a/b", "a\\b", "a|b")] == [4216] * 5
    api.emu.computers.set_status("100", "ready")
    assert (await put("other")).code == 4206
    api.emu.computers.machines["100"].backup_enabled = False
    assert (await put("other")).code == 4218
    assert await api.attribute("task") is None


async def test_lists_are_paged_and_filtered() -> None:
    async with Emulator(machines=45, seed=SEED) as emu, aiohttp.ClientSession() as http:
        api = Api(emu, http)
        pages = [(await api("GET", f"/machines?page={page}")).body for page in (1, 2, 3, 4)]
        assert [len(page["machines"]) for page in pages] == [20, 20, 5, 0]
        assert [page["next_page"] for page in pages] == [2, 3, None, None]
        assert {page["count"] for page in pages} == {45}

        async def count(query: str) -> Any:
            return (await api("GET", f"/machines?{query}")).body["count"]

        assert await count("q=USER103%40") == 1
        assert await count("q=computer") == 45
        assert await count("assigned=true") + await count("assigned=false") == 45
        assert await count("time_left=2400") == 9
        emu.computers.set_status("110", "ready")
        assert await count("status=ready") == 1


async def test_faults_apply_to_the_requests_of_their_route(api: Api) -> None:
    add, route = api.emu.faults.add, f"POST {PREFIX}/machines/100/start"
    add(route, Fault.reset_before())
    add(route, Fault.reply(503, b"busy", {"Retry-After": "1"}, "text/plain"))
    add(route, Fault.reset_after())
    with pytest.raises(aiohttp.ClientOSError):
        await api("POST", "/machines/100/start")
    with pytest.raises(aiohttp.ContentTypeError):
        await api("POST", "/machines/100/start")
    assert await api.status() == "off"
    with pytest.raises(aiohttp.ClientOSError):
        await api("POST", "/machines/100/start")
    assert await api.status() == "turning_on"
    path = f"{PREFIX}/machines/100/start"
    assert [call for call in api.emu.calls if call.method == "POST"] == [
        Call("POST", path, "", None, processed=False),
        Call("POST", path, "", 503, processed=False),
        Call("POST", path, "", None, processed=True),
    ]


async def test_faults_can_cut_change_and_delay_an_answer(api: Api) -> None:
    add = api.emu.faults.add
    add("GET *", Fault.truncate(5))
    with pytest.raises(aiohttp.ClientPayloadError):
        await api("GET", "/machines")
    add("GET *", Fault.edit(lambda body: {**body, "client_code": 4242}, status=418))
    edited = await api("GET", "/machines?page=1")
    assert (edited.status, edited.code, edited.body["count"]) == (418, 4242, 3)
    assert api.emu.calls[-1] == Call("GET", MACHINES, "page=1", 418, processed=True)
    add("GET *", Fault.delay(0.05), times=None)
    started = time.monotonic()
    await asyncio.gather(*(api("GET", "/machines") for _ in range(5)))
    assert time.monotonic() - started >= 0.05
    api.emu.faults.clear()
    assert api.emu.faults.take("GET", "/") is None


async def test_only_loopback_is_served_and_closing_twice_is_allowed() -> None:
    with pytest.raises(ValueError, match="loopback"):
        Emulator(host="0.0.0.0")
    emu = Emulator()
    await emu.start()
    assert emu.env()["VCLOUD_COMPUTERS_URL"] == f"{emu.url}{PREFIX}"
    await emu.aclose()
    await emu.aclose()
    with pytest.raises(RuntimeError):
        _ = emu.url

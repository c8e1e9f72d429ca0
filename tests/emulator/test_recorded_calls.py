"""The calls that an emulator records: by route, the newest of them, and their bodies."""

from __future__ import annotations

import asyncio
import json
import urllib.request

import pytest

from vcloud import VCloud, VCloudError
from vcloud.emulator import CallLog, Emulator, Fault


@pytest.fixture
def emulator() -> Emulator:
    return Emulator(machines=2)


async def test_calls_are_found_by_method_and_path(emulator: Emulator) -> None:
    async with emulator, VCloud(**emulator.endpoints()) as cloud:
        machines = cloud.computers.machines
        await machines.create(1, region="dublin")
        await machines.ref("100").start()
        await machines.list(q="a b").all()
        calls = emulator.calls
        assert len(calls.matching("POST */machines")) == 1
        assert not calls.matching("DELETE *")
        assert [call.path[-10:] for call in calls.matching("POST *")] == [
            "1/machines",
            "/100/start",
        ]
        assert calls.matching("* */machines*").matching("get *").last.params["q"] == "a b"
        assert calls.matching("*/machines*") == calls, "a route may begin with any method"
        created = calls.matching("POST */machines").last
        assert (created.json["quantity"], created.json["region"]) == (1, "dublin")
        assert calls.matching("GET *").last.json is None
        assert isinstance(calls.matching("*"), CallLog)
        assert calls.matching("*") == calls
        before = calls.matching("POST *")
        await machines.ref("101").start()
        assert len(before) == 2, "what was found does not change"


async def test_a_call_that_is_missed_is_reported_with_those_that_came(emulator: Emulator) -> None:
    with pytest.raises(LookupError, match=r"no call so far$"):
        _ = emulator.calls.last
    async with emulator, VCloud(**emulator.endpoints()) as cloud:
        await cloud.computers.machines.ref("100").start()
        assert emulator.calls.last.path.endswith("/machines/100/start")
        with pytest.raises(LookupError) as caught:
            _ = emulator.calls.matching("POST */machines").last
    assert str(caught.value) == (
        "no call matches 'POST */machines'; the last ones were:\n"
        "  POST /organization-management/v1/machines/100/start -> 200"
    )


@pytest.mark.parametrize(
    "route", ["/machines", "POST", "POST machines", "/organization-management/v1/machines", "", " "]
)
def test_a_route_that_no_call_can_match_is_refused(emulator: Emulator, route: str) -> None:
    with pytest.raises(ValueError, match="'POST \\*/machines'"):
        emulator.calls.matching(route)
    with pytest.raises(ValueError, match="'POST \\*/machines'"):
        emulator.faults.add(route, Fault.reset_after())


async def test_bodies_are_recorded_without_passwords_and_tokens(emulator: Emulator) -> None:
    async with emulator, VCloud(**emulator.endpoints()) as cloud:
        await cloud.streamspace.users.create("ann", email="a@example.com", password="correct horse")
        login = emulator.calls.matching("POST */auth/login").last
        assert login.json == {"username": "admin", "password": "***"}
        created = emulator.calls.matching("POST */users").last
        assert created.json["username"] == "ann"
        assert created.json["password"] == "***"
        assert "horse" not in f"{created!r} {created} {created.json}"
        with await asyncio.to_thread(
            urllib.request.urlopen, f"{emulator.url}/_emulator/calls"
        ) as answer:
            assert "json" not in json.load(answer)["calls"][0]


async def test_a_body_that_no_service_read_is_not_recorded(emulator: Emulator) -> None:
    emulator.faults.add("POST */start", Fault.server_error(503))
    emulator.faults.add("POST */stop", Fault.reset_after())
    async with emulator, VCloud(**emulator.endpoints()) as cloud:
        machine = cloud.computers.machines.ref("100")
        await machine.start(region="dublin")
        with pytest.raises(VCloudError):
            await machine.stop(gracefully=True)
    refused, started = emulator.calls.matching("POST */start")
    assert refused.json is None
    assert started.json == {"region": "dublin"}
    lost = emulator.calls.matching("POST */stop")[0]
    assert lost.json == {"gracefully": True}
    assert str(lost).endswith("/stop -> no answer")

"""How the emulated computers change by themselves with the emulator's clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from tests.emulator.computers_raw import PREFIX, START, Api, authorization
from tests.seeded import SEED
from vcloud.emulator import Clock, Emulator
from vcloud.emulator.computers.machine import Machine

READY = 25
"""Seconds from a machine's first start until it is ready."""


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with (
        Emulator(clock=Clock.stopped(START), balance="100.00", seed=SEED) as emu,
        aiohttp.ClientSession() as http,
    ):
        yield Api(emu, http)


async def started(api: Api, **attributes: Any) -> Machine:
    """A machine that has just become ready for the first time."""
    machine = api.emu.computers.add_machine(**attributes)
    assert (await api("POST", f"/machines/{machine.id}/start")).code == 200
    api.emu.clock.advance(READY)
    assert await api.status(machine.id) == "ready"
    return machine


async def life(api: Api, *seconds: float) -> list[Any]:
    """The status after each of these."""
    seen = []
    for second in seconds:
        api.emu.clock.advance(second)
        seen.append(await api.status())
    return seen


# -- the way up ------------------------------------------------------------------------------------


async def test_only_the_first_start_creates_a_machine_and_a_reset_makes_the_next_a_first_one(
    api: Api,
) -> None:
    async def start() -> list[Any]:
        await api("POST", "/machines/100/start")
        return await life(api, 0, 20, 5)

    async def stop() -> None:
        assert (await api("POST", "/machines/100/stop")).code == 200
        assert await life(api, 10) == ["off"]

    await api("POST", "/machines", {"plan_id": 1, "region": "dublin"})
    assert await api.attribute("latest_image_status") is None
    first = await start()
    assert await api.attribute("latest_image_status") == "in_use"
    await stop()
    assert await start() == ["turning_on", "ready", "ready"]
    await stop()
    assert (await api("POST", "/machines/100/reset")).code == 200
    assert await start() == first == ["creating", "warming_up", "ready"]


async def test_a_machine_stopped_before_its_first_run_is_created_by_the_next_start(
    api: Api,
) -> None:
    api.emu.computers.add_machine()
    await api("POST", "/machines/100/start")
    assert await life(api, 10) == ["creating"]
    assert (await api("POST", "/machines/100/stop")).code == 200
    assert await life(api, 10) == ["off"]
    assert await api.attribute("latest_image_status") is None
    assert (await api("GET", "/machines/100/sessions")).body["sessions"] == []
    await api("POST", "/machines/100/start")
    assert await life(api, 0) == ["creating"]


async def test_a_machine_just_bought_gets_its_default_task_with_its_first_start(api: Api) -> None:
    await api("POST", "/machines", {"plan_id": 1, "region": "dublin"})
    assert (await api("GET", "/machines/100/tasks")).body["tasks"] == []
    await api("POST", "/machines/100/start")
    assert (await api.attribute("task"))["uid"] == "Outputs"


async def test_a_deleted_active_task_is_replaced_by_a_new_default_one(
    api: Api,
) -> None:
    await api("POST", "/machines", {"plan_id": 1, "region": "dublin"})
    task = (await api("POST", "/machines/100/tasks", {"uid": "mine"})).body["task"]["id"]
    assert (await api("DELETE", f"/machines/100/tasks/{task}")).code == 200
    assert (await api.attribute("task"))["uid"] == "Outputs"


# -- auto-stop -------------------------------------------------------------------------------------


async def test_an_unused_machine_stops_gracefully_by_itself(api: Api) -> None:
    machine = await started(api)
    assert await life(api, 899, 1, 15, 10) == ["ready", "graceful_stopping", "turning_off", "off"]
    [session] = (await api("GET", "/machines/100/sessions")).body["sessions"]
    assert session["attributes"]["end_at"] == "2026-02-02T02:55:40.000Z"
    assert session["attributes"]["duration"] == 16
    [task] = (await api("GET", "/machines/100/tasks")).body["tasks"]
    assert task["attributes"]["folder_size"] == 16 * 1024**2
    assert machine.started


async def test_use_delays_the_auto_stop_and_counts_one_session(api: Api) -> None:
    await started(api)
    assert await life(api, 800) == ["ready"]
    api.emu.computers.use("100")
    assert await life(api, 899, 1) == ["ready", "graceful_stopping"]
    api.emu.computers.use("100")
    assert await life(api, 15) == ["turning_off"], "it is too late for it"
    assert len((await api("GET", "/machines/100/sessions")).body["sessions"]) == 1


async def test_a_changed_threshold_applies_to_the_open_session(api: Api) -> None:
    await started(api)
    await api("PATCH", "/machines/100", {"auto_stop_threshold": 0})
    assert await life(api, 86_400) == ["ready"]
    await api("PATCH", "/machines/100", {"auto_stop_threshold": 3600})
    assert await life(api, 0) == ["graceful_stopping"]


async def test_a_forced_status_stays(api: Api) -> None:
    api.emu.computers.add_machine()
    api.emu.computers.set_status("100", "ready")
    assert await life(api, 10**6) == ["ready"]
    assert api.emu.organization.balance == 100


# -- usage and balance -----------------------------------------------------------------------------


async def test_remaining_usage_shrinks_while_a_machine_runs_and_moves_the_filter(api: Api) -> None:
    await started(api, remaining_usage=90, auto_stop_threshold=0)
    for passed, left in ((0, 90), (60, 89), (29 * 60, 60), (1, 59)):
        api.emu.clock.advance(passed)
        assert await api.attribute("remaining_usage") == left
        found = (await api("GET", "/machines?time_left=60")).body["machines"]
        assert [machine["id"] for machine in found] == (["100"] if left >= 60 else [])
    await api("POST", "/machines/100/stop")
    api.emu.clock.advance(7200)
    assert await api.attribute("remaining_usage") == 59, "it is off"
    assert api.emu.organization.balance == 100


async def test_a_machine_that_uses_its_own_usage_stops_when_that_ends(api: Api) -> None:
    await started(api, remaining_usage=10, usage_source="machine")
    assert await life(api, 599, 1, 10) == ["ready", "turning_off", "off"]
    assert await api.attribute("remaining_usage") == 0
    assert (await api("POST", "/machines/100/start")).status == 480
    assert api.emu.organization.balance == 100
    api.emu.computers.set_remaining_usage("100", 5)
    assert await api.attribute("remaining_usage") == 5
    assert (await api("POST", "/machines/100/start")).code == 200
    assert await life(api, 20, 299, 1) == ["ready", "ready", "turning_off"]


async def test_the_balance_pays_after_a_machines_own_usage(api: Api) -> None:
    await started(api, remaining_usage=30, auto_stop_threshold=0)
    api.emu.clock.advance(30 * 60)
    assert api.emu.organization.balance == 100
    api.emu.clock.advance(3600)
    assert api.emu.organization.balance == Decimal("98.80")
    await api("POST", "/machines/100/stop")
    api.emu.clock.advance(3600)
    assert api.emu.organization.balance == Decimal("98.80")


async def test_a_machine_switched_to_its_own_usage_stops_at_once_without_any(
    api: Api,
) -> None:
    await started(api)
    api.emu.clock.advance(300)
    await api("PATCH", "/machines/100", {"usage_source": "machine"})
    assert await life(api, 0, 10, 3600) == ["turning_off", "off", "off"]
    assert api.emu.organization.balance == Decimal("99.90")


async def test_machines_stop_when_the_balance_is_exhausted_whenever_it_is_read(
    api: Api,
) -> None:
    await started(api, auto_stop_threshold=0)
    await started(api, auto_stop_threshold=0)
    await started(api, auto_stop_threshold=0, remaining_usage=60_000)
    api.emu.organization.balance = Decimal("2.40")
    api.emu.clock.advance(86_400)
    assert api.emu.organization.balance == 0
    for machine, status in (("100", "off"), ("101", "off"), ("102", "ready")):
        assert await api.status(machine) == status
        newest = (await api("GET", f"/machines/{machine}/sessions")).body["sessions"][0]
        ends = None if status == "ready" else "2026-02-02T03:41:15.000Z"
        assert newest["attributes"]["end_at"] == ends
    assert (await api("POST", "/machines/100/start")).status == 480
    api.emu.organization.balance = Decimal(1)
    assert (await api("POST", "/machines/100/start")).code == 200


async def test_a_machine_that_starts_as_the_balance_is_exhausted_gets_no_session(
    api: Api,
) -> None:
    api.emu.computers.add_machine()
    await api("POST", "/machines/100/start")
    api.emu.organization.balance = Decimal(0)
    assert await life(api, 20, 5, 10) == ["warming_up", "turning_off", "off"]


# -- what the vendor's own pages send --------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["True", "true", "TRUE"])
async def test_booleans_of_a_query_are_read_in_any_case(api: Api, spelling: str) -> None:
    await started(api)
    api.emu.computers.add_machine()
    for query, count in ((f"has_session_data={spelling}", 1), ("has_session_data=False", 1)):
        assert (await api("GET", f"/machines?{query}")).body["count"] == count
    assert (await api("GET", f"/machines?assigned={spelling}")).body["count"] == 0
    assert (await api("GET", "/machines?assigned=1")).code == 400


@pytest.mark.parametrize("expires_in", [60, "60"])
async def test_minutes_of_an_access_link_may_be_text(api: Api, expires_in: object) -> None:
    api.emu.computers.add_machine()
    link = (await api("POST", "/machines/100/access", {"expires_in": expires_in})).body
    assert link["attributes"]["expires_at"] == "2026-02-02T03:40:00.000Z"


@pytest.mark.parametrize("expires_in", ["0", "", "1.5", "-1", "sixty", "9" * 17, "9" * 30])
async def test_a_text_without_minutes_is_refused(api: Api, expires_in: str) -> None:
    api.emu.computers.add_machine()
    assert (await api("POST", "/machines/100/access", {"expires_in": expires_in})).code == 400


@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream"])
async def test_a_get_may_carry_a_body_if_it_is_signed(api: Api, kind: str) -> None:
    path = f"{PREFIX}/machines"
    signed = {"Authorization": authorization("GET", path, b"{}"), "Content-Type": kind}
    assert (await api.send("GET", path, b"{}", signed)).code == 200
    unsigned = {"Authorization": authorization("GET", path), "Content-Type": kind}
    assert (await api.send("GET", path, b"{}", unsigned)).code == 401

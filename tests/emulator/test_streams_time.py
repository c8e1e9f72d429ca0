"""How the emulated streams' machines and visits change with the emulator's clock."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from attrs import frozen

from tests.emulator.computers_raw import START, Answer, authorization
from tests.emulator.computers_raw import Api as Raw
from tests.seeded import SEED
from vcloud.emulator import Clock, Emulator

PREFIX = "/app-stream-management/v2"
STREAM = 1381
STATES = ("status", "friendly_status", "connection_status")


@frozen
class Api(Raw):
    async def __call__(self, method: str, route: str, body: object = None) -> Answer:
        raw = b"" if body is None else json.dumps(body).encode()
        auth = authorization(method, (PREFIX + route).partition("?")[0], raw)
        headers = {"Authorization": auth, "Content-Type": "application/json"}
        return await self.send(method, PREFIX + route, raw, headers)

    async def assign(self, **more: object) -> Answer:
        return await self("POST", f"/streams/{STREAM}/assign-machine", {"region": "dublin", **more})

    async def start(self) -> Any:
        answer = await self("POST", f"/streams/{STREAM}/start-machine", {"region": "dublin"})
        assert answer.code == 200, answer
        return answer.body["id"]

    async def configure(self, **settings: object) -> None:
        assert (await self("PUT", f"/streams/{STREAM}", settings)).code == 200

    async def machine(self, id: str | None = None) -> Any:
        """The attributes of this machine, or of the newest, which are equal in every list."""
        found = (await self("GET", "/machines")).body["machines"]
        machine = next(one for one in found if id in (None, one["id"]))
        uid = machine["attributes"]["uid"]
        assert (await self("GET", f"/machines/{uid}")).body["attributes"] == machine["attributes"]
        return machine["attributes"]

    async def life(self, *seconds: float) -> list[Any]:
        """The newest machine's connection status after each of these."""
        seen = []
        for second in seconds:
            self.emu.clock.advance(second)
            seen.append((await self.machine())["connection_status"])
        return seen

    async def visits(self) -> Any:
        return [visit["attributes"] for visit in (await self("GET", "/sessions")).body["sessions"]]

    async def visited(self) -> str:
        """A machine to which a visitor has just connected, 15 s after its start."""
        id_: str = await self.start()
        assert (await self.assign()).code == 200
        self.emu.streams.visitor_opens(id_)
        assert await self.life(15) == ["connected"]
        return id_


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with (
        Emulator(clock=Clock.stopped(START), balance=1000, seed=SEED) as emu,
        aiohttp.ClientSession() as http,
    ):
        yield Api(emu, http)


def states(machine: Any) -> tuple[Any, ...]:
    return tuple(machine[name] for name in STATES)


# -- assigning -------------------------------------------------------------------------------------


async def test_a_machine_that_was_just_started_is_assigned_while_it_turns_on(api: Api) -> None:
    id_ = await api.start()
    api.emu.clock.advance(7)
    assigned = (await api.assign()).body["machine"]
    assert assigned["id"] == id_
    assert states(assigned["attributes"]) == ("pending", "turning_on", "assigned")
    assert assigned["attributes"]["duration"] == 7
    api.emu.clock.advance(7)
    assert states(await api.machine()) == ("pending", "turning_on", "assigned")
    api.emu.clock.advance(1)
    assert states(await api.machine()) == ("running", "ready", "assigned")
    assert (await api.assign()).status == 440


async def test_assign_prefers_a_machine_that_is_available(api: Api) -> None:
    waiting = await api.start()
    available = api.emu.streams.add_machine(STREAM, status="available")
    given = [(await api.assign()).body["machine"]["id"] for _ in range(2)]
    assert given == [str(available.id), waiting]


@pytest.mark.parametrize("user_id", ["", None])
async def test_an_empty_user_id_means_no_user(api: Api, user_id: object) -> None:
    await api.start()
    assert (await api.assign(user_id="NOBODY")).code == 404
    assert (await api.assign(user_id=user_id)).code == 200


@pytest.mark.parametrize("body", [{}, {"email": ""}, {"email": None}])
async def test_a_visitor_without_an_email_is_accepted(api: Api, body: object) -> None:
    user = (await api("POST", "/users", body)).body
    assert user["client_code"] == 200
    await api.start()
    assert (await api.assign(user_id=user["id"])).code == 200


async def test_a_link_that_is_opened_early_connects_when_the_machine_has_booted(api: Api) -> None:
    id_ = await api.start()
    await api.assign()
    api.emu.streams.visitor_opens(id_)
    assert await api.life(14) == ["assigned"]
    assert await api.visits() == []
    assert await api.life(1) == ["connected"]
    assert [visit["start_at"] for visit in await api.visits()] == ["2026-02-02T02:40:15.000Z"]


# -- limits ----------------------------------------------------------------------------------------


async def test_a_machine_without_a_visit_is_turned_off(api: Api) -> None:
    await api.start()
    assert await api.life(15, 299, 1) == ["available", "available", "terminated"]
    ended = await api.machine()
    assert (ended["end_at"], ended["duration"]) == ("2026-02-02T02:45:15.000Z", 315)
    api.emu.clock.advance(3600)
    assert await api.machine() == ended
    assert (await api("POST", "/streams/stop-machine", {"machine_id": "94683"})).code == 4204


async def test_assigning_delays_the_auto_turn_off(api: Api) -> None:
    await api.start()
    api.emu.clock.advance(300)
    await api.assign()
    assert await api.life(299, 1) == ["assigned", "terminated"]
    assert await api.visits() == []


@pytest.mark.parametrize(
    ("setting", "after"),
    [
        ("off", ["proxy-in-migration", "available", "available", "available"]),
        ("immediatly", ["terminated"] * 4),
        ("2_min", ["proxy-in-migration", "available", "terminated", "terminated"]),
        ("6_hour", ["proxy-in-migration", "available", "available", "terminated"]),
    ],
)
async def test_after_a_visit_the_machine_is_turned_off_by_the_streams_setting(
    api: Api, setting: str, after: list[str]
) -> None:
    await api.configure(auto_turn_off_duration=setting)
    id_ = await api.visited()
    api.emu.clock.advance(60)
    api.emu.streams.visitor_leaves(id_)
    assert await api.life(0, 10, 110, 6 * 3600) == after
    [visit] = await api.visits()
    assert (visit["end_at"], visit["duration"]) == ("2026-02-02T02:41:15.000Z", 1)


async def test_immediately_applies_only_after_a_visit(api: Api) -> None:
    await api.configure(auto_turn_off_duration="immediatly")
    await api.start()
    assert await api.life(86_400) == ["available"]


async def test_a_session_ends_at_its_limit_and_the_machine_takes_the_next_visitor(
    api: Api,
) -> None:
    await api.configure(maximum_session_duration="15_min")
    id_ = await api.visited()
    assert await api.life(899, 1, 10) == ["connected", "proxy-in-migration", "available"]
    [visit] = await api.visits()
    assert (visit["end_at"], visit["duration"]) == ("2026-02-02T02:55:15.000Z", 15)
    assert (await api.assign()).body["machine"]["id"] == id_
    api.emu.streams.visitor_opens(id_)
    assert [visit["end_at"] for visit in await api.visits()] == [None, visit["end_at"]]


async def test_an_idle_visit_ends_and_an_active_one_does_not(
    api: Api,
) -> None:
    await api.configure(idle_duration="1_min")
    id_ = await api.visited()
    api.emu.clock.advance(50)
    api.emu.streams.visitor_acts(id_)
    assert await api.life(59, 1) == ["connected", "proxy-in-migration"]
    [visit] = await api.visits()
    assert visit["end_at"] == "2026-02-02T02:42:05.000Z"


async def test_changed_limits_apply_to_the_open_visit(api: Api) -> None:
    await api.visited()
    api.emu.clock.advance(1800)
    await api.configure(maximum_session_duration="1_hour")
    assert await api.life(1799, 1) == ["connected", "proxy-in-migration"]


async def test_neither_always_on_machines_nor_reserved_ones_are_turned_off(api: Api) -> None:
    for capacity_type in ("always_on", "balanced"):
        stream = api.emu.streams.add_stream(
            1143, capacity_type=capacity_type, capacities={"oregon": 2}
        )
        api.emu.clock.advance(86_400)
        running = (await api("GET", f"/streams/{stream.id}/machines")).body["machines"]
        assert {one["attributes"]["connection_status"] for one in running} == {"available"}


async def test_a_balanced_stream_replaces_a_machine_when_it_is_turned_off(
    api: Api,
) -> None:
    stream = api.emu.streams.add_stream(1143, capacity_type="balanced", capacities={"oregon": 1})
    api.emu.clock.advance(15)
    assigned = await api("POST", f"/streams/{stream.id}/assign-machine", {"region": "oregon"})
    assert assigned.code == 200
    api.emu.clock.advance(86_400)
    newest, oldest = (await api("GET", f"/streams/{stream.id}/machines")).body["machines"]
    assert oldest["attributes"]["end_at"] == newest["attributes"]["start_at"]
    assert newest["attributes"]["connection_status"] == "available"


# -- statistics ------------------------------------------------------------------------------------


async def test_an_open_visit_is_listed_with_its_current_duration(api: Api) -> None:
    id_ = await api.visited()
    api.emu.clock.advance(150)
    [visit] = await api.visits()
    assert (visit["end_at"], visit["duration"], visit["readable_duration"]) == (
        None,
        3,
        "3 minutes",
    )
    await api("POST", "/streams/stop-machine", {"machine_id": id_})
    api.emu.clock.advance(3600)
    [visit], machine = await api.visits(), await api.machine()
    assert visit["end_at"] == machine["end_at"] == "2026-02-02T02:42:45.000Z"
    assert visit["duration"] == 3


async def test_a_machine_is_connected_exactly_while_a_visit_to_it_is_open(api: Api) -> None:
    async def agree() -> None:
        found = (await api("GET", "/machines")).body["machines"]
        connected = sum(one["attributes"]["connection_status"] == "connected" for one in found)
        assert sum(visit["end_at"] is None for visit in await api.visits()) == connected

    await api.configure(maximum_session_duration="5_min", idle_duration="1_min")
    streams = api.emu.streams
    for number in range(6):
        machine = streams.add_machine(STREAM, status="assigned")
        await agree()
        streams.visitor_opens(machine.id)
        await agree()
        api.emu.clock.advance(number * 15)
        await agree()
        if streams.machines[machine.id].status_at(api.emu.clock.now()) == "connected":
            streams.set_status(machine.id, "terminated" if number % 2 else "half-asleep")
        await agree()
    machine = streams.add_machine(STREAM, status="connected")
    await agree()
    streams.visitor_leaves(machine.id)
    await agree()
    assert len(await api.visits()) == 7


# -- the balance -----------------------------------------------------------------------------------


async def test_the_balance_pays_the_cost_in_the_statistics(api: Api) -> None:
    await api.start()
    api.emu.clock.advance(3600)
    machine = await api.machine()
    assert (machine["duration"], machine["cost"]) == (315, "0.148")
    paid = 1000 - api.emu.organization.balance
    assert paid.quantize(Decimal("0.001")) == Decimal("0.149")


async def test_machines_and_visits_end_when_the_balance_is_exhausted(api: Api) -> None:
    await api.configure(auto_turn_off_duration="off")
    await api.visited()
    api.emu.organization.balance = Decimal("1.70")
    assert await api.life(3599, 1) == ["connected", "terminated"]
    assert [visit["end_at"] for visit in await api.visits()] == ["2026-02-02T03:40:15.000Z"]
    start = await api("POST", f"/streams/{STREAM}/start-machine", {"region": "dublin"})
    assert start.status == 480


async def test_reserved_machines_are_started_again_with_a_new_balance(api: Api) -> None:
    stream = api.emu.streams.add_stream(1143, capacity_type="always_on", capacities={"oregon": 1})

    async def running() -> Any:
        return [
            one["attributes"]["connection_status"]
            for one in (await api("GET", f"/streams/{stream.id}/machines")).body["machines"]
        ]

    api.emu.clock.advance(15)
    api.emu.organization.balance = Decimal(0)
    api.emu.clock.advance(60)
    assert await running() == ["terminated"]
    api.emu.organization.balance = Decimal(5)
    assert await running() == ["waiting", "terminated"]

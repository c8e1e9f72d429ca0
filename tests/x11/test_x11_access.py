"""An emulator that serves real desktops: administration and agents need a token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.emulator.realtime_raw import World, token
from tests.x11.machine import require_x11
from vcloud.emulator import Emulator
from vcloud.emulator.faults.named import HEADER

AGENT = "/agent/ws?agent_id=a1&platform=docker"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    require_x11()
    async with (
        Emulator(backend="x11", allow_exec=True) as emulator,
        aiohttp.ClientSession() as http,
    ):
        yield World(emulator, http)


async def asked(world: World, method: str, path: str, **headers: str) -> int:
    body: dict[str, Any] = {"json": {"seconds": 3600}} if method == "POST" else {}
    url = f"{world.emu.url}{path}"
    async with world.http.request(method, url, headers=headers, **body) as response:
        return response.status


async def test_administration_needs_the_token(world: World) -> None:
    right = world.emu.admin_token
    assert right is not None
    assert world.emu.env()["VCLOUD_EMULATOR_TOKEN"] == right
    before = world.emu.clock.now()
    for wrong in ({}, {"X-VCloud-Token": ""}, {"X-VCloud-Token": right[:-1]}):
        for method, path in (
            ("GET", "/_emulator"),
            ("GET", "/_emulator/calls"),
            ("GET", "/_emulator/nowhere"),
            ("POST", "/_emulator/clock/advance"),
            ("POST", "/_emulator/refuse"),
        ):
            assert await asked(world, method, path, **wrong) == 401
    assert world.emu.clock.now() - before < 3600
    headers = {"X-VCloud-Token": right}
    assert await asked(world, "POST", "/_emulator/clock/advance", **headers) == 200
    assert world.emu.clock.now() - before >= 3600


async def test_fault_that_a_header_orders_needs_the_token(world: World) -> None:
    order = {HEADER: "refuse; seconds=3600", "x-api-key": "none"}
    assert await asked(world, "GET", "/v1/desktop/x", **order) == 401
    # Nothing was refused, and nothing is recorded.
    assert await asked(world, "GET", "/v1/desktop/x", **{"x-api-key": "none"}) == 401
    assert [call.fault for call in world.emu.calls] == [None]
    order = {HEADER: "html; status=502", "X-VCloud-Token": str(world.emu.admin_token)}
    assert await asked(world, "GET", "/v1/desktop/x", **order) == 502


async def test_agent_needs_a_token(world: World) -> None:
    for path in (AGENT, "/agent/vnc/anything"):
        status, refusal = await world.refusal(path)
        assert (status, refusal["code"]) == (401, "AUTH_TOKEN_MISSING")
    assert (await world.refusal(AGENT, Authorization="Bearer wrong"))[0] == 401
    assert not world.emu.streamspace.control.connected("a1")
    async with world.socket(AGENT, headers={"Authorization": f"Bearer {token(world.emu)}"}):
        pass


async def test_simulated_desktops_need_no_token() -> None:
    async with Emulator() as emulator, aiohttp.ClientSession() as http:
        assert emulator.admin_token is None
        assert "VCLOUD_EMULATOR_TOKEN" not in emulator.env()
        world = World(emulator, http)
        assert await asked(world, "POST", "/_emulator/clock/advance") == 200
        async with world.socket(AGENT):
            pass

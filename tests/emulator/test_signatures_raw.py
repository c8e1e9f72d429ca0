"""Signatures of the Vagon APIs, made here by hand and checked over a real socket."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from tests.emulator.computers_raw import (
    MACHINES,
    PREFIX,
    START,
    Api,
    authorization,
)
from tests.seeded import SECRET, SEED
from vcloud.emulator import Clock, Emulator
from vcloud.emulator.vagon.signature import Signatures

pytestmark = pytest.mark.asyncio


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with (
        Emulator(machines=3, clock=Clock.stopped(START), seed=SEED) as emu,
        aiohttp.ClientSession() as http,
    ):
        yield Api(emu, http)


@pytest.mark.parametrize(
    ("sign", "said"),
    [
        (lambda: "Bearer x", "scheme is not HMAC"),
        (lambda: "HMAC a:b:c", "3 parts instead of 4"),
        (lambda: "HMAC a:b: c:1", "holds a space"),
        (lambda: "HMAC a:b:c:1e3", "whole number of milliseconds"),
        (lambda: authorization("GET", MACHINES, key="nobody"), "unknown key 'nobody'"),
        (lambda: authorization("GET", MACHINES, at=time.time() - 7200), "timestamp -7200 s off"),
        (
            lambda: authorization("GET", MACHINES, secret="wrong"),
            f"{{key}}GET{MACHINES}{{timestamp}}{{nonce}}{{0 body bytes}}",
        ),
        (lambda: authorization("POST", MACHINES), "signature does not match"),
        (lambda: authorization("GET", f"{MACHINES}?page=1"), "signature does not match"),
    ],
)
async def test_a_bad_signature_is_refused_with_its_reason(
    api: Api, sign: Callable[[], str], said: str
) -> None:
    answer = await api.send("GET", f"{MACHINES}?page=1", headers={"Authorization": sign()})
    assert (answer.status, answer.code) == (401, 401)
    assert said in answer.body["message"]
    assert SECRET not in answer.body["message"]
    assert "missing Authorization" in (await api.send("GET", MACHINES)).body["message"]


VECTORS = [
    (
        "GET {computers}/machines",
        "1712567890123",
        "3f2b8c1e-0000-4000-8000-000000000001",
        "fc656993ee3c4c7091d06ba18a9e5069783491ae1fb16d3714a1b0daf2d1310f",
        "",
    ),
    (
        "POST {streams}/streams/1381/start-machine",
        "1712567890124",
        "nonce-2",
        "b23e433bb5a660e32e8cca289a31fa3d6420273334000484c25c7bf59ce8801d",
        '{"region":"dublin"}',
    ),
    (
        "PATCH {computers}/machines/100",
        "1712567890125",
        "nonce-3",
        "a3bc96440bc39b70b9825b585fea6be78ae7a4894b734d25083653177bae5cd0",
        '{"usage_source":"team_balance"}',
    ),
    (
        "POST {computers}/machines/100/tasks",
        "1712567890126",
        "nonce-4",
        "13f8ec11cc8ff561e48af357ea19d2c509a6d1062af0434c12e0246acb75f427",
        '{"uid":"Grüße-012"}',
    ),
]


@pytest.mark.parametrize(("route", "timestamp", "nonce", "signature", "text"), VECTORS)
async def test_signatures_made_by_openssl_are_accepted(
    route: str, timestamp: str, nonce: str, signature: str, text: str
) -> None:
    method, path = route.format(computers=PREFIX, streams="/app-stream-management/v2").split()
    clock = Clock(offset=int(timestamp) / 1000 - time.time())
    header = f"HMAC ak_test_1:{signature}:{nonce}:{timestamp}"
    signatures = Signatures({"ak_test_1": "sk_test_1"}, clock)
    assert signatures.refusal(method, path, [header], text.encode()) is None


async def test_a_body_other_than_the_signed_one_is_refused(api: Api) -> None:
    auth = authorization("POST", MACHINES, b'{"plan_id":1}')
    answer = await api.send("POST", MACHINES, b'{"plan_id": 1}', headers={"Authorization": auth})
    assert answer.code == 401
    assert "{14 body bytes}" in answer.body["message"]


async def test_a_nonce_is_valid_once_and_only_used_by_a_valid_signature(api: Api) -> None:
    wrong = authorization("GET", MACHINES, nonce="once", secret="wrong")
    right = authorization("GET", MACHINES, nonce="once")
    assert (await api.send("GET", MACHINES, headers={"Authorization": wrong})).code == 401
    assert (await api.send("GET", MACHINES, headers={"Authorization": right})).code == 200
    again = await api.send("GET", MACHINES, headers={"Authorization": right})
    assert (again.code, again.body["message"]) == (401, "nonce 'once' already used")


async def test_the_window_and_the_date_follow_the_services_wall_clock(api: Api) -> None:
    async def code(at: float) -> Any:
        header = authorization("GET", MACHINES, at=at)
        return (await api.send("GET", MACHINES, headers={"Authorization": header})).code

    real = time.time()
    assert [await code(real + off) for off in (-310, -290, 290, 310)] == [401, 200, 200, 401]
    api.emu.clock.offset = 1000
    refused = await api("GET", "/machines")
    assert refused.code == 401
    assert abs(parsedate_to_datetime(refused.headers["Date"]).timestamp() - real - 1000) < 10
    assert await code(real + 1000) == 200


async def test_simulated_time_does_not_expire_signatures(api: Api) -> None:
    api.emu.clock.advance(86_400)
    answer = await api("GET", "/machines")
    assert (answer.code, answer.body["timestamp"]) == (200, "2026-02-03T02:40:00Z")

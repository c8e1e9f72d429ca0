"""Requests as aioresponses sees them: verb, address, body and headers of ordinary calls.

aioresponses replaces aiohttp's request method, so nothing below it (middlewares, the connector,
timeouts) runs here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from yarl import URL

from vcloud import Endpoint, HMACAuth, InvalidArgumentError, VagonComputers
from vcloud.testing.aioresponses import aioresponses

BASE = "https://api.vagon.io/organization-management/v1"
DONE = {"client_code": 200, "message": "OK"}


@pytest.fixture
def wire() -> Iterator[aioresponses]:
    with aioresponses() as wire:
        yield wire


@pytest.fixture
async def computers() -> AsyncIterator[VagonComputers]:
    async with VagonComputers(Endpoint(auth=HMACAuth("ak_test_1", "sk_test_1"))) as computers:
        yield computers


async def test_a_post_carries_its_exact_body_and_a_signature(
    wire: aioresponses, computers: VagonComputers
) -> None:
    wire.post(f"{BASE}/machines/100/tasks", payload=DONE, status=400)
    wire.post(f"{BASE}/machines/100/stop", payload=DONE)
    await computers.machines.ref("100").stop(gracefully=True)
    (call,) = wire.requests["POST", URL(f"{BASE}/machines/100/stop")]
    assert json.loads(call.kwargs["data"]) == {"gracefully": True}
    assert call.kwargs["headers"]["Content-Type"] == "application/json"
    scheme, _, fields = call.kwargs["headers"]["Authorization"].partition(" ")
    key, signature, nonce, timestamp = fields.split(":")
    expected = HMACAuth("ak_test_1", "sk_test_1").sign(
        "POST",
        "/organization-management/v1/machines/100/stop",
        int(timestamp),
        nonce,
        call.kwargs["data"],
    )
    assert (scheme, key, signature) == ("HMAC", "ak_test_1", expected)


async def test_a_request_without_a_body_has_no_content_type(
    wire: aioresponses, computers: VagonComputers
) -> None:
    wire.post(f"{BASE}/machines/100/start", payload=DONE)
    await computers.machines.ref("100").start()
    (call,) = wire.requests["POST", URL(f"{BASE}/machines/100/start")]
    assert call.kwargs["data"] is None
    assert "Content-Type" not in call.kwargs["headers"]


@pytest.mark.parametrize(
    ("given", "body"),
    [
        ({"machine_type_id": "5"}, {"machine_type_id": 5}),
        ({"machine_type_id": 5, "region": "dublin"}, {"machine_type_id": 5, "region": "dublin"}),
        ({"region": "dublin"}, {"region": "dublin"}),
    ],
)
async def test_a_start_sends_machine_type_and_region_if_they_are_given(
    wire: aioresponses, computers: VagonComputers, given: dict[str, Any], body: dict[str, Any]
) -> None:
    wire.post(f"{BASE}/machines/100/start", payload=DONE)
    await computers.machines.ref(100).start(**given)
    (call,) = wire.requests["POST", URL(f"{BASE}/machines/100/start")]
    assert json.loads(call.kwargs["data"]) == body
    assert call.kwargs["headers"]["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "given", [{"machine_type_id": "Planet"}, {"machine_type_id": True}, {"region": ""}], ids=str
)
async def test_a_start_with_an_invalid_id_or_region_is_refused(
    wire: aioresponses, computers: VagonComputers, given: dict[str, Any]
) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(given))):
        await computers.machines.ref(100).start(**given)
    assert not wire.requests


async def test_filters_are_written_as_the_document_writes_them(
    wire: aioresponses, computers: VagonComputers
) -> None:
    query = "page=1&q=a%20b%26c&time_left=90&has_session_data=true&assigned=false&status=off"
    url = f"{BASE}/machines?{query}"
    wire.get(URL(url, encoded=True), payload={"machines": [], **DONE})
    found = await computers.machines.list(
        q="a b&c", time_left=5400, has_session_data=True, assigned=False, status="off"
    ).all()
    assert found == []

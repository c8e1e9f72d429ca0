"""Enumerations outside of operations: the SDK knows their names, and the wire shows them."""

from __future__ import annotations

import asyncio
import json
from enum import Enum
from typing import Any

import pytest

from tests.contract.contract_harness import PROVIDERS
from vcloud import APIError, Endpoint, RetryPolicy, VCloud
from vcloud._core.error_for_status import error_for_status
from vcloud.emulator import Emulator, Fault
from vcloud.providers import computers, desktops, streams, streamspace
from vcloud.providers.desktops.actions import ACTIONS

KNOWN: dict[tuple[str, str], set[Any]] = {
    ("streams", "region"): set(streams.Region),
    ("streams", "connection_status"): set(streams.ConnectionStatus),
    ("streams", "machine_type_id"): set(streams.MachineType),
    ("computers", "task_uid_reserved_characters"): set(computers.tasks.RESERVED),
    ("streamspace", "session.state"): set(streamspace.SessionState),
    ("streamspace", "session.initial_state"): set(streamspace.SessionState),
    ("streamspace", "agent.status"): set(streamspace.AgentStatus),
    ("streamspace", "platform"): set(streamspace.Platform),
    ("streamspace", "streaming_protocol"): set(streamspace.StreamingProtocol),
    ("streamspace", "user.role"): set(streamspace.UserRole),
    ("desktops", "action.type"): {action.tag for action in ACTIONS},
    ("desktops", "status"): set(desktops.DesktopStatus),
}
#: Tested elsewhere: transitions with the emulator's sessions, headers with the rate limits, and
#: messages with the WebSockets.
ELSEWHERE = {
    "session.state_transitions",
    "rate_limit_headers",
    "message.type",
    "message.command_type",
    "message.command_result.status",
}


@pytest.mark.parametrize("api", PROVIDERS)
def test_every_enumeration_of_a_document_is_in_the_sdk(api: str) -> None:
    for name, values in PROVIDERS[api].document["enums"].items():
        if name in ELSEWHERE:
            continue
        assert (
            set(values) - {_value(member) for member in KNOWN[PROVIDERS[api].api, name]} == set()
        ), name


def _value(member: object) -> object:
    return member.value if isinstance(member, Enum) else member


async def test_every_region_works_for_stream_machines_and_computers() -> None:
    async with Emulator(speed=100) as emulator, VCloud(**emulator.endpoints()) as cloud:
        application = await cloud.streams.applications.list().first()
        assert application is not None
        capacities = [
            streams.Capacity(region=region, total_capacity=1) for region in streams.Region
        ]
        stream = await cloud.streams.streams.create(
            application.id, capacities=capacities, capacity_type="on_demand"
        )
        machines = await asyncio.gather(
            *[stream.start_machine(region) for region in streams.Region]
        )
        assert [machine.region for machine in machines] == list(streams.Region)
        bought = await asyncio.gather(
            *[cloud.computers.machines.create(1, region=region) for region in streams.Region]
        )
        assert [machine.region for (machine,) in bought] == list(streams.Region)


STREAMSPACE_CODES = [
    entry
    for entry in PROVIDERS["streamspace"].document["codes"]
    if "code" in entry and not str(entry["code"]).isdigit()
]


@pytest.mark.parametrize("entry", STREAMSPACE_CODES, ids=lambda entry: entry["code"])
async def test_every_streamspace_code_is_a_typed_error_with_its_fields(
    entry: dict[str, Any],
) -> None:
    code = next(known for known in streamspace.StreamSpaceCode if known == entry["code"])
    status = entry.get("status") or code.status
    body = {
        "error": "Short",
        "message": "In detail",
        "code": entry["code"],
        "details": {"field": "x"},
        "timestamp": "2025-11-22T10:50:00Z",
        "request_id": "req-abc123",
        "retry_after": 999,
    }
    error = await refused(
        "streamspace", "GET /api/v1/agents/stats", status, json.dumps(body).encode()
    )
    assert type(error) is not APIError
    assert (error.code, error.request_id, error.status) == (code, "req-abc123", status)
    assert error.details == {"field": "x"}
    assert error.timestamp is not None
    assert "In detail" in str(error)


DESKTOP_STATUSES = [
    entry["code"] for entry in PROVIDERS["desktops"].document["codes"] if entry["code"] != 200
]


@pytest.mark.parametrize("status", DESKTOP_STATUSES)
async def test_every_documented_status_of_the_desktop_api_is_a_typed_error_with_a_meaning(
    status: int,
) -> None:
    body = b'{"status":"error","error":"in the service\'s words","docs":"https://docs.example.com"}'
    error = await refused("desktops", "GET /v1/desktop/*", status, body)
    assert type(error) is error_for_status(status)
    assert error.meaning
    assert error.details == {"docs": "https://docs.example.com"}


async def refused(provider: str, route: str, status: int, body: bytes) -> APIError:
    async with Emulator() as emulator:
        emulator.faults.add(
            route, Fault.reply(status, body, content_type="application/json"), times=None
        )
        given: Endpoint = emulator.endpoints()[provider]  # type: ignore[literal-required]
        endpoint = Endpoint(given.base_url, auth=given.auth, retry=RetryPolicy(attempts=1))
        async with PROVIDERS[provider].client_class(endpoint) as client:
            with pytest.raises(APIError) as caught:
                await (
                    client.agents.stats()
                    if provider == "streamspace"
                    else client.get("a1b2c3d4-e5f6-7890-1234-567890abcdef")
                )
    return caught.value

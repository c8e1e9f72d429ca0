"""Every endpoint, parameter, field and enumerated value of the documents crosses a real socket.

Each operation has one scenario, which runs against the emulator while requests and answers are
recorded. A documented name that was not seen fails the test.
"""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.contract.contract_harness import PROVIDERS, Provider, RecordingTransport, leaves, pattern
from vcloud import Endpoint

OPERATIONS = [
    pytest.param(provider, op, id=f"{name}:{op['id']}")
    for name, provider in PROVIDERS.items()
    for op in provider.operations
]


@pytest.mark.parametrize(("provider", "operation"), OPERATIONS)
async def test_all_documented_names_of_an_operation_are_on_the_wire(
    provider: Provider, operation: dict[str, Any]
) -> None:
    exchanges = await _exchanges(provider, operation)
    assert exchanges, "the scenario never made the call"

    queries = {(name, value) for request, _, _ in exchanges for name, value in request.query}
    bodies = {
        (name, _plain(value)) for request, _, _ in exchanges for name, value in leaves(request.body)
    }
    answers = {
        (name, _plain(value))
        for _, status, answer in exchanges
        if status < 300
        for name, value in leaves(answer)
    }

    assert {parameter["name"] for parameter in operation["query"]} - {
        name for name, _ in queries
    } == set()
    assert {field["name"] for field in operation["body_fields"]} - {
        name for name, _ in bodies
    } == set()
    assert set(operation["response_fields"]) - {name for name, _ in answers} == set()
    for name, values in operation["enums"].items():
        where, _, rest = name.partition(".")
        wire = queries if where == "query" else bodies if where == "body" else answers
        field = rest if where in ("query", "body") else name
        given = {value for known, value in wire if known == field}
        assert {_plain(value) for value in values} - given == set(), name


async def _exchanges(provider: Provider, operation: dict[str, Any]) -> list[Any]:
    """What a scenario sends to the operation, and what it receives."""
    transport = RecordingTransport()
    async with provider.emulator(speed=100) as emulator:
        endpoint = cast("dict[str, Endpoint]", emulator.endpoints())[provider.api]
        assert endpoint.base_url is not None
        client = provider.make(transport, base_url=endpoint.base_url, auth=endpoint.auth)
        transport.open()
        try:
            await provider.scenarios[operation["id"]](client, emulator)
        finally:
            await transport.aclose()
    path = pattern(endpoint.base_url, operation["path"])
    return [
        seen
        for seen in transport.exchanges
        if seen[0].method == operation["method"] and path.match(seen[0].path)
    ]


def _plain(value: object) -> object:
    return None if isinstance(value, dict | list) else value

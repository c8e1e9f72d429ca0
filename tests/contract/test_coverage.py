"""Every endpoint, parameter, field and enumerated value of the documents crosses a real socket.

Each operation has one scenario; it runs against the emulator while both sides of the wire are kept. What the document
lists and the wire did not show fails, by name.
"""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.contract.contract_harness import PROVIDERS, Provider, RecordingTransport, leaves, pattern
from vcloud import Endpoint
from vcloud.emulator import Emulator

OPERATIONS = [
    pytest.param(provider, op, id=f"{name}:{op['id']}")
    for name, provider in PROVIDERS.items()
    for op in provider.operations
]


@pytest.mark.parametrize(("provider", "operation"), OPERATIONS)
async def test_everything_documented_of_an_operation_crosses_the_socket(
    provider: Provider, operation: dict[str, Any]
) -> None:
    transport = RecordingTransport()
    async with Emulator(speed=100) as emulator:
        endpoint = cast("dict[str, Endpoint]", emulator.endpoints())[provider.api]
        assert endpoint.base_url is not None
        client = provider.make(transport, base_url=endpoint.base_url, auth=endpoint.auth)
        transport.open()
        try:
            await provider.scenarios[operation["id"]](client, emulator)
        finally:
            await transport.aclose()

    path = pattern(endpoint.base_url, operation["path"])
    exchanges = [
        seen
        for seen in transport.exchanges
        if seen[0].method == operation["method"] and path.match(seen[0].path)
    ]
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


def _plain(value: object) -> object:
    return None if isinstance(value, dict | list) else value

"""Every example of the documents goes through the client: requests out, answers in, strictly."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract.contract_harness import PROVIDERS, CannedTransport, Provider, pattern
from vcloud import VCloudError

OPERATIONS = [
    pytest.param(provider, op, id=f"{name}:{op['id']}")
    for name, provider in PROVIDERS.items()
    for op in provider.operations
]


@pytest.mark.parametrize(("provider", "operation"), OPERATIONS)
async def test_documented_answer_decodes_strictly_and_documented_request_is_sent(
    provider: Provider, operation: dict[str, Any]
) -> None:
    calls = provider.calls[operation["id"]]
    requests = operation["request_examples"]
    assert len(calls) == max(1, len(requests)), "one call for each documented request"
    answers = [answer for answer in operation["responses"] if 200 <= answer["status"] < 300]
    strict = operation["id"] not in provider.drift

    for number, call in enumerate(calls):
        # If the document shows no answer, only the request is compared.
        for answer in answers or [None]:
            body = (
                json.dumps(answer["body"]).encode()
                if answer and answer["body"] is not None
                else b""
            )
            transport = CannedTransport(answer["status"] if answer else 599, body)
            try:
                await call(provider.make(transport, strict=strict))
            except VCloudError:
                if answer is not None:
                    raise
            first = transport.asked[0]
            assert first.method == operation["method"]
            assert pattern(provider.document["base_url"], operation["path"]).match(first.path), (
                first.path
            )
            if requests:
                assert first.body == requests[number]


@pytest.mark.parametrize(
    "provider", [pytest.param(provider, id=name) for name, provider in PROVIDERS.items()]
)
def test_no_operation_is_missing(provider: Provider) -> None:
    documented = {operation["id"] for operation in provider.operations}
    assert set(provider.calls) == documented
    assert set(provider.scenarios) == documented
    assert set(provider.drift) <= documented

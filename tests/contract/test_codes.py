"""Every documented code of an operation becomes a typed error that says what the code means."""

from __future__ import annotations

import json

import pytest

from tests.contract.contract_harness import PROVIDERS, CannedTransport, Provider
from vcloud import APIError, Endpoint, RetryPolicy, VagonCode
from vcloud._core.client import client_with
from vcloud._core.codec import Codec

VAGON = [
    pytest.param(
        provider, operation["id"], entry["code"], id=f"{name}:{operation['id']}:{entry['code']}"
    )
    for name, provider in PROVIDERS.items()
    if name in ("computers", "streams")
    for operation in provider.operations
    for entry in operation["codes"]
    if entry["code"] != 200
]


def _known(code: int) -> VagonCode:
    return next(known for known in VagonCode if known == code)


async def refused(
    provider: Provider,
    operation: str,
    status: int,
    body: object,
    headers: dict[str, str] | None = None,
) -> APIError:
    transport = CannedTransport(status, json.dumps(body).encode(), headers or {})
    endpoint = Endpoint(
        provider.document["base_url"], auth=provider.auth(), retry=RetryPolicy(attempts=1)
    )
    client = client_with(
        provider.client_class, endpoint, transport=transport, codec=Codec(), own=provider.own
    )
    with pytest.raises(APIError) as caught:
        await provider.calls[operation][0](client)
    return caught.value


@pytest.mark.parametrize("http_status", [200, 400], ids=["under HTTP 200", "under HTTP 400"])
@pytest.mark.parametrize(("provider", "operation", "code"), VAGON)
async def test_documented_client_code_is_typed_whatever_the_status(
    provider: Provider, operation: str, code: int, http_status: int
) -> None:
    body = {
        "client_code": code,
        "message": "in the service's words",
        "timestamp": "2026-02-05T10:08:09Z",
    }
    error = await refused(provider, operation, http_status, body)
    assert type(error) is _known(code).error
    assert error.code == code
    assert error.meaning == _known(code).meaning
    assert error.meaning in str(error)
    assert "in the service's words" in str(error)
    assert error.provider == provider.api
    assert error.timestamp is not None

"""The operation of a request is the template of the documents, without ids."""

from __future__ import annotations

import re

import pytest

from tests.contract.contract_harness import PROVIDERS, Provider
from vcloud import Request
from vcloud._core.client import dialect_of
from vcloud._core.observed_call import operation

DOCUMENTED = [
    pytest.param(provider, op["method"], op["path"], id=f"{name}:{op['id']}")
    for name, provider in PROVIDERS.items()
    for op in provider.document["operations"]
]
#: Not in the documents: from Vagon's published client, the published StreamSpace server, and the
#: agent's second WebSocket.
FURTHER = [
    pytest.param(PROVIDERS["computers"], "GET", "/machines/{id}", id="computers:machines.get"),
    pytest.param(PROVIDERS["streamspace"], "POST", "/auth/refresh", id="streamspace:refresh"),
    pytest.param(
        PROVIDERS["streamspace"], "GET", "/agent/vnc/{proxy_id}", id="streamspace:agent.vnc"
    ),
    pytest.param(
        PROVIDERS["streamspace"], "POST", "/agents/{id}/heartbeat", id="streamspace:heartbeat"
    ),
    pytest.param(PROVIDERS["streamspace"], "GET", "/vnc/{name}", id="streamspace:vnc"),
]


@pytest.mark.parametrize(("provider", "method", "template"), [*DOCUMENTED, *FURTHER])
def test_an_operation_is_the_documents_template_whatever_the_ids(
    provider: Provider, method: str, template: str
) -> None:
    expected = re.sub(r"\{\w+\}", "{id}", f"{method} {template}")
    for id in ("100", "770e8400-e29b-41d4-a716-446655440002", "start", "machines", "a%2Fb"):
        request = Request(method, re.sub(r"\{\w+\}", id, template), "page=1")
        assert operation(request, dialect_of(provider.client_class).fixed_paths) == expected

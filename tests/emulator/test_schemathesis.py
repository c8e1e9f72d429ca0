"""Schemathesis sends valid and invalid requests of the API documents to the emulator."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from tests.contract.contract_harness import PROVIDERS
from tests.contract.openapi import openapi
from tests.unit.hostile import STEADY
from vcloud import BearerAuth, Desktops, Request, StreamSpace, VagonComputers, VagonStreams
from vcloud.emulator import Emulator
from vcloud.providers.streams import Capacity

Known = Mapping[str, Sequence[str]]

#: The services that answer 5xx to wrong requests, and what they say then.
FAILURES = {
    # From its published source.
    "desktops": (
        "An unexpected internal server error occurred.",
        "Unexpected error during action execution: Command failed with code ",
        "Action execution failed via gateway: ",
        "Bash command execution failed via gateway: ",
        "Failed to provision via Gateway: ",
    ),
    # Seen on its published server.
    "streamspace-published": (
        "pq: ",
        "Failed to create user",
        "Failed to create session",
        "Failed to deregister agent",
        "Agent not connected",
        "No agents available",
    ),
}


async def _computers(endpoint: Any) -> Known:
    async with VagonComputers(endpoint) as cloud:
        machines = await cloud.machines.list().all()
        tasks = await machines[0].tasks.list().all()
        return {"id": [machine.id for machine in machines], "task_id": [task.id for task in tasks]}


async def _streams(endpoint: Any) -> Known:
    async with VagonStreams(endpoint) as cloud:
        applications = await cloud.applications.list().all()
        made = await cloud.streams.create(
            applications[0].id, capacities=[Capacity("dublin", 5)], capacity_type="on_demand"
        )
        machine = await made.start_machine("dublin")
        user = await cloud.users.create("visitor@example.com")
        return {
            "application_id": [application.id for application in applications],
            "stream_id": [made.id],
            "stream_uid": [made.uid or ""],
            "machine_uid": [machine.uid or ""],
            "user_id": [user.id],
        }


async def _streamspace(endpoint: Any) -> Known:
    async with StreamSpace(endpoint) as cloud:
        made = [await cloud.sessions.create("admin", "firefox-browser") for _ in range(2)]
        agents = await cloud.agents.list().all()
        templates = await cloud.templates.list().all()
        return {
            "session_id": [session.id for session in made],
            "agent_id": [agent.agent_id for agent in agents],
            "template_name": [template.name for template in templates],
        }


async def _streamspace_published(endpoint: Any) -> Known:
    async with StreamSpace(endpoint, dialect="published") as cloud:
        made = [await cloud.sessions.create("admin", "firefox-browser") for _ in range(2)]
        agents = await cloud.agents.list().all()
        templates = await cloud.templates.list().all()
        names = [session.name or "" for session in made]
        return {
            # One name for two things, in different paths.
            "name": [*names, *(template.name for template in templates)],
            "agentId": [agent.agent_id for agent in agents],
        }


async def _desktops(endpoint: Any) -> Known:
    async with Desktops(endpoint) as cloud:
        return {"id": [(await cloud.launch()).id for _ in range(3)]}


THERE: Mapping[str, Callable[[Any], Any]] = {
    "computers": _computers,
    "streams": _streams,
    "streamspace": _streamspace,
    "streamspace-published": _streamspace_published,
    "desktops": _desktops,
}


def _signing(endpoint: Any) -> Callable[[Any], Any]:
    """Signs the requests of the `requests` library."""
    auth = endpoint.auth
    if isinstance(auth, BearerAuth):
        # A token for each operation, because logging out revokes it.
        async def token() -> str:
            async with StreamSpace(endpoint) as cloud:
                return (await cloud.login()).token

        auth = BearerAuth(asyncio.run(token()))

    def sign(prepared: Any) -> Any:
        path = urlsplit(prepared.url).path
        body = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body
        request = Request(prepared.method, path, body=body)
        prepared.headers.update(
            auth.headers(request, path, now=time.time(), nonce=os.urandom(8).hex())
        )
        return prepared

    return sign


@pytest.mark.parametrize("api", PROVIDERS)
def test_the_emulator_answers_every_generated_request(api: str) -> None:
    provider = PROVIDERS[api]
    dialect = provider.dialect or "documented"
    with Emulator(machines=3, rate_limits=False, speed=100, streamspace=dialect) as emulator:
        endpoint: Any = emulator.endpoints()[provider.api]  # type: ignore[literal-required]
        known = asyncio.run(THERE[api](endpoint))
        for operation in _operations(openapi(provider, known)):
            # Operations without anything that can be wrong are left out.
            wrong = [GenerationMode.NEGATIVE] * bool(operation.body or operation.query)
            _play(api, endpoint, operation, [GenerationMode.POSITIVE, *wrong])
        for operation in _operations(openapi(provider)):
            if operation.path_parameters:
                _play(api, endpoint, operation, [GenerationMode.POSITIVE])
        statuses = Counter(call.status for call in emulator.calls)
    assert statuses[200] + statuses[204] > 10, "not everything was refused"
    assert statuses[400] > 20, "nor accepted"
    assert statuses[None] == 0, "and all was answered"


def _operations(document: dict[str, Any]) -> list[Any]:
    found: list[Any] = [*schemathesis.openapi.from_dict(document).get_all_operations()]
    return [operation.ok() for operation in found]


def _play(api: str, endpoint: Any, operation: Any, modes: Sequence[GenerationMode]) -> None:
    sign = _signing(endpoint)
    for mode in modes:

        @settings(STEADY, max_examples=8, suppress_health_check=list(HealthCheck))
        @given(operation.as_strategy(generation_mode=mode))
        def play(case: Any) -> None:
            answer = case.call(base_url=endpoint.base_url, auth=sign)
            if answer.status_code >= 500:
                said = json.loads(answer.content)
                assert said["error"].startswith(FAILURES.get(api, ())), said

        play()

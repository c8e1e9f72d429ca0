"""Canaries in place of the secrets of a published StreamSpace are found nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve

from tests.contract.contract_harness import PROVIDERS
from tests.secrets.sniffing import CANARY, Listener, leaks_below, leaks_in
from vcloud import RetryPolicy
from vcloud.emulator import Credentials, Emulator, Fault
from vcloud.providers.streamspace import StreamSpace

PASSWORD = f'{CANARY}-"password"\\-é&1'
FAULTS = Fault.catalogue(seconds=0.3, size=200_000)


@pytest.fixture(autouse=True)
def listener() -> Iterator[Listener]:
    """Of every logger, at every level."""
    listener = Listener()
    with listener.everywhere():
        yield listener
    assert not listener.found[:5]


async def outcome(call: Any, client: StreamSpace) -> object:
    try:
        return await call(client)
    except Exception as error:
        return error


@pytest.mark.parametrize("fault", [None, *FAULTS])
async def test_no_published_operation_shows_a_secret_however_it_fails(fault: str | None) -> None:
    credentials = evolve(Credentials.drawn(), streamspace_password=PASSWORD)
    calls = [call for each in PROVIDERS["streamspace-published"].calls.values() for call in each]
    async with Emulator(
        streamspace="published", rate_limits=False, credentials=credentials
    ) as emulator:
        endpoint = evolve(
            emulator.endpoints()["streamspace"],
            timeout=0.2,
            deadline=5.0,
            retry=RetryPolicy(attempts=1, base=0.001),
            max_response=64 * 1024,
            max_pages=5,
        )
        async with StreamSpace(endpoint) as client:
            if fault is not None:
                # With a token, what follows gets beyond the login.
                await client.with_options(timeout=20).users.list().first()
                emulator.faults.add("*", FAULTS[fault], times=None)
            ended = await asyncio.gather(*[outcome(call, client) for call in calls])
            # An agent's key is what its caller asked for.
            failed = [one for one in ended if isinstance(one, BaseException)]
            assert not [hit for one in failed for hit in leaks_in(one)][:5]
            assert not leaks_below(client)[:5]

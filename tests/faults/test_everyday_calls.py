"""Pings, searches, the first items and handles by key, under every fault.

They send the requests of endpoints that the matrix has. What is theirs is checked here: a ping
raises nothing that a provider does, the others end as any call does, and the client works
afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from attrs import evolve

from vcloud import (
    Instance,
    InstanceRef,
    InstanceState,
    OutcomeStatus,
    RateLimitError,
    RetryPolicy,
    VCloud,
    VCloudError,
)
from vcloud.emulator import Emulator, Fault

FAULTS = Fault.catalogue(seconds=0.5, size=200_000)
#: No call may last longer, however often its pages are endless: it would not be one.
BOUND = 20.0


async def outcome(call: Callable[[], Awaitable[object]]) -> object:
    try:
        async with asyncio.timeout(BOUND):
            return await call()
    except VCloudError as error:
        return error


async def waits(instance: InstanceRef) -> object:
    return await instance.wait_until(InstanceState.RUNNING, timeout=0.3, poll=0.05)


@pytest.mark.parametrize("fault", FAULTS)
async def test_everyday_calls_end_as_any_call_does(fault: str) -> None:
    async with Emulator(machines=3, sessions=1, desktops=1, rate_limits=False) as emulator:
        keys = [
            "computers/100",
            f"streams/{emulator.streams.add_machine(1381).id}",
            f"streamspace/{next(iter(emulator.streamspace.sessions))}",
            f"desktops/{next(iter(emulator.desktops.desktops))}",
        ]
        given: dict[str, Any] = dict(emulator.endpoints())
        bounds = {"timeout": 0.2, "deadline": 3.0, "max_pages": 5, "max_response": 64 * 1024}
        once = RetryPolicy(attempts=1, base=0.001)
        ends = {name: evolve(one, retry=once, **bounds) for name, one in given.items()}
        async with VCloud(**ends) as cloud:
            await cloud.streamspace.with_options(timeout=20).agents.stats()
            rule = emulator.faults.add("*", FAULTS[fault], times=None)
            pings = await cloud.ping(timeout=3)
            assert list(pings) == list(cloud.configured)
            for ping in pings.values():
                assert (ping.status == OutcomeStatus.DONE) is (ping.error is None)
                if ping.error is not None:
                    assert isinstance(ping.error, VCloudError)
                    assert not ping.error.outcome_unknown, "it only reads"
            machines = cloud.computers.machines
            ended = await asyncio.gather(
                outcome(lambda: machines.find(name="Computer #102")),
                outcome(lambda: machines.list().take(2)),
                *[outcome(cloud.instance(key).refresh) for key in keys],
                *[outcome(partial(waits, cloud.instance(key))) for key in keys[1:]],
            )
            assert not [
                one for one in ended if isinstance(one, VCloudError) and one.outcome_unknown
            ]
            rule.remove()
            usual = cloud.with_options(timeout=20, deadline=60, retry=RetryPolicy())
            after = await outcome(usual.instance(keys[0]).refresh)
            if fault == "too_many_long":
                assert isinstance(after, RateLimitError), "the service said to come back later"
            else:
                assert isinstance(after, Instance)
                assert after.id == "100"
            assert not any(one.in_flight or one.waiting for one in cloud.stats().values())

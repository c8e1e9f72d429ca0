"""What a type checker knows of the facade and of bulk runs. mypy and pyright read this only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import assert_type

from vcloud import (
    Attempt,
    Bulk,
    Desktops,
    Endpoint,
    HMACAuth,
    Instance,
    Instances,
    InstanceState,
    Outcome,
    OutcomeStatus,
    Stats,
    StreamSpace,
    Totals,
    VagonComputers,
    VagonStreams,
    VCloud,
    VCloudError,
    WaitReason,
)
from vcloud.providers.computers import Machine, MachineRef


async def facade() -> None:
    assert_type(VCloud.from_env(), VCloud)
    async with VCloud(computers=Endpoint(auth=HMACAuth("key", "secret"))) as cloud:
        assert_type(cloud, VCloud)
        assert_type(cloud.streams, VagonStreams)
        assert_type(cloud.computers, VagonComputers)
        assert_type(cloud.streamspace, StreamSpace)
        assert_type(cloud.desktops, Desktops)
        assert_type(cloud.instances(), Instances)
        assert_type(cloud.computers.with_options(timeout=5), VagonComputers)
        stats = cloud.computers.stats()
        assert_type(stats, Stats)
        assert_type(stats.in_flight, int)
        assert_type(stats.waiting, int)
        assert_type(stats.waiting_for, Mapping[WaitReason, int])
        assert_type(stats.free, int)
        assert_type(stats.paused_until, datetime | None)
        async for instance in cloud.instances():
            assert_type(instance, Instance)
            assert_type(instance.id, str)
            assert_type(instance.state, InstanceState)


async def stop(machine: Machine) -> None:
    await machine.stop()


async def set_threshold(machine: MachineRef) -> Machine:
    return await machine.update(auto_stop_threshold=60)


async def bulk(cloud: VCloud) -> None:
    async with cloud.bulk(cloud.computers.machines.list(), stop) as run:
        assert_type(run, Bulk[Machine, None])
        async for outcome in run:
            assert_type(outcome, Outcome[Machine, None])
            assert_type(outcome.item, Machine)
            assert_type(outcome.status, OutcomeStatus)
    assert_type(await cloud.bulk([cloud.computers.machines.ref("1")], set_threshold).run(), Totals)
    async with cloud.bulk([cloud.computers.machines.ref("1")], set_threshold) as changed:
        async for each in changed:
            assert_type(each, Outcome[MachineRef, Machine])
            assert_type(each.result, Machine | None)


def errors(error: VCloudError, attempt: Attempt) -> None:
    assert_type(error.outcome_unknown, bool)
    assert_type(attempt.duration, float | None)
    assert_type(attempt.retry_in, float | None)

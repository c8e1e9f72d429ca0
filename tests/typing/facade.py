"""What a type checker knows of the facade, endpoints and lists. mypy and pyright read this only."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, assert_type

from aiohttp import ClientSession

import vcloud
from vcloud import (
    Auth,
    Capabilities,
    Controllable,
    DecodeError,
    Desktops,
    Endpoint,
    EndpointOptions,
    HMACAuth,
    Instance,
    InstanceRef,
    Instances,
    InstanceState,
    Items,
    Observer,
    OpenEnum,
    Outcome,
    Page,
    Pager,
    Pages,
    RateLimit,
    RetryPolicy,
    SharedBudget,
    Stats,
    StreamSpace,
    Taken,
    VagonComputers,
    VagonStreams,
    VCloud,
    VCloudError,
    WaitReason,
)
from vcloud.providers.computers import Machine, MachineRef, MachineStatus
from vcloud.providers.desktops import DesktopRef
from vcloud.providers.streams import KeyMapping, StreamMachineRef
from vcloud.providers.streamspace import SessionRef, SessionSort, SortOrder


async def facade(session: ClientSession) -> None:
    assert_type(VCloud.from_env(), VCloud)
    assert_type(VCloud.from_env({"VCLOUD_DESKTOPS_API_KEY": "key"}, client_session=session), VCloud)
    async with VCloud(computers=Endpoint(auth=HMACAuth("key", "secret"))) as cloud:
        assert_type(cloud, VCloud)
        assert_type(cloud.streams, VagonStreams)
        assert_type(cloud.computers, VagonComputers)
        assert_type(cloud.streamspace, StreamSpace)
        assert_type(cloud.desktops, Desktops)
        assert_type(cloud.instances(), Instances)
        assert_type(cloud.instances(timeout=timedelta(seconds=5)), Instances)
        assert_type(cloud.configured, tuple[str, ...])
        assert_type(cloud.with_options(timeout=5, deadline=9, retry=RetryPolicy()), VCloud)
        assert_type(await cloud.ping(timeout=5), dict[str, Outcome[str, None]])
        assert_type(cloud.stats(), Mapping[str, Stats])
        assert_type(await cloud.aopen(), VCloud)
        assert_type(await cloud.aclose(), None)


async def options(observer: Observer, endpoint: Endpoint, session: ClientSession) -> None:
    """Options of an Endpoint are named, typed arguments wherever they are taken."""
    limits: EndpointOptions = {"rate_limits": [RateLimit(5, per=1)], "timeout": 5}
    assert_type(VCloud.from_env(deadline=10, computers=limits, observers=[observer]), VCloud)
    assert_type(VCloud.from_env(computers={"timeout": timedelta(seconds=5)}), VCloud)
    assert_type(Endpoint.from_env("computers", deadline=10), Endpoint)
    assert_type(VagonComputers.from_env({}, client_session=session, timeout=5), VagonComputers)
    auth = HMACAuth("key", "secret")
    assert_type(VagonComputers(auth=auth, client_session=session), VagonComputers)
    assert_type(StreamSpace("https://h/api/v1", auth=auth, timeout=5, concurrency=3), StreamSpace)
    assert_type(VagonComputers(endpoint, client_session=session), VagonComputers)
    assert_type(VagonComputers(endpoint=endpoint), VagonComputers)
    assert_type(await VagonComputers(endpoint).ping(timeout=5), None)
    # A wrong keyword, a wrong value, an Endpoint with what it has, and no credentials.
    Desktops(auth=auth, time_out=5)  # type: ignore[call-overload]
    Desktops(auth=auth, timeout="5")  # type: ignore[call-overload]
    Desktops(endpoint, timeout=5)  # type: ignore[call-overload]
    Desktops("https://h")  # type: ignore[call-overload]
    VCloud.from_env(computers={"time_out": 5})  # type: ignore[arg-type]
    VCloud.from_env(time_out=5)  # type: ignore[call-arg]


async def instances(cloud: VCloud) -> None:
    every = cloud.instances().prefetch(2)
    assert_type(every, Instances)
    assert_type(await every.all(), list[Instance])
    assert_type(every.errors, dict[str, VCloudError])
    assert_type(await every.aclose(), None)
    async for instance in every:
        assert_type(instance, Instance)
        assert_type(instance.resource, Controllable)


async def one_instance(cloud: VCloud) -> None:
    instance = cloud.instance("computers/100")
    assert_type(instance, InstanceRef)
    assert_type(cloud.instance("computers", 100), InstanceRef)
    assert_type(instance.provider, str)
    assert_type(instance.id, str)
    assert_type(instance.key, str)
    assert_type(instance.resource, Controllable)
    assert_type(instance.resource.to_dict(), dict[str, Any])
    assert_type(instance.capabilities, Capabilities)
    assert_type(await instance.start(), None)
    assert_type(await instance.stop(), None)
    assert_type(await instance.hibernate(), None)
    assert_type(await instance.wake(), None)
    assert_type(await instance.connect_url(), str)
    assert_type(await instance.refresh(), Instance)
    assert_type(await instance.wait_until(InstanceState.RUNNING), Instance)
    assert_type(await instance.wait_until("running", timeout=60, poll=1), Instance)
    stopped = {InstanceState.STOPPED, InstanceState.FAILED}
    assert_type(await instance.wait_until(stopped), Instance)


def capabilities(can: Capabilities) -> None:
    assert_type(can.start, bool)
    assert_type(can.stop, bool)
    assert_type(can.hibernate, bool)
    assert_type(can.wake, bool)
    assert_type(can.connect, bool)
    assert_type(can.stop_is_final, bool)
    assert_type(can.stop_loses_disk, bool)


async def handles(
    machine: MachineRef, desktop: DesktopRef, streamed: StreamMachineRef, session: SessionRef
) -> None:
    for handle in (machine, desktop, streamed, session):
        assert_type(handle.as_instance(), InstanceRef)
        assert_type(handle.capabilities, Capabilities)
    assert_type((await machine.refresh()).as_instance(), Instance)
    assert_type((await desktop.refresh()).as_instance(), Instance)
    assert_type((await streamed.refresh()).as_instance(), Instance)
    assert_type((await session.refresh()).as_instance(), Instance)
    assert_type(await machine.wait_until(InstanceState.RUNNING), Machine)


async def lists(pager: Pager[Machine], pages: Pages[Machine], error: Exception) -> None:
    assert_type(pager.pages(), Pages[Machine])
    assert_type(pager.prefetch(2), Pager[Machine])
    assert_type(pager.map(lambda machine: machine.name), Pager[str])
    assert_type(pager.take(3), Taken[Machine])
    assert_type(await pager.take(3), list[Machine])
    assert_type(await pager.take(3).all(), list[Machine])
    assert_type(await pager.first(), Machine | None)
    assert_type(await pager.all(), list[Machine])
    items = aiter(pager)
    assert_type(items, Items[Machine])
    assert_type(await anext(items), Machine)
    assert_type(items.keep_readable(error), bool)
    assert_type(await items.aclose(), None)
    assert_type(await anext(pages), Page[Machine])
    assert_type(pages.number, int | None)
    assert_type(await pages.aclose(), None)
    if pages.passed(error):
        assert_type(error, DecodeError)
    async for page in pages:
        assert_type(page, Page[Machine])
        assert_type(page.items, tuple[Machine, ...])
        assert_type(page.number, int)
        assert_type(page.total, int | None)
        assert_type(page.next, int | None)
        assert_type(page.last, int | None)
        assert_type(page.error, DecodeError | None)
        assert_type(page.unread, int)


def controllable(
    machine: MachineRef, desktop: DesktopRef, streamed: StreamMachineRef, session: SessionRef
) -> tuple[Controllable, ...]:
    """Handles of every provider can be stopped in the same way."""
    return machine, desktop, streamed, session


def endpoints(context: ssl.SSLContext, budget: SharedBudget) -> None:
    endpoint = Endpoint(
        "https://gateway.example",
        auth=HMACAuth("key", "secret"),
        timeout=timedelta(seconds=5),
        deadline=60,
        retry=RetryPolicy(attempts=2, base=timedelta(seconds=1)),
        rate_limits=[RateLimit(100, timedelta(minutes=1))],
        shared_budget=budget,
        ssl=context,
    )
    assert_type(endpoint.timeout, float)
    assert_type(endpoint.connect_timeout, float)
    assert_type(endpoint.deadline, float | None)
    assert_type(endpoint.cleanup_timeout, float)
    assert_type(endpoint.concurrency, int)
    assert_type(endpoint.retry, RetryPolicy)
    assert_type(endpoint.auth, Auth)
    assert_type(endpoint.base_url, str | None)
    assert_type(endpoint.rate_limits, tuple[RateLimit, ...])
    assert_type(endpoint.shared_budget, SharedBudget | None)
    assert_type(endpoint.observers, tuple[Observer, ...])
    assert_type(endpoint.max_response, int)
    assert_type(endpoint.max_message, int)
    assert_type(endpoint.max_pages, int)
    assert_type(endpoint.ssl, ssl.SSLContext | None)
    assert_type(endpoint.verify, bool)
    assert_type(endpoint.heartbeat, float)
    assert_type(endpoint.proxy, str | None)
    assert_type(endpoint.allow_http, bool)
    assert_type(endpoint.retry.backoff(1, 0.5), float)


async def shared(endpoint: Endpoint) -> None:
    assert_type(
        SharedBudget("redis://localhost", account="team", when_away="unshared"), SharedBudget
    )
    assert_type(await SharedBudget("redis://localhost", account="team").aclose(), None)


def values_that_are_not_known(text: str) -> None:
    """A value of a service that this SDK does not know is a member of its enumeration too."""
    assert_type(MachineStatus(text), MachineStatus)
    assert_type(MachineStatus(text).known, bool)
    known: tuple[type[OpenEnum], ...] = (
        KeyMapping,
        MachineStatus,
        SessionSort,
        SortOrder,
    )
    assert_type([kind(text).known for kind in known], list[bool])
    assert_type(vcloud.__version__, str)


def instance_fields(value: Instance) -> None:
    assert_type(value.provider, str)
    assert_type(value.id, str)
    assert_type(value.name, str)
    assert_type(value.state, InstanceState)
    assert_type(value.region, str | None)
    assert_type(value.started_at, datetime | None)
    assert_type(value.resource, Controllable)


def stats_fields(value: Stats) -> None:
    assert_type(value.in_flight, int)
    assert_type(value.waiting, int)
    assert_type(value.waiting_for, Mapping[WaitReason, int])
    assert_type(value.free, int)
    assert_type(value.paused_until, datetime | None)


def retry_policy_fields(value: RetryPolicy) -> None:
    assert_type(value.attempts, int)
    assert_type(value.base, float)
    assert_type(value.cap, float)
    assert_type(value.max_retry_after, float)


def rate_limit_fields(value: RateLimit) -> None:
    assert_type(value.requests, int)
    assert_type(value.per, float)
    assert_type(value.bucket, str)

"""The facade over all four providers: one session, one view, and errors kept apart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from vcloud import (
    APIKeyAuth,
    AuthenticationError,
    ConfigurationError,
    ConflictError,
    Controllable,
    Endpoint,
    InstanceState,
    RetryPolicy,
    VCloud,
)
from vcloud._core.client import session_of
from vcloud.emulator import Emulator, Fault
from vcloud.providers.computers import Machine
from vcloud.providers.desktops import Desktop
from vcloud.providers.streamspace import Session, UnrecognisedError

POLL = 0.005


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(speed=300) as emulator:
        yield emulator


async def everything_running(cloud: VCloud) -> None:
    """One of each, running."""
    (machine,) = await cloud.computers.machines.create(1, region="dublin")
    await machine.wait_until("off", poll=POLL)
    await machine.start()
    await machine.wait_until("ready", poll=POLL)
    application = await cloud.streams.applications.list().first()
    assert application is not None
    stream = await cloud.streams.streams.list(application.id).first()
    assert stream is not None
    await (await stream.start_machine("dublin")).wait_until("available", poll=POLL)
    await (await cloud.streamspace.sessions.create("admin", "firefox-browser")).wait_until(
        "running", poll=POLL
    )
    await (await cloud.desktops.launch()).wait_until("running", poll=POLL)


async def test_instances_shows_what_runs_everywhere_in_one_vocabulary(emulator: Emulator) -> None:
    async with VCloud(**emulator.endpoints()) as cloud:
        await everything_running(cloud)
        found = cloud.instances()
        instances = await found.all()
        assert found.errors == {}
        running = {
            instance.provider for instance in instances if instance.state is InstanceState.RUNNING
        }
        assert running == {"computers", "streams", "streamspace", "desktops"}
        for instance in instances:
            assert isinstance(instance.resource, Controllable)
            assert instance.resource.id == instance.id  # type: ignore[attr-defined]
            assert instance.name
            # StreamSpace's list leaves out when a session was started.
            if instance.state is InstanceState.RUNNING and instance.provider != "streamspace":
                assert instance.started_at is not None


async def test_whatever_it_is_it_can_be_waited_for_and_stopped(emulator: Emulator) -> None:
    words = {"computers": "ready", "streams": "available"}
    async with VCloud(**emulator.endpoints()) as cloud:
        await everything_running(cloud)
        for instance in await cloud.instances().all():
            running = words.get(instance.provider, "running")
            waited = await instance.resource.wait_until(running, timeout=0)
            assert waited.id == instance.id  # type: ignore[attr-defined]
            await instance.resource.stop()
        await asyncio.sleep(0.1)
        async for instance in cloud.instances():
            assert instance.state in {InstanceState.STOPPED, InstanceState.STOPPING}, instance


async def test_a_resource_with_its_own_link_can_be_opened(emulator: Emulator) -> None:
    async with VCloud(**emulator.endpoints()) as cloud:
        await everything_running(cloud)
        opened = set()
        for instance in await cloud.instances().all():
            if isinstance(instance.resource, Machine | Session | Desktop):
                url = await instance.resource.connect_url()
                assert "://" in url
                assert url not in repr(instance)
                opened.add(instance.provider)
        assert opened == {"computers", "streamspace", "desktops"}


async def test_only_what_can_be_controlled_is_controllable(emulator: Emulator) -> None:
    async with VCloud(**emulator.endpoints()) as cloud:
        for controllable in (
            cloud.computers.machines.ref("1"),
            cloud.streams.machines.ref("1"),
            cloud.streamspace.sessions.ref("1"),
            cloud.desktops.ref("1"),
        ):
            assert isinstance(controllable, Controllable)
        for other in (
            cloud,
            cloud.computers,
            cloud.computers.machines.ref("1").tasks.ref("1"),
            cloud.streams.streams.ref("1"),
            cloud.streams.applications.ref("1"),
            cloud.streams.users.ref("1"),
            cloud.streamspace.agents.ref("1"),
            cloud.streamspace.templates.ref("1"),
            cloud.desktops,
        ):
            assert not isinstance(other, Controllable), other


async def test_starting_the_resources_of_instances_starts_nothing_else(emulator: Emulator) -> None:
    async with VCloud(**emulator.endpoints()) as cloud:
        await everything_running(cloud)
        before = len(emulator.computers.machines), len(emulator.streams.machines)
        for instance in await cloud.instances().all():
            if start := getattr(instance.resource, "start", None):
                with pytest.raises(ConflictError):  # it runs already
                    await start()
        assert (len(emulator.computers.machines), len(emulator.streams.machines)) == before


async def test_one_failing_provider_hides_no_other_and_its_error_is_reported(
    emulator: Emulator,
) -> None:
    endpoints = emulator.endpoints()
    endpoints["streamspace"] = Endpoint(
        "http://127.0.0.1:9/api/v1",
        auth=endpoints["streamspace"].auth,
        retry=RetryPolicy(attempts=1),
    )
    emulator.faults.add(
        "GET /app-stream-management/*",
        Fault.reply(401, b'{"client_code":401,"message":"no"}'),
        times=None,
    )
    async with VCloud(**endpoints) as cloud:
        await cloud.computers.machines.create(1, region="dublin", quantity=3)
        found = cloud.instances()
        assert [instance.provider async for instance in found] == ["computers"] * 3
        assert {name: type(error) for name, error in found.errors.items()} == {
            "streams": AuthenticationError,
            "streamspace": UnrecognisedError,
        }


async def test_a_slow_provider_does_not_delay_the_others(emulator: Emulator) -> None:
    emulator.faults.add("GET /organization-management/*", Fault.delay(0.2))
    async with VCloud(**emulator.endpoints()) as cloud:
        await cloud.computers.machines.create(1, region="dublin")
        await cloud.streamspace.sessions.create("admin", "firefox-browser")
        assert [instance.provider async for instance in cloud.instances()] == [
            "streamspace",
            "computers",
        ]


async def test_an_abandoned_or_cancelled_listing_leaves_nothing_behind(emulator: Emulator) -> None:
    emulator.faults.add("GET *", Fault.delay(0.05), times=None)
    async with VCloud(**emulator.endpoints()) as cloud:
        before = asyncio.all_tasks()
        task = asyncio.create_task(cloud.instances().all())
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        ours = [task for task in asyncio.all_tasks() - before if "Pages" in repr(task)]
        assert ours == []


async def test_listing_everything_through_a_client_that_is_not_open_says_so(
    emulator: Emulator,
) -> None:
    with pytest.raises(ConfigurationError, match="async with"):
        await VCloud(**emulator.endpoints()).instances().all()


async def test_all_providers_share_one_aiohttp_session(emulator: Emulator) -> None:
    async with VCloud(**emulator.endpoints()) as cloud:
        transports = {
            id(session_of(client).transport)
            for client in (cloud.computers, cloud.streams, cloud.streamspace, cloud.desktops)
        }
        assert len(transports) == 1


async def test_stats_has_the_numbers_of_each_configured_provider(emulator: Emulator) -> None:
    endpoints = emulator.endpoints()
    emulator.faults.add("GET /organization-management/*", Fault.delay(0.2))
    async with VCloud(computers=endpoints["computers"], streams=endpoints["streams"]) as cloud:
        listing = asyncio.create_task(cloud.computers.machines.list().all())
        await asyncio.sleep(0.1)
        in_flight = {name: stats.in_flight for name, stats in cloud.stats().items()}
        assert in_flight == {"computers": 1, "streams": 0}
        await listing


async def test_a_provider_that_was_left_out_says_what_to_set() -> None:
    cloud = VCloud(desktops=Endpoint(auth=APIKeyAuth("key")))
    for name, variables in (
        ("streams", "VCLOUD_STREAMS_KEY and VCLOUD_STREAMS_SECRET"),
        ("computers", "VCLOUD_COMPUTERS_KEY and VCLOUD_COMPUTERS_SECRET"),
        (
            "streamspace",
            "VCLOUD_STREAMSPACE_URL and VCLOUD_STREAMSPACE_TOKEN or VCLOUD_STREAMSPACE_USERNAME",
        ),
    ):
        with pytest.raises(ConfigurationError, match=f"{name} is not configured.*{variables}"):
            getattr(cloud, name)


async def test_the_emulators_environment_configures_all_four(emulator: Emulator) -> None:
    async with VCloud.from_env(emulator.env()) as cloud:
        assert repr(cloud) == "<VCloud with streams, computers, streamspace, desktops>"
        await everything_running(cloud)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"VCLOUD_STREAMSPACE_TOKEN": "t"}, "VCLOUD_STREAMSPACE_URL must be set too"),
        ({"VCLOUD_STREAMSPACE_USERNAME": "admin"}, "VCLOUD_STREAMSPACE_PASSWORD must be set too"),
        ({"VCLOUD_STREAMS_KEY": "k"}, "VCLOUD_STREAMS_SECRET must be set too"),
    ],
)
def test_missing_variables_of_a_provider_are_named(environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        VCloud.from_env(environ)


async def test_five_hundred_tasks_without_a_token_log_in_once_through_the_whole_stack() -> None:
    async with Emulator(rate_limits=False) as emulator, VCloud(**emulator.endpoints()) as cloud:
        await asyncio.gather(*[cloud.streamspace.agents.stats() for _ in range(500)])
        logins = [call for call in emulator.calls if call.path.endswith("/auth/login")]
        assert len(logins) == 1
        assert len(emulator.calls) == 501

"""Calls that end while they have no connection yet: nothing is sent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

import aiohttp
import attrs
import pytest

from tests.integration.silent_peers import Resolver, desktops_url, full, silence
from tests.unit.streamspace_samples import ID
from vcloud import (
    APIKeyAuth,
    ConfigurationError,
    Endpoint,
    HMACAuth,
    OutcomeStatus,
    VCloud,
)
from vcloud.emulator import Emulator


@pytest.mark.parametrize("own", [True, False], ids=["own session", "given session"])
async def test_a_cancelled_start_without_a_connection_is_not_reported_as_unknown(
    own: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        contextlib.nullcontext() if own else aiohttp.ClientSession() as session,
        full() as port,
    ):
        endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", auth=HMACAuth("ak", "sk"))
        async with VCloud(computers=endpoint, client_session=session) as cloud:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await cloud.computers.machines.ref("100").start()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_cancelled_launch_without_a_connection_leaves_no_desktop() -> None:
    async with full() as port:
        endpoint = Endpoint(
            f"http://127.0.0.1:{port}",
            auth=APIKeyAuth("key"),
            connect_timeout=60,
            timeout=60,
            cleanup_timeout=0.3,
        )
        async with VCloud(desktops=endpoint) as cloud:
            launch = asyncio.create_task(cloud.desktops.launch())
            await asyncio.sleep(0.1)
            launch.cancel()
            # Not a CleanupError, which would mean that there may be a desktop.
            with pytest.raises(asyncio.CancelledError):
                await launch


@pytest.mark.parametrize("own", [True, False], ids=["own session", "given session"])
@pytest.mark.parametrize("bulk", [True, False], ids=["a run", "a call"])
async def test_a_launch_without_a_connection_is_not_sent_after_it_was_cancelled(
    own: bool, bulk: bool, resolver: Resolver
) -> None:
    async with contextlib.nullcontext() if own else aiohttp.ClientSession() as session:
        async with Emulator(allow_hosts=["desk.example"]) as emulator:
            endpoint = attrs.evolve(
                emulator.endpoints()["desktops"],
                base_url=desktops_url(emulator).replace("127.0.0.1", "desk.example"),
                allow_http=True,
            )
            async with VCloud(desktops=endpoint, client_session=session) as cloud:
                run = cloud.bulk(range(2), lambda _: cloud.desktops.launch(), deadline=0.1)
                work = run.run() if bulk else cloud.desktops.launch()
                launch = asyncio.create_task(work)
                while not resolver.asked:  # noqa: ASYNC110 - a thread sets it
                    await asyncio.sleep(0.01)
                if not bulk:
                    launch.cancel()
                await asyncio.sleep(0.2)
                assert launch.done() or not own
                resolver.answers.set()
                await asyncio.wait({launch})
                assert not emulator.calls
                if bulk:
                    assert (run.totals.undone, run.totals.unknown) == (2, 0)
                else:
                    assert launch.cancelled()


async def test_a_call_whose_client_is_closed_during_the_lookup_says_so(
    resolver: Resolver,
) -> None:
    endpoint = Endpoint("http://slow.example:1", auth=APIKeyAuth("key"), allow_http=True)
    async with VCloud(desktops=endpoint) as cloud:
        call = asyncio.create_task(cloud.desktops.get(ID))
        while not resolver.asked:  # noqa: ASYNC110 - a thread sets it
            await asyncio.sleep(0.01)
        await cloud.aclose()
        with pytest.raises(ConfigurationError, match="this client is closed"):
            await call


@pytest.mark.usefixtures("resolver")
@pytest.mark.parametrize("what", ["a name", "a SYN"])
async def test_a_run_whose_deadline_passes_before_there_is_a_connection_leaves_items_undone(
    what: str,
) -> None:
    async with silence(what) as (url, options, _):
        endpoint = Endpoint(url, auth=APIKeyAuth("key"), **options)
        async with VCloud(desktops=endpoint) as cloud:
            async with cloud.bulk(
                [ID, ID.replace("0", "1")],
                lambda name: cloud.desktops.ref(name).stop(),
                deadline=0.3,
            ) as run:
                outcomes = [outcome async for outcome in run]
    assert [outcome.status for outcome in outcomes] == [OutcomeStatus.UNDONE] * 2
    assert not any(getattr(outcome.error, "outcome_unknown", False) for outcome in outcomes)


@pytest.mark.parametrize("own", [True, False], ids=["own session", "given session"])
async def test_an_overdue_run_sends_nothing_on_a_connection_that_is_made_then(
    own: bool, resolver: Resolver
) -> None:
    async with (
        contextlib.nullcontext() if own else aiohttp.ClientSession() as session,
        Emulator(allow_hosts=["desk.example"]) as emulator,
    ):
        endpoint = emulator.endpoints()["computers"]
        assert endpoint.base_url is not None
        named = endpoint.base_url.replace("127.0.0.1", "desk.example")
        endpoint = attrs.evolve(endpoint, base_url=named, allow_http=True)
        async with VCloud(computers=endpoint, client_session=session) as cloud:
            run = cloud.bulk(
                range(2),
                lambda _: cloud.computers.machines.create(1, region="dublin"),
                deadline=0.2,
            )
            work = asyncio.create_task(run.run())
            while not resolver.asked:  # noqa: ASYNC110 - a thread sets it
                await asyncio.sleep(0.01)
            resolver.answers.set()
            time.sleep(0.5)  # noqa: ASYNC251 - the loop is blocked while the run's time passes
            await work
            assert not emulator.calls
            assert (run.totals.undone, run.totals.unknown) == (2, 0)

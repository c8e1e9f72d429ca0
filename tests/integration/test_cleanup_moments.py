"""Cancellations and closings that happen at the same moment as something else."""

from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import aiohttp.abc
import pytest
from attrs import evolve

from tests.emulator.faults_raw import until
from vcloud import (
    APIKeyAuth,
    CleanupError,
    ConfigurationError,
    Endpoint,
    RateLimit,
    RateLimitError,
    Request,
    RetryPolicy,
    SharedBudget,
    TransportError,
    VCloud,
)
from vcloud.emulator import Emulator, Fault


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(speed=1000) as emulator:
        yield emulator


def endpoint(emulator: Emulator, **options: Any) -> Endpoint:
    return evolve(emulator.endpoints()["desktops"], **options)


def stopped(emulator: Emulator) -> list[str]:
    return [call.path for call in emulator.calls if call.path.endswith("/stop")]


async def test_a_launch_cancelled_as_it_gets_a_slot_gives_the_slot_back(
    emulator: Emulator,
) -> None:
    async with VCloud(desktops=endpoint(emulator, concurrency=1)) as cloud:
        desktop = await cloud.desktops.launch()
        emulator.faults.add("GET *", Fault.delay(0.05), times=None)

        async def fails() -> None:
            await desktop.refresh()
            # The slot was just given to the launch, which the group cancels.
            raise ValueError

        async def launches() -> None:
            await asyncio.sleep(0.01)
            await cloud.desktops.launch()

        async def together() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(fails())
                group.create_task(launches())

        with pytest.raises(ExceptionGroup):
            await together()
        await asyncio.wait_for(desktop.refresh(), 5)
        assert len(emulator.desktops.desktops) == 1


async def test_a_block_cancelled_while_the_client_stops_its_desktop_ends_cancelled(
    emulator: Emulator,
) -> None:
    cloud = await VCloud(desktops=endpoint(emulator)).aopen()
    entered, leave = asyncio.Event(), asyncio.Event()

    async def block() -> None:
        async with cloud.desktops.launch(poll=0.01):
            entered.set()
            await leave.wait()

    task = asyncio.create_task(block())
    await entered.wait()
    emulator.faults.add("POST */stop", Fault.delay(0.2))
    closing = asyncio.create_task(cloud.aclose())
    await asyncio.sleep(0.05)
    leave.set()
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await closing
    assert len(stopped(emulator)) == 1


class SlowResolver(aiohttp.abc.AbstractResolver):
    """Resolves names at once, or never."""

    slow = False

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,
    ) -> list[aiohttp.abc.ResolveResult]:
        if self.slow:
            await asyncio.Event().wait()
        return [
            {
                "hostname": host,
                "host": "127.0.0.1",
                "port": port,
                "family": socket.AF_INET,
                "proto": 0,
                "flags": 0,
            }
        ]

    async def close(self) -> None:
        """Do nothing."""


async def test_a_stop_that_is_cancelled_from_outside_again_and_again_is_reported(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    resolver = SlowResolver()
    connector = aiohttp.TCPConnector(resolver=resolver, ttl_dns_cache=0, force_close=True)
    where = emulator.endpoints()["desktops"].base_url
    assert where is not None
    named = endpoint(emulator, base_url=where.replace("127.0.0.1", "localhost"), allow_http=True)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        VCloud(desktops=named, client_session=session) as cloud,
    ):
        entered = asyncio.Event()

        async def block() -> None:
            async with cloud.desktops.launch(poll=0.01):
                entered.set()
                await asyncio.Event().wait()

        mine = asyncio.create_task(block())
        await entered.wait()
        resolver.slow = True
        mine.cancel()
        while not mine.done():
            await asyncio.sleep(0.02)
            # Programs do that before they end. The task of the lookup is one of aiohttp's.
            for task in asyncio.all_tasks():
                if "_resolve_host" in repr(task):
                    task.cancel()
        (id,) = emulator.desktops.desktops
        with pytest.raises(CleanupError) as error:
            await mine
        assert error.value.ids == (id,)
        assert [id in record.getMessage() for record in caplog.records] == [True]


ANOTHER_LOOP = """
import asyncio, gc, logging, sys
from attrs import evolve
from vcloud import APIKeyAuth, ConfigurationError, Journal, VCloud
from vcloud._core import refused_credentials as refused
from vcloud.emulator import Emulator, Fault

logging.basicConfig(format="%(levelname)s %(name)s %(message)s")
logging.getLogger("asyncio").setLevel(logging.CRITICAL)


async def closed(emulator, loop):
    cloud = VCloud(desktops=emulator.endpoints()["desktops"])
    clouds.append(cloud)
    await cloud.aopen()
    async with cloud.desktops.launch(poll=0.01):
        closing = asyncio.create_task(cloud.aclose())
        await asyncio.sleep(0.1)
        loop.stop()
        await closing


async def collected(emulator, loop):
    async with VCloud(desktops=emulator.endpoints()["desktops"]) as cloud:
        async with cloud.desktops.launch(poll=0.01):
            loop.stop()
            await asyncio.Event().wait()


async def bulk(emulator, loop):
    async def action(item):
        async with cloud.desktops.launch(poll=0.01):
            loop.stop()
            await asyncio.Event().wait()

    async with VCloud(desktops=emulator.endpoints()["desktops"]) as cloud:
        async with cloud.bulk(["a"], action, journal=sys.argv[2]) as run:
            async for _ in run:
                pass


async def trial(emulator, loop):
    refused.HOLD = 0.1
    wrong = evolve(emulator.endpoints()["desktops"], auth=APIKeyAuth("wrong"))
    async with VCloud(desktops=wrong) as cloud:
        ref = cloud.desktops.ref("7c65c1e5-82e2-4662-b728-b4fa42485e3a")
        await asyncio.gather(ref.refresh(), return_exceptions=True)
        await asyncio.sleep(0.2)
        emulator.faults.add("GET *", Fault.delay(5), times=None)
        tasks.extend([asyncio.create_task(ref.refresh()) for _ in range(3)])
        await asyncio.sleep(0.1)
        loop.stop()
        await asyncio.Event().wait()


async def close():
    tasks.clear()
    gc.collect()
    if sys.argv[1] == "bulk":
        async with Journal(sys.argv[2]) as journal:
            print(*[(one.key, one.status) for one in await journal.entries()])
    for cloud in clouds:
        await asyncio.wait_for(cloud.aclose(), 5)


clouds = []
with Emulator(speed=1000) as emulator:
    emulator.faults.add("POST */stop", Fault.delay(5), times=None)
    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(globals()[sys.argv[1]](emulator, loop))]
    loop.run_forever()
    if clouds:
        kept = list(tasks)
        try:
            asyncio.run(close())
        except ConfigurationError as error:
            print(error)
        tasks += kept
        del kept
    loop.close()
    asyncio.run(close())
    print(*emulator.desktops.desktops)
"""


def in_another_loop(*what: str) -> tuple[list[str], str]:
    """Run a program that closes its loop and runs another one; return its output and its log."""
    command = [sys.executable, "-c", ANOTHER_LOOP, *what]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return ended.stdout.splitlines(), ended.stderr


def test_a_client_whose_closing_ended_with_its_loop_is_closed_in_another() -> None:
    (refusal, id), log = in_another_loop("closed")
    assert refusal == "this client is being closed in another event loop"
    assert f"desktop {id} could not be stopped" in log
    assert "Traceback" not in log


def test_a_client_that_is_garbage_collected_in_another_loop_waits_for_nothing() -> None:
    """Where it waits, Python reports ``coroutine ignored GeneratorExit``."""
    (id,), log = in_another_loop("collected")
    assert log.count(f"ERROR vcloud.desktops desktops: desktop {id} could not be stopped") == 1
    assert "Traceback" not in log


def test_a_run_that_is_garbage_collected_in_another_loop_closes_its_journal(
    tmp_path: Path,
) -> None:
    (entry, id), log = in_another_loop("bulk", str(tmp_path / "run.journal"))
    assert entry == "('a', <OutcomeStatus.UNKNOWN: 'unknown'>)"
    assert log.count(f"ERROR vcloud.desktops desktops: desktop {id} could not be stopped") == 1
    assert "Traceback" not in log


def test_a_trial_of_refused_credentials_that_is_garbage_collected_wakes_no_waiter() -> None:
    printed, log = in_another_loop("trial")
    assert printed == [""]
    assert "Traceback" not in log


@pytest.mark.parametrize("waits_for", ["its poll", "an answer"])
async def test_closing_does_not_wait_for_what_a_connecting_visitor_waits_for(
    emulator: Emulator, waits_for: str
) -> None:
    streams = evolve(emulator.endpoints()["streams"], cleanup_timeout=3, timeout=60)
    cloud = await VCloud(streams=streams).aopen()
    polls = waits_for == "its poll"
    if polls:
        none_free = '{"client_code": 440, "message": "No machine is available"}'
        emulator.faults.add("POST */assign-machine", Fault.reply(200, none_free), times=None)
    else:
        emulator.faults.add("GET */machines*", Fault.stall_headers(60), times=None)
    connecting = cloud.streams.streams.ref("1381").connect("dublin", poll=60)
    task = asyncio.create_task(connecting)
    await until(lambda: len(emulator.calls) == (3 if polls else 1))
    await asyncio.sleep(0.1)
    await asyncio.wait_for(cloud.aclose(), 2)
    with pytest.raises(ConfigurationError, match="closed while a machine was waited for") as error:
        await task
    started = list(emulator.streams.machines)
    notes = getattr(error.value, "__notes__", [])
    assert notes == [f"machine {id} was stopped" for id in started]
    assert len(started) == polls


class SlowLogin(APIKeyAuth):
    """Obtains its key by a request that takes long."""

    def ready(self, now: float) -> bool:
        return False

    async def acquire(self, send: Any, *, now: float) -> None:
        await send(Request("GET", "/slow-login", authenticated=False, bucket="login"))


async def test_closing_does_not_wait_for_the_login_of_a_launch(emulator: Emulator) -> None:
    emulator.faults.add("GET */slow-login", Fault.stall_headers(60), times=None)
    auth = SlowLogin("key")
    cloud = await VCloud(desktops=endpoint(emulator, auth=auth, cleanup_timeout=3)).aopen()
    task = asyncio.create_task(cloud.desktops.launch())
    await asyncio.sleep(0.1)
    await asyncio.wait_for(cloud.aclose(), 2)
    with pytest.raises(ConfigurationError, match="nothing was sent"):
        await task
    assert len(emulator.desktops.desktops) == 0


async def test_a_launch_that_waits_for_its_retry_says_that_the_client_was_closed(
    emulator: Emulator,
) -> None:
    emulator.faults.add("POST */desktop", Fault.too_many(retry_after=50))
    cloud = await VCloud(desktops=endpoint(emulator)).aopen()
    task = asyncio.create_task(cloud.desktops.launch())
    await until(lambda: bool(emulator.calls))
    await asyncio.sleep(0.05)
    await cloud.aclose()
    with pytest.raises(RateLimitError) as error:
        await task
    assert error.value.__notes__ == ["the client was closed before it was sent again"]


async def test_the_error_of_a_closing_says_once_what_could_not_be_stopped(
    emulator: Emulator,
) -> None:
    once = endpoint(emulator, retry=RetryPolicy(attempts=1))

    async def close_within() -> None:
        async with VCloud(desktops=once) as cloud, cloud.desktops.launch(poll=0.01):
            emulator.faults.add("POST */stop", Fault.server_error(500))
            await cloud.aclose()

    with pytest.raises(CleanupError) as error:
        await close_within()
    assert str(error.value) not in error.value.__notes__


async def test_a_shared_budget_with_a_longer_wait_than_the_time_limit_is_reported_at_once(
    emulator: Emulator,
) -> None:
    budget = SharedBudget("memory://")
    limited = endpoint(emulator, shared_budget=budget, rate_limits=[RateLimit(1, per=60)])
    async with VCloud(desktops=limited) as cloud:

        async def block() -> None:
            async with cloud.desktops.launch():
                raise AssertionError("the budget has no second request")

        task = asyncio.create_task(block())
        await until(lambda: bool(emulator.desktops.desktops))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(CleanupError, match="nothing was sent") as error:
            await asyncio.wait_for(task, 5)
        assert error.value.ids == tuple(emulator.desktops.desktops)
        assert not error.value.outcome_unknown


async def test_a_connection_reset_is_reported_to_its_caller_only(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    async with VCloud(desktops=endpoint(emulator)) as cloud:
        emulator.faults.add("POST */desktop", Fault.reset_after())
        with pytest.raises(TransportError):
            await cloud.desktops.launch()
    # asyncio would log "Future exception was never retrieved" now.
    gc.collect()
    assert caplog.records == []

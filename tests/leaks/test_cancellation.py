"""A call that is cancelled at any await holds nothing, and the next call succeeds."""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen

from tests.leaks.nothing_held import assert_nothing_held, clients_of, wait_for_tasks
from tests.leaks.stepping import Moment, cancelled, counted
from tests.secrets.tls import before, client_context, server_context
from vcloud import Endpoint, RateLimit, RetryPolicy, SharedBudget, VCloud, VCloudError
from vcloud._core.client import session_of
from vcloud.emulator import Clock, Emulator, Fault

QUICK = RetryPolicy(attempts=3, base=0.001, cap=0.002)
STREAM = "1381"
#: A call has far fewer suspensions; a test must not run forever.
MANY = 500


@frozen
class Scenario:
    """A call to be cancelled.

    Attributes:
        call: makes it.
        prepare: adds faults to the emulator before each run.
        warm: whether the client has a connection and a token already.
        slots: the client's concurrency.
        limit: a rate limit of the client, in requests in 20 ms.
        speed: of the services' clock, where something has to boot.
        tls: whether it goes over TLS, to a host that has a name.
        leaves: fails if something is left running at the service.
    """

    call: Callable[[VCloud, Emulator], Awaitable[object]]
    prepare: Callable[[Emulator], object] = lambda emulator: None
    warm: bool = False
    slots: int = 4
    limit: int | None = None
    speed: float = 1.0
    tls: bool = False
    leaves: Callable[[Emulator], object] = lambda emulator: None


async def _launched(cloud: VCloud, emulator: Emulator) -> None:
    async with cloud.desktops.launch(poll=0.001) as desktop:
        await desktop.click(1, 1)


def _no_desktop(emulator: Emulator) -> None:
    now = emulator.clock.now()
    running = [
        one
        for one in emulator.desktops.desktops.values()
        if one.status_at(now) in {"running", "pending"}
    ]
    assert not running, f"left running: {running}"


async def _connected(cloud: VCloud, emulator: Emulator) -> None:
    # With this clock, five minutes without a visitor pass in 30 ms.
    emulator.streams.streams[int(STREAM)].settings["auto_turn_off_duration"] = "off"
    await (await cloud.streams.streams.ref(STREAM).connect("dublin", poll=0.001)).machine.stop()


def _no_stream_machine(emulator: Emulator) -> None:
    now = emulator.clock.now()
    left = [
        one
        for one in emulator.streams.machines.values()
        if one.status_at(now) in {"waiting", "available"}
    ]
    assert not left, f"left running: {left}"


async def _in_bulk(cloud: VCloud, emulator: Emulator) -> None:
    machines = [cloud.computers.machines.ref(str(100 + number)) for number in range(6)]
    totals = await cloud.bulk(
        machines, lambda machine: machine.available_machine_types(), concurrency=3
    ).run()
    assert totals.done == 6


async def _journaled(cloud: VCloud, emulator: Emulator) -> None:
    # After a cancellation, a thread may still open and close files in the folder.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        journal = Path(folder, "journal")
        machines = [cloud.computers.machines.ref(str(100 + number)) for number in range(2)]
        totals = await cloud.bulk(
            machines, lambda machine: machine.available_machine_types(), journal=journal
        ).run()
        assert totals.done == 2


async def _started(cloud: VCloud, emulator: Emulator) -> None:
    added = emulator.computers.add_machine(auto_stop_threshold=0)
    machine = cloud.computers.machines.ref(added.id)
    await machine.start()
    await machine.wait_until("ready", poll=0.001)


async def _prefetched(cloud: VCloud, emulator: Emulator) -> None:
    assert len(await cloud.computers.machines.list(per_page=2).prefetch(3).all()) >= 12


async def _everything(cloud: VCloud, emulator: Emulator) -> None:
    found = cloud.instances()
    assert len(await found.all()) >= 12
    assert not found.errors


async def _many_need_a_token(cloud: VCloud, emulator: Emulator) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(cloud.streamspace.agents.stats())


async def _tunnelled(cloud: VCloud, emulator: Emulator) -> None:
    session = next(iter(emulator.streamspace.sessions.values()))
    async with cloud.streamspace.sessions.ref(session.id).open_vnc() as tunnel:
        assert (await tunnel.read()).startswith(b"RFB")


async def _forwarded(cloud: VCloud, emulator: Emulator) -> None:
    session = next(iter(emulator.streamspace.sessions.values()))
    async with cloud.streamspace.sessions.ref(session.id).forward_vnc() as forward:
        reader, writer = await asyncio.open_connection(forward.host, forward.port)
        try:
            assert (await reader.readexactly(3)) == b"RFB"
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _refused_upgrade(cloud: VCloud, emulator: Emulator) -> None:
    with pytest.raises(VCloudError):
        await cloud.streamspace.sessions.ref("no-such-session").open_vnc().aopen()


async def _behind_others(cloud: VCloud, emulator: Emulator) -> None:
    ref = cloud.computers.machines.ref("100")
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(ref.available_machine_types())


def _get(cloud: VCloud, emulator: Emulator) -> Awaitable[object]:
    return cloud.computers.machines.get("100")


SCENARIOS = {
    "a GET over a new connection": Scenario(_get),
    "a GET over a warm one": Scenario(_get, warm=True),
    "a GET over TLS": Scenario(_get, tls=True),
    "a create": Scenario(lambda cloud, _: cloud.computers.machines.create(1, region="dublin")),
    "a body that stalls": Scenario(
        _get, lambda emulator: emulator.faults.add("GET *", Fault.stall_body(1, 0.01))
    ),
    "a sleep before the next attempt": Scenario(
        _get, lambda emulator: emulator.faults.add("GET *", Fault.server_error(503, 0.002), times=2)
    ),
    "a queue for a slot": Scenario(_behind_others, slots=1),
    "a queue for a rate limit": Scenario(_behind_others, slots=2, limit=1),
    "a login that several calls wait for": Scenario(_many_need_a_token, slots=2),
    "a login that is refused and retried": Scenario(
        _many_need_a_token,
        lambda emulator: emulator.faults.add("POST */auth/login", Fault.server_error(503), times=1),
        slots=2,
    ),
    "pages ahead": Scenario(_prefetched, warm=True),
    "every provider at once": Scenario(_everything),
    "a bulk run": Scenario(_in_bulk, warm=True),
    "a bulk run with a journal": Scenario(_journaled, warm=True),
    "waiting for a state": Scenario(_started, speed=10_000.0, warm=True),
    "a desktop for the length of a block": Scenario(_launched, speed=3000.0, leaves=_no_desktop),
    "the connection of a visitor to a machine": Scenario(
        _connected, speed=10_000.0, leaves=_no_stream_machine
    ),
    "a tunnel": Scenario(_tunnelled),
    "a tunnel over TLS": Scenario(_tunnelled, tls=True),
    "a forwarded tunnel": Scenario(_forwarded, warm=True),
    "an upgrade that is refused": Scenario(_refused_upgrade),
}


@contextlib.asynccontextmanager
async def emulated(speed: float = 1.0) -> AsyncIterator[Emulator]:
    async with Emulator(machines=12, clock=Clock(speed), rate_limits=False) as emulator:
        emulator.streamspace.add_session()
        yield emulator


@contextlib.asynccontextmanager
async def reached(emulator: Emulator, *, tls: bool) -> AsyncIterator[str]:
    """The emulator's address for clients, with TLS or without."""
    if not tls:
        yield emulator.url
        return
    async with before(emulator.url, server_context("localhost")) as relayed:
        yield relayed.replace("127.0.0.1", "localhost")


def client_of(emulator: Emulator, url: str, scenario: Scenario) -> VCloud:
    limits = [] if scenario.limit is None else [RateLimit(scenario.limit, per=0.02)]
    ssl = client_context() if scenario.tls else None

    def adapted(endpoint: Endpoint) -> Endpoint:
        there = str(endpoint.base_url).replace(emulator.url, url)
        return evolve(
            endpoint,
            base_url=there,
            retry=QUICK,
            concurrency=scenario.slots,
            rate_limits=limits,
            ssl=ssl,
        )

    given = emulator.endpoints()
    return VCloud(
        computers=adapted(given["computers"]),
        streams=adapted(given["streams"]),
        streamspace=adapted(given["streamspace"]),
        desktops=adapted(given["desktops"]),
    )


@pytest.mark.parametrize("moment", Moment, ids=[moment.name.lower() for moment in Moment])
@pytest.mark.parametrize(
    "scenario", SCENARIOS.values(), ids=[name.replace(" ", "_") for name in SCENARIOS]
)
async def test_a_call_cancelled_at_any_suspension_leaves_nothing(
    scenario: Scenario, moment: Moment
) -> None:
    async with emulated(scenario.speed) as emulator, reached(emulator, tls=scenario.tls) as url:
        with counted():
            for at in range(1, MANY):
                emulator.faults.clear()
                scenario.prepare(emulator)
                async with client_of(emulator, url, scenario) as cloud:
                    if scenario.warm:
                        await asyncio.gather(
                            cloud.computers.machines.get("100"), cloud.streamspace.agents.stats()
                        )
                    others = asyncio.all_tasks()
                    plan = await cancelled(lambda: scenario.call(cloud, emulator), at, moment)
                    await wait_for_tasks(others)
                    assert_nothing_held(cloud, slots=scenario.slots)
                    scenario.leaves(emulator)
                    emulator.faults.clear()
                    await asyncio.gather(
                        cloud.computers.machines.get("100"), cloud.streamspace.agents.stats()
                    )
                    assert_nothing_held(cloud, slots=scenario.slots)
                if plan.suspensions < at:
                    assert at > 1, "the call was never suspended"
                    return
    pytest.fail(f"it has more than {MANY} suspensions")


async def test_thousands_of_calls_cancelled_at_random_times_leave_no_slot_or_connection_held() -> (
    None
):
    chance = random.Random(20240607)
    async with Emulator(machines=12, rate_limits=False, fault_seed=7) as emulator:
        emulator.faults.add("*", Fault.server_error(503), times=None, probability=0.05)
        emulator.faults.add("*", Fault.reset_after(), times=None, probability=0.05)
        emulator.faults.add("*", Fault.stall_body(1, 0.01), times=None, probability=0.05)
        async with client_of(emulator, emulator.url, Scenario(_get, slots=20)) as cloud:
            calls: list[Callable[[], Awaitable[object]]] = [
                lambda: cloud.computers.machines.get("100"),
                lambda: cloud.computers.machines.create(1, region="dublin"),
                lambda: cloud.computers.machines.list(per_page=5).prefetch(2).all(),
                lambda: cloud.streams.machines.list().first(),
                lambda: cloud.streamspace.sessions.list().all(),
                cloud.streamspace.agents.stats,
            ]
            others = asyncio.all_tasks()
            for _ in range(4):
                tasks = [asyncio.ensure_future(chance.choice(calls)()) for _ in range(500)]
                for task in tasks:
                    if chance.random() < 0.8:
                        asyncio.get_running_loop().call_later(chance.random() * 0.3, task.cancel)
                done = await asyncio.gather(*tasks, return_exceptions=True)
                assert not [
                    one
                    for one in done
                    if isinstance(one, Exception) and not isinstance(one, VCloudError)
                ]
                await wait_for_tasks(others)
                assert_nothing_held(cloud, slots=20)
            emulator.faults.clear()
            await asyncio.gather(*[call() for call in calls for _ in range(10)])
            assert_nothing_held(cloud, slots=20)


async def test_a_cancelled_closing_still_closes_everything() -> None:
    closed: list[str] = []

    class Store(SharedBudget):
        async def aclose(self) -> None:
            await asyncio.sleep(0)
            closed.append("store")

    async with emulated() as emulator, reached(emulator, tls=True) as url:
        with counted():
            for at in range(1, MANY):
                closed.clear()
                cloud = client_of(emulator, url, Scenario(_get, tls=True))
                clients = clients_of(cloud)
                store = Store("async+memory://")
                for one in clients:
                    session_of(one).shared_budget = store
                await cloud.aopen()
                await _tunnelled(cloud, emulator)
                http = session_of(cloud.streamspace).transport.aiohttp_session
                assert http is not None
                plan = await cancelled(cloud.aclose, at, Moment.AT_ONCE)
                assert http.closed
                if plan.suspensions < at:
                    assert len(closed) == len(clients)
                    return


async def test_a_rate_limit_counts_a_request_if_and_only_if_it_was_sent() -> None:
    chance = random.Random(11)
    begun = 0
    async with Emulator(machines=1) as emulator:
        endpoint = evolve(
            emulator.endpoints()["computers"],
            retry=QUICK,
            concurrency=3,
            rate_limits=[RateLimit(100, per=3600)],
            deadline=0.5,
        )
        async with VCloud(computers=endpoint) as cloud:
            session = session_of(cloud.computers)
            exchange = session.transport.exchange

            async def counting(*given: Any) -> Any:
                nonlocal begun
                begun += 1
                return await exchange(*given)

            session.transport.exchange = counting  # type: ignore[assignment, method-assign]
            for _ in range(10):
                tasks = [
                    asyncio.create_task(cloud.computers.machines.get("100")) for _ in range(10)
                ]
                for task in tasks:
                    asyncio.get_running_loop().call_later(chance.random() * 0.01, task.cancel)
                await asyncio.gather(*tasks, return_exceptions=True)
            bucket = session.admission.bucket("")
            assert bucket.allowance.used == begun < 100
            await asyncio.gather(*[cloud.computers.machines.get("100") for _ in range(100 - begun)])
            with pytest.raises(VCloudError):
                await cloud.computers.machines.get("100")
            assert_nothing_held(cloud, slots=3)

"""Instances by their keys: every verb of every provider, from a handle that costs no request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from vcloud import (
    ConflictError,
    DecodeError,
    Instance,
    InstanceRef,
    InstanceState,
    InvalidArgumentError,
    NotFoundError,
    Settled,
    VCloud,
    WaitFailed,
    WaitTimeout,
)
from vcloud.emulator import Emulator, Fault
from vcloud.providers.computers import Machine
from vcloud.providers.streams import StreamMachine, StreamRef

POLL = 0.005
RUNNING, STOPPED = InstanceState.RUNNING, InstanceState.STOPPED


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(speed=300) as emulator:
        yield emulator


@pytest.fixture
async def cloud(emulator: Emulator) -> AsyncIterator[VCloud]:
    async with VCloud(**emulator.endpoints()) as cloud:
        yield cloud


async def stream_of(cloud: VCloud) -> StreamRef:
    application = await cloud.streams.applications.list().first()
    assert application is not None
    stream = await cloud.streams.streams.list(application.id).first()
    assert stream is not None
    return stream


async def made(cloud: VCloud, provider: str) -> str:
    """Make one, and return its key."""
    match provider:
        case "computers":
            (machine,) = await cloud.computers.machines.create(1, region="dublin")
            await machine.wait_until("off", poll=POLL)
            return machine.as_instance().key
        case "streams":
            stream = await stream_of(cloud)
            return (await stream.start_machine("dublin")).as_instance().key
        case "streamspace":
            session = await cloud.streamspace.sessions.create("admin", "firefox-browser")
            return session.as_instance().key
        case _:
            return (await cloud.desktops.launch()).as_instance().key


PROVIDERS = ["computers", "streams", "streamspace", "desktops"]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_key_is_enough_to_run_open_and_stop_it(
    emulator: Emulator, cloud: VCloud, provider: str
) -> None:
    key = await made(cloud, provider)
    emulator.calls.clear()
    instance = cloud.instance(key)
    assert list(emulator.calls) == [], "a handle costs no request"
    if provider == "computers":
        await instance.start()
    running = await instance.wait_until(RUNNING, poll=POLL)
    assert type(running) is Instance
    assert (running.key, running.state) == (key, RUNNING)
    assert running.name
    if running.capabilities.connect:
        assert "://" in await running.connect_url()
    if running.capabilities.hibernate:
        await running.hibernate()
        hibernated = await running.wait_until("hibernated", poll=POLL)
        assert hibernated.state is InstanceState.HIBERNATED
        await hibernated.wake()
        await hibernated.wait_until(RUNNING, poll=POLL)
        await hibernated.hibernate()
        await hibernated.wait_until(InstanceState.HIBERNATED, poll=POLL)
        await hibernated.start()
        await hibernated.wait_until(RUNNING, poll=POLL)
    await running.stop()
    stopped = await running.wait_until(STOPPED, poll=POLL)
    assert stopped.state is STOPPED
    if running.capabilities.stop_is_final:
        with pytest.raises(WaitFailed, match="is stopped and will not become running") as caught:
            await stopped.wait_until(RUNNING)
        assert caught.value.last == STOPPED
        assert not [one for one in await cloud.instances().all() if one.key == key]
    else:
        await stopped.start()
        await stopped.wait_until(RUNNING, poll=POLL)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_what_instances_yields_has_the_key_that_finds_it_again(
    cloud: VCloud, provider: str
) -> None:
    key = await made(cloud, provider)
    (listed,) = [one for one in await cloud.instances().all() if one.provider == provider]
    assert listed.key == key
    again = await cloud.instance(key).refresh()
    assert (again.key, again.name, again.region) == (key, listed.name, listed.region)
    assert (await again.refresh()).key == (await listed.refresh()).key == key


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_one_that_does_not_exist_is_not_found(cloud: VCloud, provider: str) -> None:
    instance = cloud.instance(provider, "00000000-0000-4000-8000-000000000000")
    for call in (
        instance.refresh(),
        instance.wait_until(RUNNING, timeout=1),
        instance.wait_until(RUNNING, timeout=0),
        instance.stop(),
    ):
        with pytest.raises(NotFoundError):
            await call


async def test_a_wait_that_runs_out_says_so_in_the_words_that_were_used(cloud: VCloud) -> None:
    key = await made(cloud, "computers")
    instance = cloud.instance(key)
    for timeout in (0, 0.03):
        with pytest.raises(WaitTimeout, match="stopped.*|not running") as caught:
            await instance.wait_until(RUNNING, timeout=timeout, poll=POLL)
        assert caught.value.last == STOPPED
    # The provider's own handle takes both vocabularies, and answers in the one that was used.
    machine = cloud.computers.machines.ref(instance.id)
    with pytest.raises(WaitTimeout) as caught:
        await machine.wait_until(RUNNING, timeout=0)
    assert caught.value.last == STOPPED
    with pytest.raises(WaitTimeout) as caught:
        await machine.wait_until("ready", timeout=0)
    assert caught.value.last == "off"
    assert type(await machine.wait_until(STOPPED)) is Machine
    assert (await instance.wait_until({STOPPED, InstanceState.FAILED}, timeout=0)).state is STOPPED


async def test_a_wait_in_shared_words_stands_for_all_states_that_are_shown_so(
    cloud: VCloud,
) -> None:
    stream = await stream_of(cloud)
    assignment = await stream.connect("dublin", timeout=60, poll=POLL)
    instance = cloud.instance(assignment.machine.as_instance().key)
    assert (await instance.wait_until(RUNNING, timeout=0)).state is RUNNING


async def test_one_that_is_hibernating_is_not_hibernated_yet(cloud: VCloud) -> None:
    """It cannot be woken before, so a wait must not end there.

    apache/libcloud#246 has the same of ``stopping``, shown as ``stopped``.
    """
    instance = await cloud.instance(await made(cloud, "streamspace")).wait_until(RUNNING, poll=POLL)
    with pytest.raises(ConflictError):
        await instance.wake()
    await instance.hibernate()
    await instance.wait_until(InstanceState.HIBERNATED, poll=POLL)
    await instance.wake()


# -- streams: machines are fetched by a uid that no key has ----------------------------------------


async def test_a_streams_machine_is_looked_up_once_and_then_fetched(
    emulator: Emulator, cloud: VCloud
) -> None:
    machine = await (await stream_of(cloud)).start_machine("dublin")
    emulator.calls.clear()
    instance = await cloud.instance("streams", machine.id).wait_until(RUNNING, poll=POLL)
    first, *others = [(call.method, call.path.rpartition("/v2")[2]) for call in emulator.calls]
    assert first == ("GET", "/machines")
    assert others
    assert set(others) == {("GET", f"/machines/{machine.uid}")}
    assert isinstance(instance.resource, StreamMachine)
    assert instance.resource.uid == machine.uid
    # A handle with its uid needs no look-up.
    emulator.calls.clear()
    known = cloud.streams.machines.ref(machine.id, uid=machine.uid).as_instance()
    assert (await known.refresh()).key == instance.key
    assert [call.path.rpartition("/v2")[2] for call in emulator.calls] == [
        f"/machines/{machine.uid}"
    ]


async def test_the_look_up_reads_up_to_the_machine_however_long_the_list_is(
    emulator: Emulator, cloud: VCloud
) -> None:
    stream = await stream_of(cloud)
    oldest = await stream.start_machine("dublin")
    await oldest.stop()
    for _ in range(240):
        await (await stream.start_machine("dublin")).stop()
    newest = await stream.start_machine("dublin")
    for machine, pages in ((newest, 1), (oldest, 3)):
        emulator.calls.clear()
        found = await cloud.instance("streams", machine.id).refresh()
        assert (found.id, len(emulator.calls)) == (machine.id, pages)
    emulator.calls.clear()
    with pytest.raises(NotFoundError, match="the list of machines has none with the id 424242"):
        await cloud.instance("streams/424242").refresh()
    assert len(emulator.calls) == 3


async def test_a_machine_beside_one_that_cannot_be_read_is_found(
    emulator: Emulator, cloud: VCloud
) -> None:
    broken = (
        b'{"client_code":200,"message":"OK","count":2,"page":1,"machines":['
        b'{"id":"1","type":"machine","attributes":7},'
        b'{"id":"2","type":"machine","attributes":{"uid":"u","connection_status":"available"}}]}'
    )
    emulator.faults.add("GET */machines", Fault.reply(200, broken), times=None)
    assert (await cloud.instance("streams/2").refresh()).state is RUNNING
    with pytest.raises(DecodeError):
        await cloud.instance("streams/1").refresh()
    assert (await cloud.streams.machines.find(2)) is not None


# -- from names to handles -------------------------------------------------------------------------


async def test_a_machine_is_found_by_its_whole_name(emulator: Emulator, cloud: VCloud) -> None:
    machines = await cloud.computers.machines.create(1, region="dublin", quantity=12)
    name = machines[0].name
    assert name is not None
    emulator.calls.clear()
    found = await cloud.computers.machines.find(name=name)
    assert found is not None
    assert (found.id, type(found)) == (machines[0].id, Machine)
    assert len(emulator.calls) == 1, "the service searches"
    assert await cloud.computers.machines.find(name[:-1]) is None, "a part is no name"
    assert await cloud.computers.machines.find("no such machine") is None
    with pytest.raises(InvalidArgumentError, match="name must be a non-empty string"):
        await cloud.computers.machines.find(" ")


async def test_a_name_that_several_have_is_no_name(emulator: Emulator, cloud: VCloud) -> None:
    one, two, _ = await cloud.computers.machines.create(1, region="dublin", quantity=3)
    for machine in (one, two):
        emulator.computers.machines[machine.id].name = "Edit"
    said = f"2 machines are named 'Edit': ({one.id}, {two.id}|{two.id}, {one.id}); take one"
    with pytest.raises(InvalidArgumentError, match=said):
        await cloud.computers.machines.find("Edit")


async def test_sessions_and_applications_are_found_by_name(cloud: VCloud) -> None:
    session = await cloud.streamspace.sessions.create("admin", "firefox-browser")
    assert session.name is not None
    found = await cloud.streamspace.sessions.find(session.name)
    assert found is not None
    assert found.id == session.id
    assert await cloud.streamspace.sessions.find("none") is None
    application = await cloud.streams.applications.list().first()
    assert application is not None
    assert application.name is not None
    assert await cloud.streams.applications.find(application.name) == application
    assert await cloud.streams.applications.find("none") is None


# -- at size ---------------------------------------------------------------------------------------


async def test_a_thousand_keys_are_handles_at_once_and_stopped_in_bulk(
    emulator: Emulator, cloud: VCloud
) -> None:
    for _ in range(10):
        await cloud.computers.machines.create(1, region="dublin", quantity=20)
    async for machine in cloud.computers.machines.list(per_page=100):
        await machine.wait_until("off", poll=POLL)
    keys = [one.key for one in await cloud.computers.instances().all()]
    assert len(keys) == 200
    emulator.calls.clear()
    handles = [cloud.instance(key) for key in keys * 5]
    assert list(emulator.calls) == []
    async with cloud.bulk(handles[:200], lambda one: one.start()) as run:
        outcomes = [outcome async for outcome in run]
    assert {outcome.item.key for outcome in outcomes} == set(keys)
    assert run.totals.done == 200
    assert len(emulator.calls) == 200
    await asyncio.gather(
        *[one.wait_until(RUNNING, timeout=60, poll=0.2) for one in handles[:200:20]]
    )


@pytest.mark.parametrize("provider", ["computers", "streams"])
async def test_a_run_over_keys_settles_what_an_earlier_one_left_unknown(
    emulator: Emulator, cloud: VCloud, provider: str, tmp_path: Path
) -> None:
    """A journal names an instance by its key, and gives ``settle`` one that can be asked."""
    key = await made(cloud, provider)
    if provider == "computers":
        await cloud.instance(key).start()
    await cloud.instance(key).wait_until(RUNNING, poll=POLL)
    journal = tmp_path / "stop.db"

    async def stop(instance: InstanceRef) -> None:
        await instance.stop()

    async def settle(instance: InstanceRef) -> Settled[None]:
        asked.append(instance)
        seen = await instance.wait_until({STOPPED, RUNNING}, timeout=60, poll=POLL)
        return Settled.done() if seen.state is STOPPED else Settled.undone()

    emulator.faults.add("POST *stop*", Fault.reset_after(), times=None)
    async with cloud.bulk([cloud.instance(key)], stop, journal=journal) as run:
        (outcome,) = [outcome async for outcome in run]
    assert (outcome.key, outcome.status) == (key, "unknown")
    asked: list[InstanceRef] = []
    nothing: list[InstanceRef] = []
    async with cloud.bulk(nothing, stop, journal=journal, settle=settle) as run:
        (outcome,) = [outcome async for outcome in run]
    assert (outcome.key, outcome.status) == (key, "done")
    assert [one.key for one in asked] == [key]

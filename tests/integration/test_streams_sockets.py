"""Vagon Streams against the emulator, over a real socket with real signatures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.seeded import KEY, SEED
from vcloud import (
    AuthenticationError,
    CapacityError,
    ConflictError,
    Endpoint,
    HMACAuth,
    InsufficientFundsError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    Request,
    TransportError,
    VagonCode,
    WaitFailed,
    WaitTimeout,
)
from vcloud._core.closing import close
from vcloud._core.instances import Controllable, InstanceState
from vcloud._core.session import Session
from vcloud._core.transport import Transport
from vcloud.emulator import Clock, Emulator, Fault
from vcloud.providers.streams import (
    AutoTurnOffDuration,
    Capacity,
    CapacityType,
    ConnectionStatus,
    KeyMapping,
    MachineType,
    Region,
    Resolution,
    Stream,
    StreamRef,
    VagonStreams,
)
from vcloud.providers.streams.errors import DIALECT

PREFIX = "/app-stream-management/v2"
APPLICATION, STREAM = "1143", "1381"
POLL = 0.002


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(clock=Clock.stopped(), seed=SEED) as emulator:
        yield emulator


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[VagonStreams]:
    async with VagonStreams(emulator.endpoints()["streams"]) as client:
        yield client


@pytest.fixture
async def session(emulator: Emulator) -> AsyncIterator[Session]:
    """Sends requests that the client would not send."""
    endpoint = emulator.endpoints()["streams"]
    assert endpoint.base_url is not None
    transport = Transport()
    transport.open()
    session = Session(DIALECT, endpoint, endpoint.base_url, transport)
    yield session
    await close(transport, [session])


@pytest.fixture
def stream(client: VagonStreams) -> StreamRef:
    return client.streams.ref(STREAM)


# -- a machine's life ------------------------------------------------------------------------------


async def test_a_machine_from_its_start_to_a_visit_in_the_statistics(
    emulator: Emulator, client: VagonStreams, stream: StreamRef
) -> None:
    user = await client.users.create("visitor@vendor.com")
    machine = await stream.start_machine(Region.DUBLIN)
    assert (machine.connection_status, machine.duration, machine.cost) == (
        ConnectionStatus.WAITING,
        timedelta(0),
        Decimal("0.0"),
    )
    emulator.clock.advance(14)
    assert (await machine.refresh()).connection_status is ConnectionStatus.WAITING
    emulator.clock.advance(1)
    assert (await machine.wait_until("available", poll=POLL)).duration == timedelta(seconds=15)
    assignment = await stream.assign_machine("dublin", user.id)
    assert assignment.machine.id == machine.id
    assert assignment.machine.connection_status is ConnectionStatus.ASSIGNED
    emulator.streams.visitor_opens(machine.id)
    emulator.clock.advance(210)
    assert (await machine.refresh()).connection_status is ConnectionStatus.CONNECTED
    emulator.streams.visitor_leaves(machine.id)
    emulator.clock.advance(3600)
    assert machine.uid is not None
    ended = await client.machines.get(machine.uid)
    assert (ended.connection_status, ended.duration) == (
        ConnectionStatus.TERMINATED,
        timedelta(seconds=525),
    )
    assert (ended.cost, ended.status, ended.friendly_status) == (Decimal("0.247"), "stopped", "off")
    assert ended.start_at is not None
    # Nobody came within the five minutes of its auto turn-off.
    assert ended.end_at == ended.start_at + timedelta(seconds=525)
    (visit,) = await client.sessions.list(stream_id=STREAM).all()
    assert (visit.duration, visit.readable_duration) == (timedelta(minutes=4), "4 minutes")
    assert (visit.customer, visit.city) == ("CUS_9150", None)

    await stream.configure(collect_info=True)
    visit_with_data = await client.sessions.list().first()
    assert visit_with_data is not None
    assert (visit_with_data.customer, visit_with_data.city) == (
        "visitor@vendor.com",
        "San Francisco",
    )


async def test_data_that_was_not_collected_is_absent_and_read_as_none(
    emulator: Emulator, client: VagonStreams, stream: StreamRef
) -> None:
    machine = emulator.streams.add_machine(1381, status="available")
    await stream.assign_machine("dublin")
    emulator.streams.visitor_opens(
        machine.id, ping=None, audio_state=None, audio_input=False, audio_output=False
    )
    await client.machines.ref(str(machine.id)).stop()
    (visit,) = await client.sessions.list().all()
    assert not {"ping", "audio_state", "audio_input", "audio_output"} & set(visit.raw["attributes"])
    assert (visit.ping, visit.audio_state, visit.audio_input, visit.audio_output) == (
        None,
        None,
        None,
        None,
    )


async def test_a_wait_for_a_stopped_machine_fails_and_it_cannot_be_stopped_again(
    client: VagonStreams, stream: StreamRef
) -> None:
    machine = await stream.start_machine("dublin")
    await client.machines.ref(machine.id).stop()
    with pytest.raises(WaitFailed) as failed:
        await machine.wait_until("available", poll=POLL)
    assert failed.value.last == "terminated"
    assert (await machine.wait_until("terminated", poll=POLL)).end_at is not None
    with pytest.raises(ConflictError) as error:
        await machine.stop()
    assert error.value.code == VagonCode.MACHINE_NOT_RUNNING


async def test_a_wait_that_times_out_names_the_last_status(
    client: VagonStreams, stream: StreamRef
) -> None:
    machine = await stream.start_machine("dublin")
    with pytest.raises(WaitTimeout) as error:
        await machine.wait_until(["available", "assigned"], timeout=0.3, poll=POLL)
    assert error.value.last == "waiting"


async def test_the_view_of_a_running_machine_starts_and_assigns_no_other(
    emulator: Emulator, client: VagonStreams, stream: StreamRef
) -> None:
    await stream.start_machine("dublin")
    (instance,) = await client.instances().all()
    for verb in ("start", "connect_url"):
        assert not hasattr(instance.resource, verb)
        assert not hasattr(client.machines.ref(instance.id), verb)
    assert isinstance(instance.resource, Controllable)
    await instance.resource.stop()
    assert [machine.id for machine in emulator.streams.machines.values()] == [int(instance.id)]


@pytest.mark.parametrize("email", [None, "", "visitor@vendor.com"])
async def test_a_visitor_needs_no_email(
    emulator: Emulator, client: VagonStreams, email: str | None
) -> None:
    user = await client.users.create(email)
    assert (user.email or "") == (email or "")
    emulator.faults.add(
        "POST */users",
        Fault.edit(lambda answer: {**answer, "attributes": {"email": ""}}),
    )
    assert (await client.users.create(email)).email == ""


async def test_instances_are_the_machines_that_have_not_ended(
    emulator: Emulator, client: VagonStreams
) -> None:
    states = {
        "waiting": InstanceState.STARTING,
        "available": InstanceState.RUNNING,
        "assigned": InstanceState.RUNNING,
        "connected": InstanceState.RUNNING,
        "proxy-in-migration": InstanceState.MAINTENANCE,
        "half-asleep": InstanceState.UNKNOWN,
    }
    for status in (*states, "terminated"):
        emulator.streams.add_machine(1381, status=status)
    found = await client.instances().all()
    assert [instance.state for instance in found] == list(reversed(states.values()))
    assert {(instance.provider, instance.name, instance.region) for instance in found} == {
        ("streams", "Stream #1381", "dublin")
    }
    assert all(isinstance(instance.resource, Controllable) for instance in found)
    await found[-1].resource.stop()


# -- capacity --------------------------------------------------------------------------------------


async def test_balanced_streams_keep_one_machine_free_and_always_on_ones_keep_all_on(
    emulator: Emulator, client: VagonStreams
) -> None:
    async def make(capacity_type: CapacityType) -> Stream:
        return await client.streams.create(
            APPLICATION, capacities=[Capacity("oregon", 3)], capacity_type=capacity_type
        )

    for capacity_type, kept in (
        (CapacityType.ON_DEMAND, 0),
        (CapacityType.BALANCED, 1),
        (CapacityType.ALWAYS_ON, 3),
    ):
        stream = await make(capacity_type)
        assert len(await stream.machines().all()) == kept
        emulator.clock.advance(15)
        (capacity,) = (await stream.refresh()).capacities or ()
        assert (capacity.used_capacity, capacity.assignable_machine_count) == (kept, kept)
        if kept:
            with pytest.raises(ConflictError, match="cost optimized") as error:
                await stream.start_machine("oregon")
            assert error.value.code == VagonCode.NOT_COST_OPTIMIZED
            await stream.assign_machine("oregon")
            # Balanced starts the next one; with always_on all were on already.
            assert len(await stream.machines().all()) == max(2, kept)


async def test_after_a_visit_an_always_on_machine_gets_ready_for_the_next(
    emulator: Emulator, client: VagonStreams
) -> None:
    stream = await client.streams.create(
        APPLICATION, capacities=[Capacity("oregon", 1)], capacity_type="always_on"
    )
    emulator.clock.advance(15)
    machine = (await stream.assign_machine("oregon")).machine
    emulator.streams.visitor_opens(machine.id)
    emulator.streams.visitor_leaves(machine.id)
    assert (await machine.refresh()).connection_status is ConnectionStatus.PROXY_IN_MIGRATION
    emulator.clock.advance(10)
    assert (await machine.refresh()).connection_status is ConnectionStatus.AVAILABLE
    await machine.stop()
    assert [one.connection_status for one in await stream.machines().all()] == [
        "waiting",
        "terminated",
    ]


async def test_a_start_is_refused_if_capacity_or_balance_is_used_up(
    emulator: Emulator, stream: StreamRef
) -> None:
    await stream.configure(capacities=[Capacity("dublin", 1)])
    await stream.start_machine("dublin")
    for region in ("dublin", "oregon"):
        with pytest.raises(CapacityError) as error:
            await stream.start_machine(region)
        assert error.value.code == VagonCode.CAPACITY_UNAVAILABLE
    await stream.assign_machine("dublin")
    with pytest.raises(CapacityError):
        await stream.assign_machine("dublin")
    emulator.organization.balance = Decimal(0)
    with pytest.raises(InsufficientFundsError):
        await stream.start_machine("dublin")


async def test_a_lost_answer_does_not_start_two_machines(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add("POST *start-machine", Fault.reset_after())
    with pytest.raises(TransportError) as error:
        await stream.start_machine("dublin")
    assert error.value.outcome_unknown
    assert len(emulator.streams.machines) == 1


# -- applications, streams, users ------------------------------------------------------------------


async def test_applications_are_paged_and_configured(
    emulator: Emulator, client: VagonStreams
) -> None:
    for _ in range(5):
        emulator.streams.add_application(executable=False)
    pages = [page async for page in client.applications.list(per_page=3).pages()]
    assert [(len(page.items), page.total) for page in pages] == [(3, 7), (3, 7), (1, 7)]
    assert pages[2].items[0].active_executable is None
    application = (
        await pages[0]
        .items[0]
        .configure(
            application_name="Ours",
            machine_type=MachineType.STARTER,
            key_mapping_selection="game_mode",
            changeable_key_mapping=False,
        )
    )
    assert (application.id, application.name, application.performance) == (
        APPLICATION,
        "Ours",
        "Starter",
    )


async def test_a_stream_is_fetched_by_its_uid_and_configured_by_its_id(
    emulator: Emulator, client: VagonStreams
) -> None:
    (listed,) = await client.streams.list(APPLICATION).all()
    assert listed.uid is not None
    full = await client.streams.get(listed.uid)
    assert full.uid is not None
    assert full.capacities is not None
    assert full.application is not None
    assert (full.capacities[0].region, full.capacities[0].total_capacity) == (Region.DUBLIN, 10)
    assert (await client.streams.ref(STREAM, uid=full.uid).refresh()) == full
    with pytest.raises(NotFoundError):
        await client.streams.get(full.id)
    with pytest.raises(NotFoundError):
        await client.streams.ref(full.uid).configure(dark_mode=True)
    changed = await full.configure(
        auto_turn_off_duration="immediately", password="x", password_protection=True
    )
    assert (changed.password_protection, changed.auto_turn_off_duration) == (True, "immediatly")
    assert (await full.application.configure(application_name="Renamed")).name == "Renamed"


async def test_a_machine_handle_knows_which_id_is_for_what(
    client: VagonStreams, stream: StreamRef
) -> None:
    machine = await stream.start_machine("dublin")
    with pytest.raises(NotFoundError):
        await client.machines.get(machine.id)
    assert (await client.machines.ref(machine.id, uid=machine.uid).refresh()).id == machine.id


async def test_a_deleted_user_is_not_found(client: VagonStreams, stream: StreamRef) -> None:
    user = await client.users.create()
    await client.users.ref(user.id).delete()
    with pytest.raises(NotFoundError):
        await user.delete()
    with pytest.raises(NotFoundError):
        await stream.assign_machine("dublin", user.id)


async def test_machines_and_visits_are_filtered_and_paged(
    emulator: Emulator, client: VagonStreams, stream: StreamRef
) -> None:
    other = emulator.streams.add_stream(1144, capacities={"dublin": 5})
    began = datetime.fromtimestamp(emulator.clock.now(), UTC)
    for number in range(12):
        machine = emulator.streams.add_machine(
            other.id if number % 3 == 0 else 1381, status="assigned"
        )
        emulator.streams.visitor_opens(machine.id)
        emulator.clock.advance(60)
        emulator.streams.visitor_leaves(machine.id)
    later = began + timedelta(minutes=5, seconds=30)
    for found, pager in (
        (12, client.machines.list(per_page=5)),
        (4, client.machines.list(application_id=1144)),
        (8, client.machines.list(stream_id=STREAM)),
        (6, client.machines.list(start_at=later)),
        (6, client.machines.list(end_at=later)),
        (8, stream.machines(per_page=3)),
    ):
        assert len({machine.id for machine in await pager.all()}) == found
    assert len(await client.sessions.list(per_page=5).all()) == 12
    assert len(await client.sessions.list(start_at=later, stream_id=other.id).all()) == 2
    pages = [page async for page in client.sessions.list(per_page=5).pages()]
    assert [page.next for page in pages] == [2, 3, None]
    assert len(await stream.machines(page=2).all()) == 0


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.applications.ref("1").configure(application_name="x"),
        lambda c: c.streams.list("1").all(),
        lambda c: c.streams.create("none"),
        lambda c: c.streams.ref("1").configure(dark_mode=True),
        lambda c: c.streams.ref("1").machines().all(),
        lambda c: c.streams.ref("1").start_machine("dublin"),
        lambda c: c.streams.ref("1").assign_machine("dublin"),
        lambda c: c.streams.ref("1").connect("dublin"),
        lambda c: c.machines.ref("1").stop(),
        lambda c: c.users.ref("a/b").delete(),
        lambda c: c.streams.ref("stop-machine").start_machine("dublin"),
    ],
)
async def test_a_missing_resource_is_not_found(client: VagonStreams, call: Any) -> None:
    with pytest.raises(NotFoundError):
        await call(client)


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.applications.ref(APPLICATION).configure(machine_type=11),
        lambda c: c.applications.ref(APPLICATION).configure(
            key_mapping_selection=KeyMapping("drag")
        ),
        lambda c: c.streams.ref(STREAM).configure(resolution=Resolution("res_8k")),
        lambda c: c.streams.ref(STREAM).configure(
            auto_turn_off_duration=AutoTurnOffDuration("tomorrow")
        ),
        lambda c: c.streams.ref(STREAM).configure(capacity_type=CapacityType("sometimes")),
        lambda c: c.streams.ref(STREAM).configure(capacities=[Capacity(Region("atlantis"), 1)]),
        lambda c: c.streams.create(
            APPLICATION, capacities=[Capacity("dublin", 1), Capacity("dublin", 2)]
        ),
        lambda c: c.streams.ref(STREAM).start_machine(Region("atlantis")),
        lambda c: c.streams.ref(STREAM).assign_machine(Region("atlantis")),
        lambda c: c.streams.ref(STREAM).connect(Region("atlantis")),
        lambda c: c.machines.list(stream_id=-1).all(),
    ],
)
async def test_a_value_that_the_service_refuses_is_an_invalid_request(
    emulator: Emulator, client: VagonStreams, call: Any
) -> None:
    with pytest.raises(InvalidRequestError) as error:
        await call(client)
    assert error.value.code == VagonCode.BAD_REQUEST
    assert emulator.streams.machines == {}


@pytest.mark.parametrize(
    ("method", "path", "query", "body"),
    [
        ("GET", "/applications", "", b""),
        ("GET", "/applications", "page=1", b""),
        ("GET", "/applications", "page=0&per_page=1", b""),
        ("GET", "/streams", "", b""),
        ("GET", "/machines", "start_at=soon", b""),
        ("GET", "/sessions", "end_at=soon", b""),
        ("GET", "/sessions", "application_id=x", b""),
        ("POST", "/streams", "", b"{}"),
        ("POST", "/streams", "", b'{"application_id":"1143","capacities":[]}'),
        ("POST", "/streams", "", b'{"application_id":"1143","capacities":["dublin"]}'),
        (
            "POST",
            "/streams",
            "",
            b'{"application_id":"1143","capacities":[{"region":"dublin","total_capacity":5}]}',
        ),
        (
            "POST",
            "/streams",
            "",
            b'{"application_id":"1143","capacities":[{"region":"dublin","total_capacity":"0"}]}',
        ),
        (
            "POST",
            "/streams",
            "",
            b'{"application_id":"1143","capacities":[{"region":"dublin","total_capacity":"1000"}]}',
        ),
        ("POST", "/streams", "", b"[]"),
        ("POST", "/streams", "", b"{"),
        ("POST", "/streams/1381/start-machine", "", b""),
        ("POST", "/streams/1381/start-machine", "", b'{"region":["dublin"]}'),
        ("POST", "/streams/stop-machine", "", b'{"machine_id":94683}'),
        ("PUT", "/streams/1381", "", b'{"dark_mode":"true"}'),
        ("PUT", "/streams/1381", "", b'{"password_protection":true}'),
        ("PUT", "/streams/1381", "", b'{"launch_arguments":1}'),
        ("PUT", "/streams/1381", "", b'{"sound":["off"]}'),
        ("PUT", "/applications/1143", "", b'{"application_name":""}'),
        ("PUT", "/applications/1143", "", b'{"machine_type_id":"9"}'),
        ("POST", "/users", "", b'{"email":5}'),
    ],
)
async def test_a_request_against_the_document_is_refused_with_400(
    session: Session, method: str, path: str, query: str, body: bytes
) -> None:
    with pytest.raises(InvalidRequestError) as error:
        await session.send(Request(method, path, query, body or None))
    assert error.value.code == 400


async def test_a_wrong_key_or_a_missing_permission_is_refused(
    emulator: Emulator, client: VagonStreams
) -> None:
    url = emulator.endpoints()["streams"].base_url
    async with VagonStreams(Endpoint(url, auth=HMACAuth(KEY, "wrong"))) as stranger:
        with pytest.raises(AuthenticationError):
            await stranger.applications.list().all()
    emulator.organization.permissions = {"read"}
    await client.applications.list().all()
    with pytest.raises(PermissionDeniedError):
        await client.users.create()


async def test_equal_seeds_give_equal_ids() -> None:
    async def ids() -> tuple[str, str | None]:
        async with (
            Emulator(clock=Clock.stopped(), seed=SEED) as emulator,
            VagonStreams(emulator.endpoints()["streams"]) as client,
        ):
            return (await client.users.create()).id, (
                await client.streams.ref(STREAM).start_machine("dublin")
            ).uid

    assert await ids() == await ids()

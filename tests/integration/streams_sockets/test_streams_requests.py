"""Applications, streams, users and refusals of Vagon Streams, over a socket with signatures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.seeded import KEY, SEED
from vcloud import (
    AuthenticationError,
    Endpoint,
    HMACAuth,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    Request,
    VagonCode,
)
from vcloud._core.session import Session
from vcloud.emulator import Clock, Emulator
from vcloud.providers.streams import (
    AutoTurnOffDuration,
    Capacity,
    CapacityType,
    KeyMapping,
    MachineType,
    Region,
    Resolution,
    StreamRef,
    VagonStreams,
)

APPLICATION = "1143"
STREAM = "1381"


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

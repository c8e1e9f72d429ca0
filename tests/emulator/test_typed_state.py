"""What a test sets in an emulator: attributes, words, ids and the state that it begins with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from tests.seeded import SEED
from vcloud import VCloud
from vcloud.emulator import Clock, Emulator
from vcloud.emulator.computers.catalog import STATUSES
from vcloud.emulator.computers.machine import Machine, NewMachine
from vcloud.emulator.desktops.state import STATUSES as DESKTOP_STATUSES
from vcloud.emulator.settable import Settable
from vcloud.emulator.streams.catalog import CAPACITY_TYPES, KEY_MAPPINGS
from vcloud.emulator.streams.catalog import STATUSES as STREAM_STATUSES
from vcloud.emulator.streams.changes import NewApplication, NewStream
from vcloud.emulator.streams.state import Application, Stream
from vcloud.emulator.streamspace.catalog import AGENT_STATUSES, ALL_STATES
from vcloud.emulator.streamspace.control.fleet import NewUser
from vcloud.emulator.streamspace.service import AddedSession
from vcloud.emulator.streamspace.state import Session, User
from vcloud.providers import computers, desktops, streams, streamspace

START = 1_770_000_000.0
HOUR = 3600


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    clock = Clock.stopped(START)
    async with Emulator(machines=3, sessions=2, desktops=1, clock=clock, seed=SEED) as emulator:
        yield emulator


@pytest.fixture
async def cloud(emulator: Emulator) -> AsyncIterator[VCloud]:
    async with VCloud(**emulator.endpoints()) as cloud:
        yield cloud


@pytest.fixture
def stands_still(emulator: Emulator) -> str:
    # A fixture without a loop: the emulator's stands still meanwhile.
    emulator.computers.machines["101"].status = "creating"
    return emulator.computers.machines["101"].status


# -- status ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", STATUSES)
async def test_a_computer_is_in_the_status_that_was_set(
    emulator: Emulator, cloud: VCloud, word: str
) -> None:
    machine = emulator.computers.machines["100"]
    machine.status = word
    assert machine.status == word
    assert (await cloud.computers.machines.get("100")).friendly_status == word
    emulator.clock.advance(24 * HOUR)
    assert machine.status == word
    if word == "off":
        await cloud.computers.machines.ref("100").start()
        assert machine.status in {"creating", "turning_on"}


@pytest.mark.parametrize("word", STREAM_STATUSES)
async def test_a_streams_machine_is_in_the_status_that_was_set(
    emulator: Emulator, cloud: VCloud, word: str
) -> None:
    machine = emulator.streams.add_machine("1381")
    machine.status = word
    assert machine.status == word
    seen = await cloud.streams.machines.list().first()
    assert seen is not None
    assert seen.connection_status == word


@pytest.mark.parametrize("word", ALL_STATES)
async def test_a_session_is_in_the_state_that_was_set(
    emulator: Emulator, cloud: VCloud, word: str
) -> None:
    (id, session), *_ = emulator.streamspace.sessions.items()
    session.state = word
    assert session.state == word
    assert (await cloud.streamspace.sessions.get(id)).state == word


@pytest.mark.parametrize("word", DESKTOP_STATUSES)
async def test_a_desktop_is_in_the_status_that_was_set(
    emulator: Emulator, cloud: VCloud, word: str
) -> None:
    ((id, desktop),) = emulator.desktops.desktops.items()
    assert desktop.status == "running"
    desktop.status = word
    assert desktop.status == word
    assert (await cloud.desktops.get(id)).status == word


@pytest.mark.parametrize(
    ("words", "known"),
    [
        (STATUSES, computers.MachineStatus),
        (STREAM_STATUSES, streams.ConnectionStatus),
        (DESKTOP_STATUSES, desktops.DesktopStatus),
        (AGENT_STATUSES, streamspace.AgentStatus),
        (CAPACITY_TYPES, streams.CapacityType),
        (KEY_MAPPINGS, streams.KeyMapping),
    ],
)
def test_the_words_are_those_that_clients_know(words: tuple[str, ...], known: Any) -> None:
    assert set(words) == set(known)


def hibernate_and_leave(session: Session) -> None:
    session.state = "hibernated"
    session.idle = 60


def settings(emulator: Emulator) -> dict[str, Callable[[], None]]:
    """For each mistake the text of its error, and the mistake."""
    machine = emulator.computers.machines["100"]
    visitor_machine = emulator.streams.add_machine(1381)
    session = next(iter(emulator.streamspace.sessions.values()))
    desktop = next(iter(emulator.desktops.desktops.values()))
    agent = next(iter(emulator.streamspace.agents.values()))
    stream = emulator.streams.streams[1381]
    return {
        r"status must be one of off, .* not 'redy' \(did you mean ready\?\)": lambda: setattr(
            machine, "status", "redy"
        ),
        "status must be one of waiting": lambda: setattr(visitor_machine, "status", "ready"),
        r"state must be .*hibernated\?": lambda: setattr(session, "state", "hibernate"),
        "status must be one of pending": lambda: setattr(desktop, "status", "stopped"),
        "status must be one of online": lambda: setattr(agent, "status", "up"),
        "capacity_type must be one of": lambda: setattr(stream, "capacity_type", "always"),
        "auto_stop_threshold must be one of 0, 900": lambda: setattr(
            machine, "auto_stop_threshold", 901
        ),
        "usage_source must be one of": lambda: setattr(machine, "usage_source", "me"),
        "machine 100 is off: only a ready one is idle": lambda: setattr(machine, "idle", 60),
        "idle must be 0 or more": lambda: setattr(machine, "idle", -1),
        "session .* is hibernated: only a running one is idle": lambda: hibernate_and_leave(
            session
        ),
        "idle must be a number of seconds or a timedelta": lambda: setattr(machine, "idle", "1h"),
    }


async def test_a_wrong_word_is_refused_with_those_that_there_are(emulator: Emulator) -> None:
    for said, mistake in settings(emulator).items():
        with pytest.raises(ValueError, match=said):
            mistake()
    assert emulator.computers.machines["100"].status == "off"
    # Any word is possible where that is meant: services have had words that no client knew.
    emulator.computers.set_status("100", "melting")
    assert emulator.computers.machines["100"].status == "melting"


@pytest.mark.parametrize(
    "add",
    [
        lambda emulator: emulator.computers.add_machine(status="redy"),
        lambda emulator: emulator.streams.add_machine(1381, status="conected"),
        lambda emulator: emulator.streamspace.add_session(state="runing"),
        lambda emulator: emulator.desktops.add_desktop(status="pendin"),
    ],
    ids=["computer", "stream machine", "session", "desktop"],
)
async def test_what_is_added_in_a_wrong_word_is_refused_too(
    emulator: Emulator, add: Callable[[Emulator], object]
) -> None:
    with pytest.raises(ValueError, match=r"must be one of .* \(did you mean \w+\?\)"):
        add(emulator)


async def test_a_members_word_is_a_word(emulator: Emulator) -> None:
    machine = emulator.computers.machines["100"]
    machine.status = computers.MachineStatus.READY
    assert type(machine.status) is str


@pytest.mark.parametrize(
    ("kind", "wrong", "said"),
    [
        ("computers", "friendly_status", r"\(it is 'status' here\)"),
        ("computers", "state", r"\(it is 'status' here\)"),
        ("computers", "auto_stop_treshold", r"did you mean auto_stop_threshold\?"),
        ("streams", "connection_status", r"\(it is 'status' here\)"),
        ("streamspace", "status", r"\(it is 'state' here\)"),
        ("streamspace", "agent", r"did you mean agent_id\?"),
        ("streamspace", "last_activity", r"\(it is 'idle' here\)"),
        ("desktops", "state", r"\(it is 'status' here\)"),
    ],
)
async def test_a_wrong_attribute_names_the_right_one(
    emulator: Emulator, kind: str, wrong: str, said: str
) -> None:
    emulator.streams.add_machine(1381)
    service = getattr(emulator, kind)
    things = {"streamspace": "sessions", "desktops": "desktops"}.get(kind, "machines")
    thing = next(iter(getattr(service, things).values()))
    with pytest.raises(AttributeError, match=said):
        setattr(thing, wrong, "ready")
    with pytest.raises(AttributeError, match=said):
        getattr(thing, wrong)
    assert not hasattr(thing, wrong)


async def test_a_state_is_set_in_a_fixture_without_a_loop(stands_still: str, cloud: VCloud) -> None:
    assert (await cloud.computers.machines.get("101")).friendly_status == stands_still


# -- what else there is to set ---------------------------------------------------------------------


async def test_clients_see_what_was_set(emulator: Emulator, cloud: VCloud) -> None:
    machine = emulator.computers.machines["100"]
    machine.name, machine.region, machine.user = "Ann's desk", "tokyo", "ann.lee@example.com"
    machine.auto_stop_threshold, machine.usage_source = timedelta(hours=1), "machine"
    machine.remaining_usage = 90
    seen = await cloud.computers.machines.get("100")
    assert (seen.name, seen.region) == ("Ann's desk", "tokyo")
    assert seen.user is not None
    assert (seen.user.email, seen.user.name) == ("ann.lee@example.com", "Ann Lee")
    assert seen.auto_stop_threshold == timedelta(hours=1)
    assert (seen.usage_source, seen.remaining_usage) == ("machine", timedelta(minutes=90))
    assert (machine.remaining_usage, machine.auto_stop_threshold) == (90, HOUR)
    machine.user = None
    assert (await machine_again(cloud)).user is None
    stream = emulator.streams.streams["1381"]
    stream.capacities["dublin"] = 1
    full = await cloud.streams.streams.ref(1381, uid=stream.uid).refresh()
    assert full.capacities is not None
    assert full.capacities[0].total_capacity == 1


async def machine_again(cloud: VCloud) -> computers.Machine:
    return await cloud.computers.machines.get("100")


async def test_a_past_session_is_added_by_how_long_ago_it_ended(
    emulator: Emulator, cloud: VCloud
) -> None:
    machine = emulator.computers.machines["101"]
    machine.add_session(ago=timedelta(days=1), lasted=HOUR)
    machine.add_session(ago=2 * 24 * HOUR)
    newest, oldest = await cloud.computers.machines.ref("101").sessions.list().all()
    now = datetime.fromtimestamp(START, UTC)
    assert (newest.end_at, newest.duration) == (now - timedelta(days=1), timedelta(hours=1))
    assert (oldest.end_at, oldest.duration) == (now - timedelta(days=2), timedelta(minutes=30))
    with pytest.raises(ValueError, match="ago must be 0 or more"):
        machine.add_session(ago=-1)


# -- idle ------------------------------------------------------------------------------------------


async def test_a_ready_machine_has_been_idle_since_it_was_used(emulator: Emulator) -> None:
    machine = emulator.computers.machines["100"]
    assert machine.idle is None
    machine.status = "ready"
    assert machine.idle == 0
    emulator.clock.advance(60)
    assert machine.idle == 60
    emulator.computers.use("100")
    assert machine.idle == 0
    machine.idle = timedelta(hours=3)
    assert machine.idle == 3 * HOUR
    machine.idle = 60
    assert machine.idle == 60


async def test_a_machine_that_was_started_stops_when_it_is_set_idle_for_long_enough(
    emulator: Emulator, cloud: VCloud
) -> None:
    machine = emulator.computers.machines["100"]
    await cloud.computers.machines.ref("100").start()
    emulator.clock.advance(60)
    assert machine.status == "ready"
    machine.idle = 899
    assert machine.status == "ready"
    machine.idle = 900
    assert machine.status == "graceful_stopping"
    emulator.clock.advance(60)
    assert machine.status == "off"
    assert machine.idle is None


async def test_a_running_session_has_been_idle_since_its_last_viewer(
    emulator: Emulator, cloud: VCloud
) -> None:
    (id, session), *_ = emulator.streamspace.sessions.items()
    emulator.clock.advance(60)
    assert session.idle == 60
    handle = cloud.streamspace.sessions.ref(id)
    async with handle.open_vnc() as tunnel:
        await tunnel.read()
        emulator.clock.advance(60)
        assert session.idle == 0
        with pytest.raises(ValueError, match="is viewed: only a running one is idle"):
            session.idle = 60
    while session.viewers:  # noqa: ASYNC110 - the emulator has no event for it
        await asyncio.sleep(0.01)
    emulator.clock.advance(60)
    assert session.idle == 60
    now = datetime.fromtimestamp(START + 180, UTC)
    assert (await handle.refresh()).last_activity == now - timedelta(minutes=1)
    session.idle_timeout = "8h"
    session.idle = timedelta(hours=3)
    assert session.idle == 3 * HOUR
    seen = await handle.refresh()
    assert (seen.last_activity, seen.state) == (now - timedelta(hours=3), "running")
    assert seen.created_at == seen.last_activity
    emulator.clock.advance(5 * HOUR)
    assert session.state == "hibernated"
    assert session.idle is None


# -- ids and keywords ------------------------------------------------------------------------------


async def test_ids_are_taken_as_clients_have_them_and_as_numbers(emulator: Emulator) -> None:
    added = emulator.streams.add_machine(1381)
    machines = emulator.streams.machines
    assert machines[str(added.id)] is machines[added.id] is machines.get(str(added.id)) is added
    ids: list[object] = [str(added.id), added.id, "x"]
    assert [one in machines for one in ids] == [True, True, False]
    assert emulator.computers.machines[100] is emulator.computers.machines["100"]
    ids = [100, "100", 99]
    assert [one in emulator.computers.machines for one in ids] == [True, True, False]
    assert emulator.computers.machines.get("7") is None
    assert emulator.streams.applications["1143"].name == "Test Application"
    with pytest.raises(KeyError, match="'7': there are only 100, 101, 102"):
        emulator.computers.machines["7"]
    with pytest.raises(KeyError, match="there are only"):
        machines[7]
    with pytest.raises(KeyError, match="nothing yet"):
        Emulator().computers.machines["100"]


@pytest.mark.parametrize(
    ("kind", "keywords", "without"),
    [
        (Machine, NewMachine, {"draw", "service"}),
        (Application, NewApplication, set()),
        (Stream, NewStream, {"application", "service"}),
        (User, NewUser, {"username", "password"}),
        (
            Session,
            AddedSession,
            {"user", "template", "service", "phases", "log", "forgotten", "used_at", "viewers"},
        ),
    ],
)
def test_what_is_added_takes_the_attributes_that_it_has(
    kind: type[Any], keywords: type[Any], without: set[str]
) -> None:
    arguments = {one.alias for one in attrs.fields(kind) if one.init}
    given = set(keywords.__annotations__) - ({"status"} if kind is Machine else set())
    private = {"current", "used_at", "spent_before"} if kind is Machine else set()
    assert given == arguments - without - private


async def test_a_wrong_keyword_names_the_nearest(emulator: Emulator) -> None:
    add: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
        (emulator.computers.add_machine, {"stats": "off"}, "status"),
        (emulator.streams.add_stream, {"application_id": 1143, "capacity": {}}, "capacities"),
        (emulator.streams.add_application, {"names": "x"}, "name"),
        (emulator.streamspace.add_session, {"tag": ("x",)}, "tags"),
        (emulator.streamspace.add_user, {"username": "x", "password": "x", "mail": ""}, "email"),
    ]
    for function, arguments, right in add:
        with pytest.raises(TypeError, match=rf"\(did you mean {right}\?\); it takes .*{right}"):
            function(**arguments)
    with pytest.raises(TypeError, match=r"argument 'machine' \(did you mean machines\?\)"):
        Emulator(machine=3)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="status must be one of"):
        emulator.computers.add_machine(status="redy")
    with pytest.raises(ValueError, match="there is a machine 100 already"):
        emulator.computers.add_machine(id=100)


async def test_a_computer_that_is_added_ready_is_in_use(emulator: Emulator) -> None:
    machine = emulator.computers.add_machine(status="ready", user="ann@example.com")
    assert (machine.status, machine.idle) == ("ready", 0)
    assert machine.user is not None
    assert machine.user.name == "Ann"


def test_every_kind_of_state_has_names_for_mistakes() -> None:
    def kinds(of: type[Settable]) -> set[type[Settable]]:
        return {of}.union(*(kinds(one) for one in of.__subclasses__()))

    for kind in kinds(Settable):
        for right in kind.other_names.values():
            assert hasattr(kind, right), (kind, right)
        for name in kind.words:
            assert hasattr(kind, name), (kind, name)

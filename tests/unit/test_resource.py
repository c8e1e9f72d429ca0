from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import attrs
import pytest

from vcloud import (
    ConfigurationError,
    Endpoint,
    HMACAuth,
    InvalidArgumentError,
    NotFoundError,
    OpenEnum,
    WaitFailed,
    WaitTimeout,
)
from vcloud._core.client import client_with
from vcloud._core.codec import Codec
from vcloud._core.request import Request
from vcloud._core.states import wait_until
from vcloud._core.transport import Transport
from vcloud.providers.computers import Machine, MachineRef, VagonComputers
from vcloud.providers.computers.machines import MACHINES, MachineList


def computers() -> VagonComputers:
    return client_with(VagonComputers, Endpoint(auth=HMACAuth("ak", "sk")), transport=Transport())


class Recorder:
    """A session that records the requests that are sent through it."""

    def __init__(self) -> None:
        self.sent: list[Request] = []

    async def fetch(self, request: Request, shape: object) -> None:
        self.sent.append(request)


def fetched(session: Any = None) -> Machine:
    from tests.benchmarks.canned import PAGE, packed

    body = packed(PAGE).partition(b"\r\n\r\n")[2]
    wire = Codec().decode(body, MachineList)
    through: Any = session or Recorder()
    return MACHINES.open(wire, through, body).items[3]


def test_a_fetched_machine_is_its_handle_plus_its_fields() -> None:
    machine = fetched()
    assert isinstance(machine, MachineRef)
    assert (machine.id, machine.name) == ("103", "Computer #103")
    assert computers().machines.ref("103") == computers().machines.ref("103")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        machine.name = "other"  # type: ignore[misc]


def test_raw_is_the_part_of_the_answer_for_this_object_and_empty_for_a_bare_handle() -> None:
    assert fetched().raw["attributes"]["name"] == "Computer #103"
    assert computers().machines.ref("103").raw == {}


def test_a_handle_pickles_alone_and_then_belongs_to_no_client() -> None:
    machine = fetched()
    packed = pickle.dumps(machine)
    assert len(packed) < 4096, "not the whole page"
    back = pickle.loads(packed)
    assert back == machine
    assert back.raw == machine.raw
    with pytest.raises(ConfigurationError, match="belongs to no client"):
        back.start().send(None)


COPIES = [copy.copy, copy.deepcopy, attrs.evolve, lambda one: attrs.evolve(one, name="other")]


@pytest.mark.parametrize("copied", COPIES)
async def test_a_copy_of_a_handle_acts_through_the_same_client(
    copied: Callable[[Machine], Machine],
) -> None:
    session = Recorder()
    machine = fetched(session)
    made = copied(machine)
    assert type(made) is Machine
    assert made == machine or made.name == "other"
    await made.stop()
    assert len(session.sent) == 1


async def test_a_copy_of_an_object_that_holds_handles_keeps_their_client() -> None:
    @dataclasses.dataclass
    class State:
        machine: Machine
        more: list[MachineRef]

    session = Recorder()
    machine = fetched(session)
    state = State(machine, [attrs.evolve(machine)])
    for copied in (copy.deepcopy(state), State(**dataclasses.asdict(state))):
        assert copied == state
        session.sent.clear()
        await copied.machine.stop()
        await copied.more[0].stop()
        assert len(session.sent) == 2


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_of_a_handle_keeps_what_the_service_sent(
    copied: Callable[[Machine], Machine],
) -> None:
    assert copied(fetched()).raw == fetched().raw


def test_a_handle_without_a_client_says_why() -> None:
    packed: MachineRef = pickle.loads(pickle.dumps(fetched()))
    for lost in (packed, copy.copy(packed), copy.deepcopy(packed)):
        with pytest.raises(ConfigurationError, match="a pickle holds no client"):
            lost.start().send(None)
    for lost in (MachineRef(id="103"), attrs.evolve(MachineRef(id="103"), id="104")):
        with pytest.raises(ConfigurationError, match="made by hand"):
            lost.start().send(None)


def test_a_client_does_not_pickle_and_says_so() -> None:
    with pytest.raises(TypeError, match="cannot be pickled or copied"):
        pickle.dumps(computers())


@attrs.frozen
class Thing:
    state: str


class State(OpenEnum):
    OFF = "off"
    TURNING_ON = "turning_on"
    READY = "ready"
    TURNING_OFF = "turning_off"
    PENDING = "pending"
    GONE = "gone"


class Polls:
    def __init__(self, *states: str | Exception) -> None:
        self.states = list(states)
        self.now = 0.0

    async def refresh(self) -> Thing:
        self.now += 1.0
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(state, Exception):
            raise state
        return Thing(state)

    async def wait(self, wanted: object, **options: object) -> Thing:
        return await wait_until(  # type: ignore[type-var]
            self.refresh,
            lambda thing: thing.state,
            wanted,  # type: ignore[arg-type]
            **{
                "states": State,
                "timeout": 30,
                "poll": 0.0001,
                "clock": lambda: self.now,
                "what": "thing 7",
                "terminal_states": ("gone",),
            }
            | options,  # type: ignore[arg-type]
        )


async def test_waiting_ends_with_the_first_wanted_state() -> None:
    assert (await Polls("off", "turning_on", "ready").wait("ready")).state == "ready"
    assert (await Polls("off", "turning_off").wait({"ready", "turning_off"})).state == "turning_off"


async def test_a_wait_that_times_out_names_the_last_state() -> None:
    with pytest.raises(
        WaitTimeout, match=r"thing 7 did not become ready within 0.02 s: it was still turning_on"
    ) as caught:
        await Polls("turning_on").wait("ready", timeout=0.02)
    assert caught.value.last == "turning_on"


@pytest.mark.parametrize("nothing", [0, 0.0, timedelta(0)])
async def test_a_wait_with_a_timeout_of_zero_polls_once(nothing: Any) -> None:
    polls = Polls("ready")
    assert (await polls.wait("ready", timeout=nothing)).state == "ready"
    with pytest.raises(WaitTimeout, match="^thing 7 is turning_on, not ready$") as caught:
        await (polls := Polls("turning_on", "ready")).wait("ready", timeout=nothing)
    assert caught.value.last == "turning_on"
    assert polls.now == 1.0, "one request"
    with pytest.raises(WaitFailed):
        await Polls("gone").wait("ready", timeout=nothing)


async def test_a_wait_that_cannot_succeed_ends_at_once() -> None:
    with pytest.raises(WaitFailed, match="thing 7 is gone and will not become ready") as caught:
        await Polls("pending", "gone").wait("ready")
    assert caught.value.last == "gone"


async def test_an_error_of_a_poll_is_raised() -> None:
    with pytest.raises(NotFoundError):
        await Polls("off", NotFoundError("gone", status=404)).wait("ready")


async def test_an_unknown_state_is_refused_unless_it_is_given_as_a_member() -> None:
    with pytest.raises(
        InvalidArgumentError, match="state must be one of off, turning_on, ready,.*not 'redy'"
    ):
        await Polls("off").wait("redy")
    assert (await Polls("dreaming").wait(State("dreaming"))).state == "dreaming"


@pytest.mark.parametrize(
    "options",
    [
        {"wanted": ()},
        {"wanted": None},
        {"wanted": "ready", "poll": 0},
        {"wanted": "ready", "poll": -1},
        {"wanted": "ready", "timeout": -1},
        {"wanted": "ready", "timeout": timedelta(microseconds=-1)},
        {"wanted": "ready", "timeout": True},
        {"wanted": "ready", "timeout": None},
        {"wanted": "ready", "timeout": "5m"},
    ],
)
async def test_a_wait_for_no_state_or_without_interval_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        await Polls("off").wait(**options)

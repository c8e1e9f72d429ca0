"""Vagon Streams without a socket: refused arguments, answers, and errors of the service."""

from __future__ import annotations

import json
import pickle
from collections.abc import Awaitable, Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fields import fields
from vcloud import (
    CapacityError,
    ConfigurationError,
    ConflictError,
    DecodeError,
    Endpoint,
    HMACAuth,
    InsufficientFundsError,
    InvalidArgumentError,
    InvalidRequestError,
    NotFoundError,
    Request,
    Response,
    VagonCode,
)
from vcloud._core.codec import Codec
from vcloud._core.scalars import MAX_NUMBER_TEXT
from vcloud._core.session import Session
from vcloud._core.transport import Transport
from vcloud.providers.streams import (
    Assignment,
    AudioState,
    AutoTurnOffDuration,
    Capacity,
    ConnectionStatus,
    IdleDuration,
    MachineType,
    MaximumSessionDuration,
    Region,
    StreamMachine,
    VagonStreams,
)
from vcloud.providers.streams.applications import APPLICATION, APPLICATIONS
from vcloud.providers.streams.errors import SERVICE
from vcloud.providers.streams.machines import ASSIGNMENT, MACHINE, MACHINES
from vcloud.providers.streams.sessions import SESSIONS
from vcloud.providers.streams.stream import STREAM
from vcloud.providers.streams.streams import STREAMS
from vcloud.providers.streams.users import USER

DOCUMENT = json.loads(
    (Path(__file__).parents[1] / "contract" / "documents" / "streams.json").read_text(
        encoding="utf-8"
    )
)
EXAMPLES = {
    operation["id"]: operation["responses"][0]["body"] for operation in DOCUMENT["operations"]
}
SHAPES: dict[str, Any] = {
    "applications.list": APPLICATIONS,
    "applications.update": APPLICATION,
    "streams.list": STREAMS,
    "streams.create": STREAM,
    "streams.get": STREAM,
    "streams.update": STREAM,
    "streams.machines.list": MACHINES,
    "streams.start_machine": MACHINE,
    "streams.assign_machine": ASSIGNMENT,
    "machines.list": MACHINES,
    "machines.get": MACHINE,
    "users.create": USER,
    "sessions.list": SESSIONS,
}
CODEC = Codec()
# Not opened: a call that gets past its own checks fails on that, and on nothing else.
ENDPOINT = Endpoint(auth=HMACAuth("ak_test_1", "sk_test_1"))
CLIENT = VagonStreams(ENDPOINT)
SESSION = Session(SERVICE, ENDPOINT, "https://vagon.test/v2", Transport())


def opened(operation: str, body: Any = None) -> Any:
    raw = json.dumps(EXAMPLES[operation] if body is None else body).encode()
    shape = SHAPES[operation]
    return shape.open(CODEC.decode(raw, shape.wire), SESSION, raw)


def attributes(operation: str) -> Any:
    body = deepcopy(EXAMPLES[operation])
    return body, body["attributes"]


# -- arguments -------------------------------------------------------------------------------------

STREAM_REF = CLIENT.streams.ref("1381")
NAIVE = datetime(2026, 1, 1)
REFUSED: list[tuple[str, Callable[[], Awaitable[object]]]] = [
    ("nothing to configure", lambda: CLIENT.applications.ref("1143").configure()),
    (
        "application_name must not be empty",
        lambda: CLIENT.applications.ref("1143").configure(application_name=" "),
    ),
    (
        "machine_type must be a whole number",
        lambda: CLIENT.applications.ref("1143").configure(machine_type="Pro"),  # type: ignore[arg-type]
    ),
    ("nothing to configure", STREAM_REF.configure),
    ("capacities must be", lambda: STREAM_REF.configure(capacities=[])),
    ("capacities must be", lambda: STREAM_REF.configure(capacities=[{"region": "dublin"}])),  # type: ignore[list-item]
    ("fetched by its uid", STREAM_REF.refresh),
    ("region must be", lambda: STREAM_REF.start_machine("")),
    ("region must be", lambda: STREAM_REF.assign_machine("")),
    ("region must be", lambda: STREAM_REF.connect("")),
    ("poll must be greater than 0", lambda: STREAM_REF.connect("dublin", poll=0)),
    ("application_id must not be", lambda: CLIENT.streams.create("")),
    ("id must not be", lambda: CLIENT.streams.get("..")),
    ("fetched by its uid", lambda: CLIENT.machines.ref("94683").refresh()),
    ("fetched by its uid", lambda: CLIENT.machines.ref("94683").wait_until("available")),
    ("uid must not be", lambda: CLIENT.machines.get("")),
    ("email must be", lambda: CLIENT.users.create("nobody")),
    ("email must be", lambda: CLIENT.users.create(" ")),
    ("user must not be", lambda: STREAM_REF.connect("dublin", "")),
    ("user must be", lambda: STREAM_REF.connect("dublin", True)),
    ("region must be one of", lambda: STREAM_REF.connect("dubln")),
]


@pytest.mark.parametrize(("said", "call"), REFUSED)
async def test_a_bad_argument_is_refused_before_anything_is_sent(
    said: str, call: Callable[[], Awaitable[object]]
) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        await call()


@pytest.mark.parametrize(
    ("said", "call"),
    [
        ("no timezone", lambda: CLIENT.machines.list(start_at=NAIVE)),
        ("no timezone", lambda: CLIENT.sessions.list(end_at=NAIVE)),
        ("stream_id must be a whole number", lambda: CLIENT.machines.list(stream_id="x")),
        ("application_id must be a whole number", lambda: CLIENT.sessions.list(application_id="x")),
        ("per_page", lambda: CLIENT.applications.list(per_page=0)),
        ("page", lambda: STREAM_REF.machines(page=0)),
        ("application_id must not be", lambda: CLIENT.streams.list("")),
        ("total_capacity", lambda: Capacity("dublin", 0)),
        ("total_capacity", lambda: Capacity("dublin", True)),
        ("total_capacity", lambda: Capacity("dublin", "5")),  # type: ignore[arg-type]
        ("region must be", lambda: Capacity("", 5)),
        ("id must not be", lambda: CLIENT.streams.ref(".")),
        ("uid must not be", lambda: CLIENT.machines.ref("1", uid="")),
    ],
)
def test_a_bad_argument_is_refused_before_anything_is_awaited(
    said: str, call: Callable[[], object]
) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        call()


async def test_a_good_call_gets_as_far_as_the_closed_client() -> None:
    with pytest.raises(ConfigurationError, match="not open"):
        await STREAM_REF.connect(Region.DUBLIN)


# -- reading answers -------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", SHAPES)
def test_the_document_s_examples_are_read_alike_by_both_ways_and_strictly(operation: str) -> None:
    body, wire = json.dumps(EXAMPLES[operation]).encode(), SHAPES[operation].wire
    fast = fields(CODEC.decode_fast(body, wire))
    assert (
        fast
        == fields(CODEC.decode_leniently(body, wire))
        == fields(Codec(strict=True).decode(body, wire))
    )


texts = st.text(max_size=20)
#: Hypothesis makes decimals of any length, and a longer one is refused either way of reading.
AMOUNTS = (
    st.decimals(0, 10**9, allow_nan=False, allow_infinity=False)
    .map(str)
    .filter(lambda text: len(text) <= MAX_NUMBER_TEXT)
)
MACHINE_ANSWERS = st.fixed_dictionaries(
    {
        "id": texts,
        "type": st.just("machine"),
        "attributes": st.fixed_dictionaries(
            {
                "start_at": st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
                "end_at": st.none() | st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
                "status": texts,
                "friendly_status": texts,
                "connection_status": st.sampled_from(ConnectionStatus) | texts,
                "region": st.sampled_from(Region) | texts,
                "uid": texts,
                "cost": AMOUNTS,
                "duration": st.integers(0, 10**9),
                "application_name": texts,
                "application_id": st.integers(0, 2**53) | texts,
                "stream_id": st.integers(0, 2**53) | texts,
                "stream_name": texts,
                "machine_type": texts,
                "public_ip_address": st.none() | texts,
            },
            optional={"something_new": st.none() | st.integers() | texts},
        ),
        "client_code": st.just(200),
    }
)


@given(MACHINE_ANSWERS)
def test_both_ways_of_reading_a_machine_give_equal_objects(answer: dict[str, Any]) -> None:
    body = json.dumps(answer).encode()
    assert fields(CODEC.decode_fast(body, MACHINE.wire)) == fields(
        CODEC.decode_leniently(body, MACHINE.wire)
    )


SESSION_ANSWERS = st.fixed_dictionaries(
    {
        "start_at": st.just("2024-03-11T08:03:47.735Z"),
        "region": st.sampled_from(Region),
        "application_name": texts,
        "application_id": st.integers(0, 2**53),
        "stream_id": st.integers(0, 2**53),
        "stream_name": texts,
        "machine_type": texts,
    },
    optional={
        "end_at": st.none(),
        "ping": st.none() | st.integers(0, 10**6) | st.floats(0, 10**6),
        "audio_state": st.none() | st.sampled_from(AudioState) | texts,
        "audio_input": st.none()
        | st.fixed_dictionaries(
            {"kind": texts, "label": texts, "groupId": texts, "deviceId": texts}
        ),
        "duration": st.none() | st.integers(0, 10**6),
        "city": st.none() | texts,
        "customer": st.none() | texts,
    },
)


@given(SESSION_ANSWERS)
def test_both_ways_of_reading_a_visit_give_equal_objects_whatever_was_collected(
    given_: dict[str, Any],
) -> None:
    answer = {
        "sessions": [{"id": "9150", "type": "vendor_customer_session", "attributes": given_}],
        "count": 1,
        "page": 1,
        "client_code": 200,
    }
    body = json.dumps(answer).encode()
    assert fields(CODEC.decode_fast(body, SESSIONS.wire)) == fields(
        CODEC.decode_leniently(body, SESSIONS.wire)
    )


def test_a_machine_s_seconds_and_a_visit_s_minutes_are_durations() -> None:
    machine = opened("machines.get")
    assert (machine.duration, machine.cost) == (timedelta(seconds=287), Decimal("0.13"))
    (visit,) = opened("sessions.list").items
    assert (visit.duration, visit.ping, visit.city) == (timedelta(minutes=4), 98.0, None)


def test_the_other_spelling_of_immediately_is_the_same_value() -> None:
    body, given_ = attributes("streams.get")
    for spelling in ("immediatly", "immediately"):
        given_["auto_turn_off_duration"] = spelling
        assert opened("streams.get", body).auto_turn_off_duration is AutoTurnOffDuration.IMMEDIATELY


def test_a_setting_that_is_a_duration_can_be_read_as_one() -> None:
    assert AutoTurnOffDuration.IMMEDIATELY.duration == timedelta(0)
    assert AutoTurnOffDuration.HOUR_3.duration == timedelta(hours=3)
    assert IdleDuration.MIN_10.duration == timedelta(minutes=10)
    assert MaximumSessionDuration.OFF.duration is None
    assert IdleDuration("a while").duration is None


def test_new_values_and_new_fields_of_the_service_do_not_break_anything() -> None:
    body, given_ = attributes("streams.get")
    given_ |= {
        "resolution": "res_8k",
        "sound": "louder",
        "new": {"a": [1]},
        "password_protection": "true",
    }
    given_["capacities"][0]["attributes"] |= {"region": "atlantis", "total_capacity": "10"}
    stream = opened("streams.get", body)
    assert (stream.resolution, stream.resolution.known, stream.password_protection) == (
        "res_8k",
        False,
        True,
    )
    assert (stream.capacities[0].region, stream.capacities[0].total_capacity) == ("atlantis", 10)
    assert stream.raw["attributes"]["new"] == {"a": [1]}


def test_nested_resources_become_handles_and_values() -> None:
    stream = opened("streams.get")
    assert (stream.application.id, stream.application.active_executable.id) == ("1144", "1223")
    assert stream.application.raw["type"] == "application"
    assert stream.capacities[0].machine_type_id not in set(MachineType)
    (listed,) = opened("streams.list").items
    assert (listed.application.name, listed.capacities, listed.texts) == (
        "Test Application",
        None,
        None,
    )
    body = deepcopy(EXAMPLES["applications.update"])
    body["attributes"]["active_executable"] = None
    assert opened("applications.update", body).active_executable is None


@pytest.mark.parametrize(
    "operation", ["applications.update", "streams.get", "streams.start_machine", "users.create"]
)
def test_a_resource_survives_pickling_and_can_be_hashed(operation: str) -> None:
    made = opened(operation)
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    assert hash(again) == hash(made)
    assert again.raw == made.raw


@pytest.mark.parametrize(
    "change",
    [
        {"cost": "much"},
        {"connection_status": 1},
        {"start_at": "yesterday"},
        {"duration": "long"},
        {"region": []},
    ],
)
def test_an_answer_out_of_the_contract_is_a_decode_error_that_names_the_field(
    change: dict[str, Any],
) -> None:
    body, given_ = attributes("machines.get")
    given_ |= change
    with pytest.raises(DecodeError, match=next(iter(change))):
        opened("machines.get", body)


# -- secrets ---------------------------------------------------------------------------------------


def test_the_link_of_an_assignment_is_in_no_text_and_no_pickle() -> None:
    assignment = opened("streams.assign_machine")
    assert isinstance(assignment, Assignment)
    link = EXAMPLES["streams.assign_machine"]["connection_link"]
    assert assignment.connection_link == link
    assert link.rpartition("/")[2] not in repr(assignment)
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(assignment)
    # The machine came in the same answer, but only its own part of it travels.
    assert link.encode() not in pickle.dumps(assignment.machine)
    assert isinstance(assignment.machine, StreamMachine)


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, InvalidRequestError),
        (404, NotFoundError),
        (440, CapacityError),
        (480, InsufficientFundsError),
        (4204, ConflictError),
        (4601, ConflictError),
        (4610, ConflictError),
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_a_refusal_has_its_type_whatever_the_http_status(
    code: int, kind: type, status: int
) -> None:
    body = json.dumps(
        {"client_code": code, "message": "no", "timestamp": "2024-03-27T10:52:15Z"}
    ).encode()
    error = SERVICE.error(
        Request("POST", "/streams/1/start-machine"),
        Response(status, {}, body),
        "https://x/y",
        now=0.0,
    )
    assert error is not None
    assert type(error) is kind
    assert (error.code, error.provider) == (code, "streams")


@pytest.mark.parametrize("code", [VagonCode.NOT_COST_OPTIMIZED, VagonCode.NOT_COST_OPTIMIZED_OLD])
def test_a_start_of_another_kind_of_stream_says_what_can_be_started(code: VagonCode) -> None:
    body = json.dumps({"client_code": code, "timestamp": "2024-03-27T10:52:15Z"}).encode()
    error = SERVICE.error(Request("POST", "/"), Response(400, {}, body), "https://x/y", now=0.0)
    assert "only machines of cost optimized streams can be started by hand" in str(error)

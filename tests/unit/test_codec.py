from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Generic, TypeVar

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fields import fields
from vcloud import DecodeError
from vcloud._core.codec import Codec
from vcloud._core.scalars import (
    MAX_REMEMBERED,
    REMEMBERED,
    Amount,
    Id,
    Instant,
    Minutes,
    OpenEnum,
    Seconds,
    convert,
)
from vcloud.providers.computers import MachineStatus
from vcloud.providers.computers.machines import MachineList
from vcloud.providers.computers.models import MachineTypeList
from vcloud.providers.computers.tasks import TaskOutcome
from vcloud.providers.streamspace.models import SessionLogs
from vcloud.providers.vagon import Envelope

T = TypeVar("T")
CODEC = Codec()


class Colour(OpenEnum):
    RED = "red"


@frozen(kw_only=True)
class Wrapped(Generic[T]):
    attributes: T


@frozen(kw_only=True)
class Sample:
    text: str
    id: Id
    count: int
    ratio: float
    yes: bool
    cost: Amount
    at: Instant | None
    idle: Seconds
    left: Minutes
    colour: Colour
    extra: dict[str, Any] | None = None


@frozen(kw_only=True)
class Tagged:
    tags: tuple[str, ...]
    count: int


GOOD = {
    "text": "x",
    "id": "7",
    "count": 3,
    "ratio": 0.5,
    "yes": True,
    "cost": "0.182",
    "at": "2026-01-23T11:02:41.902Z",
    "idle": 900,
    "left": 3,
    "colour": "red",
}


def decode(**changes: object) -> Sample:
    return CODEC.decode(
        json.dumps({"attributes": GOOD | changes}).encode(), Wrapped[Sample]
    ).attributes


def test_units_belong_to_the_type() -> None:
    sample = decode()
    assert sample.idle == timedelta(minutes=15)
    assert sample.left == timedelta(minutes=3)
    assert sample.cost == Decimal("0.182")
    assert sample.at == datetime(2026, 1, 23, 11, 2, 41, 902000, tzinfo=UTC)


@pytest.mark.parametrize("kind", [Id, Minutes])
def test_only_a_bounded_number_of_values_is_cached(kind: type[Any]) -> None:
    sizes = set()
    for number in range(2 * MAX_REMEMBERED + 2):
        assert convert(kind, number) == (str(number) if kind is Id else timedelta(minutes=number))
        sizes.add(len(REMEMBERED[kind]))
    assert max(sizes) == MAX_REMEMBERED


@pytest.mark.parametrize(
    ("field", "wire", "value"),
    [
        ("id", 7, "7"),
        ("count", "3", 3),
        ("count", 3.0, 3),
        ("ratio", "0.5", 0.5),
        ("yes", "true", True),
        ("cost", 0.13, Decimal("0.13")),
        ("at", "2026-01-23T11:02:41", datetime(2026, 1, 23, 11, 2, 41, tzinfo=UTC)),
        (
            "at",
            "2025-11-23T10:00:00.123456789Z",
            datetime(2025, 11, 23, 10, 0, 0, 123457, tzinfo=UTC),
        ),
        ("idle", "900", timedelta(minutes=15)),
        ("text", 5, "5"),
    ],
)
def test_known_misspellings_of_a_value_are_understood(
    field: str, wire: object, value: object
) -> None:
    assert getattr(decode(**{field: wire}), field) == value


@pytest.mark.parametrize(
    ("field", "wire"),
    [
        ("id", None),
        ("id", True),
        ("count", True),
        ("count", 3.5),
        ("count", "x"),
        ("yes", 1),
        ("yes", "no"),
        ("cost", "much"),
        ("at", 5),
        ("at", "yesterday"),
        ("idle", True),
        ("idle", 1e300),
        ("colour", 5),
        ("colour", None),
        ("text", None),
        ("text", ["x"]),
    ],
)
def test_an_invalid_value_in_an_answer_is_refused_and_named(field: str, wire: object) -> None:
    # Decoded twice, because scalars are remembered: the second time must not be more generous than
    # the first.
    decode()
    for _ in range(2):
        with pytest.raises(DecodeError, match=rf"attributes\.{field}"):
            decode(**{field: wire})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502</html>",
        b'{"attributes":',
        b"[]",
        b"null",
        b'{"attributes":[]}',
        b"\xff\xfe",
        b"{}",
    ],
)
def test_malformed_answers_are_decode_errors_that_show_how_they_began(body: bytes) -> None:
    with pytest.raises(DecodeError, match="the answer (began|was empty)"):
        CODEC.decode(body, Wrapped[Sample])


def test_a_sensitive_answer_is_not_shown() -> None:
    for body in (b'{"attributes":{"text":"hunter2"}}', b"hunter2"):
        with pytest.raises(DecodeError) as caught:
            CODEC.decode(body, Wrapped[Sample], sensitive=True)
        assert "hunter2" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_unknown_fields_are_ignored_leniently_and_refused_strictly() -> None:
    body = json.dumps({"attributes": GOOD | {"new": 1}}).encode()
    assert CODEC.decode(body, Wrapped[Sample]) == CODEC.decode(
        json.dumps({"attributes": GOOD}).encode(), Wrapped[Sample]
    )
    with pytest.raises(DecodeError, match="new"):
        Codec(strict=True).decode(body, Wrapped[Sample])


def test_an_unknown_enum_value_is_kept_and_says_so() -> None:
    colour = decode(colour="mauve").colour
    assert isinstance(colour, Colour)
    assert colour == "mauve"
    assert not colour.known
    assert Colour.RED.known
    assert "mauve" not in list(Colour)
    assert pickle.loads(pickle.dumps(colour)) == colour
    assert hash(colour) == hash("mauve")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)

MACHINE = st.fixed_dictionaries(
    {
        "name": st.text(),
        "last_session_start_at": st.none()
        | st.datetimes(timezones=st.just(UTC)).map(lambda at: at.isoformat()),
        "auto_stop_threshold": st.sampled_from([0, 900, 3600, 10800, 21600]),
        "file_storage_size": st.integers(0, 10**6),
        "disk_size": st.integers(0, 10**6),
        "network_credit": st.integers(0, 2**62),
        "assigned_image_id": st.none() | st.integers(0, 10**6),
        "assigned_image_name": st.none() | st.text(),
        "region": st.none() | st.text(),
        "machine_type": st.text(),
        "remaining_usage": st.integers(0, 10**6),
        "deposited_usage": st.integers(0, 10**6),
        "friendly_status": st.sampled_from(list(MachineStatus)) | st.text(),
        "user": st.none()
        | st.fixed_dictionaries(
            {
                "id": st.text(),
                "type": st.text(),
                "attributes": st.fixed_dictionaries(
                    {"email": st.text()}, optional={"name": st.none() | st.text()}
                ),
            }
        ),
        "permissions": st.dictionaries(
            st.sampled_from(["clipboard_enabled", "screen_recording_enabled", "unheard_of"]),
            st.booleans(),
        ),
        "task": st.none()
        | st.fixed_dictionaries(
            {"id": st.integers(), "uid": st.text(), "created_at": st.just("2026-04-20T09:15:00Z")}
        ),
        "latest_image_status": st.none()
        | st.sampled_from(["in_use", "processing", "ready", "other"]),
    },
    optional={"usage_source": st.sampled_from(["machine", "team_balance"]), "something_new": JSON},
)


@pytest.mark.parametrize("body", [b'{"client_code":200,"new":"\xff\xfe"}', b'{"\xc3(":1}'])
def test_invalid_utf8_is_refused_even_in_unknown_fields(body: bytes) -> None:
    with pytest.raises(DecodeError, match="not JSON"):
        CODEC.decode(body, Envelope)


@pytest.mark.parametrize("value", ["abc", {"a": 1}, 7])
def test_a_string_or_an_object_is_not_a_list(value: object) -> None:
    with pytest.raises(DecodeError, match="expected a list"):
        CODEC.decode(json.dumps({"logs": value}).encode(), SessionLogs)
    with pytest.raises(DecodeError, match="expected a list"):
        CODEC.decode(json.dumps({"tags": value, "count": "7"}).encode(), Tagged)


@given(st.lists(MACHINE, max_size=3))
def test_both_ways_of_decoding_give_equal_objects(machines: list[dict[str, Any]]) -> None:
    items = [
        {"id": str(number), "type": "machine", "attributes": machine}
        for number, machine in enumerate(machines)
    ]
    body = json.dumps(
        {"machines": items, "count": len(items), "page": 1, "next_page": None, "client_code": 200}
    ).encode()
    assert fields(CODEC.decode_fast(body, MachineList)) == fields(
        CODEC.decode_leniently(body, MachineList)
    )


@pytest.mark.parametrize("wire", [MachineList, MachineTypeList, TaskOutcome, Wrapped[Sample]])
@given(value=JSON)
def test_arbitrary_json_is_an_object_or_a_decode_error(wire: type, value: object) -> None:
    body = json.dumps(
        {
            "machines": [value],
            "task": value,
            "result": value,
            "machine_types": value,
            "attributes": value,
        }
    ).encode()
    for candidate in (body, json.dumps(value).encode()):
        try:
            CODEC.decode(candidate, wire)
        except DecodeError:
            pass

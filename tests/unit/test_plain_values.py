"""Plain JSON values of what models and errors hold."""

import json
from collections import deque
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcloud import (
    Attempt,
    Instance,
    InstanceState,
    NotFoundError,
    Outcome,
    OutcomeStatus,
    Page,
    Queued,
    RateLimit,
    VagonCode,
    WaitReason,
)
from vcloud.errors.plain import plain
from vcloud.providers import computers, desktops, streamspace


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (2**64, "18446744073709551616"),
        (-(2**63), -(2**63)),
        (-(2**63) - 1, "-9223372036854775809"),
        (0.5, 0.5),
        (float("nan"), None),
        (float("-inf"), None),
        ("text", "text"),
        ("\ud800", "\\ud800"),
        (Decimal("1.50"), "1.50"),
        (timedelta(minutes=15), 900.0),
        (timedelta(milliseconds=1), 0.001),
        (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00Z"),
        (datetime(2026, 1, 31, 12, 0, 0, 5000, UTC), "2026-01-31T12:00:00.005000Z"),
        (datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=2))), "2026-01-31T10:00:00Z"),
        (
            datetime.min.replace(tzinfo=timezone(timedelta(hours=2))),
            "0001-01-01T00:00:00+02:00",
        ),
        (InstanceState.RUNNING, "running"),
        (computers.MachineStatus("of tomorrow"), "of tomorrow"),
        (VagonCode.MACHINE_RUNNING, 4206),
        (desktops.Point(1, 2), [1, 2]),
        (b"\xff\xd8", "<2 bytes>"),
        ((1, [2]), [1, [2]]),
        ({"b"}, ["b"]),
        (deque([1]), [1]),
        ({1: timedelta(seconds=1), None: 2}, {"1": 1.0, "None": 2}),
        (
            {"VNC_PASSWORD": "x", "apiKey": "x", "user": "x"},
            {"VNC_PASSWORD": "***", "apiKey": "***", "user": "x"},
        ),
        (ValueError("no"), {"type": "ValueError", "text": "no"}),
        (iter([1]), "<list_iterator>"),
        (object, "<type>"),
        (computers.Machine, "<_HandleType>"),
        (date(2026, 1, 31), "2026-01-31"),
    ],
    ids=lambda one: type(one).__name__,  # a repr may have an address
)
def test_a_value_is_written_in_one_way(value: Any, written: Any) -> None:
    assert plain(value) == written
    assert type(plain(value)) is type(written)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.decimals()
    | st.timedeltas()
    | st.datetimes(timezones=st.none() | st.timezones()),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters()) | st.integers(), inner)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_whatever_it_is_it_comes_back_from_json(value: object) -> None:
    made = plain(value)
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert msgspec.json.decode(msgspec.json.encode(made)) == made
    # As FastAPI and Starlette encode it.
    json.dumps(made, ensure_ascii=False).encode()


def test_what_is_nested_too_deep_or_in_itself_ends() -> None:
    loop: list[object] = []
    loop.append(loop)
    assert "<list>" in json.dumps(plain(loop))
    assert plain([[[]]], 2) == [["<list>"]]


def test_a_model_holds_its_parts_as_dictionaries() -> None:
    machine = computers.MachineRef(id="100")
    instance = Instance("computers", "100", "n", InstanceState.RUNNING, None, None, machine)
    assert instance.to_dict() == {
        "provider": "computers",
        "id": "100",
        "name": "n",
        "state": "running",
        "region": None,
        "started_at": None,
    }
    outcome: Outcome[object, object] = Outcome(
        machine, "computers/100", OutcomeStatus.FAILED, error=NotFoundError("no", status=404)
    )
    told = outcome.to_dict()
    assert told["item"] == {"id": "100"}
    assert told["error"]["type"] == "NotFoundError"
    assert told["duration"] == 0.0
    assert RateLimit(5, 60).to_dict()["per"] == 60


def test_what_observers_and_lists_give_are_dictionaries_too() -> None:
    attempt = Attempt("computers", "POST /machines", "POST", "https://h/v1", "/machines", 1, 0.5)
    attempt.error = NotFoundError("no", status=404)
    told = attempt.to_dict()
    assert told["waited"] == 0.5
    assert told["error"]["status"] == 404
    queued = Queued("c", "GET /m", "GET", "https://h", "/m", WaitReason.SLOT, 1.5, None, 3)
    assert queued.to_dict()["reason"] == "slot"
    page = Page((computers.MachineRef(id="1"),), 1, 7, 2)
    assert page.to_dict() == {
        "items": [{"id": "1"}],
        "number": 1,
        "total": 7,
        "next": 2,
        "last": None,
        "error": None,
        "unread": 0,
    }


def test_an_action_says_what_it_is_and_not_what_it_types() -> None:
    assert desktops.ClickMouse(x=1, y=2).to_dict()["type"] == "click_mouse"
    assert desktops.TypeText("hunter2").to_dict() == {"type": "type"}


def test_a_container_s_passwords_are_hidden() -> None:
    data = streamspace.StartData(
        name="s", user="u", template="t", environment={"VNC_PASSWORD": "hunter2", "LANG": "C"}
    )
    assert data.to_dict()["environment"] == {"VNC_PASSWORD": "***", "LANG": "C"}

"""Arguments: every method of every client accepts and refuses the same values."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_hostile_arguments import CALLS, OTHER, TAME, Call, make
from vcloud import (
    BearerAuth,
    ConfigurationError,
    Endpoint,
    InvalidArgumentError,
    OpenEnum,
    RateLimit,
    RetryPolicy,
    UnsupportedError,
)
from vcloud._core.arguments import (
    flag,
    identifier,
    instant,
    member,
    number,
    number_from_zero,
    optional_member,
    positive_integer,
    positive_seconds,
    seconds,
    seconds_from_zero,
    text,
    whole_number,
    whole_units,
)
from vcloud.providers.computers import MachineStatus
from vcloud.providers.desktops import KeyAction, MouseButton, ScrollDirection
from vcloud.providers.streams import AutoTurnOffDuration, Capacity, MediaActivation, Region


class Text(str):
    """A text of a class of its own, which msgspec would not encode."""

    __slots__ = ()


class Whole(int):
    """A number of a class of its own."""


# -- the helpers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["100", 100, Text("100"), Whole(100)])
def test_an_id_is_a_plain_text_however_it_was_given(value: Any) -> None:
    assert identifier(value) == "100"
    assert type(identifier(value)) is str
    assert number(value, "plan_id") == 100
    assert type(number(value, "plan_id")) is int


@pytest.mark.parametrize("value", [True, False, 1.0, None, b"1", [1], 10**19, -(10**19)])
def test_an_id_is_a_string_or_a_whole_number_of_bounded_length(value: Any) -> None:
    for check in (identifier, number):
        with pytest.raises(InvalidArgumentError, match="machine_id must"):
            check(value, "machine_id")


@pytest.mark.parametrize("value", [0, -1, True, 1.0, "1", None, [1], Whole(1)])
def test_a_number_that_is_not_a_positive_integer_is_refused_with_the_argument_name(
    value: Any,
) -> None:
    with pytest.raises(
        InvalidArgumentError, match="per_page must be a whole number of at least 1, not"
    ):
        positive_integer(value, "per_page")


def test_a_whole_number_above_zero_is_returned_as_it_is() -> None:
    assert [positive_integer(value, "per_page") for value in (1, 10**30)] == [1, 10**30]


@pytest.mark.parametrize("value", ["left", Text("left"), MouseButton.LEFT, ScrollDirection.LEFT])
def test_a_closed_enumeration_takes_its_members_and_their_values(value: Any) -> None:
    assert member(value, MouseButton, "button") is MouseButton.LEFT
    assert optional_member(value, MouseButton, "button") is MouseButton.LEFT


@pytest.mark.parametrize("value", ["", "LEFT", "down", KeyAction.DOWN, 1, ["left"], {}])
def test_a_closed_enumeration_refuses_the_rest_and_offers_no_way_around(value: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        member(value, MouseButton, "button")
    assert str(caught.value) == f"button must be one of left, right, middle, not {value!r:.80}"


def test_a_number_too_long_to_be_printed_is_refused_too() -> None:
    for check in (identifier, number):
        with pytest.raises(InvalidArgumentError, match="machine_id must"):
            check(10**5000, "machine_id")


@given(st.text())
def test_an_id_is_refused_or_comes_back_unchanged(value: str) -> None:
    try:
        assert identifier(value) == value
    except InvalidArgumentError:
        assert value in ("", ".", "..") or not value.isascii()


@pytest.mark.parametrize("value", ["off", MachineStatus.OFF, MediaActivation.OFF])
def test_an_enumerated_value_is_a_member_however_it_was_given(value: Any) -> None:
    assert member(value, MachineStatus, "status") is MachineStatus.OFF


def test_both_spellings_of_immediately_are_one_member() -> None:
    for spelling in ("immediately", "immediatly"):
        found = member(spelling, AutoTurnOffDuration, "auto_turn_off_duration")
        assert found is AutoTurnOffDuration.IMMEDIATELY


@pytest.mark.parametrize(
    "value", ["offf", "OFF", "", None, 5, True, Region("offf"), MachineStatus("")]
)
def test_a_text_that_the_service_does_not_enumerate_is_a_slip(value: Any) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"status must be one of off, creating,.*give MachineStatus\("
    ):
        member(value, MachineStatus, "status")


def test_an_unknown_value_is_accepted_as_a_member_of_the_enumeration() -> None:
    assert member(MachineStatus("offf"), MachineStatus, "status") == "offf"
    assert Capacity(Region("atlantis"), 1).wire()["region"] == "atlantis"
    with pytest.raises(InvalidArgumentError, match="region must be one of dublin"):
        Capacity("atlantis", 1)


@pytest.mark.parametrize(
    "value",
    [
        datetime(2023, 9, 15, 6, 42, 36, 564000, tzinfo=UTC),
        datetime(2023, 9, 15, 8, 42, 36, 564000, tzinfo=timezone(timedelta(hours=2))),
        "2023-09-15T06:42:36.564Z",
        "2023-09-15T08:42:36.564+02:00",
        "2023-09-15 06:42:36.564000+00:00",
    ],
)
def test_an_instant_is_written_as_the_documents_do(value: datetime | str) -> None:
    assert instant(value, "start_at") == "2023-09-15T06:42:36.564Z"


@pytest.mark.parametrize(
    "value", ["garbage", "", "yesterday", 5, 1.5, True, None, b"2023", "2023-13-01T00:00:00Z"]
)
def test_an_invalid_instant_is_refused_with_the_argument_name(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="start_at must be an aware datetime or an ISO"):
        instant(value, "start_at")


@pytest.mark.parametrize("value", [datetime(2026, 1, 1), "2026-01-01", "2026-01-01T00:00:00"])
def test_an_instant_without_a_zone_is_refused(value: datetime | str) -> None:
    with pytest.raises(
        InvalidArgumentError, match="start_at must be an aware datetime.*no timezone"
    ):
        instant(value, "start_at")


def test_an_instant_that_utc_cannot_write_is_refused() -> None:
    edge = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
    with pytest.raises(InvalidArgumentError, match="start_at is out of range"):
        instant(edge, "start_at")


def test_durations_are_numbers_or_timedeltas_and_errors_name_them() -> None:
    for check in (seconds, positive_seconds, seconds_from_zero):
        assert check(timedelta(minutes=1), "timeout") == check(60, "timeout") == 60.0
        for none in ("1", None, True, float("nan"), float("inf")):
            with pytest.raises(InvalidArgumentError, match="timeout must be a number of seconds"):
                check(none, "timeout")  # type: ignore[arg-type]
    assert seconds_from_zero(0, "timeout") == 0.0
    for check, low in ((positive_seconds, 0), (positive_seconds, -1), (seconds_from_zero, -1)):
        with pytest.raises(InvalidArgumentError, match="timeout must"):
            check(low, "timeout")


@pytest.mark.parametrize(("value", "minutes"), [(60, 1), (timedelta(hours=1), 60), (3600.0, 60)])
def test_durations_become_whole_units(value: timedelta | float, minutes: int) -> None:
    assert whole_units(value, timedelta(minutes=1), "expires_in", at_least=1) == minutes


@pytest.mark.parametrize("value", [30, 0, -60, 90, timedelta(seconds=61), "60", None, float("nan")])
def test_a_duration_that_would_have_to_be_rounded_or_is_too_small_is_refused(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="expires_in"):
        whole_units(value, timedelta(minutes=1), "expires_in", at_least=1)


@pytest.mark.parametrize("value", ["", " \t", None, 5, b"x"])
def test_a_blank_string_is_refused_and_not_repeated(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^password must be a non-empty string$"):
        text(value, "password")


@pytest.mark.parametrize("value", [None, 0, 1, "true", "", [True]])
def test_a_flag_is_true_or_false_and_nothing_else(value: Any) -> None:
    assert [flag(given, "anyone") for given in (True, False)] == [True, False]
    with pytest.raises(InvalidArgumentError, match="anyone must be True or False, not a"):
        flag(value, "anyone")


def test_a_number_out_of_bounds_is_refused_with_the_bounds() -> None:
    assert whole_number(5, "port", at_least=0, at_most=5) == 5
    for value in (-1, 6, "5", 5.0, True, 10**5000):
        with pytest.raises(InvalidArgumentError, match="port must be a whole number from 0 to 5"):
            whole_number(value, "port", at_least=0, at_most=5)  # type: ignore[arg-type]
    assert number_from_zero(0, "count") == 0
    with pytest.raises(InvalidArgumentError, match="count must be a whole number of at least 0"):
        number_from_zero(-1, "count")


@pytest.mark.parametrize("value", [10**400, -(10**5000)], ids=["long", "very long"])
def test_a_duration_too_long_for_a_float_is_refused_by_name(value: int) -> None:
    for check in (seconds, positive_seconds, seconds_from_zero):
        with pytest.raises(InvalidArgumentError, match="timeout must be a number of seconds"):
            check(value, "timeout")


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: RetryPolicy(base="1"), "base"),  # type: ignore[arg-type]
        (lambda: RateLimit(1, per="1"), "per"),  # type: ignore[arg-type]
        (lambda: Endpoint(auth=BearerAuth("t"), timeout="1"), "timeout"),  # type: ignore[arg-type]
    ],
)
def test_a_constructor_names_an_argument_that_is_not_a_duration(
    make: Callable[[], object], name: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert str(caught.value) == f"{name} must be a number of seconds or a timedelta, not '1'"


# -- every method of every client ------------------------------------------------------------------


def hint(call: Call) -> Any:
    """The type of the argument that is tried, or of the id of the handle on the way to it."""
    place: Any = make(call.provider)[0]
    for place_number, step in enumerate(call.way):
        place = getattr(place, step)
        if step == "ref":
            if place_number == call.tried:
                return next(iter(get_type_hints(place).values()))
            place = place(**{next(iter(inspect.signature(place).parameters)): OTHER})
    return get_type_hints(getattr(place, call.method))[str(call.tried)]


def enumeration(call: Call) -> type[OpenEnum] | None:
    return next(
        (
            kind
            for kind in get_args(hint(call))
            if isinstance(kind, type) and issubclass(kind, OpenEnum)
        ),
        None,
    )


ENUMERATED = [call for call in CALLS if enumeration(call) is not None]
IDS = [
    call
    for call in CALLS
    if {str, int} <= set(get_args(hint(call))) and call.method not in ("ref", "connect_url")
]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


def test_the_calls_with_enumerated_values_and_ids_are_found() -> None:
    enumerated, ids = {str(call) for call in ENUMERATED}, {str(call) for call in IDS}
    assert {
        "computers.machines.list(status)",
        "computers.machines.ref().update(usage_source)",
        "streams.streams.ref().start_machine(region)",
        "streams.streams.ref().configure(idle_duration)",
        "streamspace.agents.list(platform)",
        "streamspace.sessions.list(sort)",
        "streamspace.users.create(role)",
    } <= enumerated
    assert {
        "computers.machines.get(id)",
        "computers.machines.ref(!).start()",
        "computers.machines.ref().start(machine_type_id)",
        "computers.machines.create(base_image_id)",
        "streams.streams.list(application_id)",
        "streams.streams.create(application_id)",
        "streams.streams.ref().assign_machine(user_id)",
        "streams.machines.get(uid)",
        "streams.machines.ref(!).stop()",
        "streams.users.ref(!).delete()",
        "streamspace.agents.get(agent_id)",
        "streamspace.sessions.list(agent_id)",
        "streamspace.sessions.ref(!).terminate()",
        "desktops.get(id)",
    } <= ids


#: What the installation has no way for.
LACKING = {
    "streamspace.agents.ref().command(action)",
    "streamspace-published.agents.ref().set_status(status)",
    "streamspace-published.sessions.create(platform)",
    "streamspace-published.sessions.create(state)",
    "streamspace-published.sessions.list(sort)",
}
#: What the server does not filter or sort by, so that the client does.
APPLIED_HERE = {
    "streamspace-published.sessions.list(platform)",
    "streamspace-published.sessions.list(state)",
    "streamspace-published.sessions.list(order)",
}


@pytest.mark.parametrize("call", ENUMERATED, ids=str)
def test_an_enumerated_argument_is_checked_before_it_is_sent(
    call: Call, runner: asyncio.Runner
) -> None:
    kind = enumeration(call)
    assert kind is not None
    sent, outcome = call.send("offf", runner)
    assert (sent, type(outcome)) == ([], InvalidArgumentError)
    assert f"{call.tried} must be one of" in str(outcome)
    wrapped, outcome = call.send(kind("offf"), runner)
    if str(call) in LACKING:
        assert (wrapped, type(outcome)) == ([], UnsupportedError)
        return
    ((_, url, _, body),) = wrapped
    assert ("offf" in url or b'"offf"' in (body or b"")) is (str(call) not in APPLIED_HERE)


@pytest.mark.parametrize("call", IDS, ids=str)
def test_an_id_is_sent_alike_as_text_and_as_number(call: Call, runner: asyncio.Runner) -> None:
    wanted, _ = call.send(TAME, runner)
    for value in (int(TAME), Text(TAME), Whole(TAME)):
        sent, outcome = call.send(value, runner)  # type: ignore[arg-type]
        assert [(one[0], one[1], one[3]) for one in sent] == [
            (one[0], one[1], one[3]) for one in wanted
        ], outcome
    sent, outcome = call.send(True, runner)  # type: ignore[arg-type]
    assert (sent, type(outcome)) == ([], InvalidArgumentError)


def test_a_handle_keeps_its_id_as_text() -> None:
    for call in {str(one): one for one in CALLS if one.way and one.way[-1] == "ref"}.values():
        place: Any = make(call.provider)[0]
        for step in call.way[:-1]:
            place = getattr(place, step)
            if step == "ref":
                place = place(OTHER)
        if "int" in str(inspect.signature(place.ref)):
            assert place.ref(100) == place.ref("100")

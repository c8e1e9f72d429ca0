"""The factories of `vcloud.testing`: one for each model, plausible, typed, and without a client."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import pickle
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from importlib import import_module
from typing import Any, get_type_hints

import attrs
import pytest
from freezegun import freeze_time

from vcloud import ConfigurationError, Instance, InvalidArgumentError, OpenEnum, testing
from vcloud._core.resource import Handle
from vcloud.providers.computers import MachineStatus
from vcloud.providers.desktops import Action, Desktop, DesktopStatus, Point
from vcloud.providers.streams import ConnectionStatus
from vcloud.providers.streamspace import SessionState
from vcloud.testing import (
    make_agent,
    make_assignment,
    make_desktop,
    make_machine,
    make_machine_session,
    make_machine_user,
    make_point,
    make_session,
    make_stream_machine,
    make_visitor_session,
    reset_ids,
)
from vcloud.testing.building import checked

PROVIDERS = ("computers", "streams", "streamspace", "desktops")
#: Attrs classes without a factory, which answers do not hold: arguments, and bases of others.
NO_MODELS = {"Capacity", "Command", "Controls"}
#: Keywords that are no fields, but make one.
EXTRA = {"make_machine_user": {"email", "name"}}
#: Fields that are None by default, because the service says so of what the factory makes.
NONE = {
    "make_action_result": {"error", "screenshot"},
    "make_agent": {"approval_status", "approved_at", "approved_by"},
    "make_agent_capacity": {"cpu", "memory", "storage"},
    "make_application": {"banner_url", "logo_url", "enterprise", "pro"},
    "make_executable": {"launch_arguments", "restart_arguments"},
    "make_machine": {"assigned_image_id", "assigned_image_name"},
    # What only the published StreamSpace says.
    "make_session": {"max_session_duration", "streaming_protocol"},
    "make_session_update": {"command_id", "message"},
    "make_start_data": {"idle_timeout", "max_session_duration", "tags", "manifest"},
    "make_template": {"repository_id", "app_type", "manifest", "install_count"},
    "make_user": {"full_name", "provider", "updated_at", "quota"},
    "make_stream": {"dark_mode", "launch_arguments", "keyboard_layout"},
    "make_stream_machine": {"end_at", "public_ip_address"},
}


@pytest.fixture(autouse=True)
def ids() -> Iterator[None]:
    reset_ids()
    yield
    reset_ids()


def factories() -> dict[str, Callable[..., Any]]:
    return {name: getattr(testing, name) for name in testing.__all__ if name.startswith("make_")}


def model_of(factory: Callable[..., Any]) -> type[Any]:
    model: type[Any] = get_type_hints(factory)["return"]
    return model


def fields_of(factory: Callable[..., Any]) -> type[Any]:
    (keywords,) = inspect.signature(factory, eval_str=True).parameters.values()
    (fields,) = keywords.annotation.__args__
    assert isinstance(fields, type)
    return fields


def names(model: type[Any]) -> tuple[str, ...]:
    if issubclass(model, Point):
        return ("x", "y")
    return tuple(field.name for field in attrs.fields(model))


def models() -> set[type[Any]]:
    found: set[type[Any]] = {Point}
    for provider in PROVIDERS:
        module = import_module(f"vcloud.providers.{provider}")
        public = [getattr(module, name) for name in module.__all__]
        found |= {one for one in public if isinstance(one, type) and attrs.has(one)}
    return {
        model
        for model in found
        if not (model.__name__ in NO_MODELS or model.__name__.endswith("Ref"))
        and not issubclass(model, Action)
    }


every_factory = pytest.mark.parametrize("factory", factories().values(), ids=list(factories()))
every_handle = pytest.mark.parametrize(
    "factory", [one for one in factories().values() if issubclass(model_of(one), Handle)]
)


def test_every_model_of_every_provider_has_one_factory() -> None:
    made = [model_of(factory) for factory in factories().values()]
    assert {model.__qualname__ for model in models() - set(made)} == set()
    assert len(made) == len(set(made)) == len(models()) > 40


@every_factory
def test_the_keywords_of_a_factory_are_the_fields_of_its_model(factory: Callable[..., Any]) -> None:
    extra = EXTRA.get(factory.__name__, set())
    keywords = get_type_hints(fields_of(factory)).keys()
    assert keywords == set(names(model_of(factory))) | extra
    assert list(keywords)[: len(names(model_of(factory)))] == list(names(model_of(factory)))
    assert factory.__doc__ is not None
    assert fields_of(factory).__doc__


@every_factory
def test_every_field_has_a_plausible_value(factory: Callable[..., Any]) -> None:
    made = factory()
    assert type(made) is model_of(factory)
    values = {name: getattr(made, name) for name in names(type(made))}
    absent = {name for name, value in values.items() if value is None}
    assert absent == NONE.get(factory.__name__, set())
    # It would take its own values, so they are of the types that it promises.
    assert checked(factory.__name__, fields_of(factory), values) == values
    for name, value in values.items():
        assert type(value).__module__.startswith(("builtins", "datetime", "decimal", "vcloud."))
        if isinstance(value, OpenEnum):
            assert value.known, name
        if isinstance(value, datetime):
            assert value.utcoffset() == timedelta(0), name
        assert not isinstance(value, StrEnum) or isinstance(value, OpenEnum)


@every_factory
def test_what_a_factory_takes_is_what_the_model_holds(factory: Callable[..., Any]) -> None:
    made = factory()
    for name in names(type(made)):
        other = factory(**{name: getattr(made, name)})
        assert getattr(other, name) == getattr(made, name)


@every_factory
def test_a_wrong_keyword_is_named_with_the_nearest(factory: Callable[..., Any]) -> None:
    name = list(get_type_hints(fields_of(factory)))[-1]
    said = rf"{factory.__name__}\(\) has no argument '{name}s': .*{name}"
    with pytest.raises(TypeError, match=said):
        factory(**{f"{name}s": None})
    with pytest.raises(TypeError, match=r"has no argument 'qqqqqq': make_\w+\(\) takes "):
        factory(qqqqqq=1)


def test_the_first_guess_for_a_machine_names_the_field() -> None:
    with pytest.raises(TypeError, match=r"'status': did you mean friendly_status"):
        make_machine(status="ready")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"'state': did you mean"):
        make_desktop(state="running")  # type: ignore[call-arg]


def test_words_seconds_texts_and_numbers_become_what_the_model_holds() -> None:
    machine = make_machine(
        id=7,
        friendly_status="ready",
        auto_stop_threshold=900,
        last_session_start_at="2026-01-05T10:00:00+01:00",
        assigned_image_id=100,
    )
    assert type(machine.friendly_status) is MachineStatus
    assert (machine.id, machine.assigned_image_id) == ("7", "100")
    assert machine.auto_stop_threshold == timedelta(minutes=15)
    assert machine.last_session_start_at == datetime(2026, 1, 5, 9, tzinfo=UTC)
    assert make_stream_machine(cost="1.2").cost == Decimal("1.2")
    assert make_session(tags=["a"]).tags == ("a",)
    assert type(make_visitor_session(ping=5).ping) is float


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: make_machine(friendly_status="redy"), "friendly_status must be one of"),
        (lambda: make_machine(name=5), "name must be a str, not 5"),  # type: ignore[arg-type]
        (lambda: make_machine(disk_size=True), "disk_size must be a int, not True"),
        (lambda: make_machine(disk_size="75"), "disk_size must be a int"),  # type: ignore[arg-type]
        (lambda: make_machine(user="ann"), "user must be a MachineUser"),  # type: ignore[arg-type]
        (lambda: make_machine(id=None), "id must be a string or a whole number"),  # type: ignore[arg-type]
        (lambda: make_machine(auto_stop_threshold=float("nan")), "auto_stop_threshold must be"),
        (
            lambda: make_machine(last_session_start_at="2026-01-05"),
            "last_session_start_at must be an aware datetime",
        ),
        (lambda: make_stream_machine(cost=1.2), "cost must be a Decimal"),  # type: ignore[arg-type]
        (lambda: make_stream_machine(cost="much"), "cost must be a Decimal"),
        (lambda: make_session(tags="ab"), "tags must be a list or a tuple"),
        (lambda: make_session(tags=[1]), r"tags\[0\] must be a str"),  # type: ignore[list-item]
        (lambda: make_desktop(status=None), "status must be one of"),  # type: ignore[arg-type]
    ],
)
def test_a_value_of_a_wrong_type_is_refused_by_name(wrong: Callable[[], Any], said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        wrong()


def test_a_word_that_the_sdk_does_not_know_is_given_as_a_member() -> None:
    machine = make_machine(friendly_status=MachineStatus("melting"))
    assert machine.friendly_status is not None
    assert not machine.friendly_status.known


def test_ids_count_up_or_are_given() -> None:
    assert [make_machine().id for _ in range(3)] == ["100", "101", "102"]
    assert make_machine(id="7").id == "7"
    assert make_machine().id == "103"
    assert make_session().id != make_session().id
    reset_ids()
    one = make_machine()
    reset_ids()
    assert make_machine() == one


def test_ten_thousand_machines_are_ten_thousand_machines() -> None:
    made = {make_machine(permissions=None, task=None, user=None) for _ in range(10_000)}
    assert len({machine.id for machine in made}) == len(made) == 10_000


def test_nothing_depends_on_the_time_of_day() -> None:
    before = make_machine(), make_session(), make_desktop(), make_stream_machine()
    reset_ids()
    with freeze_time("2031-05-05"):
        assert (make_machine(), make_session(), make_desktop(), make_stream_machine()) == before


def test_fields_that_depend_on_the_state_follow_it() -> None:
    ready, off = make_machine(friendly_status="ready"), make_machine()
    assert (ready.latest_image_status, off.latest_image_status) == ("in_use", "ready")
    assert make_desktop(status="pending").stream_url is None
    ended = make_stream_machine(connection_status="terminated")
    assert (ended.status, ended.friendly_status) == ("stopped", "off")
    assert ended.end_at is not None
    hibernated = make_session(state="hibernated")
    assert hibernated.status is not None
    assert (hibernated.status.phase, hibernated.status.vnc_url) == ("Hibernated", None)
    opened = make_machine_session(end_at=None)
    assert (opened.end_at, opened.duration) == (None, timedelta())
    assert make_machine_session(duration=60).duration == timedelta(minutes=1)
    offline = make_agent(status="offline")
    assert offline.websocket_conn_id is None
    assert "Ann's" in (make_machine(name="Ann's desk").name or "")
    assert make_machine_user(email="a@example.com").email == "a@example.com"
    with pytest.raises(TypeError, match="either attributes, or email and name"):
        make_machine_user(email="a@example.com", attributes=None)


@every_handle
def test_the_verbs_of_what_a_factory_made_say_that_it_belongs_to_no_client(
    factory: Callable[..., Any],
) -> None:
    made = factory()
    verbs = [
        verb
        for name, verb in inspect.getmembers(type(made), inspect.iscoroutinefunction)
        if not name.startswith("_")
        and not [
            one
            for one in list(inspect.signature(verb).parameters.values())[1:]
            if one.default is one.empty and one.kind is not one.VAR_POSITIONAL
        ]
    ]
    said = rf"this {type(made).__name__} belongs to no client \(it was made by .* vcloud\.testing\)"
    for verb in verbs:
        with pytest.raises((ConfigurationError, InvalidArgumentError)) as caught:
            asyncio.run(verb(made))
        if isinstance(caught.value, ConfigurationError):
            assert caught.match(said + ".*ref.*vcloud.emulator")
    assert made.raw == {}


@pytest.mark.parametrize(
    ("factory", "state"),
    [
        (make_machine, "ready"),
        (make_stream_machine, "connected"),
        (make_session, "running"),
        (make_desktop, "running"),
    ],
)
def test_a_machine_has_verbs_to_say_so(factory: Callable[..., Any], state: str) -> None:
    made = factory()
    for verb in ("refresh", "stop"):
        with pytest.raises(ConfigurationError, match="belongs to no client"):
            asyncio.run(getattr(made, verb)())
    with pytest.raises(ConfigurationError, match="belongs to no client"):
        asyncio.run(made.wait_until(state))


@every_factory
def test_what_a_factory_made_is_plain_json_and_holds_no_secret(factory: Callable[..., Any]) -> None:
    made = factory()
    if isinstance(made, Point):
        return
    text = json.dumps(made.to_dict())
    assert json.loads(text) == made.to_dict()
    assert "made-for-a-test" not in text


@every_handle
def test_what_a_factory_made_can_be_copied_pickled_hashed_and_changed(
    factory: Callable[..., Any],
) -> None:
    made = factory()
    assert copy.copy(made) == copy.deepcopy(made) == made
    if not isinstance(made, Desktop):
        assert pickle.loads(pickle.dumps(made)) == made
    assert hash(made) == hash(copy.copy(made))
    changed = attrs.evolve(made, **{names(type(made))[0]: "other"})
    assert changed != made


@pytest.mark.parametrize(
    ("words", "factory", "field"),
    [
        (MachineStatus, make_machine, "friendly_status"),
        (ConnectionStatus, make_stream_machine, "connection_status"),
        (SessionState, make_session, "state"),
        (DesktopStatus, make_desktop, "status"),
    ],
)
def test_every_state_can_be_made(
    words: type[OpenEnum], factory: Callable[..., Any], field: str
) -> None:
    assert [getattr(factory(**{field: str(word)}), field) for word in words] == list(words)


def test_what_cloud_instances_yields_can_be_made() -> None:
    instances = {
        "computers": make_machine(friendly_status="ready").as_instance(),
        "streams": make_stream_machine().as_instance(),
        "streamspace": make_session().as_instance(),
        "desktops": make_desktop().as_instance(),
    }
    for provider, one in instances.items():
        assert isinstance(one, Instance)
        assert (one.provider, one.state) == (provider, "running")
        with pytest.raises(ConfigurationError, match="belongs to no client"):
            asyncio.run(one.stop())


def test_a_link_of_a_factory_is_one_that_a_client_would_take_and_no_secret_of_anybody() -> None:
    assignment = make_assignment()
    assert assignment.connection_link.startswith("https://")
    assert "connection_link" not in repr(assignment)
    assert make_point() == (512, 384)

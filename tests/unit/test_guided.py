"""Attributes that do not exist: the first guess of a newcomer, and what the error offers."""

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from rich.pretty import pretty_repr

import vcloud
from vcloud import (
    APIKeyAuth,
    BearerAuth,
    Endpoint,
    HMACAuth,
    Instance,
    InstanceState,
    RateLimit,
    RetryPolicy,
    VagonComputers,
    VCloud,
)
from vcloud._core.guided import Guided
from vcloud._core.model import Model
from vcloud.providers import computers, desktops, streams, streamspace

ENDPOINT = Endpoint(auth=HMACAuth("key", "secret"))


def made(cls: type[Any], **fields: object) -> Any:
    """A model with these fields alone, as a service may send it."""
    return cls(**fields)


MACHINE = made(computers.Machine, id="100", friendly_status=computers.MachineStatus.READY)
SESSION = made(streamspace.Session, id="s", state=streamspace.SessionState.RUNNING)
DESKTOP = made(desktops.Desktop, id="d", status=desktops.DesktopStatus.RUNNING)
STREAM_MACHINE = made(streams.StreamMachine, id="1")
INSTANCE = Instance("computers", "1", "n", InstanceState.RUNNING, None, None, MACHINE)


def said(thing: object, name: str) -> str:
    """The text of the error for an attribute."""
    with pytest.raises(AttributeError) as caught:
        getattr(thing, name)
    assert not hasattr(thing, name)
    assert caught.value.name == name
    text = str(caught.value)
    assert text.startswith(f"'{type(thing).__name__}' object has no attribute '{name}'")
    return text


@pytest.mark.parametrize(
    ("thing", "guess", "meant"),
    [
        (MACHINE, "status", "friendly_status"),
        (MACHINE, "state", "friendly_status"),
        (MACHINE, "friendlyStatus", "friendly_status"),
        (MACHINE, "email", "user.email"),
        (MACHINE, "image_name", "assigned_image_name"),
        (MACHINE, "autostop", "auto_stop_threshold"),
        (MACHINE, "type", "machine_type"),
        (MACHINE, "url", "connect_url"),
        (MACHINE, "link", "create_access_link"),
        (MACHINE, "terminate", "stop"),
        (MACHINE, "launch", "start"),
        (MACHINE, "reload", "refresh"),
        (MACHINE, "wait_for", "wait_until"),
        (MACHINE, "model_dump", "to_dict"),
        (MACHINE, "asdict", "to_dict"),
        (MACHINE, "json", "to_dict"),
        (SESSION, "phase", "status.phase"),
        (SESSION, "pod_ip", "status.pod_ip"),
        (SESSION, "memory", "resources.memory"),
        (SESSION, "suspend", "hibernate"),
        (SESSION, "resume", "start"),
        (SESSION, "createdAt", "created_at"),
        (DESKTOP, "state", "status"),
        (DESKTOP, "expires_at", "timeout_at"),
        (DESKTOP, "created", "created_at"),
        (DESKTOP, "left_click", "click"),
        (DESKTOP, "type_text", "type"),
        (DESKTOP, "press_key", "press"),
        (DESKTOP, "run", "bash"),
        (DESKTOP, "execute", "bash"),
        (STREAM_MACHINE, "state", "connection_status"),
        (STREAM_MACHINE, "ip", "public_ip_address"),
        (STREAM_MACHINE, "started_at", "start_at"),
        (
            Instance("computers", "1", "n", InstanceState.RUNNING, None, None, MACHINE),
            "status",
            "state",
        ),
        (VagonComputers(ENDPOINT), "machine", "machines"),
        (VagonComputers(ENDPOINT), "close", "aclose"),
        (VagonComputers(ENDPOINT).machines, "all", "list"),
        (VagonComputers(ENDPOINT).machines, "search", "find"),
        (VCloud(computers=ENDPOINT), "computer", "computers"),
        (VCloud(computers=ENDPOINT), "machines", "computers.machines"),
        (VCloud(computers=ENDPOINT), "close", "aclose"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_wrong_guess_is_answered_with_the_right_name(
    thing: object, guess: str, meant: str
) -> None:
    assert f": did you mean {meant}" in said(thing, guess)
    # What is offered exists.
    for step in meant.split(".")[:1]:
        assert hasattr(thing, step)


@pytest.mark.parametrize(
    ("handle", "guess", "field"),
    [
        (computers.MachineRef(id="1"), "status", "friendly_status"),
        (computers.MachineRef(id="1"), "name", "name"),
        (computers.MachineRef(id="1"), "machineType", "machine_type"),
        (computers.MachineRef(id="1"), "email", "user.email"),
        (streamspace.SessionRef(id="1"), "state", "state"),
        (streamspace.SessionRef(id="1"), "template", "template"),
        (desktops.DesktopRef(id="1"), "state", "status"),
        (streams.StreamRef(id="1"), "resolution", "resolution"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_handle_that_was_not_fetched_says_how_to_get_its_fields(
    handle: object, guess: str, field: str
) -> None:
    text = said(handle, guess)
    assert text.endswith(
        f"this {type(handle).__name__} was not fetched, and only what was fetched or listed has "
        f"{field}: write (await handle.refresh()).{field}"
    )


def test_a_handle_that_cannot_be_fetched_does_not_say_so() -> None:
    text = said(streams.ApplicationRef(id="1"), "state")
    assert text.endswith("was not fetched, and only what was fetched or listed has status")


@pytest.mark.parametrize(
    ("thing", "guess", "meant"),
    [
        (SESSION, "friendly_status", "state"),
        (SESSION, "connection_status", "state"),
        (MACHINE, "connection_status", "friendly_status"),
        (DESKTOP, "friendly_status", "status"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_state_of_another_provider_names_the_one_that_there_is(
    thing: object, guess: str, meant: str
) -> None:
    assert said(thing, guess).endswith(f"did you mean {meant}?")


def test_what_a_provider_cannot_do_is_said_in_words() -> None:
    machine = STREAM_MACHINE
    assert "StreamRef.start_machine starts another one" in said(machine, "start")
    assert "StreamRef.assign_machine gives the link" in said(machine, "connect_url")


def test_a_name_that_is_like_no_other_is_answered_with_all_names() -> None:
    text = said(computers.MachineRef(id="1"), "passwd")
    assert "it has id, as_instance, available_machine_types, capabilities, connect" in text
    assert "wait_until" in text
    assert "nested" not in text
    assert said(VagonComputers(ENDPOINT).machines, "colour").endswith(
        "it has create, find, get, list, permission_fields and ref"
    )


@pytest.mark.parametrize("name", ["__array__", "_private", "x" * 10_000, "\x1b[31m", "\u202e"])
def test_names_that_programs_ask_for_are_refused_briefly_and_printably(name: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(VagonComputers(ENDPOINT), name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def test_a_slot_that_was_never_set_and_a_failing_property_keep_their_own_error() -> None:
    half: Any = computers.Machine.__new__(computers.Machine)
    with pytest.raises(AttributeError) as caught:
        half.name  # noqa: B018 - it is what is tested
    assert "did you mean" not in str(caught.value)

    class Failing(Guided):
        @property
        def broken(self) -> str:
            raise AttributeError("the reason")

    with pytest.raises(AttributeError, match="the reason"):
        Failing().broken  # noqa: B018 - it is what is tested


def test_copies_pickles_and_inspection_are_as_before() -> None:
    assert {"name", "start", "to_dict"} <= set(dir(MACHINE))
    assert not {"status", "state", "url", "email"} & set(dir(MACHINE))
    for thing in (MACHINE, SESSION, DESKTOP):
        assert pickle.loads(pickle.dumps(thing)) == thing
        assert copy.copy(thing) == copy.deepcopy(thing) == attrs.evolve(thing) == thing
        assert attrs.asdict(thing)["id"] == thing.id
        assert "status" in repr(thing) or "state" in repr(thing)
        assert pretty_repr(thing) == pretty_repr(copy.copy(thing))
    assert list(inspect.signature(desktops.ClickMouse).parameters)[:2] == ["x", "y"]


def test_a_module_name_is_answered_too() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'Vcloud': did you mean VCloud\?"):
        getattr(vcloud, "Vcloud")  # noqa: B009 - type checkers know that it is wrong
    with pytest.raises(AttributeError, match="'HmacAuth': did you mean HMACAuth"):
        getattr(vcloud, "HmacAuth")  # noqa: B009


@pytest.mark.parametrize(
    ("cls", "args", "kwargs", "text"),
    [
        (desktops.ClickMouse, (500, 300), {}, "write ClickMouse(x=..., y=...)"),
        (desktops.ClickMouse, (), {"x": 1, "y": 2, "buton": "left"}, "did you mean button?"),
        (desktops.PressKeys, (), {}, "PressKeys needs keys: write PressKeys(keys=...)"),
        (desktops.MoveMouse, (1, 2, 3), {}, "MoveMouse takes x and y only: 3 were given by positi"),
        (desktops.TakeScreenshot, (1,), {}, "TakeScreenshot takes no arguments"),
        (desktops.Wait, (), {"seconds": 1}, "Wait has no argument 'seconds'"),
        (computers.Permissions, (), {"clipboard": True}, "did you mean clipboard_enabled?"),
        (computers.Machine, ("100",), {}, "Machine takes id by name: write Machine(id=...)"),
        (streams.Capacity, (), {}, "Capacity needs region"),
        (streamspace.Resources, (), {"ram": "2Gi"}, "Resources takes memory and cpu"),
        (streamspace.Resources, ("2Gi",), {}, "write Resources(memory=...)"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_constructor_says_what_to_write(
    cls: type, args: tuple[object, ...], kwargs: dict[str, object], text: str
) -> None:
    with pytest.raises(TypeError) as caught:
        cls(*args, **kwargs)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: RetryPolicy(retries=3), "did you mean attempts?"),  # type: ignore[call-arg]
        (lambda: RateLimit(5), "write RateLimit(requests=..., per=...)"),  # type: ignore[call-arg]
        (lambda: HMACAuth("k", api_secret="s"), "did you mean secret?"),  # type: ignore[call-arg]
        (lambda: HMACAuth("k"), "HMACAuth needs secret"),  # type: ignore[call-arg]
        (lambda: APIKeyAuth(token="t"), "did you mean key?"),  # type: ignore[call-arg]
        (lambda: BearerAuth(key="t"), "did you mean token?"),  # type: ignore[call-arg]
        (lambda: BearerAuth.login("u", passwd="p"), "did you mean password?"),  # type: ignore[call-arg]
        (lambda: BearerAuth.login("u"), "BearerAuth.login needs password"),  # type: ignore[call-arg]
        (lambda: Endpoint(api_key="k"), "credentials are one argument: auth="),  # type: ignore[call-arg]
    ],
)
def test_what_a_client_is_configured_with_says_what_to_write(
    make: Callable[[], object], text: str
) -> None:
    with pytest.raises(TypeError) as caught:
        make()
    assert text in str(caught.value)
    assert said(RetryPolicy(), "max_attempts").endswith("did you mean attempts?")
    assert said(ENDPOINT, "url").endswith("did you mean base_url?")


def test_what_is_typed_is_in_no_message_and_no_variable() -> None:
    for call in (
        lambda: HMACAuth("key", "hunter2", "path"),  # type: ignore[call-arg]
        lambda: BearerAuth.login("user", "hunter2", pth="/"),  # type: ignore[call-arg]
        lambda: desktops.TypeText("hunter2", "hunter2"),  # type: ignore[call-arg]
        lambda: desktops.PressKeys(key="hunter2"),  # type: ignore[call-arg]
        lambda: computers.AccessLink(connection_link="hunter2", colour=1),  # type: ignore[call-arg]
    ):
        with pytest.raises(TypeError) as caught:
            call()
        frames, trace = [], caught.value.__traceback__
        while trace is not None:
            frames.append(trace.tb_frame)
            trace = trace.tb_next
        for frame in frames:
            if frame.f_globals["__name__"].startswith("vcloud"):
                assert "hunter2" not in repr(frame.f_locals)
        assert "hunter2" not in str(caught.value)


def test_every_public_class_of_values_is_guided() -> None:
    for module in (computers, desktops, streams, streamspace):
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, type) and attrs.has(value):
                assert issubclass(value, Model), name
    assert Endpoint(auth=APIKeyAuth("k")).timeout  # nothing else changed


def test_a_class_itself_has_no_message_to_build() -> None:
    # What looks through a class, such as help() and mocks, asks for each of the wrong names.
    with pytest.raises(AttributeError, match="^type object 'Machine' has no attribute 'status'$"):
        computers.Machine.status  # type: ignore[attr-defined]  # noqa: B018

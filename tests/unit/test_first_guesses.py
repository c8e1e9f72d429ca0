"""What somebody who has not read the documentation writes first works, or its error says how."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import attrs
import pytest

from tests.contract.contract_harness import PROVIDERS
from tests.unit.test_arguments import hint
from tests.unit.test_hostile_arguments import CALLS, OTHER, TAME, Call, make
from vcloud import InvalidArgumentError, UnsupportedError, VagonComputers
from vcloud._core.resource import Handle
from vcloud._core.states import Stateful
from vcloud.providers import computers, desktops, streams, streamspace

README = Path(__file__).parents[2] / "README.md"

# -- the resource itself, where its id or its name is taken ----------------------------------------


def kinds(annotation: Any) -> Iterator[type]:
    """The resources that an argument takes."""
    for one in get_args(annotation):
        kind = get_origin(one) or one
        if isinstance(kind, type) and (issubclass(kind, Handle) or attrs.has(kind)):
            yield kind
        else:
            yield from kinds(one)


def made(kind: type, text: str) -> Any:
    """A resource whose ids and names are all this text."""
    fields = {one.alias: None for one in attrs.fields(kind) if one.default is attrs.NOTHING}
    names = {"id", "uid", "name", "username", "agent_id", "machine_id"}
    present = names.intersection(one.alias for one in attrs.fields(kind))
    return kind(**{**fields, **dict.fromkeys(present, text)})


TAKING = {
    f"{call} {kind.__name__}": (call, kind)
    for call in CALLS
    if isinstance(call.tried, str) and call.method != "ref"
    for kind in kinds(hint(call))
    if call.tried not in ("resources", "permissions", "capacities")
}


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        yield running


def test_the_arguments_that_take_a_resource_are_found() -> None:
    assert {
        "computers.machines.get(id) MachineRef",
        "computers.machines.create(software_ids) Software",
        "computers.machines.create(base_image_id) BaseImage",
        "computers.machines.ref().start(machine_type_id) MachineType",
        "computers.machines.ref().set_machine_type(machine_type_id) MachineType",
        "computers.machines.ref().tasks.activate(uid) Task",
        "streams.streams.list(application_id) ApplicationRef",
        "streams.streams.create(application_id) ApplicationRef",
        "streams.streams.ref().assign_machine(user) UserRef",
        "streams.streams.ref().assign_machine(user_id) UserRef",
        "streams.machines.list(application_id) ApplicationRef",
        "streams.machines.list(stream_id) StreamHandle",
        "streams.sessions.list(application_id) ApplicationRef",
        "streams.sessions.list(stream_id) StreamHandle",
        "streamspace.agents.get(agent_id) AgentRef",
        "streamspace.templates.get(name) TemplateRef",
        "streamspace.sessions.get(id) SessionRef",
        "streamspace.sessions.create(user) User",
        "streamspace.sessions.create(template) TemplateRef",
        "streamspace.sessions.list(user) User",
        "streamspace.sessions.list(template) TemplateRef",
        "streamspace.sessions.list(agent_id) AgentRef",
        "desktops.get(id) DesktopRef",
    } <= set(TAKING)


@pytest.mark.parametrize(("call", "kind"), TAKING.values(), ids=TAKING.keys())
def test_a_resource_is_sent_as_its_id_or_its_name_is(
    call: Call, kind: type, runner: asyncio.Runner
) -> None:
    if kind.__name__ == "StreamHandle":
        kind = streams.StreamRef
    wanted, _ = call.send(TAME, runner)
    sent, outcome = call.send(made(kind, TAME), runner)
    assert [(one[:2], one[3]) for one in sent] == [(one[:2], one[3]) for one in wanted], outcome
    if isinstance(outcome, UnsupportedError):
        assert call.provider.dialect == "published"
        assert not sent
    else:
        assert len(sent) == 1


@pytest.mark.parametrize(("call", "kind"), TAKING.values(), ids=TAKING.keys())
def test_another_resource_is_refused_and_the_error_says_what_is_taken(
    call: Call, kind: type, runner: asyncio.Runner
) -> None:
    foreign = streams.User if kind is streamspace.User else streamspace.User
    sent, outcome = call.send(made(foreign, TAME), runner)
    assert (sent, type(outcome)) == ([], InvalidArgumentError)
    if kind is not computers.Task:
        provider = kind.__module__.split(".")[2]
        noun = kind.__name__.removesuffix("Ref").replace("StreamHandle", "Stream")
        assert f"{noun} of {provider}, not a" in str(outcome)
        assert TAME not in str(outcome)


def test_a_user_of_another_provider_is_told_apart(runner: asyncio.Runner) -> None:
    call = next(one for one in CALLS if str(one) == "streamspace.sessions.create(user)")
    _, outcome = call.send(made(streams.User, "u"), runner)
    assert str(outcome) == (
        "user must be a non-empty string or a User of streamspace, not a User of streams"
    )


def test_a_resource_without_the_id_is_refused_by_what_it_lacks(runner: asyncio.Runner) -> None:
    def refusal(name: str, given: Any) -> str:
        call = next(one for one in CALLS if str(one) == name)
        sent, outcome = call.send(given, runner)
        assert not sent
        return str(outcome)

    nameless = attrs.evolve(made(streamspace.User, "u"), username=None)
    assert refusal("streamspace.sessions.list(user)", nameless) == (
        "user cannot be this User: it has no username"
    )
    by_id = streams.StreamMachineRef(id="5")
    assert refusal("streams.machines.get(uid)", by_id) == (
        "uid cannot be this StreamMachineRef: it has no uid"
    )


@pytest.mark.parametrize(
    ("of", "kind"),
    [
        (lambda: make(PROVIDERS["computers"])[0].machines, computers.Machine),
        (lambda: make(PROVIDERS["computers"])[0].machines.ref(OTHER).tasks, computers.Task),
        (lambda: make(PROVIDERS["streams"])[0].streams, streams.Stream),
        (lambda: make(PROVIDERS["streams"])[0].machines, streams.StreamMachine),
        (lambda: make(PROVIDERS["streams"])[0].applications, streams.Application),
        (lambda: make(PROVIDERS["streams"])[0].users, streams.User),
        (lambda: make(PROVIDERS["streamspace"])[0].sessions, streamspace.Session),
        (lambda: make(PROVIDERS["streamspace"])[0].agents, streamspace.Agent),
        (lambda: make(PROVIDERS["streamspace"])[0].templates, streamspace.Template),
        (lambda: make(PROVIDERS["desktops"])[0], desktops.Desktop),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_handle_is_made_of_what_was_fetched(of: Callable[[], Any], kind: type) -> None:
    place, resource = of(), made(kind, TAME)
    with pytest.raises(Exception, match="belongs to no client"):
        resource._session  # noqa: B018, SLF001 - as what was unpickled
    handle = place.ref(resource)
    two_ids = {"uid": TAME} if hasattr(resource, "uid") and kind is not computers.Task else {}
    assert handle == place.ref(TAME, **two_ids)
    assert handle._session is place._session  # noqa: SLF001 - it acts through this client


# -- the words for a state -------------------------------------------------------------------------


def test_the_readmes_words_for_a_state_are_those_of_the_code() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in README.read_text().splitlines()
        if line.startswith(("| machine of ", "| session of ", "| agent of ", "| desktop | `"))
    ]
    classes: list[tuple[type[Any], type[Any]]] = [
        (computers.Machine, computers.Machines),
        (streams.StreamMachine, streams.StreamMachines),
        (streamspace.Session, streamspace.Sessions),
        (streamspace.Agent, streamspace.Agents),
        (desktops.Desktop, desktops.Desktops),
    ]
    assert len(rows) == len(classes)
    for (noun, state, filtered, beside), (model, collection) in zip(rows, classes, strict=True):
        if issubclass(model, Stateful):
            lifecycle = model._lifecycle  # noqa: SLF001 - the field that wait_until reads
            assert state == f"`{lifecycle.field}`: `{lifecycle.states.__name__}`", noun
        else:
            assert "no `wait_until`" in state
            assert not hasattr(model, "wait_until")
        parameters = (
            inspect.signature(collection.list).parameters if hasattr(collection, "list") else {}
        )
        filters = {"state", "status", "friendly_status", "connection_status"} & set(parameters)
        assert {f"`{one}=`" for one in filters} == {
            word for word in filtered.replace(",", "").split() if word.endswith("=`")
        }, noun
        fields = {one.name for one in attrs.fields(model)}
        words = {"state", "status", "friendly_status", "connection_status"}
        assert words & fields == {word for word in words if f"`{word}`" in state + beside}, noun


def test_the_filter_of_computers_names_the_field_that_it_filters() -> None:
    assert "``friendly_status``" in (inspect.getdoc(VagonComputers) or "") + (
        inspect.getdoc(computers.Machines.list) or ""
    )


# -- names -----------------------------------------------------------------------------------------

#: What somebody writes first, on what, and the words of the answer.
NAMES = [
    # A method of a handle, on the collection or on the client.
    ("computers.machines", "start", "did you mean ref(id).start?"),
    ("computers.machines", "shutdown", "did you mean ref(id).stop?"),
    ("computers.machines", "tasks", "did you mean ref(id).tasks?"),
    ("computers.machines", "wait_until", "did you mean ref(id).wait_until?"),
    ("computers", "start", "did you mean machines.ref(id).start?"),
    ("computers", "tasks", "did you mean machines.ref(id).tasks?"),
    ("streams", "connect", "did you mean streams.ref(id).connect?"),
    ("streams", "start_machine", "did you mean streams.ref(id).start_machine?"),
    ("streams.streams", "assign", "did you mean ref(id).assign_machine?"),
    ("streams.users", "delete", "did you mean ref(id).delete?"),
    ("streamspace", "logs", "did you mean sessions.ref(id).logs?"),
    ("streamspace.sessions", "hibernate", "did you mean ref(id).hibernate?"),
    ("streamspace.agents", "drain", "did you mean ref(agent_id).drain?"),
    ("desktops", "click", "did you mean ref(id).click?"),
    ("desktops", "stop", "did you mean ref(id).stop?"),
    # A method of a collection, on the client.
    ("computers", "list", "did you mean machines.list or software.list?"),
    ("computers", "get", "did you mean machines.get?"),
    ("computers", "create_machine", "did you mean machines.create?"),
    ("streams", "create_user", "did you mean users.create?"),
    ("streamspace", "create_session", "did you mean sessions.create?"),
    # Another word for the same.
    ("computers", "machine", "did you mean machines?"),
    ("computers.machines", "launch", "did you mean create?"),
    ("computers.machines", "new", "did you mean create?"),
    ("computers.machines", "fetch", "did you mean get, ref(id).refresh or ref(id).update?"),
    ("computers.machines", "all", "did you mean list"),
    ("computers.machines.ref(1).tasks", "create", "did you mean activate?"),
    ("computers.machines.ref(1)", "url", "did you mean connect_url?"),
    ("computers.machines.ref(1)", "machine_types", "did you mean available_machine_types?"),
    ("streams", "visitors", "did you mean users?"),
    ("streams.streams.ref(1)", "start", "did you mean start_machine?"),
    ("streams.streams.ref(1)", "update", "did you mean configure?"),
    ("streams.applications.ref(1)", "update", "did you mean configure?"),
    ("streamspace", "close", "did you mean aclose?"),
    ("streamspace.sessions", "launch", "did you mean create?"),
    ("streamspace.sessions.ref(1)", "resume", "did you mean start?"),
    ("streamspace.sessions.ref(1)", "tunnel", "did you mean forward_vnc or open_vnc?"),
    ("streamspace.sessions.ref(1)", "tail", "write logs(tail=20), or logs(follow=True)"),
    ("streamspace.agents", "statistics", "did you mean stats?"),
    ("streamspace.agents.ref(1)", "undrain", 'write set_status("online")'),
    ("streamspace.agents.ref(1)", "pause", "did you mean drain?"),
    ("desktops", "create", "did you mean launch?"),
    ("desktops", "start", "did you mean launch?"),
    ("desktops.ref(1)", "execute", "did you mean bash?"),
    ("desktops.ref(1)", "type_text", "did you mean type?"),
    ("desktops.ref(1)", "write", "did you mean type?"),
    ("desktops.ref(1)", "hotkey", "did you mean press?"),
    ("desktops.ref(1)", "move_mouse", "did you mean move?"),
    ("desktops.ref(1)", "sleep", "did you mean wait?"),
    ("desktops.ref(1)", "left_click", "did you mean click?"),
    ("desktops.ref(1)", "act", "did you mean perform?"),
    ("desktops.ref(1)", "do", "did you mean perform?"),
    ("computers.machines", "get_by_name", "did you mean find?"),
    ("computers.machines", "power_on", "did you mean ref(id).start?"),
    # What the API does not have.
    ("computers.machines", "reboot", "stop(), wait_until('off'), start()"),
    ("desktops", "extend", "write launch(lifetime=...)"),
    ("computers.machines.ref(1)", "reboot", "stop(), wait_until('off'), start()"),
    ("computers.machines.ref(1)", "delete", "the API deletes no machines"),
    ("streams.applications", "get", "list() has them"),
    ("streams.applications.ref(1)", "refresh", "list() has them"),
    ("streams.applications.ref(1)", "streams", "write streams.streams.list(application)"),
    ("streams.streams.ref(1)", "sessions", "write streams.sessions.list(stream_id=stream)"),
    ("streams.streams.ref(1)", "stop", "its machines have it: machines()"),
    ("streams.machines", "start", "streams.ref(id).start_machine starts one"),
    ("streams.machines.ref(1)", "start", "StreamRef.start_machine starts another one"),
    ("streams.users", "list", "keep what create() returns, or its id for ref(id)"),
    ("streamspace.templates.ref(1)", "launch", "write sessions.create(user, template)"),
    ("streamspace.agents", "create", "serve_agent() runs one"),
    ("streamspace.users", "get", "list() has them"),
    ("desktops", "list", "instances() has those that this client launched"),
    ("desktops.ref(1)", "start", "desktops.launch() makes a new one"),
    # The state, under the word of another service.
    ("computers.machines.ref(1)", "status", "(await handle.refresh()).friendly_status"),
    ("streams.machines.ref(1)", "state", "(await handle.refresh()).connection_status"),
    ("streamspace.sessions.ref(1)", "status", "(await handle.refresh()).state"),
    ("desktops.ref(1)", "state", "(await handle.refresh()).status"),
    ("streamspace.agents.ref(1)", "state", "(await handle.refresh()).status"),
]


#: The methods that other libraries have for what a desktop does (from their published source), and
#: ours. These are what somebody tries who knows one of them.
OTHERS = {
    # pyautogui 0.9.54
    "position": "cursor_position", "mouseDown": "mouse_down", "mouseUp": "mouse_up",
    "leftClick": "click", "rightClick": "right_click", "doubleClick": "double_click",
    "middleClick": 'click(x, y, button="middle")',
    "tripleClick": "click(x, y, count=3)", "moveTo": "move",
    "dragTo": "drag", "keyDown": "key_down", "keyUp": "key_up", "typewrite": "type",
    "write": "type", "hotkey": "press", "shortcut": "press", "hold": "key_down", "sleep": "wait",
    "hscroll": "scroll", "vscroll": "scroll", "run": "bash",
    # e2b_desktop 2.7.2
    "left_click": "click", "middle_click": 'click(x, y, button="middle")', "move_mouse": "move",
    "mouse_press": "mouse_down", "mouse_release": "mouse_up", "commands": "bash",
    "get_cursor_position": "cursor_position", "kill": "stop", "get_url": "connect_url",
    "set_timeout": "launch(lifetime=...)",
    # scrapybara 2.5.3
    "computer": "perform", "get_stream_url": "stream_url",
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_a_desktops_method_under_another_librarys_name_is_named(name: str) -> None:
    desktop = place("desktops.ref(1)")
    with pytest.raises(AttributeError) as caught:
        getattr(desktop, name)
    hint = str(caught.value).partition(": ")[2].rstrip("?")
    assert hint.endswith((f" {OTHERS[name]}", f".{OTHERS[name]}")), hint


def place(path: str) -> Any:
    """A client, a collection or a handle, such as ``computers.machines.ref(1)``."""
    provider, *steps = path.split(".")
    found: Any = make(PROVIDERS[provider])[0]
    for step in steps:
        found = found.ref(1) if step == "ref(1)" else getattr(found, step)
    return found


@pytest.mark.parametrize(("path", "guess", "said"), NAMES, ids=str)
def test_a_name_that_does_not_exist_is_answered_with_what_to_write(
    path: str, guess: str, said: str
) -> None:
    thing = place(path)
    assert not hasattr(thing, guess)
    with pytest.raises(AttributeError) as caught:
        getattr(thing, guess)
    assert said in str(caught.value), caught.value


def test_what_an_answer_names_exists() -> None:
    named = 0
    for path, _, said in NAMES:
        if path.startswith("streams.machines"):
            continue  # it names another collection
        for one in re.findall(r"[a-z_.]*ref\((?:agent_)?id\)\.[a-z_]+", said):
            found = place(path)
            for step in one.split("."):
                found = found.ref(1) if step.startswith("ref(") else getattr(found, step, None)
            assert found is not None, one
            named += 1
    assert named > 10


async def test_a_list_that_is_awaited_says_how_it_is_read() -> None:
    machines: Any = place("computers.machines").list()
    with pytest.raises(TypeError, match="async for item in .*, or `await ....all"):
        await machines
    with pytest.raises(TypeError, match="async for item in .*, or `await ....all"):
        list(machines)


# -- arguments of the other shape ------------------------------------------------------------------


async def test_a_point_is_given_as_two_arguments() -> None:
    desktop, point = place("desktops.ref(1)"), desktops.Point(5, 6)
    for call in (desktop.click, desktop.double_click, lambda one: desktop.move(one, 1)):
        with pytest.raises(InvalidArgumentError, match=r"^x must be .*write \*point$"):
            await call(point)
    assert desktops.MoveMouse(*point) == desktops.MoveMouse(5, 6)


@pytest.mark.parametrize(
    ("make_action", "said"),
    [
        (lambda: desktops.ClickMouse(5, 6), r"write ClickMouse\(x=\.\.\., y=\.\.\.\)"),  # type: ignore[call-arg]
        (lambda: desktops.ClickMouse(num_of_clicks=2), "did you mean count"),  # type: ignore[call-arg]
        (lambda: desktops.ClickMouse(clicks=2), "did you mean count"),  # type: ignore[call-arg]
        (lambda: desktops.Scroll("down"), "needs amount"),  # type: ignore[call-arg]
        (lambda: desktops.Scroll("down", clicks=3), "did you mean amount"),  # type: ignore[call-arg]
        (lambda: desktops.Wait(seconds=3), "Wait takes duration"),  # type: ignore[call-arg]
        (lambda: desktops.TypeText(value="x"), "TypeText takes text"),  # type: ignore[call-arg]
    ],
)
def test_wrong_arguments_of_an_action_are_answered_with_what_to_write(
    make_action: Callable[[], object], said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        make_action()
